"""The time scale of gradients over the keep gate's bias and the recurrent gain of the GRU."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch import FixedPointTable, fixed_points_of_many
from meanfield.inputs import Inputs
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import growth_between, reference_gru
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import MAP, curve, panels, points
from meanfield.validation.finite_width import simulate

Float64 = NDArray[np.float64]

_GAINS = (0.5, 2.0, 3.5)
_BIASES = (-1.0, 0.5, 2.0, 3.5)
_PLANE, _LINES = "plane", "lines"
_LEVELS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def compute(size: Size) -> FigureData:
    """ξ from closed maps on a grid and along three lines, and from the gradients of networks with fresh weights."""
    biases = np.linspace(-2.0, 4.0, size.pick(49, 13))
    gains = np.linspace(0.0, 5.0, size.pick(41, 6))
    found = []
    for gain in gains:
        chi = _table(float(gain), biases).chi
        found.append(Series.of(_PLANE, f"{gain:.6g}", biases, chi.value, chi.error))
    for gain in _GAINS:
        scale = _table(gain, biases).timescale
        found.append(Series.of(_LINES, f"gain {gain:g}", biases, scale.value, scale.error))
        simulated = [_simulated(gain, bias, size) for bias in _BIASES]
        found.append(Series.of(_LINES, f"gain {gain:g}, simulated", _BIASES, *np.array(simulated).T))
    return FigureData(tuple(found))


def _table(gain: float, biases: Float64) -> FixedPointTable:
    networks = [reference_gru(gain, keep_bias=float(bias)) for bias in biases]
    return fixed_points_of_many(networks, Inputs(), threads=1)


def _simulated(gain: float, bias: float, size: Size) -> tuple[float, float]:
    """-1/log of the growth of gradients and its error; not a number where they grow."""
    run = simulate(
        reference_gru(gain, keep_bias=bias),
        Inputs(),
        hidden=size.pick(256, 48),
        length=10,
        networks=size.pick(8, 3),
        seed=size.seed,
        regime="untied",
        burn_in=size.pick(60, 10),
        directions=8,
    )
    growth = growth_between(run.gradient_profile, 0, 10)
    if growth.value >= 1.0:
        return math.nan, math.nan
    scale = -1.0 / math.log(growth.value)
    return scale, scale**2 * growth.error / growth.value


def draw(data: FigureData) -> Any:
    """A map of ξ, and three lines through it with simulated points."""
    colormaps, colors = (importlib.import_module(f"matplotlib.{name}") for name in ("cm", "colors"))
    figure, (left, right) = panels(1, 2, 7.6, 3.4)
    plane = data.panel(_PLANE)
    gains, chi = [float(each.name) for each in plane], np.array([each.y for each in plane])
    levels = [0.0, *(math.exp(-1.0 / scale) for scale in _LEVELS), 1.0]
    shades = colormaps.ScalarMappable(cmap=MAP).to_rgba(np.linspace(0.0, 1.0, len(levels) - 1), norm=False)
    norm = colors.BoundaryNorm(levels, len(levels) - 1)
    fill = left.contourf(plane[0].x, gains, chi, levels=levels, cmap=colors.ListedColormap(shades), norm=norm)
    left.contour(plane[0].x, gains, chi, levels=levels[1:-1], colors="white", linewidths=0.6)
    left.contour(plane[0].x, gains, chi, levels=[1.0], colors="black", linewidths=1.6)
    bar = figure.colorbar(fill, ax=left, label="time scale ξ (steps)", spacing="uniform")
    bar.set_ticks(levels[1:], labels=[*(f"{scale:g}" for scale in _LEVELS), "∞"])
    bar.ax.minorticks_off()
    left.text(0.04, 0.95, "χ > 1:\ngradients grow", transform=left.transAxes, va="top", size=8)
    left.set_xlabel("mean bias of the keep gate, μ_f")
    left.set_ylabel("recurrent gain, σ_h")
    left.set_title("theory")
    left.grid(False)
    for number, gain in enumerate(_GAINS):
        curve(right, data.one(_LINES, f"gain {gain:g}"), number, label=f"σ_h = {gain:g}")
        points(right, data.one(_LINES, f"gain {gain:g}, simulated"), number)
    right.set_yscale("log")
    right.set_xlabel("mean bias of the keep gate, μ_f")
    right.set_ylabel("time scale ξ (steps)")
    right.set_title("lines: theory; markers: networks")
    right.legend()
    return figure


FIGURE = NamedFigure(
    "timescales",
    "In how many steps gradients of a GRU fall by e, ξ = -1/log χ, over the bias of its keep gate and its recurrent "
    "gain (untied weights). Markers are networks of 256 units, with the standard error over eight of them.",
    compute,
    draw,
)
