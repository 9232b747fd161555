"""Several runs on one file: which of them makes what, and which of them are still alive."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from meanfield.table_store import Store

SILENCE = 120.0  # seconds after which a run that has said nothing counts as dead
_EVERY = 5.0  # seconds between signs of life


class Driver:
    """One run, as other runs on the same file see it. A request that it has claimed is left to it while it lives.

    Claims of a killed run on this machine are free at once, those of another machine after two minutes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.id = uuid.uuid4().hex
        self._said = time.monotonic()
        with store.changes():
            store.connection.execute(
                "INSERT INTO drivers VALUES (?, ?, ?, ?, ?)",
                (self.id, _host(), os.getpid(), _started(os.getpid()), time.time()),
            )
            self._bury()

    def sign_of_life_due(self) -> bool:
        """Whether it is time for :meth:`say`."""
        return time.monotonic() - self._said > _EVERY

    def say(self) -> None:
        """Say that this run lives, and free what dead ones had claimed. Within changes of the store."""
        self.store.connection.execute("UPDATE drivers SET heartbeat = ? WHERE id = ?", (time.time(), self.id))
        self._bury()
        self._said = time.monotonic()

    def claim(self, keys: Iterable[str], *, retry_failed: bool) -> tuple[list[str], list[str]]:
        """Claim requests: those that are now this run's to make, and those that another run is making.

        Requests that have a row are in neither, unless it is an error and failed ones are tried again. Within changes
        of the store.
        """
        wanted = list(keys)
        made = self.store.states(wanted)
        mine: list[str] = []
        elsewhere: list[str] = []
        for key in wanted:
            if key in made and (made[key] or not retry_failed):
                continue
            added = self.store.connection.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (key, self.id))
            (mine if added.rowcount else elsewhere).append(key)
        return mine, elsewhere

    def release(self, keys: Iterable[str]) -> None:
        """Give up claims. Within changes of the store."""
        self.store.connection.executemany("DELETE FROM claims WHERE key = ?", [(key,) for key in keys])

    def leave(self) -> None:
        """Give up all claims: this run has ended."""
        with self.store.changes():
            self._forget(self.id)

    def _bury(self) -> None:
        rows = self.store.select("SELECT id, host, process, started, heartbeat FROM drivers WHERE id != ?", (self.id,))
        for driver, host, process, started, heartbeat in rows:
            gone = host == _host() and _started(process) != started
            if gone or time.time() - heartbeat > SILENCE:
                self._forget(driver)

    def _forget(self, driver: str) -> None:
        self.store.connection.execute("DELETE FROM claims WHERE driver = ?", (driver,))
        self.store.connection.execute("DELETE FROM drivers WHERE id = ?", (driver,))


def _host() -> str:
    """This machine, or the container in which processes have their numbers."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}"


def _started(process: int) -> str:
    """When a process of this machine started, empty if there is none: numbers are used again, these pairs are not."""
    try:
        # The second field is the command's name, which may hold anything, in parentheses.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
