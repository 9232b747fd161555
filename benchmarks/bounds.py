"""Whether the bounds of the untied theory hold: random networks of all cells against sampling.

Every network is answered twice: by `meanfield.fixed_points`, with bounds on the errors, and by independent chains and
pairs of chains, with standard errors. A bound holds if the two agree within the bound, four standard errors and 1e-7,
the arithmetic of the chains. A tenth of the networks is extreme: gains 0 or 10, biases ±50, a keep bias of 12, no
spread, no inputs, inputs that are the same or opposite.

    python benchmarks/bounds.py --networks 10000 --seed 0
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

import meanfield as mf
from meanfield.cells import find, names

CELLS = tuple(name for name in names() if name != "vanilla_relu")
QUANTITIES = ("mean", "second moment", "overlap")
DEVIATIONS = 4.0
ARITHMETIC = 1e-7  # relative error of single precision in the chains
CHAINS, STEPS = 1 << 14, 32


@dataclass
class Tally:
    """What became of the networks of one cell."""

    networks: int = 0
    refused: int = 0
    without_reference: int = 0
    checked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(QUANTITIES, 0))
    missed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(QUANTITIES, 0))


def random_network(cell: str, generator: np.random.Generator) -> tuple[mf.Network, mf.Inputs]:
    """A network and its inputs, one in ten of them extreme."""
    definition = find(cell)
    gates = definition.gates
    extreme = generator.uniform() < 0.1

    def gate(name: str) -> mf.Gate:
        mean = generator.uniform(-1.0, 1.0) + (1.0 if name == "f" and len(gates) > 1 else 0.0)
        law = [generator.uniform(0.0, 2.5), generator.uniform(0.0, 1.5), mean, generator.uniform(0.0, 1.0)]
        if extreme:
            law[0] = generator.choice([0.0, 10.0, law[0]])
            law[2] = generator.choice([-50.0, 50.0, 12.0, mean, mean, mean])
            law[3] = generator.choice([0.0, law[3]])
        if name not in {field.gate for field in definition.fields}:
            law[0] = 0.0
        if name not in definition.input_gates:
            law[1] = 0.0
        return mf.Gate(*(float(each) for each in law))

    power, overlap = generator.uniform(0.1, 2.0), generator.uniform(-0.9, 0.9)
    if extreme:
        power, overlap = generator.choice([0.0, power]), generator.choice([-1.0, 1.0, overlap])
    return mf.Network(cell, {name: gate(name) for name in gates}), mf.Inputs(power=float(power), overlap=float(overlap))


def check(cell: str, first: int, count: int, seed: int) -> Tally:
    """The networks first … first + count - 1 of a cell."""
    tally = Tally()
    for index in range(first, first + count):
        network, inputs = random_network(cell, np.random.default_rng([seed, index, CELLS.index(cell)]))
        tally.networks += 1
        try:
            found = mf.fixed_points(network, inputs)
        except mf.MeanfieldError:
            tally.refused += 1
            continue
        try:
            law = mf.sample_law(network, inputs, chains=CHAINS, steps=STEPS, seed=index, device="cpu", threads=1)
            pair = mf.sample_overlap(law, steps=STEPS, seed=index, device="cpu", threads=1)
        except mf.MeanfieldError:
            tally.without_reference += 1
            continue
        output = network.definition.states[network.definition.output]
        (reached,) = (point for point in found.overlaps if point.reached)
        pairs = [(found.law.mean, law.mean[output]), (found.law.second_moment, law.second_moment[output])]
        if abs(pair.overlap.value - reached.overlap.value) < 0.5:
            # Where several overlaps are stable, chains may settle at another one.
            pairs.append((reached.overlap, pair.overlap))
        for name, (theory, sampled) in zip(QUANTITIES, pairs, strict=False):
            tally.checked[name] += 1
            distance = abs(theory.value - sampled.value)
            allowed = theory.error + DEVIATIONS * sampled.error + ARITHMETIC * abs(theory.value)
            if distance > allowed:
                tally.missed[name] += 1
                numbers = f"{theory.value!r} ± {theory.error:.1e}, {sampled.value!r} ± {sampled.error:.1e}"
                print(f"  {cell} {index}: {name} {numbers}")
    return tally


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--networks", type=int, default=10_000, help="in all")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    arguments.add_argument("--processes", type=int, default=2)
    given = arguments.parse_args()
    share = math.ceil(given.networks / len(given.cells))
    header = f"{'cell':16}{'networks':>9}{'refused':>9}{'no sample':>11}"
    print(header + "".join(f"{name:>24}" for name in QUANTITIES) + f"{'s a network':>13}")
    total = Tally()
    with ProcessPoolExecutor(given.processes) as pool:
        for cell in given.cells:
            start = time.perf_counter()
            tasks = [(cell, first, min(25, share - first), given.seed) for first in range(0, share, 25)]
            tally = Tally()
            for part in pool.map(check, *zip(*tasks, strict=True)):
                for both in (tally, total):
                    both.networks += part.networks
                    both.refused += part.refused
                    both.without_reference += part.without_reference
                    for name in QUANTITIES:
                        both.checked[name] += part.checked[name]
                        both.missed[name] += part.missed[name]
            print_row(cell, tally, (time.perf_counter() - start) * given.processes / tally.networks)
    print_row("all", total, math.nan)
    checked, missed = (sum(part.values()) for part in (total.checked, total.missed))
    print(f"\n{checked - missed} of {checked} numbers are covered: {100.0 * (1.0 - missed / checked):.3f} %")


def print_row(name: str, tally: Tally, seconds: float) -> None:
    cells = [f"{tally.missed[each]} of {tally.checked[each]} missed" for each in QUANTITIES]
    row = f"{name:16}{tally.networks:9}{tally.refused:9}{tally.without_reference:11}"
    print(row + "".join(f"{cell:>24}" for cell in cells) + f"{seconds:13.3f}", flush=True)


if __name__ == "__main__":
    main()
