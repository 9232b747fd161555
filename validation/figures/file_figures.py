"""Figures of what the user has computed: learning curves of runs, and a number of a table of recipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meanfield.table_pictures import heat_map
from meanfield.validation.figures.series import FigureData, Series


@dataclass(frozen=True)
class FileFigure:
    """A figure that is drawn from a file.

    Attributes:
        name, caption: as for the others.
        option: of the command, that gives the file.
        made_by: the command that makes such a file.
        read: its numbers, and what draws them into a picture, from the file and further options.
    """

    name: str
    caption: str
    option: str
    made_by: str
    read: Callable[[Path, Mapping[str, str]], tuple[FigureData, Callable[[str | os.PathLike[str]], None]]]


def _training_curves(
    path: Path, options: Mapping[str, str]
) -> tuple[FigureData, Callable[[str | os.PathLike[str]], None]]:
    from meanfield.validation.training.pictures import common_curves, draw_curves
    from meanfield.validation.training.runs import read_runs
    from meanfield.validation.training.tables import labels_of, rows_of

    rows = rows_of(read_runs(path))
    found = []
    for row in rows:
        for label in labels_of(rows):
            runs = [run for run in row.runs.get(label, []) if run.curve]
            if runs:
                iterations, curves = common_curves(runs)
                half_range = 0.5 * np.ptp(curves, axis=0)
                found.append(Series.of(row.title, label, iterations, np.median(curves, axis=0), half_range))
    return FigureData(tuple(found)), lambda target: draw_curves(rows, target)


def _recipe_table(
    path: Path, options: Mapping[str, str]
) -> tuple[FigureData, Callable[[str | os.PathLike[str]], None]]:
    found = heat_map(path, options["number"], across=options["across"], up=options["up"])
    rows, columns = np.nonzero(found.counts)
    # One series for every row of the picture; columns by their place where they are words.
    words = any(isinstance(each, str) for each in found.columns)
    places = np.arange(len(found.columns)) if words else np.array(found.columns, dtype=np.float64)
    series = [
        Series.of(
            found.number, f"{found.up} {value}", places[columns[rows == row]], found.values[row][columns[rows == row]]
        )
        for row, value in enumerate(found.rows)
        if np.any(rows == row)
    ]
    return FigureData(tuple(series)), found.plot


FILE_FIGURES: dict[str, FileFigure] = {
    each.name: each
    for each in (
        FileFigure(
            "training-curves",
            "Learning curves of small networks, a panel for every task and cell: medians over seeds and their range.",
            "--runs",
            "meanfield train run adding copy --cell lstm --length 200 -o runs.jsonl",
            _training_curves,
        ),
        FileFigure(
            "recipe-table",
            "A number of a table of recipes over two fields of the requests, as a heat map.",
            "--table",
            "meanfield table run grid.toml -o recipes.sqlite",
            _recipe_table,
        ),
    )
}
