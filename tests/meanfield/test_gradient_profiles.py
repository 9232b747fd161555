"""Gradient profiles against measured examples, closed forms and simulated networks, in and out of the easy cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import names
from meanfield.sampling.population import Regime
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import simulate
from meanfield.validation.simulated_predictions import simulate_predictions

LSTM = mf.Network(
    "lstm",
    {
        "i": mf.Gate(1.0, 0.5, 0.0, 0.2),
        "f": mf.Gate(1.0, 0.5, 1.0, 0.2),
        "g": mf.Gate(2.0, 1.0, 0.0, 0.2),
        "o": mf.Gate(1.0, 0.5, 0.0, 0.2),
    },
)


def vanilla(gain: float, name: str = "vanilla") -> mf.Network:
    return mf.Network(name, {"h": mf.Gate(recurrent_gain=gain, input_gain=1.0, bias_std=0.3)})


@pytest.fixture(scope="module")
def tied_lstm() -> mf.Gradients:
    return mf.gradients(LSTM, mf.Inputs(power=1.0), length=40, units=32768, groups=32, seed=1)


@pytest.mark.parametrize(
    ("lag", "value"),
    [
        (1, 0.101),
        (2, 0.053),
        (3, 0.037),
        (6, 0.0189),
        (11, 0.0089),
        (16, 0.0049),
        (21, 0.0028),
        (31, 0.00092),
        (40, 0.00035),
    ],
)
def test_tied_lstm_gradients_are_those_measured(tied_lstm: mf.Gradients, lag: int, value: float) -> None:
    found = tied_lstm.profile.at(lag)
    assert abs(found.value - value) < 0.05 * value + 4.0 * found.error


def test_tied_and_untied_lstm_differ_as_measured(tied_lstm: mf.Gradients) -> None:
    assert abs(tied_lstm.second_moment.value - 0.0703) < 0.01 * 0.0703 + 4.0 * tied_lstm.second_moment.error
    untied = mf.gradients(LSTM, mf.Inputs(power=1.0), length=40, units=16384, seed=1, regime="untied")
    assert untied.second_moment.value == pytest.approx(0.0466, rel=0.01)
    assert untied.chi.value == pytest.approx(0.623, rel=0.01)
    # Weights that are drawn anew at every step forget by orders of magnitude more.
    assert untied.profile.log10_at(40) < tied_lstm.profile.log10_at(40) - 4.0
    assert untied.timescale is not None
    assert untied.timescale.value == pytest.approx(-1.0 / math.log(0.623), rel=0.03)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_a_linear_network_at_rest_has_powers_of_a_gaussian_matrix(gain: float, regime: Regime) -> None:
    """G(τ) = σ^(2τ), and m2/m1² = T+1 for T steps, whether the factors are equal or independent."""
    length = 8
    network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=gain)})
    found = mf.gradients(network, mf.Inputs(power=0.0), length=length, units=32768, groups=16, regime=regime, seed=2)
    for lag, estimate in found.profile:
        assert abs(estimate.value - gain ** (2 * lag)) <= 4.0 * estimate.error + 1e-6
    assert abs(found.chi.value - gain**2) < 4.0 * found.chi.error
    # Corrections of order T³/N to the second moment.
    assert abs(found.log_spread.value - math.log(length + 1)) < 4.0 * found.log_spread.error + length**3 / 2048 / 4
    first = math.log(gain ** (2 * length))
    assert found.isometry_defect.value == pytest.approx(
        math.log(found.first_moment.value) ** 2 + found.log_spread.value, rel=1e-6
    )
    assert abs(math.log(found.first_moment.value) - first) < 4.0 * found.first_moment.error / found.first_moment.value
    assert found.memory is None
    assert found.memory_spread is None


@pytest.mark.parametrize("name", ["vanilla", "vanilla_erf"])
def test_without_a_skip_path_tied_and_untied_gradients_agree(name: str) -> None:
    found = [
        mf.gradients(vanilla(1.2, name), mf.Inputs(power=0.5), length=12, units=16384, groups=32, regime=regime, seed=3)
        for regime in ("tied", "untied")
    ]
    for lag in range(1, 13):
        tied, untied = (each.profile.at(lag) for each in found)
        assert abs(tied.value - untied.value) < 4.0 * math.hypot(tied.error, untied.error)
    tied, untied = (each.log_spread for each in found)
    assert abs(tied.value - untied.value) < 4.0 * math.hypot(tied.error, untied.error)


def test_erf_gradients_have_a_closed_form() -> None:
    """u is Gaussian with variance v, and E φ'(u)² = (4/π)/√(1+4v)."""
    q = 0.5
    for _ in range(200):
        v = 1.2**2 * q + 0.5 + 0.3**2
        q = 2.0 / math.pi * math.asin(2.0 * v / (1.0 + 2.0 * v))
    slope = 4.0 / math.pi / math.sqrt(1.0 + 4.0 * v)
    network = vanilla(1.2, "vanilla_erf")
    found = mf.gradients(network, mf.Inputs(power=0.5), length=10, units=32768, groups=32, seed=4)
    assert abs(found.second_moment.value - q) < 4.0 * found.second_moment.error
    for lag in range(1, 11):
        expected = (1.2**2 * slope) ** lag
        estimate = found.profile.at(lag)
        assert abs(estimate.value - expected) < 4.0 * estimate.error
        sensitivity = found.sensitivity.at(lag - 1)
        assert abs(sensitivity.value - slope * (1.2**2 * slope) ** (lag - 1)) < 4.0 * sensitivity.error


