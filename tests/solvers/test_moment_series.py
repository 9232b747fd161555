"""Moments, free cumulants and S-series, exactly where numbers are rational."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from meanfield.solvers.moment_series import (
    free_cumulants,
    free_product,
    free_sum,
    moments_of_cumulants,
    moments_of_s_series,
    s_series,
)

GINIBRE = [math.comb(2 * k, k) // (k + 1) for k in range(1, 11)]  # Catalan numbers


def rational_moments(seed: int, count: int) -> list[Fraction]:
    """Moments of a law of four rational points."""
    rng = np.random.default_rng(seed)
    points = [Fraction(int(a), int(b)) for a, b in zip(rng.integers(1, 9, 4), rng.integers(1, 9, 4), strict=True)]
    masses = [Fraction(int(each)) for each in rng.integers(1, 9, 4)]
    return [
        sum((m * p**k for m, p in zip(masses, points, strict=True)), Fraction(0)) / sum(masses)
        for k in range(1, count + 1)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_products_of_ginibre_matrices_have_fuss_catalan_moments(order: int) -> None:
    found = free_product(*[GINIBRE] * order)
    assert found[1] == order + 1
    assert found == [Fraction(math.comb((order + 1) * k, k), order * k + 1) for k in range(1, 11)]


def noncrossing_sizes(points: int) -> list[list[int]]:
    """Block sizes of all non-crossing partitions of so many points on a line."""
    if points == 0:
        return [[]]
    found = []
    for size in range(1, points + 1):
        # The block of the first point has gaps after each of its points, which are partitioned on their own.
        for gaps in compositions(points - size, size):
            parts: list[list[int]] = [[size]]
            for gap in gaps:
                parts = [one + other for one in parts for other in noncrossing_sizes(gap)]
            found += parts
    return found


def compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in compositions(total - first, parts - 1)]


def test_moments_are_sums_over_noncrossing_partitions() -> None:
    cumulants = [Fraction(each, 3) for each in (2, 5, -1, 7, 4)]
    expected = [
        sum((math.prod(cumulants[size - 1] for size in sizes) for sizes in noncrossing_sizes(n)), Fraction(0))
        for n in range(1, 6)
    ]
    assert moments_of_cumulants(cumulants) == expected


@pytest.mark.parametrize("seed", range(4))
def test_round_trips_are_exact_for_fractions(seed: int) -> None:
    moments = rational_moments(seed, 9)
    assert moments_of_cumulants(free_cumulants(moments)) == moments
    assert moments_of_s_series(s_series(moments)) == moments


@pytest.mark.parametrize("seed", range(4))
def test_floats_follow_fractions(seed: int) -> None:
    exact, other = rational_moments(seed, 8), rational_moments(seed + 100, 8)
    expected = [float(each) for each in free_product(exact, other)]
    found = free_product([float(each) for each in exact], other)
    assert all(isinstance(each, float) for each in found)
    np.testing.assert_allclose(np.array(found, dtype=float), expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_relative_variances_of_free_factors_add_up(seed: int) -> None:
    laws = [rational_moments(seed + 10 * k, 4) for k in range(3)]
    product = free_product(*laws)
    assert product[0] == math.prod(law[0] for law in laws)
    assert product[1] / product[0] ** 2 - 1 == sum(law[1] / law[0] ** 2 - 1 for law in laws)


def test_free_products_and_sums_do_not_depend_on_the_order() -> None:
    one, two, three = (rational_moments(seed, 6) for seed in range(3))
    assert free_product(free_product(one, two), three) == free_product(three, one, two)
    assert free_sum(free_sum(one, two), three) == free_sum(three, one, two)


def test_sums_of_free_poisson_laws_are_free_poisson() -> None:
    """Their cumulants are all equal to the rate."""
    assert free_cumulants(free_sum(GINIBRE, GINIBRE, GINIBRE)) == [Fraction(3)] * 10


def test_a_point_at_zero_takes_everything_to_zero() -> None:
    assert free_product(GINIBRE, [0, 0, 0]) == [0, 0, 0]


@pytest.mark.parametrize("function", [free_cumulants, moments_of_cumulants, s_series, moments_of_s_series])
def test_sequences_that_make_no_sense_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="one at least"):
        function([])
    with pytest.raises(ValueError, match="finite"):
        function([1.0, math.nan])


@pytest.mark.parametrize("moments", [[-1, 2], [0, 1], [1, -1]])
def test_s_series_of_laws_that_are_not_positive_are_refused(moments: list[int]) -> None:
    with pytest.raises(ValueError, match="positive mean"):
        s_series(moments)
    with pytest.raises(ValueError, match="positive"):
        free_product(moments, [1, 2])


def test_products_and_sums_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="one law at least"):
        free_product()
    with pytest.raises(ValueError, match="one law at least"):
        free_sum()
