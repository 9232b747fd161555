"""All places where a function of one variable passes a level, where the function is known to within errors.

A scan brackets the places, SciPy's brentq goes to each, and the error of a place is the distance to the nearest points
at which the function is on either side of the level by more than its own error. So kinks and steps need no slope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from meanfield.solvers.secant_slopes import Slope, secant_slope

_EDGE = 1e-6  # of the range, to which the end of a gap is located
_TURN = 1e-5  # of its bracket, to which an extremum is located
_JUMP_WIDTH = 1e-11  # of the range: a function that changes by ...
_JUMP = 1e-3  # ... this much of the level over this width jumps
_ROUNDS = 12


@dataclass(frozen=True)
class Crossing:
    """A place where the function is at the level.

    Attributes:
        place: where; ``error`` bounds the distance to the true place.
        error: see there.
        value, value_error: of the function there.
        slope: of the function there.
        direction: "rises" or "falls"; "touches" where the level is reached to within errors and not passed.
    """

    place: float
    error: float
    value: float
    value_error: float
    slope: Slope
    direction: str


@dataclass(frozen=True)
class Jump:
    """A place where the function passes the level without being there, by a step or across a gap.

    Attributes:
        place: where; ``error`` bounds the distance to the step, or reaches to both ends of the gap.
        error: see there.
        before, after: values on both sides.
    """

    place: float
    error: float
    before: float
    after: float


@dataclass(frozen=True)
class Gap:
    """A stretch on which the function does not exist, and why."""

    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class LevelCrossings:
    """What a search met.

    Attributes:
        crossings, jumps, gaps: each in ascending order.
        lowest, highest: of all values met, None where the function exists nowhere.
        evaluations: of the function.
    """

    crossings: tuple[Crossing, ...]
    jumps: tuple[Jump, ...]
    gaps: tuple[Gap, ...]
    lowest: float | None
    highest: float | None
    evaluations: int


def level_crossings(
    function: Callable[[float], tuple[float, float]], level: float, low: float, high: float, *, points: int = 25
) -> LevelCrossings:
    """All places in a range where a function passes a level.

    Args:
        function: gives a value and a bound on its error, or raises ArithmeticError where it does not exist.
        level: to be passed.
        low, high: ends of the range.
        points: of the scan, equidistant. Turning points between them are looked for where three neighbouring values
            show one; crossings that lie closer together otherwise may be missed in pairs.

    Returns:
        Crossings, jumps across the level and gaps.

    Raises:
        ArithmeticError: if the function stays at the level to within its errors, or has too many gaps.

    >>> found = level_crossings(lambda x: (x * x, 1e-16), 2.0, 0.0, 3.0)
    >>> [(round(each.place, 9), each.error < 1e-14, round(each.slope.value, 6)) for each in found.crossings]
    [(1.414213562, True, 2.828427)]
    """
    return _Search(function, level, low, high, points).found()


@dataclass(frozen=True)
class _Point:
    place: float
    value: float
    error: float
    sign: int  # of value - level, 0 where it is within the error
    reason: str | None  # why there is no value


class _Missing(Exception):
    """The function was found not to exist inside a bracket."""


@dataclass
class _Search:
    function: Callable[[float], tuple[float, float]]
    level: float
    low: float
    high: float
    points: int
    known: dict[float, _Point] = field(default_factory=dict)

    def found(self) -> LevelCrossings:
        for place in np.linspace(self.low, self.high, self.points):
            self.at(float(place))
        for _ in range(_ROUNDS):
            self._find_edges()
            try:
                self._find_turns()
                passed = [each for run in self._runs() for each in self._passed(run)] + list(self._across_gaps())
            except _Missing:
                continue
            passed.sort(key=lambda each: each.place)
            values = [point.value for point in self.known.values() if point.reason is None]
            return LevelCrossings(
                tuple(each for each in passed if isinstance(each, Crossing)),
                tuple(each for each in passed if isinstance(each, Jump)),
                tuple(self._gaps()),
                min(values, default=None),
                max(values, default=None),
                len(self.known),
            )
        raise ArithmeticError(f"the range from {self.low:g} to {self.high:g} has too many gaps; take a smaller one")

    def at(self, place: float) -> _Point:
        """The function at one place, evaluated once."""
        if place not in self.known:
            try:
                value, error = self.function(place)
            except ArithmeticError as failure:
                self.known[place] = _Point(place, 0.0, 0.0, 0, str(failure))
            else:
                off = value - self.level
                self.known[place] = _Point(place, value, error, int(np.sign(off)) if abs(off) > error else 0, None)
        return self.known[place]

    def existing(self, place: float) -> _Point:
        point = self.at(place)
        if point.reason is not None:
            raise _Missing
        return point

    @property
    def _sorted(self) -> list[_Point]:
        return [self.known[place] for place in sorted(self.known)]

    def _find_edges(self) -> None:
        """Halve the distance between places where the function exists and neighbours where it does not."""
        for left, right in pairwise(self._sorted):
            while (left.reason is None) != (right.reason is None) and (
                right.place - left.place > _EDGE * (self.high - self.low)
            ):
                middle = self.at(0.5 * (left.place + right.place))
                if (middle.reason is None) == (left.reason is None):
                    left = middle
                else:
                    right = middle

    def _find_turns(self) -> None:
        """Look where the function turns back towards the level between places of the scan."""
        for run in self._runs():
            for left, middle, right in zip(run, run[1:], run[2:], strict=False):
                sign = middle.sign
                room = [sign * (each.value - self.level) for each in (left, middle, right)]
                if sign == 0 or not left.sign == right.sign == sign:
                    continue
                if not room[1] + 2.0 * middle.error < min(room[0], room[2]):
                    continue
                if right.place - left.place <= _TURN * (self.high - self.low):
                    continue
                minimize_scalar(
                    lambda place, sign=sign: sign * (self.existing(float(place)).value - self.level),
                    bounds=(left.place, right.place),
                    method="bounded",
                    options={"xatol": _TURN * (right.place - left.place)},
                )

    def _runs(self) -> list[list[_Point]]:
        """Neighbouring places at which the function exists."""
        runs: list[list[_Point]] = [[]]
        for point in self._sorted:
            if point.reason is None:
                runs[-1].append(point)
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]

    def _gaps(self) -> Iterator[Gap]:
        known = self._sorted
        index = 0
        while index < len(known):
            reason = known[index].reason
            if reason is not None:
                first = index
                while index + 1 < len(known) and known[index + 1].reason is not None:
                    index += 1
                yield Gap(known[max(first - 1, 0)].place, known[min(index + 1, len(known) - 1)].place, reason)
            index += 1

    def _passed(self, run: list[_Point]) -> Iterator[Crossing | Jump]:
        """What happens between neighbouring places where the side of the level is certain."""
        certain = [index for index, point in enumerate(run) if point.sign]
        if not certain:
            raise ArithmeticError(
                f"the function is {self.level:g} to within its errors all the way from {run[0].place:g} to "
                f"{run[-1].place:g}"
            )
        if certain[0] > 0:
            yield self._at_an_end(run[0], run[certain[0]])
        for left, right in pairwise(certain):
            if run[left].sign != run[right].sign:
                yield self._between(run[left], run[right])
            elif right > left + 1:
                nearest = min(run[left + 1 : right], key=lambda point: abs(point.value - self.level))
                low, high = (self._certain(nearest, run[index]) for index in (left, right))
                yield self._crossing(nearest, low, high, "touches", bracket=(run[left], run[right]))
        if certain[-1] < len(run) - 1:
            yield self._at_an_end(run[-1], run[certain[-1]])

    def _across_gaps(self) -> Iterator[Jump]:
        for left, right in pairwise(self._runs()):
            if left[-1].sign * right[0].sign < 0:
                middle, half = (0.5 * (right[0].place + sign * left[-1].place) for sign in (1.0, -1.0))
                yield Jump(middle, half, left[-1].value, right[0].value)

    def _at_an_end(self, end: _Point, inside: _Point) -> Crossing:
        rises = (inside.place > end.place) == (inside.sign > 0)
        near = self._certain(end, inside)
        low, high = sorted((end, near), key=lambda point: point.place)
        return self._crossing(end, low, high, "rises" if rises else "falls", bracket=(end, inside))

    def _between(self, left: _Point, right: _Point) -> Crossing | Jump:
        place = brentq(
            lambda place: self.existing(float(place)).value - self.level,
            left.place,
            right.place,
            xtol=1e-15 * (self.high - self.low),
            rtol=4.0 * np.finfo(float).eps,
        )
        root = self.existing(float(place))
        low, high = self._certain(root, left), self._certain(root, right)
        narrow = high.place - low.place <= _JUMP_WIDTH * (self.high - self.low)
        if narrow and abs(high.value - low.value) > _JUMP * abs(self.level):
            return Jump(root.place, max(high.place - root.place, root.place - low.place), low.value, high.value)
        return self._crossing(root, low, high, "rises" if right.sign > 0 else "falls", bracket=(left, right))

    def _certain(self, root: _Point, end: _Point) -> _Point:
        """The nearest place on the way from a root to an end where the function is certainly on the end's side."""
        step = 4.0 * max(float(np.spacing(abs(root.place))), 1e-16 * (self.high - self.low))
        towards = np.sign(end.place - root.place)
        while step < abs(end.place - root.place):
            point = self.existing(float(root.place + towards * step))
            if point.sign == end.sign:
                return point
            step *= 3.0
        return end

    def _crossing(
        self, root: _Point, low: _Point, high: _Point, direction: str, bracket: tuple[_Point, _Point] | None = None
    ) -> Crossing:
        """A crossing between two places where the side is certain, in a bracket on which the function exists."""
        ends = sorted(each.place for each in bracket or (low, high))
        slope = secant_slope(
            lambda place: (self.existing(place).value, self.existing(place).error),
            root.place,
            ends[0],
            ends[1],
            scale=self.high - self.low,
        )
        error = max(high.place - root.place, root.place - low.place)
        return Crossing(root.place, error, root.value, root.error, slope, direction)
