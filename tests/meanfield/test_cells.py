"""Every registered cell: its circuit is the derivative of its update, saturated gates included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.cells import Cell, find, names, register, unregister
from meanfield.errors import InvalidInput
from meanfield.sampling.cell import Field
from meanfield.solvers.linear_circuit import dense

Array = NDArray[Any]

UNITS = 400
STEP = 1e-30


def random_point(
    cell: Cell, seed: int, spread: float, states: float
) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    """States, fields and drives; pre-activations are up to the spread, states up to theirs."""
    g = np.random.default_rng(seed)
    state = [g.uniform(-states, states, UNITS) for _ in cell.states]
    fields = {field.name: g.uniform(-spread / 2, spread / 2, UNITS) for field in cell.fields}
    drives = {gate: g.uniform(-spread / 2, spread / 2, UNITS) for gate in cell.gates}
    return state, fields, drives


def moved(values: Sequence[Array], index: int) -> list[Array]:
    """The values with one of them moved along the imaginary axis, all complex."""
    return [value + (1j * STEP if n == index else 0j) for n, value in enumerate(values)]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("spread", "states"), [(2.0, 1.0), (8.0, 5.0), (80.0, 50.0), (40.0, 1e-3)])
def test_the_circuit_is_the_derivative_of_the_update(name: str, spread: float, states: float) -> None:
    cell = find(name)
    state, fields, drives = random_point(cell, len(name), spread, states)
    circuit = cell.circuit(state, fields, drives)
    # Derivatives below 1e-270 fall out of the numbers once multiplied by the step.
    field_names, carriers = [f.name for f in cell.fields], 1 + max(f.carrier for f in cell.fields)

    def differentiate(kind: str, index: int) -> tuple[Array, Array]:
        """Derivatives of the new state and of the carriers, (units, rows)."""
        s = moved(state, index if kind == "state" else -1)
        y = dict(zip(field_names, moved(list(fields.values()), index if kind == "field" else -1), strict=True))
        d = dict(zip(cell.gates, moved(list(drives.values()), index if kind == "drive" else -1), strict=True))
        p = [np.broadcast_to(cell.carrier(c, s, y, d), (UNITS,)) for c in range(carriers)]
        return tuple(np.stack([each.imag / STEP for each in rows], axis=-1) for rows in (cell.update(s, y, d), p))

    for kind, count, to_state, to_carrier in (
        ("state", len(cell.states), circuit.state_to_state, circuit.state_to_carrier),
        ("field", len(cell.fields), circuit.field_to_state, circuit.field_to_carrier),
        ("drive", len(cell.gates), circuit.drive_to_state, circuit.drive_to_carrier),
    ):
        found_state, found_carrier = dense(to_state, (UNITS,)), dense(to_carrier, (UNITS,))
        assert found_state.shape == (UNITS, len(cell.states), count)
        assert found_carrier.shape == (UNITS, carriers, count)
        for index in range(count):
            expected_state, expected_carrier = differentiate(kind, index)
            np.testing.assert_allclose(found_state[..., index], expected_state, rtol=1e-10, atol=1e-270)
            np.testing.assert_allclose(found_carrier[..., index], expected_carrier, rtol=1e-10, atol=1e-270)


@pytest.mark.parametrize("name", names())
def test_carriers_read_only_earlier_fields(name: str) -> None:
    cell = find(name)
    circuit = cell.circuit(*random_point(cell, 0, 4.0, 2.0))
    Q = dense(circuit.field_to_carrier, (UNITS,))
    for k, field in enumerate(cell.fields):
        for carrier in range(Q.shape[1]):
            if field.carrier >= carrier:
                assert not Q[:, carrier, k].any()
    order = [field.carrier for field in cell.fields]
    assert order == sorted(order)


@pytest.mark.parametrize("name", names())
def test_cells_work_on_any_shape_and_keep_single_precision(name: str) -> None:
    cell = find(name)
    shape = (2, 3, 5)
    g = np.random.default_rng(0)

    def values() -> Array:
        return g.standard_normal(shape).astype(np.float32)

    state = [values() for _ in cell.states]
    fields, drives = {f.name: values() for f in cell.fields}, {gate: values() for gate in cell.gates}
    for new in cell.update(state, fields, drives):
        assert new.shape == shape
        assert new.dtype == np.float32
    circuit = cell.circuit(state, fields, drives)
    for row in circuit.state_to_state + circuit.field_to_state + circuit.drive_to_state:
        for entry in row:
            assert isinstance(entry, float) or (entry.dtype == np.float32 and entry.shape == shape)


@pytest.mark.parametrize("name", names())
def test_extreme_preactivations_leave_finite_circuits(name: str) -> None:
    cell = find(name)
    for scale in (1e3, 1e30):
        for sign in (-1.0, 1.0):
            state = [np.full(4, 3.0, np.float32) for _ in cell.states]
            fields = {f.name: np.full(4, sign * scale / 2, np.float32) for f in cell.fields}
            drives = {gate: np.full(4, sign * scale / 2, np.float32) for gate in cell.gates}
            with np.errstate(over="ignore", under="ignore"):  # as a population does
                circuit, new = cell.circuit(state, fields, drives), cell.update(state, fields, drives)
            assert np.all(np.isfinite(dense(circuit.state_to_state, (4,))))
            assert np.all(np.isfinite(dense(circuit.field_to_state, (4,))))
            assert np.all(np.isfinite(new))


def test_names_that_are_taken_are_refused() -> None:
    class Other(Cell):
        """Another cell."""

        name = "lstm"
        gates = ("a",)

    with pytest.raises(InvalidInput, match="cell name 'lstm' is already taken by LSTM"):
        register(Other())
    register(find("lstm"))  # the same class again is no conflict


def test_fields_of_unknown_gates_are_refused() -> None:
    class Broken(Cell):
        """A cell that refers to a gate it lacks."""

        name = "broken"
        gates = ("a",)
        fields = (Field("a", "b"),)

    with pytest.raises(InvalidInput, match="gates that it does not have: b"):
        register(Broken())
    unregister("broken")
    with pytest.raises(InvalidInput, match="unknown cell 'broken'; known cells are vanilla"):
        find("broken")
