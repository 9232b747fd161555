"""``meanfield train``: what it prints, its files, and its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meanfield.cli import app
from meanfield.validation.training.tables import BEGINNING, END

SMALL = ["--length", "8", "--hidden", "4", "--iterations", "4", "--evaluate-every", "2", "--batch", "8", "--seeds", "2"]


def train(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["train", *arguments])
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training") / "runs.jsonl"
    options = ["--initialisations", "default,chrono", "--cell", "lstm,gru_reset_after", "-o", str(path)]
    code, printed, errors = train("run", "adding", "delayed_parity", *SMALL, *options)
    assert code == 0, errors
    assert printed.count("not learnt, mean squared error") == 8
    assert "adding T=8 lstm N=4 default seed 0: not learnt" in printed
    assert "learnt, of all runs" in printed
    return path


def test_a_finished_study_is_not_done_again(runs: Path) -> None:
    before = runs.read_text()
    assert len(before.splitlines()) == 16
    options = ["--initialisations", "default,chrono", "-o", str(runs), "--json"]
    assert train("run", "adding", *SMALL, *options)[:2] == (0, "")
    assert runs.read_text() == before
    code, printed, _ = train("run", "adding", *SMALL, "--initialisations", "keras", "-o", str(runs), "--json")
    assert code == 0
    assert [json.loads(line)["initialisation"] for line in printed.splitlines()] == ["keras", "keras"]
    assert runs.read_text() == before + printed


def test_table(runs: Path, tmp_path: Path) -> None:
    code, printed, _ = train("table", str(runs))
    assert code == 0
    assert "adding, gru_reset_after, T = 8" in printed
    page = tmp_path / "page.md"
    page.write_text(f"{BEGINNING}\n{END}\n")
    code, printed, _ = train("table", str(runs), "--markdown", "--into", str(page))
    assert code == 0
    assert page.read_text() == f"{BEGINNING}\n{printed}{END}\n"
    content = json.loads(train("table", str(runs), "--json")[1])
    assert [group["title"] for group in content["groups"]][:2] == [
        "adding, lstm, T = 8",
        "adding, gru_reset_after, T = 8",
    ]
    assert content["groups"][0]["initialisations"]["chrono"]["seeds"] == 2


def test_picture(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.png"
    code, printed, _ = train("plot", str(runs), "-o", str(picture))
    assert (code, printed) == (0, f"Written to {picture}.\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_tasks() -> None:
    code, printed, _ = train("tasks", "--length", "100", "--json")
    assert code == 0
    tasks = {task["name"]: task for task in json.loads(printed)["tasks"]}
    assert tasks["padded_digits"]["input_size"] == 8
    assert tasks["adding"]["chance"] == pytest.approx(1 / 6)
    assert "temporal_order" in train("tasks")[1]


def test_plain_layers_beside_gated_ones(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    options = ["--initialisations", "orthogonal,spectral,chrono", "--cell", "lstm,vanilla", "-o", str(path)]
    code, printed, errors = train("run", "adding", *SMALL, *options, "--band", "0.1", "--reflectors", "2")
    assert code == 0, errors
    assert printed.count(": not learnt") == 8
    assert "vanilla N=4 spectral seed 1: not learnt" in printed
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["band"] for line in lines if "band" in line] == [{"half_width": 0.1, "reflectors": 2}] * 2
    assert {line["cell"] for line in lines if "singular_values" in line} == {"vanilla"}
    groups = json.loads(train("table", str(path), "--json")[1])["groups"]
    found = {name: entry["singular_values"] for name, entry in groups[1]["initialisations"].items()}
    assert 0.9 < found["spectral"][0] <= 1.0 <= found["spectral"][1] < 1.1
    assert [name for group in groups for name in group["initialisations"]] == [
        "orthogonal", "chrono", "orthogonal", "spectral",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "subtracting", "-o", "runs.jsonl"], 2, "task: must be one of adding"),
        (["run", "adding", "--cell", "gru", "-o", "runs.jsonl"], 2, "cell: must be among"),
        (["run", "adding", "--initialisations", "", "-o", "runs.jsonl"], 2, "initialisations: must name"),
        (["run", "adding", "--initialisations", "spectral", "-o", "runs.jsonl"], 2, "'spectral' goes with nothing"),
        (["run", "adding", "--band", "1.5", "-o", "runs.jsonl"], 2, "half_width: must be between 0 and the centre 1"),
        (["run", "adding", "--learning-rate", "0", "-o", "runs.jsonl"], 2, "learning_rate"),
        (["run", "adding", "--seeds", "0", "-o", "runs.jsonl"], 2, "seeds"),
        (["run", "adding", "--threads", "0", "--initialisations", "default", "-o", "runs.jsonl"], 2, "threads"),
        (["run", "padded_digits", "--mnist", "nowhere", "-o", "runs.jsonl"], 2, "nowhere"),
        (["run", "adding", "--initialisations", "default", "-o", "nowhere/runs.jsonl"], 1, "nowhere"),
        (["table", "nowhere.jsonl"], 2, "nowhere.jsonl: cannot be read"),
        (["plot", "nowhere.jsonl", "-o", "curves.png"], 2, "nowhere.jsonl"),
        (["tasks", "--length", "5"], 2, "length: delayed_recall needs at least 10 steps"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = train(*arguments)
    assert found[0] == code, found
    assert message in found[2]
    assert "Traceback" not in found[2]


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "meanfield.torch", raising=False)
    code, _, errors = train("run", "adding", "-o", str(tmp_path / "runs.jsonl"))
    assert code == 2
    assert "pip install 'meanfield-rnn[training]'" in errors
