"""Bases and images of lazily revealed Gaussian matrices in main memory, extended by compiled kernels on threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.lazy_matrix_kernels import kernels
from meanfield.solvers.orthonormal_rows import NormalRows
from meanfield.solvers.threads import over_groups

Float32 = NDArray[np.float32]
Revealed = tuple[Float32, Float32]

_NOTHING: Float32 = np.empty((0, 0, 0), np.float32)


class CpuSpan:
    """What the vectors of every group span, and the images of that span.

    Attributes:
        capacity: how many directions there is room for.
    """

    def __init__(
        self,
        generators: Sequence[NormalRows],
        *,
        rows: int,
        columns: int,
        units: int,
        capacity: int,
        tolerance: float,
    ) -> None:
        self._generators = list(generators)
        self._units, self._tolerance = float(units), tolerance
        self.capacity = capacity
        self._basis: Float32 = np.empty((len(generators), capacity, columns), np.float32)
        self._images: Float32 = np.empty((len(generators), capacity, rows), np.float32)
        # Whether the last direction of a group still awaits its second projection.
        self._pending = np.zeros((len(generators), 1), np.bool_)
        self._rank = 0
        self._count = -1
        self._spare: Float32 = np.empty((len(generators), rows), np.float32)
        self._known: Revealed | None = None
        self._shown: tuple[Float32, Float32, int] = (_NOTHING, _NOTHING, 0)

    def revealed(self, rank: int) -> Revealed:
        """The basis and its images, views of (groups, rank, columns) and (groups, rank, rows)."""
        if self._pending.any():
            self._take(np.empty((len(self._basis), 0, self._basis.shape[2]), np.float32))
            kernels().settle_groups(
                0,
                len(self._basis),
                self._basis,
                rank,
                self._vectors,
                self._coefficients,
                self._recent,
                self._pending,
                self._units,
            )
        return self._basis[:, :rank], self._images[:, :rank]

    def draw(self, first: int, end: int) -> None:
        """Draw the images of the directions from ``first`` to ``end``."""
        self._draw(0, len(self._generators), first, end)

    def split(self, vectors: Float32, rank: int) -> NDArray[np.bool_]:
        """Take vectors apart into what ``rank`` directions span and new directions.

        Args:
            vectors: (groups, vectors, columns).
            rank: how many directions there are.

        Returns:
            Which vectors have a new direction, (groups, vectors).
        """
        self._take(vectors)
        over_groups(lambda start, end: self._split(start, end, rank, False), len(vectors), self._work(rank))
        return self._kept

    def join(self, slots: NDArray[np.intp], rank: int, known: Revealed | None) -> Float32:
        """Put the new directions into their places and return the vectors' images, (groups, vectors, rows).

        Args:
            slots: the place of every vector's new direction, -1 for none.
            rank: how many directions there are now.
            known: what the transposed matrix has revealed, if anything.
        """
        self._show(known)
        out = self._images_of()
        work: Callable[[int, int], None] = lambda start, end: self._join(start, end, slots, rank, out)  # noqa: E731
        over_groups(work, len(out), self._work(rank))
        return out

    def split_and_join(
        self, vectors: Float32, rank: int, drawn: tuple[int, int], known: Revealed | None
    ) -> tuple[Float32, NDArray[np.bool_]]:
        """Both for one vector a group, whose place is known beforehand, after drawing the images ``drawn``."""
        self._take(vectors)
        self._show(known)
        room = rank < self.capacity
        slots = np.array([rank if room else -1], np.intp)
        out = self._images_of()

        def work(start: int, end: int) -> None:
            self._draw(start, end, *drawn)
            self._split(start, end, rank, known is None)
            self._join(start, end, slots, rank + room, out)

        over_groups(work, len(out), self._work(rank))
        return out, self._kept

    def _work(self, rank: int) -> int:
        """Roughly how many multiplications a call takes."""
        row = self._basis.shape[2] + self._images.shape[2]
        return len(self._basis) * max(self._count, 1) * (rank * row + self._shown[2] * row)

    def _draw(self, start: int, end: int, first: int, last: int) -> None:
        if first < last:
            for group in range(start, end):
                self._generators[group].standard_normal(dtype=np.float32, out=self._images[group, first:last])

    def _split(self, start: int, end: int, rank: int, put_off: bool) -> None:
        kernels().split_groups(
            start,
            end,
            self._basis,
            rank,
            self.capacity - rank,
            self._vectors,
            self._count,
            self._coefficients,
            self._recent,
            self._fresh,
            self._squares,
            self._sizes,
            self._left,
            self._kept,
            self._pending,
            self._units,
            self._tolerance,
            put_off,
        )

    def _join(self, start: int, end: int, slots: NDArray[np.intp], rank: int, out: Float32) -> None:
        shown, shown_images, shown_rank = self._shown
        kernels().join_groups(
            start,
            end,
            self._basis,
            self._images,
            rank,
            slots,
            self._vectors,
            self._count,
            self._coefficients,
            self._recent,
            self._fresh,
            self._sizes,
            self._left,
            self._kept,
            self._spare,
            shown,
            shown_images,
            shown_rank,
            self._units,
            out,
        )

    def _images_of(self) -> Float32:
        groups, _, rows = self._images.shape
        return np.empty((groups, self._count, rows), np.float32)

    def _take(self, vectors: Float32) -> None:
        groups, count, columns = vectors.shape
        if count != self._count:
            self._count = count
            # A row more, for a direction that awaits its second projection.
            self._vectors: Float32 = np.empty((groups, count + 1, columns), np.float32)
            self._coefficients: Float32 = np.empty((groups, count + 1, self.capacity), np.float32)
            self._recent: Float32 = np.empty((groups, max(count + 1, 2), 4), np.float32)
            self._squares = np.empty((groups, count))
            self._fresh: Float32 = np.empty((groups, count, count), np.float32)
            self._sizes: Float32 = np.empty((groups, count), np.float32)
            self._left = np.empty((groups, count), np.bool_)
            self._kept = np.empty((groups, count), np.bool_)
        self._vectors[:, :count] = vectors

    def _show(self, known: Revealed | None) -> None:
        if known is None:
            self._shown = (_NOTHING, _NOTHING, 0)
        elif self._known is None or known[0] is not self._known[0] or known[1] is not self._known[1]:
            self._shown = (_with_contiguous_rows(known[0]), _with_contiguous_rows(known[1]), known[0].shape[1])
        self._known = known


def _with_contiguous_rows(array: Float32) -> Float32:
    """The array that a leading part of the middle axis was cut from, as ``revealed`` cuts it; else a copy."""
    base = array.base
    if (
        isinstance(base, np.ndarray)
        and base.flags.c_contiguous
        and base.flags.writeable
        and base.dtype == array.dtype
        and base.shape[::2] == array.shape[::2]
        and base.strides == array.strides
        and base.ctypes.data == array.ctypes.data
    ):
        return base
    return np.array(array, order="C")
