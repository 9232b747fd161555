"""Orthonormal polynomials of discrete measures against the classical ones, whose coefficients have closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import eval_legendre, roots_hermitenorm, roots_jacobi, roots_legendre

from meanfield.solvers.orthogonal_polynomials import polynomials_of

Float64 = NDArray[np.float64]


def jacobi(a: float, b: float, count: int) -> tuple[Float64, Float64]:
    """α_k and √β_k of the weight (1 - x)^a (1 + x)^b on [-1, 1], k = 0 … and k = 1 … (Gautschi 2004, table 1.1)."""
    total = 2.0 * np.arange(1.0, count) + a + b
    diagonal = np.concatenate(([(b - a) / (a + b + 2.0)], (b * b - a * a) / (total * (total + 2.0))))
    k, total = np.arange(2.0, count), total[1:]
    squared = 4.0 * k * (k + a) * (k + b) * (k + a + b) / (total**2 * (total + 1.0) * (total - 1.0))
    first = 4.0 * (1.0 + a) * (1.0 + b) / ((2.0 + a + b) ** 2 * (3.0 + a + b))
    return diagonal, np.sqrt(np.concatenate(([first], squared)))


class TestClassicalPolynomials:
    @pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-3.0, 0.01), (1e3, 20.0)])
    def test_hermite(self, mean: float, deviation: float) -> None:
        nodes, weights = roots_hermitenorm(60)
        found = polynomials_of(mean + deviation * nodes, weights, 30)
        np.testing.assert_allclose(found.centre, mean, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found.scale, deviation, rtol=1e-10)
        np.testing.assert_allclose(found.diagonal, np.zeros(30), atol=1e-9)
        np.testing.assert_allclose(found.off_diagonal, np.sqrt(np.arange(1.0, 30.0)), rtol=1e-9)

    def test_legendre(self) -> None:
        found = polynomials_of(*roots_legendre(60), 40)
        k = np.arange(1.0, 40.0)
        # In units of the deviation, which is 1/√3.
        np.testing.assert_allclose(found.off_diagonal, math.sqrt(3.0) * k / np.sqrt(4.0 * k**2 - 1.0), rtol=1e-12)
        points = np.linspace(-1.0, 1.0, 7).reshape(1, 7)
        values = found.values(points)
        assert values.shape == (40, 1, 7)
        for degree in (0, 1, 5, 39):
            exact = math.sqrt(2.0 * degree + 1.0) * eval_legendre(degree, points)
            np.testing.assert_allclose(values[degree], exact, atol=1e-10)

    @pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (-0.5, -0.5), (2.0, -0.7), (0.0, 9.0)])
    def test_jacobi(self, a: float, b: float) -> None:
        found = polynomials_of(*roots_jacobi(60, a, b), 40)
        diagonal, off_diagonal = jacobi(a, b, 40)
        np.testing.assert_allclose(found.centre + found.scale * found.diagonal, diagonal, atol=1e-11)
        np.testing.assert_allclose(found.scale * found.off_diagonal, off_diagonal, rtol=1e-10)

    def test_the_mass_is_taken_as_one(self) -> None:
        nodes, weights = roots_legendre(20)
        one, other = polynomials_of(nodes, weights, 8), polynomials_of(nodes, 1e-5 * weights, 8)
        np.testing.assert_allclose(one.off_diagonal, other.off_diagonal, rtol=1e-13)


class TestGaussRule:
    @pytest.mark.parametrize("count", [1, 2, 9, 30])
    def test_is_the_classical_one(self, count: int) -> None:
        found = polynomials_of(*roots_hermitenorm(60), 30).first(count)
        nodes, weights = roots_hermitenorm(count)
        np.testing.assert_allclose(found.gauss[0], nodes, atol=1e-8)
        np.testing.assert_allclose(found.gauss[1], weights / np.sum(weights), rtol=1e-6, atol=1e-16)

    def test_is_exact_up_to_twice_the_count(self) -> None:
        found = polynomials_of(*roots_jacobi(40, 1.5, -0.3), 7)
        nodes, weights = found.gauss
        fine, shares = roots_jacobi(40, 1.5, -0.3)
        for degree in range(14):
            np.testing.assert_allclose(weights @ nodes**degree, shares @ fine**degree / np.sum(shares), atol=1e-14)
        assert abs(weights @ nodes**14 - shares @ fine**14 / np.sum(shares)) > 1e-9

    def test_all_points_of_a_measure_come_back(self) -> None:
        generator = np.random.default_rng(5)
        nodes, weights = np.sort(generator.standard_normal(12)), generator.random(12) + 0.1
        found = polynomials_of(nodes, weights, 30)
        assert found.count == 12  # a measure has no more polynomials than points
        np.testing.assert_allclose(found.gauss[0], nodes, atol=1e-12)
        np.testing.assert_allclose(found.gauss[1], weights / np.sum(weights), rtol=1e-10)
        table = found.values(nodes) * np.sqrt(weights / np.sum(weights))
        np.testing.assert_allclose(table @ table.T, np.eye(12), atol=1e-10)


class TestParts:
    def test_multiplication(self) -> None:
        nodes, weights = roots_legendre(40)
        found, more = (polynomials_of(3.0 + 0.5 * nodes, weights, count) for count in (9, 10))
        points = np.linspace(2.5, 3.5, 11)
        values = found.values(points)
        # Of the last polynomial what is of degree 9 is missing.
        np.testing.assert_allclose((found.multiplication @ values)[:-1], (points * values)[:-1], atol=1e-12)
        lacking = (points * values)[-1] - (found.multiplication @ values)[-1]
        np.testing.assert_allclose(
            lacking, 0.5 * 9.0 / math.sqrt(4.0 * 81.0 - 1.0) * more.values(points)[-1], atol=1e-12
        )

    def test_the_first_ones_do_not_change(self) -> None:
        found = polynomials_of(*roots_jacobi(40, 1.0, 0.0), 20)
        fewer = found.first(6)
        assert fewer.count == 6
        points = np.linspace(-1.0, 1.0, 5)
        np.testing.assert_array_equal(fewer.values(points), found.values(points)[:6])
        assert found.first(1).values(points).tolist() == [[1.0] * 5]


class TestPoints:
    @pytest.mark.parametrize("place", [0.0, 1.0, -7e5])
    def test_a_point(self, place: float) -> None:
        found = polynomials_of(np.full(3, place), np.ones(3), 5)
        assert (found.count, found.centre, found.scale) == (1, place, 0.0)
        assert found.values(np.array([place, place + 1.0])).tolist() == [[1.0, 1.0]]
        assert [part.tolist() for part in found.gauss] == [[place], [1.0]]
        assert found.multiplication.tolist() == [[place]]

    def test_rounding_makes_no_spread(self) -> None:
        assert polynomials_of(1.0 + 1e-16 * np.arange(9.0), np.ones(9), 5).count == 1

    def test_points_without_weight_do_not_count(self) -> None:
        found = polynomials_of(np.array([-1.0, 0.3, 1.0]), np.array([0.5, 0.0, 0.5]), 3)
        assert found.count == 2
        np.testing.assert_allclose(found.gauss[0], [-1.0, 1.0], atol=1e-15)

    def test_two_points_far_from_the_origin(self) -> None:
        found = polynomials_of(np.array([1e6, 1e6 + 1.0]), np.array([0.25, 0.75]), 4)
        assert found.count == 2
        np.testing.assert_allclose(found.gauss[0] - 1e6, [0.0, 1.0], atol=1e-9)
        np.testing.assert_allclose(found.gauss[1], [0.25, 0.75], rtol=1e-9)
