"""Stacks of invariant matrices, conditioned on what their transposes have shown."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield.solvers.invariant_images import InvariantImages


def _frames(units: int, blocks: int, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Orthogonal blocks, orthonormal e_j of a stack, and x_j = Σ_k W_kᵀ e_jk."""
    generator = np.random.default_rng(seed)
    matrices = [np.linalg.qr(generator.standard_normal((units, units)))[0] for _ in range(blocks)]
    e = np.linalg.qr(generator.standard_normal((blocks * units, rank)))[0].T * np.sqrt(units)
    x = sum(e[:, k * units : (k + 1) * units] @ matrix for k, matrix in enumerate(matrices))
    return e.astype(np.float32)[None], np.asarray(x, np.float32)[None], matrices


@pytest.mark.parametrize("blocks", [1, 3])
def test_second_moments_of_images_are_those_of_real_orthogonal_matrices(blocks: int) -> None:
    units, rank = 400, 5
    e, x, matrices = _frames(units, blocks, rank, 0)
    vectors = (0.7 * x[:, :2] - 0.4 * x[:, 2:4]).astype(np.float32)
    real = np.concatenate([vectors[0] @ matrix.T for matrix in matrices], axis=1).reshape(2, blocks, units)
    products = []
    for seed in range(40):
        stack = InvariantImages([np.random.default_rng(seed)], blocks=blocks, units=units, excess=0.0, most_vectors=9)
        images = stack.apply(vectors, (e, x)).reshape(2, blocks, units)
        products.append(np.einsum("aku,bku->kab", images, images) / units)
    expected = np.einsum("aku,bku->kab", real, real) / units
    error = np.std(products, axis=0, ddof=1) / np.sqrt(40) + 1.0 / np.sqrt(units)
    assert np.all(np.abs(np.mean(products, axis=0) - expected) < 4 * error)


def test_images_agree_with_what_the_transposes_have_shown() -> None:
    units, blocks = 64, 2
    e, x, _ = _frames(units, blocks, 6, 1)
    stack = InvariantImages([np.random.default_rng(3)], blocks=blocks, units=units, excess=0.3, most_vectors=9)
    vectors = np.random.default_rng(4).standard_normal((1, 3, units)).astype(np.float32)
    images = stack.apply(vectors, (e, x))
    np.testing.assert_allclose(images @ e.swapaxes(1, 2), vectors @ x.swapaxes(1, 2), atol=2e-3)


def test_images_are_linear_and_remembered() -> None:
    units = 64
    e, x, _ = _frames(units, 2, 4, 2)
    stack = InvariantImages([np.random.default_rng(3)], blocks=2, units=units, excess=0.0, most_vectors=9)
    one, other = np.random.default_rng(5).standard_normal((2, 1, 1, units)).astype(np.float32)
    first, second = stack.apply(one, (e, x)), stack.apply(other, (e, x))
    np.testing.assert_allclose(stack.apply(one - 2 * other, (e, x)), first - 2 * second, atol=1e-3)


@pytest.mark.parametrize("count", [1, 40])
def test_a_single_orthogonal_block_stays_orthogonal(count: int) -> None:
    units = 64
    generator = np.random.default_rng(6)
    e, x = (np.sqrt(units) * np.linalg.qr(generator.standard_normal((units, 24)))[0].T[None] for _ in range(2))
    known = e.astype(np.float32), x.astype(np.float32)
    stack = InvariantImages([generator], blocks=1, units=units, excess=0.0, most_vectors=units, orthogonal=True)
    vectors = generator.standard_normal((1, count, units)).astype(np.float32)
    images = stack.apply(vectors, known)
    np.testing.assert_allclose(images @ images.swapaxes(1, 2), vectors @ vectors.swapaxes(1, 2), atol=2e-2)


def test_nothing_shown_leaves_fresh_matrices() -> None:
    nothing = np.empty((1, 0, 128), np.float32), np.empty((1, 0, 64), np.float32)
    stack = InvariantImages([np.random.default_rng(3)], blocks=2, units=64, excess=0.0, most_vectors=9)
    vector = np.ones((1, 1, 64), np.float32)
    assert 0.5 < float(np.mean(stack.apply(vector, nothing) ** 2)) < 1.6
