"""A cell's step in one pass over its units: update and linear circuit, compiled from the recorded formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling import single_math
from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.chain_source import statements
from meanfield.sampling.expressions import Expression, UnknownOperation, symbols_of
from meanfield.sampling.formulas import CellFormulas, record
from meanfield.solvers.kernel_modules import assemble, load
from meanfield.solvers.linear_circuit import Block, LinearCircuit

Float32 = NDArray[np.float32]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class CellKernels:
    """Compiled functions of one cell, which give what the cell's own functions give, in single precision.

    Attributes:
        formulas: the recorded formulas.
        outputs: the formulas that are arrays: the new state, then the entries of the circuit.
        inputs: names of the arrays that the kernels read.
        module: has ``update`` and ``update_with_circuit``, each taking all inputs and the outputs, flat and contiguous.
    """

    formulas: CellFormulas
    outputs: tuple[Expression, ...]
    inputs: tuple[str, ...]
    module: ModuleType

    def step(
        self,
        state: Sequence[Array],
        fields: Mapping[str, Array],
        drives: Mapping[str, Array],
        linearise: bool,
        sequences: int | None = None,
    ) -> tuple[tuple[Float32, ...], LinearCircuit | None]:
        """The new state and, if asked for, the linear circuit at this point.

        Args:
            state, fields, drives: as for the cell's own functions, float32 arrays of one shape.
            linearise: whether the circuit is wanted.
            sequences: of how many of the sequences, the second axis; of all by default.
        """
        values = {str(each.label): array for each, array in zip(self.formulas.states, state, strict=True)}
        values |= {f"field {name}": array for name, array in fields.items()}
        values |= {f"drive {name}": array for name, array in drives.items()}
        shape = state[0].shape
        count = len(self.outputs) if linearise else len(self.formulas.updates)
        out = np.empty((count, *shape), np.float32)
        arrays = [np.ascontiguousarray(values[name], dtype=np.float32).reshape(-1) for name in self.inputs]
        kernel = self.module.update_with_circuit if linearise else self.module.update
        kernel(*arrays, *out.reshape(count, -1))
        new = tuple(dict(zip(self.outputs, out, strict=False))[formula] for formula in self.formulas.updates)
        if not linearise:
            return new, None
        wanted = out if sequences is None else np.ascontiguousarray(out[:, :, :sequences])
        return new, self._circuit(dict(zip(self.outputs, wanted, strict=True)))

    def _circuit(self, made: Mapping[Expression, Float32]) -> LinearCircuit:
        circuit = self.formulas.circuit

        def block_of(block: Block) -> Block:
            return tuple(tuple(_value(entry, made) for entry in row) for row in block)

        return LinearCircuit(
            block_of(circuit.state_to_state),
            block_of(circuit.field_to_state),
            block_of(circuit.state_to_carrier),
            block_of(circuit.field_to_carrier),
            block_of(circuit.drive_to_state),
            block_of(circuit.drive_to_carrier),
        )


@lru_cache(maxsize=64)
def cell_kernels(cell: RecurrentCell) -> CellKernels | None:
    """The compiled functions of a cell; None if it uses functions that kernels do not know.

    >>> from meanfield.cells import find
    >>> kernels = cell_kernels(find("vanilla"))
    >>> half = np.full(3, 0.5, np.float32)
    >>> new, circuit = kernels.step((half,), {"h": half}, {"h": half}, linearise=True)
    >>> bool(np.allclose(new[0], np.tanh(1.0))), bool(np.allclose(circuit.field_to_state[0][0], 1 / np.cosh(1.0) ** 2))
    (True, True)
    """
    try:
        formulas = record(cell)
    except UnknownOperation:
        return None
    circuit = formulas.circuit
    entries = [entry for block in vars(circuit).values() for row in block for entry in row]
    wanted = [entry for entry in entries if isinstance(entry, Expression) and entry.operation != "constant"]
    outputs = tuple(dict.fromkeys([*formulas.updates, *wanted]))
    inputs = tuple(sorted(symbols_of(outputs)))
    text = _kernel("update", formulas.updates, inputs) + _kernel("update_with_circuit", outputs, inputs)
    module = load("cell", assemble([single_math, text]))
    return CellKernels(formulas, outputs, inputs, module)


def _value(entry: object, made: Mapping[Expression, Float32]) -> float | Float32:
    if not isinstance(entry, Expression):
        return float(entry)  # type: ignore[arg-type]
    return float(entry.label) if entry.operation == "constant" else made[entry]


def _kernel(name: str, roots: Sequence[Expression], inputs: Sequence[str]) -> str:
    arguments = [f"x{k}" for k in range(len(inputs))]
    results = [f"y{k}" for k in range(len(roots))]
    written = dict(zip(inputs, (f"{argument}[j]" for argument in arguments), strict=True))
    lines, values = statements(roots, written, "clamped", frozenset())
    lines += [f"{result}[j] = {value}" for result, value in zip(results, values, strict=True)]
    body = "\n".join(f"        {line}" for line in lines)
    return (
        f"@kernel\ndef {name}({', '.join([*arguments, *results])}):\n    wide_vectors()\n    distinct_arrays()\n"
        f"    for j in range({arguments[0]}.shape[0]):\n{body}\n\n\n"
    )
