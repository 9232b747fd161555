"""Sampling the LSTM's untied stationary law: this package beside NumPy, PyTorch, JAX and a plain numba loop.

    pip install '.[benchmarks]'
    python benchmarks/sampling.py [--chains 1000000] [--steps 100] [--repeats 5] [--output FILE]

Runs on one core and then on two, each in a process of its own that is pinned to them; runs are interleaved and medians
are shown. Half of the steps are averaged. Compilation is timed with an empty cache and again from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from lstm_peers import DEVIATIONS, MEANS, Peer, peers, pin, threads
from rich.console import Console, Group
from rich.table import Table

from meanfield.cells import find
from meanfield.sampling.averages import factors, observed
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.programs import ChainProgram, stationary_program

GATES = ("i", "f", "g", "o")


@cache
def program_of(integrate: bool) -> ChainProgram:
    return stationary_program(find("lstm"), integrate=integrate)


def ours(
    *_: object, chains: int, steps: int, burn_in: int, seed: int, integrate: bool, count: int
) -> tuple[float, float]:
    """The package's chains; with ``integrate`` the output gate is integrated exactly instead of sampled."""
    program = program_of(integrate)
    parameters = {}
    for gate, mean, deviation in zip(GATES, MEANS, DEVIATIONS, strict=True):
        (noise,) = (name for name, members in program.noises.items() if f"field {gate}" in members)
        parameters |= {f"mean {noise}": mean, f"deviation {noise}": deviation}
    run = CPUChains(program, [parameters], chains=chains, seed=seed, threads=count)
    run.advance(burn_in)
    sums = run.advance(steps - burn_in, measure=True)
    means = np.sum(sums, axis=0) / (run.chains * (steps - burn_in))
    averages = observed(program, factors(program, parameters), means)
    return float(averages["mean h"]), float(averages["square h"])


def samplers(count: int) -> dict[str, Peer]:
    return {
        "meanfield": partial(ours, integrate=True, count=count),
        "meanfield, no gate integrated": partial(ours, integrate=False, count=count),
        **peers(),
    }


def measure(chains: int, steps: int, repeats: int, count: int) -> dict[str, dict[str, list[float]]]:
    """Times in ns a chain-step and estimates of E[h²] of every sampler, from a process pinned to ``count`` cores."""
    pin(count)
    found: dict[str, dict[str, list[float]]] = {}
    with threads(count):
        available = samplers(count)
        for repeat in range(repeats + 1):  # the first compiles
            for name, sampler in available.items():
                start = time.perf_counter()
                _, second = sampler(MEANS, DEVIATIONS, chains=chains, steps=steps, burn_in=steps // 2, seed=repeat)
                taken = (time.perf_counter() - start) / (chains * steps) * 1e9
                entry = found.setdefault(name, {"ns": [], "second": []})
                if repeat:
                    entry["ns"].append(taken)
                entry["second"].append(second)
    return found


def compilation() -> tuple[float, float, float]:
    """Seconds of a first small run with an empty cache and with a full one, and MB above the bare interpreter."""
    code = (
        "import resource, time, numpy\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "from sampling import ours\n"
        "import numba, scipy.special\n"
        "start = time.perf_counter()\n"
        "ours(chains=512, steps=4, burn_in=2, seed=0, integrate=True, count=1)\n"
        "print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "MEANFIELD_CACHE": cache}
        runs = [
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=Path(__file__).parent,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()
            for _ in range(2)
        ]
    return float(runs[0][0]), float(runs[1][0]), float(runs[1][1])


def compare(chains: int, steps: int, repeats: int) -> Group:
    results = []
    for count in (1, 2):
        command = [sys.executable, __file__, "--cores", str(count), "--chains", str(chains)]
        command += ["--steps", str(steps), "--repeats", str(repeats)]
        results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    one, two = results
    modules = ", ".join(f"{each} {version(each)}" for each in ("numpy", "torch", "jax", "numba") if find_spec(each))
    table = Table(
        title=f"{chains:,} chains, {steps} steps, half of them averaged\n{platform.machine()}, {modules}",
        title_style="",
    )
    for heading in ("sampler", "ns a chain-step, 1 core", "of meanfield's", "2 cores", "speed-up", "E[h²]"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right")
    best = statistics.median(next(iter(one.values()))["ns"])
    for name in one:
        single, double = statistics.median(one[name]["ns"]), statistics.median(two[name]["ns"])
        seconds = one[name]["second"] + two[name]["second"]
        error = statistics.stdev(seconds) / len(seconds) ** 0.5
        table.add_row(
            name,
            f"{single:.2f}",
            f"{single / best:.1f} ×",
            f"{double:.2f}",
            f"{single / double:.2f}",
            f"{statistics.mean(seconds):.7f} ± {error:.0e}",
        )
    cold, warm, memory = compilation()
    costs = Table(title="the first run in a process", title_style="")
    for heading in ("compiled", "from the cache", "memory above NumPy"):
        costs.add_column(heading, justify="right")
    costs.add_row(f"{cold:.2f} s", f"{warm:.2f} s", f"{memory:.0f} MB")
    return Group(table, costs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sampling the LSTM's untied stationary law, beside other libraries.")
    parser.add_argument("--chains", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cores is not None:
        print(json.dumps(measure(arguments.chains, arguments.steps, arguments.repeats, arguments.cores)))
        return
    tables = compare(arguments.chains, arguments.steps, arguments.repeats)
    Console(width=120, markup=False).print(tables)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120, markup=False).print(tables)


if __name__ == "__main__":
    main()
