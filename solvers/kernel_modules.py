"""Modules of compiled kernels that are put together from source, and a cache on disk that cannot be stale.

A kernel inlines functions from several files, and the compiler's cache looks at the file of the kernel only: an edit
elsewhere would go unseen. So everything that a kernel inlines is put into one module, which is written to a directory
named by a hash of its text. A change anywhere gives another directory.

The parts are plain functions on scalars, without decorators, so that the same text serves the CPU, CUDA, CUDA's
simulator and Python itself.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

import platformdirs

Target = Literal["cpu", "cuda"]

# No reassociation, which would fold rounding tricks away, and no reciprocals. Python's check of divisors
# (error_model="python") would keep loops from being vectorised.
_OPTIONS = 'nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "ninf", "afn"}'

_HEADERS: dict[Target, str] = {
    "cpu": f"""\
import math
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Scalar functions are inlined by force: a loop that calls a function is not vectorised.
scalar = njit(forceinline=True, {_OPTIONS})
inlined = njit({_OPTIONS})
kernel = njit(cache=True, {_OPTIONS})


@intrinsic
def distinct_arrays(context):
    def generate(context, builder, signature, arguments):
        # Loops over many arrays are not vectorised if any two of them might overlap; the caller knows that none do.
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def wide_vectors(context):
    def generate(context, builder, signature, arguments):
        # LLVM prefers vectors of 256 bits where 512 are to be had. llvmlite's own list of attributes lacks this one.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()
    return types.void(), generate
""",
    "cuda": """\
import math
import numpy as np
from numba import cuda

scalar = inlined = cuda.jit(device=True)
kernel = cuda.jit
""",
}

_loaded: dict[str, ModuleType] = {}
_lock = threading.Lock()


def assemble(parts: Sequence[ModuleType | str], target: Target = "cpu") -> str:
    """Text of one module from modules of plain scalar functions and from generated text.

    Args:
        parts: modules, whose functions are compiled as they stand, without their imports and annotations; or text,
            in which ``@inlined`` marks functions of the device and ``@kernel`` what Python calls.
        target: ``"cpu"`` or ``"cuda"``.

    Returns:
        The text. Names must be unique over all parts.

    >>> text = assemble(["@inlined\\ndef twice(x):\\n    return x + x\\n"])
    >>> text.endswith("return x + x\\n")
    True
    """
    pieces = [_HEADERS[target]]
    pieces.extend(part if isinstance(part, str) else _bare_functions(inspect.getsource(part)) for part in parts)
    return "\n\n".join(pieces)


def load(name: str, text: str) -> ModuleType:
    """The module with this text, imported from a directory that is named by its content.

    Args:
        name: a word for its file's name, which a profile shows.
        text: what :func:`assemble` returned.

    Returns:
        The module. Its kernels are compiled when they are first called and read from disk by later processes.

    >>> load("example", assemble(["def twice(x):\\n    return x + x\\n"])).twice(2)
    4
    """
    # Looked up by the text itself, whose hash Python keeps: callers may ask at every step.
    found = _loaded.get(text)
    if found is None:
        with _lock:
            if text not in _loaded:
                digest = hashlib.sha256(text.encode()).hexdigest()[:24]
                _loaded[text] = _import(f"meanfield_kernel_{name}_{digest}", _file(name, digest, text))
            found = _loaded[text]
    return found


def cache_directory() -> Path:
    """Where compiled kernels are kept: ``MEANFIELD_CACHE`` if it is set, else the user's cache directory."""
    chosen = os.environ.get("MEANFIELD_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_path("meanfield"))


def _file(name: str, digest: str, text: str) -> Path:
    try:
        return _written(cache_directory() / "kernels" / digest / f"{name}.py", text)
    except OSError:
        # A home that cannot be written to costs a compilation in every process, no more.
        return _written(Path(tempfile.mkdtemp(prefix="meanfield-")) / f"{name}.py", text)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        # Another process may write the same file at this moment; each replaces it as a whole.
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    return path


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _bare_functions(source: str) -> str:
    """The constants and functions of a module: every function marked as scalar, imports and annotations dropped."""
    tree = ast.parse(source)
    body: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_docstring(statement):
            continue
        if isinstance(statement, ast.FunctionDef):
            for argument in statement.args.args:
                argument.annotation = None
            statement.returns = None
            if _is_docstring(statement.body[0]):
                del statement.body[0]
            statement.decorator_list = [ast.Name("scalar", ast.Load())]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            statement = ast.copy_location(ast.Assign([statement.target], statement.value), statement)
        body.append(statement)
    return ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
