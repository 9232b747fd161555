"""The formulas of a cell, recorded from the functions that define it, and the Gaussian variables that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.expressions import Expression, UnknownOperation, ordered, substitute, symbol, symbols_of
from meanfield.solvers.linear_circuit import LinearCircuit


@dataclass(frozen=True)
class CellFormulas:
    """One step of a cell as formulas in its old state, its recurrent fields and its drives.

    Attributes:
        states: symbols of the old state variables.
        fields: symbol of every recurrent field.
        drives: symbol of every gate's drive.
        carriers: the vectors that recurrent matrices read.
        updates: the new state variables.
        circuit: the linear circuit, whose entries are formulas or plain floats.
    """

    states: tuple[Expression, ...]
    fields: Mapping[str, Expression]
    drives: Mapping[str, Expression]
    carriers: tuple[Expression, ...]
    updates: tuple[Expression, ...]
    circuit: LinearCircuit


def record(cell: RecurrentCell) -> CellFormulas:
    """Record a cell's formulas by calling its functions with expressions.

    Raises:
        UnknownOperation: if the cell uses a function that kernels do not know, by the name of the cell.

    >>> from meanfield.cells import find
    >>> record(find("vanilla")).updates
    (tanh(add(field h, drive h)),)
    """
    states = tuple(symbol(name) for name in cell.states)
    fields = {field.name: symbol(f"field {field.name}") for field in cell.fields}
    drives = {gate: symbol(f"drive {gate}") for gate in cell.gates}
    # Expressions stand in for arrays here: the cell's functions do not see the difference.
    arrays: tuple[Sequence[object], Mapping[str, object], Mapping[str, object]] = (states, fields, drives)
    count = 1 + max((field.carrier for field in cell.fields), default=-1)
    try:
        carriers = tuple(cell.carrier(index, *arrays) for index in range(count))  # type: ignore[arg-type]
        updates = tuple(cell.update(*arrays))  # type: ignore[arg-type]
        circuit = cell.circuit(*arrays)  # type: ignore[arg-type]
    except (TypeError, AttributeError) as error:
        name = getattr(cell, "name", type(cell).__name__)
        raise UnknownOperation(f"cell {name!r} cannot be made into a kernel: {error}") from error
    return CellFormulas(states, fields, drives, carriers, updates, circuit)  # type: ignore[arg-type]


def merged_sums(roots: Sequence[Expression], candidates: set[str]) -> tuple[list[Expression], dict[str, list[str]]]:
    """Replace sums of variables that are used nowhere else by one variable each.

    A gate reads its recurrent field and its drive as a sum; as both are Gaussian, one normal deviate does for both.

    Args:
        roots: formulas.
        candidates: names of the symbols that may be merged.

    Returns:
        The formulas in new symbols, and the members of each new symbol: sums first, then what could not be merged.

    >>> a, b, c = symbol("a"), symbol("b"), symbol("c")
    >>> merged_sums([(a + b) * c + c], {"a", "b", "c"})[1]
    {'a + b': ['a', 'b'], 'c': ['c']}
    """
    current = list(roots)
    groups: dict[str, list[str]] = {}
    sums = [node for node in ordered(current) if _leaves(node, candidates) and len(node.operands) == 2]
    for node in sorted(sums, key=lambda node: -len(_leaves(node, candidates))):
        members = _leaves(node, candidates)
        name = " + ".join(members)
        replaced = substitute(current, {node: symbol(name)})
        left = symbols_of(replaced)
        if len(set(members)) == len(members) and name in left and left.isdisjoint(members):
            current = replaced
            groups[name] = members
    # Groups in the order of their first member's appearance, so that streams do not depend on the search.
    used = symbols_of(current)
    groups.update({name: [name] for name in sorted(candidates & used)})
    return current, groups


def _leaves(node: Expression, candidates: set[str]) -> list[str]:
    """Names of the variables that a sum consists of; empty if it is anything else than a sum of candidates."""
    if node.operation == "symbol":
        return [str(node.label)] if node.label in candidates else []
    if node.operation != "add":
        return []
    parts = [_leaves(operand, candidates) for operand in node.operands]
    return sorted(name for part in parts for name in part) if all(parts) else []
