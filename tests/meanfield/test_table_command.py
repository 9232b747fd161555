"""``meanfield table`` and ``meanfield lookup`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import meanfield as mf
from meanfield import table_cluster
from meanfield.cli import app

DESIGN = """
[common]
inputs = 4
units = 256

[grid]
cell = "gru"
length = [8, 16]
hidden = 32

[[request]]
cell = "gru"
length = 8
hidden = 32
power = 0.0
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("command")
    (found / "grid.toml").write_text(DESIGN)
    # As a program of its own, in the short form.
    command = [sys.executable, "-W", "error", "-c", "from meanfield.cli import main; main()"]
    done = subprocess.run(
        [*command, "table", "grid.toml", "-o", "recipes.sqlite", "--workers", "1"],
        cwd=found,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "recipes.sqlite: 2 made, 0 there already, 1 failed" in done.stdout
    assert "gru length 8 hidden 32 inputs 4 power 0.0 units 256: " in done.stdout
    assert "peak power is 0" in done.stdout
    return found


def test_a_second_run_makes_nothing(folder: Path) -> None:
    done = run("table", "run", folder / "grid.toml", "-o", folder / "recipes.sqlite", "--workers", "1", "--json")
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert (content["made"], content["kept"], content["failed_before"], content["failures"]) == (0, 2, 1, [])


def test_show_says_what_there_is(folder: Path) -> None:
    done = run("table", "show", folder / "recipes.sqlite")
    assert "2 recipes, 1 failed requests" in done.stdout
    assert "8 to 16" in done.stdout
    assert "peak power is 0" in run("table", "show", folder / "recipes.sqlite", "--failed").stdout
    content = json.loads(run("table", "show", folder / "recipes.sqlite", "--json").stdout)
    assert (content["recipes"], content["kinds"][0]["length"]) == (2, [8, 16])
    assert "predicted_chi" in run("table", "show", folder / "recipes.sqlite", "--columns").stdout.splitlines()


def test_query_export_and_plot(folder: Path) -> None:
    statement = "SELECT length, predicted_chi AS chi FROM recipes WHERE error IS NULL ORDER BY length"
    rows = [
        json.loads(line)
        for line in run("table", "query", folder / "recipes.sqlite", statement, "--json").stdout.splitlines()
    ]
    assert [row["length"] for row in rows] == [8, 16]
    assert "chi" in run("table", "query", folder / "recipes.sqlite", statement).stdout
    assert "3 rows written" in run("table", "export", folder / "recipes.sqlite", "--to", folder / "it.csv").stdout
    options = (
        "--across",
        "length",
        "--up",
        "hidden",
        "--where",
        "cell=gru",
        "--where",
        "power=1",
        "-o",
        folder / "it.png",
    )
    assert "Written to" in run("table", "plot", folder / "recipes.sqlite", "chi", *options).stdout


def test_lookup_writes_a_recipe_or_a_network(folder: Path) -> None:
    there = run("lookup", folder / "recipes.sqlite", "gru", "--length", 8, "--hidden", 32, "-o", folder / "exact.json")
    assert "A row of the table." in there.stdout
    assert mf.load(folder / "exact.json").content.task.length == 8
    between = run("lookup", folder / "recipes.sqlite", "gru", "--length", 11, "--hidden", 32, "-o", folder / "net.json")
    assert "Interpolated between the rows below" in between.stdout
    assert set(json.loads((folder / "net.json").read_text())["gates"]) == {"f", "r", "h"}
    content = json.loads(
        run("lookup", folder / "recipes.sqlite", "gru", "--length", 11, "--hidden", 32, "--nearest", "--json").stdout
    )
    assert content["how"] == "nearest"
    assert content["neighbours"][0]["request"]["length"] == 8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("table", "missing.toml", "-o", "it.sqlite"), 2, "missing.toml: cannot be read"),
        (("table", "grid.toml", "-o", "it.sqlite", "--limit", "2"), 2, "the design has 3 requests, more than 2"),
        (("table", "grid.toml", "-o", "it.sqlite", "--part", "3"), 2, "part: must be K/N, as 3/16, got '3'"),
        (("table", "grid.toml", "-o", "grid.toml"), 1, "grid.toml: is not a table of recipes"),
        (("table", "grid.toml", "-o", "nowhere/it.sqlite"), 1, "nowhere/it.sqlite: cannot be written: No such file"),
        (("table", "grid.toml", "-o", "it.sqlite", "--scheduler", "tcp://127.0.0.1:9"), 1, "127.0.0.1:9 cannot be"),
        (("table", "show", "it.sqlite"), 2, "it.sqlite: there is no such table"),
        (("table", "query", "recipes.sqlite", "DROP TABLE recipes"), 2, "statement: may only read"),
        (("table", "export", "recipes.sqlite", "--to", "it.xlsx"), 2, "to: must end in .parquet, .csv, .jsonl"),
        (("lookup", "recipes.sqlite", "lstm", "--length", "3", "--hidden", "3"), 2, "has no recipes of lstm"),
    ],
)
def test_errors_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(table_cluster, "CONNECT_SECONDS", 0.3)
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "it.sqlite").exists()


def test_ctrl_c_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("meanfield.table_runs.table", interrupted)
    done = run("table", folder / "grid.toml", "-o", folder / "it.sqlite")
    assert done.exit_code == 130
    assert done.stderr.startswith("meanfield: stopped; ")
    assert "run it again to go on" in done.stderr


def test_help_has_examples() -> None:
    assert "meanfield table grid.toml -o recipes.sqlite" in run("table", "--help").stdout
    assert run("table", "run", "--help").exit_code == 0
