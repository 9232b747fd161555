"""What times of theories of one step's Jacobian share: coefficients, the dense matrix beside them, and the table."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.sampling.population import Layout
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.threads import cores, one_blas_thread
from meanfield.trajectory import run
from meanfield.validation.dense_circuits import dense_jacobian

Row = tuple[str, float, float, str]

GRU = mf.Network("gru", dict.fromkeys("fr", mf.Gate(1.5, 0.5, 0.0, 0.3)) | {"h": mf.Gate(3.0, 0.5, 0.0, 0.3)})
LSTM = mf.Network("lstm", dict.fromkeys("fio", mf.Gate(1.0, 0.5, 0.0, 0.2)) | {"g": mf.Gate(2.0, 1.0, 0.0, 0.2)})


def coefficients(network: mf.Network, units: int) -> CircuitSample:
    """Of one group of this many units."""
    trajectory = run(network, mf.Inputs(), length=30, layout=Layout(groups=2, units=units), start="zero")
    return trajectory.snapshots()[-1].taken(np.array(0))


def timed(job: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    """Smallest elapsed and processor times, and what the job returned."""
    elapsed, spent, found = [], [], None
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        found = job()
        elapsed.append(time.perf_counter() - start)
        spent.append(time.process_time() - used)
    return min(elapsed), min(spent), found


def rows_of(name: str, jobs: Mapping[str, Callable[[], object]], repeats: int) -> list[Row]:
    """Times of jobs of one network that return their error, or None where they have none."""
    found = []
    for label, job in jobs.items():
        elapsed, spent, error = timed(job, repeats)
        found.append((f"{name}: {label}", elapsed, spent, "" if error is None else f"{error:.1e}"))
    return found


def row_of_matrix(
    name: str,
    sample: CircuitSample,
    decompose: Callable[[NDArray[np.float64]], object],
    error: Callable[[CircuitSample, object], float],
    repeats: int,
) -> Row:
    """Time of drawing a matrix with these coefficients and decomposing it, and how far theory is from what it has."""

    def job() -> object:
        with one_blas_thread():
            return decompose(dense_jacobian(sample, np.random.default_rng(0)))

    elapsed, spent, values = timed(job, repeats)
    label = f"{name}: draw and decompose one matrix, N = {sample.state_to_state.shape[-3]}"
    return label, elapsed, spent, f"{error(sample, values):.1e}"


def command(description: str, **sizes: int) -> argparse.Namespace:
    """The options of the command line: repeats, the output, and sizes with their defaults."""
    parser = argparse.ArgumentParser(description=description)
    for name, size in {"repeats": 3, **sizes}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    return parser.parse_args()


def print_table(rows: Iterable[Row], digits: int, output: Path | None) -> None:
    """Print the rows, their times with this many decimal places; into a file too."""
    table = Table(title=f"Python {platform.python_version()}, {platform.machine()}, {cores()} cores", title_style="")
    for heading in ("job", "elapsed s", "processor s", "largest error"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for label, elapsed, spent, error in rows:
        table.add_row(label, f"{elapsed:.{digits}f}", f"{spent:.{digits}f}", error)
    Console(width=120).print(table)
    if output:
        with output.open("w") as stream:
            Console(file=stream, width=120).print(table)
