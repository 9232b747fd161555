"""Gauss rules against known ones, moments, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from meanfield.solvers.gauss_compression import KeepRule, Rule, gauss_rule


def test_legendre() -> None:
    nodes, weights = leggauss(40)
    found = gauss_rule(nodes, weights, 12)
    for one, other in zip(found, leggauss(12), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)


def test_hermite_of_a_shifted_law() -> None:
    nodes, weights = hermegauss(60)
    found_nodes, found_weights = gauss_rule(5.0 + 1e-3 * nodes, weights, 10)
    expected_nodes, expected_weights = hermegauss(10)
    np.testing.assert_allclose((found_nodes - 5.0) / 1e-3, expected_nodes, atol=1e-11)
    np.testing.assert_allclose(found_weights, expected_weights, atol=1e-12)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_moments_agree_up_to_twice_the_count(count: int) -> None:
    rng = np.random.default_rng(count)
    fine = Rule(rng.uniform(-1.0, 1.0, 400), rng.uniform(0.0, 1.0, 400))
    rule = fine.compressed(count)
    assert len(rule.nodes) == count
    for power in range(2 * count):
        expected = fine.expectation(lambda x, n=power: x**n)
        np.testing.assert_allclose(rule.expectation(lambda x, n=power: x**n), expected, atol=1e-13 * fine.mass)


def test_few_points_stay_themselves() -> None:
    nodes, weights = np.array([0.0, 0.25, 1.0]), np.array([0.2, 0.5, 0.3])
    repeated = Rule(np.tile(nodes, 40), np.tile(weights, 40) / 40.0).compressed(8)
    np.testing.assert_allclose(repeated.nodes, nodes, atol=1e-14)
    np.testing.assert_allclose(repeated.weights, weights, atol=1e-14)
    assert len(Rule(np.full(30, 0.7), np.full(30, 1 / 30)).compressed(8).nodes) == 1


def test_products_of_independent_variables() -> None:
    one, two = Rule(*leggauss(30)), Rule(*hermegauss(30))
    product = one.times(two)
    for power in (1, 2, 4, 6):
        expected = one.expectation(lambda x, n=power: x**n) * two.expectation(lambda x, n=power: x**n)
        np.testing.assert_allclose(product.expectation(lambda x, n=power: x**n), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("middle", [1e-12, 1e-3, 0.6, 1.4])
def test_keep_and_release_both_have_their_digits(middle: float) -> None:
    rng = np.random.default_rng(0)
    release = middle * rng.uniform(0.5, 1.2, 300)
    fine = KeepRule(1.0 - release, release, np.full(300, 1 / 300))
    rule = fine.compressed(6)
    np.testing.assert_allclose(rule.mean_release, fine.mean_release, rtol=1e-13)
    np.testing.assert_allclose(rule.deviation, fine.deviation, rtol=1e-12)
    np.testing.assert_allclose(rule.keep + rule.release, 1.0, atol=1e-15)


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        ([], [], "at least one"),
        ([1.0], [0.5, 0.5], "as many numbers"),
        ([np.nan], [1.0], "nodes: must be finite"),
        ([1.0, 2.0], [1.5, -0.5], "weights: must not be negative"),
    ],
)
def test_no_measure(nodes: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(np.array(nodes), np.array(weights))


@pytest.mark.parametrize(
    ("keep", "release", "message"),
    [(1.0, 0.0, "never fade"), (1.1, -0.1, "below 1"), (-1.0, 2.0, "above -1"), (0.5, 0.4, "must be 1 - keep")],
)
def test_a_memory_that_does_not_fade(keep: float, release: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeepRule(np.array([keep]), np.array([release]), np.ones(1))
