"""Activation functions and slopes in the tails, against 30 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from meanfield.activations import erf, gate, relu, sigmoid, tanh

POINTS = [0.0, 1e-8, 0.1, 1.0, 3.0, 10.0, 19.5, 36.8, 40.0, 100.0, 300.0, 340.0]
SIGNED = [sign * point for point in POINTS for sign in (1.0, -1.0)]


@pytest.fixture(autouse=True)
def thirty_digits() -> object:
    with mpmath.workdps(30):
        yield


@pytest.mark.parametrize("u", [*SIGNED, 700.0, -700.0])
def test_gates_and_their_complements_are_relatively_accurate(u: float) -> None:
    value, complement, slope = (float(part) for part in gate(np.array(u)))
    exact = 1 / (1 + mpmath.exp(-mpmath.mpf(u)))
    other = 1 / (1 + mpmath.exp(mpmath.mpf(u)))
    assert value == pytest.approx(float(exact), rel=4e-16, abs=0.0)
    assert complement == pytest.approx(float(other), rel=4e-16, abs=0.0)
    assert slope == pytest.approx(float(exact * other), rel=6e-16, abs=0.0)
    assert float(sigmoid(np.array(u))) == value


@pytest.mark.parametrize("u", SIGNED)
def test_the_slope_of_tanh_is_relatively_accurate(u: float) -> None:
    value, slope = (float(part) for part in tanh(np.array(u)))
    assert value == pytest.approx(float(mpmath.tanh(u)), rel=4e-16, abs=0.0)
    assert slope == pytest.approx(float(mpmath.sech(u) ** 2), rel=1e-15, abs=0.0)


@pytest.mark.parametrize("u", [sign * u for u in (0.0, 1e-8, 0.3, 2.0, 6.0, 15.0, 26.0) for sign in (1.0, -1.0)])
def test_the_slope_of_erf_is_accurate_in_the_tails(u: float) -> None:
    value, slope = (float(part) for part in erf(np.array(u)))
    assert value == pytest.approx(float(mpmath.erf(u)), rel=4e-16, abs=0.0)
    exact = float(2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(mpmath.mpf(u) ** 2)))
    # Rounding u² moves the exponential by u² parts in 1e16.
    assert slope == pytest.approx(exact, rel=4e-16 * (1.0 + u * u), abs=0.0)


def test_the_rectifier_and_its_slope() -> None:
    value, slope = relu(np.array([-2.0, 0.0, 3.0]))
    assert value.tolist() == [0.0, 0.0, 3.0]
    assert slope.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("u", [-80.0, -20.0, -5.0, 0.0, 5.0, 20.0, 80.0])
def test_single_precision_stays_single_and_accurate(u: float) -> None:
    single = np.array(u, np.float32)
    for function in (gate, tanh, erf):
        for part, exact in zip(function(single), function(np.array(u)), strict=True):
            assert part.dtype == np.float32
            if function is not erf:
                assert float(part) == pytest.approx(float(exact), rel=1e-6, abs=1e-44)


@pytest.mark.parametrize("u", [-30.0, -3.0, 0.5, 30.0])
def test_complex_arguments_give_derivatives(u: float) -> None:
    point = np.array(u + 1e-30j)
    for function in (gate, tanh):
        parts = function(point)
        slope = float(function(np.array(u))[-1])
        assert float(parts[0].imag / 1e-30) == pytest.approx(slope, rel=1e-12)
    assert float(gate(point)[1].imag / 1e-30) == pytest.approx(-float(gate(np.array(u))[2]), rel=1e-12)
