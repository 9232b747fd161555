"""Fixed points of autonomous networks with tied weights (Can, Krishnamurthy and Schwab 2020; theory, section 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meanfield.checks import check_count
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.self_consistency import SelfConsistency
from meanfield.solvers.eigenvalue_support import rightmost_eigenvalue
from meanfield.solvers.fixed_points import fixed_point
from meanfield.static_moments import StaticMoments
from meanfield.static_stability import radius_at_one, static_sample
from meanfield.trajectory import DEFAULT_HIDDEN

POINTS = 25
_SETTLED = 1e-10  # relative change of a second moment that is left to an iteration
_SHIFT = 1e-6  # relative change of a second moment, for derivatives in it


@dataclass(frozen=True)
class StaticState:
    """A fixed point of the mean-field equations: a population of units whose states do not move; errors are bounds.

    Attributes:
        network: the network.
        power: mean square of a constant input.
        carriers: E[p²] of what every recurrent matrix reads, by the name of the field.
        second_moment: E[h²] of what the network passes on.
        radius: ρ(M(1)). Below one, random perturbations of the state decay; above, they grow. It does not depend on
            the width of the network.
        moment_slope: d log F/d log Q of the map F of which E[p²] = Q is the fixed point, at it; for the zero state, the
            radius. Above one, the size of the state runs away from it.
    """

    network: Network
    power: float
    carriers: Mapping[str, Estimate]
    second_moment: Estimate
    radius: Estimate
    moment_slope: Estimate

    @property
    def zero(self) -> bool:
        """Whether the state of every unit is zero."""
        return self.second_moment.value == 0.0

    @property
    def stable(self) -> bool:
        """Whether radius and slope are below one by more than their errors."""
        return all(each.value + each.error < 1.0 for each in (self.radius, self.moment_slope))

    def eigenvalue_edge(self, *, hidden: int = DEFAULT_HIDDEN, groups: int = 8, seed: int = 0) -> Estimate:
        """Largest real part of the bulk of the Jacobian's eigenvalues in a network of ``hidden`` units.

        Args:
            hidden: width: keep gates come the closer to one the more of them there are, and the edge with them.
            groups: networks that are averaged over.
            seed: of the static fields.

        Returns:
            One standard error; zero where all units are alike, as at the zero state without biases.

        Raises:
            InvalidInput: if a count is out of its range.
            NotConverged: if the edge is not found.

        >>> import meanfield as mf
        >>> from meanfield.autonomous_states import static_states
        >>> (zero,) = static_states(mf.Network("gru", {gate: mf.Gate(recurrent_gain=1.5) for gate in "frh"}))
        >>> print(round(zero.eigenvalue_edge().value, 9))  # 1/2 + σ_h/4
        0.875
        """
        check_count("hidden", hidden, 1)
        check_count("groups", groups, 2)
        moments = StaticMoments(self.network, self.power)
        carriers = [0.0] * len(moments.formulas.carriers)
        for each in self.network.definition.fields:
            carriers[each.carrier] = self.carriers[each.name].value
        try:
            edges = rightmost_eigenvalue(static_sample(moments, carriers, groups=groups, hidden=hidden, seed=seed))
        except ArithmeticError as failure:
            raise NotConverged(f"eigenvalues at the static state: {failure}") from failure
        return Estimate(float(np.mean(edges)), float(np.std(edges, ddof=1) / math.sqrt(groups)))

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "zero": self.zero,
            "stable": self.stable,
            "second_moment": self.second_moment.as_json(),
            "carriers": {name: each.as_json() for name, each in self.carriers.items()},
            "radius": self.radius.as_json(),
            "moment_slope": self.moment_slope.as_json(),
        }


def static_states(network: Network, inputs: Inputs | None = None, *, points: int = POINTS) -> tuple[StaticState, ...]:
    """All fixed points of a network that reads nothing, or the same input at every step.

    Fields are static: y_k ~ N(0, σ_k² E[p_k²]) once per unit, and E[p_k²] is that of the units' own fixed points in
    these fields.

    Args:
        network: the network.
        inputs: their power is that of one input vector which is read at every step; none by default.
        points: second moments, equidistant in the logarithm, at which the self-consistency is looked at first. Two
            fixed points closer together than their spacing are missed only if nothing shows that the map turns back.

    Returns:
        In ascending order of what is read by the recurrent matrices; empty where second moments grow without bound.

    Raises:
        InvalidInput: if the cell has no formula for its state at rest, or inputs are padded or measured.
        NotConverged: if an integral does not converge, or every second moment is a fixed point.

    >>> import meanfield as mf
    >>> from meanfield.autonomous_states import static_states
    >>> chaotic = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.5)})
    >>> [(round(state.second_moment.value, 9), state.stable) for state in static_states(chaotic)]
    [(0.0, False), (0.352601797, False)]
    """
    check_count("points", points, 5)
    consistency = SelfConsistency(StaticMoments(network, constant_power(inputs)))
    try:
        return tuple(_states(consistency, points))
    except NotConverged:
        raise
    except ArithmeticError as failure:
        raise NotConverged(f"fixed points of the network at rest: {failure}") from failure


def quiet_state(network: Network, power: float) -> StaticState:
    """The zero state, or where the self-consistency settles if the states start there.

    Raises:
        InvalidInput: if the cell has no formula for its state at rest.
        NotConverged: if there is none, or an integral does not converge.
    """
    consistency = SelfConsistency(StaticMoments(network, power))
    try:
        if consistency.zero_is_fixed or consistency.carrier is None:
            return _without_feedback(consistency)
        found = fixed_point(
            lambda point: np.array([consistency.mapped(float(point[0]))[0]]),
            np.zeros(1),
            tolerance=_SETTLED,
            positive=True,
        )
        if not found.converged:
            states = _states(consistency, POINTS)
            if not states:
                raise NotConverged("a fixed point of the network at rest: there is none")
            return states[0]
        logarithm = math.log(found.value[0])
        off, error = consistency.excess(logarithm)
        slope = consistency.slope(logarithm)
        stiffness = max(1.0 - slope.value - slope.error, _SETTLED)
        return _state_at(
            consistency,
            float(found.value[0]),
            1.01 * (abs(off) + error) / stiffness,  # off by more than the linear estimate in second order
            Estimate(slope.value, slope.error),
        )
    except NotConverged:
        raise
    except ArithmeticError as failure:
        raise NotConverged(f"a fixed point of the network at rest: {failure}") from failure


def constant_power(inputs: Inputs | None) -> float:
    """Power of an input that stays.

    Raises:
        InvalidInput: if inputs change by their nature.
    """
    if inputs is None:
        return 0.0
    if type(inputs) is not Inputs:
        raise InvalidInput("inputs: autonomous networks read one constant input, Inputs(power=…), or none")
    return inputs.power


def _states(consistency: SelfConsistency, points: int) -> list[StaticState]:
    zero = consistency.zero_is_fixed
    found = [_without_feedback(consistency)] if zero or consistency.carrier is None else []
    if consistency.carrier is None:
        return found
    met = consistency.crossings(points)
    if met.gaps:
        raise NotConverged(f"fixed points of the network at rest: {met.gaps[0].reason}")
    for crossing in met.crossings:
        if not (zero and crossing.place - crossing.error <= consistency.range[0]):  # there it is the zero state itself
            slope = Estimate(1.0 + crossing.slope.value, crossing.slope.error)
            found.append(_state_at(consistency, math.exp(crossing.place), crossing.error, slope))
    return found


def _without_feedback(consistency: SelfConsistency) -> StaticState:
    """The zero state, or the one that biases alone make."""
    return _state_at(consistency, 0.0, 0.0, None)


def _state_at(
    consistency: SelfConsistency, moment: float, relative_error: float, slope: Estimate | None
) -> StaticState:
    """The state at a second moment of the carrier that feeds back; without a slope, that is the radius."""
    moments = consistency.moments

    def at(place: float) -> tuple[list[tuple[float, float]], tuple[float, float], tuple[float, float]]:
        carriers = consistency.all_moments(place)
        both = [
            moments.carrier(c, carriers) if c != consistency.carrier else (place, 0.0) for c in range(len(carriers))
        ]
        return both, moments.output(carriers), radius_at_one(moments, carriers)

    carriers, output, radius = at(moment)
    if relative_error > 0.0:
        moved_carriers, moved_output, moved_radius = at(moment * (1.0 + _SHIFT))
        share = relative_error / _SHIFT
        carriers = [_with_error(*each, share) for each in zip(carriers, moved_carriers, strict=True)]
        output, radius = _with_error(output, moved_output, share), _with_error(radius, moved_radius, share)
    found = Estimate(*radius)
    return StaticState(
        moments.network,
        moments.power,
        {each.name: Estimate(*carriers[each.carrier]) for each in moments.network.definition.fields},
        Estimate(*output),
        found,
        found if slope is None else slope,
    )


def _with_error(number: tuple[float, float], moved: tuple[float, float], share: float) -> tuple[float, float]:
    """A number with what is left open by a share of a move."""
    return number[0], number[1] + abs(moved[0] - number[0]) * share
