"""Predictions beside simulated networks: random networks of every cell, and how deviations fall with the width.

python benchmarks/validation.py [--hidden N] [--networks K] [--tables NAME ...] [--output FILE]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.cells import find, names
from meanfield.validation.network_averages import Spread, log_mean, sigmas
from meanfield.validation.network_lyapunov import network_lyapunov
from meanfield.validation.prediction_comparisons import Comparison
from meanfield.validation.recipe_check import validate_network
from meanfield.validation.simulated_predictions import simulate_predictions

TABLES = ("random", "spectra", "widths", "powers", "exponents", "chaos")
RANDOM = 10  # networks a cell
LENGTH = 20
SHARE, ERRORS = 0.04, 4.0
INPUTS = mf.Inputs(size=32, overlap=0.5)

LSTM = mf.Network(
    "lstm",
    {
        "i": mf.Gate(1.0, 0.5, 0.0, 0.2),
        "f": mf.Gate(1.0, 0.5, 1.0, 0.2),
        "g": mf.Gate(2.0, 1.0, 0.0, 0.2),
        "o": mf.Gate(1.0, 0.5, 0.0, 0.2),
    },
)
VANILLA = mf.Network("vanilla", {"h": mf.Gate(1.0, 0.3, 0.0, 0.1)})


def random_network(name: str, index: int) -> mf.Network:
    """Recurrent gains from 0.3 to 1.3 (1.1 where units are rectified and explode beyond 1.4), input gains up to 1."""
    generator, cell = np.random.default_rng([names().index(name), index]), find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    reading = set(cell.input_gates) | {field.gate for field in cell.fields if field.gain == "input_gain"}
    gates = {}
    for gate in cell.gates:
        gain, read = generator.uniform(0.3, 1.1 if name == "vanilla_relu" else 1.3), generator.uniform(0.3, 1.0)
        mean, std = generator.uniform(-0.5, 1.0), generator.uniform(0.0, 0.3)
        gates[gate] = mf.Gate(gain if gate in recurrent else 0.0, read if gate in reading else 0.0, mean, std)
    return mf.Network(name, gates)


def random_networks(hidden: int, networks: int, *, spectra: int) -> Table:
    """Ten random networks a cell, predicted for the width that is simulated."""
    title = f"{RANDOM} random networks a cell, {networks} simulated of {hidden} units each, {LENGTH} steps"
    table = Table(title=title, title_style="")
    for heading in ("cell", "numbers", "within 4 %", "else within 4σ", "beyond", "largest σ", "of", "unstable", "s"):
        table.add_column(heading, justify="right" if heading not in ("cell", "of") else "left")
    total = [0, 0, 0, 0]
    for name in names():
        start = time.process_time()
        rows: list[Comparison] = []
        unstable = index = 0
        while index - unstable < RANDOM:
            network = random_network(name, index)
            index += 1
            try:
                found = validate_network(
                    network, INPUTS, length=LENGTH, hidden=hidden, networks=networks, spectra=spectra, seed=index
                )
            except mf.NotConverged:
                unstable += 1  # no stationary state to predict anything of
                continue
            rows += found.comparisons
        distances = [sigmas(row.predicted, row.simulated, 0.0) for row in rows]
        close = [within_share(row) for row in rows]
        inside = [not near and distance <= ERRORS for near, distance in zip(close, distances, strict=True)]
        counts = [len(rows), sum(close), sum(inside), len(rows) - sum(close) - sum(inside)]
        total = [before + more for before, more in zip(total, counts, strict=True)]
        worst = int(np.argmax([0.0 if near else distance for near, distance in zip(close, distances, strict=True)]))
        what = rows[worst].name if rows[worst].lag is None else f"{rows[worst].name} {rows[worst].lag}"
        taken = time.process_time() - start
        table.add_row(name, *map(str, counts), f"{distances[worst]:.1f}", what, str(unstable), f"{taken:.0f}")
    table.add_row("all", *map(str, total), "", "", "", "")
    return table


def within_share(row: Comparison) -> bool:
    """Whether a number is within 4 % of its prediction, a share of eigenvalues within one unit's."""
    off = abs(row.simulated.value - row.predicted.value) if row.simulated.value != row.predicted.value else 0.0
    if row.name == "slow_fraction":
        return off <= row.allowance
    return off <= (math.log1p(SHARE) if row.scale == "logarithm" else SHARE * abs(row.predicted.value))


