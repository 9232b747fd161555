"""Averages in mpmath against closed forms, and double-precision averages against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from numpy.typing import NDArray
from scipy.special import expit

from meanfield.solvers.gaussian_expectations import normal_expectation
from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.high_precision import normal_average, pair_average
from meanfield.solvers.normal_rules import Transition
from meanfield.solvers.precise_numbers import Precise

STEP = [Transition(0.0, 1.0)]
KINK = [Transition(0.0, 1.0, kink=True)]
GATES = [Transition(0.0, math.pi), Transition(0.0, math.pi / 2)]


def near_one(nines: int) -> Any:
    """1 - 10^-nines to the last digit."""
    with mp.workdps(60):
        return 1 - mp.mpf(10) ** -nines


CORRELATIONS = [-1, mp.mpf("-0.9"), 0, mp.mpf("0.3"), near_one(12), 1]


def holds(found: Precise, exact: Any, digits: int) -> None:
    """The number is what it should be to within a bound that has the digits."""
    with mp.workdps(60):
        assert abs(found.value - exact) <= found.error + mp.mpf(10) ** -50
        assert found.error < 1000 * mp.mpf(10) ** -digits


@pytest.mark.parametrize("order", range(7))
def test_moments_of_normals(order: int) -> None:
    with mp.workdps(60):
        (found,) = normal_average(lambda u: [u**order], 2, mp.mpf("0.5"))
        exact = sum(
            math.comb(order, k) * mp.mpf(2) ** (order - k) * mp.mpf("0.5") ** k * (mp.fac2(k - 1) if k else 1)
            for k in range(0, order + 1, 2)
        )
        assert abs(found.value - exact) <= found.error < 1e-36


@pytest.mark.parametrize("correlation", [-1, mp.mpf("-0.6"), 0, mp.mpf("0.25"), near_one(12), 1])
def test_moments_of_pairs(correlation: Any) -> None:
    with mp.workdps(60):
        found = pair_average(
            lambda u: [u, u * u], lambda f, g: [f[0] * g[0], f[1] * g[1], f[1] * g[0]], 1, 2, correlation, digits=25
        )
        rho = 4 * mp.mpf(correlation)  # covariance
        for each, exact in zip(found, (1 + rho, 25 + 4 * rho + 2 * rho**2, 5 + 2 * rho), strict=True):
            holds(each, exact, 22)


@pytest.mark.parametrize("mean", [-50, -2, 0, mp.mpf("0.3")])
@pytest.mark.parametrize("deviation", [0, 1e-22, 1e-6, 0.7, 30.0])
def test_error_functions_of_one_variable(mean: Any, deviation: float) -> None:
    with mp.workdps(60):
        (found,) = normal_average(lambda u: [mp.erf(u)], mean, deviation, STEP)
        holds(found, mp.erf(mean / mp.sqrt(1 + 2 * mp.mpf(deviation) ** 2)), 40)


def test_tails_of_error_functions_keep_their_digits() -> None:
    """E Φ(u) = Φ(μ/√(1+s²)), a number that lives far out."""
    with mp.workdps(60):
        (found,) = normal_average(lambda u: [mp.erfc(-u / mp.sqrt(2)) / 2], -20, 2, STEP, digits=30)
        exact = mp.erfc(20 / mp.sqrt(10)) / 2
        assert exact < 1e-18
        assert abs(found.value - exact) <= found.error <= exact * mp.mpf(10) ** -28


@pytest.mark.parametrize("deviation", [1e-6, 30.0])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_error_functions_are_an_arcsine(deviation: float, correlation: Any) -> None:
    with mp.workdps(60):
        (found,) = pair_average(
            lambda u: [mp.erf(u)], lambda f, g: [f[0] * g[0]], 0, deviation, correlation, STEP, digits=10
        )
        variance = mp.mpf(deviation) ** 2
        holds(found, 2 / mp.pi * mp.asin(2 * variance * correlation / (1 + 2 * variance)), 10)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_rectifiers_are_the_arc_cosine_kernel(correlation: Any) -> None:
    with mp.workdps(60):
        ramps, steps = pair_average(
            lambda u: [max(u, mp.zero), mp.one if u > 0 else mp.zero],
            lambda f, g: [f[0] * g[0], f[1] * g[1]],
            correlation=correlation,
            transitions=KINK,
            digits=7,
        )
        angle = mp.acos(correlation)
        holds(ramps, (mp.sin(angle) + (mp.pi - angle) * correlation) / (2 * mp.pi), 7)
        holds(steps, (mp.pi - angle) / (2 * mp.pi), 7)


def test_more_digits() -> None:
    with mp.workdps(80):
        (found,) = pair_average(
            lambda u: [mp.erf(u)], lambda f, g: [f[0] * g[0]], 0, 0.1, mp.mpf("0.5"), STEP, digits=50
        )
        exact = 2 / mp.pi * mp.asin(mp.mpf(0.1) ** 2 / (1 + 2 * mp.mpf(0.1) ** 2))
        assert abs(found.value - exact) <= found.error < mp.mpf(10) ** -49


def test_functions_that_change_at_several_places() -> None:
    places = [Transition(-1.0, 0.25), Transition(2.0, 1.0)]
    with mp.workdps(40):
        exact = [mp.erf(4 / mp.sqrt(33)), -mp.erf(2 / mp.sqrt(3))]

        def function(u: Any) -> list[Any]:
            return [mp.erf(4 * (u + 1)), mp.erf(u - 2)]

        for found, one in zip(normal_average(function, transitions=places, digits=30), exact, strict=True):
            holds(found, one, 30)
        (product,) = pair_average(function, lambda f, g: [f[0] * g[1]], transitions=places, digits=4)
        holds(product, exact[0] * exact[1], 4)
        (same,) = normal_average(lambda u: [mp.fprod(function(u))], transitions=places, digits=20)
        (close,) = pair_average(
            function, lambda f, g: [f[0] * g[1]], correlation=near_one(12), transitions=places, digits=4
        )
        assert abs(close.value - same.value) <= close.error + 1e-11 < 1e-3


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="from -1 to 1"):
        pair_average(lambda u: [u], lambda f, g: [f[0] * g[0]], correlation=1.01)
    with pytest.raises(ArithmeticError, match="did not converge"):
        normal_average(lambda u: [abs(u - mp.mpf("0.123"))], digits=30)
    with pytest.raises(ArithmeticError, match="far out"):
        normal_average(lambda u: [mp.exp(100 * u)])


def test_arithmetic_passes_errors_on() -> None:
    third, small = Precise(mp.mpf(3), mp.mpf("0.1")), Precise(mp.mpf("0.05"), mp.mpf("0.1"))
    for found, ends in (
        (third * third, (2.9**2, 3.1**2)),
        (1 - third, (-2.1, -1.9)),
        (2 / 1 * third / (third + 1), (2 * 2.9 / 4.1, 2 * 3.1 / 3.9)),
    ):
        assert found.value - found.error <= min(ends) + 1e-15
        assert found.value + found.error >= max(ends) - 1e-15
    with pytest.raises(ZeroDivisionError):
        third / small


class TestDoublePrecision:
    """Bounds of the averages in double precision, on the range of networks."""

    MEANS_AND_DEVIATIONS = ((0.0, 1e-6), (0.7, 1e-3), (-12.0, 3.0), (50.0, 1.0), (-50.0, 30.0), (0.3, 30.0))

    @pytest.mark.parametrize(("mean", "deviation"), MEANS_AND_DEVIATIONS)
    @pytest.mark.parametrize("power", [1, 2])
    def test_expectations(self, mean: float, deviation: float, power: int) -> None:
        for plain, precise in (
            (lambda u: expit(u) ** power, lambda u: (1 / (1 + mp.exp(-u))) ** power),
            (lambda u: np.tanh(u) ** power, lambda u: mp.tanh(u) ** power),
        ):
            value, error = normal_expectation(lambda z, f=plain: f(mean + deviation * z))
            # The rule answers for itself, not for the rounding of u, which exponentials multiply by |u|.
            rounding = 2e-15 * normal_expectation(lambda z, f=plain: np.abs(f(mean + deviation * z)))[0]
            with mp.workdps(60):
                (found,) = normal_average(lambda u, f=precise: [f(u)], mean, deviation, GATES, digits=22)
                assert abs(found.value - value) <= error + rounding

    @pytest.mark.parametrize(("mean", "deviation"), MEANS_AND_DEVIATIONS)
    def test_products_of_one_copy(self, mean: float, deviation: float) -> None:
        moments = self.functions(mean, deviation).moments
        with mp.workdps(60):
            found = normal_average(
                lambda u: self.products(values := self.precise(u), values), mean, deviation, GATES, digits=22
            )
        self.within(found, moments.value, moments.error)

    @pytest.mark.parametrize(("mean", "deviation"), MEANS_AND_DEVIATIONS)
    @pytest.mark.parametrize("correlation", [-0.9, 1.0 - 1e-12])
    def test_products_of_two_copies(self, mean: float, deviation: float, correlation: float) -> None:
        pairs = self.functions(mean, deviation).pairs(np.array([correlation]))
        with mp.workdps(60):
            found = pair_average(self.precise, self.products, mean, deviation, correlation, GATES, digits=16)
        self.within(found, pairs.value[..., 0], pairs.error[..., 0])

    @staticmethod
    def functions(mean: float, deviation: float) -> NormalFunctions:
        def function(u: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([expit(u), np.tanh(u), expit(-u) * np.tanh(u)])

        return NormalFunctions(function, mean, deviation, GATES)

    @staticmethod
    def precise(u: Any) -> Sequence[Any]:
        keep = 1 / (1 + mp.exp(-u))
        return keep, mp.tanh(u), mp.exp(-u) * keep * mp.tanh(u)

    @staticmethod
    def products(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
        return [left[i] * right[j] for i in range(3) for j in range(i, 3)]

    @staticmethod
    def within(found: Sequence[Precise], value: NDArray[np.float64], error: NDArray[np.float64]) -> None:
        places = [(i, j) for i in range(3) for j in range(i, 3)]
        for (i, j), each in zip(places, found, strict=True):
            assert abs(each.value - value[i, j]) <= error[i, j] + each.error
