"""Pictures of critical surfaces, with Matplotlib where it is installed."""

from __future__ import annotations

import importlib
import os
import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from meanfield.errors import InvalidInput
from meanfield.files import check_writable

if TYPE_CHECKING:
    from meanfield.critical_surfaces import CriticalSurface


def draw_surface(surface: CriticalSurface, path: str | os.PathLike[str]) -> None:
    """Draw a surface into a picture, its format that of the file's name; the file appears whole or not at all.

    Raises:
        InvalidInput: if Matplotlib is not installed, or does not know the format.
        OSError: if the file cannot be written.
    """
    try:
        # By name: the package is typed and tested without Matplotlib.
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise InvalidInput("plot: needs Matplotlib, which is not installed; run 'pip install matplotlib'") from None
    target = Path(path)
    check_writable(target)
    figure = figures.Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    # The k-th critical values of all rows make a line, which breaks where a row has fewer.
    for branch in zip_longest(*(row.roots for row in surface.rows)):
        heights = [root.value.value if root is not None else float("nan") for root in branch]
        axes.plot([row.against for row in surface.rows], heights, marker="o", markersize=3.0)
    axes.set_xlabel(surface.against)
    axes.set_ylabel(surface.parameter)
    axes.set_ylim(*surface.within)
    axes.set_title(f"{surface.network.cell}, untied weights: χ₁ = {surface.target:g}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        drawn = Path(folder) / target.name
        try:
            figure.savefig(drawn)
        except ValueError as failure:
            raise InvalidInput(f"plot: {target.name}: {failure}") from failure
        os.replace(drawn, target)
