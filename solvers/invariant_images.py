"""Images under matrices of which the transposes have shown some, for matrices of any law invariant under rotations.

Given x_j = Σ_k W_kᵀ e_jk for blocks W_k of mean square one, W_k is known on the span of the x_j up to fresh noise. As
W_k W_kᵀ e = e + √κ ζ with ζ a fresh Gaussian direction, κ = E tr (W_k W_kᵀ)²/N - 1, and W_k W_lᵀ e is fresh for
another block l, the covariance of the noise of block k for two vectors p and p' is

    ⟨p, p'⟩ - (1 - κ) Σ_ij ⟨x_i, p⟩ ⟨e_ik, e_jk⟩ ⟨x_j, p'⟩.

Gaussian matrices have κ = 1, the noise of a fresh matrix; orthogonal ones 0: a single block then maps x_j to e_j.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.lazy_matrix import Device, LazyGaussianMatrix, Revealed
from meanfield.solvers.orthonormal_rows import NormalRows, OrthonormalRows

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_SMALL = 1e-6  # eigenvalues below it, of Gram matrices of vectors of mean square one, are rounding


class InvariantImages:
    """A batch of stacks of blocks W_k, drawn where they are applied.

    Inner products are averages over units, as those of :class:`LazyGaussianMatrix`.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        *,
        blocks: int,
        units: int,
        excess: float,
        most_vectors: int,
        orthogonal: bool = False,
        remember: bool = True,
        device: Device = "cpu",
    ) -> None:
        """Set up stacks of which nothing is known.

        Args:
            generators: one for every group.
            blocks: how many blocks W_k of (units, units) a stack has.
            units: N.
            excess: κ, from 0 for orthogonal matrices to 1 for Gaussian ones.
            orthogonal: whether fresh matrices are orthogonal, which is seen at finite width only.
            most_vectors: how many vectors will be mapped at most.
            remember: False redraws the stacks at every call.
            device: where fresh matrices are kept.
        """
        self._blocks, self._units, self._excess, self._orthogonal = blocks, units, excess, orthogonal
        self._most_vectors, self._remember, self._device = most_vectors, remember, device
        self._streams = list(zip(*(generator.spawn(blocks) for generator in generators), strict=True))
        self._fresh: list[LazyGaussianMatrix] = []
        self._known: Revealed | None = None
        self._shorter: list[Float32] = []
        self._frame: Float32 = np.empty((0, 0, 0), np.float32)

    def apply(self, vectors: Float32, known: Revealed) -> Float32:
        """Images of vectors under the stacks.

        Args:
            vectors: (groups, vectors, units).
            known: the orthonormal e_j, (groups, rank, blocks × units), and the x_j, (groups, rank, units).

        Returns:
            (groups, vectors, blocks × units).

        >>> generator = np.random.default_rng(0)
        >>> e = np.sqrt(8) * np.linalg.qr(generator.standard_normal((1, 8, 3)))[0].swapaxes(1, 2).astype(np.float32)
        >>> x = np.sqrt(8) * np.linalg.qr(generator.standard_normal((1, 8, 3)))[0].swapaxes(1, 2).astype(np.float32)
        >>> rotation = InvariantImages([generator], blocks=1, units=8, excess=0.0, most_vectors=9)
        >>> bool(np.allclose(rotation.apply(x, (e, x)), e, atol=1e-4))
        True
        """
        if known is not self._known:
            self._prepare(known)
        if not self._fresh:
            self._fresh = [self._matrix(stream) for stream in self._streams]
        shown, seen = known
        on_frame = vectors @ self._frame.swapaxes(1, 2) / self._units
        images = np.concatenate(
            [
                fresh.apply((vectors + (on_frame @ change) @ self._frame).astype(np.float32))
                for fresh, change in zip(self._fresh, self._shorter, strict=True)
            ],
            axis=2,
        )
        # What the transpose has shown is known, and nothing else is in that direction.
        on_shown = vectors @ seen.swapaxes(1, 2) / self._units - images @ shown.swapaxes(1, 2) / self._units
        return np.asarray(images + on_shown @ shown, dtype=np.float32)

    def _matrix(self, generators: Sequence[np.random.Generator]) -> LazyGaussianMatrix:
        """What is not known of one block."""
        rows: Sequence[NormalRows] = generators
        if self._orthogonal and self._known is not None:
            # A single block maps what is orthogonal to the x_j to what is orthogonal to the e_j.
            shown = self._known[0] if self._blocks == 1 and self._remember else [None] * len(generators)
            rows = [
                OrthonormalRows(generator, units=self._units, avoided=avoided, remember=self._remember)
                for generator, avoided in zip(generators, shown, strict=True)
            ]
        return LazyGaussianMatrix(
            rows,
            rows=self._units,
            columns=self._units,
            units=self._units,
            most_vectors=self._most_vectors,
            remember=self._remember,
            device=self._device,
        )

    def _prepare(self, known: Revealed) -> None:
        """An orthonormal frame of the x_j, and by how much vectors are shortened in it for every block."""
        shown, seen = known
        groups, rank, _ = shown.shape
        self._known, self._frame = known, np.zeros_like(seen)
        self._shorter = [np.zeros((groups, rank, rank), np.float32) for _ in range(self._blocks)]
        for group in range(groups):
            x = seen[group].astype(np.float64)
            # The orthonormal frame nearest to the x_j: they are orthonormal themselves as N → ∞.
            self._frame[group] = _power(x @ x.T / self._units, -0.5) @ x
            blocks = shown[group].astype(np.float64).reshape(rank, self._blocks, self._units)
            for k, change in enumerate(self._shorter):
                gram = blocks[:, k] @ blocks[:, k].T / self._units
                change[group] = _power(np.eye(rank) - (1.0 - self._excess) * gram, 0.5) - np.eye(rank)


def _power(matrix: Float64, exponent: float) -> Float64:
    """A power of a symmetric matrix, on the space where it is positive."""
    if not matrix.size:
        return matrix
    values, vectors = np.linalg.eigh(matrix)
    kept = values > _SMALL * max(float(values[-1]), 1.0)
    powers = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    return np.asarray((vectors * powers) @ vectors.T)
