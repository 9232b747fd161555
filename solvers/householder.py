"""Orthogonal matrices as products of Householder reflectors on nested suffixes of the coordinates.

Q = H(u_0) H(u_1) … H(u_{m-1}) with H(u) = 1 - 2uuᵀ/uᵀu and u_i zero before coordinate i. A vector
costs O(nm), and m = n reach every orthogonal matrix, since u = 0 counts as no reflector (theory, section 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.compact_wy import CompactWY, Floating, compact_wy

Float64 = NDArray[np.float64]

_WIDTH = 64  # reflectors a block: wider ones make larger matrix products, narrower ones less work in all


class HouseholderProduct:
    """An orthogonal matrix Q of n × n, kept as its m reflectors in blocks (:mod:`meanfield.solvers.compact_wy`).

    Args:
        reflectors: u, (m, n) with m ≤ n, float32 or float64; entries before the diagonal count as zero, and u_i = 0
            as no reflector. Only the directions of the u_i matter.
        width: reflectors a block; results depend on it by rounding alone.

    Attributes:
        count: m.
        size: n.

    >>> Q = HouseholderProduct(np.array([[3.0, 4.0], [0.0, 1.0]])).matrix()
    >>> np.allclose(Q, [[0.28, 0.96], [-0.96, 0.28]])
    True
    """

    def __init__(self, reflectors: Floating, *, width: int = _WIDTH) -> None:
        self.count, self.size = reflectors.shape
        if not 1 <= self.count <= self.size:
            raise ValueError(f"{self.count} reflectors do not fit vectors of {self.size} coordinates")
        self._dtype: np.dtype[np.floating[Any]] = np.dtype(np.float32 if reflectors.dtype == np.float32 else np.float64)
        rows = np.asarray(reflectors, dtype=self._dtype)
        if not np.all(np.isfinite(rows)):
            raise ValueError("reflectors must be finite")
        self._blocks = [compact_wy(rows[i : i + width, i:], i) for i in range(0, self.count, width)]

    @property
    def determinant(self) -> int:
        """det Q, which is 1 or -1: minus one for every vector that is not zero."""
        return -1 if sum(int(np.count_nonzero(block.scales)) for block in self._blocks) % 2 else 1

    def apply(self, batch: ArrayLike) -> Floating:
        """Q x for every column of a batch, (n,) or (n, columns)."""
        return self._through(batch, self._blocks[::-1], CompactWY.apply)

    def apply_transpose(self, batch: ArrayLike) -> Floating:
        """Qᵀ x = Q⁻¹ x for every column of a batch, (n,) or (n, columns)."""
        return self._through(batch, self._blocks, CompactWY.apply_transpose)

    def vjp(self, batch: ArrayLike, cotangents: ArrayLike) -> tuple[Floating, Floating]:
        """Derivatives of Σ ȳ·Q x over the columns of a batch.

        Args:
            batch: x, (n,) or (n, columns).
            cotangents: ȳ, of the same shape.

        Returns:
            By the reflectors, (m, n), zero where these count as zero and for vectors of zeros; and by x, which is Qᵀ ȳ.

        >>> slopes, back = HouseholderProduct(np.array([[1.0, 0.0]])).vjp([1.0, 0.0], [0.0, 1.0])
        >>> print(slopes, back)
        [[ 0. -2.]] [0. 1.]
        """
        pairs = np.hstack((self._columns(self.apply(batch)), self._columns(cotangents)))
        slopes = np.zeros((self.count, self.size), dtype=self._dtype)
        for block in self._blocks:
            rows = slice(block.start, block.start + len(block.vectors))
            slopes[rows, block.start :] = block.pull_back(pairs)
        return slopes, pairs[:, pairs.shape[1] // 2 :].reshape(np.shape(cotangents))

    def matrix(self) -> Floating:
        """Q itself, (n, n)."""
        result = np.eye(self.size, dtype=self._dtype)
        for block in self._blocks[::-1]:
            block.apply(result[:, block.start :])
        return result

    def _through(
        self, batch: ArrayLike, blocks: list[CompactWY], step: Callable[[CompactWY, Floating], None]
    ) -> Floating:
        columns = self._columns(batch)
        for block in blocks:
            step(block, columns)
        return columns.reshape(np.shape(batch))

    def _columns(self, batch: ArrayLike) -> Floating:
        """A copy of a batch, (n, columns)."""
        given = np.array(batch, dtype=self._dtype)
        if given.ndim not in (1, 2) or len(given) != self.size:
            raise ValueError(f"a batch of shape {given.shape} does not fit reflectors of shape {self.count, self.size}")
        return given.reshape(self.size, -1)


def reflectors_of(frame: Float64) -> Float64:
    """Reflectors whose product has given orthonormal columns, (k, n).

    All are non-zero, so that gradients move each of them, but for the last of k = n where the determinant asks for it:
    on a single coordinate there is one reflector only.

    Args:
        frame: (n, k) with k ≤ n; its columns are orthonormal to rounding.

    Returns:
        Of unit length, zero before the diagonal; the first k columns of their product are the frame, to rounding.

    >>> HouseholderProduct(reflectors_of(np.eye(3))).matrix().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    size, count = frame.shape
    rest = np.array(frame, dtype=np.float64)
    reflectors = np.zeros((count, size))
    for start in range(0, count, _WIDTH):
        stop = min(start + _WIDTH, count)
        panel = rest[:, start:stop]
        for index in range(start, stop):
            vector = _onto(panel[index:, index - start])
            reflectors[index, index:] = vector
            following = panel[index:, index - start + 1 :]
            following -= np.outer(2.0 * vector, vector @ following)
        compact_wy(reflectors[start:stop, start:], start).apply_transpose(rest[:, stop:])
    return reflectors


def haar_reflectors(generator: np.random.Generator, count: int, size: int) -> Float64:
    """Reflectors whose product is of the uniform (Haar) law if complete, (count, size).

    The i-th turns the first coordinate axis of its suffix to the direction of a Gaussian vector. With fewer than
    ``size`` of them the first ``count`` columns of the product are uniform. (Gaussian vectors u themselves would not
    do: the mean of Q_11 = 1 - 2u_1²/uᵀu is 1 - 2/n.)

    Source: G. W. Stewart, The efficient generation of random orthogonal matrices (1980).

    >>> Q = HouseholderProduct(haar_reflectors(np.random.default_rng(0), 5, 5)).matrix()
    >>> np.allclose(Q.T @ Q, np.eye(5))
    True
    """
    reflectors = np.zeros((count, size))
    for index in range(count):
        reflectors[index, index:] = _onto(generator.standard_normal(size - index))
    return reflectors


def _onto(direction: Float64) -> Float64:
    """A unit vector u whose reflector takes the first axis to a direction; zero if it must be no reflector."""
    unit = direction / np.linalg.norm(direction)
    tail = float(np.linalg.norm(unit[1:]))
    if unit[0] <= 0.0:
        unit[0] -= 1.0
    elif tail > 0.0:
        unit[0] = -tail * (tail / (1.0 + unit[0]))  # the same, where the difference would cancel
    else:
        # The axis stays where it is: any reflector orthogonal to it, if there is one.
        unit = np.zeros_like(unit)
        unit[1:2] = 1.0
        return unit
    vector: Float64 = unit / np.linalg.norm(unit)
    return vector
