"""Lazily revealed Gaussian matrices behave as one fixed matrix, degenerate vectors included."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers import threads
from meanfield.solvers.lazy_matrix import LazyGaussianMatrix, apply_conditioned

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def matrix(
    seed: int = 0, *, units: int = 64, rows: int = 64, groups: int = 1, most: int = 200, remember: bool = True
) -> LazyGaussianMatrix:
    generators = [np.random.default_rng([seed, group]) for group in range(groups)]
    return LazyGaussianMatrix(generators, rows=rows, columns=units, units=units, most_vectors=most, remember=remember)


def normals(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def gram(vectors: Float32) -> NDArray[np.float64]:
    """Averages over the entries of (vectors, entries)."""
    wide = vectors.astype(np.float64)
    return wide @ wide.T / vectors.shape[1]


@pytest.mark.parametrize("at_once", [1, 7])
def test_the_same_vector_has_the_same_image(at_once: int) -> None:
    lazy, vectors = matrix(groups=3), normals(1, 3, 42, 64)
    first = np.concatenate([lazy.apply(vectors[:, k : k + at_once]) for k in range(0, 42, at_once)], axis=1)
    again = lazy.apply(vectors[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(again, first, atol=2e-5)


def test_images_are_linear() -> None:
    lazy, (a, b) = matrix(), normals(2, 2, 1, 1, 64)
    image_a, image_b = lazy.apply(a), lazy.apply(b)
    np.testing.assert_allclose(lazy.apply(2.5 * a - 0.3 * b), 2.5 * image_a - 0.3 * image_b, atol=2e-5)
    np.testing.assert_allclose(lazy.apply(1e-12 * a), 1e-12 * image_a, rtol=1e-3, atol=1e-17)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_full_rank_it_is_one_gaussian_matrix(seed: int) -> None:
    units = 96
    lazy = matrix(seed, units=units, rows=2 * units, most=300)
    lazy.apply(normals(seed + 10, 1, 150, units))  # more vectors than dimensions
    dense = lazy.apply(np.eye(units, dtype=np.float32)[None])[0].T
    probe = normals(seed + 20, 1, 5, units)
    np.testing.assert_allclose(lazy.apply(probe)[0], probe[0] @ dense.T, atol=2e-3)
    entries = dense.ravel() * np.sqrt(units)
    # An entry is N(0, 1/units): mean, variance and fourth moment within four standard errors.
    assert abs(entries.mean()) < 4.0 / np.sqrt(entries.size)
    assert abs(np.mean(entries**2) - 1.0) < 4.0 * np.sqrt(2.0 / entries.size)
    assert abs(np.mean(entries**4) - 3.0) < 4.0 * np.sqrt(96.0 / entries.size)


def test_images_inherit_the_gram_matrix_of_the_vectors() -> None:
    units, rows = 512, 40000
    # Time steps of slow and fast units, as a network would apply them.
    steps = np.cumsum(normals(3, 12, units), axis=0)[None] / np.float32(3.0)
    lazy = matrix(units=units, rows=rows)
    images = np.concatenate([lazy.apply(steps[:, k : k + 1]) for k in range(12)], axis=1)[0]
    expected = gram(steps[0])
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / rows)
    assert np.all(np.abs(gram(images) - expected) < 4.5 * error)


@pytest.mark.parametrize("drift", [0.0, 1e-7, 1e-4, 1e-2])
def test_slow_vectors_have_finite_images_of_the_right_size(drift: float) -> None:
    """Nearly parallel vectors: the increments' images must not be larger than the increments."""
    units, rows = 256, 20000
    vectors = 1.0 + np.float32(drift) * np.cumsum(normals(4, 40, units), axis=0)
    lazy = matrix(units=units, rows=rows)
    images = np.concatenate([lazy.apply(v[None, None].astype(np.float32)) for v in vectors], axis=1)[0]
    assert np.all(np.isfinite(images))
    size = np.mean(vectors[-1] ** 2)
    assert abs(np.mean(images[-1] ** 2) - size) < 4.0 * size * np.sqrt(2.0 / rows)
    # Directions below 1e-5 of the squared norm are dropped, and rounding of float32 adds about 1e-7 a step.
    moved = np.mean((vectors[-1] - vectors[0]) ** 2)
    seen = np.mean((images[-1] - images[0]) ** 2)
    assert abs(seen - moved) < 4.0 * moved * np.sqrt(2.0 / rows) + 2.0 * np.sqrt(1e-5 * size * moved) + 1e-5 * size


