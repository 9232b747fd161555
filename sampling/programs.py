"""What a chain does at every step, and what is averaged over chains: stationary laws, pairs, gradient covariances.

In the untied regime the fields of a step are Gaussian, independent of the state and of each other, so every unit is a
Markov chain driven by a few normal deviates (theory, section 3). A program is that chain as formulas, from which the
kernels of chain_source are generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.expressions import Expression, constant, ordered, substitute, symbol, symbols_of
from meanfield.sampling.formulas import CellFormulas, merged_sums, record


@dataclass(frozen=True)
class Observable:
    """An average over chains, E[sampled × factor], where the factor is independent of the chain.

    Attributes:
        name: what it is.
        sampled: the part that is averaged over chains.
        factor: the part that depends on normal deviates which nothing else reads, and is integrated exactly; the
            constant 1 where there is none.
    """

    name: str
    sampled: Expression
    factor: Expression


@dataclass(frozen=True, eq=False)
class ChainProgram:
    """One step of a chain.

    Attributes:
        states: names of the variables that a chain carries on.
        updates: their new values, as formulas in states, normal deviates and parameters.
        normals: names of the standard normal deviates that a step draws.
        parameters: names of the numbers that are the same for all chains.
        observables: what is averaged, as formulas in the old states, the deviates and the parameters.
        noises: the Gaussian variables: the fields and drives that each stands for. The variable ``x`` is
            ``mean x + deviation x × normal x``.
        carriers: what every carrier is called in the names of observables: a state variable, or ``carrier k``.
        outputs: values of the cell's state variables after the step, as formulas in the new ``states`` (named
            ``new s``), the deviates and the parameters.
    """

    states: tuple[str, ...]
    updates: tuple[Expression, ...]
    normals: tuple[str, ...]
    parameters: tuple[str, ...]
    observables: tuple[Observable, ...]
    noises: Mapping[str, tuple[str, ...]]
    carriers: tuple[str, ...]
    outputs: tuple[Expression, ...]

    @property
    def sampled(self) -> tuple[Expression, ...]:
        """What has to be averaged over chains, each formula once."""
        return tuple(dict.fromkeys(each.sampled for each in self.observables if each.sampled.operation != "constant"))


def stationary_program(cell: RecurrentCell, *, integrate: bool = True) -> ChainProgram:
    """The chain of one unit: means and second moments of every state variable and of every carrier.

    Args:
        cell: the cell.
        integrate: whether gates that act on a chain's output only are integrated exactly rather than sampled.

    Observables are ``mean s`` and ``square s`` for every state variable s, ``square carrier k`` for carriers that are
    not state variables, and ``keep square``, the mean square of the memory's direct path to itself.

    >>> from meanfield.cells import find
    >>> program = stationary_program(find("lstm"))
    >>> program.states, len(program.normals)  # the output gate is integrated out
    (('c',), 3)
    """
    formulas, noises = formulas_in_noises(cell)
    new = formulas.updates
    averages = [
        (f"{word} {name}", value)
        for name, update in zip(cell.states, new, strict=True)
        for word, value in (("mean", update), ("square", update * update))
    ]
    carriers = _carrier_names(formulas)
    averages += [
        (f"square {name}", carrier * carrier)
        for name, carrier in zip(carriers, formulas.carriers, strict=True)
        if carrier not in formulas.states
    ]
    keep = formulas.circuit.state_to_state[cell.memory][cell.memory]
    direct = keep if isinstance(keep, Expression) else constant(float(keep))
    averages.append(("keep square", direct * direct))
    return _program(dict(zip(cell.states, new, strict=True)), averages, noises, carriers, new, integrate)


def pair_program(cell: RecurrentCell, *, integrate: bool = True) -> ChainProgram:
    """Two chains whose Gaussian variables are correlated: the law of one unit under two input sequences.

    The variable ``x`` of the second chain has the deviate ``correlation x × normal x + residue x × other normal x``
    with ``residue² = 1 - correlation²``. Observables are ``mean s``, ``square s`` (averages of both chains, which have
    the same law) and ``product s``, and ``product carrier k`` as :func:`stationary_program` names them.
    """
    formulas, noises = formulas_in_noises(cell)
    second = second_chain(cell, noises)
    others = substitute(formulas.updates, second)
    other_carriers = substitute(formulas.carriers, second)
    averages = []
    for name, one, other in zip(cell.states, formulas.updates, others, strict=True):
        averages += [(f"mean {name}", one), (f"mean {name}", other), (f"product {name}", one * other)]
        averages += [(f"square {name}", one * one), (f"square {name}", other * other)]
    carriers = _carrier_names(formulas)
    averages += [
        (f"product {name}", one * other)
        for name, one, other in zip(carriers, formulas.carriers, other_carriers, strict=True)
        if one not in formulas.states
    ]
    updates = dict(zip(cell.states, formulas.updates, strict=True))
    updates |= {f"other {name}": other for name, other in zip(cell.states, others, strict=True)}
    return _program(updates, averages, noises, carriers, (*formulas.updates, *others), integrate)


def _carrier_names(formulas: CellFormulas) -> tuple[str, ...]:
    return tuple(
        str(carrier.label) if carrier in formulas.states else f"carrier {index}"
        for index, carrier in enumerate(formulas.carriers)
    )


def second_chain(cell: RecurrentCell, noises: Mapping[str, tuple[str, ...]]) -> dict[Expression, Expression]:
    """What turns formulas of a chain into those of a second one, with Gaussian variables correlated with its own."""
    second = {symbol(name): symbol(f"other {name}") for name in cell.states}
    for name in noises:
        deviate = symbol(f"correlation {name}") * symbol(f"normal {name}")
        second[symbol(f"normal {name}")] = deviate + symbol(f"residue {name}") * symbol(f"other normal {name}")
    return second


def formulas_in_noises(cell: RecurrentCell) -> tuple[CellFormulas, dict[str, tuple[str, ...]]]:
    """A cell's formulas in means, deviations and normal deviates, and the fields and drives in each variable."""
    formulas = record(cell)
    circuit = formulas.circuit
    blocks = [
        circuit.state_to_state,
        circuit.field_to_state,
        circuit.state_to_carrier,
        circuit.field_to_carrier,
        circuit.drive_to_state,
        circuit.drive_to_carrier,
    ]
    every: list[object] = [entry for block in blocks for row in block for entry in row]
    entries = [entry for entry in every if isinstance(entry, Expression)]
    candidates = {str(each.label) for each in (*formulas.fields.values(), *formulas.drives.values())}
    steps = [*formulas.carriers, *formulas.updates]
    merged, groups = merged_sums([*steps, *entries], candidates)
    noise = {
        symbol(name): symbol(f"mean {name}") + symbol(f"deviation {name}") * symbol(f"normal {name}") for name in groups
    }
    done = substitute(merged, noise)
    replaced = dict(zip([*steps, *entries], done, strict=True))

    def block_of(block: Sequence[Sequence[object]]) -> tuple[tuple[object, ...], ...]:
        return tuple(tuple(replaced.get(entry, entry) for entry in row) for row in block)  # type: ignore[call-overload]

    count = len(formulas.carriers)
    return (
        CellFormulas(
            formulas.states,
            formulas.fields,
            formulas.drives,
            tuple(done[:count]),
            tuple(done[count : len(steps)]),
            type(circuit)(*(block_of(block) for block in blocks)),  # type: ignore[arg-type]
        ),
        {name: tuple(members) for name, members in groups.items()},
    )


