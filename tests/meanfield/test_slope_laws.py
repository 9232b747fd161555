"""The law of φ'(u)² against a change of variable and against thirty digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.slope_laws import slope_law
from meanfield.solvers.free_laws import PointMass
from meanfield.solvers.free_products import FreeProduct
from meanfield.solvers.transforms import s_transform

Float64 = NDArray[np.float64]


def by_change_of_variable(activation: str, mean: float, deviation: float, log_x: Float64) -> Float64:
    """Density of log φ'(u)²: the normal density at both u with this slope, divided by |d log φ'²/du|."""
    if activation == "tanh":
        u = np.arccosh(np.exp(-0.25 * log_x))
        rate = 4.0 * np.tanh(u)
    else:
        u = np.sqrt(0.5 * (math.log(4.0 / math.pi) - log_x))
        rate = 4.0 * u
    total = sum(np.exp(-0.5 * ((sign * u - mean) / deviation) ** 2) for sign in (1.0, -1.0))
    return np.asarray(total / (math.sqrt(2.0 * math.pi) * deviation * rate))


@pytest.mark.parametrize("activation", ["tanh", "erf"])
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 3.0), (0.0, 0.01), (0.1, 20.0)])
def test_its_density(activation: str, mean: float, deviation: float) -> None:
    """The contour below the axis gives the density of the law itself, where no rule of real nodes could."""
    top = 0.0 if activation == "tanh" else math.log(4.0 / math.pi)
    u = np.array([0.05, 0.3, 1.0, 2.5, 4.0]) * min(deviation, 1.0) + max(0.0, abs(mean) - deviation)
    log_x = top - (4.0 * np.log(np.cosh(u)) if activation == "tanh" else 2.0 * u**2)
    law = slope_law(activation, mean, deviation, intervals=4096)
    found = FreeProduct([(law, 1)]).log_density(log_x)
    expected = by_change_of_variable(activation, mean, deviation, log_x)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("y", [-0.95, -0.4, -1e-3, 0.3, 2.0])
def test_its_s_transform_has_thirty_digits_behind_it(y: float) -> None:
    mean, deviation = 0.3, 0.9
    value, error = s_transform(slope_law("tanh", mean, deviation, intervals=1024), y)
    with mpmath.workdps(30):
        a, s = mpmath.mpf(mean), mpmath.mpf(deviation)

        def psi(z: mpmath.mpf) -> mpmath.mpf:
            def part(u: mpmath.mpf) -> mpmath.mpf:
                t = z * mpmath.sech(u) ** 4
                return t / (1 - t) * mpmath.exp(-((u - a) ** 2) / (2 * s**2))

            return mpmath.quad(part, [-11, -6, -3, -1, 0, 1, 3, 6, 12]) / (s * mpmath.sqrt(2 * mpmath.pi))

        z = mpmath.findroot(lambda z: psi(z) - y, mpmath.mpf(float(value)) * y / (1 + mpmath.mpf(y)), tol=1e-25)
        expected = z * (1 + mpmath.mpf(y)) / mpmath.mpf(y)
        assert abs(mpmath.mpf(float(value)) - expected) <= float(error) + 2e-15 * float(value)


@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_both_rules_have_the_same_moments(activation: str) -> None:
    """Integrals of analytic functions do not depend on the contour; E φ'² of erf is a closed form."""
    law = slope_law(activation, 0.4, 0.8, intervals=512)
    below = [law.lower_weights @ law.lower_nodes**k for k in (1, 2, 3)]  # type: ignore[attr-defined]
    np.testing.assert_allclose(below, np.array(law.moments(3), dtype=float), rtol=1e-13, atol=1e-13)
    if activation == "erf":
        for k in (1, 2, 3):
            spread = 1.0 + 4.0 * k * 0.64
            expected = (4.0 / math.pi) ** k * math.exp(-2.0 * k * 0.16 / spread) / math.sqrt(spread)
            assert float(law.moments(3)[k - 1]) == pytest.approx(expected, rel=1e-13)


def test_without_spread_it_is_a_point() -> None:
    assert slope_law("tanh", 0.0, 0.0) == PointMass(1.0)
    assert slope_law("relu", 0.0, 0.0).zero_mass == 1.0
    assert slope_law("relu", 0.1, 0.0).atoms == ((1.0, 1.0),)


def test_relu_has_a_share_of_units_at_work() -> None:
    law = slope_law("relu", 1.0, 2.0)
    assert law.zero_mass == pytest.approx(0.5 * math.erfc(0.5 / math.sqrt(2.0)))
    assert law.atoms[0][0] == 1.0


def test_other_activations_are_refused() -> None:
    with pytest.raises(InvalidInput, match="activation: must be 'tanh', 'erf' or 'relu', got 'gelu'"):
        slope_law("gelu", 0.0, 1.0)
