"""Pictures of a table: heat maps of a number over two axes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.files import check_writable
from meanfield.pictures import new_figure, save_figure
from meanfield.table_requests import FIELDS
from meanfield.table_store import FIXED, Store, quoted

Float64 = NDArray[np.float64]

_MOST_TICKS = 12
_SMALLEST_SHARE = 0.25  # of a grid that must be there; else rows are drawn as points


@dataclass(frozen=True)
class HeatMap:
    """A number of a table over two fields of the requests.

    Attributes:
        number: its column.
        across, up: the fields.
        columns, rows: their values, sorted.
        values: means over seeds, NaN where the table has no recipe, (rows, columns).
        counts: recipes behind each, (rows, columns).
    """

    number: str
    across: str
    up: str
    columns: tuple[Any, ...]
    rows: tuple[Any, ...]
    values: Float64
    counts: NDArray[np.intp]

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw it, the format that of the file's name; the file appears whole or not at all.

        Raises:
            InvalidInput: if Matplotlib is not installed, or does not know the format.
            OSError: if the file cannot be written.
        """
        figure = new_figure(6.4, 5.0)
        check_writable(Path(path))
        axes = figure.add_subplot()
        if np.count_nonzero(self.counts) >= _SMALLEST_SHARE * self.counts.size:
            drawn = axes.imshow(self.values, origin="lower", aspect="auto", interpolation="nearest", cmap="cividis")
            _ticks(axes.set_xticks, self.columns)
            _ticks(axes.set_yticks, self.rows)
        else:
            up, across = np.nonzero(self.counts)
            points = [self.columns[index] for index in across], [self.rows[index] for index in up]
            drawn = axes.scatter(*points, c=self.values[up, across], s=14.0, cmap="cividis")
            for values, scale in ((self.columns, axes.set_xscale), (self.rows, axes.set_yscale)):
                if not isinstance(values[0], str) and values[0] > 0 and values[-1] > 20 * values[0]:
                    scale("log")
        figure.colorbar(drawn, label=self.number)
        axes.set_xlabel(self.across)
        axes.set_ylabel(self.up)
        save_figure(figure, path)


def heat_map(
    path: str | os.PathLike[str],
    number: str,
    *,
    across: str,
    up: str,
    where: Mapping[str, str | float] | None = None,
) -> HeatMap:
    """A number of a table over any two fields of its requests.

    Args:
        path: file of the table.
        number: a column (``meanfield table show --columns``); ``chi`` is short for ``predicted_chi``.
        across, up: fields of the requests.
        where: values of other fields; rows with others are left out.

    Raises:
        InvalidInput: if a name is unknown, no row is left, or rows at one point differ in more than their seeds.
        StoreFailed: if the table cannot be read.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/recipes.sqlite"
    >>> Store(path, write=True).close()
    >>> heat_map(path, "chi", across="length", up="hidden")
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: number: the table has none yet; got 'chi'
    """
    for name, field in (("across", across), ("up", up)):
        if field not in FIELDS:
            raise InvalidInput(f"{name}: must be one of {', '.join(FIELDS)}, got {field!r}")
    if across == up:
        raise InvalidInput(f"up: must be another field than across, got {up!r}")
    with Store(path) as store:
        column = number_column(store, number)
        condition, values = selection(where or {})
        others = [field for field in FIELDS if field not in (across, up, "seed")]
        names = ", ".join(map(quoted, (across, up, column, *others)))
        rows = store.select(f"SELECT {names} FROM recipes WHERE error IS NULL AND {condition}", values)
    if not rows:
        raise InvalidInput(f"{path}: has no such recipes")
    _check_alike(rows, across, up, others)
    columns, heights = (tuple(sorted({row[side] for row in rows}, key=_order)) for side in (0, 1))
    places = [{value: index for index, value in enumerate(side)} for side in (columns, heights)]
    counts = np.zeros((len(heights), len(columns)), dtype=np.intp)
    total = np.zeros(counts.shape)
    for row in rows:
        if row[2] is not None:
            place = places[1][row[1]], places[0][row[0]]
            counts[place] += 1
            total[place] += row[2]
    if not counts.any():
        raise InvalidInput(f"number: {column} does not exist in any of these recipes")
    means = np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return HeatMap(column, across, up, columns, heights, means, counts)


def number_column(store: Store, name: str) -> str:
    """The column of a number, ``chi`` being short for ``predicted_chi``.

    Raises:
        InvalidInput: if there is none, listing those there are.
    """
    numbers = [column for column in store.columns() if column not in FIXED]
    for column in (name, f"predicted_{name}"):
        if column in numbers:
            return column
    listed = ", ".join(column for column in numbers if not column.endswith("_error")) or "none yet"
    raise InvalidInput(f"number: the table has {listed}; got {name!r}")


def selection(where: Mapping[str, str | float]) -> tuple[str, list[str | float]]:
    """A condition on fields and its values.

    Raises:
        InvalidInput: if a field is unknown.
    """
    for field in where:
        if field not in FIELDS:
            raise InvalidInput(f"where: must name one of {', '.join(FIELDS)}, got {field!r}")
    return " AND ".join(["1", *(f"{quoted(field)} = ?" for field in where)]), list(where.values())


def _check_alike(rows: Sequence[tuple[Any, ...]], across: str, up: str, others: Sequence[str]) -> None:
    """A point of the picture must not be a mean over different things."""
    first: dict[tuple[Any, Any], tuple[Any, ...]] = {}
    for row in rows:
        known = first.setdefault(row[:2], row)
        for index, field in enumerate(others, start=3):
            if known[index] != row[index]:
                raise InvalidInput(
                    f"where: recipes at {across} {row[0]}, {up} {row[1]} differ in {field} ({known[index]} and "
                    f"{row[index]}); choose one with {field}=VALUE"
                )


def _order(value: Any) -> tuple[bool, Any]:
    return (value is not None, value)


def _ticks(set_ticks: Any, values: Sequence[Any]) -> None:
    step = -(-len(values) // _MOST_TICKS)
    shown = range(0, len(values), step)
    set_ticks(
        list(shown),
        [f"{values[index]:.4g}" if isinstance(values[index], float) else str(values[index]) for index in shown],
    )
