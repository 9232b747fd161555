"""One axis of a design: a value, a list of values, or a range."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from meanfield.errors import InvalidInput
from meanfield.table_requests import FIELDS, Request, first_problem

WHOLE = ("length", "hidden", "inputs", "signal", "seed", "units", "layers")
"""Fields that are whole numbers; ranges of them are rounded."""
REAL = ("power", "overlap", "padding_power")
_RANGE = ("from", "to", "count", "scale")
_MOST_VALUES = 10_000_000


@dataclass(frozen=True)
class Range:
    """Numbers from ``first`` to ``last``, spaced evenly or by a constant factor.

    >>> Range("length", 10, 1000, logarithmic=True).at(0.5)
    100
    """

    field: str
    first: float
    last: float
    logarithmic: bool = False

    def at(self, share: float) -> float | int:
        """The number at a share between 0 and 1 of the range."""
        if self.logarithmic:
            value = self.first * (self.last / self.first) ** share
        else:
            value = self.first + share * (self.last - self.first)
        value = min(max(float(value), self.first), self.last)
        return round(value) if self.field in WHOLE else value


@dataclass(frozen=True)
class Axis:
    """Values of one field.

    Attributes:
        field: name of the field of a request.
        values: what it takes, without repetitions; of a range of a random design, its ends.
        range: the range of a random design that it is drawn from.
    """

    field: str
    values: tuple[Any, ...]
    range: Range | None = None

    def at(self, share: float) -> Any:
        """The value at a share of the axis, at least 0 and below 1."""
        if self.range is not None:
            return self.range.at(share)
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


def parse_axis(field: str, content: Any, where: str, *, drawn: bool) -> Axis:
    """Check an axis; ``where`` is what errors call its table, ``drawn`` says that it is of a random design.

    Raises:
        InvalidInput: if the field is unknown, the axis empty, or a value not allowed.

    >>> parse_axis("length", {"from": 10, "to": 1000, "count": 3, "scale": "log"}, "grid", drawn=False).values
    (10, 100, 1000)
    >>> parse_axis("length", [], "grid", drawn=False)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: grid.length: must not be empty
    """
    name = f"{where}.{field}"
    if field not in FIELDS:
        raise InvalidInput(f"{name}: unknown field; there are {', '.join(FIELDS)}")
    if isinstance(content, Mapping):
        return _range(field, content, name, drawn=drawn)
    listed = content if isinstance(content, list) else [content]
    if not listed:
        raise InvalidInput(f"{name}: must not be empty")
    return Axis(field, tuple(dict.fromkeys(_checked(field, value, name) for value in listed)))


def _range(field: str, content: Mapping[str, Any], name: str, *, drawn: bool) -> Axis:
    if field not in WHOLE + REAL:
        raise InvalidInput(f"{name}: only a field that is a number can have a range")
    allowed = tuple(each for each in _RANGE if not (drawn and each == "count"))
    unknown = [key for key in content if key not in allowed]
    if unknown:
        raise InvalidInput(f"{name}.{unknown[0]}: unknown field; a range has {', '.join(allowed)}")
    missing = [key for key in allowed if key not in content and key != "scale"]
    if missing:
        raise InvalidInput(f"{name}.{missing[0]}: field required; a range has {', '.join(allowed)}")
    first, last = (_checked(field, content[end], f"{name}.{end}") for end in ("from", "to"))
    scale = content.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise InvalidInput(f"{name}.scale: must be 'linear' or 'log', got {scale!r}")
    if not first <= last:
        raise InvalidInput(f"{name}: must go upwards, got {first!r} to {last!r}")
    if scale == "log" and first <= 0:
        raise InvalidInput(f"{name}: a log scale must start above 0, got {first!r}")
    spread = Range(field, first, last, logarithmic=scale == "log")
    if drawn:
        return Axis(field, (first, last), spread)
    count = content["count"]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_VALUES:
        raise InvalidInput(f"{name}.count: must be a whole number from 1 to {_MOST_VALUES}, got {count!r}")
    shares = np.linspace(0.0, 1.0, count) if count > 1 else np.zeros(1)
    return Axis(field, tuple(dict.fromkeys(spread.at(float(share)) for share in shares)))


def _checked(field: str, value: Any, name: str) -> Any:
    try:
        found = _adapter(field).validate_python(value)
    except ValidationError as error:
        raise InvalidInput(f"{name}: {first_problem(error)}") from error
    if isinstance(found, float) and not math.isfinite(found):
        raise InvalidInput(f"{name}: must be a finite number, got {found!r}")
    return found


@functools.cache
def _adapter(field: str) -> TypeAdapter[Any]:
    described = Request.model_fields[field]
    kind: Any = described.annotation
    for each in described.metadata:
        kind = Annotated[kind, each]
    return TypeAdapter(kind, config=ConfigDict(strict=True))
