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
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.lazy_matrix_cpu import CpuSpan
from meanfield.solvers.orthonormal_rows import NormalRows

if TYPE_CHECKING:
    from meanfield.solvers.lazy_matrix_cuda import CudaSpan

Float32 = NDArray[np.float32]
Revealed = tuple[Float32, Float32]
Device = Literal["cpu", "cuda"]

_BLOCK_OF_IMAGES = 32  # rows of normals drawn at a time: fewer, larger calls of the generator


class LazyGaussianMatrix:
    """A batch of independent Gaussian matrices with entries N(0, 1/units), one for every group.

    Inner products are averages over units, ⟨a, b⟩ = a·b/units, so a vector of mean square q has images of variance q.
    """

    def __init__(
        self,
        generators: Sequence[NormalRows],
        *,
        rows: int,
        columns: int,
        units: int,
        most_vectors: int,
        remember: bool = True,
        tolerance: float = 1e-5,
        device: Device = "cpu",
    ) -> None:
        """Set up an unrevealed matrix for every generator.

        Args:
            generators: one random generator a group; a group's matrix depends on its own generator only. One that
                draws orthonormal rows makes the matrix orthogonal.
            rows: length of an image.
            columns: length of a vector.
            units: N in the entries' variance 1/N.
            most_vectors: how many vectors will be applied at most (bounds the memory: 4 bytes times groups × rank ×
                (columns + rows), rank at most the smaller of this and ``columns``).
            remember: False redraws the matrix at every call, the weight-independence assumption.
            tolerance: a new direction whose squared norm is below this share of its vector's is dropped.
            device: where the matrix is kept and multiplied. The normals are drawn on the CPU in any case, so that
                results agree up to rounding.
        """
        self._remember = remember
        self._span = _span_on(device)(
            generators,
            rows=rows,
            columns=columns,
            units=units,
            capacity=min(most_vectors, columns),
            tolerance=tolerance,
        )
        self._rank = 0
        self._drawn = 0

    @property
    def revealed(self) -> Revealed:
        """The orthonormal vectors seen so far, (groups, rank, columns), and their images, (groups, rank, rows).

        A vector is zero where its group had nothing new when another had. On the CPU these are views.
        """
        return self._span.revealed(self._rank)

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
        return self._apply(vectors, None)

    def _apply(self, vectors: Float32, known: Revealed | None) -> Float32:
        if not self._remember:
            self._rank = self._drawn = 0
        elif vectors.shape[1] == 1:
            end = self._drawn_for(self._rank + 1)
            images, kept = self._span.split_and_join(vectors, self._rank, (self._drawn, end), known)
            self._drawn = end
            self._rank += bool(kept.any()) and self._rank < self._span.capacity
            return images
        used = self._span.split(vectors, self._rank).any(axis=0)
        slots: NDArray[np.intp] = np.where(used, self._rank + np.cumsum(used) - 1, -1)
        slots[slots >= self._span.capacity] = -1
        self._rank = max(self._rank, int(slots.max(initial=-1)) + 1)
        end = self._drawn_for(self._rank)
        self._span.draw(self._drawn, end)
        self._drawn = end
        return self._span.join(slots, self._rank, known)

    def _drawn_for(self, rank: int) -> int:
        """How many images are to be drawn when ``rank`` directions need one."""
        if rank <= self._drawn or not self._remember:
            # Without memory only the few rows of this call are ever used.
            return max(rank, self._drawn)
        blocks = -(-(rank - self._drawn) // _BLOCK_OF_IMAGES)
        return min(self._drawn + blocks * _BLOCK_OF_IMAGES, self._span.capacity)


def _span_on(device: Device) -> type[CpuSpan] | type[CudaSpan]:
    if device == "cpu":
        return CpuSpan
    from meanfield.solvers.lazy_matrix_cuda import CudaSpan

    return CudaSpan


def apply_conditioned(vectors: Float32, fresh: LazyGaussianMatrix, known: Revealed, *, units: int) -> Float32:
    """Images under a Gaussian matrix whose transpose has already shown some of its own.

    If Wᵀ e_j = x_j is known for orthonormal e_j, then W p = Σ_j e_j ⟨x_j, p⟩ + (1 - Π) V p, with V fresh and Π the
    projector on the e_j. V is used up: its images are turned into those of W as they are revealed, so that vectors in
    the span of earlier ones cost no more than under an unconditioned matrix.

    Args:
        vectors: (groups, vectors, columns).
        fresh: V, keeping the part of W that its transpose has not shown.
        known: the e_j, (groups, rank, rows), and the x_j, (groups, rank, columns), as a lazy matrix has revealed them;
            the same at every call with a matrix that remembers.
        units: N in the entries' variance 1/N.

    Returns:
        The images, (groups, vectors, rows).
    """
    return fresh._apply(vectors, known)
