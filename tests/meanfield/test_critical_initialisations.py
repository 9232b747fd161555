"""Closed-form critical networks are held to mpmath, closed forms, fixed points and simulated networks."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import meanfield as mf
from meanfield.critical_initialisations import critical_minimal, critical_vanilla
from meanfield.validation.finite_width import simulate

ENDS = [-16, -8, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8, 16]


def average(function: object, mean: float, variance: float) -> mpmath.mpf:
    deviation = mpmath.sqrt(mpmath.mpf(variance))
    return mpmath.quad(lambda z: mpmath.npdf(z) * function(mean + deviation * z), ENDS)  # type: ignore[operator]


def check_growth(found: object) -> None:
    law = mf.fixed_points(found.network, found.inputs)  # type: ignore[attr-defined]
    # The laws are rounded, and the second moment may be sensitive to that.
    assert abs(law.growth.chi.value - 1.0) <= law.growth.chi.error + 1e-13
    second = found.second_moment  # type: ignore[attr-defined]
    assert abs(law.law.second_moment.value - second.value) <= law.law.second_moment.error + second.error + 1e-13


class TestVanilla:
    @pytest.mark.parametrize(("variance", "mean"), [(0.01, 0.0), (0.5, 0.0), (4.0, 0.0), (1.0, 0.4)])
    def test_tanh_against_mpmath(self, variance: float, mean: float) -> None:
        with mpmath.workdps(36):
            square = average(lambda u: mpmath.tanh(u) ** 2, mean, variance)
            gain = 1 / mpmath.sqrt(average(lambda u: mpmath.sech(u) ** 4, mean, variance))
            spread = mpmath.sqrt(variance - gain**2 * square)
        found = critical_vanilla(variance, bias_mean=mean)
        for number, exact in (
            (found.recurrent_gain, gain),
            (found.bias_std, spread),
            (found.second_moment, square),
        ):
            assert abs(number.value - exact) <= number.error + 1e-16
            assert abs(number.value - exact) < 1e-12 * exact
        check_growth(found)

    @pytest.mark.parametrize("variance", [0.1, 1.0, 30.0])
    def test_erf_in_closed_form(self, variance: float) -> None:
        gain = math.sqrt(math.pi / 4 * math.sqrt(1 + 4 * variance))
        square = 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance))
        found = critical_vanilla(variance, activation="erf")
        assert found.recurrent_gain.value == pytest.approx(gain, rel=1e-13)
        assert found.bias_std.value == pytest.approx(math.sqrt(variance - gain**2 * square), rel=1e-12)
        check_growth(found)

    @pytest.mark.parametrize("variance", [0.01, 1.0, 100.0])
    def test_rectifiers_have_a_gain_of_root_two_and_no_bias(self, variance: float) -> None:
        found = critical_vanilla(variance, activation="relu")
        assert abs(found.recurrent_gain.value - math.sqrt(2.0)) <= found.recurrent_gain.error < 1e-14
        assert found.network.gates["h"].bias_std == 0.0
        assert found.bias_std.error < 1e-6 * math.sqrt(variance)
        assert abs(found.second_moment.value - variance / 2) <= found.second_moment.error

    @pytest.mark.parametrize("activation", ["tanh", "erf"])
    def test_small_variances_keep_their_digits(self, activation: str) -> None:
        # With φ(u) ∝ u - c u³: σ²φ'(0)² = 1 + 6 c q and ρ² = 12 c² q³ to lowest order; c = 1/3 for both.
        q = 1e-7
        found = critical_vanilla(q, activation=activation)
        slope = {"tanh": 1.0, "erf": 2.0 / math.sqrt(math.pi)}[activation]
        assert found.recurrent_gain.value * slope - 1.0 == pytest.approx(q, rel=1e-5)
        assert found.bias_std.value == pytest.approx(math.sqrt(12.0 / 9.0 * q**3), rel=1e-5)
        assert found.bias_std.error < 1e-5 * found.bias_std.value

    def test_the_limit_of_no_variance(self) -> None:
        found = critical_vanilla(0.0)
        assert (found.recurrent_gain.value, found.bias_std.value) == (1.0, 0.0)
        check_growth(found)

    def test_rectified_units_without_variance(self) -> None:
        found = critical_vanilla(0.0, activation="relu")
        assert found.recurrent_gain.value == pytest.approx(math.sqrt(2.0), rel=1e-14)
        assert found.bias_std.value == 0.0

    def test_inputs_make_up_their_part(self) -> None:
        alone = critical_vanilla(2.0)
        fed = critical_vanilla(2.0, input_gain=0.25, inputs=mf.Inputs(power=3.0))
        assert fed.recurrent_gain == alone.recurrent_gain
        assert fed.bias_std.value**2 + 0.0625 * 3.0 == pytest.approx(alone.bias_std.value**2, rel=1e-13)
        check_growth(fed)

    def test_requests_that_cannot_be_met(self) -> None:
        with pytest.raises(mf.Infeasible, match=r"variance: the recurrent field .* lower input gains"):
            critical_vanilla(1.0, input_gain=0.5)
        with pytest.raises(mf.Infeasible, match="variance"):
            critical_vanilla(0.1, bias_mean=1.0)
        for bad, message in (
            ({"variance": -1.0}, "variance"),
            ({"variance": math.nan}, "variance"),
            ({"variance": 1.0, "activation": "gelu"}, "activation: must be one of tanh, erf, relu"),
            ({"variance": 1.0, "input_gain": -1.0}, "input_gain"),
            ({"variance": 1.0, "activation": "relu", "bias_mean": 1.0}, "bias_mean"),
            ({"variance": 1.0, "inputs": mf.Inputs.padded(signal=1, length=2)}, "inputs"),
        ):
            with pytest.raises(mf.InvalidInput, match=message):
                critical_vanilla(**bad)  # type: ignore[arg-type]


class TestMinimal:
    def test_against_mpmath(self) -> None:
        keep_mean, variance = 4.0, 6.0
        embedding = mf.Gate(input_gain=0.8, bias_mean=0.1, bias_std=0.3)
        found = critical_minimal(variance, keep_mean=keep_mean, embedding=embedding, embedding_gain=0.5)
        with mpmath.workdps(32):
            source = mpmath.mpf(0.8) ** 2 + mpmath.mpf(0.3) ** 2
            z1, z2 = (average(lambda u, n=n: mpmath.tanh(u) ** n, mpmath.mpf(0.1), source) for n in (1, 2))

            def gates(of: object) -> mpmath.mpf:
                return average(lambda u: of(1 / (1 + mpmath.exp(-u))), keep_mean, variance)  # type: ignore[operator]

            lost = gates(lambda f: 1 - f**2)
            second = (2 * gates(lambda f: f * (1 - f)) * z1**2 + gates(lambda f: (1 - f) ** 2) * z2) / lost
            gain = mpmath.sqrt(lost / (gates(lambda f: (f * (1 - f)) ** 2) * (second - 2 * z1**2 + z2)))
            spread = mpmath.sqrt(variance - gain**2 * second - mpmath.mpf(0.5) ** 2 * z2)
        for number, exact in (
            (found.recurrent_gain, gain),
            (found.bias_std, spread),
            (found.second_moment, second),
        ):
            assert abs(number.value - exact) <= number.error + 1e-15
            assert abs(number.value - exact) < 1e-12 * exact
        check_growth(found)

    @pytest.mark.parametrize(("variance", "mean"), [(20.0, 0.0), (4.0, 4.0), (20.0, 10.0)])
    def test_growth_at_fixed_points(self, variance: float, mean: float) -> None:
        check_growth(critical_minimal(variance, keep_mean=mean))

    def test_simulated_networks_with_fresh_weights(self) -> None:
        found = critical_minimal(8.0, keep_mean=2.0)
        steps, networks = 4, 24
        seen = simulate(
            found.network,
            found.inputs,
            hidden=256,
            length=steps,
            networks=networks,
            regime="untied",
            burn_in=30,
            directions=16,
        )
        growth = seen.gradient_profile[:, -1] / seen.gradient_profile[:, 0]
        error = np.std(growth, ddof=1) / math.sqrt(networks)
        assert error < 0.1
        assert abs(np.mean(growth) - 1.0) < 4.0 * error

    def test_a_second_moment_that_is_not_reached(self) -> None:
        # At these gains the second moment has two stable values, and the lower one is settled at.
        with pytest.raises(mf.Infeasible, match="keep_variance: the second moment that belongs to it"):
            critical_minimal(2.0, keep_mean=5.0)

    def test_requests_that_cannot_be_met(self) -> None:
        with pytest.raises(mf.Infeasible, match="keep_variance: the recurrent field"):
            critical_minimal(0.5)
        with pytest.raises(mf.Infeasible, match="embedding: it does not vary"):
            critical_minimal(4.0, embedding=mf.Gate(bias_mean=0.5))
        for bad, message in (
            ({"keep_variance": -1.0}, "keep_variance"),
            ({"keep_variance": 4.0, "keep_mean": math.inf}, "bias_mean"),
            ({"keep_variance": 4.0, "embedding": 3.0}, "embedding: must be a Gate"),
            ({"keep_variance": 4.0, "embedding_gain": -3.0}, "input_gain"),
        ):
            with pytest.raises(mf.InvalidInput, match=message):
                critical_minimal(**bad)  # type: ignore[arg-type]
