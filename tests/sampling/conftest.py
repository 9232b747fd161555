"""The scalar functions of meanfield.sampling as compiled loops over arrays, the way kernels use them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

Loop = Callable[..., tuple[NDArray[Any], ...]]


def decorated(module: str) -> dict[str, Any]:
    """Names of a module after every function of it is compiled, with the flags that kernels have."""
    file = importlib.import_module(f"meanfield.sampling.{module}").__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [ast.copy_location(ast.Name("compiled", ast.Load()), node)]
    flags = {"contract", "nsz", "nnan", "ninf", "afn"}
    names: dict[str, Any] = {"compiled": numba.njit(error_model="numpy", nogil=True, forceinline=True, fastmath=flags)}
    exec(compile(tree, file, "exec"), names)
    return names


def loop_over_arrays(names: dict[str, Any], name: str, results: tuple[type, ...]) -> Loop:
    """A function of arrays that applies a compiled function element by element and returns arrays of these types."""
    arguments = names[name].py_func.__code__.co_argcount
    reads = ", ".join(f"a{k}" for k in range(arguments))
    writes = ", ".join(f"b{k}" for k in range(len(results)))
    source = (
        f"def loop({reads}, {writes}):\n    for j in range(a0.size):\n        "
        + ", ".join(f"b{k}[j]" for k in range(len(results)))
        + f" = {name}({', '.join(f'a{k}[j]' for k in range(arguments))})\n"
    )
    scope = dict(names)
    exec(source, scope)
    loop = scope["compiled"](scope["loop"])

    def call(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        outputs = tuple(np.empty(arrays[0].shape, kind) for kind in results)
        loop(*(np.ravel(array) for array in arrays), *(np.ravel(output) for output in outputs))
        return outputs

    return call


@pytest.fixture(scope="session")
def loops() -> Callable[..., Loop]:
    """``loops(module, function, *types)``: the compiled loop of a function with results of these types, made once."""
    modules: dict[str, dict[str, Any]] = {}
    made: dict[tuple[str, str], Loop] = {}

    def find(module: str, name: str, *results: type) -> Loop:
        if module not in modules:
            modules[module] = decorated(module)
        if (module, name) not in made:
            made[module, name] = loop_over_arrays(modules[module], name, results)
        return made[module, name]

    return find
