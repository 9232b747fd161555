"""Time of eigenvalue boundaries and densities, beside drawing and decomposing dense matrices. Prints a table.

    python benchmarks/eigenvalues.py [--repeats 3] [--units 1000] [--rays 72] [--grid 40] [--width 1024] [--output FILE]

Each job runs on the coefficients of one population of the network at its last step. Minima over the repeats are shown:
elapsed time, and processor time over all threads. The peer is what one does without theory: a matrix is drawn for the
same coefficients, and its eigenvalues are computed; its error is the largest distance of their distribution of real
parts from the predicted one.
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
from meanfield.solvers.eigenvalue_boundary import SupportBoundary
from meanfield.solvers.eigenvalue_density import EigenvalueDensity
from meanfield.solvers.threads import cores, one_blas_thread
from meanfield.trajectory import run
from meanfield.validation.dense_circuits import dense_jacobian

NETWORKS = {
    "gru": mf.Network("gru", dict.fromkeys("fr", mf.Gate(1.5, 0.5, 0.0, 0.3)) | {"h": mf.Gate(3.0, 0.5, 0.0, 0.3)}),
    "gru_reset_after": mf.Network(
        "gru_reset_after", dict.fromkeys("fr", mf.Gate(1.5, 0.5, 0.0, 0.3)) | {"h": mf.Gate(3.0, 0.5, 0.0, 0.3)}
    ),
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


def decompose(sample: CircuitSample) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    with one_blas_thread():
        matrix = dense_jacobian(sample, np.random.default_rng(0))
        return np.asarray(np.linalg.eigvals(matrix))


def distance(law: EigenvalueDensity, values: np.ndarray[tuple[int], np.dtype[np.complex128]]) -> float:
    """Largest difference of the distributions of real parts, at 24 quantiles."""
    real = np.sort(values.real)
    at = real[(np.arange(24) + 0.5).astype(int) * len(real) // 24]
    predicted = [law.mass_in_box(-np.inf, x).value for x in at]
    return float(np.max(np.abs(np.searchsorted(real, at, side="right") / len(real) - predicted)))


def rows(name: str, network: mf.Network, arguments: argparse.Namespace) -> list[tuple[str, float, float, str]]:
    sample, wide = (coefficients(network, units) for units in (arguments.units, arguments.width))
    law = EigenvalueDensity(sample)
    boundary = SupportBoundary(law.potential)
    angles = 2.0 * np.pi * np.arange(arguments.rays) / arguments.rays
    reached = boundary.centre + boundary.radii(angles).values * np.exp(1j * angles)
    x, y = (np.linspace(part.min(), part.max(), arguments.grid) for part in (reached.real, reached.imag))
    points = (x[None, :] + 1j * y[:, None]).ravel()
    jobs: dict[str, Callable[[], object]] = {
        f"units' polynomials, {arguments.units} units": lambda: EigenvalueDensity(sample) and None,
        "edge": lambda: boundary.radii([0.0]).errors.max(),
        f"boundary, {arguments.rays} rays": lambda: boundary.radii(angles).errors.max(),
        "spectral radius": lambda: boundary.spectral_radius().error,
        "contours": lambda: max(
            float(np.max(np.abs(law.potential.log_radius(contour.points)))) for contour in boundary.outline().contours
        ),
        f"density, {arguments.grid} × {arguments.grid} points": lambda: law.density(points).errors.max(),
        "slow modes within 0.1": lambda: law.mass_in_disc(1.0, 0.1).error,
    }
    found = []
    for label, job in jobs.items():
        elapsed, spent, error = timed(job, arguments.repeats)
        found.append((f"{name}: {label}", elapsed, spent, "" if error is None else f"{error:.1e}"))
    elapsed, spent, values = timed(lambda: decompose(wide), arguments.repeats)
    error = distance(EigenvalueDensity(wide), np.asarray(values))
    found.append((f"{name}: draw and decompose one matrix, N = {arguments.width}", elapsed, spent, f"{error:.1e}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of eigenvalue boundaries and densities.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--rays", type=int, default=72)
    parser.add_argument("--grid", type=int, default=40)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    table = Table(title=f"Python {platform.python_version()}, {platform.machine()}, {cores()} cores", title_style="")
    for heading in ("job", "elapsed s", "processor s", "largest error"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for name, network in NETWORKS.items():
        for label, elapsed, spent, error in rows(name, network, arguments):
            table.add_row(label, f"{elapsed:.3f}", f"{spent:.3f}", error)
    Console(width=120).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=120).print(table)


if __name__ == "__main__":
    main()
