"""Work on many groups at once, spread over the machine's cores.

Groups are independent, so results are the same number for number on any number of threads. BLAS itself is held to one
thread: its own splitting changes the rounding, and its threads wait in a busy loop that costs a factor of ten and more
when anything else runs on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

from meanfield.solvers.threads import cores, in_parts

_WORTH_SPLITTING = 700_000  # multiplications; below this a hand-over to another thread costs more than it saves

_controller: ThreadpoolController | None = None


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
    in_parts(work, groups, cores() if multiplications >= _WORTH_SPLITTING else 1)
