"""Files of runs, studies that are gone on with, tables and pictures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meanfield import recipes
from meanfield.errors import Infeasible, InvalidInput
from meanfield.validation.training import studies, tables
from meanfield.validation.training.pictures import common_curves, draw_curves
from meanfield.validation.training.runs import Run, append_run, read_runs
from meanfield.validation.training.settings import Settings
from meanfield.validation.training.studies import Progress, Study, run_study
from meanfield.validation.training.tasks import make_task

SETTINGS = Settings(iterations=4, evaluate_every=2, batch=8, held_out=16, clip=1)


def run_of(**changes: Any) -> Run:
    content = {
        "format": "meanfield.training/1",
        "task": "adding",
        "options": {},
        "length": 200,
        "metric": "mean squared error",
        "chance": 0.17,
        "threshold": 0.02,
        "cell": "lstm",
        "hidden": 64,
        "initialisation": "chrono",
        "objective": None,
        "request_hash": None,
        "seed": 0,
        "settings": Settings().as_json(),
        "outcome": "not learnt",
        "reason": None,
        "iterations": None,
        "final": 0.1,
        "curve": [(0, 1.0), (20, 0.1)],
        "seconds": 1.5,
        "versions": {"meanfield": "0.1.0"},
    }
    return Run.model_validate(content | changes)


def learnt(iterations: int, **changes: Any) -> Run:
    curve = [(0, 1.0), (iterations, 0.01)]
    return run_of(outcome="learnt", iterations=iterations, final=0.01, curve=curve, **changes)


def study_of(*initialisations: str, seeds: int = 2) -> Study:
    return Study([make_task("adding", 8)], ["lstm"], initialisations, seeds=seeds, hidden=4, settings=SETTINGS)


def counted(study: Study, path: Path) -> tuple[list[Run], int]:
    """A study's runs, and how many of them were trained now."""
    finished: list[Run] = []
    found = run_study(study, path, progress=Progress(finished=finished.append))
    return found, len(finished)


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    runs = [run_of(seed=0), learnt(40, seed=1, options={"images": "digits", "padding_power": 0.1})]
    for run in runs:
        append_run(path, run)
    assert read_runs(path) == runs
    assert len(path.read_text().splitlines()) == 2
    # The same request again does not count twice.
    append_run(path, run_of(seed=0, seconds=9.0))
    assert read_runs(path) == runs


