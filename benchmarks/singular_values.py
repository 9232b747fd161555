"""Time of singular-value densities, beside drawing and decomposing dense matrices. Prints a table.

    python benchmarks/singular_values.py [--repeats 3] [--units 1000] [--points 400] [--width 1024] [--output FILE]

Each job runs on the coefficients of one population of the network at its last step. Minima over the repeats are shown:
elapsed time, and processor time over all threads. The peer is what one does without theory: matrices are drawn for the
same coefficients, and their singular values are computed; its error is the scatter of their distribution functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from beside_decompositions import GRU, LSTM, Row, coefficients, command, print_table, row_of_matrix, rows_of

import meanfield as mf
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity

NETWORKS = {"gru": GRU, "lstm": LSTM}


def distance(sample: CircuitSample, values: object) -> float:
    """Largest difference of the distribution functions."""
    ordered = np.sort(np.asarray(values))
    predicted = SingularDensity(sample).distribution(ordered).values
    return float(np.max(np.abs(predicted - (np.arange(len(ordered)) + 0.5) / len(ordered))))


def rows(name: str, network: mf.Network, arguments: argparse.Namespace) -> list[Row]:
    sample, wide = (coefficients(network, units) for units in (arguments.units, arguments.width))
    law = SingularDensity(sample)
    points = np.linspace(0.0, 1.02 * law.outer_edge.value, arguments.points)[1:]
    jobs: dict[str, Callable[[], object]] = {
        f"density, {arguments.points} points, {arguments.units} units": lambda: law.density(points).errors.max(),
        "distribution, as many": lambda: law.distribution(points).errors.max(),
        "both edges": lambda: SingularDensity(sample).outer_edge.error + SingularDensity(sample).inner_edge.error,
        "nine quantiles": lambda: law.quantile(np.arange(1, 10) / 10).errors.max(),
    }
    decompose = partial(np.linalg.svd, compute_uv=False)
    matrix = row_of_matrix(name, wide, decompose, distance, arguments.repeats)
    return [*rows_of(name, jobs, arguments.repeats), matrix]


def main() -> None:
    arguments = command("Time of singular-value densities.", units=1000, points=400, width=1024)
    found = (row for name, network in NETWORKS.items() for row in rows(name, network, arguments))
    print_table(found, 2, arguments.output)


if __name__ == "__main__":
    main()
