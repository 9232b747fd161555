"""Products of reflectors against explicit matrices, complex steps and many digits; zero, tiny and huge vectors."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from meanfield.solvers.compact_wy import compact_wy
from meanfield.solvers.householder import HouseholderProduct, haar_reflectors, reflectors_of

SHAPES = [(1, 1), (1, 6), (5, 6), (6, 6), (40, 90), (90, 90)]


def explicit(reflectors: NDArray[Any]) -> NDArray[Any]:
    """H(u_0) H(u_1) … one after the other, for complex vectors too, which are not conjugated."""
    size = reflectors.shape[1]
    product = np.eye(size, dtype=reflectors.dtype)
    for index, row in enumerate(reflectors):
        vector = np.where(np.arange(size) < index, 0, row)
        square = vector @ vector
        if square != 0:
            product = product - 2.0 * np.outer(product @ vector, vector) / square
    return product


def drawn(count: int, size: int) -> NDArray[np.float64]:
    return np.random.default_rng([count, size]).standard_normal((count, size))


@pytest.mark.parametrize(("count", "size"), SHAPES)
@pytest.mark.parametrize("width", [1, 7, 64])
def test_product_is_that_of_the_reflectors(count: int, size: int, width: int) -> None:
    product = HouseholderProduct(drawn(count, size), width=width)
    Q = explicit(drawn(count, size))
    batch = np.random.default_rng(0).standard_normal((size, 3))
    np.testing.assert_allclose(product.matrix(), Q, atol=1e-13)
    np.testing.assert_allclose(product.apply(batch), Q @ batch, atol=1e-13)
    np.testing.assert_allclose(product.apply_transpose(batch), Q.T @ batch, atol=1e-13)
    np.testing.assert_allclose(product.apply(batch[:, 0]), Q @ batch[:, 0], atol=1e-13)
    assert product.determinant == round(np.linalg.det(Q))


@pytest.mark.parametrize(("count", "size"), SHAPES[:4])
@pytest.mark.parametrize("width", [2, 64])
def test_derivatives_are_those_of_a_complex_step(count: int, size: int, width: int) -> None:
    reflectors, rng = drawn(count, size), np.random.default_rng(1)
    batch, cotangents = rng.standard_normal((2, size, 4))
    slopes, back = HouseholderProduct(reflectors, width=width).vjp(batch, cotangents)
    expected = np.zeros_like(slopes)
    for row, column in itertools.product(range(count), range(size)):
        moved = reflectors.astype(complex)
        moved[row, column] += 1e-30j
        expected[row, column] = np.sum(cotangents * (explicit(moved) @ batch)).imag / 1e-30
    np.testing.assert_allclose(slopes, expected, atol=2e-12 * np.abs(expected).max(initial=1.0))
    np.testing.assert_allclose(back, explicit(reflectors).T @ cotangents, atol=1e-13)


def test_derivatives_of_many_blocks_are_those_of_one() -> None:
    reflectors, rng = drawn(90, 90), np.random.default_rng(2)
    batch, cotangents = rng.standard_normal((2, 90, 4))
    one, _ = HouseholderProduct(reflectors, width=90).vjp(batch, cotangents)
    many, _ = HouseholderProduct(reflectors, width=8).vjp(batch, cotangents)
    np.testing.assert_allclose(many, one, atol=1e-12)
    # Lengths of vectors do not matter, so no derivative points along one.
    np.testing.assert_allclose(np.sum(many * np.triu(reflectors), axis=1), 0.0, atol=1e-11)


@pytest.mark.parametrize(("kind", "digits"), [(np.float32, 2e-6), (np.float64, 4e-15)])
def test_both_precisions(kind: type, digits: float) -> None:
    reflectors = drawn(40, 90).astype(kind)
    product = HouseholderProduct(reflectors)
    assert product.matrix().dtype == product.apply(np.ones(90)).dtype == kind
    assert product.vjp(np.ones(90), np.ones(90))[0].dtype == kind
    np.testing.assert_allclose(product.matrix(), explicit(reflectors.astype(np.float64)), atol=digits)
    np.testing.assert_allclose(product.matrix() @ product.matrix().T, np.eye(90), atol=digits)


def test_against_many_digits() -> None:
    reflectors = drawn(12, 12)
    with mpmath.workdps(40):
        Q = mpmath.eye(12)
        for index in range(12):
            u = mpmath.matrix([0.0] * index + reflectors[index, index:].tolist())
            Q = Q - 2 * (Q * u) * u.T / (u.T * u)[0]
        exact = np.array([[float(Q[i, j]) for j in range(12)] for i in range(12)])
    np.testing.assert_allclose(HouseholderProduct(reflectors, width=5).matrix(), exact, atol=4e-15)


@pytest.mark.parametrize("scale", [5e-308, 1e-200, 1e200, 1e308])
def test_lengths_do_not_matter_however_small_or_large(scale: float) -> None:
    reflectors = drawn(5, 6) / np.max(np.abs(np.triu(drawn(5, 6))), axis=1, keepdims=True)
    scales = scale ** np.linspace(0.0, 1.0, 5)[:, None]
    ordinary, other = HouseholderProduct(reflectors), HouseholderProduct(reflectors * scales)
    np.testing.assert_allclose(other.matrix(), ordinary.matrix(), atol=1e-14)
    batch, cotangents = np.random.default_rng(0).standard_normal((2, 6, 3))
    with np.errstate(over="ignore"):
        slopes, back = other.vjp(batch, cotangents)
        expected = ordinary.vjp(batch, cotangents)[0] / scales
    there = np.isfinite(expected) & (np.abs(expected) > 1e-290)
    np.testing.assert_allclose(slopes[there], expected[there], rtol=1e-9)
    assert not np.any(np.isnan(slopes))
    np.testing.assert_allclose(back, ordinary.apply_transpose(cotangents), atol=1e-14)


@pytest.mark.parametrize("nothing", [0.0, 5e-324, 1e-310])
def test_vectors_of_nothing_are_no_reflectors(nothing: float) -> None:
    reflectors = drawn(6, 6)
    reflectors[[1, 4]] = nothing
    product = HouseholderProduct(reflectors, width=4)
    np.testing.assert_allclose(product.matrix(), explicit(np.where(reflectors == nothing, 0.0, reflectors)), atol=1e-14)
    slopes, _ = product.vjp(np.arange(6.0), np.ones(6))
    assert np.all(slopes[[1, 4]] == 0.0)
    assert np.all(np.isfinite(slopes))
    assert product.determinant == 1
    everything = HouseholderProduct(np.zeros((3, 3)))
    assert np.array_equal(everything.matrix(), np.eye(3))


def test_vectors_that_are_nearly_the_same() -> None:
    rng = np.random.default_rng(0)
    reflectors = np.ones((60, 100)) + 1e-9 * rng.standard_normal((60, 100))
    product = HouseholderProduct(reflectors)
    np.testing.assert_allclose(product.matrix(), explicit(reflectors), atol=1e-12)
    np.testing.assert_allclose(product.matrix() @ product.matrix().T, np.eye(100), atol=1e-13)


def test_nothing_before_the_diagonal_counts() -> None:
    reflectors = drawn(5, 6)
    noisy = reflectors + np.tril(np.full((5, 6), 1e3), -1)
    assert np.array_equal(HouseholderProduct(noisy).matrix(), HouseholderProduct(np.triu(reflectors)).matrix())
    slopes, _ = HouseholderProduct(noisy).vjp(np.arange(6.0), np.ones(6))
    assert np.all(np.tril(slopes, -1) == 0.0)


@pytest.mark.parametrize("size", [1, 2, 5, 70])
@pytest.mark.parametrize("seed", range(4))
def test_reflectors_of_a_matrix_make_it_again(size: int, seed: int) -> None:
    rng = np.random.default_rng([seed, size])
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0] * rng.choice([-1.0, 1.0], size)
    for count in {1, (size + 1) // 2, size}:
        reflectors = reflectors_of(Q[:, :count])
        np.testing.assert_allclose(HouseholderProduct(reflectors).matrix()[:, :count], Q[:, :count], atol=2e-14)
        # Gradients move all of them but the last of a complete product.
        assert np.all(np.linalg.norm(reflectors[: size - 1], axis=1) > 0.5)


@pytest.mark.parametrize("angle", [0.0, 1e-320, 1e-200, 1e-160, 1e-17, 1e-9, 1e-4])
def test_reflectors_of_matrices_close_to_the_identity(angle: float) -> None:
    turned = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    for Q in (turned, -turned, turned[:, [1, 0, 2]], turned * [1.0, 1.0, -1.0]):
        np.testing.assert_allclose(HouseholderProduct(reflectors_of(Q)).matrix(), Q, atol=4e-16)


@pytest.mark.parametrize("seed", range(3))
def test_complete_draws_are_of_the_haar_law(seed: int) -> None:
    rng, draws = np.random.default_rng(seed), 1500
    matrices = np.array([HouseholderProduct(haar_reflectors(rng, 3, 3)).matrix() for _ in range(draws)])
    # Entries of a Haar matrix of three dimensions are uniform from -1 to 1; so are those of its product with another.
    other = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 + np.eye(3))[0]
    for turned in (matrices, other @ matrices, matrices @ other):
        for row, column in itertools.product(range(3), range(3)):
            assert kstest(turned[:, row, column], "uniform", args=(-1.0, 2.0)).pvalue > 1e-6
    determinants = np.linalg.det(matrices)
    assert abs(np.mean(determinants)) < 5.0 / np.sqrt(draws)
    traces = np.trace(matrices, axis1=1, axis2=2)
    assert abs(np.mean(traces**2) - 1.0) < 5.0 * np.std(traces**2) / np.sqrt(draws)


def test_first_columns_of_fewer_reflectors_are_uniform() -> None:
    rng, size, draws = np.random.default_rng(0), 5, 2000
    columns = [HouseholderProduct(haar_reflectors(rng, 2, size)).matrix()[:, :2] for _ in range(draws)]
    squares = np.array(columns) ** 2
    assert np.all(np.abs(np.mean(squares, axis=0) - 1.0 / size) < 5.0 * np.std(squares, axis=0) / np.sqrt(draws))
    # Gaussian vectors u themselves leave most of the first column where it was.
    plain = [HouseholderProduct(rng.standard_normal((size, size))).matrix()[0, 0] for _ in range(draws)]
    assert abs(np.mean(plain) - (1.0 - 2.0 / size)) < 5.0 * np.std(plain) / np.sqrt(draws)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="4 reflectors do not fit vectors of 3"):
        HouseholderProduct(np.ones((4, 3)))
    with pytest.raises(ValueError, match="0 reflectors"):
        HouseholderProduct(np.ones((0, 3)))
    with pytest.raises(ValueError, match="finite"):
        HouseholderProduct(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"shape \(3, 2\) does not fit reflectors of shape \(1, 2\)"):
        HouseholderProduct(np.ones((1, 2))).apply(np.ones((3, 2)))


def test_a_block_at_a_later_coordinate_leaves_the_others() -> None:
    batch = np.random.default_rng(0).standard_normal((5, 2))
    moved = batch.copy()
    compact_wy(drawn(2, 3), 2).apply(moved)
    assert np.array_equal(moved[:2], batch[:2])
    np.testing.assert_allclose(moved[2:], explicit(drawn(2, 3)) @ batch[2:], atol=1e-15)
