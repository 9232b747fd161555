"""Where a request lies among the rows of a table, and windows around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput
from meanfield.table_requests import DEFAULTS
from meanfield.table_store import AXES, FAMILY, Store

Float64 = NDArray[np.float64]

_COUNTS = ("length", "hidden", "inputs", "signal")
_SMALLEST_POWER = 1e-12
_OUTWARDS = 1.0 + 1e-9  # for the rounding of logarithms


@dataclass(frozen=True)
class Place:
    """A request among the rows of its family.

    Attributes:
        family: what all rows have in common.
        padded: whether they are of padded inputs.
        asked: the value of every axis, None for the signal of white inputs.
        axes: the axes that have a value.
        extents: lowest and highest value of each axis among the rows.
        coordinates: of the request, (axes).
    """

    family: Mapping[str, str | int]
    padded: bool
    asked: Mapping[str, float | int | None]
    axes: tuple[str, ...]
    extents: Mapping[str, tuple[float, float]]
    coordinates: Float64

    @property
    def anchor(self) -> Float64:
        """The point nearest to the request within the extents of the axes, in coordinates, (axes)."""
        low, high = self._ends
        return np.clip(self.coordinates, low, high)

    @property
    def outside(self) -> float:
        """How far the request is outside of the extents."""
        return float(np.linalg.norm(self.coordinates - self.anchor))

    @property
    def varied(self) -> NDArray[np.bool_]:
        """Over which axes the rows of the family differ, (axes)."""
        low, high = self._ends
        return low < high

    def window(self, width: float, most: int = -1) -> tuple[str, list[Any]]:
        """A query of the points within ``width`` of the anchor on every axis, so many at most; -1 stands for all.

        Its rows are the id of the row of the lowest seed, and the values of the axes.
        """
        conditions = [f"{name} = ?" for name in FAMILY]
        values: list[Any] = [self.family[name] for name in FAMILY]
        for axis, middle in zip(self.axes, self.anchor.tolist(), strict=True):
            conditions.append(f"{axis} BETWEEN ? AND ?")
            values += [value_at(axis, middle - _OUTWARDS * width), value_at(axis, middle + _OUTWARDS * width)]
        if not self.padded:
            conditions.append("signal IS NULL")
        names = ", ".join(self.axes)
        where = " AND ".join(conditions)
        # SQLite takes the id from the row that has the minimum. The index has all of this, in this order.
        statement = (
            f"SELECT id, {names}, min(seed) FROM recipes WHERE error IS NULL AND {where} GROUP BY {names} LIMIT ?"
        )
        return statement, [*values, most]

    def holds_all(self, width: float) -> bool:
        """Whether a window holds all rows of the family."""
        low, high = self._ends
        return bool(np.all((low >= self.anchor - width) & (high <= self.anchor + width)))

    @property
    def _ends(self) -> tuple[Float64, Float64]:
        ends = np.array([self.extents[axis] for axis in self.axes], dtype=np.float64)
        return coordinates(ends[:, 0], self.axes), coordinates(ends[:, 1], self.axes)


def wanted_place(store: Store, family: Mapping[str, str | int], given: Mapping[str, float | int | None]) -> Place:
    """The place of a request; the newest method's rows, and for what is not given the one value of all rows.

    Raises:
        InvalidInput: if there are no such rows, a value makes no sense, or one is needed.
    """
    rows = store.select(
        f"SELECT method, padded, axis, lowest, highest FROM extents "
        f"WHERE {' AND '.join(f'{name} = ?' for name in family)}",
        list(family.values()),
    )
    if not rows:
        known = store.select(f"SELECT DISTINCT {', '.join(family)} FROM extents")
        listed = "; ".join(_named(dict(zip(family, row, strict=True))) for row in known) or "nothing yet"
        wanted = _named(family)
        raise InvalidInput(f"{store.path}: has no recipes of {wanted}; it has {listed}")
    method = _newest(store, {row[0] for row in rows})
    kinds = {bool(row[1]) for row in rows if row[0] == method}
    padded = True if given["signal"] is not None else min(kinds)
    if padded not in kinds:
        raise InvalidInput("signal: the table has recipes without padding only")
    extents = {row[2]: (row[3], row[4]) for row in rows if row[0] == method and bool(row[1]) == padded}
    axes = tuple(axis for axis in AXES if axis in extents)
    asked = {axis: _value(axis, given[axis], extents[axis]) if axis in extents else None for axis in AXES}
    point = np.array([asked[axis] for axis in axes], dtype=np.float64)
    return Place({"method": method, **family}, padded, asked, axes, extents, coordinates(point, axes))


def coordinates(values: Float64, axes: tuple[str, ...]) -> Float64:
    """Values of axes, (..., axes), as coordinates: logarithms of counts and power, the root of the padding's power."""
    columns = []
    for index, axis in enumerate(axes):
        column = values[..., index]
        if axis in _COUNTS:
            column = np.log(column)
        elif axis == "power":
            column = np.log(np.maximum(column, _SMALLEST_POWER))
        elif axis == "padding_power":
            column = np.sqrt(column)
        columns.append(column)
    return np.stack(columns, axis=-1)


def value_at(axis: str, at: float) -> float:
    """The value at a coordinate.

    >>> value_at("padding_power", 0.5)
    0.25
    """
    if axis == "padding_power":
        return max(at, 0.0) ** 2
    return at if axis == "overlap" else math.exp(min(at, 700.0))


def _named(family: Mapping[str, str | int]) -> str:
    """A kind of recipe in words, without what is at its default."""
    chosen = {name: value for name, value in family.items() if value != DEFAULTS.get(name)}
    return ", ".join([str(chosen.pop("cell")), *(f"{name} {value}" for name, value in chosen.items())])


def _newest(store: Store, methods: set[str]) -> str:
    """The method of the row that was added last."""
    if len(methods) == 1:
        return next(iter(methods))
    latest = {
        method: store.select("SELECT max(id) FROM recipes WHERE method = ? AND error IS NULL", (method,))[0][0]
        for method in methods
    }
    return max(latest, key=lambda method: latest[method])


def _value(axis: str, value: float | int | None, extent: tuple[float, float]) -> float | int:
    low, high = extent
    if value is None:
        if low != high:
            raise InvalidInput(f"{axis}: must be given; the table has {low:g} to {high:g}")
        return int(low) if axis in _COUNTS else low
    if axis in _COUNTS:
        check_count(axis, value, 1)
    else:
        check_number(axis, value, -1.0 if axis == "overlap" else 0.0, 1.0 if axis == "overlap" else math.inf)
    return value
