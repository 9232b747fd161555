"""Analyses on CUDA, in its simulator, give what they give on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import meanfield as mf

PROGRAM = """
import json
import numpy as np
import meanfield as mf

network = mf.Network("janet", {"f": mf.Gate(1.0, 0.5, 1.0), "g": mf.Gate(1.0, 0.5)})
found = []
# The simulator adds words as NumPy does, which warns where they wrap.
with np.errstate(over="ignore"):
    for device in ("cpu", "cuda"):
        gradients = mf.gradients(network, length=2, start="zero", units=64, groups=2, device=device)
        found.append([*gradients.profile.log_values, *gradients.sensitivity.log_values, gradients.log_spread.value])
print(json.dumps(found))
"""


def test_gradients_are_the_same_on_both_devices(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    on_cpu, on_cuda = json.loads(done.stdout)
    assert np.all(np.isfinite(on_cpu))
    np.testing.assert_allclose(on_cuda, on_cpu, rtol=1e-4, atol=1e-5)


def test_devices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(1.0, 0.5)})
    with pytest.raises(mf.InvalidInput, match="device: must be 'auto', 'cpu' or 'cuda', got 'gpu'"):
        mf.gradients(network, length=2, units=64, groups=2, device="gpu")  # type: ignore[arg-type]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    code = (
        "import meanfield as mf\n"
        "network = mf.Network('vanilla', {'h': mf.Gate(1.0, 0.5)})\n"
        "try:\n"
        "    mf.gradients(network, length=2, device='cuda')\n"
        "except mf.Infeasible as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("device: CUDA cannot be used: ")
    assert done.stdout.count("\n") == 1
