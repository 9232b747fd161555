"""The command line as a user runs it: output, exit codes, one-sentence errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GATE = {"recurrent_gain": 1.0, "input_gain": 0.5, "bias_mean": 0.0, "bias_std": 0.1}
NETWORK: dict[str, Any] = {"cell": "lstm", "gates": dict.fromkeys("ifgo", GATE), "ensemble": "gaussian"}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", "from meanfield.cli import main; main()", *arguments]
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(NETWORK))
    return path


def finite(value: object) -> bool:
    return isinstance(value, int | float)


def test_analyze_prints_one_json_object(network: Path, tmp_path: Path) -> None:
    done = run("analyze", str(network), "--length", "30", "--inputs", "16", "--units", "512", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["cell"], found["regime"], found["length"], found["hidden"]) == ("lstm", "tied", 30, 256)
    for name in ("second_moment", "overlap", "chi", "timescale", "isometry_defect", "eigenvalue_edge", "slow_fraction"):
        assert set(found[name]) == {"value", "error"}
        assert finite(found[name]["value"]), name
        assert finite(found[name]["error"]), name
    assert all(finite(found["singular_values"][m]["value"]) for m in ("m1", "m2"))
    for name in ("gradient_profile", "input_sensitivity"):
        assert [row["lag"] for row in found[name]] == [1, 2, 3, 5, 8, 13, 21, 30]
        assert all(finite(row["value"]) and finite(row["error"]) for row in found[name])


def test_analyze_prints_a_table_and_the_regime_changes_it(network: Path, tmp_path: Path) -> None:
    tied, untied = (
        run("analyze", str(network), "--length", "20", "--units", "512", "--regime", regime, cwd=tmp_path)
        for regime in ("tied", "untied")
    )
    assert tied.returncode == untied.returncode == 0
    assert "lstm, tied weights, 20 steps" in tied.stdout
    assert "lstm, untied weights, 20 steps" in untied.stdout
    assert "eigenvalue_edge" in tied.stdout
    assert "E[h²]" in tied.stdout


def test_recipe_writes_prints_and_is_analysed(tmp_path: Path) -> None:
    done = run(
        *("recipe", "gru_reset_after", "--length", "16", "--hidden", "48", "--inputs", "5", "--units", "256"),
        *("-o", "gru.json", "--json"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((tmp_path / "gru.json").read_text())
    again = run("analyze", "gru.json", "--units", "512", "--json", cwd=tmp_path)
    found = json.loads(again.stdout)
    assert (found["start"], found["length"], found["hidden"], found["inputs"]["size"]) == ("zero", 16, 48, 5)
    predicted = json.loads(done.stdout)["predictions"]["numbers"]["second_moment"]
    difference = abs(found["second_moment"]["value"] - predicted["value"])
    assert difference < 4 * (found["second_moment"]["error"] ** 2 + predicted["error"] ** 2) ** 0.5


def test_recipe_prints_tables_beside_the_default(tmp_path: Path) -> None:
    done = run(
        *("recipe", "lstm", "--length", "12", "--hidden", "32", "--inputs", "4", "--units", "256"),
        *("--signal", "4", "--padding-power", "0.01", "-o", "lstm.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "pytorch default" in done.stdout
    assert "Written to lstm.json." in done.stdout
    assert json.loads((tmp_path / "lstm.json").read_text())["task"]["inputs"]["signal"] == 4


@pytest.mark.parametrize("command", [[], ["--help"], ["recipe", "--help"], ["analyze", "-h"], ["schema", "--help"]])
def test_help_shows_examples(command: list[str], tmp_path: Path) -> None:
    done = run(*command, cwd=tmp_path)
    assert done.returncode == (0 if command else 2)
    assert "Usage" in done.stdout + done.stderr
    if len(command) == 2:
        assert f"meanfield {command[0]} " in done.stdout
        assert "Example" in done.stdout


def test_version_and_schemas(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.strip().count(".") == 2
    for kind, title in (("recipe", "RecipeFile"), ("network", "NetworkFile")):
        assert json.loads(run("schema", kind, cwd=tmp_path).stdout)["title"] == title


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("analyze", "absent.json"), 2, "absent.json: cannot be read: No such file or directory"),
        (("analyze", "broken.json"), 2, "broken.json: is not complete JSON"),
        (("analyze", "negative.json"), 2, "negative.json: gates.h.recurrent_gain: "),
        (("analyze", "network.json", "--length", "0"), 2, "length: must be a whole number of at least 1, got 0"),
        (("analyze", "network.json", "--overlap", "2"), 2, "overlap: must be from -1 to 1, got 2.0"),
        (("analyze", "network.json", "--power", "nan"), 2, "power: must be a finite number, got nan"),
        (("analyze", "network.json", "--inputs", "-1"), 2, "size: must be a whole number of at least 0, got -1"),
        (("analyze", "slow.json"), 1, "did not become stationary within 4000 steps"),
        (("recipe", "transformer", "--length", "9"), 2, "cell: recipes are designed for lstm, cifg_lstm"),
        (("recipe", "lstm", "--length", "9", "--inputs", "0"), 2, "inputs: must be at least 1, got 0"),
        (("recipe", "lstm", "--length", "9", "--power", "0"), 1, "peak power is 0"),
        (("recipe", "lstm", "--length", "9", "-o", "no/where.json"), 1, "no/where.json: cannot be written"),
    ],
)
def test_errors_are_one_sentence_with_an_exit_code(
    arguments: tuple[str, ...], code: int, message: str, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text('{"cell": ')
    (tmp_path / "negative.json").write_text('{"cell": "vanilla", "gates": {"h": {"recurrent_gain": -1}}}')
    slow = NETWORK["gates"] | {"f": GATE | {"bias_mean": 12.0}}
    (tmp_path / "slow.json").write_text(json.dumps(NETWORK | {"gates": slow}))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_bad_usage_exits_with_two(network: Path, tmp_path: Path) -> None:
    for arguments in (("recipe", "lstm"), ("analyze",), ("nonsense",), ("analyze", str(network), "--regime", "x")):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("analyze", "absent.json", "--debug", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "InvalidInput" in done.stderr


def test_the_import_is_light(tmp_path: Path) -> None:
    script = (
        "import sys, meanfield; "
        "print([m for m in ('numpy', 'scipy', 'numba', 'torch', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
