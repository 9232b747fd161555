"""Second moments and overlaps against closed forms and measured examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import names
from meanfield.sampling.population import Regime


def erf_product(qab: float, qaa: float) -> float:
    """E[erf(a) erf(b)] for jointly Gaussian a, b of equal variance."""
    return 2.0 / math.pi * math.asin(2.0 * qab / (1.0 + 2.0 * qaa))


@pytest.mark.parametrize("regime", ["tied", "untied"])
@pytest.mark.parametrize(("gain", "spread", "overlap"), [(1.0, 0.0, 0.5), (0.8, 0.4, 0.0), (1.5, 0.2, -0.5)])
def test_erf_networks_have_their_closed_form(regime: Regime, gain: float, spread: float, overlap: float) -> None:
    """Fixed points of the variance and of the overlap of two sequences; the plain network forgets its start."""
    power, q, c = 0.7, 0.5, 0.4
    for _ in range(500):
        variance = gain**2 * q + power + spread**2
        q, c = (
            erf_product(variance, variance),
            erf_product(gain**2 * c + power * overlap + spread**2, variance),
        )
    network = mf.Network("vanilla_erf", {"h": mf.Gate(gain, 1.0, 0.0, spread)})
    found = mf.stationary(
        network, mf.Inputs(power=power, overlap=overlap), units=16384, groups=16, regime=regime, seed=1
    )
    assert abs(found.second_moment.value - q) < 4.0 * found.second_moment.error
    assert abs(found.overlap.value - c / q) < 4.0 * found.overlap.error
    assert abs(found.mean.value) < 4.0 * found.mean.error


def test_a_driven_relu_network_has_its_closed_form() -> None:
    """E[relu(u)²] = v/2 and E[relu(u)] = √(v/2π) at variance v."""
    network = mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 1.0)})
    found = mf.stationary(network, mf.Inputs(power=1.0), units=16384, groups=16, regime="untied", seed=2)
    assert abs(found.second_moment.value - 1.0) < 4.0 * found.second_moment.error
    assert abs(found.mean.value - math.sqrt(2.0 / (2.0 * math.pi))) < 4.0 * found.mean.error


def test_a_gru_is_larger_with_tied_weights_as_measured() -> None:
    network = mf.Network(
        "gru", {"f": mf.Gate(1.5, 0.5, 0.0, 0.3), "r": mf.Gate(1.5, 0.5, 0.0, 0.3), "h": mf.Gate(3.0, 0.5, 0.0, 0.3)}
    )
    tied, untied = (
        mf.stationary(network, mf.Inputs(power=1.0), units=16384, groups=16, regime=regime, seed=3).second_moment
        for regime in ("tied", "untied")
    )
    assert abs(tied.value - 0.31) < 4.0 * math.hypot(tied.error, 0.013)
    # 0.12 is given to two digits.
    assert abs(untied.value - 0.12) < 0.005 + 4.0 * untied.error


def test_few_inputs_are_correlated_in_time_as_measured() -> None:
    """A slow lstm: with 64 inputs the rows of U make the drives of different steps overlap by an eighth."""
    gates = {"i": mf.Gate(1.0, 1.0, -3.0), "f": mf.Gate(1.0, 1.0, 4.0), "g": mf.Gate(1.0, 1.0), "o": mf.Gate(1.0, 1.0)}
    network = mf.Network("lstm", gates)
    few, many = (
        mf.stationary(
            network, mf.Inputs(power=0.5, size=size), length=120, start="zero", units=16384, groups=32, seed=4
        ).second_moment
        for size in (64, 0)
    )
    assert abs(few.value - 0.0166) < 4.0 * math.hypot(few.error, 0.0006)
    assert abs(many.value - 0.0129) < 0.05 * 0.0129 + 4.0 * many.error
    assert few.value - many.value > 4.0 * math.hypot(few.error, many.error)


@pytest.mark.parametrize("name", names())
def test_identical_inputs_end_in_identical_states(name: str) -> None:
    cell = mf.cells.find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gates = {g: mf.Gate(0.4 if g in recurrent else 0.0, 0.7, 0.0, 0.1) for g in cell.gates}
    found = mf.stationary(mf.Network(name, gates), mf.Inputs(overlap=1.0, size=8), units=512, seed=5)
    assert found.overlap.value == pytest.approx(1.0, abs=1e-5)


def test_states_that_do_not_vary_overlap_fully() -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(bias_mean=0.5)})
    found = mf.stationary(network, mf.Inputs(power=0.0), units=128)
    assert found.overlap.value == 1.0
    assert found.second_moment.value == pytest.approx(math.tanh(0.5) ** 2, rel=1e-6)


def test_from_zero_the_last_step_counts() -> None:
    """c = f c_- + i g with constant gates: (1 - f^T) i g/(1 - f)."""
    gates = {"i": mf.Gate(), "f": mf.Gate(bias_mean=1.0), "g": mf.Gate(bias_mean=0.3)}
    network = mf.Network("peephole_lstm", gates)
    keep = 1.0 / (1.0 + math.exp(-1.0))
    for length in (1, 3, 10):
        found = mf.stationary(network, mf.Inputs(power=0.0), units=128, start="zero", length=length)
        expected = 0.5 * math.tanh(0.3) * (1.0 - keep**length) / (1.0 - keep)
        assert found.mean.value == pytest.approx(expected, rel=1e-5)
        assert found.transient == 0


def test_padded_inputs_are_forgotten_in_the_padding() -> None:
    network = mf.Network("gru", dict.fromkeys("frh", mf.Gate(0.5, 1.0)))
    during, after = (
        mf.stationary(network, mf.Inputs.padded(signal=10, length=60, power=1.0), units=2048, length=length)
        for length in (10, 60)
    )
    assert after.second_moment.value < 1e-3 * during.second_moment.value


def test_different_seeds_agree_within_their_errors() -> None:
    network = mf.Network("gru", dict.fromkeys("frh", mf.Gate(1.0, 1.0, 0.0, 0.2)))
    runs = [mf.stationary(network, units=2048, groups=16, seed=seed).second_moment for seed in range(12)]
    again = mf.stationary(network, units=2048, groups=16, seed=0).second_moment
    assert again == runs[0]
    values = np.array([run.value for run in runs])
    assert len(set(values)) == 12
    assert np.std(values, ddof=1) < 2.0 * math.sqrt(np.mean([run.error**2 for run in runs]))