def test_the_memory_path_of_constant_gates_is_their_power() -> None:
    gates = {"i": mf.Gate(1.0, 1.0), "f": mf.Gate(bias_mean=2.0), "g": mf.Gate(1.0, 1.0), "o": mf.Gate(1.0, 1.0)}
    found = mf.gradients(mf.Network("lstm", gates), length=30, units=1024)
    assert found.memory is not None
    assert found.memory_spread is not None
    keep = 1.0 / (1.0 + math.exp(-2.0))
    for lag in (0, 1, 10, 30):
        assert found.memory.at(lag).value == pytest.approx(keep ** (2 * lag), rel=1e-4)
    assert found.memory_spread.value == pytest.approx(1.0, rel=1e-4)


def test_the_memory_path_of_frozen_gates_spreads_as_their_biases() -> None:
    """f = σ(b) with b of spread ρ: E f^(2T) by quadrature."""
    gates = {"i": mf.Gate(), "f": mf.Gate(bias_mean=3.0, bias_std=0.5), "g": mf.Gate(), "o": mf.Gate()}
    found = mf.gradients(mf.Network("lstm", gates), length=20, units=16384, groups=16, seed=5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    keep = 1.0 / (1.0 + np.exp(-3.0 - 0.5 * nodes))
    second, fourth = (np.sum(weights * keep**power) / np.sum(weights) for power in (40, 80))
    assert found.memory is not None
    assert found.memory_spread is not None
    estimate = found.memory.at(20)
    assert abs(estimate.value - second) < 4.0 * estimate.error
    assert abs(found.memory_spread.value - fourth / second**2) < 4.0 * found.memory_spread.error


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize(("kind", "size"), [("padded", 6), ("data", 5), ("data", 80)])
def test_inputs_that_change_in_time_agree_with_simulated_networks(name: str, kind: str, size: int) -> None:
    length, lag = 24, 16
    gate = mf.Gate(1.0, 0.8, 0.3, 0.2)
    network = mf.Network(name, dict.fromkeys("frh" if name == "gru" else "ifgo", gate))
    if kind == "padded":
        inputs: mf.Inputs = mf.Inputs.padded(signal=10, length=length, power=2.0, padding_power=0.2, size=size)
    else:
        phase = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, (80, 1, size))
        inputs = mf.Inputs.from_data(1.5 * np.sin(np.arange(length)[None, :, None] / 3.0 + phase))
    found = mf.gradients(network, inputs, length=length, units=16384, groups=64, seed=6)
    assert found.transient == 0
    for burn_in, back in ((0, length), (length - lag, lag)):
        seen = simulate(
            network, inputs, hidden=256, length=back, burn_in=burn_in, networks=32, seed=7 + burn_in, directions=8
        )
        # Infinite width against 256 units: a few parts in N.
        assert deviation(found.second_moment, seen.second_moment[:, -1], allowance=0.03) < 4.0
        assert deviation(found.profile.at(back), seen.gradient_profile[:, back], allowance=0.03) < 4.0
        if kind == "padded" or size > 5:
            # Of few inputs that change slowly S is larger than it should be (docs/accuracy.md).
            assert deviation(found.sensitivity.at(back - 1), seen.input_sensitivity[:, back - 1], allowance=0.03) < 4.0
        if burn_in == 0:
            assert deviation(found.bias_response, seen.bias_response, allowance=0.03) < 4.0


