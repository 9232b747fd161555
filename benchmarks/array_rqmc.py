"""What Array-RQMC and control variates gain over plain sampling of the untied LSTM's E tanh(c)². Prints a table.

    python benchmarks/array_rqmc.py [--largest 20] [--rounds 3]

Chains start at zero and are averaged over steps 51 to 100. Every method runs in every round, one after another, on one
thread; times are medians over rounds. A standard deviation is that of one estimate with this many chains; ratios
compare variances at equal time with those of plain sampling without controls. Takes about a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table

from meanfield.cells import find
from meanfield.sampling.array_rqmc import DOUBLE_FROM, array_rqmc
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.control_variates import controlled_means, memory_powers, with_memory_powers
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.programs import stationary_program

# Means and deviations of f, i, g, o; E tanh(c)² over these steps to 1e-11, from the transfer operator of
# tests/sampling/test_array_rqmc.py.
SETS = {
    "A": ((1.0, 0.0, 0.0, 0.0), (0.6, 0.6, 0.9, 0.6), 0.15028697918),
    "B": ((5.0, -4.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6), 0.00988998686846),
    "D": ((1.0, 0.0, 0.0, 0.0), (3.0, 0.6, 0.9, 0.6), 0.14089012713),
}
BURN_IN, STEPS = 50, 50
REPLICATES = 8  # of a round; of the largest arrays fewer
PLAIN_CHAINS = 1 << 20
PROGRAM = with_memory_powers(stationary_program(find("lstm")))
CONTROLS = [PROGRAM.sampled.index(power) for power in memory_powers(PROGRAM)]
TARGET = PROGRAM.sampled.index(next(each.sampled for each in PROGRAM.observables if each.name == "square h"))


@dataclass
class Method:
    """Estimates of one method, (estimates, sampled), of so many chains each, and how long a chain-step took."""

    name: str
    chains: int
    run: Callable[[int], np.ndarray]
    estimates: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def go(self, seed: int) -> None:
        start = time.perf_counter()
        found = self.run(seed)
        steps = self.chains * len(found) * (BURN_IN + STEPS)
        self.seconds.append((time.perf_counter() - start) / steps)
        self.estimates.append(found)


def methods(parameters: dict[str, float], largest: int) -> list[Method]:
    def plain(seed: int) -> np.ndarray:
        run = CPUChains(PROGRAM, [parameters], chains=PLAIN_CHAINS, seed=seed, threads=1)
        run.advance(BURN_IN)
        return run.advance(STEPS, measure=True) / (512 * STEPS)

    def arrays(chains: int) -> Callable[[int], np.ndarray]:
        replicates = REPLICATES if chains <= 1 << 18 else REPLICATES // 2

        def run(seed: int) -> np.ndarray:
            return array_rqmc(
                PROGRAM,
                parameters,
                chains=chains,
                burn_in=BURN_IN,
                steps=STEPS,
                replicates=replicates,
                seed=seed,
                threads=1,
            )

        return run

    sizes = [1 << m for m in range(12, largest + 1, 2)]
    return [Method("plain", 512, plain), *(Method("Array-RQMC", chains, arrays(chains)) for chains in sizes)]


def add_rows(table: Table, name: str, rounds: int, largest: int) -> None:
    means, deviations, truth = SETS[name]
    laws = {"mean": dict(zip("figo", means, strict=True)), "deviation": dict(zip("figo", deviations, strict=True))}
    parameters = {each: laws[each.split()[0]][each[-1]] for each in PROGRAM.parameters}
    expectations, _ = exact_memory_moments(PROGRAM, parameters, (2, 4, 6), window=(BURN_IN, STEPS))
    found = methods(parameters, largest)
    for method in found:
        method.run(0)  # compiles, and makes the points
    for seed in range(1, rounds + 1):
        for method in found:
            method.go(seed)
    cost_of_plain = None
    for method in found:
        estimates = np.concatenate(method.estimates)
        count, target = len(estimates), estimates[:, [TARGET]]
        error = float(np.std(target, ddof=1)) / np.sqrt(count)
        controlled = controlled_means(target, estimates[:, CONTROLS], expectations)
        chains = f"2^{method.chains.bit_length() - 1}"
        precision = "double" if method.name != "plain" and method.chains >= DOUBLE_FROM else "single"
        seconds = statistics.median(method.seconds)
        row = [name, method.name, chains, precision, f"{1e9 * seconds:.2f}"]
        for mean, its_error in ((float(np.mean(target)), error), (controlled.means[0], controlled.errors[0])):
            # Variance of an average over one second of chain-steps.
            cost = count * its_error**2 * method.chains * seconds
            cost_of_plain = cost_of_plain or cost
            row += [
                f"{its_error * np.sqrt(count):.1e}",
                f"{mean - truth:+.1e} ± {its_error:.0e}",
                f"{cost_of_plain / cost:.3g}",
            ]
        table.add_row(*row, end_section=method is found[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=20, help="largest array, as a power of two")
    parser.add_argument("--rounds", type=int, default=3, help="times that every method runs")
    options = parser.parse_args()
    table = Table("set", "method", "chains", "states", "ns a chain-step")
    for which in ("", ", controls"):
        table.add_column(f"std{which}")
        table.add_column(f"bias{which}")
        table.add_column(f"gain{which}")
    for name in SETS:
        add_rows(table, name, options.rounds, options.largest)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
