"""Where the phases of an autonomous network meet along one parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scipy.optimize import brentq

from meanfield.autonomous_states import StaticState, quiet_state, static_states
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.network_parameters import NetworkParameter

LINES = ("zero state loses stability", "non-zero fixed points appear", "stable fixed points end")
"""What happens at each line, going along a row in one direction or the other."""

_TOLERANCE = 1e-7  # of the distance between neighbouring values, to which a line is located
_NO_STATE = 10.0

Bound = tuple[float, float]
Signed = Callable[[float], Bound]


@dataclass(frozen=True)
class PhaseLine:
    """A line between phases.

    Attributes:
        name: one of :data:`LINES`.
        points: horizontal and vertical value of every place where a row meets it; errors bound where it is.
    """

    name: str
    points: tuple[tuple[Estimate, float], ...]

    def as_json(self) -> dict[str, Any]:
        """Name and places."""
        return {
            "name": self.name,
            "points": [{"horizontal": place.as_json(), "vertical": height} for place, height in self.points],
        }


def boundaries(
    network: Network,
    parameter: NetworkParameter,
    values: Sequence[float],
    states: Sequence[tuple[StaticState, ...]],
    power: float,
) -> tuple[list[Estimate], ...]:
    """Places on every line along one parameter.

    Args:
        network: everything else.
        parameter: what is varied.
        values: of it, ascending, (values,).
        states: the fixed points at each of them.
        power: of a constant input.

    Returns:
        For each of :data:`LINES` all places between values that are on different sides, with bounds.

    Raises:
        NotConverged: if an integral does not converge.
    """

    def at(place: float) -> tuple[StaticState, ...]:
        return static_states(parameter.applied(network, place), Inputs(power=power))

    def zero_growth(place: float) -> Bound:
        return _above_one(quiet_state(parameter.applied(network, place), power).radius)

    found: tuple[list[Estimate], ...] = ([], [], [])
    for (low, before), (high, after) in pairwise(zip(values, states, strict=True)):
        # A line may be another one: then its places need no search.
        known: list[Estimate] = []
        if all(_zero(each) is not None for each in (before, after)) and _zero_stable(before) != _zero_stable(after):
            known.append(_root(zero_growth, low, high, parameter.lowest))
            found[0].append(known[-1])
        for line, side in ((1, _non_zero), (2, _growth)):
            if (side(before)[0] < 0.0) == (side(after)[0] < 0.0):
                continue
            of_states = _composed(side, at)
            place = _among(known, of_states, low, parameter.lowest)
            if place is None:
                place = _root(of_states, low, high, parameter.lowest)
                known.append(place)
            found[line].append(place)
    return found


def _composed(side: Callable[[Sequence[StaticState]], Bound], at: Callable[[float], Sequence[StaticState]]) -> Signed:
    return lambda place: side(at(place))


def _zero(states: Sequence[StaticState]) -> StaticState | None:
    return next((state for state in states if state.zero), None)


def _zero_stable(states: Sequence[StaticState]) -> bool:
    return any(state.zero and state.stable for state in states)


def _non_zero(states: Sequence[StaticState]) -> Bound:
    """One where there are fixed points other than zero, minus one elsewhere."""
    return (1.0, 0.0) if any(not state.zero for state in states) else (-1.0, 0.0)


def _growth(states: Sequence[StaticState]) -> Bound:
    """How far the most stable state is from being stable; negative if one is."""
    worst = [max(_above_one(state.radius), _above_one(state.moment_slope)) for state in states]
    return min(worst, default=(_NO_STATE, 0.0))


def _above_one(number: Estimate) -> Bound:
    """Negative only where the number is certainly below one, as stability asks for."""
    return number.value + number.error - 1.0, 2.0 * number.error


def _root(function: Signed, low: float, high: float, lowest: float) -> Estimate:
    """Where a function changes its sign, by a step or not, and a bound."""
    tolerance = _TOLERANCE * (high - low)
    place = float(brentq(lambda place: function(float(place))[0], low, high, xtol=tolerance))
    falls = function(low)[0] >= 0.0
    away = 2.0 * tolerance
    while away < high - low and not _passes(function, place, away, lowest, falls):
        away *= 4.0
    return Estimate(place, min(away, high - low))


def _among(places: Sequence[Estimate], function: Signed, low: float, lowest: float) -> Estimate | None:
    """The place at which a function changes its sign within the place's own error, if there is one."""
    falls = function(low)[0] >= 0.0
    return next((each for each in places if _passes(function, each.value, each.error, lowest, falls)), None)


def _passes(function: Signed, place: float, away: float, lowest: float, falls: bool) -> bool:
    """Whether the sign certainly changes between two places at a distance on both sides."""
    (left, left_error), (right, right_error) = (function(max(each, lowest)) for each in (place - away, place + away))
    if falls:
        left, right = -left, -right
    return left < -left_error and right > right_error
