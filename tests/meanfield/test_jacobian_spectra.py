"""Spectra of one-step Jacobians against dense Jacobians of simulated networks."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find, names, register, unregister
from meanfield.cells.cell import State, Values
from meanfield.cells.gru import GRU
from meanfield.errors import InvalidInput
from meanfield.estimate import from_groups
from meanfield.sampling.population import Regime
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import jacobian


def network_of(name: str) -> mf.Network:
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gains = {"h": 1.4, "g": 1.4, "f": 0.3 if name == "peephole_lstm" else 1.0}
    if name == "vanilla_relu":
        gains["h"] = 1.0
    gates = {}
    for gate in cell.gates:
        keep = 1.0 if gate == "f" and name != "peephole_lstm" else 0.0
        gates[gate] = mf.Gate(gains.get(gate, 0.7) if gate in recurrent else 0.0, 0.7, keep, 0.2)
    return mf.Network(name, gates)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_spectra_agree_with_dense_jacobians(name: str, regime: Regime) -> None:
    hidden, length, networks = 160, 30, 8
    network = network_of(name)
    found = mf.spectra(
        network, mf.Inputs(), hidden=hidden, length=length, start="zero", units=8192, groups=16, seed=1, regime=regime
    )
    dense = jacobian(network, mf.Inputs(), hidden=hidden, length=length, networks=networks, seed=2, regime=regime)
    gram = dense @ dense.transpose(0, 2, 1)
    first = np.trace(gram, axis1=1, axis2=2) / dense.shape[1]
    second = np.sum(gram**2, axis=(1, 2)) / dense.shape[1]
    values = np.linalg.eigvals(dense)
    # Infinite width against 160 units: a few parts in N, twice as many gates in the second moment.
    assert deviation(found.first_moment, first, allowance=0.03) < 4.0
    assert deviation(found.second_moment, second, allowance=0.06) < 4.0
    # Eigenvalues near the circle count wholly or not at all: one of them a network.
    shares = from_groups(np.mean(np.abs(values - 1.0) < 0.1, axis=1))
    error = np.hypot(shares.error, found.slow_fraction.error)
    assert abs(shares.value - found.slow_fraction.value) < 4.0 * error + 1.0 / dense.shape[1]
    # The edge is for a population of this width; eigenvalues reach beyond the edge of the bulk by about 1/√N at most.
    reached = values.real.max(axis=1)
    assert deviation(found.eigenvalue_edge, reached, allowance=1.0 / np.sqrt(hidden)) < 4.0
    assert found.hidden == hidden


@pytest.mark.parametrize(("name", "gain"), [("gru", "h"), ("gru_reset_after", "h"), ("lstm", "g")])
@pytest.mark.parametrize("value", [1.0, 2.0, 3.0])
def test_edges_at_rest_are_one_half_and_a_quarter_of_the_gain(name: str, gain: str, value: float) -> None:
    gates = {gate: mf.Gate(value if gate == gain else 1.0) for gate in find(name).gates}
    inputs = mf.Inputs.padded(signal=1, length=2, power=0.0)  # a run that cannot leave the zero state
    found = mf.spectra(mf.Network(name, gates), inputs, length=2, units=512)
    assert found.eigenvalue_edge.value == pytest.approx(0.5 + value / 4.0, rel=1e-6)
    assert found.edge_scatter == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["vanilla", "vanilla_erf"])
def test_the_plain_network_at_rest_has_its_gain_as_edge(name: str) -> None:
    slope = {"vanilla": 1.0, "vanilla_erf": 2.0 / np.sqrt(np.pi)}[name]
    inputs = mf.Inputs.padded(signal=1, length=2, power=0.0)
    found = mf.spectra(mf.Network(name, {"h": mf.Gate(0.8)}), inputs, length=2, units=512)
    assert found.eigenvalue_edge.value == pytest.approx(0.8 * slope, rel=1e-6)
    assert found.first_moment.value == pytest.approx((0.8 * slope) ** 2, rel=1e-6)
    assert found.second_moment.value == pytest.approx(2.0 * (0.8 * slope) ** 4, rel=1e-6)


def test_edges_of_wide_networks_reach_further() -> None:
    """The keep gates come the closer to one the more there are."""
    network = mf.Network("gru", {"f": mf.Gate(1.0, 1.0, 1.0), "r": mf.Gate(1.0), "h": mf.Gate(0.5, 1.0)})
    edges = [mf.spectra(network, hidden=hidden, units=4096, seed=3).eigenvalue_edge for hidden in (32, 256, 2048)]
    for narrow, wide in pairwise(edges):
        assert wide.value - narrow.value > 2.0 * np.hypot(wide.error, narrow.error)


def test_networks_without_weights_have_their_skip_path_as_spectrum() -> None:
    for name in names():
        cell = find(name)
        found = mf.spectra(mf.Network(name, {gate: mf.Gate() for gate in cell.gates}), mf.Inputs(power=0.0), units=128)
        skip = 0.7 if name == "leaky" else 0.5 if cell.keep_gate else 0.0
        assert found.eigenvalue_edge.value == pytest.approx(skip, abs=1e-6)
        assert found.slow_fraction.value == pytest.approx(0.0, abs=1e-6)


def test_the_seed_decides_everything() -> None:
    network = network_of("lstm")
    first, again, other = (mf.spectra(network, mf.Inputs(size=4), length=10, units=512, seed=s) for s in (4, 4, 5))
    assert first == again
    assert first.first_moment != other.first_moment


@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_slow_modes_where_the_circle_grazes_the_boundary(regime: Regime) -> None:
    """Points of the circle next to the support's boundary, where the iteration alone would take thousands of steps."""
    network, inputs = mf.Network("gru", dict.fromkeys("frh", mf.Gate(1.5, 0.5, 0.0, 0.3))), mf.Inputs(size=12)
    matrices = jacobian(network, inputs, hidden=256, length=60, networks=6, regime=regime)
    seen = [np.mean(np.abs(np.linalg.eigvals(matrix) - 1.0) < 0.1) for matrix in matrices]
    for seed in range(8):
        predicted = mf.spectra(network, inputs, units=512, length=30, regime=regime, seed=seed).slow_fraction
        error = np.hypot(predicted.error, np.std(seen, ddof=1) / np.sqrt(6))
        assert abs(predicted.value - np.mean(seen)) < 4.0 * error + 1.0 / 256  # and one eigenvalue


class _TwofoldReset(GRU):
    """A GRU whose reset gate acts on the state too, which the second moment's pairings do not cover."""

    name = "twofold_reset"

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        circuit = super().circuit(state, fields, drives)
        through_keep, _, through_new = circuit.field_to_state[0]
        return dataclasses.replace(circuit, field_to_state=((through_keep, through_keep, through_new),))


def test_a_circuit_beyond_the_pairings_is_refused_by_name() -> None:
    register(_TwofoldReset())
    try:
        network = mf.Network("twofold_reset", dict.fromkeys("frh", mf.Gate(1.0, 1.0)))
        with pytest.raises(InvalidInput, match=r"cell 'twofold_reset': .* not on both"):
            mf.spectra(network, length=4, units=256, hidden=64, start="zero")
    finally:
        unregister("twofold_reset")
