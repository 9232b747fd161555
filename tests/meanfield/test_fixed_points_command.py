"""``meanfield fixed-points``: closed maps from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app

GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_std=0.3)
GRU = mf.Network("gru", {"f": GATE, "r": GATE, "h": mf.Gate(3.0, 0.5, 0.0, 0.3)})


def network_file(folder: Path, network: mf.Network) -> str:
    path = folder / "network.json"
    path.write_text(json.dumps(network.as_json()))
    return str(path)


def test_numbers_are_those_of_chains(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["fixed-points", network_file(tmp_path, GRU), "--overlap", "0.5", "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    seen = mf.sample(GRU, mf.Inputs(overlap=0.5), chains=1 << 16, device="cpu")
    (point,) = found["overlaps"]
    for closed, sampled in (
        (found["second_moment"], seen.law.second_moment["s"]),
        (found["chi"], seen.growth.chi),
        (point["overlap"], seen.pair.overlap),
        (point["slope"], seen.decorrelation.chi),
    ):
        assert closed["error"] < 1e-10
        assert abs(closed["value"] - sampled.value) < 4.5 * sampled.error + 2e-4 * sampled.value
    assert point["stable"] is point["reached"] is True


def test_the_table_names_every_fixed_point(tmp_path: Path) -> None:
    chaotic = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=3.0)})
    done = CliRunner().invoke(app, ["fixed-points", network_file(tmp_path, chaotic), "--power", "0"])
    assert done.exit_code == 0, done.stderr
    assert "unstable" in done.stdout
    assert "reached from uncorrelated states" in done.stdout


@pytest.mark.parametrize(
    ("network", "arguments", "code", "message"),
    [
        (
            mf.Network("lstm", {gate: mf.Gate(1.0, 0.5, 50.0) for gate in "ifgo"}),
            [],
            1,
            "rounding allows 1e+10 at most",
        ),
        (GRU, ["--overlap", "2"], 2, "overlap: must be from -1 to 1, got 2.0"),
        (GRU, ["--power", "-1"], 2, "power: must be at least 0, got -1.0"),
    ],
)
def test_errors_are_one_sentence(
    tmp_path: Path, network: mf.Network, arguments: list[str], code: int, message: str
) -> None:
    done = CliRunner().invoke(app, ["fixed-points", network_file(tmp_path, network), *arguments])
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
