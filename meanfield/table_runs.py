"""Runs: a design becomes rows of a table, each request once, whatever happens on the way."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.files import check_writable
from meanfield.table_batches import Batches
from meanfield.table_designs import DEFAULT_LIMIT, Design, Listing
from meanfield.table_drivers import Driver
from meanfield.table_engine import Engine, LocalPool
from meanfield.table_files import StoreFailed
from meanfield.table_requests import Method, Request, checked_request, recipe_method
from meanfield.table_store import Store
from meanfield.table_work import Outcome

TableProgress = Callable[[int, int, int], None]
"""Called as progress(requests dealt with, requests of the design, recipes made by this run)."""

_LOOKED_UP = 500  # requests whose rows are looked up at once
_WAIT = 1.0  # seconds


@dataclass(frozen=True)
class TableRun:
    """What a run did.

    Attributes:
        path: file of the table.
        requests: requests of the design, repetitions counted.
        made: recipes that this run made.
        kept: requests whose recipe was in the table already, or that another run made meanwhile.
        failed_before: requests that were in the table as failed and have not been made again.
        elsewhere: requests of other parts of the design.
        failures: requests that failed in this run, and why.
        seconds: how long it took.
    """

    path: str
    requests: int
    made: int
    kept: int
    failed_before: int
    elsewhere: int
    failures: tuple[tuple[Request, str], ...]
    seconds: float


def table(
    requests: Design | Iterable[Request | Mapping[str, Any]],
    to: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    local_cluster: bool = False,
    retry_failed: bool = False,
    part: tuple[int, int] = (1, 1),
    limit: int = DEFAULT_LIMIT,
    method: Method | None = None,
    progress: TableProgress | None = None,
) -> TableRun:
    """Make a table of recipes, or add to one. A request that is in it is not made again.

    A run that is stopped or killed loses what is in flight; run again, it goes on. Several runs can share a file.
    Requests that can be made together go to a worker as one task.

    Args:
        requests: a design (:func:`meanfield.table_designs.load_design`), or requests: fields of
            :class:`meanfield.table_requests.Request` as mappings.
        to: file of the table (SQLite).
        workers: processes on this machine; by default as many as there are cores.
        scheduler: address of a Dask scheduler that is to do the work instead.
        local_cluster: use a Dask cluster on this machine, of ``workers`` processes.
        retry_failed: make requests again that are in the table as failed.
        part: (k, n) makes the k-th of n parts of the requests only, k from 1 to n; a request's part never changes.
        limit: requests at most.
        method: what makes recipes; :func:`meanfield.recipe` by default.
        progress: told how far it is.

    Returns:
        What the run did; a request that fails is a row with its error, and does not stop the run.

    Raises:
        InvalidInput: if a request makes no sense or there are too many; nothing has then started.
        StoreFailed: if the file cannot be written or is damaged.
        EngineFailed: if workers cannot be reached.

    >>> import tempfile
    >>> wanted = [{"cell": "gru", "length": 8, "hidden": 32, "inputs": 4, "units": 256}] * 2
    >>> made = table(wanted, f"{tempfile.mkdtemp()}/recipes.sqlite", workers=1)
    >>> made.made, made.kept, made.failures
    (1, 1, ())
    """
    design = (requests if isinstance(requests, Design) else _listed(requests)).within(limit)
    _check_part(part)
    check_writable(to)
    method = method if method is not None else recipe_method()
    start = time.monotonic()
    engine = _engine(method, workers=workers, scheduler=scheduler, local_cluster=local_cluster)
    try:
        with Store(to, write=True) as store:
            run = _Run(store, engine, method, design, retry_failed=retry_failed, part=part, progress=progress)
            try:
                run.go()
            finally:
                run.end()
    finally:
        engine.close()
    return TableRun(
        path=os.fspath(to),
        requests=design.count,
        made=run.made,
        kept=run.kept,
        failed_before=run.failed_before,
        elsewhere=run.elsewhere,
        failures=tuple(run.failures),
        seconds=time.monotonic() - start,
    )


class _Run:
    """One run: requests that have no row are claimed, made, and put, a few at a time."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        method: Method,
        design: Design,
        *,
        retry_failed: bool,
        part: tuple[int, int],
        progress: TableProgress | None,
    ) -> None:
        self.made = self.kept = self.failed_before = self.elsewhere = 0
        self.failures: list[tuple[Request, str]] = []
        self._store, self._engine, self._method, self._design = store, engine, method, design
        self._retry_failed, self._part, self._progress = retry_failed, part, progress
        self._driver = Driver(store)
        self._flying: dict[str, Request] = {}
        self._batches = Batches(self._missing(), method.group_of)
        self._others: dict[str, Request] = {}
        self._task_of: dict[str, int] = {}
        self._left: Counter[int] = Counter()  # requests of every task in flight
        self._tasks = itertools.count()

    def go(self) -> None:
        """Make all that is missing; returns when every request has a row."""
        finished: list[tuple[str, Outcome]] = []
        while True:
            room = max(0, self._engine.capacity - len(self._left))
            wanted = self._batches.take(room)
            if finished or wanted or self._driver.sign_of_life_due():
                self._exchange(finished, wanted, retry_failed=self._retry_failed)
            self._report()
            if not self._flying and not wanted and room:
                if not self._others:
                    return
                self._look_after_others()
            finished = self._engine.finished(_WAIT) if self._flying else []
            for key, _ in finished:
                self._landed(key)

    def end(self) -> None:
        """Leave what is not made to other runs."""
        # On a full disk it fails; others find out that this process is gone.
        with suppress(StoreFailed):
            self._driver.leave()

    def _missing(self) -> Iterator[tuple[str, Request]]:
        """Requests that have no row yet, of this part."""
        requests = self._design.requests()
        index, parts = self._part
        while chunk := list(itertools.islice(requests, _LOOKED_UP)):
            keyed = {self._method.key(request): request for request in chunk}
            self.kept += len(chunk) - len(keyed)
            ours = {key: request for key, request in keyed.items() if int(key, 16) % parts == index - 1}
            self.elsewhere += len(keyed) - len(ours)
            rows = self._store.states(ours)
            for key, request in ours.items():
                if key in self._batches:
                    self.kept += 1  # asked for twice
                elif key not in rows or (self._retry_failed and not rows[key]):
                    yield key, request
                elif rows[key]:
                    self.kept += 1
                else:
                    self.failed_before += 1

    def _exchange(
        self, finished: list[tuple[str, Outcome]], tasks: list[dict[str, Request]], *, retry_failed: bool
    ) -> None:
        """Put what is made and claim what is wanted, in one transaction."""
        wanted = {key: request for task in tasks for key, request in task.items()}
        with self._store.changes():
            for key, outcome in finished:
                request = self._flying[key]
                self._store.put(key, self._method.version_for(request), request, outcome)
            self._driver.release(key for key, _ in finished)
            if self._driver.sign_of_life_due():
                self._driver.say()
            mine, others = self._driver.claim(wanted, retry_failed=retry_failed)
        for key, outcome in finished:
            request = self._flying.pop(key)
            if outcome.error is None:
                self.made += 1
            else:
                self.failures.append((request, outcome.error))
        self.kept += len(wanted) - len(mine) - len(others)
        self._others |= {key: wanted[key] for key in others}
        claimed = set(mine)
        for task in tasks:
            self._submit({key: request for key, request in task.items() if key in claimed})

    def _submit(self, task: dict[str, Request]) -> None:
        """Have requests made by one worker."""
        if not task:
            return
        number = next(self._tasks)
        self._left[number] = len(task)
        self._flying |= task
        self._task_of |= dict.fromkeys(task, number)
        self._engine.submit(tuple((key, request.model_dump_json()) for key, request in task.items()))

    def _landed(self, key: str) -> None:
        """A request of a task is dealt with."""
        number = self._task_of.pop(key)
        self._left[number] -= 1
        if not self._left[number]:
            del self._left[number]

    def _look_after_others(self) -> None:
        """What other runs have claimed is waited for, and made here if they die."""
        time.sleep(_WAIT / 4)
        waited, self._others = self._others, {}
        tasks = Batches(iter(waited.items()), self._method.group_of)
        self._exchange([], tasks.take(len(waited)), retry_failed=False)

    def _report(self) -> None:
        if self._progress is not None:
            dealt = self.made + len(self.failures) + self.kept + self.failed_before + self.elsewhere
            self._progress(dealt, self._design.count, self.made)


def _engine(method: Method, *, workers: int | None, scheduler: str | None, local_cluster: bool) -> Engine:
    if scheduler is None and not local_cluster:
        return LocalPool(method.make, workers, method.make_many)
    if scheduler is not None and local_cluster:
        raise InvalidInput("local_cluster: is another scheduler than the one given; choose one")
    from meanfield.table_cluster import Cluster

    return Cluster(method.make, scheduler, workers=workers, make_many=method.make_many)


def _listed(requests: Iterable[Request | Mapping[str, Any]]) -> Design:
    listed = tuple(checked_request(content, f"request {index}") for index, content in enumerate(requests))
    if not listed:
        raise InvalidInput("requests: must not be empty")
    return Design((Listing(listed),))


def _check_part(part: tuple[int, int]) -> None:
    index, parts = part
    if not 1 <= index <= parts:
        raise InvalidInput(f"part: must be from 1 to the number of parts, got {index} of {parts}")
