"""Looking up a table: the recipe of a request, else one between its neighbours, else the nearest one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.table_columns import is_error
from meanfield.table_places import Place, coordinates, wanted_place
from meanfield.table_scatter import ROWS, scatters
from meanfield.table_store import AXES, FIXED, Store, quoted
from meanfield.table_work import expanded

Float64 = NDArray[np.float64]

_FIRST_WINDOW = 0.1  # half width of a search in units of the coordinates, mostly logarithms
_SMALLEST_WINDOW = 1e-6
_WIDER = 2.0
_FEW = 300  # points in a window to begin with
_PROGRAMME = 500  # points that the linear programme is tried with first
_TELLING = 3  # rows that say how fast numbers change along an axis, where they have to be extrapolated
_SMALLEST_WEIGHT = 1e-9
_SCATTERING = math.sqrt(2.0)  # the nearest row scatters, and so does a design at the place


@dataclass(frozen=True)
class Neighbour:
    """A row that a lookup rests on.

    Attributes:
        key: of the row.
        request: the values of its axes.
        weight: its share of what was found.
        distance: from what was asked for, in units of the coordinates (docs/tables.md).
    """

    key: str
    request: Mapping[str, float | int | None]
    weight: float
    distance: float


@dataclass(frozen=True)
class Found:
    """What a table says of a request.

    Attributes:
        how: "exact", a row of the table; "interpolated", between the neighbours; "nearest", the nearest row, because
            what was asked for is outside of the table or interpolation was not wanted.
        cell: the cell.
        asked: the values of the axes that were asked for.
        neighbours: the rows it rests on, the heaviest first.
        numbers: predictions and parameters by column, for what was asked. Errors are the row's own where it is exact;
            else they add how far the neighbours' numbers lie apart and how far numbers scatter from design to design
            (:func:`meanfield.table_scatter.scatters`), and are infinite where nothing tells.
        ensemble: of the recurrent matrices, as the recipe's file has it.
    """

    how: Literal["exact", "interpolated", "nearest"]
    cell: str
    asked: Mapping[str, float | int | None]
    neighbours: tuple[Neighbour, ...]
    numbers: Mapping[str, Estimate]
    ensemble: Any

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield lookup --json`` prints."""
        return {
            "how": self.how,
            "cell": self.cell,
            "asked": dict(self.asked),
            "neighbours": [vars(neighbour) for neighbour in self.neighbours],
            "numbers": {name: number.as_json() for name, number in self.numbers.items()},
        }

    def network_as_json(self) -> dict[str, Any]:
        """A network file with the gates that were found."""
        gates: dict[str, dict[str, float]] = {}
        for name, number in self.numbers.items():
            if name.startswith("gate_"):
                gate, _, law = name.removeprefix("gate_").partition("_")
                gates.setdefault(gate, {})[law] = number.value
        return {"cell": self.cell, "gates": gates, "ensemble": self.ensemble}


def lookup(
    path: str | os.PathLike[str],
    cell: str,
    *,
    length: int,
    hidden: int,
    inputs: int | None = None,
    power: float | None = None,
    overlap: float | None = None,
    signal: int | None = None,
    padding_power: float | None = None,
    objective: str = "learn",
    regime: str = "tied",
    ensemble: str = "default",
    layers: int = 1,
    bidirectional: bool = False,
    nearest: bool = False,
) -> Found:
    """What a table says of a request: its recipe, an interpolation between neighbours, or the nearest recipe.

    Args:
        path: file of the table.
        cell, length, hidden, inputs, power, overlap, signal, padding_power, objective, regime, ensemble, layers,
            bidirectional: the request (:class:`meanfield.table_requests.Request`); of those without a default, what is
            not given must be the same in all rows.
        nearest: take the nearest recipe as it is rather than interpolate.

    Returns:
        Numbers with their errors, the rows they rest on, and how they were found. Between rows numbers are linear on
        the Delaunay simplex of rows around the request. The error is the sum of the distance of the number at the
        farthest corner, of the error of the mean, and of how far further designs scatter about the rows around, at
        95 per cent. What that covers has been measured (docs/tables.md).

    Raises:
        InvalidInput: if the table has no such rows, or an axis is not given over which they differ.
        StoreFailed: if the file cannot be read.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/recipes.sqlite"
    >>> Store(path, write=True).close()
    >>> lookup(path, "gru", length=11, hidden=32)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: .../recipes.sqlite: has no recipes of gru; it has nothing yet
    """
    given: dict[str, float | int | None] = {
        "length": length,
        "hidden": hidden,
        "inputs": inputs,
        "power": power,
        "overlap": overlap,
        "signal": signal,
        "padding_power": padding_power,
    }
    family: dict[str, str | int] = {
        "cell": cell,
        "objective": objective,
        "regime": regime,
        "ensemble": ensemble,
        "layers": layers,
        "bidirectional": int(bidirectional),
    }
    with Store(path) as store:
        place = wanted_place(store, family, given)
        candidates = _candidates(store, place, enclosing=not nearest)
        weights = None if nearest else candidates.weights()
        if weights is None:
            return _nearest(store, place, candidates)
        chosen = np.flatnonzero(weights > _SMALLEST_WEIGHT)
        chosen = chosen[np.argsort(-weights[chosen], kind="stable")]
        share = weights[chosen] / weights[chosen].sum()
        exact = candidates.distances[chosen[0]] == 0.0
        if exact:
            chosen, share = chosen[:1], np.ones(1)
        rows = _rows(store, [candidates.ids[index] for index in chosen])
        scatter = {} if exact else _scatter(store, candidates)
        return Found(
            how="exact" if exact else "interpolated",
            cell=cell,
            asked=place.asked,
            neighbours=_neighbours(rows, share, candidates.distances[chosen]),
            numbers=_interpolated(rows, share, scatter),
            ensemble=_ensemble(store, rows[0]),
        )


