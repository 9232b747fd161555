"""The store of a table: rows that are there whole or not at all, and each request once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from meanfield import recipe_file
from meanfield.errors import InvalidInput
from meanfield.table_files import failures_explained, open_for_reading, open_for_writing
from meanfield.table_requests import FIELDS, Request
from meanfield.table_work import Outcome, expanded

if TYPE_CHECKING:
    from meanfield.recipes import Recipe

FAMILY = ("method", "cell", "objective", "regime", "ensemble", "layers", "bidirectional")
"""What rows have in common that a lookup may combine."""
AXES = ("length", "hidden", "inputs", "power", "overlap", "signal", "padding_power")
"""What rows of a family differ by, beside seed and units."""
FIXED = ("id", "key", "method", *FIELDS, "error", "seconds")
"""Columns that every table has."""


class Store:
    """A table's file, opened for reading or for adding to it.

    Args:
        path: of the file.
        write: whether to add to it; a missing file is then made.

    Raises:
        InvalidInput, StoreFailed, OSError: as :mod:`meanfield.table_files` has it.

    >>> import tempfile
    >>> with Store(f"{tempfile.mkdtemp()}/recipes.sqlite", write=True) as store:
    ...     store.count(), store.count(failed=True)
    (0, 0)
    """

    def __init__(self, path: str | os.PathLike[str], *, write: bool = False) -> None:
        self.path = path
        self.connection = open_for_writing(path) if write else open_for_reading(path)
        self._extents: dict[tuple[Any, ...], tuple[float, float]] = {}
        self._columns: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was put is in it."""
        self.connection.close()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Changes that happen together or not at all."""
        with failures_explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                # What was remembered of the file may have been undone with it.
                self._extents.clear()
                self._columns.clear()
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def select(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with failures_explained(self.path):
            return self.connection.execute(statement, values).fetchall()

    def stream(
        self, statement: str, values: Sequence[Any] = (), *, at_once: int = 2000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Rows of a query, some at a time."""
        with failures_explained(self.path):
            cursor = self.connection.execute(statement, values)
            while rows := cursor.fetchmany(at_once):
                yield rows

    def columns(self) -> list[str]:
        """Names of all columns of the table ``recipes``."""
        return [row[1] for row in self.select("PRAGMA table_info(recipes)")]

    def count(self, *, failed: bool = False) -> int:
        """How many recipes there are, or how many requests have failed."""
        condition = "error IS NOT NULL" if failed else "error IS NULL"
        return int(self.select(f"SELECT count(*) FROM recipes WHERE {condition}")[0][0])

    def failures(self, most: int | None = None) -> list[tuple[Request, str]]:
        """Requests that failed, and why."""
        names = ", ".join(FIELDS)
        rows = self.select(
            f"SELECT {names}, error FROM recipes WHERE error IS NOT NULL ORDER BY id LIMIT ?",
            (-1 if most is None else most,),
        )
        return [(request_of(row), row[-1]) for row in rows]

    def states(self, keys: Iterable[str]) -> dict[str, bool]:
        """Which of these keys have a row, and whether it is a recipe rather than an error."""
        listed = json.dumps(list(keys))
        rows = self.select(
            "SELECT key, error IS NULL FROM recipes WHERE key IN (SELECT value FROM json_each(?))", (listed,)
        )
        return {key: bool(made) for key, made in rows}

    def put(self, key: str, method: str, request: Request, outcome: Outcome) -> None:
        """Add a row, or replace one that failed; a recipe that is there stays. Within :meth:`changes`."""
        execute = self.connection.execute
        existing = execute("SELECT id, error IS NULL FROM recipes WHERE key = ?", (key,)).fetchone()
        if existing is not None:
            if existing[1]:
                return
            execute("DELETE FROM recipes WHERE id = ?", (existing[0],))
        row: dict[str, Any] = {"key": key, "method": method, **request.model_dump()}
        row |= {"error": outcome.error, "seconds": outcome.seconds, **outcome.numbers}
        self._make_columns(row)
        names = ", ".join(quoted(name) for name in row)
        marks = ", ".join("?" * len(row))
        added = execute(f"INSERT INTO recipes ({names}) VALUES ({marks})", tuple(row.values()))
        if outcome.document is not None:
            execute("INSERT INTO documents VALUES (?, ?, ?)", (added.lastrowid, outcome.profiles, outcome.document))
            self._widen_extents(row)

    def recipe(self, key: str) -> Recipe:
        """The recipe of a key.

        Raises:
            InvalidInput: if there is none.
        """
        rows = self.select("SELECT recipe FROM documents JOIN recipes USING (id) WHERE key = ?", (key,))
        if not rows:
            raise InvalidInput(f"{self.path}: has no recipe of key {key}")
        from meanfield.recipes import Recipe

        return Recipe(recipe_file.parse_recipe(json.loads(expanded(rows[0][0])), f"{self.path}: {key}"))

    def _make_columns(self, row: dict[str, Any]) -> None:
        """A number that no recipe had before gets its column."""
        if row.keys() <= self._columns:
            return
        self._columns = set(self.columns())
        for name in row:
            if name not in self._columns:
                self.connection.execute(f"ALTER TABLE recipes ADD COLUMN {quoted(name)} REAL")
                self._columns.add(name)

    def _widen_extents(self, row: dict[str, Any]) -> None:
        """Lookups ask how far an axis reaches; no query should have to read all rows for that."""
        family = (*(row[name] for name in FAMILY), int(row["signal"] is not None))
        for axis in AXES:
            value = row[axis]
            if value is None:
                continue
            known = self._extents.get((*family, axis))
            if known is not None and known[0] <= value <= known[1]:
                continue
            self.connection.execute(
                "INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "lowest = min(lowest, excluded.lowest), highest = max(highest, excluded.highest)",
                (*family, axis, value, value),
            )
            low, high = known or (value, value)
            self._extents[(*family, axis)] = (min(low, value), max(high, value))


def request_of(row: Sequence[Any]) -> Request:
    """The request of a row, which was checked when it came in; SQLite has no truth values."""
    found = dict(zip(FIELDS, row, strict=False))
    return Request.model_construct(**found | {"bidirectional": bool(found["bidirectional"])})


def quoted(name: str) -> str:
    """A name as SQL has it.

    >>> quoted("predicted_chi")
    '"predicted_chi"'
    """
    return '"' + name.replace('"', '""') + '"'
