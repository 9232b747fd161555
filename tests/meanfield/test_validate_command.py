"""``meanfield validate`` and ``meanfield lyapunov``: what they print, their exit codes, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app

GATE = {"recurrent_gain": 0.8, "input_gain": 0.7, "bias_mean": 0.2, "bias_std": 0.2}
NETWORK = {"cell": "janet", "gates": {"f": GATE, "g": GATE}}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(NETWORK))
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "gru.json"
    mf.recipe("gru", length=12, hidden=64, inputs=8).save(path)
    return path


def test_a_recipe_is_held_to_its_file(recipe: Path) -> None:
    found = CliRunner().invoke(app, ["validate", str(recipe), "--networks", "6", "--json"])
    assert found.exit_code == 0, found.output
    assert found.stderr == ""
    content = json.loads(found.stdout)
    assert (content["cell"], content["hidden"], content["networks"], content["start"]) == ("gru", 64, 6, "zero")
    assert content["agrees"] is True
    written = json.loads(recipe.read_text())["predictions"]
    rows = {(row["name"], row["lag"]): row for row in content["comparisons"]}
    moment = rows["second_moment", None]["predicted"]
    assert moment["value"] == pytest.approx(written["numbers"]["second_moment"]["value"], rel=1e-12)
    assert moment["error"] == pytest.approx(written["numbers"]["second_moment"]["error"], rel=1e-9)
    for profile in ("gradient_profile", "input_sensitivity"):
        for entry in written[profile]:
            row = rows[profile, entry["lag"]]
            assert row["predicted"]["log10_value"] == pytest.approx(entry["log10_value"], abs=1e-12)
            assert row["deviation"] <= 5.0
            assert row["allowance"] >= 0.002


def test_every_layer_is_held_to_its_own_predictions(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    mf.recipe("gru", length=12, hidden=64, inputs=16, layers=2).save(path)
    found = CliRunner().invoke(app, ["validate", str(path), "--networks", "6", "--json"])
    assert found.exit_code == 0, found.output
    lower = json.loads(found.stdout)
    (upper,) = lower["layers"]
    assert [(each["layer"], each["inputs"]["size"], each["agrees"]) for each in (lower, upper)] == [
        (0, 16, True),
        (1, 64, True),
    ]
    shown = CliRunner().invoke(app, ["validate", str(path), "--networks", "6"])
    assert shown.stdout.count("predictions agree") == 2
    content = json.loads(path.read_text())
    content["layers"][0]["predictions"]["numbers"]["second_moment"]["value"] *= 6.0
    path.write_text(json.dumps(content))
    wrong = CliRunner().invoke(app, ["validate", str(path), "--networks", "10"])
    assert wrong.exit_code == 1
    assert "Beyond 5σ: second_moment." in wrong.stdout
    assert wrong.stdout.count("predictions agree") == 1


def test_a_table_says_what_agrees(recipe: Path) -> None:
    found = CliRunner().invoke(app, ["validate", str(recipe), "--hidden", "80", "--networks", "4"])
    assert found.exit_code == 0, found.output
    assert "predictions for 128 units beside 4 networks" in " ".join(found.stdout.split())
    assert "predictions agree" in found.stdout
    assert "it is not judged" in found.stdout


def test_a_prediction_that_fails_is_exit_code_1(recipe: Path, tmp_path: Path) -> None:
    content = json.loads(recipe.read_text())
    content["predictions"]["numbers"]["second_moment"]["value"] *= 6.0
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(content))
    found = CliRunner().invoke(app, ["validate", str(wrong), "--networks", "10"])
    assert found.exit_code == 1
    assert "Beyond 5σ: second_moment." in found.stdout
    assert "Traceback" not in found.stderr


def test_a_network_is_predicted_first(network: Path) -> None:
    options = ["--length", "6", "--hidden", "48", "--inputs", "8", "--networks", "4", "--json"]
    found = CliRunner().invoke(app, ["validate", str(network), *options])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert (content["length"], content["width"], content["start"]) == (6, 48, "stationary")
    assert {row["lag"] for row in content["comparisons"] if row["name"] == "gradient_profile"} == {1, 2, 3, 5, 6}
    untied = CliRunner().invoke(app, ["validate", str(network), *options, "--regime", "untied", "--start", "zero"])
    assert untied.exit_code == 0, untied.output
    assert (json.loads(untied.stdout)["regime"], json.loads(untied.stdout)["start"]) == ("untied", "zero")


def test_a_recipe_on_another_task_is_predicted_anew(recipe: Path) -> None:
    found = CliRunner().invoke(app, ["validate", str(recipe), "--length", "5", "--networks", "4", "--json"])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert (content["length"], content["hidden"], content["start"]) == (5, 64, "zero")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({**NETWORK, "cell": "elman"}, [], "cell: unknown cell 'elman'"),
        (NETWORK, ["--hidden", "7"], "hidden: must be a whole number of at least 8, got 7"),
        (NETWORK, ["--networks", "0"], "networks: must be a whole number of at least 2, got 0"),
        (NETWORK, ["--length", "0"], "length: must be a whole number of at least 1, got 0"),
        (NETWORK, ["--inputs", "-1"], "size: must be a whole number of at least 0, got -1"),
        (NETWORK, ["--power", "-1"], "power: must be at least 0"),
        ({"format": "something/1"}, [], "format: must be 'meanfield.recipe/1', got 'something/1'"),
        ([1, 2], [], "network.json"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, content: object, options: list[str], message: str) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(content))
    found = CliRunner().invoke(app, ["validate", str(path), *options])
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stdout == ""
    assert "Traceback" not in found.stderr


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["validate", str(tmp_path / "none.json")])
    assert found.exit_code == 2
    assert "none.json" in found.stderr


def test_lyapunov_exponents(network: Path) -> None:
    options = ["--hidden", "64", "--steps", "64", "--transient", "20", "--networks", "4", "--inputs", "8"]
    found = CliRunner().invoke(app, ["lyapunov", str(network), *options, "--json"])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    values = [each["value"] for each in content["exponents"]]
    assert len(values) == 64
    assert values == sorted(values, reverse=True)
    assert content["largest_exponent"] == content["exponents"][0]
    assert content["attractor_dimension"] == {"value": 0.0, "error": 0.0}
    # Half the slope of log G, around which networks scatter.
    error = content["predicted_exponent"]["error"] + content["largest_exponent"]["error"]
    assert abs(content["predicted_exponent"]["value"] - values[0]) < 0.05 + 5.0 * error
    table = CliRunner().invoke(app, ["lyapunov", str(network), *options, "--exponents", "3"])
    assert table.exit_code == 0, table.output
    assert "janet, tied weights, 4 networks of 64 units, 64 steps" in " ".join(table.stdout.split())
    assert "exponent 3" in table.stdout


def test_chaos_with_too_few_exponents_says_so(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    path.write_text(json.dumps({"cell": "vanilla", "gates": {"h": {"recurrent_gain": 4.0}}}))
    options = ["--hidden", "48", "--steps", "64", "--power", "0", "--exponents", "1", "--json"]
    found = CliRunner().invoke(app, ["lyapunov", str(path), *options])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert content["largest_exponent"]["value"] > 0.1
    assert content["attractor_dimension"] == {"value": None, "error": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "5"], "steps: must be a whole number of at least 32, got 5"),
        (["--exponents", "0"], "exponents: must be a whole number of at least 1, got 0"),
        (["--hidden", "8", "--exponents", "9"], "exponents: must not exceed the dimension 8, got 9"),
        (["--networks", "0"], "networks: must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_requests_for_exponents(network: Path, options: list[str], message: str) -> None:
    found = CliRunner().invoke(app, ["lyapunov", str(network), *options])
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stdout == ""
