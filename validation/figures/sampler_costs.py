"""Error against cost of the samplers of the untied LSTM's law."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.cells import find
from meanfield.sampling.array_rqmc import array_rqmc
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.control_variates import controlled_means, memory_powers, with_memory_powers
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.programs import stationary_program
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import panels, points

Float64 = NDArray[np.float64]

# Means and deviations of the gates i, f, g, o, and E tanh(c)² over these steps from the transfer operator.
_MEANS = {"f": 1.0, "i": 0.0, "g": 0.0, "o": 0.0}
_DEVIATIONS = {"f": 0.6, "i": 0.6, "g": 0.9, "o": 0.6}
_EXACT = 0.15028697918
_BURN_IN, _STEPS, _BLOCK = 50, 50, 512
_PANEL = "error"
_METHODS = ("independent chains", "with control variates", "Array-RQMC", "Array-RQMC, controls")


def compute(size: Size) -> FigureData:
    """Root mean square errors of one estimate of E tanh(c)², relative to it, over chain-steps."""
    program = with_memory_powers(stationary_program(find("lstm")))
    controls = [program.sampled.index(power) for power in memory_powers(program)]
    target = program.sampled.index(next(each.sampled for each in program.observables if each.name == "square h"))
    laws = {"mean": _MEANS, "deviation": _DEVIATIONS}
    parameters = {each: laws[each.split()[0]][each[-1]] for each in program.parameters}
    expectations, _ = exact_memory_moments(program, parameters, (2, 4, 6), window=(_BURN_IN, _STEPS))
    run = CPUChains(program, [parameters], chains=size.pick(1 << 20, 1 << 15), seed=size.seed, threads=1)
    run.advance(_BURN_IN)
    blocks = run.advance(_STEPS, measure=True) / (_BLOCK * _STEPS)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _METHODS}

    def add(plain: str, controlled: str, chains: int, estimates: Float64) -> None:
        """Errors of estimates from so many chains each, (estimates, sampled), without and with controls."""
        cost = float(chains * (_BURN_IN + _STEPS))
        off = estimates[:, target] / _EXACT - 1.0
        found[plain].append((cost, *_root_mean_square(off)))
        with_controls = controlled_means(estimates[:, [target]], estimates[:, controls], expectations)
        count = len(estimates)
        scatter = float(with_controls.errors[0]) * np.sqrt(count) / _EXACT
        found[controlled].append((cost, scatter, scatter / np.sqrt(2.0 * (count - 1 - len(controls)))))

    together = 1
    while len(blocks) // together >= 16:
        grouped = blocks[: len(blocks) // together * together].reshape(-1, together, blocks.shape[1])
        add(_METHODS[0], _METHODS[1], _BLOCK * together, np.mean(grouped, axis=1))
        together *= 4
    for power in range(9, size.pick(17, 11), 2):
        estimates = array_rqmc(
            program,
            parameters,
            chains=1 << power,
            burn_in=_BURN_IN,
            steps=_STEPS,
            replicates=size.pick(24, 8),
            seed=size.seed + 1,
            threads=1,
        )
        add(_METHODS[2], _METHODS[3], 1 << power, estimates)
    return FigureData(tuple(Series.of(_PANEL, name, *np.array(rows).T) for name, rows in found.items()))


def _root_mean_square(off: Float64) -> tuple[float, float]:
    """Root mean square and its standard error, from independent errors."""
    squares = off**2
    mean = float(np.mean(squares))
    error = float(np.std(squares, ddof=1)) / np.sqrt(len(off))
    return np.sqrt(mean), error / (2.0 * np.sqrt(mean))


def draw(data: FigureData) -> Any:
    """One panel with two logarithmic axes, and the slopes of Monte Carlo and of quasi-Monte Carlo."""
    figure, (axes,) = panels(1, 1, 6.0, 4.0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, name in enumerate(_METHODS):
        points(axes, data.one(_PANEL, name), number, label=name, linestyle="-", linewidth=1.3)
    first = data.one(_PANEL, _METHODS[0])
    ends = np.array([first.x[0], 1.4 * max(float(each.x[-1]) for each in data.series)])
    slope = 1.6 * float(first.y[0]) * np.sqrt(ends[0] / ends)
    axes.plot(ends, slope, color="#8a8a8a", linewidth=0.9, linestyle=(0, (4, 2)))
    axes.annotate("∝ cost$^{-1/2}$", (1.5 * ends[0], 1.05 * slope[0]), ha="left", va="center", color="#555555", size=8)
    axes.set_xlabel("cost (chain-steps of one estimate)")
    axes.set_ylabel("relative error of E tanh(c)²")
    axes.set_title("lstm, untied weights")
    axes.legend(loc="lower left")
    return figure


FIGURE = NamedFigure(
    "sampler-costs",
    "Relative error of one estimate of E tanh(c)² of an LSTM against its cost. Exact moments of the memory as control "
    "variates, and sorting chains for quasi-random points (Array-RQMC), gain orders of magnitude over plain chains.",
    compute,
    draw,
)
