"""Time and memory of tied populations, forward pass and both gradient profiles, and how they grow with units and steps.

    python benchmarks/populations.py [--repeats 3] [--output FILE] [--plot FILE]

Prints a table; with ``--plot`` also draws time against units and against steps (needs matplotlib). Runs are interleaved
and medians are shown; memory is the peak of what arrays and objects take.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.solvers.threads import cores

GATES = {
    "i": mf.Gate(1.0, 0.5, 0.0, 0.2),
    "f": mf.Gate(1.0, 0.5, 1.0, 0.2),
    "g": mf.Gate(2.0, 1.0, 0.0, 0.2),
    "o": mf.Gate(1.0, 0.5, 0.0, 0.2),
}
LSTM = mf.Network("lstm", GATES)
CASES = ((2048, 784), (16384, 200))
UNITS = (1024, 2048, 4096, 8192, 16384)
STEPS = (50, 100, 200, 400, 784, 1568)


def run(units: int, steps: int) -> float:
    start = time.perf_counter()
    mf.gradients(LSTM, mf.Inputs(), length=steps, units=units)
    return time.perf_counter() - start


def medians(cases: list[tuple[int, int]], repeats: int) -> dict[tuple[int, int], float]:
    run(1024, 20)  # compiles, or reads what has been compiled
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(repeats):
        for case in cases:
            times.setdefault(case, []).append(run(*case))
    return {case: statistics.median(taken) for case, taken in times.items()}


def peak_megabytes(units: int, steps: int) -> float:
    code = (
        "import tracemalloc, populations\n"
        "populations.run(1024, 20)\n"
        "tracemalloc.start()\n"
        f"populations.run({units}, {steps})\n"
        "print(tracemalloc.get_traced_memory()[1] / 2**20)\n"
    )
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True).stdout)


def plot(by_units: dict[int, float], by_steps: dict[int, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True, sharey=True)
    for axis, taken, label in (
        (axes[0], by_units, f"units, at {CASES[1][1]} steps"),
        (axes[1], by_steps, f"steps, at {CASES[0][0]} units"),
    ):
        sizes, seconds = list(taken), list(taken.values())
        axis.loglog(sizes, seconds, "o-", color="#0072B2")
        axis.loglog(sizes, [seconds[-1] * size / sizes[-1] for size in sizes], ":", color="#555555", label="linear")
        axis.set_xlabel(label)
        axis.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[0].set_ylabel("seconds")
    figure.suptitle("LSTM, tied: forward pass and both gradient profiles", fontsize=10)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of tied populations.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    parser.add_argument("--plot", type=Path, help="draw how time grows with units and steps")
    arguments = parser.parse_args()
    cases = list(CASES)
    if arguments.plot:
        cases = list(dict.fromkeys([*cases, *((n, CASES[1][1]) for n in UNITS), *((CASES[0][0], t) for t in STEPS)]))
    times = medians(cases, arguments.repeats)
    table = Table(
        title=f"LSTM, tied, forward pass and both gradient profiles; {cores()} cores, {platform.machine()}",
        title_style="",
    )
    for heading in ("units", "steps", "seconds", "peak MB"):
        table.add_column(heading, justify="right")
    for units, steps in cases:
        memory = f"{peak_megabytes(units, steps):.0f}"
        table.add_row(str(units), str(steps), f"{times[units, steps]:.2f}", memory)
    Console(width=120, markup=False).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120, markup=False).print(table)
    if arguments.plot:
        by_units = {n: times[n, CASES[1][1]] for n in UNITS}
        plot(by_units, {t: times[CASES[0][0], t] for t in STEPS}, arguments.plot)


if __name__ == "__main__":
    main()
