"""Graded rules against closed forms and against rules in other coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meanfield.solvers.graded_expectations import OutOfRange, graded_expectations


@pytest.mark.parametrize("slope", [0.1, 1.0, 3.0, 8.0])
def test_exponentials_that_are_made_in_the_tails(slope: float) -> None:
    value, error = graded_expectations(lambda z: [np.exp(slope * z[0]), z[0] ** 2 * np.exp(slope * z[0])], [0.0])
    exact = np.exp(0.5 * slope**2) * np.array([1.0, 1.0 + slope**2])
    assert np.all(np.abs(value - exact) <= error)
    assert np.all(error < 1e-12 * exact)


@pytest.mark.parametrize("loads", [(1.0, 1.0, 1.0), (3.0, 2.0, 0.5), (0.0, 5.0, 0.1)])
def test_ridges_along_diagonals(loads: tuple[float, ...]) -> None:
    """tanh² of a weighted sum is a function of one variable."""
    total = math.hypot(*loads)
    (exact,), _ = graded_expectations(lambda z: [np.tanh(total * z[0] + 0.3) ** 2], [-0.3 / total])
    value, error = graded_expectations(
        lambda z: [np.tanh(sum(load * each for load, each in zip(loads, z, strict=True)) + 0.3) ** 2],
        [0.0, 0.0, 0.0],
        tolerance=1e-9,
    )
    assert abs(value[0] - exact) <= error[0] < 1e-6


@pytest.mark.parametrize("spread", [0.5, 2.0, 4.0])
def test_functions_that_change_over_many_scales(spread: float) -> None:
    """tanh²(exp(s z₁) z₂) has no smallest scale in z₂; it is smooth in its logarithm."""
    step = 1.0 / 32.0
    first, logarithm = np.arange(-12.0, 12.0, step), np.arange(-60.0, 3.0, step)
    weight = np.exp(-0.5 * first[:, None] ** 2 + logarithm - 0.5 * np.exp(2.0 * logarithm))
    steepness = np.exp(np.minimum(spread * first[:, None] + logarithm, 30.0))
    exact = np.sum(weight * np.tanh(steepness) ** 2) * step**2 / math.pi
    value, error = graded_expectations(
        lambda z: [np.tanh(np.exp(spread * z[0]) * z[1]) ** 2], [0.0, 0.0], tolerance=1e-10
    )
    assert abs(value[0] - exact) <= error[0] + 1e-13
    assert error[0] < 1e-9


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5])
def test_steps_near_their_centre(width: float) -> None:
    value, error = graded_expectations(lambda z: [1.0 / (1.0 + np.exp(-(z[0] - 0.7) / width))], [0.7])
    half = 0.5 * math.erfc(0.7 / math.sqrt(2.0))
    if width < 1e-4:  # Φ(-a) + π²/12 (2 a φ(a)) w² …
        assert abs(value[0] - half) < 1e-8
    assert error[0] < 1e-12
    fine, _ = graded_expectations(lambda z: [1.0 / (1.0 + np.exp(-(z[0] - 0.7) / width))], [0.69])
    assert abs(fine[0] - value[0]) < 1e-12


def test_what_leaves_the_range_of_numbers_is_refused() -> None:
    with pytest.raises(OutOfRange, match="lower the gains"):
        graded_expectations(lambda z: [np.exp(60.0 * z[0])], [0.0])
    with pytest.raises(ArithmeticError, match="relative error"):
        graded_expectations(lambda z: [(z[0] * z[1] * z[2] > 0.1) * 1.0], [0.0, 0.0, 0.0])
