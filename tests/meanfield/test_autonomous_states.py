"""Static states against 30-digit arithmetic, quadrature written out, simulated networks and dense Jacobians."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.activations import gate
from meanfield.autonomous_states import quiet_state, static_states
from meanfield.cells import Cell, unregister
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.static_moments import StaticMoments
from meanfield.static_stability import static_sample
from meanfield.validation.agreement import deviation
from meanfield.validation.dense_circuits import dense_jacobian
from meanfield.validation.finite_width import simulate

SILENT = mf.Inputs(power=0.0)


def network(cell: str, **gates: mf.Gate) -> mf.Network:
    return mf.Network(cell, gates)


def vanilla(gain: float, bias_std: float = 0.0, cell: str = "vanilla") -> mf.Network:
    return network(cell, h=mf.Gate(recurrent_gain=gain, bias_std=bias_std))


@pytest.mark.parametrize(("gain", "bias_std"), [(1.5, 0.0), (1.02, 0.0), (8.0, 0.0), (0.9, 0.4), (3.0, 0.2)])
def test_vanilla_states_to_twelve_digits(gain: float, bias_std: float) -> None:
    with mpmath.workdps(30):

        def average(function: Any, moment: Any) -> Any:
            deviation_ = mpmath.sqrt(gain**2 * moment + mpmath.mpf(bias_std) ** 2)
            return mpmath.quad(
                lambda z: function(deviation_ * z) * mpmath.npdf(z), [-14, -4, -1, -0.2, 0, 0.2, 1, 4, 14]
            )

        state = static_states(vanilla(gain, bias_std))[-1]
        start = mpmath.mpf(state.second_moment.value)
        moment = mpmath.findroot(
            lambda q: average(lambda u: mpmath.tanh(u) ** 2, q) / q - 1, (start * 0.999, start * 1.001)
        )
        radius = gain**2 * average(lambda u: mpmath.sech(u) ** 4, moment)
        slope = gain**2 * average(lambda u: mpmath.sech(u) ** 4 - 2 * mpmath.tanh(u) ** 2 * mpmath.sech(u) ** 2, moment)
    for found, exact in ((state.second_moment, moment), (state.radius, radius), (state.moment_slope, slope)):
        assert abs(found.value - float(exact)) <= found.error
    assert state.second_moment.error < 1e-12
    assert len(static_states(vanilla(gain, bias_std))) == (1 if bias_std else 2)
    assert state.stable == (float(radius) < 1.0)


def test_states_of_erf_and_relu_networks() -> None:
    zero, state = static_states(vanilla(1.3, cell="vanilla_erf"))
    q = state.second_moment.value
    v = 1.3**2 * q
    assert q == pytest.approx(2.0 / math.pi * math.asin(2.0 * v / (1.0 + 2.0 * v)), rel=1e-13)
    assert state.radius.value == pytest.approx(1.3**2 * 4.0 / math.pi / math.sqrt(1.0 + 4.0 * v), rel=1e-12)
    assert zero.radius.value == pytest.approx(1.3**2 * 4.0 / math.pi, rel=1e-13)
    (state,) = static_states(vanilla(1.2, 0.3, cell="vanilla_relu"))  # Q = v/2, v = σ²Q + ρ²
    assert state.second_moment.value == pytest.approx(0.045 / (1.0 - 0.72), rel=1e-13)
    assert state.radius.value == pytest.approx(0.72, rel=1e-13)
    (zero,) = static_states(vanilla(1.2, cell="vanilla_relu"))
    assert zero.zero
    assert zero.radius.value == pytest.approx(0.72, rel=1e-13)
    assert static_states(vanilla(1.5, 0.3, cell="vanilla_relu")) == ()
    with pytest.raises(mf.NotConverged, match="to within its errors"):
        static_states(vanilla(math.sqrt(2.0), cell="vanilla_relu"))


def test_lstm_states_against_quadrature_written_out() -> None:
    gates = {
        "i": mf.Gate(recurrent_gain=1.0, bias_mean=-0.3, bias_std=0.2),
        "f": mf.Gate(recurrent_gain=0.8, bias_mean=0.7, bias_std=0.3),
        "g": mf.Gate(recurrent_gain=1.2, bias_mean=0.1, bias_std=0.4),
        "o": mf.Gate(recurrent_gain=0.9, bias_std=0.1),
    }
    (state,) = static_states(mf.Network("lstm", gates))
    q = state.second_moment.value
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    weights = weights / np.sum(weights)

    def u(name: str) -> NDArray[np.float64]:
        law = gates[name]
        return law.bias_mean + math.sqrt(law.recurrent_gain**2 * q + law.bias_std**2) * nodes

    i, f, o = (1.0 / (1.0 + np.exp(-u(name))) for name in ("i", "f", "o"))
    g = np.tanh(u("g"))
    i, f, g = i[:, None, None], f[None, :, None], g[None, None, :]
    c = i * g / (1.0 - f)
    slope = o @ (weights * o)

    def average(values: NDArray[np.float64]) -> float:
        return float(np.einsum("ijk,i,j,k", np.broadcast_to(values, (150, 150, 150)), weights, weights, weights))

    assert q == pytest.approx(slope * average(np.tanh(c) ** 2), rel=1e-7)
    through = (1.0 - np.tanh(c) ** 2) / (1.0 - f)
    radius = slope * sum(
        gates[name].recurrent_gain ** 2 * average((through * part) ** 2)
        for name, part in (("i", i * (1.0 - i) * g), ("f", f * (1.0 - f) * c), ("g", i * (1.0 - g**2)))
    )
    radius += gates["o"].recurrent_gain ** 2 * float(weights @ (o * (1.0 - o)) ** 2) * average(np.tanh(c) ** 2)
    assert abs(state.radius.value - radius) <= state.radius.error + 1e-8


def test_gru_states_come_in_pairs_at_large_reset_gains() -> None:
    """Beyond σ_r = √8 non-zero states appear before zero is lost, and for σ_r → ∞ from σ_h = √2 on (Can et al.)."""

    def states(h: float, r: float) -> int:
        quiet, reset, new = mf.Gate(), mf.Gate(recurrent_gain=r), mf.Gate(recurrent_gain=h)
        return len(static_states(network("gru", f=quiet, r=reset, h=new)))

    assert states(1.999, math.sqrt(8.0) - 0.1) == 1
    assert states(1.9999, math.sqrt(8.0) + 0.2) == 3
    assert states(2.001, math.sqrt(8.0) + 0.2) == 2
    assert states(math.sqrt(2.0), 1e3) == 1
    assert states(math.sqrt(2.0) + 0.02, 1e3) == 3


def test_keep_gates_do_not_move_where_units_rest() -> None:
    other = mf.Gate(recurrent_gain=2.5, bias_std=0.1)
    moved = [
        static_states(network("gru", f=keep, r=other, h=other))[0].second_moment.value
        for keep in (mf.Gate(), mf.Gate(recurrent_gain=3.0, bias_mean=4.0, bias_std=1.0))
    ]
    assert moved[0] == moved[1]


def test_iterated_and_scanned_states_agree() -> None:
    for each in (vanilla(0.9, 0.4), network("gru", **dict.fromkeys("frh", mf.Gate(1.0, bias_std=0.3)))):
        settled, scanned = quiet_state(each, 0.0), static_states(each)[0]
        for name in ("second_moment", "radius", "moment_slope"):
            one, other = getattr(settled, name), getattr(scanned, name)
            assert abs(one.value - other.value) <= one.error + other.error < 1e-5


@pytest.mark.parametrize(
    "tied",
    [
        vanilla(1.0, 0.5),
        network("gru", f=mf.Gate(1.0, bias_std=0.3), r=mf.Gate(2.0), h=mf.Gate(1.6, bias_std=0.4)),
        network("lstm", **dict.fromkeys("ifgo", mf.Gate(1.0, bias_std=0.6))),
    ],
    ids=lambda each: each.cell,
)
def test_networks_settle_at_stable_states(tied: mf.Network) -> None:
    (state,) = static_states(tied)
    assert state.stable
    seen = simulate(tied, SILENT, hidden=500, length=1, networks=8, burn_in=220, directions=1).second_moment
    np.testing.assert_allclose(seen[:, -1], seen[:, -2], rtol=1e-6)
    assert deviation(state.second_moment, seen[:, -1]) < 4.0


def test_a_constant_input_is_one_more_bias() -> None:
    gate = mf.Gate(recurrent_gain=1.2, input_gain=0.5)
    (fed,) = static_states(network("janet", f=gate, g=gate), mf.Inputs(power=0.36))
    (biased,) = static_states(network("janet", **dict.fromkeys("fg", mf.Gate(1.2, bias_std=0.3))))
    assert fed.second_moment.value == pytest.approx(biased.second_moment.value, rel=1e-14)
    with pytest.raises(mf.InvalidInput, match="one constant input"):
        static_states(vanilla(1.0), mf.Inputs.padded(signal=2, length=4))


def test_the_edge_is_that_of_dense_jacobians_at_sampled_fields() -> None:
    gru = network("gru", f=mf.Gate(1.5, bias_mean=0.5), r=mf.Gate(2.0), h=mf.Gate(2.6, bias_std=0.2))
    (state,) = static_states(gru)
    assert not state.stable
    edge = state.eigenvalue_edge(hidden=500)
    sample = static_sample(
        StaticMoments(gru, 0.0), [state.carriers["f"].value, state.carriers["h"].value], groups=4, hidden=500, seed=7
    )
    generator = np.random.default_rng(3)
    seen = []
    for k in range(4):
        one = sample.taken(np.array([k]))
        flat = type(one)(
            *(getattr(one, name)[0] for name in ("state_to_state", "field_to_state")),
            *(getattr(one, name)[0] for name in ("state_to_carrier", "field_to_carrier")),
            one.gains,
            one.carrier_of,
        )
        seen.append(float(np.max(np.linalg.eigvals(dense_jacobian(flat, generator)).real)))
    assert edge.value > 1.0
    assert deviation(edge, seen, allowance=0.02) < 4.0


class Sigmoidal(Cell):
    """s = σ(u): units that are silent unless many others are active."""

    name, gates, keep_gate = "sigmoidal", ("h",), None

    def update(self, state: Any, fields: Any, drives: Any) -> Any:
        return (gate(fields["h"] + drives["h"])[0],)

    def circuit(self, state: Any, fields: Any, drives: Any) -> LinearCircuit:
        return self.simple_circuit(((0.0,),), ((gate(fields["h"] + drives["h"])[2],),))


@pytest.fixture
def threshold() -> Iterator[mf.Network]:
    mf.register(Sigmoidal())
    yield network("sigmoidal", h=mf.Gate(recurrent_gain=12.2174, bias_mean=-3.3775, bias_std=0.1144))
    unregister("sigmoidal")


def test_states_that_run_away_by_their_size(threshold: mf.Network) -> None:
    """The middle state damps random perturbations and amplifies its own size: networks leave it up or down."""
    low, middle, high = static_states(threshold)
    assert low.stable
    assert middle.radius.value < 0.95
    assert middle.moment_slope.value > 1.4
    assert not middle.stable
    assert not high.stable
    law = threshold.gates["h"]
    for seed in range(3):
        generator = np.random.default_rng(seed)
        matrix = generator.standard_normal((1500, 1500)) * (law.recurrent_gain / math.sqrt(1500))
        bias = law.bias_mean + law.bias_std * generator.standard_normal(1500)
        for factor, state_reached in ((0.25, low), (4.0, high)):
            # A draw of the middle state's own fields, all of its activity scaled.
            fields = generator.standard_normal(1500) * (law.recurrent_gain * math.sqrt(middle.second_moment.value))
            state = math.sqrt(factor) / (1.0 + np.exp(-fields - bias))
            for _ in range(50):
                state = 1.0 / (1.0 + np.exp(-matrix @ state - bias))
            assert float(np.mean(state**2)) == pytest.approx(state_reached.second_moment.value, rel=0.3)


def test_cells_without_a_state_at_rest_are_refused() -> None:
    class Wavy(Cell):
        name, gates = "wavy", ("h",)

        def update(self, state: Any, fields: Any, drives: Any) -> Any:
            return (np.sin(fields["h"] + drives["h"]),)

        def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
            return self.simple_circuit(((0.0,),), ((np.cos(fields["h"] + drives["h"]),),))

    mf.register(Wavy())
    try:
        with pytest.raises(mf.InvalidInput, match="kernels do not know sin"):
            static_states(vanilla(1.0, cell="wavy"))
    finally:
        unregister("wavy")


def test_many_laws_give_numbers_with_bounds() -> None:
    generator = np.random.default_rng(0)
    for cell, gates in (("gru", "frh"), ("gru_reset_after", "frh"), ("peephole_lstm", "ifg"), ("cifg_lstm", "fgo")):
        for _ in range(3):
            laws = {
                gate: mf.Gate(
                    float(generator.uniform(0.0, 4.0)),
                    bias_mean=float(generator.normal()),
                    bias_std=float(generator.choice([0.0, 0.3])),
                )
                for gate in gates
            }
            for state in static_states(mf.Network(cell, laws)):
                assert 0.0 <= state.second_moment.error <= 1e-5 * state.second_moment.value
                assert state.as_json()["stable"] == state.stable
