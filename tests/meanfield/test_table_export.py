"""Tables as files and as pictures."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meanfield import table_export
from meanfield.errors import InvalidInput
from meanfield.table_export import export_table
from meanfield.table_pictures import heat_map
from meanfield.table_requests import Request
from meanfield.table_store import Store
from meanfield.table_work import failure, perform


def recipe_like(request: Request) -> dict[str, Any]:
    """An object with the parts of a recipe that tables look at."""
    chi = {"value": 1.0 - 1.0 / request.length + request.seed, "error": 0.5**10}
    lags = [1, 2, request.length]
    profile = [{"lag": lag, "value": 10.0**-lag, "error": 0.1 * 10.0**-lag, "log10_value": -float(lag)} for lag in lags]
    profile[-1] |= {"value": 0.0, "error": 0.0}
    law = {"law": "normal", "gain": 0.1, "fan_in": request.hidden, "std": 0.1 / request.hidden**0.5}
    numbers = {"chi": chi, "timescale": {"value": None, "error": None}}
    predictions = {"numbers": numbers, "gradient_profile": profile, "input_sensitivity": profile[:2]}
    return {
        "format": "stand-in",
        "gates": {"f": {"recurrent": law, "input": None, "bias": {"law": "normal", "mean": 2.0, "std": 0.0}}},
        "predictions": predictions,
        "defaults": {"predictions": {"numbers": {"chi": {"value": 0.5, "error": 0.25}}}},
        "method": {"value": -1.25},
    }


REQUESTS = [
    Request(cell=cell, length=length, hidden=hidden, inputs=2, seed=seed, bidirectional=cell == "lstm")
    for cell in ("gru", "lstm")
    for length in (5, 50, 500)
    for hidden in (4, 64)
    for seed in (0, 1)
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("export") / "recipes.sqlite"
    with Store(found, write=True) as store, store.changes():
        for request in REQUESTS:
            store.put(request.key("m"), "m", request, perform(recipe_like, request.model_dump_json()))
        bad = Request(cell="gru", length=7, hidden=8, inputs=2)
        store.put("bad", "m", bad, failure("it, «failed»\nbadly"))
    return found


def checked(row: dict[str, Any], request: Request) -> None:
    """A row of an export has what the request and the recipe say."""
    assert {name: row[name] for name in ("cell", "length", "hidden", "inputs", "seed")} == {
        name: getattr(request, name) for name in ("cell", "length", "hidden", "inputs", "seed")
    }
    assert row["key"] == request.key("m")
    assert row["predicted_chi"] == 1.0 - 1.0 / request.length + request.seed
    assert row["predicted_chi_error"] == 0.5**10
    assert (row["default_chi"], row["default_chi_error"]) == (0.5, 0.25)
    assert (row["gate_f_recurrent_gain"], row["gate_f_bias_mean"], row["objective_value"]) == (0.1, 2.0, -1.25)
    assert row["predicted_gradient_profile_log10"] == -request.length
    # The value itself is too small for a number, so the error of its logarithm is not known.
    assert row["predicted_gradient_profile_log10_error"] is None
    assert row["predicted_input_sensitivity_log10_error"] == pytest.approx(0.1 / np.log(10))


def test_parquet_has_types_and_profiles(path: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export_table(path, tmp_path / "it.parquet") == len(REQUESTS) + 1
    table = parquet.read_table(tmp_path / "it.parquet")
    rows = table.to_pylist()
    for row, request in zip(rows, REQUESTS, strict=False):
        checked(row, request)
        assert row["bidirectional"] is request.bidirectional
        assert row["signal"] is row["predicted_timescale"] is row["error"] is None
        assert row["gradient_profile_lags"] == [1, 2, request.length]
        assert row["gradient_profile_log10s"] == [-1.0, -2.0, -float(request.length)]
        assert row["input_sensitivity_lags"] == [1, 2]
    assert (rows[-1]["error"], rows[-1]["predicted_chi"]) == ("it, «failed» badly", None)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["length"], kinds["predicted_chi"], kinds["cell"]) == ("int64", "double", "string")
    assert kinds["gradient_profile_log10s"].startswith("list<")


def test_csv_has_the_same_numbers(path: Path, tmp_path: Path) -> None:
    assert export_table(path, tmp_path / "it.csv") == len(REQUESTS) + 1
    with (tmp_path / "it.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    texts = ("cell", "key", "method", "error", "objective", "regime", "ensemble")
    for row, request in zip(rows, REQUESTS, strict=False):
        numbers = {name: float(text) if text else None for name, text in row.items() if name not in texts}
        checked({**row, **numbers}, request)
    assert rows[-1]["error"] == "it, «failed» badly"


def test_json_lines_have_whole_recipes(path: Path, tmp_path: Path) -> None:
    assert export_table(path, tmp_path / "it.jsonl") == len(REQUESTS) + 1
    lines = [json.loads(line) for line in (tmp_path / "it.jsonl").read_text().splitlines()]
    for line, request in zip(lines, REQUESTS, strict=False):
        assert line["recipe"] == json.loads(json.dumps(recipe_like(request)))
        assert Request.model_validate(line["request"]) == request
    assert (lines[-1]["recipe"], lines[-1]["error"]) == (None, "it, «failed» badly")


def test_exports_appear_whole_or_not_at_all(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "it.csv"
    target.write_text("before")

    def fail(*_: object) -> int:
        raise OSError("no space")

    monkeypatch.setattr(table_export, "_csv", fail)
    with pytest.raises(OSError, match="no space"):
        export_table(path, target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(InvalidInput, match=r"to: must end in .parquet, .csv, .jsonl, got 'it.xlsx'"):
        export_table(path, tmp_path / "it.xlsx")


def test_an_export_without_pyarrow_says_what_to_install(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match="Parquet needs pyarrow; run 'pip install"):
        export_table(path, tmp_path / "it.parquet")


def test_a_heat_map_is_the_mean_over_seeds(path: Path, tmp_path: Path) -> None:
    found = heat_map(path, "chi", across="length", up="hidden", where={"cell": "gru"})
    assert (found.number, found.columns, found.rows) == ("predicted_chi", (5, 50, 500), (4, 64))
    np.testing.assert_allclose(found.values, [[1.5 - 1.0 / length for length in (5, 50, 500)]] * 2, rtol=1e-15)
    assert np.all(found.counts == 2)
    found.plot(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes()[:4] == b"\x89PNG"
    cells = heat_map(path, "objective_value", across="cell", up="length", where={"hidden": 4})
    assert cells.columns == ("gru", "lstm")


def test_scattered_rows_are_points(tmp_path: Path) -> None:
    with Store(tmp_path / "it.sqlite", write=True) as store, store.changes():
        for k in range(20):
            request = Request(cell="gru", length=5 + 17 * k, hidden=400 - 11 * k, inputs=2)
            store.put(request.key("m"), "m", request, perform(recipe_like, request.model_dump_json()))
    found = heat_map(tmp_path / "it.sqlite", "chi", across="length", up="hidden")
    assert np.count_nonzero(np.isfinite(found.values)) == found.counts.sum() == 20
    found.plot(tmp_path / "it.svg")
    assert "<svg" in (tmp_path / "it.svg").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": "speed"}, "number: the table has .*predicted_chi.*; got 'speed'"),
        ({"across": "chi"}, "across: must be one of cell, length.*, got 'chi'"),
        ({"up": "length"}, "up: must be another field than across"),
        ({"where": {}}, "where: recipes at length 5, hidden 4 differ in cell .*cell=VALUE"),
        ({"where": {"chi": 1}}, "where: must name one of .*, got 'chi'"),
        ({"where": {"cell": "janet"}}, "has no such recipes"),
        ({"number": "timescale"}, "number: predicted_timescale does not exist in any"),
    ],
)
def test_a_picture_that_makes_no_sense_is_refused(path: Path, change: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"number": "chi", "across": "length", "up": "hidden", "where": {"cell": "gru"}} | change
    with pytest.raises(InvalidInput, match=message):
        heat_map(path, asked.pop("number"), **asked)
