"""Runs that are killed, share a file, meet a full disk or a request that kills its process."""

from __future__ import annotations

import itertools
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
from meanfield.errors import InvalidInput
from meanfield.table_requests import Method, Request
from meanfield.table_runs import table
from meanfield.table_store import Store
from meanfield.table_work import Outcome, perform


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path)
    yield found
    found.end()


def test_twenty_kills_lose_nothing_but_what_was_in_flight(runs: Runs, tmp_path: Path) -> None:
    count, kills, workers = 500, 20, 1
    (tmp_path / "calm").mkdir()
    calm = Runs(tmp_path / "calm")
    assert calm.finish(count=count, workers=workers)["made"] == count
    generator = random.Random(1)
    thresholds = sorted(generator.sample(range(1, count - 20), kills))
    victims = ["run", "worker"] * (kills // 2)
    running = runs.start(count=count, workers=workers, delay=0.004)
    for threshold, victim in zip(thresholds, victims, strict=True):
        wait_for(lambda: runs.rows() >= threshold)  # noqa: B023
        if victim == "run":
            running.kill()
            running.communicate()
            running = runs.start(count=count, workers=workers, delay=0.004)
        else:
            made = [process for _, process in runs.made() if alive(process)]
            if made:
                os.kill(made[-1], signal.SIGKILL)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert json.loads(output)["failures"] == []
    assert runs.recipes() == calm.recipes()
    # What was made twice had been in flight.
    assert len(runs.made()) <= count + kills * 2 * workers
    wait_for(lambda: not any(alive(process) for _, process in runs.made()), 10.0)


class AllAtOnce:
    """An engine in this process that is done with all it has whenever it is asked, and that shrinks and grows."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []
        self.sizes = itertools.cycle([3, 1, 0, 7])

    @property
    def capacity(self) -> int:
        return next(self.sizes)

    def submit(self, task: tuple[tuple[str, str], ...]) -> None:
        self.given += task

    def finished(self, timeout: float) -> list[tuple[str, Outcome]]:
        done, self.given = self.given, []
        return [(key, perform(lambda request: {"gates": {}, "predictions": {"numbers": {}}}, it)) for key, it in done]

    def close(self) -> None:
        pass


def test_a_run_ends_when_all_is_made_however_results_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meanfield.table_runs.LocalPool", lambda *_: AllAtOnce())
    wanted = [{"cell": "gru", "length": length, "hidden": 4, "inputs": 2} for length in range(1, 101)]
    done = table(wanted, tmp_path / "recipes.sqlite", method=Method("stand-in", unused))
    assert (done.made, done.failures) == (100, ())


def test_two_runs_on_one_file_share_the_work(runs: Runs) -> None:
    both = [runs.start(count=200, workers=1, delay=0.005) for _ in range(2)]
    done = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sum(each["made"] for each in done) == 200
    assert all(each["made"] + each["kept"] == 200 for each in done)
    assert Counter(seed for seed, _ in runs.made()) == dict.fromkeys(range(200), 1)
    assert len(runs.recipes()) == 200


def test_a_run_takes_over_from_one_that_dies(runs: Runs) -> None:
    first = runs.start(count=8, workers=1, delay=1.0)
    wait_for(lambda: len(runs.made()) > 0)
    second = runs.start(count=8, workers=1)
    wait_for(lambda: runs.rows() >= 4)
    first.kill()
    assert second.wait(30) == 0
    assert len(runs.recipes()) == 8


def test_ctrl_c_keeps_what_was_made_and_leaves_no_process(runs: Runs) -> None:
    running = runs.start(count=400, delay=0.05)
    wait_for(lambda: runs.rows() >= 3)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(10) != 0
    assert "KeyboardInterrupt" in (running.stderr.read() if running.stderr else "")
    assert 3 <= len(runs.recipes()) < 400
    wait_for(lambda: not any(alive(process) for _, process in runs.made()), 5.0)


def test_a_request_that_kills_its_process_fails_and_the_others_do_not(runs: Runs) -> None:
    found = runs.finish(count=6, deadly=[3], workers=1)
    assert found["made"] == 5
    assert found["failures"] == ["the process that made it died 3 times, as it does when memory runs out"]


def test_a_full_disk_stops_a_run_that_goes_on_where_it_was(runs: Runs) -> None:
    stopped = runs.start(count=300, largest_file=150_000, workers=1)
    output, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 1, (output, errors)
    assert "StoreFailed" in errors
    assert "free space" in errors
    kept = runs.rows()
    assert 0 < kept < 300
    found = runs.finish(count=300, workers=1)
    assert (found["kept"], found["made"]) == (kept, 300 - kept)
    assert len(runs.recipes()) == 300


def test_failed_requests_are_rows_and_are_made_again_only_when_asked(runs: Runs) -> None:
    first = runs.finish(count=6, failing=[1, 2], workers=1)
    assert (first["made"], first["failures"]) == (4, [f"ValueError: seed {seed} fails" for seed in (1, 2)])
    second = runs.finish(count=6, workers=1)
    assert (second["made"], second["kept"], second["failed_before"]) == (0, 4, 2)
    third = runs.finish(count=6, retry_failed=True, failing=[2], workers=1)
    assert (third["made"], third["kept"], third["failures"]) == (1, 4, ["ValueError: seed 2 fails"])
    with Store(runs.path) as store:
        assert (store.count(), store.count(failed=True)) == (5, 1)


def test_parts_make_each_request_once(runs: Runs) -> None:
    made = [runs.finish(count=40, part=[index, 2], workers=1) for index in (1, 2)]
    assert sum(each["made"] for each in made) == 40
    assert all(each["made"] + each["kept"] + each["elsewhere"] == 40 for each in made)
    assert Counter(seed for seed, _ in runs.made()) == dict.fromkeys(range(40), 1)


def test_a_table_holds_what_recipe_designs(tmp_path: Path) -> None:
    wanted = {"cell": "gru", "length": 10, "hidden": 32, "inputs": 4, "units": 256, "signal": 5, "padding_power": 0.01}
    progress: list[tuple[int, int, int]] = []
    path = tmp_path / "recipes.sqlite"
    made = table([wanted, wanted], path, workers=1, progress=lambda *told: progress.append(told))
    assert (made.requests, made.made, made.kept) == (2, 1, 1)
    assert progress[-1] == (2, 2, 1)
    inputs = mf.Inputs.padded(signal=5, length=10, padding_power=0.01, size=4)
    expected = mf.recipe("gru", length=10, hidden=32, inputs=inputs, units=256)
    with Store(path) as store:
        [(key,)] = store.select("SELECT key FROM recipes")
        assert store.recipe(key) == expected


def unused(request: Request) -> dict[str, Any]:
    raise AssertionError(request)


@pytest.mark.parametrize(
    ("requests", "options", "message"),
    [
        ([], {}, "requests: must not be empty"),
        ([{"cell": "gru", "length": 0, "hidden": 1, "inputs": 1}], {}, "request 0: length: .* got 0"),
        ([{"cell": "gru", "length": 1, "hidden": 1, "inputs": 1}] * 3, {"limit": 2}, "the design has 3 requests"),
        ([{"cell": "gru", "length": 1, "hidden": 1, "inputs": 1}], {"part": (3, 2)}, "part: .* got 3 of 2"),
        ([{"cell": "gru", "length": 1, "hidden": 1, "inputs": 1}], {"workers": 0}, "workers: .* got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    tmp_path: Path, requests: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        table(requests, tmp_path / "recipes.sqlite", method=Method("unused", unused), **options)
    assert list(tmp_path.iterdir()) == []
