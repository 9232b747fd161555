"""Images of orthonormal vectors under orthogonal matrices, drawn in place of independent normals.

The images of orthonormal vectors under a uniformly distributed orthogonal matrix are uniformly distributed orthonormal
vectors: normals, each made orthogonal to those before it. As N → ∞ nothing of this is seen; in networks of finite
width it keeps the powers of one matrix from growing, as Gaussian ones do once the square of the time nears N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_EXHAUSTED = 1e-4  # share of a normal vector's length below which nothing new is left of it


class NormalRows(Protocol):
    """What images are drawn from: NumPy's generators, and :class:`OrthonormalRows`."""

    def standard_normal(
        self, size: tuple[int, ...] | None = None, *, dtype: type[np.float32], out: Float32 | None = None
    ) -> Float32: ...


def rows_of(
    generators: Sequence[np.random.Generator], *, units: int, blocks: int, orthogonal: bool, remember: bool
) -> Sequence[NormalRows]:
    """Sources of images of Gaussian matrices, or of stacks of orthogonal blocks, one a generator."""
    if not orthogonal:
        return generators
    return [OrthonormalRows(each, units=units, blocks=blocks, remember=remember) for each in generators]


class OrthonormalRows:
    """Draws rows of blocks of which each block's rows are orthogonal, of mean square one, to all earlier ones.

    >>> rows = OrthonormalRows(np.random.default_rng(0), units=4)
    >>> drawn = np.concatenate([rows.standard_normal((1, 4)), rows.standard_normal((2, 4))])
    >>> bool(np.allclose(drawn @ drawn.T / 4, np.eye(3), atol=1e-6))
    True
    """

    def __init__(
        self,
        generator: np.random.Generator,
        *,
        units: int,
        blocks: int = 1,
        avoided: Float32 | None = None,
        remember: bool = True,
    ) -> None:
        """Start with no rows drawn.

        Args:
            generator: of the normals.
            units: length of a block.
            blocks: blocks in a row, orthogonal to their own predecessors only.
            avoided: orthonormal rows to which all must be orthogonal too, (rows, blocks × units).
            remember: False makes the rows of every call orthogonal to one another only.
        """
        self._generator, self._units, self._blocks, self._remember = generator, units, blocks, remember
        self._earlier: list[Float64] = [np.empty((0, units)) for _ in range(blocks)]
        if avoided is not None:
            self._keep(avoided.astype(np.float64))

    def standard_normal(
        self,
        size: tuple[int, ...] | None = None,
        *,
        dtype: type[np.float32] = np.float32,
        out: Float32 | None = None,
    ) -> Float32:
        """The next rows, (rows, blocks × units), into ``out`` if it is given; zero where no direction is left."""
        rows: Float32 = self._generator.standard_normal(size if out is None else out.shape, dtype=dtype)
        for k in range(self._blocks):
            part = slice(k * self._units, (k + 1) * self._units)
            rows[:, part] = self._orthonormal(rows[:, part].astype(np.float64), self._earlier[k])
        if self._remember:
            self._keep(rows.astype(np.float64))
        if out is None:
            return rows
        out[...] = rows
        return out

    def _orthonormal(self, rows: Float64, earlier: Float64) -> Float64:
        made = np.zeros_like(rows)
        left = rows[: self._units - len(earlier)]
        if not len(left):
            return made
        for _ in range(2):  # the second time for what rounding left of the first
            left = left - (left @ earlier.T / self._units) @ earlier
        directions, triangle = np.linalg.qr(left.T)
        heights = np.diagonal(triangle)
        new = np.abs(heights) > _EXHAUSTED * np.sqrt(self._units)
        made[: len(left)] = np.where(new, np.copysign(np.sqrt(self._units), heights), 0.0)[:, None] * directions.T
        return made

    def _keep(self, rows: Float64) -> None:
        for k, earlier in enumerate(self._earlier):
            block = rows[:, k * self._units : (k + 1) * self._units]
            self._earlier[k] = np.concatenate([earlier, block[np.any(block != 0.0, axis=1)]])
