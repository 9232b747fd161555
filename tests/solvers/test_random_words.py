"""Moments of words: exact series, laws of single matrices, and the pairings of linear circuits."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.moment_series import free_cumulants, free_product, free_sum
from meanfield.solvers.random_words import Region, Word, moment, partitions

ONE = Fraction(1)


def fractions_of(values: dict[str, dict[Fraction, Fraction]]) -> object:
    """E of products of diagonals that are independent of each other, from their values and probabilities."""

    def average(region: Region) -> Fraction:
        found = ONE
        for name in set(region):
            law = values[name]
            found *= sum((share * value ** region.count(name) for value, share in law.items()), Fraction(0))
        return found

    return average


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_products_of_gaussian_matrices_have_the_moments_of_fuss_and_catalan(steps: int) -> None:
    names = [f"W{index}" for index in range(steps)]
    word = Word(((),) * (steps + 1), tuple(names))
    cumulants = {name: [Fraction(9, 4)] for name in names}
    orders = range(1, 4 if steps < 4 else 3)
    found = [moment([word], order, lambda region: ONE, cumulants) for order in orders]
    exact = [Fraction(comb((steps + 1) * p, p), steps * p + 1) * Fraction(9, 4) ** (steps * p) for p in orders]
    assert found == exact
    assert found == free_product(*[[Fraction(9, 4) ** p * c for p, c in zip(orders, (1, 2, 5), strict=False)]] * steps)
    assert all(isinstance(each, Fraction) for each in found)


def test_diagonals_between_gaussian_matrices_are_free_factors() -> None:
    """J = X W Y: the moments of J Jᵀ are those of X², Marchenko-Pastur's law and Y², multiplied freely."""
    laws = {
        "X": {Fraction(1, 2): Fraction(1, 3), Fraction(2): Fraction(2, 3)},
        "Y": {Fraction(0): Fraction(1, 4), Fraction(3, 2): Fraction(3, 4)},
    }
    average = fractions_of(laws)
    found = [moment([Word((("X",), ("Y",)), ("W",))], p, average, {"W": [ONE]}) for p in (1, 2, 3)]
    squares = [[average(("X",) * 2 * p) for p in (1, 2, 3)], [average(("Y",) * 2 * p) for p in (1, 2, 3)]]
    assert found == free_product(squares[0], [ONE, Fraction(2), Fraction(5)], squares[1])


def test_matrices_that_are_not_gaussian_have_cumulants_of_four_letters() -> None:
    """W with singular values 1 and 2: alone, between diagonals, and one more step."""
    law = {Fraction(1): Fraction(1, 2), Fraction(2): Fraction(1, 2)}
    m1, m2 = (sum((share * value ** (2 * p) for value, share in law.items()), Fraction(0)) for p in (1, 2))
    cumulants = {name: [m1, m2 - 2 * m1**2] for name in ("W", "V")}
    plain = [moment([Word(((), ()), ("W",))], p, lambda region: ONE, cumulants) for p in (1, 2)]
    assert plain == [m1, m2]
    laws = {"X": {Fraction(1): Fraction(1, 3), Fraction(3): Fraction(2, 3)}}
    average = fractions_of(laws)
    squares = [average(("X",) * 2 * p) for p in (1, 2)]
    found = [moment([Word((("X",), (), ()), ("W", "V"))], p, average, cumulants) for p in (1, 2)]
    assert found == free_product(squares, [m1, m2], [m1, m2])


def test_a_constant_beside_an_orthogonal_matrix() -> None:
    """(d + W)(d + W)ᵀ = 1 + d² + d (W + Wᵀ), the latter of the arcsine law."""
    d = Fraction(2, 3)
    words, average = [Word((("D",),), ()), Word(((), ()), ("W",))], fractions_of({"D": {d: ONE}})
    found = [moment(words, p, average, {"W": [ONE, -ONE]}) for p in (1, 2)]
    coin = [Fraction(0), d**2, Fraction(0), d**4]
    arcsine = free_sum(coin, coin)  # d (W + Wᵀ)
    assert found == [1 + d**2, (1 + d**2) ** 2 + arcsine[1]]


def test_gaussian_sums_have_the_second_free_cumulant_only() -> None:
    """W + V is a Gaussian matrix of variance 2 + 3: the cumulants of J Jᵀ are those of Marchenko and Pastur."""
    words = [Word(((), ()), ("W",)), Word(((), ()), ("V",))]
    found = [moment(words, p, lambda region: ONE, {"W": [Fraction(2)], "V": [Fraction(3)]}) for p in (1, 2, 3)]
    assert free_cumulants(found) == [Fraction(5), Fraction(25), Fraction(125)]


def test_circuits_have_the_moments_of_their_pairings() -> None:
    """The chained matrix of a gru's reset gate included, with coefficients that depend on each other."""
    generator = np.random.default_rng(3)
    units = 40
    base = generator.standard_normal((units, 6))
    D, A, B, P, Q, R = (base @ generator.standard_normal((6, 6)) + 0.3).T
    zero = np.zeros(units)
    sample = CircuitSample(
        state_to_state=D[:, None, None],
        field_to_state=np.stack([A, zero, B], axis=1)[:, None, :],
        state_to_carrier=np.stack([P, R], axis=1)[:, :, None],
        field_to_carrier=np.stack([np.zeros((units, 3)), np.stack([zero, Q, zero], axis=1)], axis=1),
        gains=np.array([0.7, 1.2, 0.4]),
        carrier_of=np.array([0, 0, 1]),
    )
    arrays = {"D": D, "A": A, "B": B, "P": P, "Q": Q, "R": R}

    def average(region: Region) -> float:
        return float(np.mean(np.prod([np.ones(units), *(arrays[name] for name in region)], axis=0)))

    words = [
        Word((("D",),), ()),
        Word((("A",), ("P",)), ("f",)),
        Word((("B",), ("R",)), ("h",)),
        Word((("B",), ("Q",), ("P",)), ("h", "r")),
    ]
    cumulants = {"f": [0.49], "r": [1.44], "h": [0.16]}
    found = [moment(words, p, average, cumulants) for p in (1, 2)]
    np.testing.assert_allclose(found, np.array(jacobian_moments(sample)), rtol=1e-12)


def test_words_and_orders_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="positive orders"):
        partitions([Word(((), ()), ("W",))], 0)
    with pytest.raises(ValueError, match="one region more"):
        partitions([Word(((),), ("W",))], 1)
    assert moment([], 1, lambda region: ONE, {}) == 0