def test_zero_repeated_and_constant_vectors() -> None:
    lazy = matrix(groups=2)
    zero = np.zeros((2, 1, 64), np.float32)
    assert not lazy.apply(zero).any()
    constant = np.ones((2, 3, 64), np.float32)
    images = lazy.apply(constant)
    np.testing.assert_allclose(images[:, 1:], images[:, :2], atol=1e-6)
    assert lazy.revealed[0].shape[1] == 1
    assert not lazy.apply(zero).any()


@pytest.mark.parametrize("remember", [True, False])
@pytest.mark.parametrize("size", [1e-25, 1e25, np.inf, np.nan])
def test_vectors_out_of_range_do_not_pass_for_zero(remember: bool, size: float) -> None:
    lazy, vectors = matrix(groups=2, remember=remember), normals(12, 2, 1, 64)
    lazy.apply(vectors)
    vectors[1] = size
    with np.errstate(over="ignore", invalid="ignore"):
        images = lazy.apply(vectors)
    assert np.all(np.isfinite(images[0]))
    if not np.isfinite(size):
        assert not np.any(np.isfinite(images[1]))
        return
    # Squares of these leave the range of single precision, one way or the other; images scale with the vector.
    variance = np.mean((images[1].astype(np.float64) / size) ** 2)
    assert abs(variance - 1.0) < 4.5 * np.sqrt(2.0 / images[1].size)


def test_a_group_may_be_silent_while_another_moves() -> None:
    vectors = normals(5, 2, 6, 64)
    vectors[0, ::2] = 0.0
    lazy = matrix(groups=2)
    images = np.concatenate([lazy.apply(vectors[:, k : k + 1]) for k in range(6)], axis=1)
    assert not images[0, ::2].any()
    assert np.all(np.mean(images[0, 1::2] ** 2, axis=-1) > 0.3)
    np.testing.assert_allclose(lazy.apply(vectors), images, atol=1e-5)


def test_without_memory_images_are_independent() -> None:
    rows = 20000
    lazy, p = matrix(rows=rows, remember=False, most=3), np.ones((1, 1, 64), np.float32)
    images = np.array([lazy.apply(p)[0, 0] for _ in range(6)])
    assert np.all(np.abs(gram(images) - np.eye(6)) < 4.5 * np.sqrt((1.0 + np.eye(6)) / rows))
    # Vectors of one call share their matrix.
    pair = lazy.apply(np.repeat(p, 2, axis=1))
    np.testing.assert_allclose(pair[:, 0], pair[:, 1], atol=1e-6)


def test_groups_are_independent_and_depend_on_their_own_generator_only() -> None:
    rows = 20000
    vectors = normals(6, 1, 4, 64)
    both = matrix(7, groups=2, rows=rows).apply(np.repeat(vectors, 2, axis=0))
    alone = matrix(7, groups=1, rows=rows).apply(vectors)
    np.testing.assert_allclose(both[0], alone[0], atol=1e-6)
    correlation = np.sum(both[0] * both[1]) / np.sqrt(np.sum(both[0] ** 2) * np.sum(both[1] ** 2))
    assert abs(correlation) < 4.0 / np.sqrt(4 * rows)


@pytest.mark.parametrize("rows", [64, 128])
def test_conditioned_images_are_adjoint_to_those_of_the_transpose(rows: int) -> None:
    units = 64
    transpose = LazyGaussianMatrix(
        [np.random.default_rng([8, g]) for g in range(2)], rows=units, columns=rows, units=units, most_vectors=20
    )
    q, p = normals(9, 2, 20, rows), normals(10, 2, 15, units)
    back = np.concatenate([transpose.apply(q[:, k : k + 1]) for k in range(20)], axis=1)
    fresh = matrix(11, units=units, rows=rows, groups=2)
    images = np.concatenate(
        [apply_conditioned(p[:, k : k + 1], fresh, transpose.revealed, units=units) for k in range(15)], axis=1
    )
    np.testing.assert_allclose(q @ images.transpose(0, 2, 1), back @ p.transpose(0, 2, 1), atol=1e-3)


def test_conditioned_on_the_transpose_it_is_still_gaussian() -> None:
    """Entries of W, built from what Wᵀ showed and a fresh part, have variance 1/units in and out of that span."""
    units, squares, fourths = 48, [], []
    for seed in range(40):
        transpose = matrix(seed, units=units, rows=units)
        transpose.apply(normals(seed + 100, 1, 24, units))
        fresh, every = matrix(seed + 500, units=units, rows=units), np.eye(units, dtype=np.float32)[None]
        dense = apply_conditioned(every, fresh, transpose.revealed, units=units)
        squares.append(np.mean(dense.astype(np.float64) ** 2) * units)
        fourths.append(np.mean(dense.astype(np.float64) ** 4) * units**2)
    count = 40 * units**2
    assert abs(np.mean(squares) - 1.0) < 4.0 * np.sqrt(2.0 / count)
    assert abs(np.mean(fourths) - 3.0) < 4.0 * np.sqrt(96.0 / count)


