"""Merging: each request once, good rows over failed ones, and nothing written where a source is not sound."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meanfield.cli_tables import tables
from meanfield.errors import InvalidInput
from meanfield.table_files import StoreFailed
from meanfield.table_lookup import lookup
from meanfield.table_merge import merge_tables
from meanfield.table_requests import Request
from meanfield.table_store import Store
from meanfield.table_work import Outcome, compressed, failure


def request(seed: int) -> Request:
    return Request(cell="gru", length=5 + seed, hidden=4, inputs=2, seed=seed)


def outcome(seed: int, text: str = "x", **numbers: float) -> Outcome:
    document = compressed({"seed": seed, "text": text})
    return Outcome(document, {"predicted_chi": float(seed), **numbers}, None, 0.1, compressed({}))


def part(path: Path, seeds: range, made: dict[int, Outcome] | None = None, method: str = "m/1") -> Path:
    with Store(path, write=True) as store, store.changes():
        for seed in seeds:
            result = (made or {}).get(seed, outcome(seed))
            store.put(request(seed).key(method), method, request(seed), result)
    return path


def content(path: Path) -> list[tuple[object, ...]]:
    with Store(path) as store:
        names = ", ".join(f"recipes.{name}" for name in sorted(store.columns()) if name != "id")
        return store.select(
            f"SELECT {names}, recipe, profiles FROM recipes LEFT JOIN documents USING (id) ORDER BY key"
        )


def extents(path: Path) -> list[tuple[object, ...]]:
    with Store(path) as store:
        return store.select("SELECT * FROM extents ORDER BY cell, method, axis")


def test_parts_become_the_table_that_would_have_been_made_at_once(tmp_path: Path) -> None:
    made = {1203: outcome(1203, predicted_timescale=2.0), 7: failure("no")}
    whole = part(tmp_path / "whole.sqlite", range(1300), made)
    parts = [part(tmp_path / f"{low}.sqlite", range(low, low + 700), made) for low in (0, 600)]
    told: list[tuple[int, int, int]] = []
    merged = merge_tables(parts, tmp_path / "all.sqlite", progress=lambda *each: told.append(each))
    assert (merged.rows, merged.added, merged.replaced, merged.kept, merged.differing) == (1400, 1300, 0, 100, 0)
    assert content(tmp_path / "all.sqlite") == content(whole)
    assert extents(tmp_path / "all.sqlite") == extents(whole)
    assert told == [(500, 1400, 500), (700, 1400, 700), (1200, 1400, 1100), (1400, 1400, 1300)]
    again = merge_tables(parts, tmp_path / "all.sqlite")
    assert (again.added, again.replaced, again.kept, again.differing) == (0, 0, 1400, 0)
    assert content(tmp_path / "all.sqlite") == content(whole)


@pytest.mark.parametrize("good_first", [True, False])
def test_a_recipe_wins_over_a_failure_in_either_order(tmp_path: Path, good_first: bool) -> None:
    good = part(tmp_path / "good.sqlite", range(3))
    bad = part(tmp_path / "bad.sqlite", range(3), {1: failure("no"), 2: failure("never")})
    merged = merge_tables([good, bad] if good_first else [bad, good], tmp_path / "all.sqlite")
    assert content(tmp_path / "all.sqlite") == content(good)
    assert (merged.added, merged.replaced, merged.kept) == ((3, 0, 3) if good_first else (3, 2, 1))


def test_other_recipes_under_a_key_are_counted_and_the_first_stays(tmp_path: Path) -> None:
    first = part(tmp_path / "first.sqlite", range(30))
    other = part(tmp_path / "other.sqlite", range(30), {seed: outcome(seed, "y") for seed in range(25)})
    merged = merge_tables([first, other], tmp_path / "all.sqlite")
    assert (merged.differing, len(merged.differing_keys)) == (25, 20)
    assert merged.differing_keys[0] == (str(other), request(0).key("m/1"))
    assert content(tmp_path / "all.sqlite") == content(first)


def test_other_versions_are_other_rows_and_the_last_one_is_looked_at(tmp_path: Path) -> None:
    old, new = (part(tmp_path / f"{each}.sqlite", range(3), method=f"m/{each}") for each in (1, 2))
    merged = merge_tables([old, new], tmp_path / "all.sqlite")
    assert merged.added == 6
    found = lookup(tmp_path / "all.sqlite", "gru", length=6, hidden=4)
    assert found.neighbours[0].key == request(1).key("m/2")


def test_sources_can_be_read_only_and_are_left_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    source = part(folder / "part.sqlite", range(5))
    before = source.read_bytes()
    source.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert merge_tables([source], tmp_path / "all.sqlite").added == 5
    finally:
        folder.chmod(0o755)
    assert source.read_bytes() == before


def test_unsound_sources_are_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    good = part(tmp_path / "good.sqlite", range(200))
    damaged = part(tmp_path / "damaged.sqlite", range(200))
    size = damaged.stat().st_size
    with damaged.open("r+b") as stream:
        stream.seek(size // 4096 // 2 * 4096)
        stream.write(b"\xff" * 4096)
    text = tmp_path / "text.sqlite"
    text.write_text("not a table\n" * 1000)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE recipes (id)")
    connection.close()
    newer = part(tmp_path / "newer.sqlite", range(2))
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    for source, kind, message in (
        (damaged, StoreFailed, "is damaged"),
        (text, StoreFailed, "not a table of recipes"),
        (foreign, InvalidInput, "not a table of recipes"),
        (newer, InvalidInput, "version 9"),
        (tmp_path / "missing.sqlite", InvalidInput, "no such table"),
    ):
        with pytest.raises(kind, match=f"{source.name}: .*{message}"):
            merge_tables([good, source], tmp_path / "all.sqlite")
        assert not (tmp_path / "all.sqlite").exists()
    with pytest.raises(InvalidInput, match="sources: must name a table at least"):
        merge_tables([], tmp_path / "all.sqlite")


def test_a_table_is_not_merged_into_itself(tmp_path: Path) -> None:
    good = part(tmp_path / "good.sqlite", range(2))
    (tmp_path / "link.sqlite").symlink_to(good)
    os.link(good, tmp_path / "hard.sqlite")
    for name in ("good.sqlite", "link.sqlite", "hard.sqlite"):
        with pytest.raises(InvalidInput, match=f"{name}: cannot be merged into itself"):
            merge_tables([tmp_path / name], good)


def test_killed_in_the_middle_it_completes_when_run_again(tmp_path: Path) -> None:
    source, target = part(tmp_path / "part.sqlite", range(2000)), tmp_path / "all.sqlite"
    script = (
        "import sys, time; from meanfield.table_merge import merge_tables\n"
        "def wait(dealt, rows, added):\n    print(dealt, flush=True)\n    time.sleep(60.0 if dealt == 1000 else 0.0)\n"
        "merge_tables(sys.argv[1:2], sys.argv[2], progress=wait)"
    )
    command = [sys.executable, "-c", script, str(source), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["500\n", "1000\n"]
        process.send_signal(signal.SIGKILL)
    with Store(target) as store:
        assert store.count() == 1000
    merged = merge_tables([source], target)
    assert (merged.added, merged.kept) == (1000, 1000)
    assert content(target) == content(source)


def test_a_batch_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    source, target = part(tmp_path / "part.sqlite", range(800)), tmp_path / "all.sqlite"
    Store(target, write=True).close()
    with sqlite3.connect(target) as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON recipes WHEN new.seed = 700 BEGIN SELECT raise(ABORT, 'stop'); END"
        )
    connection.close()
    with pytest.raises(StoreFailed, match=r"all.sqlite: .*stop"):
        merge_tables([source], target)
    with Store(target) as store:
        assert (store.count(), store.select("SELECT count(*) FROM documents")) == (500, [(500,)])


def test_the_command(tmp_path: Path) -> None:
    parts = [part(tmp_path / f"{low}.sqlite", range(low, low + 3)) for low in (0, 2)]
    arguments = ["table", "merge", *map(str, parts), "-o", str(tmp_path / "all.sqlite")]
    first = CliRunner().invoke(tables, arguments)
    assert first.exit_code == 0, first.output
    assert "5 rows added, 0 failures replaced, 1 there already" in first.output.replace("\n", " ")
    refused = CliRunner().invoke(tables, [*arguments[:3], "-o", str(parts[0])])
    assert refused.exit_code != 0
