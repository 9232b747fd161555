"""Time and memory of the analyses, beside simulating the same network in PyTorch. Prints a table.

    python benchmarks/analyses.py [--repeats 5] [--output FILE]

Runs are interleaved, medians are shown. The peer is what one does without theory: layers of the same law are drawn, run
forward, and a random readout of the last state is pulled back by autograd, for as many networks as the analysis has
groups of units.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
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
INPUTS, GROUPS = 28, 8


def analysis(length: int, units: int) -> Callable[[], object]:
    return partial(mf.analyze, LSTM, mf.Inputs(size=INPUTS), length=length, units=units)


def design(length: int) -> Callable[[], object]:
    return partial(mf.recipe, "lstm", length=length, hidden=256, inputs=INPUTS)


def simulation(length: int, width: int) -> Callable[[], object]:
    """Second moment, gradient profile and input sensitivity of layers in PyTorch, after a transient of 64 steps."""

    def run() -> None:
        import torch

        for seed in range(GROUPS):
            torch.manual_seed(seed)
            cell = mf.torch.initialize(torch.nn.LSTMCell(INPUTS, width), LSTM, seed=seed)
            h = c = torch.zeros(1, width)
            states, inputs = [], []
            for step in range(64 + length):
                x = torch.randn(1, INPUTS, requires_grad=step >= 64)
                if step == 64:
                    h = h.detach().requires_grad_()
                    c = c.detach()
                h, c = cell(x, (h, c))
                if step >= 64:
                    h.retain_grad()
                    states.append(h)
                    inputs.append(x)
            (h @ torch.sign(torch.randn(width, 1))).sum().backward()
            [float((state.grad**2).mean()) for state in states if state.grad is not None]

    return run


def import_time() -> float:
    script = "import time; start = time.perf_counter(); import meanfield; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


def jobs() -> dict[str, Callable[[], object]]:
    return {
        "analyze lstm, T=200, 2048 units": analysis(200, 2048),
        "  PyTorch, 8 networks of 256 units, T=200": simulation(200, 256),
        "analyze lstm, T=784, 2048 units": analysis(784, 2048),
        "  PyTorch, 8 networks of 256 units, T=784": simulation(784, 256),
        "recipe lstm, T=200": design(200),
    }


def peak_memory(name: str) -> float:
    """Peak memory in MB of a process that does one job."""
    done = subprocess.run([sys.executable, __file__, "--only", name], capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak_memory() -> float:
    """Peak memory of this process in MB; getrusage would count what its parent had before it."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            float(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the analyses.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    parser.add_argument("--only", help="do one job once and print the process' peak memory in MB")
    arguments = parser.parse_args()
    if arguments.only:
        jobs()[arguments.only]()
        print(own_peak_memory())
        return
    analysis(10, 2048)()  # loads the modules
    imports = [import_time() for _ in range(arguments.repeats)]
    times: dict[str, list[float]] = {name: [] for name in jobs()}
    for _ in range(arguments.repeats):
        for name, job in jobs().items():
            start = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - start)
    table = Table(title=f"Python {platform.python_version()}, {platform.machine()}, {cores()} cores", title_style="")
    for heading in ("job", "median s", "fastest s", "slowest s", "peak MB"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for name, taken in {"import meanfield": imports, **times}.items():
        peak = f"{peak_memory(name):.0f}" if name in times else ""
        figures = (statistics.median(taken), min(taken), max(taken))
        table.add_row(name, *(f"{figure:.3f}" for figure in figures), peak)
    Console(width=120).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120).print(table)


if __name__ == "__main__":
    main()
