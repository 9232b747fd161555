"""Laws of gates against mpmath, from narrow to steep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp
from scipy.special import expit

from meanfield.solvers.gaussian_rules import gaussian_rule, normal_rule, sigmoid_keep_rule


def reference(function: Any, mean: float, deviation: float) -> float:
    """E function(mean + deviation z) to 30 digits."""
    steep = [-mean / deviation + width / deviation for width in (-20, -6, -2, 0, 2, 6, 20)]
    with mp.workdps(30):
        points = sorted({mp.mpf(point) for point in (-13, -9, -6, -3, 0, 3, 6, 9, 13, *steep) if abs(point) <= 13})
        return float(mp.quad(lambda z: function(mean + deviation * z) * mp.npdf(z), points))


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [(0.0, 1e-3), (1.0, 0.6), (5.2, 1.3e-3), (-6.0, 4.0), (0.0, 30.0), (60.0, 30.0), (-60.0, 30.0)],
)
def test_sigmoids(mean: float, deviation: float) -> None:
    rule, keep = gaussian_rule(expit, mean, deviation), sigmoid_keep_rule(mean, deviation)
    for power in (1, 2, 5):
        expected = reference(lambda u, n=power: (1 / (1 + mp.exp(-u))) ** n, mean, deviation)
        np.testing.assert_allclose(rule.expectation(lambda f, n=power: f**n), expected, rtol=1e-12)
        np.testing.assert_allclose(keep.weights @ keep.keep**power, expected, rtol=1e-12)
    expected = reference(lambda u: 1 / (1 + mp.exp(u)), mean, deviation)
    np.testing.assert_allclose(keep.mean_release, expected, rtol=1e-12)


@pytest.mark.parametrize(("mean", "deviation"), [(0.3, 1e-3), (0.3, 0.9), (-2.0, 4.0), (1.0, 30.0)])
def test_smooth_functions_of_tanh(mean: float, deviation: float) -> None:
    rule = gaussian_rule(np.tanh, mean, deviation)
    assert len(rule.nodes) <= 24
    expected = reference(lambda u: mp.exp(mp.tanh(u)), mean, deviation)
    np.testing.assert_allclose(rule.expectation(np.exp), expected, rtol=1e-12)


def test_the_normal_law_and_points() -> None:
    rule = normal_rule(-1.0, 0.5, count=12)
    assert len(rule.nodes) == 12
    np.testing.assert_allclose(rule.expectation(np.exp), np.exp(-1.0 + 0.125), rtol=1e-13)
    assert normal_rule(3.0, 0.0).nodes.tolist() == [3.0]
    assert gaussian_rule(np.ones_like, 0.0, 1.0).nodes.tolist() == [1.0]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="deviation ≥ 0"):
        normal_rule(0.0, -1.0)
    with pytest.raises(ValueError, match="finite mean"):
        sigmoid_keep_rule(np.inf, 1.0)
    with pytest.raises(ArithmeticError, match="did not converge"):
        gaussian_rule(np.sign, 0.1, 1.0)
    with pytest.raises(ValueError, match="never fade"):
        sigmoid_keep_rule(1000.0, 1.0)
