"""States at rest against the cells' own updates, run until nothing moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.cells import Cell, find, names
from meanfield.sampling.expressions import evaluate
from meanfield.sampling.static_formulas import NoStaticState, Product, static_formulas

Array = NDArray[Any]
STEP = 1e-30
BUILT_IN = [name for name in names() if type(find(name)).__module__.startswith("meanfield.")]


def settled(cell: Cell, fields: Mapping[str, Array], drives: Mapping[str, Array]) -> list[Array]:
    """The state after many steps in the same fields."""
    state = [np.zeros(5, np.complex128) for _ in cell.states]
    for _ in range(4000):
        state = list(cell.update(state, fields, drives))
    return state


def drawn(cell: Cell) -> tuple[dict[str, Array], dict[str, Array]]:
    generator = np.random.default_rng(1)
    fields = {each.name: generator.standard_normal(5).astype(np.complex128) for each in cell.fields}
    return fields, {gate: 0.5 * generator.standard_normal(5).astype(np.complex128) for gate in cell.gates}


def value(product: Product, members: Mapping[str, tuple[str, ...]], values: Mapping[str, Array]) -> Array:
    totals = {name: np.asarray(sum(values[each] for each in parts)) for name, parts in members.items()}
    found = np.ones(5)
    for factor in product:
        found = found * evaluate([factor.formula], totals)[0]
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_carriers_outputs_and_responses_of_every_cell(name: str) -> None:
    cell = find(name)
    formulas = static_formulas(cell)
    fields, drives = drawn(cell)
    values = {f"field {key}": each.real for key, each in fields.items()}
    values |= {f"drive {key}": each.real for key, each in drives.items()}
    state = settled(cell, fields, drives)
    np.testing.assert_allclose(value(formulas.output, formulas.members, values), state[cell.output].real, rtol=1e-12)
    totals = {key: np.asarray(sum(values[each] for each in parts)) for key, parts in formulas.members.items()}
    for formula, variable in zip(formulas.states, state, strict=True):
        np.testing.assert_allclose(evaluate([formula], totals)[0], variable.real, rtol=1e-12)
    for c, product in enumerate(formulas.carriers):
        expected = cell.carrier(c, state, fields, drives).real
        np.testing.assert_allclose(value(product, formulas.members, values), expected, rtol=1e-12)
    for k, field in enumerate(cell.fields):
        moved = {**fields, field.name: fields[field.name] + 1j * STEP}
        changed = settled(cell, moved, drives)
        for c, row in enumerate(formulas.responses):
            response = cell.carrier(c, changed, moved, drives).imag / STEP
            entry = row[k]
            found = np.zeros(5) if entry is None else value(entry, formulas.members, values)
            np.testing.assert_allclose(found, response, rtol=1e-11, atol=1e-13)


def test_integrals_need_few_variables() -> None:
    most = {
        name: max(
            len(factor.variables)
            for product in (*static_formulas(find(name)).carriers, *sum(static_formulas(find(name)).responses, ()))
            if product is not None
            for factor in product
        )
        for name in BUILT_IN
    }
    assert most == {name: {"lstm": 3, "gru_reset_after": 3}.get(name, 1) for name in BUILT_IN}


def test_memories_that_are_not_affine_are_refused() -> None:
    class Curved(Cell):
        name, gates = "curved", ("h",)

        def update(self, state: Any, fields: Any, drives: Any) -> Any:
            return (np.tanh(state[0] + fields["h"] + drives["h"]),)

        def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
            return self.simple_circuit(((1.0,),), ((1.0,),))

    with pytest.raises(NoStaticState, match="not carried on by an affine map"):
        static_formulas(Curved())

    class Turning(Cell):
        name, gates = "turning", ("h",)

        def update(self, state: Any, fields: Any, drives: Any) -> Any:
            return (-0.5 * state[0] + np.tanh(fields["h"] + drives["h"]),)

        def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
            return self.simple_circuit(((-0.5,),), ((1.0,),))

    with pytest.raises(NoStaticState, match="share from 0 to 1"):
        static_formulas(Turning())
