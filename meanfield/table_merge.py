"""Several tables in one: the rows of all of them, each request once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.files import check_writable
from meanfield.table_files import check_whole
from meanfield.table_requests import FIELDS
from meanfield.table_store import FIXED, Store, quoted, request_of
from meanfield.table_work import Outcome, expanded

MergeProgress = Callable[[int, int, int], None]
"""Called as progress(rows dealt with, rows of all sources, rows added by this run)."""

_AT_ONCE = 500  # rows in a transaction
_MOST_NAMED = 20  # keys kept of those whose recipes differ


@dataclass(frozen=True)
class Merged:
    """What merging did.

    Attributes:
        path: file of the merged table.
        rows: rows of all sources.
        added: rows that the merged table did not have.
        replaced: failed rows that a recipe has replaced.
        kept: rows that were there already, or failed where there was a recipe or another failure.
        differing: how many of these have another recipe under the same key; the first one stays.
        differing_keys: (source, key) of the first twenty of these.
    """

    path: str
    rows: int
    added: int
    replaced: int
    kept: int
    differing: int
    differing_keys: tuple[tuple[str, str], ...]


def merge_tables(
    sources: Sequence[str | os.PathLike[str]], to: str | os.PathLike[str], *, progress: MergeProgress | None = None
) -> Merged:
    """Add the rows of tables to one, each request once: a recipe replaces a failure, else the first row stays.

    Rows go in by transactions of 500; killed in the middle and run again, it completes. Rows of other versions of the
    method are other rows; lookups take those of the method that was added last, so the newest source comes last.

    Args:
        sources: files of the tables, which are only read.
        to: file of the merged table; one that is there grows.
        progress: told how far it is.

    Returns:
        Counts of rows, and the keys under which sources have different recipes.

    Raises:
        InvalidInput: if there is no source, one is missing or something else, or is the merged table itself.
        StoreFailed: if a file is damaged, or cannot be read or written. Nothing is written before all sources have
            been read from end to end.
        OSError: if the folder of the merged table is missing or cannot be written.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("part1", "part2"):
    ...     Store(f"{folder}/{name}.sqlite", write=True).close()
    >>> merge_tables([f"{folder}/part1.sqlite", f"{folder}/part2.sqlite"], f"{folder}/all.sqlite").rows
    0
    """
    if not sources:
        raise InvalidInput("sources: must name a table at least")
    check_writable(to)
    for source in sources:
        if Path(source).exists() and Path(to).exists() and os.path.samefile(source, to):
            raise InvalidInput(f"{source}: cannot be merged into itself")
        with Store(source) as store:
            check_whole(store.connection, source)
    with Store(to, write=True) as target:
        merging = _Merging(target, _rows_of(sources), progress)
        for source in sources:
            merging.add(source)
    return Merged(
        path=os.fspath(to),
        rows=merging.dealt,
        added=merging.added,
        replaced=merging.replaced,
        kept=merging.dealt - merging.added - merging.replaced,
        differing=merging.differing,
        differing_keys=tuple(merging.differing_keys),
    )


class _Merging:
    """A merge on its way."""

    def __init__(self, target: Store, rows: int, progress: MergeProgress | None) -> None:
        self.dealt = self.added = self.replaced = self.differing = 0
        self.differing_keys: list[tuple[str, str]] = []
        self._target, self._rows, self._progress = target, rows, progress

    def add(self, path: str | os.PathLike[str]) -> None:
        """Add the rows of a source, all as they are at one moment."""
        with Store(path) as source, _one_moment(source):
            for rows in source.stream("SELECT id, key, error IS NULL FROM recipes ORDER BY id", at_once=_AT_ONCE):
                self._add_rows(source, rows)
                self.dealt += len(rows)
                if self._progress is not None:
                    self._progress(self.dealt, self._rows, self.added + self.replaced)

    def _add_rows(self, source: Store, rows: list[tuple[Any, ...]]) -> None:
        added = replaced = 0
        with self._target.changes():
            there = self._target.states(key for _, key, _ in rows)
            wanted = [number for number, key, made in rows if key not in there or (made and not there[key])]
            for key, method, request, outcome in _whole_rows(source, wanted):
                self._target.put(key, method, request, outcome)
                replaced += key in there
                added += key not in there
            twice = [key for _, key, made in rows if made and there.get(key)]
            differing = _differing(source, self._target, twice)
        # Counted once they are on the disk.
        self.added, self.replaced = self.added + added, self.replaced + replaced
        self.differing += len(differing)
        room = _MOST_NAMED - len(self.differing_keys)
        self.differing_keys += [(os.fspath(source.path), key) for key in differing[:room]]


def _rows_of(sources: Sequence[str | os.PathLike[str]]) -> int:
    total = 0
    for source in sources:
        with Store(source) as store:
            total += store.count() + store.count(failed=True)
    return total


@contextmanager
def _one_moment(store: Store) -> Iterator[None]:
    """All that is read meanwhile is of the same moment, though runs may be adding to the file."""
    store.select("BEGIN")
    try:
        yield
    finally:
        if store.connection.in_transaction:
            store.connection.execute("ROLLBACK")


def _whole_rows(source: Store, ids: list[int]) -> Iterator[tuple[str, str, Any, Outcome]]:
    numbers = [name for name in source.columns() if name not in FIXED]
    names = [*FIELDS, "key", "method", "error", "seconds", *numbers]
    listed = ", ".join(f"recipes.{quoted(name)}" for name in names)
    marks = ", ".join("?" * len(ids))
    for row in source.select(
        f"SELECT {listed}, recipe, profiles FROM recipes LEFT JOIN documents USING (id) "
        f"WHERE recipes.id IN ({marks}) ORDER BY recipes.id",
        ids,
    ):
        found = dict(zip(names, row, strict=False))
        document, profiles = row[-2:]
        outcome = Outcome(document, {name: found[name] for name in numbers}, found["error"], found["seconds"], profiles)
        yield found["key"], found["method"], request_of(row), outcome


def _differing(source: Store, target: Store, keys: list[str]) -> list[str]:
    """Keys whose recipes are not the same; compressed they may differ where compressors do."""
    if not keys:
        return []
    marks = ", ".join("?" * len(keys))
    statement = f"SELECT key, recipe FROM recipes JOIN documents USING (id) WHERE key IN ({marks}) ORDER BY recipes.id"
    kept = dict(target.select(statement, keys))
    return [
        key
        for key, document in source.select(statement, keys)
        if document != kept[key] and expanded(document) != expanded(kept[key])
    ]
