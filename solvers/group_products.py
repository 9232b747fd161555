"""Matrix products of many groups at once, spread over the machine's cores.

Groups are independent, so a product is the same number for number on any number of threads. BLAS itself is held to one
thread: its own splitting changes the rounding, and its threads wait in a busy loop that costs a factor of ten and more
when anything else runs on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Float32 = NDArray[np.float32]

_WORTH_SPLITTING = 700_000  # multiplications; below this a hand-over to another thread costs more than it saves
_ROWS_FOR_MATRICES = 4  # from this many rows on a matrix product is faster than as many products with vectors

_pool: ThreadPoolExecutor | None = None
_controller: ThreadpoolController | None = None


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block."""
    global _controller
    if _controller is None:
        _controller = ThreadpoolController()
    with _controller.limit(limits=1, user_api="blas"):
        yield


def matmul_groups(left: Float32, right: Float32) -> Float32:
    """Batched matrix product over a leading axis of groups, (groups, a, b) with (groups, b, c).

    >>> matmul_groups(np.ones((2, 1, 3), np.float32), np.ones((2, 3, 1), np.float32))[:, 0, 0].tolist()
    [3.0, 3.0]
    """
    groups, rows, inner = left.shape
    columns = right.shape[2]
    workers = min(cores(), groups)
    if workers == 1 or groups * rows * inner * columns < _WORTH_SPLITTING:
        return _product(left, right)
    out = np.empty((groups, rows, columns), np.float32)
    edges = [groups * worker // workers for worker in range(workers + 1)]
    parts = [slice(start, end) for start, end in pairwise(edges)]
    others = [_threads().submit(_product, left[part], right[part], out[part]) for part in parts[1:]]
    _product(left[parts[0]], right[parts[0]], out[parts[0]])
    for other in others:
        other.result()
    return out


def _product(left: Float32, right: Float32, out: Float32 | None = None) -> Float32:
    if 1 < left.shape[1] < _ROWS_FOR_MATRICES:
        # One row at a time: BLAS' matrix product first copies the large factor, which takes longer than the product.
        product = np.matmul(left[:, :, None], right[:, None], out=None if out is None else out[:, :, None])
        return product[:, :, 0]
    return np.matmul(left, right, out=out)


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max_workers=cores(), thread_name_prefix="meanfield")
    return _pool


def _forget_threads() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_forget_threads)
