"""The sampled untied theory as a command: ``meanfield sample``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app

LSTM = mf.Network(
    "lstm",
    {
        "i": mf.Gate(1.0, 0.5, 0.0, 0.2),
        "f": mf.Gate(1.0, 0.5, 1.0, 0.2),
        "g": mf.Gate(2.0, 1.0, 0.0, 0.2),
        "o": mf.Gate(1.0, 0.5, 0.0, 0.2),
    },
)
FILE = LSTM.as_json()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    path = tmp_path / "network.json"
    path.write_text(json.dumps(FILE))
    slow = FILE["gates"] | {"f": FILE["gates"]["f"] | {"bias_mean": 60.0}}
    (tmp_path / "slow.json").write_text(json.dumps(FILE | {"gates": slow}))
    return path


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["sample", *arguments], catch_exceptions=False)


def test_the_command_prints_a_table(network: Path) -> None:
    done = command("network.json", "--chains", "20000", "--length", "8", "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "lstm, untied weights, sampled" in done.stdout
    for name in ("mean_c", "second_moment_h", "overlap", "chi", "timescale", "overlap_slope", "overlap_timescale"):
        assert name in done.stdout
    assert "20,480 chains on the CPU, single precision" in done.stdout


def test_the_command_prints_one_json_object(network: Path) -> None:
    options = ("--chains", "16384", "--length", "12", "--overlap", "0.5", "--power", "2", "--seed", "5")
    command_line = [sys.executable, "-W", "error", "-c", "from meanfield.cli import main; main()", "sample"]
    done = subprocess.run(
        [*command_line, "network.json", *options, "--device", "cpu", "--json"],
        capture_output=True, text=True, check=False, cwd=network.parent,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    numbers = {
        *("mean_c", "mean_h", "second_moment_c", "second_moment_h", "overlap", "chi", "timescale"),
        *("overlap_slope", "overlap_timescale"),
    }
    settings = {
        *("cell", "regime", "length", "network", "inputs", "chains", "burn_in", "steps", "precision", "device", "seed"),
    }
    assert set(found) >= {*numbers, *settings, "gradient_profile"}
    for name in numbers:
        assert set(found[name]) == {"value", "error"}
        assert all(isinstance(each, float) for each in found[name].values()), name
    assert (found["cell"], found["regime"], found["length"], found["seed"]) == ("lstm", "untied", 12, 5)
    assert (found["chains"], found["device"], found["precision"]) == (16384, "cpu", "single")
    assert found["inputs"] == {"kind": "white", "power": 2.0, "overlap": 0.5, "size": 0}
    assert found["network"] == FILE
    assert [row["lag"] for row in found["gradient_profile"]] == [1, 2, 3, 5, 8, 12]
    again = mf.sample(LSTM, mf.Inputs(2.0, 0.5), chains=16384, length=12, seed=5, device="cpu").as_json()
    assert again == found


def test_the_command_writes_histograms(network: Path) -> None:
    done = command(
        "network.json", "--chains", "16384", "--length", "4", "--device", "cpu", "--histogram", "law", "--bins", "7"
    )
    assert done.exit_code == 0
    for name in ("c", "h"):
        assert f"Written to law_{name}.csv." in done.stdout
        lines = (network.parent / f"law_{name}.csv").read_text().splitlines()
        assert lines[0] == "from,to,density,error"
        table = np.array([line.split(",") for line in lines[1:]], float)
        assert table.shape == (7, 4)
        np.testing.assert_allclose(np.sum((table[:, 1] - table[:, 0]) * table[:, 2]), 1.0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("absent.json",), 2, "absent.json: cannot be read"),
        (("network.json", "--chains", "0"), 2, "chains: must be a whole number of at least 1, got 0"),
        (("network.json", "--steps", "1"), 2, "steps: must be a whole number of at least 2, got 1"),
        (("network.json", "--burn-in", "-1"), 2, "burn_in: must be a whole number of at least 0, got -1"),
        (("network.json", "--overlap", "2"), 2, "overlap: must be from -1 to 1, got 2.0"),
        (("network.json", "--power", "-1"), 2, "power: must be"),
        (("network.json", "--threads", "0"), 2, "threads: must be a whole number of at least 1, got 0"),
        (("network.json", "--length", "1", "--chains", "16384"), 2, "length: must be a whole number of at least 2"),
        (("network.json", "--histogram", "no/where"), 1, "no/where_c.csv: cannot be written"),
        (("slow.json",), 1, "the keep gate does not let go of anything"),
        (("network.json", "--chains", "10000000000", "--steps", "2"), 1, "GB of memory"),
    ],
)
def test_errors_are_one_sentence_with_an_exit_code(
    arguments: tuple[str, ...], code: int, message: str, network: Path
) -> None:
    done = command(*arguments, "--device", "cpu")
    assert done.exit_code == code
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_gpu_that_is_not_there_is_one_sentence(network: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from meanfield.cli import main; main()", "sample", "network.json", "--device", "cuda"],
        capture_output=True, text=True, check=False, cwd=network.parent,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("meanfield: device: CUDA cannot be used: ")
    assert done.stderr.count("\n") == 1
