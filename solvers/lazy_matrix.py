"""Gaussian matrices that are revealed only where they are applied.

A tied recurrent network multiplies the same Gaussian matrix W onto one vector after the other. Conditioned on its
images so far, the image of a new vector p is known in the span of the earlier vectors and fresh Gaussian noise of
variance |p_⊥|² outside it. Writing the known part in an orthonormal basis e_j of that span,

    W p = Σ_j ⟨e_j, p⟩ x_j,     x_j = W e_j iid standard normal,

the coefficients ⟨e_j, p⟩ are the rows of the Cholesky factor of the Gram matrix of the vectors, so this is the causal
Cholesky pass of dynamical mean-field theory (theory, section 2). The factor is obtained by Gram-Schmidt over the
entries rather than from the Gram matrix, which is nearly singular when carriers move slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.group_products import matmul_groups

Float32 = NDArray[np.float32]

_BLOCK_OF_IMAGES = 32  # rows of normals drawn at a time: fewer, larger calls of the generator
_SMALLEST_SQUARE = 1e-25  # mean squares between this and its inverse can be summed in float32
_REORTHOGONALISE_BELOW = 0.5  # share of the squared norm left outside the span under which one projection is not enough


class LazyGaussianMatrix:
    """A batch of independent Gaussian matrices with entries N(0, 1/units), one for every group.

    Inner products are averages over units, ⟨a, b⟩ = a·b/units, so a vector of mean square q has images of variance q.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        *,
        rows: int,
        columns: int,
        units: int,
        most_vectors: int,
        remember: bool = True,
        tolerance: float = 1e-5,
    ) -> None:
        """Set up an unrevealed matrix for every generator.

        Args:
            generators: one random generator a group; a group's matrix depends on its own generator only.
            rows: length of an image.
            columns: length of a vector.
            units: N in the entries' variance 1/N.
            most_vectors: how many vectors will be applied at most (bounds the memory: 4 bytes times groups × rank ×
                (columns + rows), rank at most the smaller of this and ``columns``).
            remember: False redraws the matrix at every call, the weight-independence assumption.
            tolerance: a new direction whose squared norm is below this share of its vector's is dropped.
        """
        self._generators = list(generators)
        self._units = units
        self._remember = remember
        self._tolerance = tolerance
        capacity = min(most_vectors, columns)
        self._basis: Float32 = np.empty((len(generators), capacity, columns), np.float32)
        self._images: Float32 = np.empty((len(generators), capacity, rows), np.float32)
        self._rank = 0
        self._drawn = 0

    @property
    def revealed(self) -> tuple[Float32, Float32]:
        """The orthonormal vectors seen so far, (groups, rank, columns), and their images, (groups, rank, rows).

        A vector is zero where its group had nothing new when another had.
        """
        return self._basis[:, : self._rank], self._images[:, : self._rank]

    def apply(self, vectors: Float32) -> Float32:
        """Images of one or more vectors of every group under that group's matrix.

        Args:
            vectors: (groups, vectors, columns).

        Returns:
            Their images, (groups, vectors, rows), jointly consistent with all images returned before.

        >>> matrix = LazyGaussianMatrix([np.random.default_rng(0)], rows=3, columns=4, units=4, most_vectors=9)
        >>> p = np.ones((1, 1, 4), np.float32)
        >>> bool(np.allclose(matrix.apply(p), matrix.apply(p), rtol=1e-5))
        True
        """
        square = self._mean_square(vectors)
        if np.any((square < _SMALLEST_SQUARE) | (square > 1.0 / _SMALLEST_SQUARE)):
            # Squares would leave the range of float32, and a vector that is merely small would count as none.
            size: Float32 = np.max(np.abs(vectors), axis=2, keepdims=True)
            size[~((size > 0.0) & np.isfinite(size))] = 1.0
            scaled: Float32 = vectors / size
            return self._apply(scaled, self._mean_square(scaled)) * size
        return self._apply(vectors, square)

    def _apply(self, vectors: Float32, square: NDArray[np.float64]) -> Float32:
        if not self._remember:
            self._rank = self._drawn = 0
        before = self._rank
        known = np.zeros((*vectors.shape[:2], 0), np.float32)
        residual = vectors
        if before:
            basis = self._basis[:, :before]
            known, residual = self._project(vectors, basis)
            if np.any(self._mean_square(residual) < _REORTHOGONALISE_BELOW * square):
                correction, residual = self._project(residual, basis)
                known += correction
        new = self._extend(residual, self._tolerance * square)
        self._draw_images()
        coefficients = np.concatenate((known, new), axis=2) if self._rank > before else known
        return matmul_groups(coefficients, self._images[:, : self._rank])

    def _project(self, vectors: Float32, basis: Float32) -> tuple[Float32, Float32]:
        coefficients = matmul_groups(vectors, basis.transpose(0, 2, 1))
        coefficients /= np.float32(self._units)
        return coefficients, vectors - matmul_groups(coefficients, basis)

    def _mean_square(self, vectors: Float32) -> NDArray[np.float64]:
        return np.einsum("gbj,gbj->gb", vectors, vectors).astype(np.float64) / self._units

    def _extend(self, residual: Float32, threshold: NDArray[np.float64]) -> Float32:
        """Add what is left of the vectors to the basis, in order; their coefficients on the new directions."""
        groups, count, _ = residual.shape
        before = self._rank
        coefficients = np.zeros((groups, count, count), np.float32)
        residual = np.array(residual) if count > 1 else residual
        for index in range(count):
            square = self._mean_square(residual[:, index : index + 1])[:, 0]
            keep = (square > threshold[:, index]) | ~np.isfinite(square)
            if not keep.any() or self._rank == self._basis.shape[1]:
                continue
            norm = np.sqrt(np.where(keep, square, 1.0)).astype(np.float32)
            # Vectors out of the range of numbers must not pass for vectors that are known: their images are no numbers.
            scale = np.where(np.isfinite(square), keep / norm, np.nan).astype(np.float32)
            direction = residual[:, index] * scale[:, None]
            self._basis[:, self._rank] = direction
            later = residual[:, index:]
            overlap = np.matmul(later, direction[:, :, None]) / np.float32(self._units)
            coefficients[:, index:, self._rank - before] = overlap[:, :, 0]
            if count > 1:
                later -= overlap * direction[:, None, :]
            self._rank += 1
        return coefficients[:, :, : self._rank - before]

    def _draw_images(self) -> None:
        while self._drawn < self._rank:
            # Without memory only the few rows of this call are ever used.
            block = _BLOCK_OF_IMAGES if self._remember else self._rank
            end = min(self._drawn + block, self._images.shape[1])
            for group, generator in enumerate(self._generators):
                generator.standard_normal(dtype=np.float32, out=self._images[group, self._drawn : end])
            self._drawn = end


def apply_conditioned(
    vectors: Float32, fresh: LazyGaussianMatrix, known: tuple[Float32, Float32], *, units: int
) -> Float32:
    """Images under a Gaussian matrix whose transpose has already shown some of its own.

    If Wᵀ e_j = x_j is known for orthonormal e_j, then W p = Σ_j e_j ⟨x_j, p⟩ + (1 - Π) V p, with V fresh and Π the
    projector on the e_j.

    Args:
        vectors: (groups, vectors, columns).
        fresh: V, keeping the part of W that its transpose has not shown.
        known: the e_j, (groups, rank, rows), and the x_j, (groups, rank, columns), as a lazy matrix has revealed them.
        units: N in the entries' variance 1/N.

    Returns:
        The images, (groups, vectors, rows).
    """
    basis, images = known
    result = fresh.apply(vectors)
    coefficients = matmul_groups(vectors, images.transpose(0, 2, 1)) - matmul_groups(result, basis.transpose(0, 2, 1))
    coefficients /= np.float32(units)
    result += matmul_groups(coefficients, basis)
    return result
