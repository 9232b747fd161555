"""A Dask cluster as the engine: Dask schedules, retries lost work and scales; results stream back."""

from __future__ import annotations

import importlib
import logging
import math
import queue
import re
import time
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.solvers.threads import cores
from meanfield.table_engine import EngineFailed, Task, work_on
from meanfield.table_requests import Make, MakeMany
from meanfield.table_work import Outcome, code_identity, failure

CONNECT_SECONDS = 10.0
_AHEAD = 2  # tasks in flight for each thread of a worker, so that none waits for the driver
_LEAST = 8
_COUNT_AGAIN = 5.0  # seconds


def silence_dask() -> None:
    """Leave what Dask has to say of lost connections to the errors of this package, where Dask is installed."""
    with suppress(ImportError):
        importlib.import_module("distributed")
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class OtherCode(Exception):
    """A worker whose code is not the driver's."""


def work_with(make: Make, make_many: MakeMany | None, requests: Sequence[str], expected: str) -> list[Outcome]:
    """On a worker: make the recipes of a task, unless the code here is another one.

    Raises:
        OtherCode: naming it. Workers that join late are found out too.
    """
    if code_identity() != expected:
        raise OtherCode(code_identity())
    return work_on(make, make_many, requests)


class Cluster:
    """Workers of a Dask cluster.

    Args:
        make: what makes recipes.
        scheduler: address of the scheduler, as ``tcp://host:8786``; None starts a cluster on this machine.
        workers: processes of a cluster on this machine.
        make_many: what makes several at once; one by one if there is nothing.

    Raises:
        InvalidInput: if dask and distributed are not installed.
        EngineFailed: if the scheduler cannot be reached, or workers run other code.
    """

    def __init__(
        self,
        make: Make,
        scheduler: str | None = None,
        *,
        workers: int | None = None,
        make_many: MakeMany | None = None,
    ) -> None:
        try:
            # By name: the package is typed and tested without Dask.
            self._dask = importlib.import_module("distributed")
        except ImportError:
            raise InvalidInput("scheduler: needs Dask; run 'pip install meanfield-rnn[distributed]'") from None
        self._make, self._make_many = make, make_many
        self._code = code_identity()
        self._local: Any = None
        if scheduler is None:
            if workers is not None:
                check_count("workers", workers, 1)
            self._local = self._dask.LocalCluster(
                n_workers=workers or cores(), threads_per_worker=1, dashboard_address=None
            )
            scheduler = self._local.scheduler_address
        elif workers is not None:
            raise InvalidInput("workers: a cluster has its own; give either a scheduler or a number of workers")
        self._address = scheduler
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._flying: dict[Any, Task] = {}
        self._suspects: deque[Task] = deque()
        self._alone: Any = None
        self._sent = 0
        self._threads, self._counted = 0, -math.inf
        try:
            self._client = self._connected(scheduler)
            self._check_code()
        except BaseException:
            self._close_local()
            raise

    @property
    def capacity(self) -> int:
        # Asked again and again: clusters grow and shrink.
        if time.monotonic() > self._counted + _COUNT_AGAIN:
            self._threads, self._counted = self._count_threads(), time.monotonic()
        return max(_LEAST, _AHEAD * self._threads)

    def submit(self, task: Task) -> None:
        self._send(task)

    def _send(self, task: Task) -> Any:
        self._sent += 1
        name = f"meanfield-{task[0][0]}-{self._sent}"
        requests = [request for _, request in task]
        try:
            future = self._client.submit(
                work_with, self._make, self._make_many, requests, self._code, key=name, pure=False
            )
        except Exception as error:
            raise self._lost(error) from error
        self._flying[future] = task
        future.add_done_callback(self._finished.put)
        return future

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        done = []
        try:
            done.append(self._finished.get(timeout=timeout))
            while True:
                done.append(self._finished.get_nowait())
        except queue.Empty:
            pass
        if self._client.status not in ("running", "connecting"):
            raise self._lost(self._client.status)
        made = [future for future in done if future.status == "finished"]
        try:
            # Together: one round trip, however many there are.
            outcomes = self._client.gather(made) if made else []
        except Exception:
            # A worker died with its result, and the request that Dask then made again failed.
            made, outcomes = [], []
        found: list[tuple[str, Outcome]] = []
        for future, several in zip(made, outcomes, strict=True):
            found += [(key, outcome) for (key, _), outcome in zip(self._flying.pop(future), several, strict=True)]
        for future in done:
            if future in self._flying:
                found += self._one(future)
        if self._alone not in self._flying:
            self._alone = self._send(self._suspects.popleft()) if self._suspects else None
        return found

    def close(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for future in self._flying:
                future.cancel(force=True) if self._client.status == "running" else None
            self._client.close(timeout=5)
            self._close_local()

    def _one(self, future: Any) -> list[tuple[str, Outcome]]:
        """The outcomes of a task that not all went well with."""
        task = self._flying.pop(future)
        if future.status in ("cancelled", "lost"):
            # The scheduler has forgotten it, as after a restart.
            self._send(task)
            return []
        try:
            return [(key, outcome) for (key, _), outcome in zip(task, future.result(), strict=True)]
        except Exception as failed:
            error = failed
        if isinstance(error, self._dask.KilledWorker) and future is not self._alone:
            # Dask blames all requests that a lost worker had. They are made again, one of them at a time.
            self._suspects.extend((each,) for each in task)
            return []
        if isinstance(error, self._dask.KilledWorker):
            return [(task[0][0], failure("workers died of it again and again, as they do when memory runs out"))]
        if isinstance(error, OtherCode):
            raise EngineFailed(
                f"scheduler: a worker at {self._address} runs {error}, this is {self._code}; install one"
            )
        raise EngineFailed(
            f"scheduler: the workers at {self._address} cannot do this work: {type(error).__name__}: {error}"
        )

    def _connected(self, address: str) -> Any:
        # Before a client is made: one whose address is none waits long for its own end.
        if not re.fullmatch(r"(?:(?:tcp|tls|ucx|wss?)://)?[^/\s]+:\d+", address):
            raise InvalidInput(f"scheduler: must be an address as tcp://host:8786, got {address!r}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions: what matters is checked below
            try:
                return self._dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, TimeoutError) as error:
                raise EngineFailed(f"scheduler: {address} cannot be reached; see that it runs and listens") from error
            except ValueError as error:
                raise InvalidInput(f"scheduler: must be an address as tcp://host:8786, got {address!r}") from error

    def _check_code(self) -> None:
        try:
            codes = self._client.run(code_identity, on_error="return")
        except Exception as error:
            raise self._lost(error) from error
        for worker, code in codes.items():
            if isinstance(code, ImportError):
                raise EngineFailed(f"scheduler: worker {worker} has no meanfield; install {self._code} there")
            if code != self._code:
                raise EngineFailed(f"scheduler: worker {worker} runs {code}, this is {self._code}; install one of them")

    def _count_threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:
            raise self._lost(error) from error

    def _lost(self, reason: object) -> EngineFailed:
        return EngineFailed(
            f"scheduler: {self._address} is lost ({reason}); what was made is kept, run it again to go on"
        )

    def _close_local(self) -> None:
        if self._local is not None:
            self._local.close(timeout=5)
