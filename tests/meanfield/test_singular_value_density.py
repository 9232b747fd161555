"""Singular values of one-step Jacobians against simulated networks and PyTorch's cells."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import meanfield as mf
from meanfield.cells import find, names, register, unregister
from meanfield.cells.cell import State, Values
from meanfield.cells.gru import GRU
from meanfield.errors import InvalidInput
from meanfield.sampling.population import Regime
from meanfield.singular_value_density import SingularValues, singular_values
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.validation.finite_width import jacobian

Float64 = NDArray[np.float64]


def network_of(name: str) -> mf.Network:
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gains = {"h": 1.4, "g": 1.4, "f": 0.3 if name == "peephole_lstm" else 1.0}
    gates = {}
    for gate in cell.gates:
        keep = 1.0 if gate == "f" and name != "peephole_lstm" else 0.0
        gates[gate] = mf.Gate(gains.get(gate, 0.7) if gate in recurrent else 0.0, 0.7, keep, 0.2)
    return mf.Network(name, gates)


def assert_distributed(found: SingularValues, values: Float64) -> None:
    """Distributions of networks, (networks, singular values), at quantiles of all, against the prediction."""
    at = np.quantile(values, np.linspace(0.04, 0.96, 24))
    at = at[at > 1e-6]  # rounding of what is exactly zero
    seen = np.mean(values[:, None, :] <= at[:, None], axis=2)
    error = np.std(seen, axis=0, ddof=1) / np.sqrt(len(seen))
    predicted = found.distribution(at)
    # Errors from few networks are uncertain themselves: the largest over all points; and a part in N for the width.
    largest = np.hypot(np.max(error), np.max(predicted.errors))
    assert np.max(np.abs(seen.mean(axis=0) - predicted.values)) < 4.0 * largest + 1.0 / values.shape[1]


@pytest.mark.parametrize("name", names())
def test_distributions_are_those_of_simulated_networks(name: str) -> None:
    hidden, length, networks = 128, 30, 8
    regime: Regime = "untied" if name in ("vanilla", "janet") else "tied"
    network = network_of(name)
    found = singular_values(
        network, hidden=hidden, length=length, start="zero", units=2048, groups=8, seed=1, regime=regime
    )
    dense = jacobian(network, mf.Inputs(), hidden=hidden, length=length, networks=networks, seed=2, regime=regime)
    assert_distributed(found, np.linalg.svd(dense, compute_uv=False))


@pytest.mark.parametrize("name", ["gru_reset_after", "lstm"])
def test_distributions_are_those_of_pytorch_cells(name: str) -> None:
    """Cells drawn from a network's law, run by PyTorch, their Jacobian by its automatic differentiation."""
    hidden, inputs, networks = 160, 16, 6
    torch.manual_seed(0)
    network = network_of(name)
    found = singular_values(
        network, mf.Inputs(size=inputs), hidden=hidden, length=40, start="zero", units=1920, groups=12, seed=3
    )
    values = []
    for seed in range(networks):
        cell = (torch.nn.LSTMCell if name == "lstm" else torch.nn.GRUCell)(inputs, hidden, dtype=torch.float64)
        mf.torch.initialize(cell, network, seed=seed)
        state = torch.zeros(2 if name == "lstm" else 1, hidden, dtype=torch.float64)
        for x in torch.randn(40, inputs, dtype=torch.float64):
            before, read = state, x

            def step(rows: torch.Tensor, cell: torch.nn.Module = cell, read: torch.Tensor = read) -> torch.Tensor:
                if name == "lstm":
                    h, c = cell(read, (rows[1], rows[0]))
                    return torch.stack([c, h])
                return cell(read, rows[0])[None]

            with torch.no_grad():
                state = step(before)
        J = torch.autograd.functional.jacobian(step, before, vectorize=True).reshape(state.numel(), -1)
        values.append(torch.linalg.svdvals(J).numpy())
    assert_distributed(found, np.array(values))


def test_moments_edges_and_quantiles_belong_to_the_density() -> None:
    found = singular_values(network_of("gru"), hidden=64, units=512, groups=8, length=20, start="zero")
    moments = np.mean([law.moments() for law in found.laws], axis=0)
    np.testing.assert_allclose([found.first_moment.value, found.second_moment.value], moments, rtol=1e-10)
    low = min(law.inner_edge.value for law in found.laws)
    high = max(law.outer_edge.value for law in found.laws)
    assert low <= found.inner_edge.value < found.outer_edge.value <= high
    assert found.inner_edge.error > 0.0
    beyond = found.density([0.999 * low, 1.001 * high])
    np.testing.assert_array_equal(beyond.values, 0.0)
    np.testing.assert_allclose(found.distribution([0.999 * low, 1.001 * high]).values, [0.0, 1.0], atol=1e-10)
    middle = found.quantile(0.5)
    at = found.distribution([middle.value])
    assert at.values[0] == pytest.approx(0.5, abs=1e-8)
    # To first order the errors of a quantile and of the distribution there are one divided by the density.
    assert middle.error == pytest.approx(at.errors[0] / found.density([middle.value]).values[0], rel=0.2)


