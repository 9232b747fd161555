"""The store: rows whole or not at all, and files that are full, read-only, damaged or something else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meanfield.errors import InvalidInput
from meanfield.table_files import StoreFailed
from meanfield.table_queries import query_table
from meanfield.table_requests import Request
from meanfield.table_store import Store
from meanfield.table_work import Outcome, compressed, failure


def request(seed: int, **others: Any) -> Request:
    return Request(**{"cell": "gru", "length": 5, "hidden": 4, "inputs": 2, "seed": seed} | others)


def outcome(seed: int, **numbers: float) -> Outcome:
    return Outcome(compressed({"seed": seed, "text": "x" * 500}), {"predicted_chi": 0.5, **numbers}, None, 0.1)


def put(store: Store, seed: int, result: Outcome, **others: Any) -> None:
    store.put(f"key {seed}", "method", request(seed, **others), result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "recipes.sqlite"
    with Store(found, write=True) as store, store.changes():
        for seed in range(50):
            put(store, seed, outcome(seed))
    return found


def test_a_recipe_stays_and_a_failure_is_replaced(tmp_path: Path) -> None:
    with Store(tmp_path / "recipes.sqlite", write=True) as store:
        with store.changes():
            put(store, 0, failure("first"))
            put(store, 1, outcome(1))
        with store.changes():
            put(store, 0, failure("second"))
            put(store, 1, failure("never"))
        assert store.failures() == [(request(0), "second")]
        with store.changes():
            put(store, 0, outcome(0))
        assert (store.count(), store.count(failed=True)) == (2, 0)
        assert store.states(["key 0", "key 1", "key 2"]) == {"key 0": True, "key 1": True}
        assert store.select("SELECT count(*) FROM documents") == [(2,)]


def put_twice(store: Store) -> None:
    """A change whose second half fails."""
    with store.changes():
        put(store, 100, outcome(100, predicted_new=1.0))
        store.connection.execute("INSERT INTO claims VALUES ('a', 'b'), ('a', 'b')")


def fill(store: Store) -> None:
    for seed in range(100, 1000):
        with store.changes():
            put(store, seed, outcome(seed))


def test_new_numbers_get_columns_and_undone_ones_are_forgotten(path: Path) -> None:
    with Store(path, write=True) as store:
        with pytest.raises(StoreFailed, match="UNIQUE constraint failed"):
            put_twice(store)
        assert "predicted_new" not in store.columns()
        assert store.count() == 50
        with store.changes():
            put(store, 100, outcome(100, predicted_new=2.0))
        assert store.select("SELECT predicted_new, count(*) FROM recipes GROUP BY 1") == [(None, 50), (2.0, 1)]


def test_extents_are_those_of_the_rows(path: Path) -> None:
    lengths = [7, 3, 12, 5]
    for index in range(0, 4, 2):
        with Store(path, write=True) as store, store.changes():
            for seed, length in enumerate(lengths[index : index + 2], start=100 + index):
                put(store, seed, outcome(seed), length=length)
    with Store(path) as store:
        found = store.select("SELECT lowest, highest FROM extents WHERE axis = 'length'")
        assert found == store.select("SELECT min(length), max(length) FROM recipes") == [(3, 12)]


def test_a_file_that_must_not_grow_keeps_what_it_has(path: Path) -> None:
    with Store(path, write=True) as store:
        [(pages,)] = store.select("PRAGMA page_count")
        store.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFailed, match=r"recipes.sqlite: the disk is full; .* free space and run it again"):
            fill(store)
        kept = store.count()
        assert 50 <= kept < 950
        store.connection.execute("PRAGMA max_page_count = 1000000")
        with store.changes():
            put(store, 1000, outcome(1000))
        assert store.count() == kept + 1
        assert store.select("PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
def read_only(path: Path, tmp_path: Path) -> Iterator[Path]:
    """The table where nothing can be written: on a file system mounted so, or for users who may not."""
    place = tmp_path / "mounted"
    place.mkdir()
    if os.geteuid() != 0:
        os.replace(path, place / path.name)
        place.chmod(0o555)
        (place / path.name).chmod(0o444)
        yield place / path.name
        place.chmod(0o755)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere, and mounting is not allowed")
    try:
        (place / path.name).write_bytes(path.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / path.name
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_table_on_a_read_only_file_system_is_read_and_not_written(read_only: Path) -> None:
    with Store(read_only) as store:
        assert store.count() == 50
    with pytest.raises((StoreFailed, OSError), match=r"can only be read|Read-only|Permission"):
        Store(read_only, write=True)


def test_reading_leaves_nothing_behind_and_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with Store(path) as store, pytest.raises(StoreFailed, match="can only be read"), store.changes():
        put(store, 200, outcome(200))
    assert query_table(path, "SELECT count(*) AS n FROM recipes") == (["n"], [(50,)])
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_readers_see_rows_while_a_run_adds_them(path: Path) -> None:
    with Store(path, write=True) as writer, Store(path) as reader:
        with writer.changes():
            put(writer, 300, outcome(300))
            assert reader.count() == 50
        assert reader.count() == 51


@pytest.mark.parametrize("statement", ["DELETE FROM recipes", "ATTACH 'x' AS y", "PRAGMA query_only = OFF", "VACUUM"])
def test_queries_only_read(path: Path, statement: str) -> None:
    with pytest.raises(InvalidInput, match="statement: may only read"):
        query_table(path, statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT absent FROM recipes", "no such column"),
        ("", "must be a SELECT"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
    ],
)
def test_queries_that_are_not_sql_are_refused(path: Path, statement: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"statement: .*{message}"):
        query_table(path, statement)


def test_a_damaged_table_is_refused_and_left_as_it_is(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 + 10 : page * 4096 + 600] = b"\xa5" * 590
    path.write_bytes(content)
    with pytest.raises(StoreFailed, match=r"recipes.sqlite: is damaged and is left as it is; restore a copy, or"):
        Store(path, write=True)
    with Store(path) as store, pytest.raises(StoreFailed, match="is damaged"):
        store.select("SELECT * FROM recipes")
    assert path.read_bytes() == content


def test_a_truncated_table_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreFailed, match="is damaged"):
        Store(path, write=True)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such table"):
        Store(tmp_path / "missing.sqlite")
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "missing" / "recipes.sqlite", write=True)
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, " * 100)
    for write in (False, True):
        with pytest.raises(StoreFailed, match="is not a table of recipes"):
            Store(text, write=write)
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE things (a)")
    connection.close()
    for write in (False, True):
        with pytest.raises(InvalidInput, match="is a database, but not a table of recipes"):
            Store(other, write=write)
    later = tmp_path / "later.sqlite"
    Store(later, write=True).close()
    connection = sqlite3.connect(later)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(InvalidInput, match="is a table of version 2; this package reads version 1"):
        Store(later)
