"""Cells whose moments close in the untied regime, found on their recorded formulas (theory, section 3).

With s ← D s + B, where D and B read the step's Gaussian variables only, second moments of s follow from those of D and
B. All of these are products of functions of one Gaussian variable each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.cells.cell import Cell
from meanfield.closed_formulas import derivative, transitions
from meanfield.errors import InvalidInput
from meanfield.sampling.affine_memory import NotAffine, affine_parts, complement
from meanfield.sampling.expressions import (
    Expression,
    UnknownOperation,
    constant,
    evaluate,
    ordered,
    substitute,
    symbol,
    symbols_of,
)
from meanfield.sampling.programs import formulas_in_noises
from meanfield.solvers.normal_rules import Transition

Float64 = NDArray[np.float64]


class NotClosed(InvalidInput):
    """A cell whose moments do not close: several state variables, a memory that is not affine, or mixed variables."""


@dataclass(frozen=True)
class Term:
    """A product of functions of independent groups of Gaussian variables.

    Attributes:
        factor: a number.
        functions: for every group, the index of its function in :attr:`Group.functions`; 0 is the constant 1.
    """

    factor: float
    functions: tuple[int, ...]


Polynomial = tuple[tuple[Term, ...], tuple[Term, ...]]
"""What does not read the state, and what multiplies it."""


@dataclass(frozen=True, eq=False)
class Group:
    """Gaussian variables that are integrated together: u = rest + Σ loads × variables, and functions of u.

    Attributes:
        argument: symbol of u.
        inner: the variables in the sum.
        loads: what they are multiplied by, formulas in the outer variable.
        rest: a formula in the outer variable.
        outer: the variable that loads, rest and functions read beside u, None where there is none.
        functions: formulas in u and the outer variable; the first is the constant 1.
        slopes: their derivatives in u.
        outer_slopes: their derivatives in the outer variable at the same u.
        sum_slopes: those of rest and of all loads.
        transitions: where functions change in u.
    """

    argument: str
    inner: tuple[str, ...]
    loads: tuple[Expression, ...]
    rest: Expression
    outer: str | None
    functions: tuple[Expression, ...] = ()
    slopes: tuple[Expression, ...] = ()
    outer_slopes: tuple[Expression, ...] = ()
    sum_slopes: tuple[Expression, ...] = ()
    transitions: tuple[Transition, ...] = ()

    @property
    def noises(self) -> tuple[str, ...]:
        """All its variables."""
        return self.inner if self.outer is None else (*self.inner, self.outer)

    @property
    def symbols(self) -> set[str]:
        """What its functions read."""
        return {self.argument} if self.outer is None else {self.argument, self.outer}

    def completed(self, functions: Sequence[Expression]) -> Group:
        """The group with its functions."""
        u = symbol(self.argument)
        return replace(
            self,
            functions=tuple(functions),
            slopes=tuple(derivative(each, u) for each in functions),
            outer_slopes=tuple(derivative(each, symbol(str(self.outer))) for each in functions),
            sum_slopes=tuple(derivative(each, symbol(str(self.outer))) for each in (self.rest, *self.loads)),
            transitions=tuple(transitions(functions, u)),
        )


@dataclass(frozen=True, eq=False)
class ClosedCell:
    """One step of a cell with one state variable as polynomials of degree one in it.

    Attributes:
        name: of the cell.
        state: name of the state variable.
        noises: the Gaussian variables: the fields and drives that each stands for.
        groups: the variables in independent groups, and what is integrated over them.
        update: the new state.
        lost: 1 - D, without cancellation where D is a gate.
        carriers: the vectors that recurrent matrices read.
    """

    name: str
    state: str
    noises: Mapping[str, tuple[str, ...]]
    groups: tuple[Group, ...]
    update: Polynomial
    lost: tuple[Term, ...]
    carriers: tuple[Polynomial, ...]


@lru_cache(maxsize=64)
def closed_cell(cell: Cell) -> ClosedCell:
    """The step of a cell.

    Raises:
        NotClosed: if its moments do not close.

    >>> from meanfield.cells import find
    >>> [group.noises for group in closed_cell(find("gru_reset_after")).groups]
    [('drive f + field f',), ('drive h', 'field h', 'drive r + field r')]
    >>> closed_cell(find("lstm"))
    Traceback (most recent call last):
        ...
    meanfield.closed_cells.NotClosed: cell lstm has 2 state variables; closed maps are for one
    """
    try:
        formulas, noises = formulas_in_noises(cell)
    except UnknownOperation as error:
        raise NotClosed(str(error)) from error
    if len(formulas.states) != 1:
        raise NotClosed(f"cell {cell.name} has {len(formulas.states)} state variables; closed maps are for one")
    (state,) = formulas.states
    back = {
        symbol(f"mean {name}") + symbol(f"deviation {name}") * symbol(f"normal {name}"): symbol(name) for name in noises
    }
    try:
        parts = [affine_parts(each, state) for each in substitute([*formulas.updates, *formulas.carriers], back)]
        keep = parts[0][0]
        roots = [complement(keep), *(each for slope, offset in parts for each in (offset, slope))]
        roots, groups = _grouped(roots, list(noises))
        collected = _Collected(groups)
        lost, *both = (tuple(collected.terms(root)) for root in roots)
    except NotAffine as error:
        raise NotClosed(f"cell {cell.name} has moments that do not close: {error}") from error
    polynomials = list(zip(both[::2], both[1::2], strict=True))
    return ClosedCell(
        name=cell.name,
        state=str(state.label),
        noises=noises,
        groups=tuple(group.completed(members) for group, members in zip(groups, collected.functions, strict=True)),
        update=polynomials[0],
        lost=lost,
        carriers=tuple(polynomials[1:]),
    )


def _grouped(roots: Sequence[Expression], noises: list[str]) -> tuple[list[Expression], list[Group]]:
    """Replace sums of variables, whose loads may read one more, by one variable each, and group what is left."""
    current, groups = list(roots), []
    for node in [node for node in ordered(current) if node.operation == "add"]:
        group = _merged(node, [name for name in noises if name in symbols_of([node])])
        if group is None:
            continue
        replaced = substitute(current, {node: symbol(group.argument)})
        if symbols_of(replaced).isdisjoint(group.inner) and group.argument in symbols_of(replaced):
            current = replaced
            groups.append(group)
    taken = {name for group in groups for name in group.noises}
    if len(taken) < sum(len(group.noises) for group in groups):
        raise NotAffine("two sums of variables share one of them")
    single = [Group(name, (name,), (constant(1.0),), constant(0.0), None) for name in noises if name not in taken]
    return current, [*single, *groups]


def _merged(node: Expression, names: list[str]) -> Group | None:
    """A sum of several variables, the loads of which read at most one more; None if a formula is not such a sum."""
    inner: list[str] = []
    loads: list[Expression] = []
    rest = node
    for name in names:
        try:
            slope, offset = affine_parts(rest, symbol(name))
        except NotAffine:
            continue
        if not symbols_of([slope, *loads]) & {name, *inner}:
            inner.append(name)
            loads.append(slope)
            rest = offset
    outer = [name for name in names if name in symbols_of([rest, *loads])]
    if len(inner) < 2 or len(outer) > 1 or set(outer) & set(inner):
        return None
    return Group(" with ".join(inner), tuple(inner), tuple(loads), rest, outer[0] if outer else None)


class _Collected:
    """Functions of every group as they are met."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.functions: list[list[Expression]] = [[constant(1.0)] for _ in groups]

    def terms(self, formula: Expression) -> list[Term]:
        """A formula as a sum of products of functions of one group each.

        Raises:
            NotAffine: if it is not such a sum.
        """
        found = []
        for factor, parts in self._expanded(formula):
            if factor == 0.0:
                continue
            indices = []
            for members, part in zip(self.functions, parts, strict=True):
                if part not in members:
                    members.append(part)
                indices.append(members.index(part))
            found.append(Term(factor, tuple(indices)))
        return found

    def _expanded(self, formula: Expression) -> list[tuple[float, tuple[Expression, ...]]]:
        reads = [index for index, group in enumerate(self.groups) if group.symbols & symbols_of([formula])]
        one = constant(1.0)
        if not reads:
            return [(float(evaluate([formula], {})[0]), (one,) * len(self.groups))]
        if len(reads) == 1:
            return [(1.0, tuple(formula if index == reads[0] else one for index in range(len(self.groups))))]
        operation = formula.operation
        if operation not in ("add", "subtract", "negative", "multiply", "divide"):
            mixed = ", ".join(name for index in reads for name in self.groups[index].noises)
            raise NotAffine(f"{operation!r} mixes the variables {mixed}")
        sides = [self._expanded(operand) for operand in formula.operands]
        if operation == "multiply":
            return [
                (left * right, tuple(a * b for a, b in zip(first, second, strict=True)))
                for left, first in sides[0]
                for right, second in sides[1]
            ]
        if operation == "divide":
            if len(sides[1]) > 1:
                raise NotAffine("'divide' by a sum of several variables")
            ((right, second),) = sides[1]
            return [
                (left / right, tuple(a if b is one else a / b for a, b in zip(first, second, strict=True)))
                for left, first in sides[0]
            ]
        sign = 1.0 if operation == "add" else -1.0
        return [*(sides[0] if len(sides) == 2 else []), *((sign * factor, parts) for factor, parts in sides[-1])]
