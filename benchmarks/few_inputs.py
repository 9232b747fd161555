"""Input sensitivity of networks with few inputs: theory over simulated networks, by lag. Prints a table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.validation.simulated_predictions import simulate_predictions

LENGTH, LAGS = 24, (0, 3, 8, 19)


def slow(size: int) -> mf.Inputs:
    """Sines of period 19 with random phases."""
    phase = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, (80, 1, size))
    return mf.Inputs.from_data(1.5 * np.sin(np.arange(LENGTH)[None, :, None] / 3.0 + phase))


def ratios(network: mf.Network, inputs: mf.Inputs) -> list[str]:
    """S by theory over S of 48 networks of 256 units, with one standard error of both."""
    found = mf.gradients(network, inputs, length=LENGTH, units=16384, groups=64, start="zero", seed=5).sensitivity
    simulated = simulate_predictions(network, inputs, hidden=256, length=LENGTH, networks=48, seed=3, spectra=0)
    shown = []
    for lag in LAGS:
        seen, expected = np.exp(simulated.log_sensitivity)[:, lag], found.at(lag)
        ratio = expected.value / np.mean(seen)
        scatter = np.std(seen, ddof=1) / np.mean(seen) / math.sqrt(len(seen))
        shown.append(f"{ratio:.2f} ± {ratio * math.hypot(scatter, expected.error / expected.value):.2f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    table = Table(title="S of theory over S of 48 simulated networks of 256 units", title_style="")
    for heading in ("network, inputs", "M", *(f"lag {lag}" for lag in LAGS)):
        table.add_column(heading)
    for size in (1, 3, 8, 28):
        recipe = mf.recipe("lstm", length=LENGTH, hidden=128, inputs=size)
        table.add_row("lstm, recipe, white", str(size), *ratios(recipe.network, recipe.inputs))
    strong = mf.Network("gru", dict.fromkeys("frh", mf.Gate(1.0, 0.8, 0.3, 0.2)))
    for size in (2, 5, 80):
        table.add_row("gru, gains 1, slow sines", str(size), *ratios(strong, slow(size)))
    Console(width=100).print(table)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=100).print(table)


if __name__ == "__main__":
    main()
