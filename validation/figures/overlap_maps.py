"""Maps of the overlap of two sequences, cell by cell, their fixed points, and where simulated networks settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_moments import closed_law
from meanfield.closed_overlap import OverlapMap, fixed_points_of
from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.output_law import output_law
from meanfield.output_overlap import OutputOverlapMap
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import mean_of_networks
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import COLOURS, LINES, MUTED, panels
from meanfield.validation.finite_width import overlaps

Float64 = NDArray[np.float64]

_GAINS = (0.5, 2.0, 4.0)
_GATE = Gate(1.0, 0.5, 0.0, 0.2)
_VARIED: dict[str, Callable[[float], dict[str, Gate]]] = {
    "vanilla": lambda gain: {"h": Gate(gain, 0.5, 0.0, 0.2)},
    # Its embedding has no recurrent matrix: the keep gate's gain is varied.
    "minimal": lambda gain: {"f": Gate(gain, 0.5, 0.0, 0.2), "z": Gate(0.0, 0.5, 0.0, 0.2)},
    "gru": lambda gain: {"f": _GATE, "r": _GATE, "h": Gate(gain, 0.5, 0.0, 0.2)},
    "janet": lambda gain: {"f": _GATE, "g": Gate(gain, 0.5, 0.0, 0.2)},
    "peephole_lstm": lambda gain: {"i": _GATE, "f": _GATE, "g": Gate(gain, 0.5, 0.0, 0.2)},
    "lstm": lambda gain: {"i": _GATE, "f": _GATE, "o": _GATE, "g": Gate(gain, 0.5, 0.0, 0.2)},
}
_INPUTS = Inputs(power=1.0, overlap=0.5)


def compute(size: Size) -> FigureData:
    """Images of overlaps 0 to 1, fixed points with bounds, and overlaps of networks with fresh weights."""
    at = np.linspace(0.0, 1.0, size.pick(81, 21))
    found = []
    for cell in size.pick(list(_VARIED), ["vanilla", "lstm"]):
        for gain in _GAINS:
            network = Network(cell, _VARIED[cell](gain))
            overlap_map = _map(network)
            variance = overlap_map.law.second_moment.value - overlap_map.law.mean.value**2
            change = overlap_map.change(at, quick=True)
            label = f"gain {gain:g}"
            found.append(Series.of(cell, label, at, at + change.value / variance, change.error / variance))
            fixed = [point.overlap for point in fixed_points_of(overlap_map) if point.overlap.value >= 0.0]
            places, bounds = (np.array([getattr(each, part) for each in fixed]) for part in ("value", "error"))
            found.append(Series.of(cell, f"{label}, fixed points", places, places, bounds))
            mean, error = _settled(network, size)
            found.append(Series.of(cell, f"{label}, simulated", [mean], [mean], [error]))
    return FigureData(tuple(found))


def _map(network: Network) -> OverlapMap:
    if len(network.definition.states) > 1:
        return OutputOverlapMap(output_law(network, _INPUTS))
    return OverlapMap(closed_law(network, _INPUTS))


def _settled(network: Network, size: Size) -> tuple[float, float]:
    """The overlap of networks with fresh weights over the second half of a run."""
    steps = size.pick(64, 8)
    run = overlaps(
        network,
        _INPUTS,
        hidden=size.pick(256, 32),
        length=steps,
        networks=size.pick(12, 2),
        seed=size.seed,
        regime="untied",
    )
    mean, error = mean_of_networks(np.mean(run[:, steps // 2 :], axis=1))
    return float(mean), float(error)


def draw(data: FigureData) -> Any:
    """A panel for every cell."""
    columns = min(3, len(data.panels))
    rows = -(-len(data.panels) // columns)
    figure, found = panels(rows, columns, 2.5 * columns + 0.4, 2.5 * rows + 0.5, sharex=True, sharey=True)
    handles: list[Any] = []
    for axes, cell in zip(found, data.panels, strict=True):
        axes.plot([0.0, 1.0], [0.0, 1.0], color=MUTED, linewidth=0.9)
        handles.clear()
        for number, gain in enumerate(_GAINS):
            label = f"gain {gain:g}"
            image = data.one(cell, label)
            style = {"color": COLOURS[number], "linestyle": LINES[number]}
            handles += axes.plot(image.x, image.y, label=f"σ = {gain:g}", **style)
            fixed = data.one(cell, f"{label}, fixed points")
            (mark,) = axes.plot(fixed.x, fixed.y, "o", color=COLOURS[number], markersize=5, zorder=4)
            settled = data.one(cell, f"{label}, simulated")
            bars = axes.errorbar(
                settled.x,
                settled.y,
                xerr=settled.errors,
                yerr=settled.errors,
                fmt="D",
                color=COLOURS[number],
                markerfacecolor="white",
                markersize=8,
                markeredgewidth=1.2,
                zorder=3,
            )
        axes.set_title(cell.replace("_", " "))
        axes.set_aspect("equal")
        axes.set_xlim(0.0, 1.02)
        axes.set_ylim(0.0, 1.02)
    for number, axes in enumerate(found):
        if number % columns == 0:
            axes.set_ylabel("overlap one step later, C(t+1)")
        if number // columns == rows - 1:
            axes.set_xlabel("overlap C(t)")
    handles += [mark, bars]
    labels = [*(f"σ = {gain:g}" for gain in _GAINS), "fixed point, theory", "networks, fresh weights"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)
    return figure


FIGURE = NamedFigure(
    "overlap-maps",
    "How alike two sequences of states are one step later, as a function of how alike they are now, for three "
    "recurrent gains σ and inputs of overlap 0.5 (untied weights). Dots are the fixed points of the map; diamonds are "
    "where networks of 256 units settle.",
    compute,
    draw,
)