def test_the_error_is_that_of_other_seeds() -> None:
    network, points = network_of("lstm"), [0.3, 0.8, 1.2]
    found = [singular_values(network, units=1024, groups=16, length=10, start="zero", seed=seed) for seed in range(10)]
    curves = [each.distribution(points) for each in found]
    scatter = np.std([curve.values for curve in curves], axis=0, ddof=1)
    stated = np.sqrt(np.mean([curve.errors**2 for curve in curves], axis=0))
    # Ten seeds know a standard deviation within a factor of two.
    assert np.all(scatter < 2.5 * stated)
    assert np.all(scatter > stated / 2.5)


def test_rectified_units_that_are_off_leave_an_atom() -> None:
    network = mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 0.7)})
    found = singular_values(network, hidden=64, units=512, groups=8, length=20, start="zero")
    atom = found.atom_at_zero.value
    assert abs(atom - 0.5) < 4.0 * 0.5 / np.sqrt(512)
    assert found.atom_at_zero.error < 0.1
    assert found.distribution([0.0]).values[0] == pytest.approx(atom, abs=1e-12)
    assert found.quantile(0.2).value == 0.0
    # Marchenko-Pastur for the rows that are on, group by group.
    on = [1.0 - law.atom for law in found.laws]
    assert found.outer_edge.value == pytest.approx(np.mean(1.0 + np.sqrt(on)), abs=1e-9)
    assert found.inner_edge.value == pytest.approx(np.mean(1.0 - np.sqrt(on)), abs=1e-9)


def test_networks_at_rest_and_without_weights() -> None:
    quiet = mf.Inputs(power=0.0)
    for name in names():
        cell = find(name)
        found = singular_values(mf.Network(name, {gate: mf.Gate() for gate in cell.gates}), quiet, units=128)
        skip = 0.7 if name == "leaky" else 0.5 if cell.keep_gate else 0.0
        if len(cell.states) == 2:
            skip *= np.sqrt(1.25)  # h = c/2 at rest
            assert found.atom_at_zero.value == 0.5
        assert found.outer_edge.value == pytest.approx(skip, rel=1e-6)
        assert found.distribution([skip * (1.0 + 1e-6) + 1e-9]).values[0] == pytest.approx(1.0)


def test_the_seed_decides_everything() -> None:
    network = network_of("lstm")
    first, again, other = (
        singular_values(network, mf.Inputs(size=4), length=10, units=512, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first.density([0.5, 1.0]).values, again.density([0.5, 1.0]).values)
    assert first == again
    assert first.first_moment != other.first_moment


class _TwofoldReset(GRU):
    """A GRU whose reset gate acts on the state too, which the second moment's pairings do not cover."""

    name = "twofold_reset"

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        circuit = super().circuit(state, fields, drives)
        through_keep, _, through_new = circuit.field_to_state[0]
        return dataclasses.replace(circuit, field_to_state=((through_keep, through_keep, through_new),))


def test_circuits_beyond_the_pairings_have_a_law_too() -> None:
    register(_TwofoldReset())
    try:
        network = mf.Network("twofold_reset", dict.fromkeys("frh", mf.Gate(1.0, 1.0)))
        found = singular_values(network, length=4, units=256, hidden=64, start="zero")
        assert 0.0 < found.first_moment.value**2 < found.second_moment.value
    finally:
        unregister("twofold_reset")


def test_requests_that_make_no_sense_are_refused_by_name() -> None:
    network = network_of("vanilla")
    with pytest.raises(InvalidInput, match="length"):
        singular_values(network, length=0)
    found = singular_values(network, units=128, length=2, start="zero")
    for wrong in ([-1.0], [np.nan], [[1.0]]):
        with pytest.raises(InvalidInput, match="points"):
            found.density(wrong)
        with pytest.raises(InvalidInput, match="points"):
            found.distribution(wrong)
    for share in (-0.1, 1.5, np.nan):
        with pytest.raises(InvalidInput, match="share"):
            found.quantile(share)