def _program(
    updates: Mapping[str, Expression],
    averages: Sequence[tuple[str, Expression]],
    noises: Mapping[str, tuple[str, ...]],
    carriers: tuple[str, ...],
    outputs: Sequence[Expression],
    integrate: bool,
) -> ChainProgram:
    live = live_variables(updates, [value for _, value in averages])
    carried = [updates[name] for name in live]
    observables = tuple(_split(name, value, carried, integrate) for name, value in averages)
    used = symbols_of([*carried, *(observable.sampled for observable in observables)])
    everything = symbols_of([*carried, *(value for _, value in averages)])
    return ChainProgram(
        states=tuple(live),
        updates=tuple(carried),
        normals=tuple(sorted(name for name in used if "normal " in name)),
        parameters=tuple(sorted(name for name in everything if "normal " not in name and name not in updates)),
        observables=observables,
        noises=dict(noises),
        carriers=carriers,
        outputs=tuple(substitute(outputs, {updates[name]: symbol(f"new {name}") for name in live})),
    )


def live_variables(updates: Mapping[str, Expression], roots: Sequence[Expression]) -> list[str]:
    """Names of the variables whose old values formulas need, directly or for later steps."""
    found: set[str] = set()
    pending = list(roots)
    while pending:
        new = (symbols_of(pending) & updates.keys()) - found
        found |= new
        pending = [updates[name] for name in new]
    return [name for name in updates if name in found]


def _split(name: str, value: Expression, carried: Sequence[Expression], integrate: bool) -> Observable:
    """Split off factors that read only deviates which neither the chain nor the rest of the product reads."""
    if (integrate or name == "keep square") and _free(value, _normals(value), set()):
        return Observable(name, constant(1.0), value)
    if not integrate:
        return Observable(name, value, constant(1.0))
    of_chain = {each for each in symbols_of(carried) if "normal " in each}
    factors = [(each, _normals(each)) for each in _factors(value)]
    while True:
        kept = [normals for each, normals in factors if not _free(each, normals, of_chain)]
        taken = of_chain.union(*kept)
        if taken == of_chain:
            break
        of_chain = taken
    sampled, factor = constant(1.0), constant(1.0)
    for each, normals in factors:
        if _free(each, normals, of_chain):
            factor = factor * each
        else:
            sampled = sampled * each
    return Observable(name, sampled, factor)


def _free(factor: Expression, normals: set[str], taken: set[str]) -> bool:
    """Whether a factor can be integrated by itself: it reads deviates and parameters, all of them its own."""
    # Over two deviates the quadrature needs functions without kinks.
    smooth = len(normals) < 2 or all(node.operation not in _KINKED for node in ordered([factor]))
    return smooth and _of_noise(factor) and normals.isdisjoint(taken)


def _normals(value: Expression) -> set[str]:
    return {name for name in symbols_of([value]) if "normal " in name}


def _of_noise(value: Expression) -> bool:
    return all("normal " in name or name.split()[0] in _PARAMETERS for name in symbols_of([value]))


_KINKED = ("maximum", "minimum", "positive")
_PARAMETERS = ("mean", "deviation", "correlation", "residue")


def _factors(value: Expression) -> list[Expression]:
    if value.operation == "multiply":
        return [factor for operand in value.operands for factor in _factors(operand)]
    return [value]
