"""The phase diagram of the GRU without inputs."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from meanfield.estimate import Estimate
from meanfield.network import Gate, Network
from meanfield.phase_diagrams import Phase, PhaseDiagram, phase_diagram
from meanfield.phase_lines import LINES
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import panels

# Light, so that lines stand out, and told apart by their lightness.
_COLOURS = {
    Phase.zero: "#d6eaf8",
    Phase.non_zero: "#7fc9b5",
    Phase.both: "#f5e663",
    Phase.unstable: "#e69f60",
    Phase.none: "#999999",
}
_LINES = (("#0072b2", "-"), ("#000000", (0, (5, 1.5))), ("#a3366b", (0, (1, 1))))
# By panel: the gain of the reset gate where it is not varied, both axes, and how the vertical one is called.
_PLANES: dict[str, tuple[float, tuple[float, float], str, tuple[float, float], str]] = {
    "without biases": (0.0, (1.4, 2.6), "r.recurrent_gain", (0.0, 20.0), "recurrent gain of the reset gate, σ_r"),
    "σ_r = 1": (1.0, (0.5, 6.0), "h.bias_std", (0.0, 2.0), "spread of the biases of the state, ρ_h"),
}
_PHASES, _EDGES = "phases", "lines"


def compute(size: Size) -> FigureData:
    """The phase at points of two planes, and the lines where phases meet."""
    found: list[Series] = []
    for panel, (reset, across, parameter, up, _) in _PLANES.items():
        diagram = phase_diagram(
            Network("gru", {"f": Gate(), "r": Gate(reset), "h": Gate()}),
            horizontal=("h.recurrent_gain", np.linspace(*across, size.pick(31, 3))),
            vertical=(parameter, np.linspace(*up, size.pick(15, 2))),
        )
        found += _series(panel, diagram)
    return FigureData(tuple(found))


def _series(panel: str, diagram: PhaseDiagram) -> list[Series]:
    found = []
    grid = [point for row in diagram.rows for point in row]
    for phase in Phase:
        there = [(point.horizontal, point.vertical) for point in grid if point.phase is phase]
        if there:
            found.append(Series.of(f"{panel}: {_PHASES}", str(phase), *np.array(there).T))
    for line in diagram.lines:
        # Branch by branch, so that a line may be drawn through the places; errors are those of the horizontal one.
        rows: dict[float, list[Estimate]] = {}
        for place, height in line.points:
            rows.setdefault(height, []).append(place)
        for number in range(max((len(places) for places in rows.values()), default=0)):
            met = [
                (places[number].value, height, places[number].error)
                for height, places in rows.items()
                if len(places) > number
            ]
            found.append(Series.of(f"{panel}: {_EDGES}", f"{line.name} ({number + 1})", *np.array(met).T))
    return found


def draw(data: FigureData) -> Any:
    """Phases as areas, and the lines between them, for both planes."""
    patches = importlib.import_module("matplotlib.patches")
    figure, found = panels(1, len(_PLANES), 8.0, 4.3)
    handles: dict[str, Any] = {}
    for axes, (panel, (_, _, _, _, vertical)) in zip(found, _PLANES.items(), strict=True):
        grid = data.panel(f"{panel}: {_PHASES}")
        _draw_areas(axes, grid)
        for phase, colour in _COLOURS.items():
            if any(each.name == phase for each in grid):
                handles.setdefault(str(phase), patches.Patch(facecolor=colour, edgecolor="#555555", label=str(phase)))
        for each in data.panel(f"{panel}: {_EDGES}"):
            name = each.name.rsplit(" (", 1)[0]
            colour, style = _LINES[LINES.index(name)]
            (drawn,) = axes.plot(each.x, each.y, color=colour, linestyle=style, linewidth=2.2, label=name)
            handles.setdefault(name, drawn)
        axes.set_xlabel("recurrent gain of the state, σ_h")
        axes.set_ylabel(vertical)
        axes.set_title(panel)
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3)
    return figure


def _draw_areas(axes: Any, grid: list[Series]) -> None:
    colors = importlib.import_module("matplotlib.colors")
    across, up = (np.unique(np.concatenate(each)) for each in ([s.x for s in grid], [s.y for s in grid]))
    names = [str(phase) for phase in _COLOURS]
    codes = np.full((len(up), len(across)), np.nan)
    for each in grid:
        codes[np.searchsorted(up, each.y), np.searchsorted(across, each.x)] = names.index(each.name)
    shades = colors.ListedColormap(list(_COLOURS.values()))
    axes.pcolormesh(across, up, codes, cmap=shades, vmin=-0.5, vmax=len(names) - 0.5, shading="nearest")
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.grid(False)


FIGURE = NamedFigure(
    "phase-diagram",
    "What a GRU does without inputs, tied weights. Left: a strong reset gate makes fixed points appear (dashed) before "
    "the zero state loses its stability. Right: biases that differ between units keep a fixed point stable for longer.",
    compute,
    draw,
)
