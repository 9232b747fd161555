"""How marks of inputs fade: a recipe beside the initialisations that people use."""

from __future__ import annotations

from typing import Any

import numpy as np

from meanfield.comparison import Comparison, compare
from meanfield.comparison_verdict import steps_of
from meanfield.input_reach import FORGOTTEN
from meanfield.recipes import recipe
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import COLOURS, LINES, MUTED, panels

_LOWEST = 1e-12


def compute(size: Size) -> FigureData:
    """S(τ)/S(0) of all initialisations of an LSTM on a task of 200 steps."""
    found = recipe(
        "lstm",
        length=size.pick(200, 20),
        hidden=size.pick(256, 64),
        inputs=size.pick(28, 8),
        units=size.pick(None, 512),
        seed=size.seed,
    )
    return reach_of(compare(found))


def reach_of(comparison: Comparison) -> FigureData:
    """The series of a comparison; what leaves the range of numbers is zero or left out."""
    found = []
    for each in comparison.initialisations:
        if each.analysis is None:
            continue
        fading = each.fading
        shown = fading.log_values < 300.0
        steps = f"all {comparison.length}" if each.reach is None else steps_of(each.reach)
        values = fading.values[shown]
        found.append(
            Series.of(
                f"{comparison.cell}, {comparison.length} steps",
                f"{each.title}: {steps} steps",
                fading.lags[shown],
                values,
                values * fading.relative_errors[shown],
            )
        )
    return FigureData(tuple(found))


def draw(data: FigureData) -> Any:
    """One panel with a logarithmic axis; the recipe on top of the others."""
    figure, (axes,) = panels(1, 1, 6.6, 4.2)
    axes.set_yscale("log")
    (panel,) = data.panels
    recipe_first = data.panel(panel)
    lowest = min(_LOWEST, 1e-2 * float(np.min(recipe_first[0].y[recipe_first[0].y > 0.0])))
    axes.axhline(FORGOTTEN, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)))
    right = float(recipe_first[0].x[-1])
    axes.annotate("forgotten", (0.98 * right, 0.7 * FORGOTTEN), ha="right", va="top", color="#555555", size=8)
    lines = []
    for number, each in enumerate(recipe_first):
        seen = each.y > 0.1 * lowest
        style = {"linewidth": 2.6, "zorder": 5} if number == 0 else {"linewidth": 1.5}
        colour = COLOURS[number % len(COLOURS)]
        chosen = {"color": colour, "linestyle": LINES[number % len(LINES)], "label": each.name, **style}
        lines += axes.plot(each.x[seen], each.y[seen], **chosen)
        low = np.maximum(each.y - each.errors, 1e-3 * each.y)[seen]
        axes.fill_between(each.x[seen], low, (each.y + each.errors)[seen], color=colour, alpha=0.18, linewidth=0)
    highest = max(float(np.max(each.y)) for each in recipe_first)
    axes.set_ylim(lowest, 4.0 * min(highest, 1e6))
    axes.set_xlim(0.0, max(right, 1.0))
    axes.set_xlabel("lag τ (steps back from the last input)")
    axes.set_ylabel("mark of an input on the last state, S(τ)/S(0)")
    axes.set_title(panel)
    figure.legend(handles=lines, loc="outside right upper", title="initialisation: reach")
    return figure


FIGURE = NamedFigure(
    "recipe-reach",
    "The mark that an input leaves on the last state of an LSTM, τ steps later, for a recipe and for initialisations "
    "that people use (tied weights, 200 steps). In the legend: over how many steps it stays above a thousandth.",
    compute,
    draw,
)
