"""A one-state cell's recorded formulas as sums of products, for a second evaluation of its closed maps in mpmath.

Nothing here is shared with the polynomials of :mod:`meanfield.closed_cells`: the state counts as one more independent
variable, whose part of every product is found to be affine by its values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

from mpmath import mp

from meanfield.cells.cell import Cell
from meanfield.errors import InvalidInput
from meanfield.sampling.expressions import Expression, UnknownOperation, constant, substitute, symbol
from meanfield.sampling.precise_formulas import changes, precise_function
from meanfield.sampling.programs import formulas_in_noises
from meanfield.sampling.separated import NotSeparable, Product, separated
from meanfield.solvers.normal_rules import Transition
from meanfield.solvers.precise_numbers import HighPrecision


@dataclass(frozen=True)
class Factors:
    """A number times functions of one Gaussian variable each.

    Attributes:
        factor: the number.
        functions: index of the function of every variable that is read, from 1; 0 is the constant 1.
    """

    factor: HighPrecision
    functions: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Variable:
    """A Gaussian variable and all functions of it that a step reads.

    Attributes:
        members: the fields and drives that it is the sum of.
        count: number of functions.
        function: their values and then their slopes at a number.
        transitions: where they change.
    """

    members: tuple[str, ...]
    count: int
    function: Callable[[HighPrecision], list[HighPrecision]]
    transitions: list[Transition]


@dataclass(frozen=True, eq=False)
class PreciseCell:
    """One step s ← D s + B.

    Attributes:
        variables: the Gaussian variables by name.
        fed: B.
        kept: D.
        lost: 1 - D.
        carriers: what recurrent matrices read: the part without the state, and what multiplies the state.
    """

    variables: Mapping[str, Variable]
    fed: list[Factors]
    kept: list[Factors]
    lost: list[Factors]
    carriers: list[tuple[list[Factors], list[Factors]]]

    def pairs(self, name: str) -> list[tuple[int, int]]:
        """Functions of a variable whose products are averaged, as indices in ascending order."""
        one = [Factors(mp.one, {})]
        sums = [(self.fed, self.fed), (self.fed, self.lost), (self.lost, self.lost), (self.kept, self.kept)]
        sums += [(one, self.fed), (one, self.lost)]
        for offset, slope in self.carriers:
            sums += [(offset, offset), (offset, slope), (slope, slope)]
        both = {
            tuple(sorted((left.functions.get(name, 0), right.functions.get(name, 0))))
            for one, other in sums
            for left in one
            for right in other
        }
        return sorted((i, j) for i, j in both if j)


def precise_cell(cell: Cell) -> PreciseCell:
    """The step of a cell, in the precision that is set.

    Raises:
        InvalidInput: if the cell has several state variables, uses an operation that is not known, is not affine in its
            state, or has functions that mix Gaussian variables, as gru_reset_after has.

    >>> from meanfield.cells import find
    >>> [(name, each.count) for name, each in precise_cell(find("janet")).variables.items()]
    [('drive f + field f', 3), ('drive g + field g', 1)]
    """
    if len(cell.states) != 1:
        raise InvalidInput(f"cell: certificates are for cells with one state variable, {cell.name} has more")
    try:
        formulas, noises = formulas_in_noises(cell)
        back = {
            symbol(f"mean {name}") + symbol(f"deviation {name}") * symbol(f"normal {name}"): symbol(name)
            for name in noises
        }
        roots = substitute([*formulas.updates, *formulas.carriers], back)
        (state,) = cell.states
        parts = [_by_state(separated(root), state) for root in roots]
        found: dict[str, list[Expression]] = {name: [] for name in noises}
        fed, kept = parts[0]
        fed_terms, kept_terms, lost_terms = (_factors(each, found) for each in (fed, kept, _lost(kept)))
        carriers = [(_factors(offset, found), _factors(slope, found)) for offset, slope in parts[1:]]
        variables = {
            name: Variable(noises[name], len(each), precise_function(each, name, slopes=True), changes(each, name))
            for name, each in found.items()
        }
    except (UnknownOperation, NotSeparable) as error:
        raise InvalidInput(f"cell: there are no certificates for {cell.name}: {error}") from error
    return PreciseCell(variables, fed_terms, kept_terms, lost_terms, carriers)


def _by_state(products: list[Product], state: str) -> tuple[list[Product], list[Product]]:
    """What does not read the state, and what multiplies it."""
    offsets, slopes = [], []
    for each in products:
        others = {name: part for name, part in each.parts.items() if name != state}
        start = end = beyond = mp.one
        if state in each.parts:
            at = precise_function([each.parts[state]], state)
            start, end, beyond = (at(mp.mpf(place))[0] for place in (0, 1, 2))
        if beyond - end != end - start:
            raise NotSeparable(f"it is not affine in {state}")
        if start:
            offsets.append(Product(each.factor * start, others))
        if end != start:
            slopes.append(Product(each.factor * (end - start), others))
    return offsets, slopes


def _lost(kept: list[Product]) -> list[Product]:
    """1 - D, in one function where D reads one variable: it is small where memory is long."""
    reads = {name for each in kept for name in each.parts}
    if len(reads) != 1 or any(not each.parts or float(each.factor) != each.factor for each in kept):
        return [Product(1.0, {}), *(Product(-each.factor, each.parts) for each in kept)]
    (name,) = reads
    whole = reduce(Expression.__add__, (constant(float(each.factor)) * each.parts[name] for each in kept))
    return [Product(1.0, {name: constant(1.0) - whole})]


def _factors(products: list[Product], found: dict[str, list[Expression]]) -> list[Factors]:
    """Products in the indices of functions, to which new ones are added."""
    result = []
    for each in products:
        for name, part in each.parts.items():
            if part not in found[name]:
                found[name].append(part)
        indices = {name: found[name].index(part) + 1 for name, part in each.parts.items()}
        result.append(Factors(mp.mpf(each.factor), indices))
    return result
