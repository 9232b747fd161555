"""``meanfield compare``: what it prints, its picture, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app

FAST = ["--units", "512"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "gru.json"
    mf.recipe("gru_reset_after", length=30, hidden=64, inputs=8, units=512).save(path)
    return path


def test_table_and_verdict(recipe: Path) -> None:
    found = CliRunner().invoke(app, ["compare", str(recipe), *FAST])
    assert found.exit_code == 0, found.output
    assert "gru_reset_after over 30 steps, 64 units, 8 inputs" in found.stdout
    for title in ("the recipe", "PyTorch's default", "Keras' default", "Flax's default", "forget bias 1", "chrono"):
        assert title in found.stdout
    assert "PyTorch's default forgets after" in found.stdout
    assert found.stderr == ""


def test_json_is_all_there_is_on_standard_output(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "compare.svg"
    options = ["--against", "chrono, keras", "--plot", str(picture), "--json"]
    found = CliRunner().invoke(app, ["compare", str(recipe), *options, *FAST])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert [row["name"] for row in content["initialisations"]] == ["recipe", "chrono", "keras"]
    assert content["units"] == 512
    assert picture.read_text().startswith("<?xml")


def test_the_same_command_says_the_same(recipe: Path) -> None:
    command = ["compare", str(recipe), "--against", "pytorch", "--json", *FAST]
    first, second = (CliRunner().invoke(app, command) for _ in range(2))
    assert first.stdout == second.stdout


def test_measured_inputs_are_said_to_be_missing(recipe: Path, tmp_path: Path) -> None:
    content = json.loads(recipe.read_text())
    content["task"]["inputs"] = {"kind": "data", "power": 0.5, "sequences": 10}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content))
    found = CliRunner().invoke(app, ["compare", str(path), "--against", "pytorch", "--json", *FAST])
    assert found.exit_code == 0, found.output
    assert "measured data, which are not in the file; white noise of their power is used" in found.stderr
    assert json.loads(found.stdout)["inputs"]["power"] == 0.5


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--against", "pytorch,crono"], 2, "got 'crono'; did you mean 'chrono'?"),
        (["--against", ""], 2, "against: cell gru_reset_after has pytorch, keras"),
        (["--units", "10"], 2, "units: must be"),
        (["--plot", "nowhere/x.png"], 1, "nowhere/x.png: cannot be written"),
        (["--plot", "."], 1, "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(recipe: Path, options: list[str], code: int, message: str) -> None:
    found = CliRunner().invoke(app, ["compare", str(recipe), *options])
    assert found.exit_code == code
    assert message in found.stderr
    assert found.stdout == ""
    assert "Traceback" not in found.stderr


def test_a_network_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"cell": "vanilla", "gates": {"h": {"recurrent_gain": 1.0}}}))
    found = CliRunner().invoke(app, ["compare", str(path)])
    assert found.exit_code == 2
    assert "is a network, which has no task" in found.stderr
    assert f"'meanfield analyze {path}'" in found.stderr


def test_no_file_and_half_a_file(tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["compare", str(tmp_path / "none.json")])
    assert missing.exit_code == 2
    assert "cannot be read" in missing.stderr
    half = tmp_path / "half.json"
    half.write_text('{"format": "meanfield.recipe/1", ')
    truncated = CliRunner().invoke(app, ["compare", str(half)])
    assert truncated.exit_code == 2
    assert "truncated" in truncated.stderr


def test_help_has_examples() -> None:
    found = CliRunner().invoke(app, ["compare", "--help"])
    assert found.exit_code == 0
    assert "--against pytorch,chrono" in found.stdout


def test_every_layer_and_direction_is_compared(tmp_path: Path) -> None:
    path, picture = tmp_path / "stack.json", tmp_path / "stack.png"
    mf.recipe("gru", length=12, hidden=32, inputs=4, units=256, layers=2).save(path)
    command = ["compare", str(path), "--against", "keras"]
    found = CliRunner().invoke(app, [*command, "--json"])
    assert (found.exit_code, found.stderr) == (0, "")
    lower = json.loads(found.stdout)
    (upper,) = lower["layers"]
    assert [(each["layer"], each["direction"], each["inputs"]["size"]) for each in (lower, upper)] == [
        (0, "forward", 4),
        (1, "forward", 32),
    ]
    assert (upper["inputs"]["kind"], upper["layers"]) == ("data", [])
    shown = CliRunner().invoke(app, command)
    assert "gru, layer 0, forward, over 12 steps" in shown.stdout
    assert "gru, layer 1, forward, over 12 steps, 32 units, 32 inputs" in shown.stdout
    assert shown.stdout.count("The recipe ") == 2
    pytest.importorskip("matplotlib")
    assert CliRunner().invoke(app, [*command, "--plot", str(picture)]).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_cell_of_no_framework(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "janet.json"
    mf.recipe("janet", length=30, hidden=64, inputs=8, units=512).save(path)
    found = CliRunner().invoke(app, ["compare", str(path), *FAST])
    assert found.exit_code == 0, found.output
    assert "LeCun normal forgets after" in found.stdout
    assert "PyTorch" not in found.stdout