@dataclass(frozen=True)
class _Candidates:
    """Rows near a place, the nearest first, one for each point.

    Attributes:
        ids: of the rows, (rows).
        offsets: their coordinates less those of the place, (rows, axes).
        distances: lengths of these, (rows).
    """

    ids: list[int]
    offsets: Float64
    distances: Float64

    def settled(self, place: Place, width: float) -> bool:
        """Whether no row outside of a window is nearer, and its rows tell how numbers change along every axis."""
        # Rows outside of the window are farther than this from the place.
        nearest = self.distances[0] <= math.hypot(place.outside, width)
        return bool(nearest and np.all(np.any(self.offsets != self.offsets[0], axis=0) | ~place.varied))

    def telling(self, axis: int) -> list[int]:
        """Which rows tell how numbers change along an axis: they differ from the nearest row in little else."""
        steps = self.offsets - self.offsets[0]
        along = np.abs(steps[:, axis])
        beside = np.sqrt(np.sum(np.delete(steps, axis, axis=1) ** 2, axis=1))
        order = np.lexsort((along, beside))
        return [int(index) for index in order if along[index] > 0.0][:_TELLING]

    def weights(self) -> Float64 | None:
        """Shares of the corners of the Delaunay simplex around the place; None where the rows do not enclose it.

        The simplex is the solution of a linear programme: of all convex combinations of the points that give the place
        it has the least mean square distance.
        """
        if self.distances[0] == 0.0:
            return np.eye(1, len(self.ids))[0]
        for count in sorted({min(_PROGRAMME, len(self.ids)), len(self.ids)}):
            shares = self._shares(count)
            if shares is not None:
                return np.concatenate([shares, np.zeros(len(self.ids) - count)])
        return None

    def _shares(self, count: int) -> Float64 | None:
        """The same with the nearest ``count`` points."""
        from scipy.optimize import linprog

        distances = self.distances[:count]
        points = self.offsets[:count, np.any(self.offsets[:count] != 0.0, axis=0)]
        if np.any((points.min(axis=0) > 0.0) | (points.max(axis=0) < 0.0)):
            return None
        scale = float(distances.max())
        constraints = np.vstack([points.T / scale, np.ones(count)])
        aim = np.zeros(len(constraints))
        aim[-1] = 1.0
        solved = linprog((distances / scale) ** 2, A_eq=constraints, b_eq=aim, method="highs-ds")
        shares: Float64 | None = solved.x if solved.status == 0 else None
        return shares


def _candidates(store: Store, place: Place, *, enclosing: bool) -> _Candidates:
    """Rows in a window around the place, which shrinks until it holds few and then grows until it holds enough."""
    enclosing = enclosing and place.outside == 0.0
    width = _FIRST_WINDOW
    while width > _SMALLEST_WINDOW and len(store.select(*place.window(width, _FEW))) == _FEW:
        width /= _WIDER
    while True:
        rows = store.select(*place.window(width))
        everything = place.holds_all(width)
        if rows:
            found = _arranged(rows, place)
            enough = len(found.ids) >= ROWS and (
                found.weights() is not None if enclosing else found.settled(place, width)
            )
            if everything or enough:
                return found
        elif everything:
            raise InvalidInput(f"{store.path}: has no recipe of this kind")
        width *= _WIDER