def test_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append_run(path, run_of(seed=0))
    with path.open("a") as stream:
        stream.write(run_of(seed=1).line()[:-30])
    assert read_runs(path) == [run_of(seed=0)]
    append_run(path, run_of(seed=2))
    assert [run.seed for run in read_runs(path)] == [0, 2]
    (tmp_path / "torn.jsonl").write_text('{"format"')
    assert read_runs(tmp_path / "torn.jsonl") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is not complete JSON"),
        ("[]", "line 2: format: must be 'meanfield.training/1'"),
        ('{"format": "meanfield.recipe/1"}', "line 2: format"),
        (json.dumps(run_of().model_dump(mode="json") | {"seed": "0"}), "line 2: seed"),
        (json.dumps(run_of().model_dump(mode="json") | {"extra": 1}), "line 2: extra"),
        (run_of().line().replace("1.5", "NaN").strip(), "line 2: holds NaN"),
    ],
)
def test_lines_that_are_not_runs(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(run_of().line() + line + "\n")
    with pytest.raises(InvalidInput, match=message):
        read_runs(path)


_APPENDING = """
import sys
from pathlib import Path
from meanfield.validation.training.runs import append_run, read_runs
(run,) = read_runs(sys.argv[1])
for seed in range(int(sys.argv[3]), int(sys.argv[3]) + 25):
    append_run(sys.argv[2], run.model_copy(update={"seed": seed}))
"""


def test_processes_may_share_a_file(tmp_path: Path) -> None:
    model, path = tmp_path / "model.jsonl", tmp_path / "runs.jsonl"
    append_run(model, run_of(curve=[(each, 0.1) for each in range(500)]))
    command = [sys.executable, "-c", _APPENDING, str(model), str(path)]
    processes = [subprocess.Popen([*command, str(first)]) for first in (0, 25)]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(run.seed for run in read_runs(path)) == list(range(50))


def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    found, trained = counted(study_of("default", "chrono"), path)
    assert trained == len(found) == 4
    assert [(run.seed, run.initialisation) for run in found] == [
        (0, "default"), (0, "chrono"), (1, "default"), (1, "chrono"),
    ]  # fmt: skip
    assert {run.outcome for run in found} == {"not learnt"}
    assert [point for point, _ in found[0].curve] == [0, 2, 4]
    assert counted(study_of("default", "chrono"), path) == (found, 0)
    # Killed while the last line was written: that run is made again, and comes out the same.
    path.write_text(path.read_text()[:-10])
    again, trained = counted(study_of("default", "chrono"), path)
    assert trained == 1
    assert [run.curve for run in again] == [run.curve for run in found]
    assert counted(study_of("default", "orthogonal", "chrono"), path)[1] == 2
    other = Study([make_task("adding", 8)], ["lstm"], ["default"], seeds=1, hidden=4, settings=Settings(iterations=5))
    assert counted(other, path)[1] == 1


def test_recipes_are_designed_once_for_every_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "runs.jsonl", []
    real = recipes.recipe

    def recipe(*arguments: Any, **options: Any) -> recipes.Recipe:
        asked.append(options["inputs"])
        return real(*arguments, units=256, **options)

    monkeypatch.setattr(recipes, "recipe", recipe)
    study = Study([make_task("adding", 12)], ["lstm"], ["recipe"], seeds=2, hidden=8, settings=SETTINGS)
    found, trained = counted(study, path)
    assert (trained, len(asked)) == (2, 1)
    assert (asked[0].length, asked[0].size, asked[0].sequences) == (12, 2, 256)
    (file,) = (tmp_path / "recipes").glob("*/*.json")
    assert {run.request_hash for run in found} == {recipes.load(file).content.request_hash}
    assert {run.objective for run in found} == {studies.OBJECTIVE}
    assert file.parent.name == studies.OBJECTIVE.replace("/", "-")
    monkeypatch.setattr(studies, "OBJECTIVE", "learn/next")
    assert counted(study, path)[1] == 2
    (row,) = tables.rows_of(read_runs(path))
    assert sorted(row.entries) == sorted(f"recipe {version}" for version in (found[0].objective, "learn/next"))


def test_tasks_without_a_recipe_are_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def infeasible(*_: object, **__: object) -> None:
        raise Infeasible("no parameters satisfy the memory constraint")

    monkeypatch.setattr(studies, "designed_recipe", infeasible)
    found, trained = counted(study_of("recipe", "chrono", seeds=1), tmp_path / "runs.jsonl")
    assert trained == 2
    assert (found[0].outcome, found[0].final, found[0].curve) == ("infeasible", None, [])
    assert "memory" in str(found[0].reason)
    (row,) = tables.rows_of(found)
    assert tables.cells_of([row])[1][1].startswith("infeasible")
    assert common_curves([found[1]])[1].shape == (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": ["gru"]}, "cell: must be among lstm, gru_reset_after"),
        ({"initialisations": ["xavier"]}, "initialisations: must be among recipe"),
        ({"initialisations": []}, "initialisations: must name at least one"),
        ({"tasks": []}, "tasks"),
        ({"seeds": 0}, "seeds"),
        ({"hidden": 0}, "hidden"),
    ],
)
def test_studies_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    request = {"tasks": [make_task("adding", 8)], "cells": ["lstm"], "initialisations": ["default"]}
    with pytest.raises(InvalidInput, match=message):
        Study(**(request | change))


