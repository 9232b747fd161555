"""Chains that carry the covariance of gradients along their paths, in the untied regime (theory, section 3).

A perturbation δ of the state has, given the path of its unit, the covariance V = E[δ δᵀ | path]:

    Y_k = σ_k² ⟨P V Pᵀ + Σ_l Q_l² Y_l⟩,     V ← D V Dᵀ + A diag(Y) Aᵀ,

with the circuit's blocks at the step and an average over units for the variances Y of the fields. Two chains with
correlated variables and V = E[δ_a δ_bᵀ | paths] give the slope of the overlap map in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.expressions import Expression, constant, substitute, symbol, symbols_of
from meanfield.sampling.formulas import CellFormulas
from meanfield.sampling.programs import formulas_in_noises, live_variables, second_chain
from meanfield.solvers.linear_circuit import Block


@dataclass(frozen=True, eq=False)
class GradientProgram:
    """One step of chains that carry the covariance of gradients.

    Attributes:
        states: names of the variables that a chain carries on, those of the path first, then entries of V.
        path: how many of them are of the path.
        updates: their new values; entries of V are multiplied by the parameter ``scale``.
        normals: names of the standard normal deviates that a step draws.
        parameters: names of the numbers that are the same for all chains; the last ones are ``scale`` and the field
            variances ``variance k``, which the kernel finds at every step.
        averages: formulas whose averages over chains give the field variances.
        carriers: for every carrier, the index in ``averages`` of ⟨P V Pᵀ⟩ and, by field, of ⟨Q²⟩.
        field_carriers: the carrier that every field reads.
        output_entry: name of the entry of V that belongs to the output.
        output_variance: its new value.
        noises: the Gaussian variables, as in a chain program.
    """

    states: tuple[str, ...]
    path: int
    updates: tuple[Expression, ...]
    normals: tuple[str, ...]
    parameters: tuple[str, ...]
    averages: tuple[Expression, ...]
    carriers: tuple[tuple[int, Mapping[int, int]], ...]
    field_carriers: tuple[int, ...]
    output_entry: str
    output_variance: Expression
    noises: Mapping[str, tuple[str, ...]]


def gradient_program(cell: RecurrentCell, *, copies: int = 1) -> GradientProgram:
    """The chain of one unit, or of two with correlated variables, with the covariance of gradients along it.

    Args:
        cell: the cell.
        copies: 1 for the growth of gradients at identical inputs, 2 for that between two sequences.

    >>> from meanfield.cells import find
    >>> gradient_program(find("lstm")).states  # the output's gradient acts on later steps through the fields only
    ('c', 'covariance c c', 'covariance h h')
    """
    first, noises = formulas_in_noises(cell)
    replaced = second_chain(cell, noises) if copies == 2 else {}
    names = list(cell.states)

    def other(entry: object) -> Expression:
        return substitute([_expression(entry)], replaced)[0]

    def entry(i: int, j: int) -> str:
        i, j = (i, j) if copies == 2 else (min(i, j), max(i, j))
        return f"covariance {names[i]} {names[j]}"

    one = _circuit_blocks(first)
    two = {name: tuple(tuple(other(each) for each in row) for row in block) for name, block in one.items()}
    count = range(len(names))
    covariance = {(i, j): symbol(entry(i, j)) for i in count for j in count}
    variances = [symbol(f"variance {field.name}") for field in cell.fields]

    averages: list[Expression] = []
    carriers = []
    for index in range(len(first.carriers)):
        left, right = one["state_to_carrier"][index], two["state_to_carrier"][index]
        direct = _sum(left[i] * covariance[i, j] * right[j] for i in count for j in count)
        averages.append(direct)
        carriers.append((len(averages) - 1, dict[int, int]()))
        for k in range(len(cell.fields)):
            through = one["field_to_carrier"][index][k] * two["field_to_carrier"][index][k]
            if through is not constant(0.0):
                averages.append(through)
                carriers[-1][1][k] = len(averages) - 1

    scale = symbol("scale")
    updates = dict(zip(names, first.updates, strict=True))
    if copies == 2:
        updates |= {f"other {name}": other(value) for name, value in zip(names, first.updates, strict=True)}
    for i in count:
        for j in count if copies == 2 else range(i, len(names)):
            kept = _sum(
                one["state_to_state"][i][r] * covariance[r, s] * two["state_to_state"][j][s]
                for r in count
                for s in count
            )
            fed = _sum(
                one["field_to_state"][i][k] * two["field_to_state"][j][k] * variances[k] for k in range(len(variances))
            )
            updates[entry(i, j)] = scale * (kept + fed)
    output = updates[entry(cell.output, cell.output)]
    live = live_variables(updates, [*averages, output])
    path = [name for name in live if not name.startswith("covariance ")]
    entries = [name for name in live if name.startswith("covariance ")]
    roots = [*(updates[name] for name in live), *averages, output]
    used = symbols_of(roots)
    own = {"scale", *(str(each.label) for each in variances)}
    parameters = sorted(n for n in used if "normal " not in n and n not in updates and n not in own)
    return GradientProgram(
        states=(*path, *entries),
        path=len(path),
        updates=tuple(updates[name] for name in (*path, *entries)),
        normals=tuple(sorted(name for name in used if "normal " in name)),
        parameters=(*parameters, "scale", *(str(each.label) for each in variances)),
        averages=tuple(averages),
        carriers=tuple(carriers),
        field_carriers=tuple(field.carrier for field in cell.fields),
        output_entry=entry(cell.output, cell.output),
        output_variance=output,
        noises=noises,
    )


def _circuit_blocks(formulas: CellFormulas) -> dict[str, tuple[tuple[Expression, ...], ...]]:
    """The blocks that gradients need, with plain floats as constants."""
    circuit = formulas.circuit

    def block_of(block: Block) -> tuple[tuple[Expression, ...], ...]:
        return tuple(tuple(_expression(entry) for entry in row) for row in block)

    return {
        "state_to_state": block_of(circuit.state_to_state),
        "field_to_state": block_of(circuit.field_to_state),
        "state_to_carrier": block_of(circuit.state_to_carrier),
        "field_to_carrier": block_of(circuit.field_to_carrier),
    }


def _expression(entry: object) -> Expression:
    return entry if isinstance(entry, Expression) else constant(float(entry))  # type: ignore[arg-type]


def _sum(terms: Iterable[Expression]) -> Expression:
    total = constant(0.0)
    for term in terms:
        total = total + term
    return total
