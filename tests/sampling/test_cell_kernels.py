"""Compiled steps of cells give what the cells' own functions give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield import Gate, Inputs, Network, register
from meanfield.cells import find, names, unregister
from meanfield.cells.janet import Janet
from meanfield.sampling.cell_kernels import cell_kernels
from meanfield.sampling.population import Layout, Population
from meanfield.solvers.linear_circuit import dense

Array = NDArray[Any]
SHAPE = (3, 2, 70)


def random_point(name: str, spread: float, seed: int) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    cell, g = find(name), np.random.default_rng(seed)

    def draw(size: float) -> Array:
        return g.uniform(-size, size, SHAPE).astype(np.float32)

    # Drives that are the same for all sequences come as views that repeat.
    drives = {gate: np.broadcast_to(draw(spread / 2)[:, :1], SHAPE) for gate in cell.gates}
    fields = {field.name: draw(spread / 2) for field in cell.fields}
    return [draw(min(spread, 5.0)) for _ in cell.states], fields, drives


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("spread", [0.01, 2.0, 20.0, 80.0])
def test_update_and_circuit_are_those_of_the_cell(name: str, spread: float) -> None:
    cell, kernels = find(name), cell_kernels(find(name))
    assert kernels is not None
    state, fields, drives = random_point(name, spread, len(name))
    new, circuit = kernels.step(state, fields, drives, linearise=True)
    alone, nothing = kernels.step(state, fields, drives, linearise=False)
    assert nothing is None
    assert circuit is not None
    # The reference is in double precision. Arguments as large as the spread are rounded in single precision, and
    # exponentials turn that into a relative error; differences of states cancel.
    wide = [each.astype(np.float64) for each in state]
    wide_fields, wide_drives = ({k: v.astype(np.float64) for k, v in each.items()} for each in (fields, drives))
    rounding = 1e-6 + 2e-7 * spread
    for found, again, true in zip(new, alone, cell.update(wide, wide_fields, wide_drives), strict=True):
        np.testing.assert_array_equal(found, again)
        np.testing.assert_allclose(found, true, rtol=rounding, atol=rounding * float(np.max(np.abs(true))))
    for block, true_block in zip(
        vars(circuit).values(), vars(cell.circuit(wide, wide_fields, wide_drives)).values(), strict=True
    ):
        true = dense(true_block, SHAPE)
        scale = float(np.max(np.abs(true), initial=0.0))
        np.testing.assert_allclose(dense(block, SHAPE), true, rtol=rounding, atol=rounding * scale)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_slopes_keep_their_digits_where_gates_saturate(name: str) -> None:
    cell, kernels = find(name), cell_kernels(find(name))
    assert kernels is not None
    u = np.array([-60.0, -30.0, 30.0, 60.0], np.float32)
    zero = np.zeros_like(u)
    state = [np.full_like(u, 0.5) for _ in cell.states]
    fields, drives = dict.fromkeys((f.name for f in cell.fields), zero), dict.fromkeys(cell.gates, u)
    _, circuit = kernels.step(state, fields, drives, linearise=True)
    assert circuit is not None
    through_keep = np.asarray(circuit.field_to_state[0][[f.gate for f in cell.fields].index("f")], dtype=np.float64)
    other = np.tanh(u) if name == "gru" else 0.0
    expected = np.exp(-np.abs(u.astype(np.float64))) * (0.5 - other)
    np.testing.assert_allclose(through_keep, expected, rtol=1e-5)


class Sine(Janet):
    """A cell with a function that kernels do not know."""

    name = "sine_cell"

    def update(self, state: Any, fields: Any, drives: Any) -> tuple[Array, ...]:
        (memory,) = super().update(state, fields, drives)
        return (np.sin(memory),)


def test_cells_that_cannot_be_compiled_run_by_their_own_functions() -> None:
    register(Sine())
    try:
        gates = {"f": Gate(1.0, 1.0, 1.0), "g": Gate(1.0, 1.0)}
        assert cell_kernels(find("sine_cell")) is None
        population = Population(
            find("sine_cell"), Network("sine_cell", gates).gates, Inputs(), layout=Layout(2, 1, 64), steps=5
        )
        for _ in range(5):
            population.advance()
        assert np.all(np.isfinite(population.state[0]))
        assert float(np.std(population.state[0])) > 0.01
    finally:
        unregister("sine_cell")


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after"])
def test_populations_are_the_same_with_and_without_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gates = {gate: Gate(1.0, 0.7, float(gate == "f"), 0.2) for gate in find(name).gates}

    def final_state() -> Array:
        population = Population(
            find(name), Network(name, gates).gates, Inputs(size=8), layout=Layout(4, 2, 64), steps=30, seed=3
        )
        for _ in range(30):
            population.advance()
        return population.state[find(name).output]

    compiled = final_state()
    monkeypatch.setattr("meanfield.sampling.population.cell_kernels", lambda cell: None)
    # Rounding grows along the trajectory, but hardly in networks that forget.
    np.testing.assert_allclose(compiled, final_state(), atol=2e-4)
