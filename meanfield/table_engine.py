"""Engines that make recipes: what a run asks of one, and the processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

from meanfield.checks import check_count
from meanfield.errors import MeanfieldError
from meanfield.solvers.threads import cores
from meanfield.table_requests import Make, MakeMany
from meanfield.table_work import Outcome, failure, perform, perform_together

MOST_DEATHS = 3
"""Processes that one request may take with it before it counts as failed."""

Task = tuple[tuple[str, str], ...]
"""What a worker is given at once: keys, and requests as JSON."""


class EngineFailed(MeanfieldError):
    """Workers that cannot be reached or started, or run other code; the message says what to do."""


class Engine(Protocol):
    """Workers somewhere. Requests go in as JSON, outcomes come out in any order, each once."""

    @property
    def capacity(self) -> int:
        """How many tasks keep all workers busy."""
        ...

    def submit(self, task: Task) -> None:
        """Have the requests of a task made."""
        ...

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        """What has been made since; waits up to ``timeout`` seconds for the first."""
        ...

    def close(self) -> None:
        """Stop all workers at once."""
        ...


def work_on(make: Make, make_many: MakeMany | None, requests: Sequence[str]) -> list[Outcome]:
    """In a worker: the outcomes of a task, in order."""
    if make_many is None or len(requests) == 1:
        return [perform(make, request) for request in requests]
    return perform_together(make, make_many, requests)


class LocalPool:
    """A process pool on this machine.

    A worker that dies takes a pool with it. The requests that were then in flight are made again, one at a time, so
    that one that kills its process is found out and the others are not blamed.

    Args:
        make: what makes recipes.
        workers: number of processes; by default as many as this one may use cores.
        make_many: what makes several at once; one by one if there is nothing.

    Raises:
        EngineFailed: if processes cannot start.
    """

    def __init__(self, make: Make, workers: int | None = None, make_many: MakeMany | None = None) -> None:
        if workers is not None:
            check_count("workers", workers, 1)
        self.workers = workers if workers is not None else cores()
        self._make, self._make_many = make, make_many
        # Workers end when the other end closes: with this process, however it ends.
        self._ear, self._lifeline = multiprocessing.Pipe(duplex=False)
        self._flying: dict[Future[list[Outcome]], Task] = {}
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()  # of one request each
        self._deaths: Counter[str] = Counter()
        self._pool = self._started()

    @property
    def capacity(self) -> int:
        return 2 * self.workers

    def submit(self, task: Task) -> None:
        self._waiting.append(task)
        self._feed()

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        wait(self._flying, timeout, return_when=FIRST_COMPLETED)
        found: list[tuple[str, Outcome]] = []
        lost: list[Task] = []
        for future in [each for each in self._flying if each.done()]:
            task = self._flying.pop(future)
            try:
                found += _outcomes(task, future)
            except BrokenProcessPool:
                lost.append(task)
        if lost:
            found += self._recover(lost)
        self._feed()
        return found

    def close(self) -> None:
        self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ear.close()

    def _feed(self) -> None:
        """Hand requests to the pool; suspects one at a time and with nothing beside them."""
        try:
            while self._waiting and not self._suspects and len(self._flying) < self.capacity:
                self._start(self._waiting.popleft())
            if self._suspects and not self._flying:
                self._start(self._suspects.popleft())
        except BrokenProcessPool:
            # An idle worker died: nothing was lost but the pool.
            self._renew()
            self._feed()

    def _start(self, task: Task) -> None:
        try:
            future = self._pool.submit(work_on, self._make, self._make_many, [request for _, request in task])
        except BrokenProcessPool:
            (self._suspects if self._deaths[task[0][0]] else self._waiting).appendleft(task)
            raise
        self._flying[future] = task

    def _recover(self, lost: list[Task]) -> list[tuple[str, Outcome]]:
        """The pool broke: all that were in flight are lost, though only one is to blame."""
        wait(self._flying)
        found: list[tuple[str, Outcome]] = []
        for future, task in self._flying.items():
            try:
                found += _outcomes(task, future)
            except BrokenProcessPool:
                lost.append(task)
        self._flying.clear()
        self._renew()
        requests = [request for task in lost for request in task]
        if len(requests) > 1:
            self._suspects.extend((request,) for request in requests)
            return found
        [(key, _)] = requests
        self._deaths[key] += 1
        if self._deaths[key] < MOST_DEATHS:
            self._suspects.appendleft((requests[0],))
            return found
        reason = f"the process that made it died {MOST_DEATHS} times, as it does when memory runs out"
        return [*found, (key, failure(reason))]

    def _renew(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        # Not forked: this process may have threads, and a GPU.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, context, initializer=_begin_work, initargs=(self._ear,))
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            pool.shutdown()
            raise EngineFailed(
                "workers: the processes die as they start; a script must make tables under if __name__ == '__main__':, "
                "and memory must suffice for this many"
            ) from None
        return pool


def _outcomes(task: Task, future: Future[list[Outcome]]) -> list[tuple[str, Outcome]]:
    return [(key, outcome) for (key, _), outcome in zip(task, future.result(), strict=True)]


def _begin_work(ear: Connection) -> None:
    """In a worker: Ctrl-C is for the run, and the worker ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, args=(ear,), daemon=True).start()


def _end_with_the_run(ear: Connection) -> None:
    with suppress(EOFError, OSError):
        ear.recv_bytes()
    os._exit(0)
