"""Fixed points of maps with noise: where they are, how large the errors are, and which maps have none to be found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

from meanfield.solvers.sampled_fixed_point import NoFixedPoint, SampledFixedPoint, sampled_fixed_point

Float64 = NDArray[np.float64]
Map = Callable[[Float64], Float64]

BLOCKS = 32


def noisy(function: Map, scatter: float, seed: int) -> Map:
    """Observations of blocks with errors of this size, the same ones at every call."""
    errors = scatter * np.random.default_rng(seed).standard_normal((BLOCKS, len(function(np.array([0.5, 0.5])))))
    return lambda q: function(q) + errors


def one_to_two(function: Callable[[Any], Any]) -> Map:
    """A map of one unknown, and its square as another observation."""
    return lambda q: np.array([function(q[0]), function(q[0]) ** 2])


def estimate(found: SampledFixedPoint, column: int = 0) -> tuple[float, float]:
    values = found.blocks[:, column]
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def test_a_linear_map_is_solved_block_by_block() -> None:
    """q = a q + b + noise has the fixed points (b + noise)/(1 - a)."""
    function = one_to_two(lambda q: 0.8 * q + 1.0)
    costly = noisy(function, 0.01, seed=0)
    found = sampled_fixed_point(function, costly, np.array([0.3]))
    errors = costly(np.zeros(1))[:, 0] - 1.0
    np.testing.assert_allclose(found.blocks[:, 0], (1.0 + errors) / 0.2, rtol=1e-6)
    # Errors in the map are five times as large at its fixed point.
    np.testing.assert_allclose(estimate(found)[1], 5.0 * np.std(errors, ddof=1) / math.sqrt(BLOCKS), rtol=1e-6)


def test_other_observations_follow_the_fixed_point() -> None:
    """y = 3 q + noise is seen at a point where its mean is not that of the fixed point."""

    def function(q: Float64) -> Float64:
        return np.array([0.5 * q[0] + 1.0, 3.0 * q[0]])

    found = sampled_fixed_point(function, lambda q: function(q) + np.array([[0.1, 0.0], [0.3, 0.0]]), np.array([1.0]))
    np.testing.assert_allclose(found.blocks[:, 0], [2.2, 2.6], rtol=1e-6)
    np.testing.assert_allclose(found.blocks[:, 1], [6.6, 7.8], rtol=1e-6)
    assert np.all(found.remainder >= 0.0)


@pytest.mark.parametrize("start", [1e-6, 1e-3, 0.3, 3.0])
@pytest.mark.parametrize("gain", [1.1, 1.5, 4.0])
def test_the_stable_fixed_point_is_found_from_any_start(gain: float, start: float) -> None:
    """Zero is a fixed point too, which any perturbation leaves; acceleration must not lead back to it."""
    function = one_to_two(lambda q: np.tanh(gain * q))
    found = sampled_fixed_point(function, lambda q: np.tile(function(q), (4, 1)), np.array([start]))
    expected = brentq(lambda q: math.tanh(gain * q) - q, 0.1, 1.0, xtol=1e-15)
    mean, error = estimate(found)
    np.testing.assert_allclose(mean, expected, rtol=1e-8)
    assert error <= 1e-15
    np.testing.assert_allclose(estimate(found, 1)[0], mean**2, rtol=1e-8)


@pytest.mark.parametrize("kick", [1e-6, 1e-3, 0.03])
def test_second_moments_stay_positive_on_the_way(kick: float) -> None:
    """A kicked unit that amplifies, clipped at zero as second moments are: its map has a root below zero as well."""
    function = one_to_two(lambda q: np.tanh(1.5 * np.maximum(q, 0.0) + kick))
    found = sampled_fixed_point(function, lambda q: np.tile(function(q), (4, 1)), np.array([kick]))
    expected = brentq(lambda q: math.tanh(1.5 * q + kick) - q, 0.1, 1.0, xtol=1e-15)
    np.testing.assert_allclose(estimate(found)[0], expected, rtol=1e-8)


@pytest.mark.parametrize("slope", [-0.9, 0.0, 0.5, 0.95])
def test_zero_is_found_where_it_is_the_fixed_point(slope: float) -> None:
    found = sampled_fixed_point(
        one_to_two(lambda q: slope * q), lambda q: np.tile(one_to_two(lambda p: slope * p)(q), (4, 1)), np.array([0.01])
    )
    assert abs(estimate(found)[0]) < 1e-9


def test_two_unknowns_that_read_each_other() -> None:
    matrix, shift = np.array([[0.4, -0.3], [0.5, 0.2]]), np.array([1.0, 0.1])

    def function(q: Float64) -> Float64:
        return np.concatenate([matrix @ q + shift, [q[0] * q[1]]])

    costly = noisy(function, 1e-3, seed=1)
    found = sampled_fixed_point(function, costly, np.array([1.0, 1.0]))
    errors = costly(np.zeros(2))[:, :2] - shift
    expected = np.linalg.solve(np.eye(2) - matrix, (shift + errors).T).T
    np.testing.assert_allclose(found.blocks[:, :2], expected, rtol=1e-6)
    np.testing.assert_allclose(found.blocks[:, 2].mean(), np.prod(expected.mean(axis=0)), rtol=1e-3)


def test_without_unknowns_there_is_nothing_to_solve() -> None:
    blocks = np.arange(6.0).reshape(3, 2)
    found = sampled_fixed_point(lambda q: blocks[0], lambda q: blocks, np.zeros(0))
    np.testing.assert_array_equal(found.blocks, blocks)
    np.testing.assert_array_equal(found.remainder, 0.0)


def test_errors_of_the_cheap_evaluation_do_not_stay() -> None:
    """The cheap map is off by a tenth; the answer is that of the costly one."""
    function = one_to_two(lambda q: 0.5 + 0.4 * np.tanh(q))
    costly = noisy(function, 1e-4, seed=2)
    found = sampled_fixed_point(lambda q: 1.1 * function(q), costly, np.array([0.1]))
    exact = 0.5
    for _ in range(200):
        exact = 0.5 + 0.4 * math.tanh(exact)
    for column, expected in ((0, exact), (1, exact**2)):
        mean, error = estimate(found, column)
        assert abs(mean - expected) < 4.0 * math.hypot(error, float(found.remainder[column]))


@pytest.mark.parametrize("gain", [0.3, 1.1])
def test_errors_cover_the_truth(gain: float) -> None:
    """Pulls over 200 draws of the noise of both evaluations have the variance that they say."""
    function = one_to_two(lambda q: 0.2 + np.tanh(gain * q))
    exact = 1.0
    for _ in range(500):
        exact = 0.2 + math.tanh(gain * exact)
    pulls = []
    for seed in range(200):
        offset = 0.003 * np.random.default_rng([1, seed]).standard_normal(2)
        found = sampled_fixed_point(
            lambda q, shift=offset: function(q) + shift, noisy(function, 0.01, seed), np.array([0.5])
        )
        for column, expected in ((0, exact), (1, exact**2)):
            mean, error = estimate(found, column)
            pulls.append((mean - expected) / math.hypot(error, float(found.remainder[column])))
    # 400 pulls, correlated in pairs: the scatter of their own scatter is 5 %.
    assert 0.8 < float(np.std(pulls)) < 1.2
    assert abs(float(np.mean(pulls))) < 0.3


def test_a_map_without_a_fixed_point_is_refused() -> None:
    function = one_to_two(lambda q: q + 1.0)
    costly = noisy(function, 1e-3, seed=3)
    with pytest.raises(NoFixedPoint):
        sampled_fixed_point(function, costly, np.array([0.1]))


@pytest.mark.parametrize("distance", [0.0, 1e-9])
def test_a_map_of_slope_one_is_refused(distance: float) -> None:
    """Also where it is one but for rounding: a matrix of one row is always well conditioned."""
    function = one_to_two(lambda q: (1.0 - distance) * q)
    costly = noisy(function, 1e-3, seed=3)
    with pytest.raises(NoFixedPoint, match="slope one at its fixed point, which sampling cannot resolve"):
        sampled_fixed_point(function, costly, np.array([0.1]))


def test_evaluations_that_disagree_are_refused() -> None:
    costly = noisy(one_to_two(lambda q: 3.0 * q + 1.0), 1e-6, seed=3)
    with pytest.raises(NoFixedPoint, match="do not agree on the fixed point; take more samples"):
        sampled_fixed_point(one_to_two(lambda q: 0.5 * q + 1.0), costly, np.array([0.1]))


def test_maps_that_leave_the_range_of_numbers_are_refused() -> None:
    explosive = one_to_two(lambda q: np.exp(q) + 1.0)
    with pytest.raises(NoFixedPoint), np.errstate(over="ignore", invalid="ignore"):
        sampled_fixed_point(explosive, lambda q: np.tile(explosive(q), (4, 1)), np.array([1.0]))


def test_the_start_is_not_changed() -> None:
    start = np.array([0.25])
    function = one_to_two(lambda q: 0.5 * q + 1.0)
    sampled_fixed_point(function, noisy(function, 1e-3, seed=4), start)
    assert start[0] == 0.25
