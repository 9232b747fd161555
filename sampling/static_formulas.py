"""A cell at rest: what its units are and how they respond to constant fields, as formulas (theory, section 5).

Where fields and drives do not move, a memory c = D c + B stays where it is at c* = B/(1 - D). Everything else follows
from it: what recurrent matrices read, and the response of that to a small constant change of a field, which is the
transfer P (1 - D)⁻¹ A + Q of the linear circuit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meanfield.sampling.affine_memory import NotAffine, affine_parts, complement
from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.expressions import Expression, bounds, constant, ordered, substitute, symbols_of
from meanfield.sampling.formulas import merged_sums, record
from meanfield.solvers.linear_circuit import Entry, LinearCircuit


class NoStaticState(ValueError):
    """A cell whose state at rest is not given by an affine memory."""


@dataclass(frozen=True)
class Factor:
    """A formula and the variables that it reads; none of the other factors of a product reads them.

    Attributes:
        variables: names, in alphabetical order.
        formula: what is multiplied.
    """

    variables: tuple[str, ...]
    formula: Expression


Product = tuple[Factor, ...]
"""Independent factors; the empty product is one."""


@dataclass(frozen=True)
class StaticFormulas:
    """A unit at rest.

    Attributes:
        members: every Gaussian variable, a sum of fields ("field f") and drives ("drive f"), and what it sums.
        carriers: what recurrent matrices read.
        output: what the network passes on.
        states: all state variables.
        responses: ∂carrier/∂field for constant changes, (carriers, fields); None where there is none.
    """

    members: Mapping[str, tuple[str, ...]]
    carriers: tuple[Product, ...]
    output: Product
    states: tuple[Expression, ...]
    responses: tuple[tuple[Product | None, ...], ...]

    def read_by(self, product: Product) -> set[str]:
        """Fields and drives that a product depends on."""
        return {name for factor in product for variable in factor.variables for name in self.members[variable]}


def static_formulas(cell: RecurrentCell) -> StaticFormulas:
    """The formulas of a unit at rest.

    Raises:
        NoStaticState: if the memory is not carried on by an affine map whose slope is from 0 to 1, or the other state
            variables do not follow from it.
        UnknownOperation: if the cell uses a function that cannot be recorded.

    >>> from meanfield.cells import find
    >>> [factor.formula for factor in static_formulas(find("gru")).output]
    [tanh(drive h + field h)]
    """
    name = getattr(cell, "name", type(cell).__name__)
    recorded = record(cell)
    memory, update = recorded.states[cell.memory], recorded.updates[cell.memory]
    try:
        keep, gain = affine_parts(update, memory)
    except NotAffine as failure:
        raise NoStaticState(f"cell {name!r} has no formula for its state at rest: {failure}") from failure
    lowest, highest = bounds([keep], {})[keep]
    if not 0.0 <= lowest <= highest <= 1.0:
        raise NoStaticState(f"cell {name!r}: what is kept of the memory must be a share from 0 to 1")
    lost = complement(keep)
    rest = _quotient(gain, lost)
    at_rest = {memory: rest, update: rest}
    states = substitute(recorded.updates, at_rest)
    names = {str(state.label) for state in recorded.states}
    if not names.isdisjoint(symbols_of(states)):
        raise NoStaticState(f"cell {name!r}: all state variables must follow from {memory} and the fields")
    at_rest |= dict(zip(recorded.states, states, strict=True)) | dict(zip(recorded.updates, states, strict=True))
    carriers = substitute(recorded.carriers, at_rest)
    responses = _responses(recorded.circuit, cell.memory, lost)
    flat = [entry for row in responses for entry in row]
    roots = [*carriers, states[cell.output], *states, *_without_differences(substitute(flat, at_rest))]
    merged, groups = merged_sums(roots, symbols_of(roots))
    products = [_factored(each) for each in merged]
    first, count = len(carriers) + 1 + len(states), len(cell.fields)
    entries = [None if merged[k] is constant(0.0) else products[k] for k in range(first, len(merged))]
    return StaticFormulas(
        {name: tuple(members) for name, members in groups.items()},
        tuple(products[: len(carriers)]),
        products[len(carriers)],
        tuple(merged[len(carriers) + 1 : first]),
        tuple(tuple(entries[start : start + count]) for start in range(0, len(entries), count)),
    )


def _responses(circuit: LinearCircuit, memory: int, lost: Expression) -> list[list[Expression]]:
    """P (1 - D)⁻¹ A + Q, where the memory alone is carried on."""
    D, A, P, Q = (
        [[_formula(entry) for entry in row] for row in block]
        for block in (
            circuit.state_to_state,
            circuit.field_to_state,
            circuit.state_to_carrier,
            circuit.field_to_carrier,
        )
    )
    keep, into = D[memory][memory], A[memory]

    def moved(state: int, k: int) -> Expression:
        through = _quotient(into[k], lost)
        if state == memory:
            return through
        if into[k] is constant(0.0):
            return A[state][k]
        # Variables that read the new memory alone move as it does: e f a/(1-f) + e a is e a/(1-f).
        slope = _exact_quotient(D[state][memory], keep)
        if slope is not None and _same_factors(A[state][k], slope * into[k]):
            return slope * through
        return A[state][k] + D[state][memory] * through

    response = [[moved(state, k) for k in range(len(into))] for state in range(len(A))]
    return [
        [sum((P[c][state] * response[state][k] for state in range(len(A))), start=Q[c][k]) for k in range(len(into))]
        for c in range(len(P))
    ]


def _formula(entry: Entry) -> Expression:
    # A recorded circuit holds expressions where others hold arrays.
    return entry if isinstance(entry, Expression) else constant(float(entry))


def _quotient(numerator: Expression, denominator: Expression) -> Expression:
    """A quotient, without the denominator where it is a factor."""
    exact = _exact_quotient(numerator, denominator)
    return numerator / denominator if exact is None else exact


def _exact_quotient(numerator: Expression, denominator: Expression) -> Expression | None:
    """The other factors of a product, None where the denominator is not one of them."""
    if denominator is constant(1.0) or numerator is constant(0.0):
        return numerator
    left = _factors(numerator, whole=0)
    for factor in _factors(denominator, whole=0):
        if factor not in left:
            return None
        left.remove(factor)
    return _multiplied(left)


def _same_factors(one: Expression, other: Expression) -> bool:
    return Counter(_factors(one, whole=0)) == Counter(_factors(other, whole=0))


def _without_differences(roots: Sequence[Expression]) -> list[Expression]:
    """Formulas in which x - x is zero."""
    current = list(roots)
    while True:
        nothing = [node for node in ordered(current) if node.operation == "subtract" and len(set(node.operands)) == 1]
        if not nothing:
            return current
        current = substitute(current, {node: constant(0.0) for node in nothing})


def _factors(formula: Expression, *, whole: int, inverse: bool = False) -> list[tuple[Expression, bool]]:
    """Factors of a formula, and whether each divides; what reads up to ``whole`` variables is not taken apart."""
    if formula.operation not in ("multiply", "divide") or 0 < len(symbols_of([formula])) <= whole:
        return [(formula, inverse)] if formula is not constant(1.0) else []
    left, right = formula.operands
    other = inverse if formula.operation == "multiply" else not inverse
    return _factors(left, whole=whole, inverse=inverse) + _factors(right, whole=whole, inverse=other)


def _multiplied(factors: Sequence[tuple[Expression, bool]]) -> Expression:
    product = constant(1.0)
    for factor, inverse in factors:
        product = product / factor if inverse else product * factor
    return product


def _factored(formula: Expression) -> Product:
    """A formula as a product of factors that share no variable."""
    groups: list[tuple[set[str], list[tuple[Expression, bool]]]] = []
    for part in _factors(formula, whole=1):
        names = symbols_of([part[0]])
        met = [group for group in groups if not group[0].isdisjoint(names)]
        groups = [group for group in groups if group[0].isdisjoint(names)]
        members = [member for group in met for member in group[1]]
        groups.append((names.union(*(group[0] for group in met)), [*members, part]))
    return tuple(Factor(tuple(sorted(names)), _multiplied(members)) for names, members in groups)
