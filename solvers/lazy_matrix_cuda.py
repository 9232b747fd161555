"""Bases and images of lazily revealed Gaussian matrices in the memory of a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.solvers.lazy_matrix_cuda_kernels import THREADS, kernels
from meanfield.solvers.orthonormal_rows import NormalRows

Float32 = NDArray[np.float32]
Revealed = tuple[Float32, Float32]


class CudaSpan:
    """What the vectors of every group span, and the images of that span.

    Its methods are those of :class:`meanfield.solvers.lazy_matrix_cpu.CpuSpan`. All work is queued on one stream; the
    host waits where it reads a result.

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
        self._cuda = _cuda()
        self._stream = self._cuda.stream()
        self._generators = list(generators)
        self._units, self._tolerance = float(units), tolerance
        self.capacity = capacity
        self._groups, self._rows, self._columns = len(generators), rows, columns
        self._basis = self._array((self._groups, capacity, columns))
        self._images = self._array((self._groups, capacity, rows))
        self._count = -1
        self._known: Revealed | None = None
        self._nothing = self._array((1, 1, 1))
        self._shown, self._shown_rank = (self._nothing, self._nothing), 0

    def revealed(self, rank: int) -> Revealed:
        """The basis and its images, copies of (groups, rank, columns) and (groups, rank, rows)."""
        basis: Float32 = np.empty((self._groups, rank, self._columns), np.float32)
        images: Float32 = np.empty((self._groups, rank, self._rows), np.float32)
        if rank:
            for group in range(self._groups):
                self._basis[group, :rank].copy_to_host(basis[group], stream=self._stream)
                self._images[group, :rank].copy_to_host(images[group], stream=self._stream)
            self._stream.synchronize()
        return basis, images

    def draw(self, first: int, end: int) -> None:
        """Draw the images of the directions from ``first`` to ``end``, on the CPU."""
        if first < end:
            for group, generator in enumerate(self._generators):
                block = generator.standard_normal((end - first, self._rows), dtype=np.float32)
                self._images[group, first:end].copy_to_device(block, stream=self._stream)
            # The blocks must live until they are copied.
            self._stream.synchronize()

    def split(self, vectors: Float32, rank: int) -> NDArray[np.bool_]:
        """Take vectors apart into what ``rank`` directions span and new directions."""
        self._split(vectors, rank)
        return self._read(self._kept) != 0

    def join(self, slots: NDArray[np.intp], rank: int, known: Revealed | None) -> Float32:
        """Put the new directions into their places and return the vectors' images."""
        self._show(known)
        self._join(slots, rank)
        return self._read(self._out)

    def split_and_join(
        self, vectors: Float32, rank: int, drawn: tuple[int, int], known: Revealed | None
    ) -> tuple[Float32, NDArray[np.bool_]]:
        """Both for one vector a group, whose place is known beforehand, after drawing the images ``drawn``."""
        self.draw(*drawn)
        self._show(known)
        self._split(vectors, rank)
        room = rank < self.capacity
        self._join(np.array([rank if room else -1], np.intp), rank + room)
        return self._read(self._out), self._read(self._kept) != 0

    def _split(self, vectors: Float32, rank: int) -> None:
        self._take(vectors)
        groups, count, units, room = self._groups, self._count, self._units, self.capacity - rank
        module = kernels(THREADS)
        v, coefficients, recent = self._vectors, self._coefficients, self._recent
        self._launch(module.measure, (count, groups), v, self._squares, self._sizes, units)
        for again in (0, 1) if rank else ():
            self._launch(module.overlap, (rank, groups), self._basis, v, count, coefficients, recent, again, units)
            self._launch(module.take_out, (self._parts(self._columns), count, groups), self._basis, rank, v, recent)
        for i in range(count):
            decided = self._squares, self._left, self._kept
            self._launch(module.extend, (groups,), v, i, room, self._fresh, *decided, units, self._tolerance)
            if i + 1 < count:
                self._launch(module.deflate, (count - i - 1, groups), v, i, self._fresh, self._kept, units)

    def _join(self, slots: NDArray[np.intp], rank: int) -> None:
        groups, count, module, kept, left = self._groups, self._count, kernels(THREADS), self._kept, self._left
        shown, shown_images = self._shown
        seen = self._array((groups, count, self._shown_rank)) if self._shown_rank else self._nothing
        for i, slot in enumerate(slots.tolist()):
            if slot >= 0:
                grid = self._parts(self._columns), groups
                self._launch(
                    module.place,
                    grid,
                    self._basis,
                    slot,
                    self._vectors,
                    i,
                    count,
                    self._coefficients,
                    self._fresh,
                    kept,
                )
            if self._shown_rank:
                grid = self._shown_rank, groups
                given = self._images, slot, kept, left, shown, shown_images, seen, self._units
                self._launch(module.show, grid, self._vectors, i, *given)
                if slot >= 0:
                    grid = self._parts(self._rows), groups
                    self._launch(module.condition, grid, self._images, slot, i, kept, shown, seen)
        self._slots.copy_to_device(slots.astype(np.int64), stream=self._stream)
        self._launch(
            module.combine,
            (self._parts(self._rows), count, groups),
            self._images,
            rank,
            self._coefficients,
            self._slots,
            self._fresh,
            self._sizes,
            left,
            kept,
            shown,
            seen,
            self._shown_rank,
            self._out,
        )

    def _launch(self, kernel: Any, grid: tuple[int, ...], *arguments: Any) -> None:
        kernel[grid, THREADS, self._stream](*arguments)

    @staticmethod
    def _parts(length: int) -> int:
        return -(-length // THREADS)

    def _array(self, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> Any:
        return self._cuda.device_array(shape, dtype)

    def _read(self, array: Any) -> NDArray[Any]:
        result = array.copy_to_host(stream=self._stream)
        self._stream.synchronize()
        return result

    def _take(self, vectors: Float32) -> None:
        groups, count, columns = vectors.shape
        if count != self._count:
            self._count = count
            self._vectors = self._array((groups, count, columns))
            self._coefficients = self._array((groups, count, self.capacity))
            self._recent = self._array((groups, count, self.capacity))
            self._fresh = self._array((groups, count, count))
            self._squares = self._array((groups, count), np.float64)
            self._sizes = self._array((groups, count))
            self._left = self._array((groups, count), np.uint8)
            self._kept = self._array((groups, count), np.uint8)
            self._slots = self._array((count,), np.int64)
            self._out = self._array((groups, count, self._rows))
        self._vectors.copy_to_device(np.ascontiguousarray(vectors), stream=self._stream)

    def _show(self, known: Revealed | None) -> None:
        if known is None or known[0].shape[1] == 0:
            self._shown, self._shown_rank = (self._nothing, self._nothing), 0
        elif self._known is None or known[0] is not self._known[0] or known[1] is not self._known[1]:
            basis, images = (self._cuda.to_device(np.ascontiguousarray(part), stream=self._stream) for part in known)
            self._shown, self._shown_rank = (basis, images), known[0].shape[1]
            self._stream.synchronize()
        self._known = known


def _cuda() -> Any:
    cuda: Any = import_module("numba.cuda")
    if not cuda.is_available():
        raise InvalidInput("device: 'cuda' needs a GPU that numba can use and the package numba-cuda; use device='cpu'")
    # Small populations leave a GPU idle; that is no reason for a warning at every launch. numba-cuda has settings of
    # its own besides numba's.
    for settings in ("numba.core.config", "numba.cuda.core.config"):
        with suppress(ImportError):
            vars(import_module(settings))["CUDA_LOW_OCCUPANCY_WARNINGS"] = 0
    return cuda
