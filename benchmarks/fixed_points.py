"""Untied fixed points: networks a second, one by one and many at once. Prints a table.

    python benchmarks/fixed_points.py [--networks 4096] [--repeats 3] [--output FILE]

Networks are random: gains of up to 2 in recurrent and 1.5 in input matrices, standard normal biases. Runs are
interleaved, and the quickest ones are shown.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.cells import find
from meanfield.closed_batch import FixedPointTable, fixed_points_of_many

CELLS = ("vanilla", "leaky", "minimal", "gru", "janet", "peephole_lstm")
INPUTS = mf.Inputs(power=1.0, overlap=0.5)
ONE_BY_ONE = 64  # networks that are enough to time one at a time


def drawn(cell: str, count: int) -> list[mf.Network]:
    """Random networks of one cell."""
    rng = np.random.default_rng(0)
    recurrent = {each.gate for each in find(cell).fields}

    def gate(name: str) -> mf.Gate:
        gain, input_gain, mean, spread = rng.uniform(0.0, 2.0), rng.uniform(0.0, 1.5), rng.normal(), rng.uniform(0, 0.5)
        return mf.Gate(gain if name in recurrent else 0.0, input_gain, mean, spread)

    return [mf.Network(cell, {name: gate(name) for name in find(cell).gates}) for _ in range(count)]


def rates(networks: Sequence[mf.Network], repeats: int) -> tuple[list[float], FixedPointTable]:
    """Networks a second of every way, and what was found."""

    def one_by_one() -> None:
        for network in networks[:ONE_BY_ONE]:
            mf.fixed_points(network, INPUTS)

    ways: list[tuple[Callable[[], object], int]] = [
        (one_by_one, min(ONE_BY_ONE, len(networks))),
        *(
            (lambda count=count: fixed_points_of_many(networks, INPUTS, threads=count), len(networks))
            for count in (1, 2)
        ),
    ]
    quickest = [float("inf")] * len(ways)
    found = fixed_points_of_many(networks, INPUTS)  # and rules are made
    for _ in range(repeats):
        for index, (way, _) in enumerate(ways):
            start = time.perf_counter()
            way()
            quickest[index] = min(quickest[index], time.perf_counter() - start)
    return [count / taken for (_, count), taken in zip(ways, quickest, strict=True)], found


def compare(count: int, repeats: int) -> Table:
    modules = ", ".join(f"{each} {version(each)}" for each in ("numpy", "scipy"))
    table = Table(
        title=f"networks a second, {count:,} random networks a cell\n{platform.machine()}, {modules}", title_style=""
    )
    headings = "one by one", "many at once", "faster", "on 2 threads", "handed over", "median error of χ_1"
    table.add_column("cell")
    for heading in headings:
        table.add_column(heading, justify="right")
    for cell in CELLS:
        (alone, one, two), found = rates(drawn(cell, count), repeats)
        error = np.median(found.chi.error / found.chi.value)
        table.add_row(
            cell,
            f"{alone:,.0f}",
            f"{one:,.0f}",
            f"{one / alone:.0f} ×",
            f"{two:,.0f}",
            f"{100 * np.mean(found.alone):.1f} %",
            f"{error:.0e}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Untied fixed points of many networks.")
    parser.add_argument("--networks", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    table = compare(arguments.networks, arguments.repeats)
    Console(width=110, markup=False).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=110, markup=False).print(table)


if __name__ == "__main__":
    main()
