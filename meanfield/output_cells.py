"""Cells with a memory behind an output gate, h = o ψ(c), found on their recorded formulas (theory, sections 1 and 3).

The memory c ← f c + g is carried on by a random affine map, whose coefficients are products of gates; all recurrent
matrices read the output h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.cells.cell import Cell
from meanfield.closed_cells import NotClosed
from meanfield.closed_formulas import derivative, transitions
from meanfield.sampling.affine_memory import AffineMemory, CoefficientFactor, NotAffine, affine_memory
from meanfield.sampling.expressions import (
    Expression,
    UnknownOperation,
    constant,
    evaluate,
    substitute,
    symbol,
    symbols_of,
)
from meanfield.sampling.programs import ChainProgram, stationary_program
from meanfield.solvers.gate_laws import GateLaw
from meanfield.solvers.normal_rules import Transition

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gate:
    """A function of one Gaussian variable.

    Attributes:
        noise: the variable.
        value: a formula in it.
        slope: its derivative.
        transitions: where it changes.
    """

    noise: str
    value: Expression
    slope: Expression
    transitions: tuple[Transition, ...]

    def law(self, parameters: Mapping[str, float], count: int) -> GateLaw:
        """The gate at a law of its variable, with ``count`` orthonormal polynomials."""
        return GateLaw(
            lambda u: _values(self.value, self.noise, u),
            lambda u: _values(self.slope, self.noise, u),
            parameters[f"mean {self.noise}"],
            parameters[f"deviation {self.noise}"],
            self.transitions,
            count,
        )


@dataclass(frozen=True, eq=False)
class OutputCell:
    """One step of a cell with a memory behind an output gate.

    Attributes:
        name: of the cell.
        memory, output: names of c and h.
        program: the chain of its memory; ``noises`` are its Gaussian variables, with those of the output gate.
        release: 1 - f.
        gates: whose product, times ``size``, is g; or the target t of g = (1 - f) t, if ``blended``.
        size: see there.
        blended: see there.
        opening: the output gate o.
        squash: ψ(c), a formula in c.
        squash_slope: ψ'(c).
    """

    name: str
    memory: str
    output: str
    program: ChainProgram
    release: Gate
    gates: tuple[Gate, ...]
    size: float
    blended: bool
    opening: Gate
    squash: Expression
    squash_slope: Expression

    def squashed(self, memory: Float64) -> Float64:
        """ψ(c)."""
        return _values(self.squash, self.memory, memory)

    def squash_slopes(self, memory: Float64) -> Float64:
        """ψ'(c)."""
        return _values(self.squash_slope, self.memory, memory)


@lru_cache(maxsize=64)
def output_cell(cell: Cell) -> OutputCell:
    """The step of a cell with a memory behind an output gate.

    Raises:
        NotClosed: if the cell is not made so.

    >>> from meanfield.cells import find
    >>> lstm = output_cell(find("lstm"))
    >>> lstm.release.noise, sorted(gate.noise for gate in lstm.gates), lstm.opening.noise, lstm.blended
    ('drive f + field f', ['drive g + field g', 'drive i + field i'], 'drive o + field o', False)
    """
    try:
        program = stationary_program(cell)
        return _read(cell, program, affine_memory(program))
    except (UnknownOperation, NotAffine) as error:
        raise NotClosed(f"cell {cell.name} has no deterministic theory in the untied regime: {error}") from error


def _read(cell: Cell, program: ChainProgram, memory: AffineMemory) -> OutputCell:
    if len(cell.states) != 2 or any(name != cell.states[cell.output] for name in program.carriers):
        raise NotAffine("all its recurrent matrices must read an output behind a gate")
    if len(memory.keep_deviates) != 1:
        raise NotAffine("its keep gate must read one Gaussian variable")
    keeping = [factor for factor in memory.factors if factor.keep is not constant(1.0)]
    others = [factor.gain for factor in memory.factors if factor not in keeping]
    if len(keeping) != 1:
        raise NotAffine("its keep gate must be a single factor")
    plain = keeping[0].gain.operation == "constant"
    if not plain and not _is_release(keeping[0], memory):
        raise NotAffine("its increment must be independent of the keep gate, or its complement times one")
    opening, squash = _output_parts(cell, program)
    new = symbol(f"new {program.states[0]}")
    c = symbol(program.states[0])
    numbers = [part for part in others if not symbols_of([part])]
    size = float(np.prod([float(part.label) for part in numbers])) * (float(keeping[0].gain.label) if plain else 1.0)
    (squash,) = substitute([squash], {new: c})
    release, open_ = _gate(memory.lost), _gate(opening)
    gates = tuple(_gate(part) for part in others if symbols_of([part]))
    if open_.noise in (release.noise, *(gate.noise for gate in gates)):
        raise NotAffine(f"its output gate must be independent of what {program.states[0]} reads in the same step")
    return OutputCell(
        name=cell.name,
        memory=program.states[0],
        output=cell.states[cell.output],
        program=program,
        release=release,
        gates=gates,
        size=size,
        blended=not plain,
        opening=open_,
        squash=squash,
        squash_slope=derivative(squash, c),
    )


def _output_parts(cell: Cell, program: ChainProgram) -> tuple[Expression, Expression]:
    """The output gate and ψ in h = o ψ(new c)."""
    new = f"new {program.states[0]}"
    opening, squash = constant(1.0), constant(1.0)
    pending = [program.outputs[cell.output]]
    while pending:
        part = pending.pop()
        reads = symbols_of([part])
        if new not in reads:
            opening = opening * part
        elif reads == {new}:
            squash = squash * part
        elif part.operation == "multiply":
            pending.extend(part.operands)
        else:
            raise NotAffine(f"its output must be a gate times a function of {program.states[0]}")
    return opening, squash


def _gate(formula: Expression) -> Gate:
    """A formula in one deviate as a function of its variable."""
    deviates = [name for name in symbols_of([formula]) if name.startswith("normal ")]
    if len(deviates) != 1:
        raise NotAffine(f"a gate must read one Gaussian variable, not {len(deviates)}")
    noise = deviates[0].removeprefix("normal ")
    variable = symbol(noise)
    read = symbol(f"mean {noise}") + symbol(f"deviation {noise}") * symbol(deviates[0])
    (value,) = substitute([formula], {read: variable})
    if symbols_of([value]) != {noise}:
        raise NotAffine(f"a gate must be a function of {noise} alone")
    return Gate(noise, value, derivative(value, variable), tuple(transitions([value], variable)))


def _is_release(factor: CoefficientFactor, memory: AffineMemory) -> bool:
    """Whether the part of g that reads the keep gate's deviate is 1 - f."""
    if set(factor.deviates) != set(memory.keep_deviates):
        return False
    (deviate,) = memory.keep_deviates
    noise = deviate.removeprefix("normal ")
    given = {f"mean {noise}": np.array(0.3), f"deviation {noise}": np.array(1.7), deviate: np.linspace(-5.0, 5.0, 41)}
    gain, release = evaluate([factor.gain, memory.lost], given)
    return bool(np.allclose(gain, release, rtol=1e-12, atol=0.0))


def _values(formula: Expression, name: str, points: Float64) -> Float64:
    return np.broadcast_to(evaluate([formula], {name: points})[0], np.shape(points))
