"""A few reflectors at once: H(v_0) H(v_1) … = 1 - Vᵀ T V, whose products with a batch are matrix products.

V has the vectors v as its rows. T is upper triangular, and its inverse is the upper triangle of V Vᵀ with half its
diagonal (Schreiber and Van Loan 1989; Puglisi 1992). Entries of T are at most 4 for unit vectors, since each is the
product of v_i, reflectors and v_j: T is safely formed however nearly parallel the vectors are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

Floating = NDArray[np.floating[Any]]  # float32 or float64


@dataclass(frozen=True)
class CompactWY:
    """The product Q of b reflectors on the coordinates from ``start`` of vectors of n.

    Attributes:
        start: the first coordinate that is touched.
        vectors: V, (b, n - start), the i-th zero before its coordinate i; the largest entry of each is 1 in modulus,
            unless all are zero.
        scales: what the reflectors were multiplied by to become V, (b, 1); zero for those that are none.
        factor: T, (b, b).

    >>> swap = compact_wy(np.array([[1.0, -1.0]]), start=0)
    >>> batch = np.array([[3.0], [5.0]])
    >>> swap.apply(batch)
    >>> batch.ravel().tolist()
    [5.0, 3.0]
    """

    start: int
    vectors: Floating
    scales: Floating
    factor: Floating

    def apply(self, batch: Floating) -> None:
        """Q x for every column of a batch (n, columns), in place."""
        part = batch[self.start :]
        part -= self.vectors.T @ (self.factor @ (self.vectors @ part))

    def apply_transpose(self, batch: Floating) -> None:
        """Qᵀ x for every column of a batch (n, columns), in place."""
        part = batch[self.start :]
        part -= self.vectors.T @ (self.factor.T @ (self.vectors @ part))

    def pull_back(self, pairs: Floating) -> Floating:
        """The derivative of Σ ȳ·Q x by the reflectors, (b, n - start).

        Takes both batches back one block, in place: images from y = Q x to x, cotangents from ȳ to x̄ = Qᵀ ȳ.

        With C = T V x = -Tᵀ V y and B = Tᵀ V ȳ the derivative by V is -B yᵀ - C ȳᵀ + L V, where L is what is below the
        diagonal of C Bᵀ - B Cᵀ; V moves T⁻¹ too, and dT = -T d(T⁻¹) T.

        Args:
            pairs: y and ȳ beside each other, (n, 2 columns).
        """
        part = pairs[self.start :]
        columns = part.shape[1] // 2
        moves = self.factor.T @ (self.vectors @ part)
        coefficients, backs = -moves[:, :columns], moves[:, columns:]
        inner = coefficients @ backs.T
        slopes = np.tril(inner - inner.T, -1) @ self.vectors
        slopes -= np.hstack((backs, coefficients)) @ part.T
        part -= self.vectors.T @ moves
        return np.triu(slopes * self.scales)


def compact_wy(reflectors: Floating, start: int) -> CompactWY:
    """The product of reflectors whose vectors are the rows.

    Args:
        reflectors: (b, n - start) of finite numbers, b ≤ n - start. The i-th acts on its coordinates from i: those
            before count as zero. A vector of zeros, or of numbers below the smallest normal one, is no reflector.
        start: the coordinate at which the rows start.

    >>> compact_wy(np.array([[1.0, 1.0], [7.0, 0.0]]), start=0).factor.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    vectors = np.triu(reflectors)
    largest = np.max(np.abs(vectors), axis=1, keepdims=True)
    there = largest >= np.finfo(vectors.dtype).tiny
    scales = np.divide(1.0, largest, out=np.zeros_like(largest), where=there)
    vectors *= scales
    inverse = np.triu(vectors @ vectors.T)
    halves = 0.5 * np.diagonal(inverse)
    # A vector of zeros has no part in any product: any number will do for its own.
    np.fill_diagonal(inverse, np.where(there[:, 0], halves, 1.0))
    factor = solve_triangular(inverse, np.eye(len(inverse), dtype=inverse.dtype), check_finite=False)
    return CompactWY(start, vectors, scales, factor)
