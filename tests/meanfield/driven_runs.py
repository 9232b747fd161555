"""Runs of tables as programs of their own, to be killed and compared."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.table_store import Store
from meanfield.table_work import expanded

DRIVER = Path(__file__).with_name("table_driver.py")


class Runs:
    """Runs of the driver on one table; ``together`` has requests made together."""

    def __init__(self, folder: Path, *, together: bool = False) -> None:
        self._options = {"together": True} if together else {}
        self.path = folder / "recipes.sqlite"
        self.log = folder / "made.txt"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **options: Any) -> subprocess.Popen[str]:
        content = json.dumps({"path": str(self.path), "log": str(self.log), **self._options, **options})
        command = [sys.executable, "-W", "error", str(DRIVER), content]
        # Of its own group, as a shell starts it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.started.append(process)
        return process

    def finish(self, **options: Any) -> dict[str, Any]:
        output, errors = self.start(**options).communicate(timeout=60)
        assert output, errors
        found: dict[str, Any] = json.loads(output)
        return found

    def rows(self) -> int:
        try:
            with Store(self.path) as store:
                return store.count()
        except InvalidInput:
            return 0  # not there yet

    def made(self) -> list[tuple[int, int]]:
        """Seed and process of every recipe that was begun."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(seed), int(process)) for seed, process in (line.split() for line in lines)]

    def recipes(self) -> dict[str, str]:
        with Store(self.path) as store:
            rows = store.select("SELECT key, recipe FROM recipes JOIN documents USING (id)")
            assert len(rows) == store.count()
            assert store.select("PRAGMA integrity_check") == [("ok",)]
            assert store.select("SELECT * FROM claims UNION ALL SELECT id, host FROM drivers") == []
        assert len({key for key, _ in rows}) == len(rows)
        return {key: expanded(document) for key, document in rows}

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
