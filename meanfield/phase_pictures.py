"""Pictures of phase diagrams."""

from __future__ import annotations

import importlib
import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meanfield.files import check_writable
from meanfield.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from meanfield.phase_diagrams import PhaseDiagram

# Of Okabe and Ito, lightened: told apart in every common form of colour blindness, and by their lightness.
_COLOURS = {
    "zero stable": "#cfe8f7",
    "non-zero fixed point stable": "#7fc9b5",
    "zero and non-zero stable": "#f5e663",
    "fixed points, none stable": "#e69f60",
    "no fixed point": "#999999",
}
_STYLES = (("#0072b2", "-", "o"), ("#000000", "--", "s"), ("#a3366b", ":", "^"))


def draw_phases(diagram: PhaseDiagram, path: str | os.PathLike[str]) -> None:
    """Draw a phase diagram into a picture, its format that of the file's name; it appears whole or not at all.

    Raises:
        InvalidInput: if Matplotlib is not installed, or does not know the format.
        OSError: if the file cannot be written.
    """
    figure = new_figure(6.4, 5.2)
    patches, colors = (importlib.import_module(f"matplotlib.{name}") for name in ("patches", "colors"))
    check_writable(Path(path))
    names = list(_COLOURS)
    axes = figure.add_subplot()
    codes = [[names.index(str(point.phase)) for point in row] for row in diagram.rows]
    across = _edges([point.horizontal for point in diagram.rows[0]])
    up = _edges([row[0].vertical for row in diagram.rows])
    shades = colors.ListedColormap(list(_COLOURS.values()))
    axes.pcolormesh(across, up, codes, cmap=shades, vmin=-0.5, vmax=len(names) - 0.5)
    shown = [names[code] for code in sorted({code for row in codes for code in row})]
    handles = [patches.Patch(facecolor=_COLOURS[name], edgecolor="#555555", label=name) for name in shown]
    heights = [row[0].vertical for row in diagram.rows]
    for line, (colour, style, marker) in zip(diagram.lines, _STYLES, strict=True):
        met = [[place.value for place, height in line.points if height == each] for each in heights]
        # The k-th places of all rows make a line, which breaks where a row has fewer.
        for number, branch in enumerate(zip_longest(*met, fillvalue=float("nan"))):
            label = line.name if number == 0 else None
            drawn = axes.plot(
                branch, heights, color=colour, linestyle=style, marker=marker, markersize=3.5, label=label
            )
            handles += drawn[: number == 0]
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.set_xlabel(diagram.horizontal)
    axes.set_ylabel(diagram.vertical)
    axes.set_title(f"{diagram.network.cell}, tied weights, no inputs" if not diagram.power else diagram.network.cell)
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    save_figure(figure, path)


def _edges(values: list[float]) -> NDArray[np.float64]:
    """Ends of the cells around values, halfway between neighbours."""
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = 0.5 * (np.array(values[1:]) + np.array(values[:-1]))
    return np.concatenate(([1.5 * values[0] - 0.5 * values[1]], middle, [1.5 * values[-1] - 0.5 * values[-2]]))
