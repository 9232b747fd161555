"""Orthonormal polynomials of stationary laws against classical ones, exact moments, and what steps do pointwise."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import roots_hermitenorm, roots_jacobi

from meanfield.solvers.affine_polynomials import AffinePolynomials, affine_polynomials
from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    IndependentCoefficients,
    centred_moments,
)
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule, sigmoid_keep_rule

Float64 = NDArray[np.float64]
Law = IndependentCoefficients | BlendedCoefficients


def constant_keep(release: float) -> KeepRule:
    return KeepRule([1.0 - release], [release], [1.0])


def gaussian(deviation: float, count: int) -> Rule:
    """A Gauss rule that is exact for polynomials up to twice the count."""
    nodes, weights = roots_hermitenorm(count)
    return Rule(deviation * nodes, weights / np.sum(weights))


def random_gates(kind: str) -> Law:
    """f and g of an LSTM's kind, few nodes each; mean and skewness of c are not zero."""
    keep = sigmoid_keep_rule(1.0, 1.2).compressed(14)
    write = gaussian_rule(lambda u: 1.0 / (1.0 + np.exp(-u)), -0.5, 1.0)
    candidate = gaussian_rule(np.tanh, 0.4, 1.1)
    if kind == "blended":
        return BlendedCoefficients(keep, candidate.compressed(14))
    return IndependentCoefficients(keep, write.times(candidate).compressed(14))


def found_of(law: Law, count: int) -> AffinePolynomials:
    return affine_polynomials(law, centred_moments(law, 4), count)


class TestClassicalLaws:
    @pytest.mark.parametrize("release", [0.9, 0.3, 1e-3, 1e-6, 1e-9])
    def test_a_gaussian_autoregression_has_hermite_polynomials(self, release: float) -> None:
        """However long it remembers: nothing is lost in 1 - f."""
        law = IndependentCoefficients(constant_keep(release), gaussian(0.7, 44))
        found = found_of(law, 40).polynomials
        np.testing.assert_allclose(found.scale, 0.7 / np.sqrt(release * (2.0 - release)), rtol=1e-13)
        np.testing.assert_allclose(found.off_diagonal, np.sqrt(np.arange(1.0, 40.0)), rtol=1e-12)
        # The rule's own nodes are symmetric to rounding only, which a memory of 1/release steps adds up.
        np.testing.assert_allclose(found.diagonal, np.zeros(40), atol=1e-14 / np.sqrt(release))

    @pytest.mark.parametrize("release", [0.5, 1e-6])
    def test_what_a_step_makes_of_hermite_polynomials(self, release: float) -> None:
        """E over g of p_j(f c + g) is f^j p_j(c), in changes f^j - 1 to full relative accuracy."""
        law = IndependentCoefficients(constant_keep(release), gaussian(1.0, 24))
        found = found_of(law, 20)
        average = np.einsum("m,kmjl->jl", law.increment.weights, found.changes)
        degrees = np.arange(20)
        own = np.expm1(degrees * np.log1p(-release))
        np.testing.assert_allclose(np.diag(average), own, rtol=1e-12)
        others = average - np.diag(np.diag(average))
        assert np.max(np.abs(others)) < 1e-12 * np.max(np.abs(found.changes))

    def test_coin_flips_have_legendre_polynomials(self) -> None:
        """c ← c/2 ± 1/2 is uniform on [-1, 1]."""
        found = found_of(IndependentCoefficients(constant_keep(0.5), Rule([-0.5, 0.5], [0.5, 0.5])), 40).polynomials
        k = np.arange(1.0, 40.0)
        np.testing.assert_allclose(found.scale * found.off_diagonal, k / np.sqrt(4.0 * k**2 - 1.0), rtol=1e-12)
        np.testing.assert_allclose(found.diagonal, np.zeros(40), atol=1e-12)

    @pytest.mark.parametrize("law", ["independent", "blended"])
    def test_unequal_coins_far_from_the_origin(self, law: str) -> None:
        """The uniform law on [7, 9], blended or not."""
        coins = (
            IndependentCoefficients(constant_keep(0.5), Rule([3.5, 4.5], [0.5, 0.5]))
            if law == "independent"
            else BlendedCoefficients(constant_keep(0.5), Rule([7.0, 9.0], [0.5, 0.5]))
        )
        found = found_of(coins, 20).polynomials
        k = np.arange(1.0, 20.0)
        np.testing.assert_allclose(found.centre, 8.0, rtol=1e-14)
        np.testing.assert_allclose(found.scale * found.off_diagonal, k / np.sqrt(4.0 * k**2 - 1.0), rtol=1e-11)

    @pytest.mark.parametrize(("size", "chance"), [(2.0, 0.5), (0.8, 0.3), (15.0, 0.1), (300.0, 0.4)])
    def test_sethuraman(self, size: float, chance: float) -> None:
        """c ← f c + (1 - f) t, 1 - f ~ Beta(1, a) and t a coin on {0, 1}, is Beta(a p, a (1 - p)).

        Source: J. Sethuraman, A constructive definition of Dirichlet priors (Statistica Sinica 4, 1994).
        """
        count = 16
        # The density a (1 - v)^(a - 1) of v = 1 - f on [0, 1].
        nodes, weights = roots_jacobi(count + 4, size - 1.0, 0.0)
        release = 0.5 * (1.0 + nodes)
        law = BlendedCoefficients(
            KeepRule(1.0 - release, release, weights / np.sum(weights)), Rule([0.0, 1.0], [1.0 - chance, chance])
        )
        found = found_of(law, count).polynomials
        with mpmath.workdps(40):
            diagonal, off_diagonal = jacobi_on_unit_interval(size * (1.0 - chance) - 1.0, size * chance - 1.0, count)
        np.testing.assert_allclose(found.centre + found.scale * found.diagonal, diagonal, rtol=1e-9)
        np.testing.assert_allclose(found.scale * found.off_diagonal, off_diagonal, rtol=1e-9)


