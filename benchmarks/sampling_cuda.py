"""Chains of the untied LSTM cell state on a GPU: this package, PyTorch on the same GPU, and what the GPU could do.

    python benchmarks/sampling_cuda.py [--chains 4194304] [--steps 100] [--repeats 5] [--output FILE]

c ← σ(u_f)c + σ(u_i)tanh(u_g), h = σ(u_o)tanh(c); every sampler runs `chains` chains from c = 0 and averages over the
second half of `steps`. The ceiling is the rate of a kernel that only multiplies, adds and masks registers, six to two,
about the mixture of the sampler; the sampler's share of it counts the sampler's instructions. Medians after one run
that compiles. Without a GPU it says so in one line and ends.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from meanfield.cells import find
from meanfield.sampling.devices import NoDevice, choose_device
from meanfield.sampling.programs import stationary_program
from meanfield.solvers.kernel_modules import assemble, load

MEANS = {"i": 0.0, "f": 1.0, "g": 0.0, "o": 0.0}
DEVIATIONS = {"i": 0.6, "f": 0.6, "g": 0.9, "o": 0.6}
# In the machine code for compute capability 9.0: of a step, and of one that is measured.
INSTRUCTIONS, INSTRUCTIONS_MEASURED = 137, 163

# A loop of 32 times six products that are added to and two operations on words, all written out.
UNROLLED = "".join(
    "".join(f"        {x} = np.float32({x} * x + x)\n" for x in "abcdef")
    + "        w = np.uint32(np.uint32(w + v) ^ np.uint32(12345))\n"
    for _ in range(32)
)
CEILING = f"""
@kernel
def ceiling(rounds, results):
    thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    x = np.float32(results[thread])
    a, b, c, d, e, f = x, x, x, x, x, x
    v = np.uint32(thread)
    w = np.uint32(v + np.uint32(1))
    for _ in range(rounds):
{UNROLLED}
    results[thread] = a + b + c + d + e + f + np.float32(w)
"""
CEILING_INSTRUCTIONS = 32 * 8


def package_sampler(chains: int, steps: int, seed: int) -> float:
    """E[tanh(c)²] by this package."""
    from meanfield.sampling.chains_cuda import CUDAChains

    program = stationary_program(find("lstm"))
    parameters = {}
    for name in program.parameters:
        word, _, variable = name.partition(" ")
        gate = program.noises[variable][0].split()[-1]
        parameters[name] = (MEANS if word == "mean" else DEVIATIONS)[gate]
    run = CUDAChains(program, [parameters], chains=chains, seed=seed, precision="single")
    run.advance(steps // 2)
    sums = run.advance(steps - steps // 2, measure=True)
    return float(sums[:, -1].sum()) / (run.chains * (steps - steps // 2))


def torch_sampler(chains: int, steps: int, seed: int) -> float:
    """E[tanh(c)²] by eager PyTorch in single precision, updated in place; it draws three normals a step, as we do."""
    import torch

    with torch.inference_mode():
        generator = torch.Generator("cuda").manual_seed(seed)
        c, i, f, g = (torch.zeros(chains, device="cuda") for _ in range(4))
        total = torch.zeros((), device="cuda", dtype=torch.float64)
        for step in range(steps):
            for u, gate in ((i, "i"), (f, "f"), (g, "g")):
                u.normal_(MEANS[gate], DEVIATIONS[gate], generator=generator)
            c.mul_(f.sigmoid_()).addcmul_(i.sigmoid_(), g.tanh_())
            if step >= steps // 2:
                total += torch.tanh(c, out=g).square_().mean()
        return float(total) / (steps - steps // 2)


def samplers() -> dict[str, Callable[[int, int, int], float]]:
    found: dict[str, Callable[[int, int, int], float]] = {"meanfield": package_sampler}
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            found["PyTorch eager, float32"] = torch_sampler
            return found
    print("no PyTorch that uses this GPU is installed: skipping it", file=sys.stderr)
    return found


def instructions_a_second(repeats: int) -> float:
    """Instructions that the threads of the whole GPU do in a second."""
    from numba import cuda

    kernel = load("ceiling", assemble([CEILING], "cuda")).ceiling
    blocks, threads, rounds = 32 * 256, 256, 400
    results = cuda.to_device(np.zeros(blocks * threads, np.float32))

    def run(_: int) -> float:
        kernel[blocks, threads](rounds, results)
        cuda.synchronize()
        return 0.0

    return blocks * threads * rounds * CEILING_INSTRUCTIONS / timed(run, repeats)[0]


def timed(function: Callable[[int], float], repeats: int) -> tuple[float, list[float]]:
    """Median of the seconds that calls with the seeds 1, 2, … take, and their results, after a call that compiles."""
    function(0)
    seconds, results = [], []
    for seed in range(1, repeats + 1):
        start = time.perf_counter()
        results.append(function(seed))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), results


def compare(chains: int, steps: int, repeats: int) -> Table:
    from numba import cuda

    name = cuda.get_current_device().name
    ceiling = instructions_a_second(repeats)
    needed = (INSTRUCTIONS * (steps // 2) + INSTRUCTIONS_MEASURED * (steps - steps // 2)) / steps
    table = Table(
        title=f"{chains} chains, {steps} steps, {name if isinstance(name, str) else name.decode()}\n"
        f"ceiling {ceiling / 1e12:.1f}·10¹² instructions a second, {needed:.0f} of ours a chain-step",
        title_style="",
    )
    for heading in ("sampler", "chains a second", "ns a chain-step", "share of the ceiling", "E[tanh(c)²]"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right")
    for label, sampler in samplers().items():
        seconds, estimates = timed(partial(sampler, chains, steps), repeats)
        share = f"{needed * chains * steps / seconds / ceiling:.0%}" if label == "meanfield" else ""
        nanoseconds = seconds / (chains * steps) * 1e9
        error = np.std(estimates, ddof=1) / len(estimates) ** 0.5 if len(estimates) > 1 else np.nan
        estimate = f"{np.mean(estimates):.7f} ± {error:.0e}"
        table.add_row(label, f"{chains / seconds:.3g}", f"{nanoseconds:.5f}", share, estimate)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Samplers of the LSTM's cell state on a GPU.")
    parser.add_argument("--chains", type=int, default=2**22)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        sys.exit("CUDA is simulated here (NUMBA_ENABLE_CUDASIM): there is nothing to measure")
    try:
        choose_device("cuda")
    except NoDevice as error:
        sys.exit(str(error))
    table = compare(arguments.chains, arguments.steps, arguments.repeats)
    Console(width=120, markup=False).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120, markup=False).print(table)


if __name__ == "__main__":
    main()
