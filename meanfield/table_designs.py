"""Designs: which requests a table is of, as grids, lists and random draws; they are counted before anything starts."""

from __future__ import annotations

import itertools
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.table_axes import Axis, parse_axis
from meanfield.table_requests import DEFAULTS, FIELDS, Request, checked_request

DEFAULT_LIMIT = 100_000
_SECTIONS = ("common", "grid", "random", "request")
_AT_ONCE = 4096  # points of a random design


class Part(Protocol):
    """A part of a design."""

    @property
    def count(self) -> int: ...
    def requests(self) -> Iterator[Request]: ...


@dataclass(frozen=True)
class Grid:
    """All combinations of the values of some axes; the last axis varies fastest."""

    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def requests(self) -> Iterator[Request]:
        names = [axis.field for axis in self.axes]
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield Request.model_validate(dict(zip(names, values, strict=True)))


@dataclass(frozen=True)
class RandomDesign:
    """Points that fill the space of some axes evenly (Halton, scrambled); more of them begin with the same ones."""

    axes: tuple[Axis, ...]
    count: int
    seed: int

    def requests(self) -> Iterator[Request]:
        from scipy.stats import qmc

        varied = [axis for axis in self.axes if axis.range is not None or len(axis.values) > 1]
        fixed = {axis.field: axis.values[0] for axis in self.axes if axis not in varied}
        if not varied:
            yield Request.model_validate(fixed)
            return
        points = qmc.Halton(len(varied), scramble=True, rng=self.seed)
        for first in range(0, self.count, _AT_ONCE):
            for point in points.random(min(_AT_ONCE, self.count - first)):
                drawn = {axis.field: axis.at(float(share)) for axis, share in zip(varied, point, strict=True)}
                yield Request.model_validate(fixed | drawn)


@dataclass(frozen=True)
class Listing:
    """Requests one by one."""

    listed: tuple[Request, ...]

    @property
    def count(self) -> int:
        return len(self.listed)

    def requests(self) -> Iterator[Request]:
        return iter(self.listed)


@dataclass(frozen=True)
class Design:
    """Requests of a table, one part after the other.

    Attributes:
        parts: grids, random draws and lists.

    >>> grid = parse_design({"grid": {"cell": ["lstm", "gru"], "length": [50, 100], "hidden": 64, "inputs": 8}}, "it")
    >>> grid.count, [request.cell for request in grid.requests()]
    (4, ['lstm', 'lstm', 'gru', 'gru'])
    """

    parts: tuple[Part, ...]

    @property
    def count(self) -> int:
        """How many requests there are, repetitions counted."""
        return sum(part.count for part in self.parts)

    def requests(self) -> Iterator[Request]:
        """All requests, one at a time: a design of any size takes no memory."""
        for part in self.parts:
            yield from part.requests()

    def within(self, limit: int) -> Design:
        """This design.

        Raises:
            InvalidInput: if it has more than ``limit`` requests.
        """
        check_count("limit", limit, 1)
        if self.count > limit:
            raise InvalidInput(f"limit: the design has {self.count} requests, more than {limit}; raise the limit")
        return self


def load_design(path: str | os.PathLike[str]) -> Design:
    """Read a design from a TOML file (docs/tables.md).

    Raises:
        InvalidInput: if it cannot be read, is not TOML, or has a field that is wrong; the message names it.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"{path}: cannot be read: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path}: is not TOML: {error}") from error
    return parse_design(content, str(path))


def parse_design(content: Mapping[str, Any], name: str) -> Design:
    """Check a parsed design; ``name`` is what errors call it.

    Raises:
        InvalidInput: naming the first field that is wrong.
    """
    unknown = [key for key in content if key not in _SECTIONS]
    if unknown:
        raise InvalidInput(f"{name}: {unknown[0]}: unknown section; there are {', '.join(_SECTIONS)}")
    common = content.get("common", {})
    if not isinstance(common, Mapping):
        raise InvalidInput(f"{name}: common: must be a table of fields")
    parts: list[Part] = []
    for where, section in _sections(content, "grid", name):
        axes = _axes({**common, **section}, where, drawn=False)
        parts.append(Grid(axes))
    for where, section in _sections(content, "random", name):
        given = dict(section)
        if "count" not in given:
            raise InvalidInput(f"{where}.count: field required: how many requests to draw")
        count, draw = given.pop("count"), given.pop("draw", 0)
        check_count(f"{where}.count", count, 1)
        check_count(f"{where}.draw", draw, 0)
        parts.append(RandomDesign(_axes({**common, **given}, where, drawn=True), count, draw))
    listed = tuple(
        checked_request({**common, **section}, where) for where, section in _sections(content, "request", name)
    )
    if listed:
        parts.append(Listing(listed))
    if not parts:
        raise InvalidInput(f"{name}: asks for nothing; it needs a [grid], a [random] or a [[request]]")
    return Design(tuple(parts))


def _sections(content: Mapping[str, Any], kind: str, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The tables of a kind, given once or as a list, and what errors call each."""
    given = content.get(kind, [])
    listed = given if isinstance(given, list) else [given]
    for section in listed:
        if not isinstance(section, Mapping):
            raise InvalidInput(f"{name}: {kind}: must be a table of fields")
    alone = len(listed) == 1
    return [(f"{name}: {kind}" if alone else f"{name}: {kind}[{k}]", section) for k, section in enumerate(listed)]


def _axes(section: Mapping[str, Any], where: str, *, drawn: bool) -> tuple[Axis, ...]:
    axes = {field: parse_axis(field, content, where, drawn=drawn) for field, content in section.items()}
    for field in FIELDS:
        if field not in axes and field not in DEFAULTS:
            raise InvalidInput(f"{where}.{field}: field required")
    _check_padding(axes, where)
    return tuple(axes.values())


def _check_padding(axes: Mapping[str, Axis], where: str) -> None:
    """Every combination must be a request that makes sense."""
    if "signal" in axes:
        longest, shortest = max(axes["signal"].values), min(axes["length"].values)
        if longest > shortest:
            raise InvalidInput(f"{where}.signal: must not exceed the shortest length {shortest}, got {longest}")
    elif "padding_power" in axes and any(axes["padding_power"].values):
        raise InvalidInput(f"{where}.padding_power: is of the steps after the signal; set signal")
