"""The choice of a device: what is there is used, and what is missing is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meanfield.sampling.devices import DeviceChoice, choose_device

# A process of its own, in which there is no GPU even if the machine has one.
CHOICE = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("numba").setLevel(logging.ERROR)
from meanfield.sampling.devices import NoDevice, choose_device
{before}
for choice in {choices}:
    try:
        print(choose_device(choice))
    except NoDevice as error:
        print("NoDevice", error)
print("numba.cuda" in sys.modules)
"""


def choose(where: Path, *choices: str, before: str = "", simulator: bool = False) -> list[str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": str(int(simulator))}
    done = subprocess.run(
        [sys.executable, "-c", CHOICE.format(before=before, choices=choices)],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_without_a_gpu_auto_is_the_cpu_and_says_so_once(tmp_path: Path) -> None:
    said, first, second, _ = choose(tmp_path, "auto", "auto")
    assert said.startswith("meanfield INFO sampling on the CPU: ")
    assert (first, second) == ("cpu", "cpu")


def test_without_a_gpu_cuda_is_an_error_that_names_what_is_missing(tmp_path: Path) -> None:
    said, _ = choose(tmp_path, "cuda")
    assert said.startswith("NoDevice CUDA cannot be used: ")
    assert "there is no NVIDIA GPU here" in said or "pip install 'meanfield-rnn[cuda]'" in said


def test_without_the_package_cuda_is_an_error_that_says_how_to_install_it(tmp_path: Path) -> None:
    said, imported = choose(tmp_path, "cuda", before="sys.modules['numba_cuda'] = None")
    assert said == (
        "NoDevice CUDA cannot be used: the package numba-cuda is not installed; pip install 'meanfield-rnn[cuda]'"
    )
    assert imported == "False"


def test_the_cpu_needs_no_cuda(tmp_path: Path) -> None:
    assert choose(tmp_path, "cpu") == ["cpu", "False"]


def test_the_simulator_counts_where_cuda_is_asked_for(tmp_path: Path) -> None:
    said = choose(tmp_path, "cuda", "auto", simulator=True)
    assert said[:3] == ["cuda", "meanfield INFO sampling on the CPU: CUDA is simulated here", "cpu"]


def test_an_unknown_device_is_an_error_that_names_the_known_ones() -> None:
    unknown: DeviceChoice = "tpu"  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"must be 'auto', 'cpu' or 'cuda', got 'tpu'"):
        choose_device(unknown)


STARTED = """
from meanfield.cells import find
from meanfield.sampling.device_chains import start_chains
from meanfield.sampling.programs import stationary_program

program = stationary_program(find("lstm"))
for device in ("cpu", "cuda"):
    chains = start_chains(program, [dict.fromkeys(program.parameters, 0.5)], chains=1, seed=0, device=device)
    print(type(chains).__name__, chains.chains, chains.states.shape)
"""


def test_chains_start_on_the_device_that_is_chosen(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "MEANFIELD_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["CPUChains 512 (1, 512)", "CUDAChains 512 (1, 512)"]
