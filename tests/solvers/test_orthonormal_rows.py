"""Rows drawn orthonormal to one another are uniform, and end where no direction is left."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield.solvers.lazy_matrix import LazyGaussianMatrix
from meanfield.solvers.orthonormal_rows import OrthonormalRows, rows_of


def test_rows_are_orthonormal_block_by_block_until_none_is_left() -> None:
    rows = OrthonormalRows(np.random.default_rng(0), units=6, blocks=2)
    drawn = np.concatenate([rows.standard_normal((3, 12)), rows.standard_normal((5, 12))])
    for block in (drawn[:, :6], drawn[:, 6:]):
        np.testing.assert_allclose(block[:6] @ block[:6].T / 6, np.eye(6), atol=1e-5)
        np.testing.assert_array_equal(block[6:], 0.0)


def test_first_rows_are_uniform_directions() -> None:
    first = np.array([OrthonormalRows(np.random.default_rng(k), units=3).standard_normal((2, 3)) for k in range(4000)])
    # Coordinates of uniform directions in three dimensions are uniform: mean square 1 and mean fourth power 9/5 of
    # those of length sqrt(3).
    for row in (first[:, 0], first[:, 1]):
        np.testing.assert_allclose(np.mean(row, axis=0), 0.0, atol=4 / np.sqrt(4000))
        np.testing.assert_allclose(np.mean(row**4, axis=0), 1.8, atol=4 * 2.4 / np.sqrt(4000))


def test_avoided_rows_are_avoided() -> None:
    avoided = (np.eye(4, dtype=np.float32) * 2)[:3]
    drawn = OrthonormalRows(np.random.default_rng(0), units=4, avoided=avoided).standard_normal((2, 4))
    np.testing.assert_allclose(np.abs(drawn), [[0, 0, 0, 2], [0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_lazy_matrix_of_orthonormal_rows_is_orthogonal(blocks: int) -> None:
    units = 40
    matrix = LazyGaussianMatrix(
        rows_of([np.random.default_rng(0)], units=units, blocks=blocks, orthogonal=True, remember=True),
        rows=blocks * units,
        columns=units,
        units=units,
        most_vectors=100,
    )
    vectors = np.random.default_rng(1).standard_normal((1, 60, units)).astype(np.float32)
    images = np.concatenate([matrix.apply(vectors[:, k : k + 1]) for k in range(60)], axis=1)
    for block in np.split(images, blocks, axis=2):
        np.testing.assert_allclose(block @ block.swapaxes(1, 2), vectors @ vectors.swapaxes(1, 2), atol=2e-2)


def test_rows_forget_if_they_are_to() -> None:
    rows = OrthonormalRows(np.random.default_rng(0), units=2, remember=False)
    assert all(np.all(np.any(rows.standard_normal((2, 2)) != 0.0, axis=1)) for _ in range(3))
