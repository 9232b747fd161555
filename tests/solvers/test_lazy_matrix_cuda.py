"""The GPU's lazily revealed matrices are the CPU's, in CUDA's simulator, which runs kernels as Python threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# What both devices do. The simulator has to be chosen before numba is first imported, hence a process of its own.
PROGRAM = """
import sys
import numpy as np
import meanfield.solvers.lazy_matrix_cuda as lazy_matrix_cuda
from meanfield.solvers.lazy_matrix import LazyGaussianMatrix, apply_conditioned

lazy_matrix_cuda.THREADS = 2
GROUPS, UNITS = 2, 7


def matrix(device, *, seed=0, rows=2 * UNITS, columns=UNITS, most=40, remember=True):
    generators = [np.random.default_rng([seed, group]) for group in range(GROUPS)]
    return LazyGaussianMatrix(
        generators, rows=rows, columns=columns, units=UNITS, most_vectors=most, remember=remember, device=device
    )


def normals(seed, count, columns=UNITS):
    return np.random.default_rng(seed).standard_normal((GROUPS, count, columns)).astype(np.float32)


def one_by_one(lazy, vectors):
    return np.concatenate([lazy.apply(vectors[:, k : k + 1]) for k in range(vectors.shape[1])], axis=1)


def cases(device):
    found = {}
    slow = 1.0 + 0.1 * np.cumsum(normals(1, 9), axis=1)
    lazy = matrix(device)
    found["slow"] = one_by_one(lazy, slow.astype(np.float32))
    found["slow basis"], found["slow images"] = lazy.revealed
    several = normals(2, 4)
    several[:, 1] = several[:, 0]
    several[0, 2] = 0.0
    lazy = matrix(device)
    found["nothing revealed"] = lazy.revealed[0]
    found["several"] = lazy.apply(several)
    found["several again"] = lazy.apply(several[:, 1::-1])
    found["several basis"] = lazy.revealed[0]
    found["one more"] = lazy.apply(normals(3, 1))
    lazy = matrix(device, remember=False)
    found["forgetful"] = np.concatenate([lazy.apply(normals(4, count)) for count in (2, 1, 2)], axis=1)
    for name, size in (("small", 1e-30), ("large", 1e30), ("no number", np.nan)):
        odd, lazy = normals(5, 1), matrix(device)
        lazy.apply(odd)
        odd[1] = size * odd[1]
        with np.errstate(over="ignore", invalid="ignore"):
            found[name] = lazy.apply(odd)
        if np.isfinite(size):
            found[name][1] /= size
    transpose = matrix(device, seed=6, rows=UNITS, columns=2 * UNITS)
    one_by_one(transpose, normals(7, 4, 2 * UNITS))
    for remember in (True, False):
        fresh, known = matrix(device, seed=8, remember=remember), transpose.revealed
        p = normals(9, 6)
        p[:, 2] = p[:, 1] + np.float32(1e-4) * p[:, 2]
        parts = p[:, :1], p[:, 1:3], p[:, 3:4], p[:, 4:]
        images = [apply_conditioned(part, fresh, known, units=UNITS) for part in parts]
        found[f"conditioned {remember}"] = np.concatenate(images, axis=1)
    return found
"""


def found_on(device: str) -> dict[str, NDArray[np.float32]]:
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    return names["cases"](device)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float32]]:
    where = tmp_path_factory.mktemp("simulated")
    # Unlike a GPU, the simulator warns of numbers that leave their range.
    warnings = "-W", "error", "-W", "ignore::RuntimeWarning"
    program = PROGRAM + "\nnp.savez(sys.argv[1], **cases('cuda'))"
    subprocess.run(
        [sys.executable, *warnings, "-c", program, "found.npz"],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=where,
        check=True,
    )
    with np.load(Path(where) / "found.npz") as found:
        return dict(found)


def test_the_simulated_gpu_agrees_with_the_cpu(simulated: dict[str, NDArray[np.float32]]) -> None:
    expected = found_on("cpu")
    assert expected.keys() == simulated.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(simulated[name], values, rtol=1e-4, atol=2e-5, err_msg=name)


def test_numbers_out_of_range_stay_out_of_range(simulated: dict[str, NDArray[np.float32]]) -> None:
    assert np.all(np.isfinite(simulated["no number"][0]))
    assert not np.any(np.isfinite(simulated["no number"][1]))
    for name in ("small", "large"):
        assert np.all(np.isfinite(simulated[name]))


def test_without_a_gpu_it_says_so() -> None:
    program = PROGRAM + "\nmatrix('cuda')"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "InvalidInput: device: 'cuda' needs a GPU" in done.stderr
