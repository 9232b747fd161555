"""Learning curves, a panel for every task and cell: median over seeds as a line, their range as a band."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.pictures import new_figure, save_figure
from meanfield.validation.training.runs import Run
from meanfield.validation.training.tables import Row, labels_of

Float64 = NDArray[np.float64]

# Of Okabe and Ito: told apart in every common form of colour blindness.
_COLOURS = ("#d55e00", "#0072b2", "#000000", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
_COLUMNS = 4


def draw_curves(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Draw learning curves into a picture, its format that of the file's name; it appears whole or not at all.

    A run that learnt keeps its last metric after it was stopped; one that diverged has that of chance.

    Args:
        rows: from :func:`meanfield.validation.training.tables.rows_of`.
        path: of the picture.

    Raises:
        InvalidInput: if Matplotlib is not installed, or does not know the format.
        OSError: if the file cannot be written.
    """
    columns = min(_COLUMNS, len(rows))
    figure = new_figure(3.2 * columns, 2.5 * math.ceil(len(rows) / columns) + 0.4)
    labels = labels_of(rows)
    drawn = {}
    panels = figure.subplots(math.ceil(len(rows) / columns), columns, squeeze=False).flatten()
    for axes, row in zip(panels, rows, strict=False):
        for number, label in enumerate(labels):
            runs = [run for run in row.runs.get(label, []) if run.curve]
            if not runs:
                continue
            iterations, curves = common_curves(runs)
            colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number % len(_STYLES)]
            (drawn[label],) = axes.plot(iterations, np.median(curves, axis=0), color=colour, linestyle=style)
            axes.fill_between(iterations, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(row.threshold, color="#888888", linewidth=0.8)
        axes.axhline(row.chance, color="#888888", linewidth=0.8, linestyle=":")
        if row.metric == "mean squared error":
            axes.set_yscale("log")
        axes.set_title(row.title.replace(", T = ", "\nT = "), fontsize="small")  # else neighbours' titles meet
        axes.set_ylabel(row.metric, fontsize="small")
        axes.set_xlabel("iterations", fontsize="small")
        axes.tick_params(labelsize="small")
    for axes in panels[len(rows) :]:
        axes.remove()
    ordered = [label for label in labels if label in drawn]
    figure.legend(
        [drawn[label] for label in ordered], ordered, loc="outside lower center", ncols=len(ordered), frameon=False
    )
    save_figure(figure, path)


def common_curves(runs: Sequence[Run]) -> tuple[Float64, Float64]:
    """Learning curves of several runs at common iterations.

    Args:
        runs: each with a curve.

    Returns:
        All iterations at which one of them was measured, (points,), and the metrics, (runs, points): after its end a
        run that diverged has that of chance, others keep their last one.
    """
    iterations = np.array(sorted({point for run in runs for point, _ in run.curve}), dtype=np.float64)
    curves = []
    for run in runs:
        times, metrics = (np.array(each, dtype=np.float64) for each in zip(*run.curve, strict=True))
        after = run.chance if run.outcome == "diverged" else float(metrics[-1])
        curves.append(np.interp(iterations, times, metrics, right=after))
    return iterations, np.array(curves)
