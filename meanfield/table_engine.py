"""Engines that make recipes: what a run asks of one, and the processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

from meanfield.checks import check_count
from meanfield.errors import MeanfieldError
from meanfield.solvers.threads import cores
from meanfield.table_requests import Make
from meanfield.table_work import Outcome, failure, perform

MOST_DEATHS = 3
"""Processes that one request may take with it before it counts as failed."""


class EngineFailed(MeanfieldError):
    """Workers that cannot be reached or started, or run other code; the message says what to do."""


class Engine(Protocol):
    """Workers somewhere. Requests go in as JSON, outcomes come out in any order, each once."""

    @property
    def capacity(self) -> int:
        """How many requests keep all workers busy."""
        ...

    def submit(self, key: str, request: str) -> None:
        """Have a request made."""
        ...

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        """What has been made since; waits up to ``timeout`` seconds for the first."""
        ...

    def close(self) -> None:
        """Stop all workers at once."""
        ...


class LocalPool:
    """A process pool on this machine.

    A worker that dies takes a pool with it. The requests that were then in flight are made again, one at a time, so
    that one that kills its process is found out and the others are not blamed.

    Args:
        workers: number of processes; by default as many as this one may use cores.
        make: what makes recipes.

    Raises:
        EngineFailed: if processes cannot start.
    """

    def __init__(self, make: Make, workers: int | None = None) -> None:
        if workers is not None:
            check_count("workers", workers, 1)
        self.workers = workers if workers is not None else cores()
        self._make = make
        # Workers end when the other end closes: with this process, however it ends.
        self._ear, self._lifeline = multiprocessing.Pipe(duplex=False)
        self._flying: dict[Future[Outcome], tuple[str, str]] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._suspects: deque[tuple[str, str]] = deque()
        self._deaths: Counter[str] = Counter()
        self._pool = self._started()

    @property
    def capacity(self) -> int:
        return 2 * self.workers

    def submit(self, key: str, request: str) -> None:
        self._waiting.append((key, request))
        self._feed()

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        wait(self._flying, timeout, return_when=FIRST_COMPLETED)
        found: list[tuple[str, Outcome]] = []
        lost: list[tuple[str, str]] = []
        for future in [each for each in self._flying if each.done()]:
            key, request = self._flying.pop(future)
            try:
                found.append((key, future.result()))
            except BrokenProcessPool:
                lost.append((key, request))
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

    def _start(self, request: tuple[str, str]) -> None:
        try:
            future = self._pool.submit(perform, self._make, request[1])
        except BrokenProcessPool:
            (self._suspects if self._deaths[request[0]] else self._waiting).appendleft(request)
            raise
        self._flying[future] = request

    def _recover(self, lost: list[tuple[str, str]]) -> list[tuple[str, Outcome]]:
        """The pool broke: all that were in flight are lost, though only one is to blame."""
        wait(self._flying)
        found: list[tuple[str, Outcome]] = []
        for future, request in self._flying.items():
            try:
                found.append((request[0], future.result()))
            except BrokenProcessPool:
                lost.append(request)
        self._flying.clear()
        self._renew()
        if len(lost) > 1:
            self._suspects.extend(lost)
            return found
        key, request_text = lost[0]
        self._deaths[key] += 1
        if self._deaths[key] < MOST_DEATHS:
            self._suspects.appendleft((key, request_text))
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


def _begin_work(ear: Connection) -> None:
    """In a worker: Ctrl-C is for the run, and the worker ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, args=(ear,), daemon=True).start()


def _end_with_the_run(ear: Connection) -> None:
    with suppress(EOFError, OSError):
        ear.recv_bytes()
    os._exit(0)