def test_medians_and_ratios() -> None:
    runs = [
        *(learnt(time, initialisation="recipe", objective="learn/1", seed=k) for k, time in enumerate((100, 160, 400))),
        *(learnt(time, seed=k) for k, time in enumerate((800, 1000))),
        run_of(seed=2),
        *(run_of(initialisation="default", seed=k, final=0.1 + 0.1 * k) for k in range(3)),
        run_of(initialisation="keras", seed=0, outcome="diverged"),
    ]
    (row,) = tables.rows_of(runs)
    assert row.title == "adding, lstm, T = 200"
    assert row.entries["recipe"].iterations == 160.0
    assert (row.entries["recipe"].lowest, row.entries["recipe"].highest) == (100.0, 400.0)
    # Of 800, 1000 and never the median is 1000.
    assert (row.entries["chrono"].iterations, row.entries["chrono"].highest) == (1000.0, math.inf)
    assert row.entries["default"].iterations == math.inf
    heading, line, total, standing = tables.cells_of([row])
    assert heading == ["task, cell, length", "recipe", "chrono", "default", "keras"]
    assert line[1:] == [
        "160 (3/3) 0.16×",
        "1000 (2/3)",
        "> 1500 (0/3), 0.2 > 1.5×",
        "> 1500 (0/1), 0.1, 1 diverged > 1.5×",
    ]
    assert total[1:] == ["3/3", "2/3", "0/3", "0/1"]
    assert standing[1:] == ["1 / 0 of 1", "–", "0 / 1 of 1", "0 / 1 of 1"]
    groups = tables.as_json([row])["groups"]
    assert groups[0]["initialisations"]["default"]["iterations"] is None
    json.dumps(groups, allow_nan=False)


def test_groups_are_told_apart_by_what_differs() -> None:
    faster = Settings(learning_rate=0.01).as_json()
    digits, mnist = (run_of(task="padded_pixels", options={"images": name}) for name in ("digits", "mnist"))
    runs = [run_of(), run_of(settings=faster), run_of(length=500), digits]
    assert [row.title for row in tables.rows_of(runs)] == [
        "adding, lstm, T = 200, learning rate 0.001",
        "adding, lstm, T = 200, learning rate 0.01",
        "adding, lstm, T = 500, learning rate 0.001",
        "padded_pixels, lstm, T = 200, learning rate 0.001",
    ]
    assert [row.title for row in tables.rows_of([digits, mnist, run_of(hidden=128)])] == [
        "padded_pixels, lstm, T = 200, N 64, images digits",
        "padded_pixels, lstm, T = 200, N 64, images mnist",
        "adding, lstm, T = 200, N 128",
    ]
    with pytest.raises(InvalidInput, match="there are none"):
        tables.rows_of([])


def test_a_table_goes_into_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{tables.BEGINNING}\nold\n{tables.END}\n\nafter\n")
    rows = tables.rows_of([run_of(), learnt(100, initialisation="recipe", objective="learn/1")])
    for _ in range(2):
        tables.write_into(page, rows)
        assert page.read_text() == f"before\n\n{tables.BEGINNING}\n{tables.as_markdown(rows)}{tables.END}\n\nafter\n"
    assert "| adding, lstm, T = 200 | 100 (1/1) < 0.067× | > 1500 (0/1), 0.1 |" in page.read_text()
    page.write_text("no place")
    with pytest.raises(InvalidInput, match="must have the lines"):
        tables.write_into(page, rows)
    with pytest.raises(InvalidInput, match="cannot be read"):
        tables.write_into(tmp_path / "nowhere.md", rows)


def test_curves_at_common_iterations() -> None:
    runs = [
        run_of(curve=[(0, 1.0), (20, 0.8), (40, 0.6)]),
        learnt(20, seed=1),
        run_of(curve=[(0, 2.0), (20, 3.0)], outcome="diverged", seed=2),
    ]
    iterations, curves = common_curves(runs)
    assert iterations.tolist() == [0.0, 20.0, 40.0]
    np.testing.assert_allclose(curves, [[1.0, 0.8, 0.6], [1.0, 0.01, 0.01], [2.0, 3.0, 0.17]])


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [
        run_of(),
        learnt(100, initialisation="recipe", objective="learn/1"),
        run_of(length=500),
        run_of(cell="lstm"),
    ]
    draw_curves(tables.rows_of(runs), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidInput, match="plot: curves"):
        draw_curves(tables.rows_of(runs), tmp_path / "curves.xyz")
