"""The recipe file: what is in it, and what is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.recipe_file import parse_network


@pytest.fixture(scope="module")
def recipe() -> mf.Recipe:
    return mf.recipe("lstm", length=12, hidden=40, inputs=6, units=256)


@pytest.fixture
def content(recipe: mf.Recipe) -> dict[str, Any]:
    return copy.deepcopy(recipe.as_json())


def saved(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(content))
    return path


def test_round_trip(recipe: mf.Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    recipe.save(path)
    again = mf.load(path)
    assert again.content == recipe.content
    assert again.network == recipe.network
    assert again.text() == path.read_text()


def test_the_scaling_is_spelled_out(content: dict[str, Any]) -> None:
    """A reader without this package needs nothing but the file."""
    for laws in content["gates"].values():
        assert laws["recurrent"]["std"] == pytest.approx(laws["recurrent"]["gain"] / 40**0.5)
        assert laws["input"]["std"] == pytest.approx(laws["input"]["gain"] / 6**0.5)
        assert laws["recurrent"]["law"] == laws["input"]["law"] == "normal"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "meanfield.recipe/2", "format: must be 'meanfield.recipe/1', got 'meanfield.recipe/2'"),
        (("surprise",), 1, "surprise: unknown field"),
        (("gates", "i", "surprise"), 1, "gates.i.surprise: unknown field"),
        (("gates", "i", "bias", "std"), -1.0, "gates.i.bias.std: input should be greater than or equal to 0, got -1.0"),
        (("gates", "i", "bias", "mean"), "0", "gates.i.bias.mean: input should be a valid number, got '0'"),
        (
            ("gates", "i", "recurrent", "law"),
            "cauchy",
            "gates.i.recurrent.law: must be 'normal', .*, got 'cauchy'",
        ),
        (("gates", "i", "recurrent", "std"), 7.0, r"gates.i.recurrent: std must be gain / sqrt\(fan_in\)"),
        (("gates", "q"), {"bias": {"law": "normal", "mean": 0, "std": 0}}, "unknown q"),
        (("cell",), "transformer", "unknown cell 'transformer'"),
        (("task", "length"), 0, "task.length: input should be greater than or equal to 1, got 0"),
        (("task", "hidden"), 2.5, "task.hidden: input should be a valid integer, got 2.5"),
        (("request_hash",), "abc", "request_hash: string should match pattern"),
    ],
)
def test_a_wrong_field_is_named(
    tmp_path: Path, content: dict[str, Any], path: tuple[str, ...], value: object, message: str
) -> None:
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvalidInput, match=message):
        mf.load(saved(tmp_path, content))


def test_missing_fields_and_truncated_files_are_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    del content["gates"]["g"]
    with pytest.raises(InvalidInput, match="cell lstm needs gates i, f, g, o; missing g"):
        mf.load(saved(tmp_path, content))
    del content["task"]
    with pytest.raises(InvalidInput, match="task: field required"):
        mf.load(saved(tmp_path, content))
    path = tmp_path / "recipe.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(InvalidInput, match="truncated"):
        mf.load(path)
    path.write_text("[1, 2]")
    with pytest.raises(InvalidInput, match="valid dictionary"):
        mf.load(path)


def test_not_a_number_is_refused_on_the_way_in(tmp_path: Path, recipe: mf.Recipe) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(recipe.text().replace('"mean": 0.0', '"mean": NaN', 1))
    with pytest.raises(InvalidInput, match="holds NaN"):
        mf.load(path)


def test_the_schema_accepts_a_recipe_and_refuses_extra_fields(content: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from meanfield.cli import main; main()", "schema"]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    schema = json.loads(done.stdout)
    jsonschema.validate(content, schema)
    content["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cell": "vanilla"}, "net: gates: field required"),
        ({"cell": "vanilla", "gates": {"h": {"gain": 1}}}, "net: gates.h.gain: unknown field"),
        ({"cell": "vanilla", "gates": {"h": {"recurrent_gain": -1}}}, "net: gates.h.recurrent_gain: .* got -1"),
        ({"cell": "vanilla", "gates": {}}, "net: gates: cell vanilla needs gates h; missing h"),
        ({"cell": "vanilla", "gates": {"h": {}}, "ensemble": "goe"}, "net: ensemble: input should be 'gaussian'"),
        (
            {"cell": "vanilla", "gates": {"h": {}}, "ensemble": {"name": "svd", "half_width": 2}},
            "net: half_width: must be from 0 to 1, got 2",
        ),
        ({"cell": "vanilla", "gates": {"h": {}}, "ensemble": {"name": "haar"}}, "net: ensemble.name: .* got 'haar'"),
        ([], "net: input should be a valid dictionary"),
    ],
)
def test_a_wrong_network_file_is_refused(content: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_network(content, "net")
