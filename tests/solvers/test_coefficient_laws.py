"""Exact moments of the stationary law against mpmath at 30 digits, and the intervals that hold it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mpmath import mp

from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    Coefficients,
    IndependentCoefficients,
    JointCoefficients,
    centred_moments,
)
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule, normal_rule, sigmoid_keep_rule


def gaussian(function: Any, mean: float, deviation: float) -> Any:
    return mp.quad(lambda z: function(mean + deviation * z) * mp.npdf(z), [-13, -8, -4, -2, 0, 2, 4, 8, 13])


def references(keep: tuple[float, float], tanh: tuple[float, float], blended: bool) -> list[float]:
    """E[c^n] for n = 1 … 4, by the recursion in 30 digits."""
    with mp.workdps(30):

        def mixed(k: int, rest: int) -> Any:
            released = rest if blended else 0
            f = gaussian(lambda u: (1 / (1 + mp.exp(-u))) ** k * (1 / (1 + mp.exp(u))) ** released, *keep)
            return f * gaussian(lambda u: mp.tanh(u) ** rest, *tanh)

        moments = [mp.mpf(1)]
        for n in range(1, 5):
            total = mp.fsum(math.comb(n, k) * mixed(k, n - k) * moments[k] for k in range(n))
            fading = gaussian(lambda u, n=n: -mp.expm1(-n * mp.log1p(mp.exp(-u))), *keep)
            moments.append(total / fading)
        return [float(moment) for moment in moments[1:]]


@pytest.mark.parametrize(
    ("keep", "tanh", "blended"),
    [
        ((1.0, 0.6), (0.4, 0.9), True),
        ((5.0, 0.5), (0.2, 0.7), False),
        ((1.0, 3.0), (-1.0, 2.0), False),
        ((12.0, 0.5), (0.1, 0.4), True),
    ],
)
def test_moments(keep: tuple[float, float], tanh: tuple[float, float], blended: bool) -> None:
    rules = sigmoid_keep_rule(*keep), gaussian_rule(np.tanh, *tanh)
    coefficients = BlendedCoefficients(*rules) if blended else IndependentCoefficients(*rules)
    moments = centred_moments(coefficients, 4)
    for order, expected in enumerate(references(keep, tanh, blended), 1):
        np.testing.assert_allclose(moments.raw(order), expected, rtol=2e-12)


def test_a_joint_law_of_independent_coefficients_is_the_same() -> None:
    for independent in (
        IndependentCoefficients(sigmoid_keep_rule(1.0, 1.0), normal_rule(0.3, 1.0)),
        BlendedCoefficients(sigmoid_keep_rule(1.0, 1.0), normal_rule(0.3, 1.0)),
    ):
        joint = independent.atoms()
        assert joint.atoms() is joint
        one, other = centred_moments(independent, 12), centred_moments(joint, 12)
        np.testing.assert_array_equal(one.normalised, other.normalised)


def test_a_gaussian_law_and_its_tails() -> None:
    coefficients = IndependentCoefficients(
        KeepRule(np.array([-0.6]), np.array([1.6]), np.ones(1)), normal_rule(3.2, 0.8, count=60)
    )
    moments = centred_moments(coefficients, 48)
    np.testing.assert_allclose([moments.mean, moments.deviation], [2.0, 1.0], rtol=1e-13)
    expected = [math.prod(range(1, order, 2)) for order in range(0, 21, 2)]
    np.testing.assert_allclose(moments.normalised[:21:2], expected, rtol=1e-8)  # the rule ends at 9 deviations
    low, high = moments.reach(1e-15)
    assert 7.9 < high - 2.0 < 9.0  # the normal law has 1e-15 beyond 8
    assert low == pytest.approx(4.0 - high)


def test_the_interval_that_fixed_points_span_holds_the_law() -> None:
    coefficients = BlendedCoefficients(sigmoid_keep_rule(0.0, 1.0), Rule(np.array([-1.0, 3.0]), np.array([0.5, 0.5])))
    moments = centred_moments(coefficients, 8)
    np.testing.assert_allclose([moments.lowest, moments.highest], [-1.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(moments.reach(1e-15), [-1.0, 3.0], rtol=1e-12)


def test_points() -> None:
    half = KeepRule(np.array([0.5]), np.array([0.5]), np.ones(1))
    laws: list[tuple[Coefficients, float]] = [
        (IndependentCoefficients(half, Rule(np.array([0.3]), np.ones(1))), 0.6),
        (IndependentCoefficients(sigmoid_keep_rule(0.0, 1.0), Rule(np.zeros(1), np.ones(1))), 0.0),
        (BlendedCoefficients(sigmoid_keep_rule(0.0, 1.0), Rule(np.array([0.7]), np.ones(1))), 0.7),
    ]
    for law, point in laws:
        moments = centred_moments(law, 4)
        assert moments.deviation == 0.0
        assert moments.reach(1e-12) == pytest.approx((point, point), abs=1e-15)
        assert moments.raw(3) == pytest.approx(point**3, abs=1e-15)


def test_what_is_refused() -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="never fade"):
        JointCoefficients(one, 0.0 * one, one, one)
    with pytest.raises(ValueError, match="as many numbers"):
        JointCoefficients(0.5 * one, 0.5 * one, np.ones(2), one)
    with np.errstate(over="ignore"), pytest.raises(ArithmeticError, match="standard deviation of inf"):
        centred_moments(
            JointCoefficients(np.full(2, 0.5), np.full(2, 0.5), np.array([-1e200, 1e200]), np.full(2, 0.5)), 4
        )


def test_far_tails_leave_the_moments_that_are_numbers() -> None:
    # One step in 1e30 is 1e8 deviations long: powers of it beyond the 37th are none.
    increment = Rule([-1.0, 1.0, 1e23], [0.5, 0.5, 1e-30])
    moments = centred_moments(IndependentCoefficients(KeepRule([0.5], [0.5], [1.0]), increment), 48)
    low, high = moments.reach(1e-16)
    assert np.all(np.isfinite(moments.normalised))
    assert len(moments.normalised) < 49
    assert low < moments.mean < high < np.inf
