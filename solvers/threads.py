"""Work on independent parts, spread over the machine's cores by threads that release the interpreter's lock.

Parts are independent, so results are the same number for number on any number of threads. BLAS itself is held to one
thread: its own splitting changes the rounding, and its threads wait in a busy loop that costs a factor of ten and more
when anything else runs on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import pairwise

from threadpoolctl import ThreadpoolController

_WORTH_SPLITTING = 700_000  # multiplications; below this a hand-over to another thread costs more than it saves

_pool: ThreadPoolExecutor | None = None
_controller: ThreadpoolController | None = None
_most: int | None = None


def cores() -> int:
    """Number of cores that this process may use, or as many threads as it was told to keep to."""
    if _most is not None:
        return _most
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Use so many threads at most inside the block: this process is one of several that share the cores.

    >>> with at_most(1):
    ...     cores()
    1
    """
    global _most
    before, _most = _most, threads
    try:
        yield
    finally:
        _most = before


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block."""
    global _controller
    if _controller is None:
        _controller = ThreadpoolController()
    with _controller.limit(limits=1, user_api="blas"):
        yield


def over_groups(work: Callable[[int, int], None], groups: int, multiplications: int) -> None:
    """Do the work of all groups, in contiguous ranges of them on as many threads as there are cores.

    Args:
        work: takes the first group and the one after the last; must let go of the interpreter's lock to gain anything.
        groups: how many there are.
        multiplications: roughly how many all of them take, which decides whether another thread is worth it.

    >>> done = [0, 0, 0]
    >>> over_groups(lambda start, end: done.__setitem__(slice(start, end), [1] * (end - start)), 3, 10**9)
    >>> done
    [1, 1, 1]
    """
    workers = cores() if multiplications >= _WORTH_SPLITTING else 1
    if workers == 1:
        work(0, groups)
    else:
        in_parts(work, groups, workers)


def in_parts(function: Callable[[int, int], None], count: int, threads: int | None = None) -> None:
    """Call ``function(first, last)`` on consecutive ranges that cover ``range(count)``, one a thread.

    Args:
        function: does its range; must not depend on how the whole is divided.
        count: how many parts there are.
        threads: how many threads share them; all cores by default.

    >>> done = []
    >>> in_parts(lambda first, last: done.extend(range(first, last)), 5)
    >>> sorted(done)
    [0, 1, 2, 3, 4]
    """
    workers = max(1, min(threads if threads is not None else cores(), count))
    ranges = list(pairwise([count * worker // workers for worker in range(workers + 1)]))
    others = [_threads().submit(function, first, last) for first, last in ranges[1:]]
    try:
        function(*ranges[0])
    finally:
        # No thread may still write when the caller goes on, an error included.
        wait(others)
    for other in others:
        other.result()


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
