"""The stationary law of the LSTM's cell state: operator, sampled chains, simulated networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.output_law import output_law
from meanfield.stationary_law import sample_law
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import reference_lstm
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import THEORY, panels
from meanfield.validation.simulated_network import input_sequences, member

Float64 = NDArray[np.float64]

_BIASES = (1.0, 4.0)
_SHORT = 30  # steps from the zero state, at least, after which the law is stationary


def compute(size: Size) -> FigureData:
    """Densities of c with weights redrawn at every step, for two biases of the forget gate."""
    found = []
    for bias in _BIASES:
        network, panel = reference_lstm(bias), f"μ_f = {bias:g}"
        law = output_law(network)
        spread = np.sqrt(law.memory_second_moment.value)
        at = np.linspace(-5.0 * spread, 5.0 * spread, size.pick(401, 41))
        density, bound = law.step.memory.density(at)
        found.append(Series.of(panel, "operator", at, density, bound))
        edges = np.linspace(-5.0 * spread, 5.0 * spread, size.pick(41, 11))
        chains = sample_law(network, chains=size.pick(1 << 19, 1 << 12), seed=size.seed, device="cpu", threads=1)
        sampled = _histogram(np.asarray(chains.sample("c"))[:, None], edges)
        found.append(Series.of(panel, "chains", *sampled))
        found.append(Series.of(panel, "networks", *_histogram(_simulated(network, bias, size), edges)))
    return FigureData(tuple(found))


def _simulated(network: Network, bias: float, size: Size) -> Float64:
    """Cell states of networks with fresh weights, (units, networks)."""
    hidden, count = size.pick(128, 64), size.pick(64, 2)
    steps = size.pick(int(_SHORT * max(1.0, np.exp(bias) / 8.0)), 20)
    found = []
    for index in range(count):
        drawn, generator = member(network, Inputs(), hidden=hidden, seed=size.seed, index=index, regime="untied")
        state = drawn.rest()
        x = input_sequences(Inputs(), generator, hidden=hidden, steps=steps)[0]
        for step, read in enumerate(x):
            state = drawn.advance(step, state, read[None])
        found.append(state[0][0])
    return np.array(found).T


def _histogram(samples: Float64, edges: Float64) -> tuple[Float64, Float64, Float64]:
    """Middles of bins that are not empty, density, and the standard error of counts."""
    counts = np.histogram(samples, bins=edges)[0]
    share = counts / samples.size
    width = np.diff(edges)
    error = np.sqrt(share * (1.0 - share) / samples.size) / width
    there = counts > 0
    return (0.5 * (edges[1:] + edges[:-1]))[there], (share / width)[there], error[there]


def draw(data: FigureData) -> Any:
    """A panel for every bias, on a logarithmic axis."""
    figure, found = panels(1, len(data.panels), 7.6, 3.3)
    for axes, panel in zip(found, data.panels, strict=True):
        axes.set_yscale("log")
        law = data.one(panel, "operator")
        resolved = law.y > 2.0 * law.errors
        axes.plot(law.x[resolved], law.y[resolved], color=THEORY, linewidth=2.0, label="transfer operator")
        for name, label, style in (
            ("chains", "sampled chains", {"fmt": "o", "color": "#0072b2", "markersize": 4.0}),
            ("networks", "networks, fresh weights", {"fmt": "s", "color": "#d55e00", "markersize": 4.5}),
        ):
            each = data.one(panel, name)
            low = np.minimum(each.errors, 0.9 * each.y)
            axes.errorbar(
                each.x, each.y, yerr=[low, each.errors], label=label, markerfacecolor="white", elinewidth=0.9, **style
            )
        top = float(np.max(law.y))
        axes.set_ylim(3e-6 * top, 3.0 * top)
        axes.set_xlabel("cell state c")
        axes.set_title(f"lstm, {panel}")
    found[0].set_ylabel("density of c")
    handles, labels = found[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


FIGURE = NamedFigure(
    "cell-state-law",
    "The stationary law of the LSTM's cell state c with weights redrawn at every step, for two biases of the forget "
    "gate: the transfer operator, half a million compiled chains, and 64 networks of 128 units.",
    compute,
    draw,
)
