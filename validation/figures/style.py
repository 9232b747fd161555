"""The one style of all figures: told apart in every common form of colour blindness, and in grey."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from meanfield.errors import InvalidInput
from meanfield.pictures import new_figure
from meanfield.validation.figures.series import Series

# Of Okabe and Ito, from dark to light, so that neighbours differ in grey as well.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
THEORY, CLOUD, MUTED = "#0b3c5d", "#d9a441", "#8a8a8a"
MAP = "cividis"
_FEW_LABELS, _FEW_DECADES = 1.9, 6.0
_SYMBOL = re.compile(r"([σμνρξχ])_([a-z])")

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "figure.dpi": 100.0,
    "savefig.dpi": 130.0,
    "svg.hashsalt": "meanfield",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib with :data:`STYLE` on top of its own defaults, whatever the user's settings are.

    Raises:
        InvalidInput: if Matplotlib is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise InvalidInput(
            "figures: need Matplotlib, which is not installed; run \"pip install 'meanfield-rnn[plot]'\""
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, list[Any]]:
    """A figure of this size in inches, and its axes row by row."""
    figure = new_figure(width, height)
    found = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(np.asarray(found).flatten())


def points(axes: Any, series: Series, number: int = 0, **options: Any) -> Any:
    """Points with error bars, in the colour and with the marker of a number."""
    chosen = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": "none", "markerfacecolor": "white"}
    return axes.errorbar(
        series.x, series.y, yerr=series.errors, elinewidth=1.0, markeredgewidth=1.2, zorder=4, **{**chosen, **options}
    )


def curve(axes: Any, series: Series, number: int = 0, *, band: bool = True, **options: Any) -> Any:
    """A curve with a band of one error, in the colour and line style of a number."""
    chosen = {"color": COLOURS[number], "linestyle": LINES[number], **options}
    (line,) = axes.plot(series.x, series.y, **chosen)
    if band and np.any(series.errors > 0.0):
        low = series.y - series.errors
        if axes.get_yscale() == "log":
            low = np.maximum(low, 1e-3 * series.y)
        axes.fill_between(series.x, low, series.y + series.errors, color=line.get_color(), alpha=0.18, linewidth=0)
    return line


def finish(figure: Any) -> None:
    """Ticks of logarithmic axes, and symbols with their subscripts, once everything is drawn."""
    text = importlib.import_module("matplotlib.text").Text
    for label in figure.findobj(text):
        label.set_text(_SYMBOL.sub(r"\1$_{\2}$", label.get_text()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                _log_ticks(axis)


def _log_ticks(axis: Any) -> None:
    """Minor ticks at 2 to 9 of every decade, or at every decade where there are many."""
    ticker = importlib.import_module("matplotlib.ticker")
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low)
    if decades < _FEW_LABELS:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_major_locator(ticker.LogLocator(numticks=9))
    subs = range(2, 10) if decades <= _FEW_DECADES else (1.0,)
    axis.set_minor_locator(ticker.LogLocator(subs=subs, numticks=200))
    axis.set_minor_formatter(ticker.NullFormatter())