def test_memory_is_bounded_by_the_width() -> None:
    lazy = matrix(units=16, rows=8, most=1000)
    for step in range(60):
        assert np.all(np.isfinite(lazy.apply(normals(step, 1, 1, 16))))
    assert lazy.revealed[0].shape[1] <= 16


def reference(seed: int, steps: Float32, *, rows: int, known: tuple[Float64, Float64] | None = None) -> Float64:
    """Images of the rows of ``steps`` by the causal Cholesky factor of their Gram matrix, in double precision."""
    units = steps.shape[1]
    factor = np.linalg.cholesky(gram(steps))
    fresh = np.random.default_rng([seed, 0]).standard_normal((len(steps), rows), dtype=np.float32)
    images = factor @ fresh
    if known is None:
        return images
    basis, shown = known
    return images + (steps @ shown.T - images @ basis.T) / units @ basis


@pytest.mark.parametrize("rows", [64, 1000])
@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_images_are_those_of_the_causal_cholesky_factor(at_once: int, rows: int) -> None:
    units = 530  # no multiple of anything
    steps = np.cumsum(normals(20, 48, units), axis=0) / np.float32(3.0)
    lazy = matrix(21, units=units, rows=rows, most=60)
    images = [lazy.apply(steps[None, k : k + at_once]) for k in range(0, 48, at_once)]
    np.testing.assert_allclose(np.concatenate(images, axis=1)[0], reference(21, steps, rows=rows), atol=3e-5)


@pytest.mark.parametrize("at_once", [1, 4])
def test_conditioned_images_are_those_of_the_causal_cholesky_factor(at_once: int) -> None:
    units, rows = 90, 130
    transpose = LazyGaussianMatrix(
        [np.random.default_rng([22, 0])], rows=units, columns=rows, units=units, most_vectors=50
    )
    for k in range(41):
        transpose.apply(normals(23 + k, 1, 1, rows))
    basis, shown = transpose.revealed
    known = basis[0].astype(np.float64), shown[0].astype(np.float64)
    steps = np.cumsum(normals(24, 32, units), axis=0) / np.float32(3.0)
    # A vector that is all but known has no direction of its own, but its image under what the transpose has shown.
    steps[20] = steps[19] + np.float32(1e-3) * steps[20]
    lazy = matrix(25, units=units, rows=rows, most=60)
    images = [
        apply_conditioned(steps[None, k : k + at_once], lazy, transpose.revealed, units=units)
        for k in range(0, 32, at_once)
    ]
    found = np.concatenate(images, axis=1)[0]
    np.testing.assert_allclose(found[:20], reference(25, steps[:20], rows=rows, known=known), atol=3e-5)
    np.testing.assert_allclose(basis[0] @ found[20], shown[0] @ steps[20], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("drift", [0.02, 0.3])
def test_the_basis_of_slow_vectors_stays_orthonormal(drift: float, at_once: int) -> None:
    units = 400
    steps = 1.0 + np.float32(drift) * np.cumsum(normals(26, 300, units), axis=0)
    lazy = matrix(units=units, rows=8, most=300)
    for k in range(0, 300, at_once):
        lazy.apply(steps[None, k : k + at_once])
    basis = lazy.revealed[0][0]
    assert len(basis) > 290
    np.testing.assert_allclose(gram(basis), np.eye(len(basis)), atol=2e-6)


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_number_of_threads_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, found = normals(27, 5, 60, 200), []
    monkeypatch.setattr(threads, "_WORTH_SPLITTING", 0)
    for count in (1, 2):
        monkeypatch.setattr(threads, "cores", lambda count=count: count)
        lazy = matrix(28, groups=5, units=200, rows=300)
        images = [lazy.apply(vectors[:, k : k + at_once]) for k in range(0, 60, at_once)]
        fresh = matrix(29, groups=5, units=200, rows=200, most=9)
        transposed = LazyGaussianMatrix(
            [np.random.default_rng([30, g]) for g in range(5)], rows=200, columns=200, units=200, most_vectors=9
        )
        transposed.apply(vectors[:, :9])
        images.append(apply_conditioned(vectors[:, 9:10], fresh, transposed.revealed, units=200))
        found.append([*images, *lazy.revealed])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
