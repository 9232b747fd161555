"""How predictions depend on the width of a population's groups, and real networks on theirs. Prints two tables.

python benchmarks/widths.py [--output FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf

LSTM = mf.Network(
    "lstm",
    {
        "i": mf.Gate(1.0, 0.5, 0.0, 0.2),
        "f": mf.Gate(1.0, 0.5, 1.0, 0.2),
        "g": mf.Gate(2.0, 1.0, 0.0, 0.2),
        "o": mf.Gate(1.0, 0.5, 0.0, 0.2),
    },
)
TOTAL = 16384


def populations() -> Table:
    """The lstm example of docs/theory.md with the same number of units in more and narrower groups."""
    table = Table(title=f"population of {TOTAL} units, lstm, 40 steps", title_style="")
    for heading in ("units a group", "E[h²]", "G(1)", "G(20)", "G(40)", "seconds"):
        table.add_column(heading, justify="right")
    for width in (64, 128, 256, 512, 1024, 2048):
        start = time.perf_counter()
        found = mf.gradients(LSTM, length=40, units=TOTAL, groups=TOTAL // width)
        taken = time.perf_counter() - start
        profile = found.profile
        estimates = (found.second_moment, profile.at(1), profile.at(20), profile.at(40))
        table.add_row(str(width), *(f"{each.value:.3g} ± {each.error:.1g}" for each in estimates), f"{taken:.2f}")
    return table


def matrix_powers() -> Table:
    """A Gaussian matrix of variance 1/N multiplied onto itself: as N → ∞ every power has mean square 1."""
    table = Table(title="E‖W^τ‖²/N of Gaussian matrices, 64 draws", title_style="")
    table.add_column("N", justify="right")
    lags = (5, 10, 20, 40)
    for lag in lags:
        table.add_column(f"τ = {lag}", justify="right")
    rng = np.random.default_rng(0)
    for width in (128, 256, 512, 1024):
        rows = []
        for _ in range(64):
            matrix = rng.normal(size=(width, width)) / np.sqrt(width)
            vectors, squares = rng.normal(size=(width, 16)), []
            for step in range(1, max(lags) + 1):
                vectors = matrix @ vectors
                if step in lags:
                    squares.append(np.mean(vectors**2))
            rows.append(squares)
        mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
        table.add_row(str(width), *(f"{m:.3g} ± {e:.1g}" for m, e in zip(mean, error, strict=True)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Predictions and networks against their widths.")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    tables = populations(), matrix_powers()
    Console(width=110, markup=False).print(*tables)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=110, markup=False).print(*tables)


if __name__ == "__main__":
    main()
