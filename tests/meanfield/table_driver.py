"""A run of a table as a program of its own, to be killed: ``python table_driver.py OPTIONS-AS-JSON``.

Recipes come from a stand-in that takes no time, tells the same thing every time, and logs who made what.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from meanfield.table_requests import Method, Request
from meanfield.table_runs import table

VERSION = "stand-in/1"


def recipe_like(request: Request) -> dict[str, Any]:
    """An object with the parts of a recipe that tables look at."""
    chi = 1.0 - 1.0 / (request.length + request.hidden + request.seed % 7)
    sensitivity = [{"lag": 1, "value": 0.1, "error": 0.01, "log10_value": -1.0}]
    return {
        "format": "stand-in",
        "cell": request.cell,
        "gates": {"f": {"recurrent": {"gain": 0.02, "std": 0.001}, "bias": {"mean": chi, "std": 0.0}}},
        "predictions": {"numbers": {"chi": {"value": chi, "error": 0.001}}, "input_sensitivity": sensitivity},
        "task": request.model_dump(),
    }


def make(request: Request) -> dict[str, Any]:
    options = json.loads(os.environ["TABLE_DRIVER"])
    if request.seed in options.get("deadly", []):
        os.kill(os.getpid(), signal.SIGKILL)
    if request.seed in options.get("failing", []):
        raise ValueError(f"seed {request.seed} fails")
    with open(options["log"], "a") as log:
        log.write(f"{request.seed} {os.getpid()}\n")
    time.sleep(options.get("delay", 0.0))
    return recipe_like(request)


def make_many(requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
    """Several at once; a request whose seed is "spoiling" fails all of them, a "failing" one itself only."""
    options = json.loads(os.environ["TABLE_DRIVER"])
    if any(request.seed in options.get("spoiling", []) for request in requests):
        raise ValueError("this batch cannot be made")
    found: list[dict[str, Any] | Exception] = []
    for request in requests:
        try:
            found.append(make(request))
        except ValueError as error:
            found.append(error)
    return found


def group_of(request: Request) -> str | None:
    """Every fifth request is made by itself."""
    return request.cell if request.seed % 5 else None


def method(options: dict[str, Any]) -> Method:
    if options.get("together"):
        return Method(VERSION, make, make_many=make_many, group_of=group_of)
    return Method(VERSION, make)


def main() -> None:
    options = json.loads(sys.argv[1])
    os.environ["TABLE_DRIVER"] = sys.argv[1]
    if "largest_file" in options:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["largest_file"], resource.RLIM_INFINITY))
    requests = [
        {"cell": "gru", "length": 5, "hidden": 4, "inputs": 2, "seed": seed} for seed in range(options["count"])
    ]
    done = table(
        requests,
        options["path"],
        workers=options.get("workers", 2),
        retry_failed=options.get("retry_failed", False),
        part=tuple(options.get("part", (1, 1))),
        method=method(options),
    )
    failures = [reason for _, reason in done.failures]
    print(json.dumps({**vars(done), "failures": failures}))


if __name__ == "__main__":
    main()
