"""What inputs, keep gates and kicks of the biases do without sampling, against closed forms and simulated networks."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.closed_growth import closed_growth
from meanfield.closed_kick import closed_bias_response
from meanfield.closed_memory import closed_memory
from meanfield.closed_moments import closed_law
from meanfield.closed_sensitivity import closed_sensitivity
from meanfield.validation.finite_width import simulate

Float64 = NDArray[np.float64]

SILENT = mf.Inputs(power=0.0)
GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
NETWORKS = {
    "vanilla": {"h": GATE},
    "leaky": {"h": GATE},
    "minimal": {"f": mf.Gate(3.0, 0.8, 0.2, 0.3), "z": mf.Gate(0.0, 1.0, 0.2, 0.3)},
    # Means away from zero, so that slopes are correlated with the states.
    "gru": {"f": mf.Gate(2.0, 0.5, 0.5, 0.3), "r": mf.Gate(2.0, 1.0, 0.5), "h": mf.Gate(2.0, 0.3, 0.8)},
    "gru_reset_after": dict.fromkeys("frh", GATE),
    "peephole_lstm": {"i": mf.Gate(1.0, 0.5, 0.5), "f": mf.Gate(1.0, 0.5, 0.5, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)},
    "janet": {"f": mf.Gate(2.0, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)},
}


class TestClosedForms:
    @pytest.mark.parametrize("gain", [0.0, 0.9])
    def test_a_leak(self, gain: float) -> None:
        """At rest δ ← 0.7 δ + 0.3 (W δ + κ + U x): everything is a geometric series."""
        law = closed_law(mf.Network("leaky", {"h": mf.Gate(recurrent_gain=gain, input_gain=2.0)}), SILENT)
        square, kept = 0.0, 0.0  # E δ² and E δκ
        for _ in range(30):
            square = (0.7**2 + (0.3 * gain) ** 2) * square + 0.3**2 + 2.0 * 0.7 * 0.3 * kept
            kept = 0.7 * kept + 0.3
        found = closed_bias_response(law, 30)
        assert abs(found.value - square) < found.error + 1e-14 < 1e-11
        assert closed_sensitivity(law).value == pytest.approx(0.36, rel=1e-14)

    @pytest.mark.parametrize("cell", ["vanilla", "vanilla_erf", "vanilla_relu"])
    def test_networks_without_skip_paths(self, cell: str) -> None:
        """S(0) = ν² E φ'², and a kick adds E φ'² once a step, χ_1 times as much after every one."""
        law = closed_law(mf.Network(cell, {"h": mf.Gate(1.2, 0.7, 0.1, 0.2)}))
        chi = closed_growth(law).chi.value
        slope = chi / 1.2**2
        found = closed_sensitivity(law)
        assert abs(found.value - 0.49 * slope) <= found.error + 1e-16
        response = closed_bias_response(law, 12)
        assert abs(response.value - slope * sum(chi**k for k in range(12))) < response.error < 1e-11

    @pytest.mark.parametrize("bias", [-2.0, 0.0, 3.0, 12.0])
    def test_memory_of_a_gate(self, bias: float) -> None:
        """(E f²)^T and (E f⁴/(E f²)²)^T against mpmath, also where the gate is all but one."""
        law = closed_law(mf.Network("janet", {"f": mf.Gate(bias_mean=bias, bias_std=1.3), "g": mf.Gate()}))
        found = closed_memory(law)
        assert found is not None
        with mpmath.workdps(30):
            second, fourth = (
                mpmath.quad(
                    lambda z, power=power: mpmath.npdf(z) / (1 + mpmath.exp(-bias - 1.3 * z)) ** power,
                    [-14, -6, -3, -1, 0, 1, 3, 6, 14],
                )
                for power in (2, 4)
            )
            square, spread = mpmath.log(second), mpmath.log(fourth / second**2)
        assert abs(found.log_square.value - float(square)) <= found.log_square.error
        assert found.log_square.error < 1e-13 * max(1.0, abs(float(square)) * 100.0)
        assert abs(found.log_spread.value - float(spread)) <= found.log_spread.error < 1e-12
        length = 200
        path = found.profile(length).at(length)
        assert abs(path.value - float(mpmath.exp(length * square))) <= path.error
        whole = found.spread(length)
        assert abs(whole.value - float(mpmath.exp(length * spread))) <= whole.error

    def test_what_reads_nothing(self) -> None:
        law = closed_law(mf.Network("gru", dict.fromkeys("frh", mf.Gate(1.5, 0.0, 0.5, 0.3))))
        assert closed_sensitivity(law) == mf.Estimate(0.0, 0.0)
        assert closed_memory(closed_law(mf.Network("vanilla", {"h": GATE}))) is None

    def test_requests_that_make_no_sense(self) -> None:
        law = closed_law(mf.Network("vanilla", {"h": GATE}))
        with pytest.raises(mf.InvalidInput, match="steps: must be a whole number of at least 1, got 0"):
            closed_bias_response(law, 0)
        wild = closed_law(mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 1.0)}))
        assert closed_bias_response(wild, 5000).value == pytest.approx(1.0, rel=1e-9)
        growing = closed_law(mf.Network("peephole_lstm", {"i": GATE, "f": GATE, "g": mf.Gate(40.0, 1.0)}))
        with pytest.raises(mf.NotConverged, match="kick of the biases over 4000 steps"):
            closed_bias_response(growing, 4000)


class TestSimulatedNetworks:
    @pytest.mark.parametrize("cell", NETWORKS)
    def test_fresh_weights_at_every_step(self, cell: str) -> None:
        """Complex steps through networks of 128 and 64 units; effects of order 1/N are taken off."""
        network, length = mf.Network(cell, NETWORKS[cell]), 4
        law = closed_law(network)
        chi, reads = closed_growth(law).chi.value, closed_sensitivity(law).value
        predicted = np.array([*(reads * chi**lag for lag in range(length)), closed_bias_response(law, length).value])
        wide, narrow = (_relative(network, predicted, hidden, length, seed) for hidden, seed in ((128, 1), (64, 2)))
        found = 2.0 * np.mean(wide, axis=0) - np.mean(narrow, axis=0)
        error = np.hypot(*(factor * np.std(each, axis=0, ddof=1) for factor, each in ((2.0, wide), (1.0, narrow))))
        assert np.max(np.abs(found - 1.0) / (error / math.sqrt(len(wide)))) < 4.0


def _relative(network: mf.Network, predicted: Float64, hidden: int, length: int, seed: int) -> Float64:
    """S at lags 0, 1, … and the response, in units of their predictions, (networks, length + 1)."""
    seen = simulate(
        network,
        mf.Inputs(),
        hidden=hidden,
        length=length,
        networks=32,
        seed=seed,
        regime="untied",
        burn_in=20,
        directions=16,
    )
    return np.column_stack((seen.input_sensitivity, seen.bias_response)) / predicted
