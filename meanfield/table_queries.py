"""Questions to a table in SQL, which can read and nothing else."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.table_files import failures_explained
from meanfield.table_store import Store

_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


def query_table(path: str | os.PathLike[str], statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns and rows that a query gives; the table ``recipes`` has them, failed requests included.

    Raises:
        InvalidInput: if the statement is not SQL, or does more than read.
        StoreFailed: if the table cannot be read.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/recipes.sqlite"
    >>> Store(path, write=True).close()
    >>> query_table(path, "SELECT count(*) AS rows FROM recipes")
    (['rows'], [(0,)])
    """
    with Store(path) as store, failures_explained(path):
        store.connection.set_authorizer(_authorize)
        try:
            cursor = store.connection.execute(statement)
            if cursor.description is None:
                raise InvalidInput("statement: must be a SELECT")
            return [column[0] for column in cursor.description], cursor.fetchall()
        except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
                raise
            raise InvalidInput(f"statement: {error}") from error
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_AUTH:
                raise
            raise InvalidInput("statement: may only read; other programs can change a copy") from error


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
