"""``meanfield critical``: critical points and surfaces from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app
from meanfield.critical_points import critical_point

GATE = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
GRU = mf.Network("gru", dict.fromkeys("frh", GATE))
ASKED = ["--parameter", "h.recurrent_gain", "--within", "0", "8", "--points", "9"]
SURFACE = ["--against", "f.bias_mean", "--values", "-1:4:2"]


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(GRU.as_json()))
    return str(path)


def test_a_point(network: str) -> None:
    done = CliRunner().invoke(app, ["critical", network, *ASKED, "--json"])
    assert done.exit_code == 0, done.stderr
    expected = critical_point(GRU, "h.recurrent_gain", within=(0.0, 8.0), points=9)
    assert json.loads(done.stdout) == json.loads(json.dumps(expected.as_json()))
    shown = CliRunner().invoke(app, ["critical", network, *ASKED])
    assert f"{expected.value.value:.12g}" in shown.stdout


def test_a_surface(network: str, tmp_path: Path) -> None:
    path = tmp_path / "line.csv"
    done = CliRunner().invoke(app, ["critical", network, *ASKED, *SURFACE, "-o", str(path)])
    assert done.exit_code == 0, done.stderr
    assert "never 1" in done.stdout
    with path.open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert 3.0 < float(first["h.recurrent_gain"]) < 4.0
    assert second["h.recurrent_gain"] == ""


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["--within", "0", "2"], 1, "never 1 from 0 to 2"),
        (["--within", "2", "1"], 2, "within: the lowest value must be below"),
        (["--parameter", "o.bias_mean"], 2, "parameter: must be one of"),
        (["--against", "f.bias_mean"], 2, "against and values"),
        ([*SURFACE, "--values", "1:2"], 2, "values: must be FIRST:LAST:COUNT"),
        (["-o", "line.csv"], 2, "output and plot: are for surfaces"),
    ],
)
def test_errors_are_one_sentence(network: str, changes: list[str], code: int, message: str) -> None:
    done = CliRunner().invoke(app, ["critical", network, *ASKED, *changes])
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
