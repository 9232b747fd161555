"""Expectations over normal variables against mpmath, and error bounds that hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from numpy.typing import NDArray
from scipy.special import ndtr

from meanfield.activations import sigmoid
from meanfield.solvers.gaussian_expectations import normal_expectation

Array = NDArray[Any]

# Where an integrand may be steep: the breaks of the reference's quadrature.
BREAKS = [-16, -12, -9, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 9, 12, 16]


def reference(function: Callable[[Any], Any], extra: tuple[float, ...] = ()) -> float:
    """E f(z) to 30 digits; the last ones are those that a float has."""
    with mp.workdps(30):
        points = sorted({mp.mpf(point) for point in (*BREAKS, *extra) if abs(point) <= 16})
        return float(mp.quad(lambda z: function(z) * mp.npdf(z), points))


def gate_reference(mean: float, deviation: float, power: int) -> float:
    """E[σ(mean + deviation z)^power]."""

    def function(z: Any) -> Any:
        return (1 / (1 + mp.exp(-mean - deviation * z))) ** power

    if deviation == 0.0:
        with mp.workdps(30):
            return float(function(mp.mpf(0)))
    middle = -mean / deviation
    return reference(function, tuple(middle + width / deviation for width in (-20, -5, 0, 5, 20)))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    ("mean", "deviation"), [(0.0, 0.0), (1.0, 0.6), (-3.0, 1e-3), (0.0, 30.0), (60.0, 30.0), (5.0, 100.0), (-20.0, 4.0)]
)
def test_moments_of_gates(mean: float, deviation: float, power: int) -> None:
    value, error = normal_expectation(lambda z: sigmoid(mean + deviation * z) ** power)
    expected = gate_reference(mean, deviation, power)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert 0.0 < error <= 2e-13 * value


@pytest.mark.parametrize(
    ("mean", "deviation", "power"), [(-40.0, 5.0, 1), (-40.0, 5.0, 2), (-40.0, 4.0, 2), (-60.0, 8.0, 1)]
)
def test_gates_that_open_far_out_have_errors_that_say_so(mean: float, deviation: float, power: int) -> None:
    """The expectation of a gate that is almost always shut lives beyond seven deviations."""
    value, error = normal_expectation(lambda z: sigmoid(mean + deviation * z) ** power)
    expected = gate_reference(mean, deviation, power)
    assert abs(value - expected) <= 10.0 * error + 1e-12 * expected
    np.testing.assert_allclose(value, expected, rtol=1e-3)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.3, 1.7), (-2.0, 0.5), (1.0, 40.0)])
def test_moments_of_tanh_and_of_its_slope(mean: float, deviation: float) -> None:
    middle = -mean / deviation
    extra = tuple(middle + width / deviation for width in (-20, -5, 0, 5, 20))
    for plain, precise in (
        (lambda z: np.tanh(mean + deviation * z), lambda z: mp.tanh(mean + deviation * z)),
        (lambda z: np.tanh(mean + deviation * z) ** 2, lambda z: mp.tanh(mean + deviation * z) ** 2),
        (lambda z: np.cosh(mean + deviation * z) ** -4.0, lambda z: mp.sech(mean + deviation * z) ** 4),
    ):
        value, error = normal_expectation(plain)
        expected = reference(precise, extra)
        np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-14)
        assert abs(value - expected) <= 10.0 * error + 3e-14


@pytest.mark.parametrize("order", range(9))
def test_moments_of_the_variable_itself(order: int) -> None:
    expected = math.prod(range(order - 1, 0, -2)) if order % 2 == 0 else 0
    scale = math.prod(range(order, 0, -2)) or 1
    np.testing.assert_allclose(normal_expectation(lambda z: z**order)[0], expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.3, 0.99, 1.0])
def test_products_of_correlated_functions(correlation: float) -> None:
    """E[tanh(a) tanh(b)] and E[σ(a) σ(b)] by Mehler's series in Hermite polynomials, whose coefficients are exact."""
    residue = math.sqrt((1.0 - correlation) * (1.0 + correlation))
    for plain, precise in (
        (lambda u: np.tanh(0.5 + 0.8 * u), lambda u: mp.tanh(0.5 + 0.8 * u)),
        (lambda u: sigmoid(-1.0 + 2.0 * u), lambda u: 1 / (1 + mp.exp(1 - 2 * u))),
    ):
        value, error = normal_expectation(lambda x, y, f=plain: f(x) * f(correlation * x + residue * y), 2)
        if correlation == 1.0:
            expected = reference(lambda u, g=precise: g(u) ** 2)
        elif correlation == 0.0:
            expected = reference(precise) ** 2
        else:
            expected = nested(precise, correlation, residue)
        np.testing.assert_allclose(value, expected, rtol=1e-11)
        assert error <= 2e-13


def nested(function: Callable[[Any], Any], correlation: float, residue: float) -> float:
    """E[f(x) f(correlation x + residue y)] by Gauss-Legendre rules of 30 digits in both variables."""
    with mp.workdps(30):
        rule = [(x, w) for x, w in _panels()]
        inner = [function(x) * mp.npdf(x) * w for x, w in rule]
        density = [mp.npdf(y) * w for y, w in rule]
        total = mp.mpf(0)
        for (x, _), weight in zip(rule, inner, strict=True):
            if abs(weight) > mp.mpf(10) ** -17:
                total += weight * mp.fsum(
                    d * function(correlation * x + residue * y)
                    for (y, _), d in zip(rule, density, strict=True)
                    if d > mp.mpf(10) ** -17
                )
        return float(total)


def _panels() -> list[tuple[Any, Any]]:
    """An equidistant rule, which converges geometrically for these integrands, of mesh 1/8."""
    step = mp.mpf(1) / 8
    return [(step * k, step) for k in range(-72, 73)]


def test_arguments_that_broadcast_and_constants() -> None:
    assert abs(normal_expectation(lambda z: np.array(2.5))[0] - 2.5) < 1e-14
    value, _ = normal_expectation(lambda x, y: x * x, 2)
    np.testing.assert_allclose(value, 1.0, rtol=1e-13)
    shapes = []
    normal_expectation(lambda x, y: shapes.append((x.shape, y.shape)) or x + y, 2)
    assert all(x[1] == 1 == y[0] for x, y in shapes)


def test_zero_has_no_error() -> None:
    assert normal_expectation(np.zeros_like) == (0.0, 0.0)


def test_functions_with_a_kink_have_honest_errors() -> None:
    value, error = normal_expectation(lambda z: np.maximum(z, 0.0))
    assert abs(value - 1.0 / math.sqrt(2.0 * math.pi)) < 1e-9
    shifted, bound = normal_expectation(lambda z: np.maximum(z - 0.123456, 0.0))
    expected = math.exp(-(0.123456**2) / 2) / math.sqrt(2 * math.pi) - 0.123456 * ndtr(-0.123456)
    assert abs(shifted - expected) < 1e-8
    assert abs(shifted - expected) <= 10.0 * bound
    assert error >= 0.0


def test_steps_do_not_converge() -> None:
    with pytest.raises(ArithmeticError, match="did not converge"):
        normal_expectation(lambda z: (z > 0.1234).astype(np.float64))
    with pytest.raises(ArithmeticError, match="did not converge"):
        normal_expectation(lambda x, y: (x + y > 0.1234).astype(np.float64), 2)


def test_values_that_are_not_numbers_do_not_pass() -> None:
    with pytest.raises(ArithmeticError), np.errstate(invalid="ignore"):
        normal_expectation(lambda z: np.sqrt(z))