def jacobi_on_unit_interval(a: float, b: float, count: int) -> tuple[Float64, Float64]:
    """α_k and √β_k of the weight (1 - x)^a x^b on [0, 1] (Gautschi 2004, table 1.1)."""
    a, b = mpmath.mpf(a), mpmath.mpf(b)
    diagonal, off = [(b - a) / (a + b + 2)], [4 * (1 + a) * (1 + b) / ((2 + a + b) ** 2 * (3 + a + b))]
    for k in range(1, count):
        total = 2 * k + a + b
        diagonal.append((b * b - a * a) / (total * (total + 2)))
        if k > 1:
            off.append(4 * k * (k + a) * (k + b) * (k + a + b) / (total**2 * (total + 1) * (total - 1)))
    return np.array([float((1 + x) / 2) for x in diagonal]), np.array([float(mpmath.sqrt(x) / 2) for x in off])


class TestRandomCoefficients:
    @pytest.mark.parametrize("kind", ["independent", "blended"])
    def test_moments_are_exact(self, kind: str) -> None:
        """Gauss's rule of the polynomials has the moments that follow from the map by multiplying out."""
        law = random_gates(kind)
        exact = centred_moments(law, 24)
        nodes, weights = found_of(law, 13).polynomials.gauss
        positions = (nodes - exact.mean) / exact.deviation
        for order in range(25):
            size = abs(exact.normalised[order]) + exact.normalised[2 * (order // 2)]
            assert abs(weights @ positions**order - exact.normalised[order]) < 1e-11 * size

    @pytest.mark.parametrize("kind", ["independent", "blended"])
    def test_they_are_orthonormal(self, kind: str) -> None:
        """By exact moments of order 12, whatever the recursion says."""
        law = random_gates(kind)
        exact = centred_moments(law, 24)
        found = found_of(law, 7).polynomials
        # Coefficients in powers of (c - mean)/deviation from values at seven points.
        points = np.cos(np.pi * (np.arange(7) + 0.5) / 7)
        powers = np.linalg.solve(
            np.vander(points, 7, increasing=True), found.values(exact.mean + exact.deviation * points).T
        )
        hankel = exact.normalised[np.add.outer(np.arange(7), np.arange(7))]
        np.testing.assert_allclose(powers.T @ hankel @ powers, np.eye(7), atol=1e-9)

    @pytest.mark.parametrize("kind", ["independent", "blended"])
    def test_changes_are_what_a_step_does_to_values(self, kind: str) -> None:
        """p_j(f c + g) = p_j(c) + Σ_l changes_jl p_l(c), at any c."""
        law = random_gates(kind)
        found = found_of(law, 12)
        assert found.changes.shape == (len(found.keep), len(found.increments), 12, 12)
        assert np.all(np.triu(found.changes, 1) == 0.0)
        exact = centred_moments(law, 4)
        memory = exact.mean + exact.deviation * np.random.default_rng(2).uniform(-2.0, 2.0, 5)
        values = found.polynomials.values(memory)
        for k, keep in enumerate(found.keep):
            for m, increment in enumerate(found.increments):
                step = (1.0 - keep) * increment if kind == "blended" else increment
                after = found.polynomials.values(keep * memory + step)
                expected = values + found.changes[k, m] @ values
                np.testing.assert_allclose(after, expected, atol=1e-9 * np.max(np.abs(after)))

    @pytest.mark.parametrize("kind", ["independent", "blended"])
    def test_a_step_keeps_inner_products(self, kind: str) -> None:
        """E Γ Γᵀ = 1: the law is stationary."""
        law = random_gates(kind)
        found = found_of(law, 12)
        rule = law.target if isinstance(law, BlendedCoefficients) else law.increment
        gammas = found.changes + np.eye(12)
        average = np.einsum("k,m,kmjl,kmil->ji", law.keep.weights, rule.weights, gammas, gammas)
        np.testing.assert_allclose(average, np.eye(12), atol=1e-10)

    def test_long_memories_keep_their_digits(self) -> None:
        """A keep gate within 1e-6 of one, of two values, against moments in 60 digits."""
        keeps, shares, increments = (1e-6, 3e-6), (0.25, 0.75), (-0.4, 1.0)
        law = IndependentCoefficients(
            KeepRule(1.0 - np.array(keeps), np.array(keeps), np.array(shares)), Rule(increments, [0.5, 0.5])
        )
        found = found_of(law, 7).polynomials
        with mpmath.workdps(60):
            diagonal, off_diagonal = by_moments(keeps, shares, increments, 7)
        np.testing.assert_allclose(found.scale * found.off_diagonal, off_diagonal, rtol=1e-12)
        np.testing.assert_allclose(found.centre + found.scale * found.diagonal, diagonal, rtol=1e-13)


def by_moments(
    releases: tuple[float, ...], shares: tuple[float, ...], increments: tuple[float, ...], count: int
) -> tuple[Float64, Float64]:
    """α_k and √β_k from the Hankel determinants' Cholesky factor of raw moments; increments are equally likely."""
    mp = mpmath.mp
    releases, shares = [mp.mpf(x) for x in releases], [mp.mpf(x) for x in shares]
    increments = [mp.mpf(x) for x in increments]
    order = 2 * count + 1
    moments = [mp.mpf(1)]
    for n in range(1, order):
        total = mp.mpf(0)
        for release, share in zip(releases, shares, strict=True):
            for increment in increments:
                total += (share / len(increments)) * sum(
                    mp.binomial(n, k) * (1 - release) ** k * increment ** (n - k) * moments[k] for k in range(n)
                )
        kept = sum(share * (1 - release) ** n for release, share in zip(releases, shares, strict=True))
        moments.append(total / (1 - kept))
    hankel = mp.matrix(count + 1, count + 1)
    for i in range(count + 1):
        for j in range(count + 1):
            hankel[i, j] = moments[i + j] if i + j < order else mp.mpf(0)
    # The last entry is beyond what is needed: only first rows of the factor are used.
    hankel[count, count] = moments[order - 1] * 2
    upper = mp.cholesky(hankel).T
    ratios = [upper[k, k + 1] / upper[k, k] for k in range(count)]
    diagonal = [ratios[0]] + [ratios[k] - ratios[k - 1] for k in range(1, count)]
    off = [upper[k, k] / upper[k - 1, k - 1] for k in range(1, count)]
    return np.array([float(x) for x in diagonal]), np.array([float(x) for x in off])


class TestPoints:
    def test_a_law_without_spread(self) -> None:
        law = BlendedCoefficients(sigmoid_keep_rule(1.0, 0.7), Rule([0.3], [1.0]))
        found = found_of(law, 9)
        assert (found.polynomials.count, found.polynomials.centre) == (1, 0.3)
        assert found.changes.shape == (len(law.keep.keep), 1, 1, 1)
        assert np.all(found.changes == 0.0)

    def test_a_law_of_two_points(self) -> None:
        """Nothing is kept: c is the coin itself, and there are two polynomials."""
        law = IndependentCoefficients(constant_keep(1.0), Rule([-1.0, 3.0], [0.75, 0.25]))
        found = found_of(law, 9).polynomials
        assert found.count == 2
        np.testing.assert_allclose(found.gauss[0], [-1.0, 3.0], atol=1e-14)
        np.testing.assert_allclose(found.gauss[1], [0.75, 0.25], atol=1e-15)

    def test_a_negative_keep(self) -> None:
        """c ← -c/2 + g with Gaussian g has the law of c ← c/2 + g."""
        keep = KeepRule([-0.5], [1.5], [1.0])
        found = found_of(IndependentCoefficients(keep, gaussian(1.0, 14)), 10).polynomials
        np.testing.assert_allclose(found.off_diagonal, np.sqrt(np.arange(1.0, 10.0)), rtol=1e-12)

    def test_more_polynomials_do_not_change_the_first(self) -> None:
        law = random_gates("independent")
        few, many = found_of(law, 5), found_of(law, 11)
        np.testing.assert_allclose(few.polynomials.diagonal, many.polynomials.diagonal[:5], rtol=1e-13)
        np.testing.assert_allclose(few.changes, many.changes[:, :, :5, :5], atol=1e-14)
