"""Runs on a real Dask cluster of this machine: ``python table_cluster_driver.py FOLDER``; prints what happened as JSON.

One cluster serves all of it, since it takes seconds to start: a worker is killed in the middle of a run, a request
kills every worker that makes it, and runs with other code are turned away.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meanfield import table_cluster
from meanfield.table_engine import EngineFailed
from meanfield.table_requests import Method, Request
from meanfield.table_runs import TableRun, table


def make(request: Request) -> dict[str, Any]:
    if request.length == 666:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    numbers = {"chi": {"value": 1.0 / request.length, "error": 0.0}}
    return {"gates": {}, "predictions": {"numbers": numbers}, "worker": os.getpid()}


def make_many(requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
    return [make(request) for request in requests]


def group_of(request: Request) -> str | None:
    return request.cell


def requests(*lengths: int) -> list[dict[str, Any]]:
    return [{"cell": "gru", "length": length, "hidden": 4, "inputs": 2} for length in lengths]


def told(run: TableRun) -> dict[str, Any]:
    return {"made": run.made, "kept": run.kept, "failures": [reason for _, reason in run.failures]}


def turned_away(address: str, path: Path) -> str:
    try:
        table(requests(1), path, scheduler=address, method=Method("m/1", make))
    except EngineFailed as error:
        return str(error)
    return "it was not"


def main(folder: Path) -> None:
    import dask
    import distributed

    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    found: dict[str, Any] = {}
    method = Method("m/1", make)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with distributed.Client(address, set_as_default=False) as client:
            victim = next(iter(client.run(os.getpid).values()))
        progress = threading.Event()
        timer = threading.Thread(target=lambda: progress.wait() and os.kill(victim, signal.SIGKILL))
        timer.start()
        run = table(
            requests(*range(1, 121)),
            folder / "dying.sqlite",
            scheduler=address,
            method=method,
            progress=lambda dealt, of, made: progress.set() if made >= 30 else None,
        )
        timer.join()
        found["dying"] = told(run) | {"victim": victim}
        found["deadly"] = told(
            table(requests(666, 1, 2, 3), folder / "deadly.sqlite", scheduler=address, method=method)
        )
        together = Method("m/1", make, make_many=make_many, group_of=group_of)
        found["together"] = told(
            table(requests(*range(1, 81), 666), folder / "together.sqlite", scheduler=address, method=together)
        )
        own = table_cluster.code_identity
        table_cluster.code_identity = lambda: "meanfield 0.0.0"
        found["early"] = turned_away(address, folder / "other.sqlite")
        # Workers that come after the first look are found out by what they are sent.
        table_cluster.Cluster._check_code = lambda self: None  # type: ignore[method-assign]
        found["late"] = turned_away(address, folder / "other.sqlite")
        found["own"] = own()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
