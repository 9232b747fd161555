"""Pictures of comparisons: how the marks of inputs fade with the lag."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meanfield.comparison_verdict import steps_of
from meanfield.files import check_writable
from meanfield.input_reach import FORGOTTEN
from meanfield.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from meanfield.comparison import Comparison, Initialisation

# Of the axis, in natural logarithms: its lower end, or how far it goes below the recipe; and how far it goes at most.
_LOWEST, _BELOW_RECIPE, _WIDEST = -12.0 * np.log(10.0), 2.0 * np.log(10.0), 200.0


def draw_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Draw S(τ)/S(0) of all initialisations on a logarithmic axis, with bands of one standard error.

    Layers and directions have a panel each.

    Raises:
        InvalidInput: if Matplotlib is not installed, or does not know the format.
        OSError: if the file cannot be written.
    """
    stack = (comparison, *comparison.layers)
    figure = new_figure(7.0, 4.5 * len(stack))
    check_writable(Path(path))
    for place, each in enumerate(stack, start=1):
        name = each.cell if len(stack) == 1 else f"{each.cell}, layer {each.layer}, {each.direction}"
        _draw_panel(figure.add_subplot(len(stack), 1, place), each, name)
    save_figure(figure, path)


def _draw_panel(axes: Any, comparison: Comparison, name: str) -> None:
    axes.axhline(FORGOTTEN, color="0.6", linewidth=0.8, linestyle="--")
    axes.annotate(
        "forgotten", (1.0, FORGOTTEN), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.4"
    )
    drawn = [each for each in comparison.initialisations if each.analysis is not None]
    heights = [each.fading.log_values for each in drawn]
    recipe_low = max(float(np.min(heights[0])), -_WIDEST)
    lowest = min(_LOWEST, recipe_low - _BELOW_RECIPE)
    highest = min(max(float(np.max(height)) for height in heights), _WIDEST)
    # The recipe last, on top of the others.
    for each in [*drawn[1:], drawn[0]]:
        recipe = each is comparison.recipe
        profile = each.fading
        shown = np.isfinite(profile.log_values)
        errors = profile.relative_errors[shown]
        # What is far outside the axis need not be told apart, and might leave the range of numbers.
        logarithms = np.clip(profile.log_values[shown], lowest - 10.0, highest)
        style = {"color": "black", "linewidth": 2.2} if recipe else {"linewidth": 1.4}
        label = _label(each, comparison.length)
        (line,) = axes.plot(profile.lags[shown], np.exp(logarithms), label=label, **style)
        axes.fill_between(
            profile.lags[shown],
            np.exp(logarithms - errors),
            np.exp(logarithms + errors),
            color=line.get_color(),
            alpha=0.2,
            linewidth=0.0,
        )
    axes.set_yscale("log")
    axes.set_ylim(np.exp(lowest), 3.0 * np.exp(highest))
    axes.set_xlim(0, max(comparison.length - 1, 1))
    axes.set_xlabel("lag τ, steps back from the last input")
    axes.set_ylabel("mark of an input on the last state, S(τ)/S(0)")
    axes.set_title(f"{name}, {comparison.length} steps, {comparison.hidden} units")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend([handles[-1], *handles[:-1]], [labels[-1], *labels[:-1]], fontsize="small", loc="lower right")


def _label(each: Initialisation, length: int) -> str:
    if each.reach is None:
        return f"{each.title}: all {length} steps"
    return f"{each.title}: {steps_of(each.reach)} steps"
