"""Theory beside one-step Jacobians of simulated networks and of PyTorch's cells. Prints a table.

    python benchmarks/jacobians.py [--hidden 1000] [--networks 4] [--length 80] [--groups 16] [--seed 0] [--output FILE]

Networks run from the zero state under white inputs, with weights and inputs of their own; the Jacobian is that of the
last step. Theory is from populations of the same width and step. Per network: mean square m1 and mean fourth power m2
of the singular values (differences relative to theory), the largest real part of an eigenvalue (relative), the largest
distance between the distributions of singular values, and the share of eigenvalues within 0.1 of one.

What is not within its target is "scatter" if it is within the scatter of networks of this width: two standard errors
of the difference; of the edge the standard deviation from network to network; of the distribution the largest distance
of as many populations from the others. PyTorch's cells are differentiated by PyTorch (torch.func.jacrev); they read as
many inputs as they have units, and are initialised by default or by mf.torch.initialize.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.cells import find
from meanfield.solvers.threads import one_blas_thread
from meanfield.validation.finite_width import jacobian
from meanfield.validation.jacobian_figures import Figure, jacobian_figures
from meanfield.validation.torch_jacobians import torch_jacobians

Float64 = NDArray[np.float64]

CELLS = (
    "vanilla",
    "minimal",
    "gru",
    "gru_reset_after",
    "lstm",
    "cifg_lstm",
    "peephole_lstm",
    "janet",
    "leaky",
)
OPEN, WIDE = mf.Gate(1.0, 0.5, 0.0, 0.2), mf.Gate(3.0, 0.5, 0.0, 0.3)
KEPT, KICK = mf.Gate(1.0, 0.5, 1.0, 0.2), mf.Gate(2.0, 1.0, 0.0, 0.2)
# None is PyTorch's default.
CONSTRUCTED: dict[str, dict[str, mf.Network | None]] = {
    "lstm": {
        "by default": None,
        "a wide write gate": mf.Network("lstm", {"i": OPEN, "f": KEPT, "g": KICK, "o": OPEN}),
        "gates of gain 3": mf.Network("lstm", {"i": WIDE, "f": WIDE, "g": KICK, "o": WIDE}),
    },
    "gru_reset_after": {
        "by default": None,
        "near chaos": mf.Network(
            "gru_reset_after", dict.fromkeys("rf", mf.Gate(1.5, 0.5, 0.0, 0.3)) | {"h": mf.Gate(2.0, 0.5, 0.0, 0.3)}
        ),
        "gates of gain 3": mf.Network("gru_reset_after", {"r": WIDE, "f": WIDE, "h": mf.Gate(1.0, 0.5, 0.0, 0.3)}),
    },
}


def network_of(name: str) -> mf.Network:
    """Recurrent gates of gain 0.7 to 1.4, with a keep gate that is open a little where that leaves a stable memory."""
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gains = {"h": 1.4, "g": 1.4, "f": 0.3 if name == "peephole_lstm" else 1.0}
    gates = {}
    for gate in cell.gates:
        keep = 1.0 if gate == "f" and name != "peephole_lstm" else 0.0
        gates[gate] = mf.Gate(gains.get(gate, 0.7) if gate in recurrent else 0.0, 0.7, keep, 0.2)
    return mf.Network(name, gates)


def comparisons(arguments: argparse.Namespace) -> Iterator[tuple[str, tuple[Figure, ...], float]]:
    """Name, figures and processor seconds of every comparison."""
    jobs: list[tuple[str, mf.Network, Callable[[int], Float64]]] = []
    hidden, length, networks = arguments.hidden, arguments.length, arguments.networks
    for name in CELLS:
        network = network_of(name)

        def simulated(seed: int, network: mf.Network = network) -> Float64:
            return jacobian(network, mf.Inputs(), hidden=hidden, length=length, networks=networks, seed=seed)

        jobs.append((name, network, simulated))
    for cell, made in CONSTRUCTED.items():
        for title, given in made.items():

            def constructed(seed: int, cell: str = cell, given: mf.Network | None = given) -> Float64:
                return torch_jacobians(
                    cell, given, hidden=hidden, size=hidden, length=length, networks=networks, seed=seed
                )

            law = given or mf.framework_default(cell, hidden=hidden, inputs=hidden)
            jobs.append((f"torch {'LSTMCell' if cell == 'lstm' else 'GRUCell'}, {title}", law, constructed))
    for index, (title, network, draw) in enumerate(jobs):
        # Inputs of a network's own for every comparison: what is off is then independent.
        seed = 2 * (arguments.seed * len(jobs) + index)
        start = time.process_time()
        with one_blas_thread():
            matrices = draw(seed)
            found = jacobian_figures(
                network, mf.Inputs(), matrices, length=length, groups=arguments.groups, seed=seed + 1
            )
        yield title, found, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Theory beside one-step Jacobians of networks of finite width.")
    parser.add_argument("--hidden", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--length", type=int, default=80)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(
        title=f"{arguments.networks} networks of {arguments.hidden} units after {arguments.length} steps; "
        f"Python {platform.python_version()}, {platform.machine()}",
        title_style="",
    )
    for heading in ("network", "quantity", "theory", "simulated", "difference", "target", "scatter", "within"):
        table.add_column(heading, justify="left" if heading in ("network", "quantity", "within") else "right")
    counts: dict[str, int] = {}
    console, total = Console(width=140), 0.0
    for title, figures, seconds in comparisons(arguments):
        total += seconds
        console.print(f"{title}: {seconds:.0f} s")
        for figure in figures:
            counts[figure.within] = counts.get(figure.within, 0) + 1
            table.add_row(
                title if figure is figures[0] else "",
                figure.quantity,
                "" if figure.quantity == "distribution" else str(figure.predicted),
                "" if figure.quantity == "distribution" else str(figure.simulated),
                f"{figure.difference:.4f}",
                f"{figure.target:g}",
                f"{figure.scatter:.4f}",
                figure.within,
                end_section=figure is figures[-1],
            )
    verdict = ", ".join(f"{counts.get(each, 0)} {each}" for each in ("yes", "scatter", "no"))
    for target in [console, *([Console(file=arguments.output.open("w"), width=140)] if arguments.output else [])]:
        target.print(table)
        target.print(f"Within their targets: {verdict}. {total:.0f} s of one core.")


if __name__ == "__main__":
    main()
