"""Time of singular-value densities, beside drawing and decomposing dense matrices. Prints a table.

    python benchmarks/singular_values.py [--repeats 3] [--units 1000] [--points 400] [--width 1024] [--output FILE]

Each job runs on the coefficients of one population of the network at its last step. Minima over the repeats are shown:
elapsed time, and processor time over all threads. The peer is what one does without theory: matrices are drawn for the
same coefficients, and their singular values are computed; its error is the scatter of their distribution functions.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.sampling.population import Layout
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity
from meanfield.solvers.threads import cores, one_blas_thread
from meanfield.trajectory import run
from meanfield.validation.dense_circuits import dense_jacobian

NETWORKS = {
    "gru": mf.Network("gru", dict.fromkeys("fr", mf.Gate(1.5, 0.5, 0.0, 0.3)) | {"h": mf.Gate(3.0, 0.5, 0.0, 0.3)}),
    "lstm": mf.Network("lstm", dict.fromkeys("fio", mf.Gate(1.0, 0.5, 0.0, 0.2)) | {"g": mf.Gate(2.0, 1.0, 0.0, 0.2)}),
}


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


def decompose(sample: CircuitSample) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with one_blas_thread():
        matrix = dense_jacobian(sample, np.random.default_rng(0))
        return np.asarray(np.linalg.svd(matrix, compute_uv=False))


def rows(name: str, network: mf.Network, arguments: argparse.Namespace) -> list[tuple[str, float, float, str]]:
    sample, wide = (coefficients(network, units) for units in (arguments.units, arguments.width))
    law = SingularDensity(sample)
    points = np.linspace(0.0, 1.02 * law.outer_edge.value, arguments.points)[1:]
    jobs: dict[str, Callable[[], object]] = {
        f"{name}: density, {arguments.points} points, {arguments.units} units": lambda: law.density(
            points
        ).errors.max(),
        f"{name}: distribution, as many": lambda: law.distribution(points).errors.max(),
        f"{name}: both edges": lambda: (
            SingularDensity(sample).outer_edge.error + SingularDensity(sample).inner_edge.error
        ),
        f"{name}: nine quantiles": lambda: law.quantile(np.arange(1, 10) / 10).errors.max(),
    }
    found = []
    for label, job in jobs.items():
        elapsed, spent, error = timed(job, arguments.repeats)
        found.append((label, elapsed, spent, f"{error:.1e}"))
    elapsed, spent, values = timed(lambda: decompose(wide), arguments.repeats)
    values = np.sort(np.asarray(values))
    predicted = SingularDensity(wide).distribution(values).values
    distance = np.max(np.abs(predicted - (np.arange(len(values)) + 0.5) / len(values)))
    found.append((f"{name}: draw and decompose one matrix, N = {arguments.width}", elapsed, spent, f"{distance:.1e}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of singular-value densities.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    table = Table(title=f"Python {platform.python_version()}, {platform.machine()}, {cores()} cores", title_style="")
    for heading in ("job", "elapsed s", "processor s", "largest error"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for name, network in NETWORKS.items():
        for label, elapsed, spent, error in rows(name, network, arguments):
            table.add_row(label, f"{elapsed:.2f}", f"{spent:.2f}", error)
    Console(width=120).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120).print(table)


if __name__ == "__main__":
    main()
