"""Gradients of an LSTM through time: weights that stay against weights redrawn at every step, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from meanfield.gradient_profiles import gradients
from meanfield.inputs import Inputs
from meanfield.output_law import output_law
from meanfield.output_profile import output_profile
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import mean_of_networks, reference_lstm
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import COLOURS, curve, panels, points
from meanfield.validation.finite_width import simulate

_LENGTH = 40
_LAGS = (1, 2, 3, 4, 6, 8, 11, 14, 17, 21, 25, 29, 33, 36, 40)
_PANEL = "lstm"


def compute(size: Size) -> FigureData:
    """G(τ) at lags 0 to 40: both theories, nn.LSTM, and networks with fresh weights."""
    from meanfield.validation.torch_witness import simulate_torch

    network, inputs = reference_lstm(), Inputs()
    lags = np.array(_LAGS)
    tied = gradients(network, inputs, length=_LENGTH, hidden=768, units=size.pick(16384, 1024), seed=size.seed).profile
    untied = output_profile(output_law(network, inputs), _LENGTH)
    reach = slice(_LENGTH + 1)
    found = [
        Series.of(_PANEL, name, each.lags[reach], each.values[reach], (each.values * each.relative_errors)[reach])
        for name, each in (("tied theory", tied), ("untied theory", untied))
    ]
    layers = simulate_torch(
        network,
        inputs,
        hidden=size.pick(768, 48),
        # Steps before the farthest lag, in which states become stationary.
        length=_LENGTH + size.pick(40, 5),
        networks=size.pick(8, 2),
        seed=size.seed,
        directions=size.pick(16, 4),
    )
    found.append(Series.of(_PANEL, "PyTorch", lags, *mean_of_networks(layers.gradient_profile[:, lags])))
    fresh = simulate(
        network,
        inputs,
        hidden=size.pick(384, 48),
        length=_LENGTH,
        networks=size.pick(8, 2),
        seed=size.seed,
        regime="untied",
        burn_in=size.pick(30, 5),
        directions=8,
    )
    found.append(Series.of(_PANEL, "fresh weights", lags, *mean_of_networks(fresh.gradient_profile[:, lags])))
    return FigureData(tuple(found))


def draw(data: FigureData) -> Any:
    """One panel with a logarithmic axis."""
    figure, (axes,) = panels(1, 1, 6.2, 4.2)
    axes.set_yscale("log")
    tied, untied = (data.one(_PANEL, f"{name} theory") for name in ("tied", "untied"))
    curve(axes, tied, 1, linestyle="-", label="theory, the same weights at every step (tied)")
    points(axes, data.one(_PANEL, "PyTorch"), 0, label="PyTorch's nn.LSTM and autograd, 768 units")
    curve(axes, untied, 2, label="theory, weights redrawn at every step (untied)")
    points(axes, data.one(_PANEL, "fresh weights"), 2, label="networks whose weights are redrawn")
    high, low = float(tied.y[-1]), float(untied.y[-1])
    power = int(np.floor(np.log10(high / low)))
    lead = high / low / 10.0**power
    arrow = {"arrowstyle": "<->", "color": COLOURS[0], "linewidth": 1.0, "shrinkA": 2.0, "shrinkB": 2.0}
    axes.annotate("", (_LENGTH + 1.2, high), (_LENGTH + 1.2, low), arrowprops=arrow)
    axes.text(
        _LENGTH + 0.6, np.sqrt(high * low), f"×{lead:.0f}·10$^{power}$\nat 40 steps", ha="right", va="center", size=9.5
    )
    axes.set_xlim(-0.8, _LENGTH + 2.4)
    axes.set_ylim(0.15 * low, 3.0)
    axes.set_xlabel("lag τ (steps back in time)")
    axes.set_ylabel("mean square of the gradient, G(τ) = E‖∂h(T)/∂h(T-τ)‖²/N")
    axes.set_title("lstm: theory with fresh weights misses what a real network remembers", fontsize=9.0)
    axes.legend(loc="lower left")
    return figure


FIGURE = NamedFigure(
    "tied-untied",
    "How much of a perturbation of an LSTM's output is left after τ steps. Theory with the same weights at every step "
    "follows PyTorch; theory that redraws them is off by more than 10⁴ at 40 steps.",
    compute,
    draw,
    needs=("torch",),
)