@pytest.mark.parametrize("name", ["gru_reset_after", "lstm"])
@pytest.mark.parametrize("size", [1, 3])
def test_sensitivity_to_few_inputs_agrees_with_simulated_networks(name: str, size: int) -> None:
    """Units with large weights saturate, so that what they pass on is less than their weights say."""
    length, gates = 16, mf.cells.find(name).gates
    keep = mf.Gate(0.1, 0.5, 2.0)
    network = mf.Network(name, {gate: keep if gate == "f" else mf.Gate(0.1, 2.5) for gate in gates})
    inputs = mf.Inputs(size=size)
    found = mf.gradients(network, inputs, length=length, units=16384, groups=128, start="zero", seed=3)
    seen = np.exp(
        simulate_predictions(
            network, inputs, hidden=256, length=length, networks=96, spectra=0, directions=4, seed=5
        ).log_sensitivity
    )
    for lag in (0, 4, 15):
        assert deviation(found.sensitivity.at(lag), seen[:, lag], allowance=0.03) < 4.0


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_networks_without_any_weights_give_numbers(name: str, regime: Regime) -> None:
    cell = mf.cells.find(name)
    network = mf.Network(name, {gate: mf.Gate() for gate in cell.gates})
    found = mf.gradients(network, mf.Inputs(power=0.0), length=5, units=128, regime=regime)
    assert not np.any(np.isnan(found.profile.values))
    assert np.all(found.sensitivity.values == 0.0)
    assert found.second_moment.value == 0.0
    skip = {"leaky": 0.7}.get(name, 0.5) if (cell.output == cell.memory and cell.keep_gate) or name == "leaky" else 0.0
    assert found.profile.at(5).value == pytest.approx(skip**10, rel=1e-5)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("regime", ["tied", "untied"])
@pytest.mark.parametrize("kind", ["silent", "frozen", "saturated"])
def test_degenerate_runs_give_numbers(name: str, regime: Regime, kind: str) -> None:
    """Inputs of no power, inputs that are the same at every step, and states that do not move."""
    cell = mf.cells.find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    bias = 60.0 if kind == "saturated" and name != "vanilla_relu" else 0.5
    network = mf.Network(
        name,
        {
            gate: mf.Gate(
                recurrent_gain=0.5 if gate in recurrent else 0.0,
                input_gain=0.5,
                bias_mean=-60.0 if bias == 60.0 and gate == "f" else bias,
            )
            for gate in cell.gates
        },
    )
    inputs: mf.Inputs = mf.Inputs(power=0.0)
    if kind == "frozen":
        inputs = mf.Inputs.from_data(np.ones((20, 12, 3)))
    found = mf.gradients(network, inputs, length=10, units=128, regime=regime)
    for profile in (found.profile, found.sensitivity):
        assert not np.any(np.isnan(profile.log_values))
        assert np.all(profile.log_values < 50.0)
    assert 0.0 < found.second_moment.value < 1e4
    if found.memory_spread is not None:
        assert found.memory_spread.value >= 1.0 - 1e-9


@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_the_seed_decides_everything(regime: Regime) -> None:
    runs = [mf.gradients(LSTM, mf.Inputs(size=4), length=6, units=256, regime=regime, seed=s) for s in (8, 8, 9)]
    np.testing.assert_array_equal(runs[0].profile.log_values, runs[1].profile.log_values)
    np.testing.assert_array_equal(runs[0].sensitivity.log_values, runs[1].sensitivity.log_values)
    assert runs[0].isometry_defect == runs[1].isometry_defect
    assert runs[0].bias_response == runs[1].bias_response
    assert not np.allclose(runs[0].profile.log_values[1:], runs[2].profile.log_values[1:], rtol=1e-6)


def test_errors_cover_the_scatter_over_seeds() -> None:
    """The stated standard errors are those with which repeated runs scatter."""
    network = vanilla(0.9)
    runs = [mf.gradients(network, mf.Inputs(power=0.5), length=6, units=2048, groups=16, seed=s) for s in range(40)]
    for quantity in (lambda r: r.second_moment, lambda r: r.profile.at(6), lambda r: r.log_spread, lambda r: r.chi):
        estimates = [quantity(run) for run in runs]
        scatter = np.std([e.value for e in estimates], ddof=1)
        stated = math.sqrt(np.mean([e.error**2 for e in estimates]))
        # The scatter of 40 runs is known to 11 %.
        assert 0.55 < scatter / stated < 1.5
