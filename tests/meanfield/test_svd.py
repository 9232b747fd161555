"""Matrices by their singular values: against dense algebra, complex steps and many digits; what is refused."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from meanfield.errors import InvalidInput
from meanfield.svd import SVDMatrix
from meanfield.weight_ensembles import Ensemble

SHAPES = [(1, 1, 1, 1), (6, 6, 6, 6), (6, 6, 2, 3), (7, 4, 3, 4), (4, 7, 4, 2), (7, 4, 7, 4)]


def drawn(rows: int, columns: int, left: int, right: int, seed: int = 0) -> SVDMatrix:
    rng = np.random.default_rng(seed)
    return SVDMatrix.draw(
        rng, rows, columns, left_count=left, right_count=right, centre=2.0, half_width=0.7, values="uniform"
    )


def explicit(left: NDArray[Any], right: NDArray[Any], logits: NDArray[Any]) -> NDArray[Any]:
    """W of centre 2 and half width 0.7 by its definition, for complex numbers too."""
    factors = []
    for reflectors in (left, right):
        factor = np.eye(reflectors.shape[1], dtype=complex)
        for index, row in enumerate(reflectors):
            u = np.where(np.arange(len(row)) < index, 0, row)
            if np.any(u):
                factor = factor @ (np.eye(len(row)) - 2.0 * np.outer(u, u) / (u @ u))
        factors.append(factor)
    U, V = factors
    least = len(logits)
    s = 2.0 + 1.4 * (1.0 / (1.0 + np.exp(-logits)) - 0.5)
    return (U[:, :least] * s) @ V[:, :least].T


@pytest.mark.parametrize("sizes", SHAPES)
def test_products_are_those_of_the_matrix(sizes: tuple[int, int, int, int]) -> None:
    given = drawn(*sizes)
    W = explicit(given.left, given.right, given.logits).real
    x, y = np.random.default_rng(1).standard_normal((2, 7, 3))
    x, y = x[: sizes[1]], y[: sizes[0]]
    np.testing.assert_allclose(given.matrix(), W, atol=1e-14)
    np.testing.assert_allclose(given.apply(x), W @ x, atol=1e-13)
    np.testing.assert_allclose(given.apply(x[:, 0]), W @ x[:, 0], atol=1e-13)
    np.testing.assert_allclose(given.apply_transpose(y), W.T @ y, atol=1e-13)
    np.testing.assert_allclose(
        np.sort(given.singular_values)[::-1], np.linalg.svd(W, compute_uv=False), rtol=1e-14, atol=0.0
    )
    assert np.all(np.abs(given.singular_values - 2.0) <= 0.7)


@pytest.mark.parametrize("sizes", SHAPES[:3])
def test_inverse_and_determinant(sizes: tuple[int, int, int, int]) -> None:
    given = drawn(*sizes)
    W, y = given.matrix(), np.random.default_rng(1).standard_normal((sizes[0], 3))
    np.testing.assert_allclose(given.apply_inverse(y), np.linalg.solve(W, y), atol=1e-13)
    np.testing.assert_allclose(given.apply_inverse(y[:, 1]), np.linalg.solve(W, y)[:, 1], atol=1e-13)
    assert given.determinant_sign() == np.sign(np.linalg.det(W))
    with mpmath.workdps(40):
        p = [mpmath.mpf(float(each)) for each in given.logits]
        centre, reach = mpmath.mpf(given.centre), mpmath.mpf(given.half_width)
        exact = mpmath.fsum(mpmath.log(centre + 2 * reach * (1 / (1 + mpmath.exp(-each)) - 0.5)) for each in p)
        found = given.log_determinant()
        assert abs(exact - found.value) <= found.error
    assert found.error < 1e-14 * sizes[0]


@pytest.mark.parametrize("half_width", [1e-6, 0.999999, 0.3])
def test_bound_of_the_determinant_holds_in_many_digits(half_width: float) -> None:
    rng = np.random.default_rng(7)
    logits = np.concatenate([rng.uniform(-50.0, 50.0, 100), rng.standard_normal(100), [-745.0, 745.0, 0.0]])
    size = len(logits)
    given = SVDMatrix(np.eye(1, size), np.eye(1, size), logits, 1.0, half_width)
    with mpmath.workdps(60):
        reach = mpmath.mpf(half_width)
        exact = mpmath.fsum(mpmath.log(1 + reach * mpmath.tanh(mpmath.mpf(float(each)) / 2)) for each in logits)
        assert abs(exact - given.log_determinant().value) <= given.log_determinant().error


@pytest.mark.parametrize("sizes", SHAPES)
def test_derivatives_are_those_of_a_complex_step(sizes: tuple[int, int, int, int]) -> None:
    given = drawn(*sizes)
    x, y = np.random.default_rng(1).standard_normal((2, 7, 3))
    x, y = x[: sizes[1]], y[: sizes[0]]
    gradient = given.vjp(x, y)
    arrays = {"left": given.left, "right": given.right, "logits": given.logits}
    for name, array in arrays.items():
        expected = np.zeros_like(array)
        for place in itertools.product(*map(range, array.shape)):
            moved = array.astype(complex)
            moved[place] += 1e-30j
            expected[place] = np.sum(y * (explicit(**{**arrays, name: moved}) @ x)).imag / 1e-30
        np.testing.assert_allclose(getattr(gradient, name), expected, atol=1e-11 * max(1.0, np.abs(expected).max()))
    np.testing.assert_allclose(gradient.batch, given.apply_transpose(y), atol=1e-14)
    one = given.vjp(x[:, 0], y[:, 0])
    assert one.batch.shape == x[:, 0].shape
    np.testing.assert_allclose(one.logits, given.vjp(x[:, :1], y[:, :1]).logits, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (8, 3), (3, 8), (70, 70)])
@pytest.mark.parametrize("seed", range(3))
def test_a_matrix_is_taken_apart_exactly(shape: tuple[int, int], seed: int) -> None:
    W = np.random.default_rng([seed, *shape]).standard_normal(shape)
    found = SVDMatrix.from_matrix(W)
    highest = np.linalg.norm(W, 2)
    np.testing.assert_allclose(found.matrix(), W, atol=2e-14 * highest)
    assert found.left.shape[0] == found.right.shape[0] == min(shape)
    if shape[0] == shape[1]:
        sign, logarithm = np.linalg.slogdet(W)
        assert found.determinant_sign() == sign
        assert found.log_determinant().value == pytest.approx(logarithm, abs=1e-11)


@pytest.mark.parametrize("W", [np.eye(4), -np.eye(4), np.eye(4)[::-1], np.diag([1.0, -1.0, 1.0, 1.0]), 2.0 * np.eye(4)])
def test_special_matrices(W: NDArray[np.float64]) -> None:
    centre = abs(float(W[0].sum()))
    found = SVDMatrix.from_matrix(W, centre=centre, half_width=0.01)
    np.testing.assert_allclose(found.matrix(), W, atol=1e-15)
    np.testing.assert_allclose(found.logits, 0.0, atol=1e-12)


def test_values_close_to_the_border_come_back() -> None:
    values = 1.0 + 0.01 * (1.0 - np.array([1e-12, 0.5, 1.5, 2.0 - 1e-12]))
    found = SVDMatrix.from_matrix(np.diag(values), centre=1.0, half_width=0.01)
    np.testing.assert_allclose(found.matrix(), np.diag(values), atol=1e-15)


def test_nothing_leaves_the_band() -> None:
    for kind in (np.float32, np.float64):
        logits = np.array([-1e30, -800.0, -40.0, 0.0, 40.0, 800.0, 1e30], dtype=kind)
        given = SVDMatrix(np.eye(1, 7, dtype=kind), np.eye(1, 7, dtype=kind), logits, 1.0, 0.01)
        ulp = np.finfo(kind).eps
        assert np.all(np.abs(given.singular_values.astype(float) - 1.0) <= 0.01 + ulp)
        gradient = given.vjp(np.ones(7, kind), np.ones(7, kind))
        assert np.all(np.isfinite(gradient.logits))


def test_start_is_orthogonal_and_moves_as_it_should() -> None:
    given = SVDMatrix.draw(np.random.default_rng(0), 9, 9, half_width=0.01)
    W = given.matrix()
    np.testing.assert_allclose(W @ W.T, np.eye(9), atol=1e-14)
    # ∂s/∂p = r/2, and Σ y·W x = s_1 for the first singular vectors.
    u, v = given.apply(given._v.matrix()[:, 0]), given._v.matrix()[:, 0]
    np.testing.assert_allclose(given.vjp(v, u).logits, [0.005, *np.zeros(8)], atol=1e-15)


def test_single_precision() -> None:
    double = drawn(40, 50, 40, 30)
    single = SVDMatrix(*(getattr(double, name).astype(np.float32) for name in ("left", "right", "logits")), 2.0, 0.7)
    x, y = np.ones(50), np.ones(40)
    for found, exact in [
        (single.apply(x), double.apply(x)),
        (single.apply_transpose(y), double.apply_transpose(y)),
        (single.matrix(), double.matrix()),
        *((getattr(single.vjp(x, y), name), getattr(double.vjp(x, y), name)) for name in ("left", "right", "logits")),
    ]:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, atol=3e-5 * max(1.0, np.abs(exact).max()))


def test_complete_uniform_draws_are_of_the_svd_ensemble() -> None:
    rng, draws = np.random.default_rng(0), 1500
    found = np.array([drawn(2, 2, 2, 2, seed=k).matrix() for k in range(draws)])
    others = np.array([Ensemble("svd", 2.0, 0.7).draw(rng, 2, 2) for _ in range(draws)])
    for statistic in (
        lambda W: W[:, 0, 1],
        lambda W: W[:, 0, 0] + W[:, 1, 1],
        lambda W: np.linalg.det(W),
        lambda W: np.einsum("kij,kij->k", W, W),
    ):
        assert kstest(statistic(found), statistic(others)).pvalue > 1e-6
    values = np.concatenate([drawn(3, 3, 1, 1, seed=k).singular_values for k in range(1000)])
    assert kstest(values, "uniform", args=(1.3, 1.4)).pvalue > 1e-6


def test_arrays_cannot_change_behind_its_back() -> None:
    left = np.eye(3)
    given = SVDMatrix(left, np.eye(3), np.zeros(3))
    before = given.matrix()
    left[0] = 7.0
    assert np.array_equal(given.matrix(), before)
    with pytest.raises(ValueError, match="read-only"):
        given.left[0, 0] = 2.0


EYE, NONE = np.eye(3), np.zeros(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((4, 3)), EYE, NONE), r"left: must be from 1 to 3 reflectors of 3 coordinates, got shape \(4, 3\)"),
        ((EYE, np.ones((0, 3)), NONE), r"right: must be from 1 to 3 reflectors of 3 coordinates, got shape \(0, 3\)"),
        ((EYE, EYE, np.zeros(2)), r"logits: must be of shape \(3,\) for left of shape \(3, 3\).*got \(2,\)"),
        ((EYE[0], EYE, NONE), r"left: must be real numbers on 2 axes, got float64 of shape \(3,\)"),
        ((EYE * 1j, EYE, NONE), "left: must be real numbers on 2 axes, got complex128"),
        ((EYE, EYE * math.nan, NONE), r"right: must be finite float64, got NaN or infinity in shape \(3, 3\)"),
        ((EYE, EYE, [0.0, 1.0, math.inf]), "logits: must be finite"),
        ((EYE, EYE, NONE, 1.0, 0.0), "half_width: must be between 0 and the centre 1, got 0.0"),
        ((EYE, EYE, NONE, 1.0, 1.0), "half_width: must be between 0 and the centre 1, got 1.0"),
        ((EYE, EYE, NONE, 1.0, -0.1), "half_width: must be at least 0, got -0.1"),
        ((EYE, EYE, NONE, 0.0, 0.1), "centre: must be positive, got 0.0"),
        ((EYE, EYE, NONE, math.nan, 0.1), "centre: must be a finite number, got nan"),
    ],
)
def test_refused_parameters(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SVDMatrix(*arguments)


def test_refused_requests() -> None:
    rng = np.random.default_rng(0)
    square, tall = drawn(6, 6, 2, 3), drawn(7, 4, 3, 4)
    for call, message in [
        (lambda: tall.apply(np.ones(7)), r"batch: must be of shape \(4,\) or \(4, count\).*\(7, 4\), got \(7,\)"),
        (lambda: tall.apply_transpose(np.ones((4, 2))), r"batch: must be of shape \(7,\).*got \(4, 2\)"),
        (lambda: tall.apply_inverse(np.ones(7)), r"apply_inverse: needs a square matrix, got shape \(7, 4\)"),
        (tall.log_determinant, "log_determinant: needs a square matrix"),
        (tall.determinant_sign, "determinant_sign: needs a square matrix"),
        (lambda: square.apply(np.full(6, np.nan)), "batch: must be finite"),
        (lambda: square.vjp(np.ones((6, 2)), np.ones((6, 3))), r"cotangents: .*\(6, 2\), got \(6, 3\)"),
        (lambda: SVDMatrix.draw(rng, 3, 3, left_count=4), "left_count: must be from 1 to 3 reflectors.*got 4"),
        (lambda: SVDMatrix.draw(rng, 3, 3, right_count=0), "right_count: must be from 1 to 3 reflectors.*got 0"),
        (lambda: SVDMatrix.draw(rng, 0, 3), "rows: must be a whole number of at least 1, got 0"),
        (lambda: SVDMatrix.draw(rng, 3, 3, values="some"), "values: must be 'centre' or 'uniform', got 'some'"),
        (lambda: SVDMatrix.draw(rng, 3, 3, half_width=2.0), "half_width: must be between 0 and the centre 1"),
        (lambda: SVDMatrix.from_matrix(np.ones((3, 3))), "matrix: must be of full rank"),
        (lambda: SVDMatrix.from_matrix(np.zeros((0, 3))), r"matrix: must have rows and columns, got shape \(0, 3\)"),
        (lambda: SVDMatrix.from_matrix(np.full((3, 3), np.inf)), "matrix: must be finite"),
        (lambda: SVDMatrix.from_matrix(EYE, centre=1.0), "centre: must be given together with half_width"),
        (
            lambda: SVDMatrix.from_matrix(np.diag([1.0, 1.5]), centre=1.0, half_width=0.5),
            "matrix: its singular values must lie strictly between 0.5 and 1.5, got some from 1 to 1.5",
        ),
    ]:
        with pytest.raises(InvalidInput, match=message):
            call()


def test_numpy_alone_does_not_load_pytorch() -> None:
    code = "import sys, meanfield.svd; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
