"""Time of eigenvalue boundaries and densities, beside drawing and decomposing dense matrices. Prints a table.

    python benchmarks/eigenvalues.py [--repeats 3] [--units 1000] [--rays 72] [--grid 40] [--width 1024] [--output FILE]

Each job runs on the coefficients of one population of the network at its last step. Minima over the repeats are shown:
elapsed time, and processor time over all threads. The peer is what one does without theory: a matrix is drawn for the
same coefficients, and its eigenvalues are computed; its error is the largest distance of their distribution of real
parts from the predicted one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from beside_decompositions import GRU, LSTM, Row, coefficients, command, print_table, row_of_matrix, rows_of

import meanfield as mf
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_boundary import SupportBoundary
from meanfield.solvers.eigenvalue_density import EigenvalueDensity

NETWORKS = {"gru": GRU, "gru_reset_after": mf.Network("gru_reset_after", GRU.gates), "lstm": LSTM}


def distance(sample: CircuitSample, values: object) -> float:
    """Largest difference of the distributions of real parts, at 24 quantiles."""
    law, real = EigenvalueDensity(sample), np.sort(np.asarray(values).real)
    at = real[(np.arange(24) + 0.5).astype(int) * len(real) // 24]
    predicted = [law.mass_in_box(-np.inf, x).value for x in at]
    return float(np.max(np.abs(np.searchsorted(real, at, side="right") / len(real) - predicted)))


def rows(name: str, network: mf.Network, arguments: argparse.Namespace) -> list[Row]:
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
    matrix = row_of_matrix(name, wide, np.linalg.eigvals, distance, arguments.repeats)
    return [*rows_of(name, jobs, arguments.repeats), matrix]


def main() -> None:
    arguments = command("Time of eigenvalue boundaries and densities.", units=1000, rays=72, grid=40, width=1024)
    found = (row for name, network in NETWORKS.items() for row in rows(name, network, arguments))
    print_table(found, 3, arguments.output)


if __name__ == "__main__":
    main()
