"""Drawing with Matplotlib, which the package does not depend on, into files that appear whole or not at all."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.files import check_writable


def new_figure(width: float, height: float) -> Any:
    """An empty Matplotlib figure of this size in inches.

    Raises:
        InvalidInput: if Matplotlib is not installed.
    """
    try:
        # By name: the package is typed and tested without Matplotlib.
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise InvalidInput("plot: needs Matplotlib, which is not installed; run 'pip install matplotlib'") from None
    return figures.Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure, its format that of the file's name.

    Raises:
        InvalidInput: if Matplotlib does not know the format.
        OSError: if the file cannot be written.
    """
    target = Path(path)
    check_writable(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        drawn = Path(folder) / target.name
        try:
            figure.savefig(drawn)
        except ValueError as failure:
            raise InvalidInput(f"plot: {target.name}: {failure}") from failure
        os.replace(drawn, target)
