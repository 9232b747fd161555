"""``meanfield spectra``: what it prints, its files, and its errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from meanfield.cli import app

NETWORK = {"cell": "vanilla", "gates": {"h": {"recurrent_gain": 1.0, "input_gain": 0.0}}}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(NETWORK))
    return path


def test_numbers_of_a_network_at_rest(network: Path) -> None:
    # Without inputs and biases J is σ W: a quarter circle and a disc.
    found = CliRunner().invoke(app, ["spectra", str(network), "--hidden", "512", "--power", "0", "--json"])
    assert found.exit_code == 0, found.output
    numbers = json.loads(found.stdout)
    assert numbers["singular_values_m1"]["value"] == pytest.approx(1.0, abs=1e-9)
    assert numbers["singular_values_m2"]["value"] == pytest.approx(2.0, abs=1e-9)
    assert numbers["singular_value_largest"]["value"] == pytest.approx(2.0, abs=1e-6)
    assert numbers["spectral_radius"]["value"] == pytest.approx(1.0, abs=1e-6)
    assert [row["value"] for row in numbers["eigenvalue_boundary"]] == pytest.approx([1.0] * 7, abs=1e-6)
    # A disc of radius 0.1 around a point of the rim is cut by it: a little less than half of it is inside.
    assert numbers["slow_fraction_0.1"]["value"] == pytest.approx(0.005, rel=0.1)


def test_files_and_table(network: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    density, picture = tmp_path / "density.csv", tmp_path / "spectra.png"
    options = ["--hidden", "512", "--length", "8", "--density", str(density), "--plot", str(picture)]
    found = CliRunner().invoke(app, ["spectra", str(network), *options])
    assert found.exit_code == 0, found.output
    assert "vanilla, tied weights, 512 units" in found.stdout
    rows = list(csv.DictReader(density.read_text().splitlines()))
    points, values = (np.array([float(row[name]) for row in rows]) for name in ("singular_value", "density"))
    assert np.trapezoid(values, points) == pytest.approx(1.0, abs=0.02)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--length", "0"], 2, "length: must be"),
        (["--plot", "nowhere/x.png"], 1, "nowhere"),
        (["--hidden", "0"], 2, "hidden"),
    ],
)
def test_bad_input_is_one_sentence(network: Path, options: list[str], code: int, message: str) -> None:
    found = CliRunner().invoke(app, ["spectra", str(network), *options])
    assert found.exit_code == code
    assert message in found.stderr
    assert "Traceback" not in found.stderr