def _arranged(rows: list[tuple[Any, ...]], place: Place) -> _Candidates:
    table = np.array(rows, dtype=np.float64)
    offsets = coordinates(table[:, 1:-1], place.axes) - place.coordinates
    distances = np.sqrt(np.sum(offsets**2, axis=1))
    order = np.argsort(distances, kind="stable")
    return _Candidates([rows[index][0] for index in order], offsets[order], distances[order])


def _nearest(store: Store, place: Place, candidates: _Candidates) -> Found:
    """The nearest row. How far its numbers may be off is told by how fast they change along each axis nearby."""
    [row] = _rows(store, candidates.ids[:1])
    exact = candidates.distances[0] == 0.0
    scatter = {} if exact else _scatter(store, candidates)
    drifts = dict.fromkeys(_entries(row), 0.0)
    for axis in np.flatnonzero(candidates.offsets[0]).tolist():
        telling = candidates.telling(axis)
        others = [_entries(other) for other in _rows(store, [candidates.ids[index] for index in telling])]
        steps = np.abs(candidates.offsets[telling, axis] - candidates.offsets[0, axis])
        for name, (value, _) in _entries(row).items():
            slopes = [
                abs(other[name][0] - value) / step for other, step in zip(others, steps, strict=True) if name in other
            ]
            drifts[name] += abs(candidates.offsets[0, axis]) * max(slopes, default=math.inf)
    return Found(
        how="exact" if exact else "nearest",
        cell=row["cell"],
        asked=place.asked,
        neighbours=_neighbours([row], np.ones(1), candidates.distances[:1]),
        numbers={
            name: Estimate(value, error + drifts[name] + _SCATTERING * scatter.get(name, 0.0))
            for name, (value, error) in _entries(row).items()
        },
        ensemble=_ensemble(store, row),
    )


def _scatter(store: Store, candidates: _Candidates) -> dict[str, float]:
    """How far numbers of the rows around scatter from design to design, by column."""
    rows = _rows(store, candidates.ids[:ROWS])
    return scatters([_entries(row) for row in rows], candidates.offsets[:ROWS])


def _interpolated(rows: list[dict[str, Any]], share: Float64, scatter: Mapping[str, float]) -> dict[str, Estimate]:
    # A design there scatters, and so does the mean of the corners.
    scattering = math.sqrt(1.0 + float(share @ share))
    entries = [_entries(row) for row in rows]
    numbers: dict[str, Estimate] = {}
    for name in entries[0]:
        if not all(name in entry for entry in entries):
            continue  # a number that does not exist at a corner is not known in between
        values = np.array([entry[name][0] for entry in entries])
        errors = np.array([entry[name][1] for entry in entries])
        value = float(share @ values)
        furthest = float(np.max(np.abs(values - value)))
        error = furthest + float(np.sqrt(np.sum((share * errors) ** 2)))
        numbers[name] = Estimate(value, error + scatter.get(name, 0.0) * scattering)
    return numbers


def _entries(row: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Numbers of a row with their errors, 0 for what is chosen rather than predicted; what is null does not exist."""
    return {
        name: (value, row.get(f"{name}_error") or 0.0)
        for name, value in row.items()
        if name not in FIXED and not is_error(name) and value is not None
    }


def _rows(store: Store, ids: list[int]) -> list[dict[str, Any]]:
    """Rows in the order of these ids."""
    columns = store.columns()
    names = ", ".join(quoted(name) for name in columns)
    marks = ", ".join("?" * len(ids))
    found = {row[0]: row for row in store.select(f"SELECT {names} FROM recipes WHERE id IN ({marks})", ids)}
    return [dict(zip(columns, found[each], strict=True)) for each in ids]


def _ensemble(store: Store, row: Mapping[str, Any]) -> Any:
    [(document,)] = store.select("SELECT recipe FROM documents WHERE id = ?", (row["id"],))
    return json.loads(expanded(document)).get("ensemble", "gaussian")


def _neighbours(rows: list[dict[str, Any]], share: Float64, distances: Float64) -> tuple[Neighbour, ...]:
    return tuple(
        Neighbour(row["key"], {axis: row[axis] for axis in AXES}, float(weight), float(distance))
        for row, weight, distance in zip(rows, share, distances, strict=True)
    )
