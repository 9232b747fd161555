"""Pictures of critical surfaces."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from meanfield.files import check_writable
from meanfield.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from meanfield.critical_surfaces import CriticalSurface


def draw_surface(surface: CriticalSurface, path: str | os.PathLike[str]) -> None:
    """Draw a surface into a picture, its format that of the file's name; the file appears whole or not at all.

    Raises:
        InvalidInput: if Matplotlib is not installed, or does not know the format.
        OSError: if the file cannot be written.
    """
    figure = new_figure(6.0, 4.0)
    check_writable(Path(path))
    axes = figure.add_subplot()
    # The k-th critical values of all rows make a line, which breaks where a row has fewer.
    for branch in zip_longest(*(row.roots for row in surface.rows)):
        heights = [root.value.value if root is not None else float("nan") for root in branch]
        axes.plot([row.against for row in surface.rows], heights, marker="o", markersize=3.0)
    axes.set_xlabel(surface.against)
    axes.set_ylabel(surface.parameter)
    axes.set_ylim(*surface.within)
    axes.set_title(f"{surface.network.cell}, untied weights: χ₁ = {surface.target:g}")
    save_figure(figure, path)
