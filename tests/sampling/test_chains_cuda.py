"""Chains on CUDA make what chains on the CPU make: in CUDA's simulator, and as far as compiling, for a real GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# Numba looks at the variable when it is imported, so the simulator gets a process of its own.
SIMULATED = """
import json, sys, warnings
import numpy as np
from meanfield.cells import find
from meanfield.sampling import chain_source_cuda, chains_cuda, programs
from meanfield.sampling.chains import CPUChains

warnings.simplefilter("error")
case = json.loads(sys.argv[1])
chain_source_cuda.FLUSH = case["flush"]
chains_cuda.STEPS_A_LAUNCH = dict.fromkeys(chains_cuda.STEPS_A_LAUNCH, case["steps_a_launch"])
program = getattr(programs, case["program"])(find(case["cell"]))
fixed = {"correlation": 0.6, "residue": 0.8}
parameters = [
    {name: fixed.get(name.split()[0], scale if "deviation" in name else 0.3 * k) for k, name in
     enumerate(program.parameters)}
    for scale in case["deviations"]
]
options = {"chains": case["chains"], "seed": 2**40 + 3, "purpose": 1, "precision": case["precision"]}
found = {}
for name, kind in (("cpu", CPUChains), ("cuda", chains_cuda.CUDAChains)):
    chains = kind(program, parameters, **options)
    for part, (steps, measure) in enumerate(case["advances"]):
        found[f"{name} sums {part}"] = chains.advance(steps, measure=measure)
        found[f"{name} states {part}"] = chains.states.copy()
    assert chains.steps == sum(steps for steps, _ in case["advances"])
    assert (chains.chains, chains.blocks) == (len(chains.advance(0)) * 512, len(chains.advance(0)))
np.savez("found.npz", **found)
"""

DEFAULTS: dict[str, Any] = {
    "program": "stationary_program",
    "precision": "single",
    "deviations": [0.7],
    "chains": 512,
    "advances": [(3, False), (2, True)],
    "flush": 64,
    "steps_a_launch": 2**30,
}


def simulate(where: Path, cell: str, **changes: Any) -> dict[str, NDArray[Any]]:
    """States and sums of both devices after every advance."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "MEANFIELD_CACHE": str(where)}
    case = json.dumps({**DEFAULTS, "cell": cell, **changes})
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED, case], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(where / "found.npz") as file:
        return dict(file)


def check(found: dict[str, NDArray[Any]], parts: int, ulp: float) -> None:
    """Devices agree to ``ulp`` times some ten roundings, of numbers below eight, by half an ulp or by none.

    The compiler for the CPU fuses products with sums and the simulator does not. Sums over 512 chains are taken in
    another order. A wrong or a shifted stream would make differences of the size of the states.
    """
    for part in range(parts):
        cpu, cuda = found[f"cpu states {part}"], found[f"cuda states {part}"]
        assert cuda.dtype == cpu.dtype
        assert cuda.shape == cpu.shape
        np.testing.assert_allclose(cuda, cpu, rtol=40 * ulp, atol=40 * ulp)
        cpu, cuda = found[f"cpu sums {part}"], found[f"cuda sums {part}"]
        assert cuda.dtype == np.float64
        assert cuda.shape == cpu.shape
        size = max(1.0, float(np.abs(cpu).max(initial=0.0)))
        np.testing.assert_allclose(cuda, cpu, rtol=0.0, atol=(40 * ulp + 512 * 2.0**-53) * size)


