"""Crossings of functions whose roots, kinks, steps and gaps are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from meanfield.solvers.level_crossings import level_crossings
from meanfield.solvers.secant_slopes import secant_slope


def exact(function: Callable[[float], float], error: float = 1e-14) -> Callable[[float], tuple[float, float]]:
    return lambda x: (function(x), error)


def test_all_roots_of_a_cosine() -> None:
    found = level_crossings(exact(math.cos), 0.25, 0.0, 20.0)
    first = math.acos(0.25)
    expected = sorted(sign * first + 2 * math.pi * turn for turn in range(4) for sign in (1.0, -1.0))
    expected = [each for each in expected if 0.0 < each < 20.0]
    assert len(found.crossings) == len(expected)
    for crossing, root in zip(found.crossings, expected, strict=True):
        assert abs(crossing.place - root) <= crossing.error < 1e-12
        assert abs(crossing.slope.value + math.sin(root)) <= crossing.slope.error < 1e-5
        assert crossing.direction == ("falls" if math.sin(root) > 0.0 else "rises")


def test_two_roots_between_places_of_the_scan() -> None:
    # The scan sees values above the level only; the turning point between them is looked for.
    found = level_crossings(exact(lambda x: (x - 0.513) ** 2), 1e-5, 0.0, 1.0, points=11)
    assert [each.direction for each in found.crossings] == ["falls", "rises"]
    for crossing, sign in zip(found.crossings, (-1.0, 1.0), strict=True):
        assert abs(crossing.place - (0.513 + sign * math.sqrt(1e-5))) <= crossing.error < 1e-10


def test_the_error_is_that_of_the_function() -> None:
    generator = np.random.default_rng(0)
    noisy = {}

    def function(x: float) -> tuple[float, float]:
        noisy.setdefault(x, 2.0 * x + 1e-6 * generator.uniform(-1.0, 1.0))
        return noisy[x], 1e-6

    (crossing,) = level_crossings(function, 1.0, 0.0, 3.0).crossings
    assert abs(crossing.place - 0.5) <= crossing.error
    assert 5e-7 < crossing.error < 1e-5


def test_a_step_is_a_jump() -> None:
    found = level_crossings(exact(lambda x: 0.5 if x < 0.3 else 2.0), 1.0, 0.0, 1.0)
    assert not found.crossings
    (jump,) = found.jumps
    assert abs(jump.place - 0.3) <= jump.error < 1e-12
    assert (jump.before, jump.after) == (0.5, 2.0)


def test_a_level_that_is_touched() -> None:
    (crossing,) = level_crossings(exact(lambda x: 1.0 - abs(x - 0.5)), 1.0, 0.0, 1.0).crossings
    assert crossing.direction == "touches"
    assert abs(crossing.place - 0.5) <= crossing.error < 1e-12
    assert crossing.slope.error >= 1.0


@pytest.mark.parametrize(("low", "high", "direction"), [(0.0, 1.0, "rises"), (-1.0, 0.0, "rises")])
def test_a_root_at_an_end(low: float, high: float, direction: str) -> None:
    (crossing,) = level_crossings(exact(lambda x: 1.0 + x), 1.0, low, high).crossings
    assert crossing.place == 0.0
    assert crossing.error < 1e-12
    assert crossing.direction == direction
    assert abs(crossing.slope.value - 1.0) <= crossing.slope.error < 1e-6


def with_gap(low: float, high: float) -> Callable[[float], tuple[float, float]]:
    def function(x: float) -> tuple[float, float]:
        if low < x < high:
            raise ArithmeticError("it does not exist")
        return 2.0 * x, 1e-15

    return function


def test_a_root_beside_a_gap() -> None:
    found = level_crossings(with_gap(0.5001, 2.0), 1.0, 0.0, 3.0)
    (crossing,), (gap,) = found.crossings, found.gaps
    assert abs(crossing.place - 0.5) <= crossing.error
    assert (gap.low, gap.high) == pytest.approx((0.5001, 2.0), abs=1e-5)
    assert gap.reason == "it does not exist"


def test_a_gap_that_hides_a_root() -> None:
    found = level_crossings(with_gap(0.4, 0.7), 1.0, 0.0, 3.0)
    assert not found.crossings
    (jump,) = found.jumps
    assert abs(jump.place - 0.5) <= jump.error
    assert jump.before < 1.0 < jump.after


def test_a_gap_that_only_the_root_finder_meets() -> None:
    found = level_crossings(with_gap(0.4999, 0.5001), 1.0, 0.0, 3.0, points=4)
    assert not found.crossings
    assert len(found.gaps) == len(found.jumps) == 1


def test_a_function_that_exists_nowhere_and_one_that_stays() -> None:
    found = level_crossings(with_gap(-1.0, 4.0), 1.0, 0.0, 3.0)
    assert found.lowest is None
    assert [(gap.low, gap.high) for gap in found.gaps] == [(0.0, 3.0)]
    with pytest.raises(ArithmeticError, match="all the way"):
        level_crossings(exact(lambda x: 1.0), 1.0, 0.0, 3.0)


def test_slopes_stay_inside_their_range() -> None:
    def root(x: float) -> tuple[float, float]:
        return math.sqrt(x), 1e-16

    found = secant_slope(root, 1e-6, 0.0, 1.0, scale=1.0)
    assert abs(found.value - 500.0) <= found.error
    assert secant_slope(root, 0.5, 0.5, 0.5, scale=1.0).error == math.inf
