"""What a figure shows, as numbers: curves and points with errors, which a CSV file holds without loss."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.errors import InvalidInput

Float64 = NDArray[np.float64]

_COLUMNS = ["panel", "series", "x", "y", "error"]


@dataclass(frozen=True, eq=False)
class Series:
    """A curve, or points.

    Attributes:
        panel, name: where it belongs, and what it is.
        x, y: coordinates, (points,).
        errors: of y, one standard error or a bound; zero where nothing is uncertain, (points,).
    """

    panel: str
    name: str
    x: Float64
    y: Float64
    errors: Float64

    @classmethod
    def of(cls, panel: str, name: str, x: ArrayLike, y: ArrayLike, errors: ArrayLike = 0.0) -> Series:
        """A series from anything like arrays; errors are broadcast.

        Raises:
            InvalidInput: if x and y are not of one length.
        """
        across, up = (np.asarray(each, dtype=np.float64) for each in (x, y))
        if across.ndim != 1 or across.shape != up.shape:
            raise InvalidInput(f"{panel}, {name}: x and y must be as long, got shapes {across.shape} and {up.shape}")
        return cls(panel, name, across, up, np.broadcast_to(np.asarray(errors, dtype=np.float64), up.shape))


@dataclass(frozen=True, eq=False)
class FigureData:
    """All numbers of a figure.

    Attributes:
        series: in the order in which they are drawn.
    """

    series: tuple[Series, ...] = field(default_factory=tuple)

    @property
    def panels(self) -> list[str]:
        """Names of the panels, in order."""
        return list(dict.fromkeys(each.panel for each in self.series))

    def panel(self, name: str) -> list[Series]:
        """The series of a panel, in order."""
        return [each for each in self.series if each.panel == name]

    def one(self, panel: str, name: str) -> Series:
        """A series by its names.

        Raises:
            KeyError: if there is no such series.
        """
        for each in self.panel(panel):
            if each.name == name:
                return each
        raise KeyError(f"there is no series {name!r} in panel {panel!r}")

    def text(self) -> str:
        """A table with commas: panel, series, x, y, error; numbers are written without loss.

        >>> print(FigureData((Series.of("gru", "theory", [0.0, 1.0], [0.5, 0.25], 0.125),)).text(), end="")
        panel,series,x,y,error
        gru,theory,0.0,0.5,0.125
        gru,theory,1.0,0.25,0.125
        """
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        for each in self.series:
            rows = zip(each.x.tolist(), each.y.tolist(), each.errors.tolist(), strict=True)
            table.writerows([each.panel, each.name, *map(repr, row)] for row in rows)
        return stream.getvalue()


def parse_series(text: str) -> FigureData:
    """What :meth:`FigureData.text` wrote.

    Raises:
        InvalidInput: if it is not such a table.

    >>> data = FigureData((Series.of("gru", "theory", [0.1], [1.0 / 3.0]),))
    >>> parse_series(data.text()).series[0].y.tolist() == data.series[0].y.tolist()
    True
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or rows[0] != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise InvalidInput(f"table of a figure: must have the columns {', '.join(_COLUMNS)}")
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    try:
        for panel, name, x, y, error in rows[1:]:
            found.setdefault((panel, name), []).append((float(x), float(y), float(error)))
    except ValueError as failure:
        raise InvalidInput(f"table of a figure: {failure}") from None
    return FigureData(tuple(Series.of(*key, *np.array(values).T) for key, values in found.items()))
