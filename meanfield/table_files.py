"""Opening the file of a table, a SQLite database in WAL mode, and what can go wrong with it in one sentence each."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from meanfield.errors import InvalidInput, MeanfieldError
from meanfield.files import check_writable

APPLICATION = 0x6D665442  # says in the file's header whose it is
STORE_VERSION = 1
BUSY_SECONDS = 60.0
_CHECKED_BYTES = 1 << 28  # files up to this size are checked from end to end before they are written to

_SCHEMA = """
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    method TEXT NOT NULL,
    cell TEXT NOT NULL, length INTEGER NOT NULL, hidden INTEGER NOT NULL, inputs INTEGER NOT NULL,
    power REAL NOT NULL, overlap REAL NOT NULL, signal INTEGER, padding_power REAL NOT NULL,
    seed INTEGER NOT NULL, units INTEGER, objective TEXT NOT NULL, regime TEXT NOT NULL, ensemble TEXT NOT NULL,
    layers INTEGER NOT NULL, bidirectional INTEGER NOT NULL,
    error TEXT,
    seconds REAL NOT NULL
);
CREATE INDEX recipes_by_place ON recipes
    (method, cell, objective, regime, ensemble, layers, bidirectional, length, hidden, inputs, power, overlap, signal,
     padding_power, seed) WHERE error IS NULL;
CREATE INDEX recipes_failed ON recipes (id) WHERE error IS NOT NULL;
CREATE TABLE documents (id INTEGER PRIMARY KEY REFERENCES recipes (id), profiles BLOB, recipe BLOB NOT NULL);
CREATE TABLE extents (
    method TEXT, cell TEXT, objective TEXT, regime TEXT, ensemble TEXT, layers INTEGER, bidirectional INTEGER,
    padded INTEGER, axis TEXT, lowest REAL NOT NULL, highest REAL NOT NULL,
    PRIMARY KEY (method, cell, objective, regime, ensemble, layers, bidirectional, padded, axis)
) WITHOUT ROWID;
CREATE TABLE drivers (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, process INTEGER NOT NULL, started TEXT NOT NULL, heartbeat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, driver TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_by_driver ON claims (driver);
"""


class StoreFailed(MeanfieldError):
    """A table whose file cannot be read or written; the message says what to do."""


def open_for_writing(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """Open a table to add to it, a new one where there is no file.

    Raises:
        InvalidInput: if the file is something else, or from another version.
        StoreFailed: if it cannot be written, or is damaged.
        OSError: if its folder is missing or cannot be written.
    """
    check_writable(path)
    with failures_explained(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _write_ahead(connection)
            _create(connection)
            _check_kind(connection, path)
            connection.execute("PRAGMA synchronous = FULL")
            if Path(path).stat().st_size <= _CHECKED_BYTES:
                check_whole(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """Open a table that is only read, on a read-only file system too, while others may be adding to it.

    Raises:
        InvalidInput: if there is no such file, or it is something else.
        StoreFailed: if it cannot be read, or is damaged.
    """
    if not Path(path).is_file():
        raise InvalidInput(f"{path}: there is no such table")
    # Opened for writing where that is possible, so that it can take away the two files that SQLite makes beside it.
    folder = Path(path).absolute().parent
    changeable = os.access(path, os.W_OK) and os.access(folder, os.W_OK)
    modes = ["mode=rw"] if changeable else ["mode=ro"]
    if not changeable and not _left_over(path):
        # Where those files cannot be made, nobody can be writing.
        modes.append("mode=ro&immutable=1")
    with failures_explained(path):
        for mode in modes:
            address = f"file:{quote(os.path.abspath(path))}?{mode}"
            connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                connection.execute("PRAGMA query_only = ON")
                _check_kind(connection, path)
                return connection
            except BaseException as error:
                connection.close()
                if mode == modes[-1] or not isinstance(error, sqlite3.OperationalError):
                    raise
    raise AssertionError("the last way either opens the file or says why not")


def _left_over(path: str | os.PathLike[str]) -> bool:
    log = Path(f"{path}-wal")
    return log.is_file() and log.stat().st_size > 0


@contextmanager
def failures_explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of SQLite become sentences that say what to do.

    Raises:
        StoreFailed: naming the file.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if code is not None else None
        raise StoreFailed(f"{path}: {_ADVICE.get(primary, f'SQLite says: {error}')}") from error


_ADVICE: dict[int | None, str] = {
    sqlite3.SQLITE_FULL: "the disk is full; all recipes but those in flight are kept: free space and run it again",
    sqlite3.SQLITE_IOERR: "the file system failed or is full; all recipes but those in flight are kept: free space, "
    "see that the disk works, and run it again",
    sqlite3.SQLITE_READONLY: "the file or its file system can only be read; copy it to where it can be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see that the folder and the file may be read and written",
    sqlite3.SQLITE_BUSY: f"others have kept it busy for {BUSY_SECONDS:.0f} s; see what else uses it, and run it again",
    sqlite3.SQLITE_CORRUPT: "is damaged and is left as it is; restore a copy, or save what can be read with "
    "sqlite3 FILE .recover | sqlite3 NEW, and run the design into that",
    sqlite3.SQLITE_NOTADB: "is not a table of recipes, or its beginning is damaged, and is left as it is; "
    "give another name or restore a copy",
}


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers do not wait for the writer. Two processes that make a file at the same time retry."""
    given_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > given_up:
                raise
            time.sleep(0.02)


def _create(connection: sqlite3.Connection) -> None:
    """All of the schema or nothing of it."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";")[:-1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {STORE_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_kind(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found[0] != APPLICATION:
        raise InvalidInput(f"{path}: is a database, but not a table of recipes; give another name")
    if found[1] != STORE_VERSION:
        raise InvalidInput(f"{path}: is a table of version {found[1]}; this package reads version {STORE_VERSION}")


def check_whole(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Read a file from end to end.

    Raises:
        StoreFailed: if it is damaged.
    """
    with failures_explained(path):
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise StoreFailed(f"{path}: {_ADVICE[sqlite3.SQLITE_CORRUPT]}")
