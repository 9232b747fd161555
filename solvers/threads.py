"""Work on independent parts, spread over the machine's cores by threads that release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

_pool: ThreadPoolExecutor | None = None


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


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
