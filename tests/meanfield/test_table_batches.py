"""Requests that workers make together: what a run gathers, and what kills, failures and other runs cost."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driven_runs import Runs, alive, wait_for

import meanfield as mf
from meanfield.table_batches import LARGEST, Batches
from meanfield.table_requests import Request, made_together, make_recipes
from meanfield.table_runs import table
from meanfield.table_store import Store
from meanfield.table_work import expanded, perform_together


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path, together=True)
    yield found
    found.end()


def asked(count: int) -> Iterator[tuple[str, Request]]:
    for k in range(1, count + 1):
        cell = "gru" if k % 3 else "janet"
        yield f"{cell} {k}", Request(cell=cell, length=k, hidden=4, inputs=2)


@pytest.mark.parametrize("room", [1, 3, 7])
def test_every_request_is_in_one_task_of_its_group(room: int) -> None:
    batches = Batches(asked(1000), lambda request: request.cell if request.length % 7 else None)
    tasks = []
    while more := batches.take(room):
        assert len(more) <= room
        tasks += more
    assert sorted(key for task in tasks for key in task) == sorted(key for key, _ in asked(1000))
    for task in tasks:
        assert len({request.cell for request in task.values()}) == 1
        alone = [request for request in task.values() if not request.length % 7]
        assert len(task) == 1 if alone else len(task) <= LARGEST
    assert len(tasks) <= 142 + 1000 * 6 // 7 // LARGEST + 2 * (room + 1)


def test_a_design_is_not_held_in_memory() -> None:
    read = 0

    def endless() -> Iterator[tuple[str, Request]]:
        nonlocal read
        for pair in asked(10**6):
            read += 1
            yield pair

    batches = Batches(endless(), lambda request: request.cell)
    assert [len(task) for task in batches.take(4)] == [LARGEST] * 4
    assert read < 5 * LARGEST + LARGEST


def test_what_is_held_back_is_known() -> None:
    batches = Batches(asked(LARGEST + 1), lambda request: None if request.length > 2 else request.cell)
    assert batches.take(1) == [{"janet 3": Request(cell="janet", length=3, hidden=4, inputs=2)}]
    assert "gru 1" in batches
    assert "janet 3" not in batches


def test_kills_lose_nothing_but_what_was_in_flight(runs: Runs, tmp_path: Path) -> None:
    count, kills = 800, 4
    (tmp_path / "calm").mkdir()
    calm = Runs(tmp_path / "calm", together=True)
    assert calm.finish(count=count, together=False)["made"] == count
    generator = random.Random(2)
    thresholds = sorted(generator.sample(range(1, count - 200), kills))
    running = runs.start(count=count, workers=1, delay=0.002)
    for index, threshold in enumerate(thresholds):
        wait_for(lambda: runs.rows() >= threshold)  # noqa: B023
        if index % 2:
            running.kill()
            running.communicate()
            running = runs.start(count=count, workers=1, delay=0.002)
        else:
            made = [process for _, process in runs.made() if alive(process)]
            if made:
                os.kill(made[-1], signal.SIGKILL)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert json.loads(output)["failures"] == []
    assert runs.recipes() == calm.recipes()
    # What was made twice had been in flight: two tasks of a worker.
    assert len(runs.made()) <= count + kills * 2 * LARGEST
    wait_for(lambda: not any(alive(process) for _, process in runs.made()), 10.0)


def test_a_request_that_kills_its_process_is_found_out_within_its_batch(runs: Runs) -> None:
    found = runs.finish(count=40, deadly=[13], workers=2)
    assert found["made"] == 39
    assert found["failures"] == ["the process that made it died 3 times, as it does when memory runs out"]


def test_a_request_that_fails_in_a_batch_fails_alone(runs: Runs) -> None:
    found = runs.finish(count=100, failing=[7, 50], workers=1)
    assert (found["made"], sorted(found["failures"])) == (98, [f"ValueError: seed {seed} fails" for seed in (50, 7)])


def test_a_batch_that_cannot_be_made_is_made_one_by_one(runs: Runs) -> None:
    found = runs.finish(count=100, spoiling=[3], failing=[4], workers=1)
    assert (found["made"], found["failures"]) == (99, ["ValueError: seed 4 fails"])
    assert Counter(seed for seed, _ in runs.made()) == dict.fromkeys(set(range(100)) - {4}, 1)


def test_two_runs_share_the_batches_of_one_design(runs: Runs) -> None:
    both = [runs.start(count=600, workers=1, delay=0.003) for _ in range(2)]
    done = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sum(each["made"] for each in done) == 600
    assert all(each["made"] + each["kept"] == 600 for each in done)
    assert Counter(seed for seed, _ in runs.made()) == dict.fromkeys(range(600), 1)


def test_ctrl_c_keeps_what_was_made(runs: Runs) -> None:
    running = runs.start(count=2000, workers=1, delay=0.003)
    wait_for(lambda: runs.rows() >= 3)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(10) != 0
    assert 3 <= len(runs.recipes()) < 2000
    wait_for(lambda: not any(alive(process) for _, process in runs.made()), 5.0)


UNTIED: dict[str, Any] = {"inputs": 8, "objective": "isometry", "regime": "untied"}


def test_a_table_of_batches_holds_what_recipe_designs(tmp_path: Path) -> None:
    wanted: list[dict[str, Any]] = [
        {"cell": cell, "length": 5 + k, "hidden": 64, **UNTIED} for cell in ("gru", "vanilla") for k in range(20)
    ]
    wanted.insert(10, {"cell": "gru", "length": 30, "hidden": 64, **UNTIED, "power": 0.0})  # makes no sense
    wanted += [wanted[0], {**wanted[0], "ensemble": "orthogonal"}, {**wanted[0], "bidirectional": True, "seed": 3}]
    wanted.append({"cell": "gru", "length": 8, "hidden": 32, "inputs": 4, "units": 256})  # made by itself
    told: list[tuple[int, int, int]] = []
    path = tmp_path / "recipes.sqlite"
    run = table(wanted, path, workers=2, progress=lambda *each: told.append(each))
    assert (run.made, run.kept, len(run.failures)) == (43, 1, 1)
    assert "peak power is 0" in run.failures[0][1]
    assert told[-1] == (45, 45, 43)
    with Store(path) as store:
        columns = "key, cell, length, hidden, inputs, seed, ensemble, bidirectional, objective"
        rows = store.select(f"SELECT {columns} FROM recipes WHERE error IS NULL ORDER BY key")
        for key, cell, length, hidden, inputs, seed, ensemble, bidirectional, objective in rows[::4]:
            options: dict[str, Any] = {"objective": objective}
            if objective == "isometry":
                options |= {"regime": "untied", "bidirectional": bool(bidirectional)}
                options |= {"ensemble": ensemble} if ensemble != "default" else {}
            else:
                options["units"] = 256
            expected = mf.recipe(cell, length=length, hidden=hidden, inputs=inputs, seed=seed, **options)
            [(document,)] = store.select("SELECT recipe FROM documents JOIN recipes USING (id) WHERE key = ?", (key,))
            assert expanded(document) == json.dumps(expected.as_json(), separators=(",", ":"))


def test_what_is_made_together() -> None:
    plain = Request(cell="gru", length=9, hidden=4, inputs=8, objective="isometry", regime="untied")
    assert made_together(plain) == "gru"
    for change in ({"units": 512}, {"regime": "tied"}, {"cell": "lstm"}, {"layers": 2}, {"cell": "gru_reset_after"}):
        assert made_together(plain.model_copy(update=change)) is None


def test_outcomes_of_a_batch_are_in_order() -> None:
    requests = [Request(cell="janet", length=k, hidden=4, **UNTIED) for k in (3, 90, 17)]
    found = perform_together(unused, make_recipes, [request.model_dump_json() for request in requests])
    assert [json.loads(expanded(each.document or b""))["task"]["length"] for each in found] == [3, 90, 17]
    assert all(each.seconds > 0.0 and each.error is None for each in found)


def unused(request: Request) -> dict[str, Any]:
    raise AssertionError(request)