SINGLE = 2.0**-24  # also for chains in double precision: their normal deviates are single


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        ("lstm", {"deviations": [0.7, 0.1], "chains": 600}),
        ("lstm", {"precision": "double"}),
        ("gru", {"precision": "clamped", "deviations": [2.0]}),
        ("gru", {"precision": "double", "program": "pair_program", "advances": [(2, True)]}),
        ("peephole_lstm", {"program": "pair_program", "advances": [(1, False), (1, True)]}),
        ("vanilla", {"advances": [(1, True)]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_chains_are_those_of_the_cpu(tmp_path: Path, cell: str, changes: dict[str, Any]) -> None:
    found = simulate(tmp_path, cell, **changes)
    if found["cpu states 0"].size:
        assert np.std(found["cpu states 0"]) > 0.01
    check(found, len(changes.get("advances", DEFAULTS["advances"])), SINGLE)


def test_double_precision_is_double(tmp_path: Path) -> None:
    check(simulate(tmp_path, "lstm", precision="double", deviations=[0.0]), 2, 2.0**-53)


def test_long_runs_are_many_launches_and_sums_are_flushed(tmp_path: Path) -> None:
    """An LSTM's cycle is two steps: launches of 2, 2 and 1, and within a launch of all steps, a flush after two."""
    advances = [(5, True), (1, True)]
    launched = simulate(tmp_path, "lstm", advances=advances, steps_a_launch=1)
    check(launched, 2, SINGLE)
    flushed = simulate(tmp_path, "lstm", advances=advances, flush=2)
    check(flushed, 2, SINGLE)
    np.testing.assert_array_equal(flushed["cuda states 1"], launched["cuda states 1"])


REFUSED = """
from types import SimpleNamespace
from meanfield.cells import find
from meanfield.sampling import chains_cuda, programs

program = programs.stationary_program(find("lstm"))
memory = SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=10**9))
chains_cuda.cuda.current_context = lambda: memory
chains_cuda.CUDAChains(program, [dict.fromkeys(program.parameters, 0.5)], chains=10**9, seed=0)
"""


def test_chains_beyond_the_memory_of_the_gpu_are_refused(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "MEANFIELD_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "MemoryError: 1,000,000,000 chains on the GPU need 20." in done.stderr


# Compiling asks the device for its capability and for nothing else, so it is done for one that is not there.
COMPILED = """
import json, sys
from types import SimpleNamespace
from numba import cuda, types
from numba.cuda import dispatcher
from meanfield.cells import find
from meanfield.sampling import chain_source_cuda, programs

capability = (9, 0)
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
program = programs.pair_program(find(sys.argv[1]))
kernels = chain_source_cuda.cuda_kernels(program, sys.argv[2])
real, words, sums = (types.Array(kind, 2, "C") for kind in (
    types.float64 if sys.argv[2] == "double" else types.float32, types.uint32, types.float64))
arguments = (types.int64, words, real, real, types.int64)
signatures = {
    "start": (types.uint32, types.uint32, types.uint32, words, real),
    "run": arguments,
    "run_measured": (*arguments, sums),
}
texts = {}
for name, signature in signatures.items():
    kernel = getattr(kernels, name)
    fast = kernel.targetoptions["fastmath"]
    texts[name], _ = cuda.compile_ptx(kernel.py_func, signature, cc=capability, fastmath=fast)
print(json.dumps(texts))
"""

COMPILER = """
from numba.cuda.cudadrv import nvrtc, nvvm
nvrtc.get_supported_ccs()
print(nvvm.is_available())
"""


def has_compiler() -> bool:
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    done = subprocess.run([sys.executable, "-c", COMPILER], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "True"


@pytest.fixture(scope="module")
def compiler() -> None:
    if not has_compiler():
        pytest.skip("needs the package numba-cuda with the CUDA toolkit's compiler: pip install 'numba-cuda[cu13]'")


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("cell", "precision"), [("lstm", "single"), ("gru_reset_after", "clamped"), ("gru", "double")])
def test_kernels_compile_for_a_gpu(tmp_path: Path, cell: str, precision: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment["MEANFIELD_CACHE"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, cell, precision],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts: dict[str, str] = json.loads(done.stdout)
    for text in texts.values():
        assert "call" not in text.split()  # everything is inlined
        assert ".local" not in text  # and lives in registers
    run = texts["run"]
    assert run.count("fma.rn") > 50
    assert "div.full.ftz.f32" in run or precision == "double"
    if precision != "double":
        assert ".f64" not in run
        # The constant of exp that rounds to an integer is added and taken away: nothing has been reordered.
        assert "0f4B400000" in run
        assert "0fCB400000" in run