def widths(name: str, network: mf.Network) -> Table:
    """Networks of N units against populations of 512, and against populations of their own width."""
    table = Table(title=f"{name}: logarithm of simulated / predicted, {LENGTH} steps", title_style="")
    for heading in ("N", "networks", "predicted for", "E[h²]", "G(5)", "G(20)", "S(20)", "bias response"):
        table.add_column(heading, justify="right")
    inputs, units = mf.Inputs(size=32), 1 << 15
    wide = logarithms(network, inputs, 512, units)
    for width in (32, 64, 128, 256, 512):
        count = min(400, 12800 // width)
        seen = simulate_predictions(
            network, inputs, hidden=width, length=LENGTH, transient=64, networks=count, spectra=0, seed=1 << 40
        )
        simulated = [
            log_mean(each)
            for each in (
                np.log(seen.second_moment),
                seen.log_gradient[:, 5],
                seen.log_gradient[:, 20],
                seen.log_sensitivity[:, 20],
                seen.log_bias_response,
            )
        ]
        for groups, predicted in ((512, wide), (width, logarithms(network, inputs, width, units))):
            cells = [apart(a, b) for a, b in zip(simulated, predicted, strict=True)]
            table.add_row(str(width), str(count), f"{groups} units", *cells, end_section=groups == width)
    return table


def logarithms(network: mf.Network, inputs: mf.Inputs, width: int, units: int) -> list[Spread]:
    """Predictions of groups of this width, as logarithms."""
    groups = units // width
    found = mf.gradients(network, inputs, length=LENGTH, hidden=width, units=units, groups=groups)
    profile, sensitivity = found.profile, found.sensitivity
    numbers = (found.second_moment, profile.at(5), profile.at(20), sensitivity.at(20), found.bias_response)
    return [Spread(math.log(each.value), each.error / each.value, groups - 1.0) for each in numbers]


def apart(first: Spread, second: Spread) -> str:
    """Difference of two logarithms and its error."""
    return f"{first.value - second.value:+.3f} ± {math.hypot(first.error, second.error):.3f}"


def exponents() -> Table:
    """All Lyapunov exponents of networks of 256 units over 2000 steps."""
    table = Table(title="all Lyapunov exponents, 256 units, 2000 steps after 200", title_style="")
    for heading in ("cell", "exponents", "largest", "half the slope of log G", "dimension", "entropy rate", "s"):
        table.add_column(heading, justify="right" if heading != "cell" else "left")
    chaotic = mf.Network("vanilla", {"h": mf.Gate(3.0, 0.3)})
    gru = mf.Network("gru", {"f": mf.Gate(1, 0.3), "r": mf.Gate(1, 0.3), "h": mf.Gate(4, 0.3, 0, 0.2)})
    inputs = mf.Inputs(size=32)
    for network in (chaotic, gru, LSTM):
        start = time.process_time()
        found = network_lyapunov(network, inputs, hidden=256, steps=2000)
        taken = time.process_time() - start
        chi = mf.gradients(network, inputs, length=100, hidden=256, units=4096, groups=16).chi
        half = mf.Estimate(0.5 * math.log(chi.value), 0.5 * chi.error / chi.value)
        numbers = (found.largest, half, found.attractor_dimension, found.entropy_rate)
        table.add_row(network.cell, str(len(found.values)), *map(str, numbers), f"{taken:.0f}")
    return table


def exponent_widths() -> Table:
    """The top exponent of an autonomous vanilla network against ½ log(σ² E[φ'²]) at q = σ² E[φ²]."""
    gain = 2.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights, q = weights / np.sum(weights), 1.0
    for _ in range(200):
        q = gain**2 * float(weights @ np.tanh(math.sqrt(q) * nodes) ** 2)
    expected = 0.5 * math.log(gain**2 * float(weights @ np.cosh(math.sqrt(q) * nodes) ** -4.0))
    title = f"top Lyapunov exponent, vanilla of recurrent gain {gain} without inputs; N → ∞: {expected:.4f}"
    table = Table(title=title, title_style="")
    for heading in ("N", "networks", "exponent", "times N, off by"):
        table.add_column(heading, justify="right")
    network = mf.Network("vanilla", {"h": mf.Gate(gain)})
    for hidden, networks in ((64, 32), (128, 24), (256, 16), (512, 8), (1024, 4)):
        found = network_lyapunov(
            network, mf.Inputs(power=0.0), hidden=hidden, exponents=1, steps=500, networks=networks, seed=11
        ).largest
        off = mf.Estimate(hidden * (found.value - expected), hidden * found.error)
        table.add_row(str(hidden), str(networks), f"{found.value:.4f} ± {found.error:.4f}", str(off))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Predictions beside simulated networks.")
    parser.add_argument("--hidden", type=int, default=1024, help="width of the simulated networks")
    parser.add_argument("--networks", type=int, default=4, help="simulated networks of every law")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which ones; all by default")
    parser.add_argument("--output", type=Path, help="also append the tables to this file")
    arguments = parser.parse_args()
    hidden, networks = arguments.hidden, arguments.networks
    makers: dict[str, Callable[[], Table]] = {
        "random": lambda: random_networks(hidden, networks, spectra=0),
        # Eigenvalues of large Jacobians take longer than all the rest: they are compared at a quarter of the width.
        "spectra": lambda: random_networks(hidden // 4, networks, spectra=networks),
        "widths": lambda: widths("lstm", LSTM),
        "powers": lambda: widths("vanilla, recurrent gain 1", VANILLA),
        "exponents": exponents,
        "chaos": exponent_widths,
    }
    for name in arguments.tables:
        table = makers[name]()
        Console(width=150, markup=False).print(table)
        if arguments.output:
            with arguments.output.open("a") as stream:
                Console(file=stream, width=150, markup=False).print(table)


if __name__ == "__main__":
    main()
