"""Critical values of one parameter in the untied regime: where a perturbation neither grows nor decays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meanfield.checks import check_count, check_number
from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.network_parameters import NetworkParameter
from meanfield.solvers.level_crossings import Gap, Jump, LevelCrossings, level_crossings
from meanfield.untied_growth import untied_chi

POINTS = 25


@dataclass(frozen=True)
class CriticalValue:
    """A value of the parameter at which χ_1 is at the target.

    Attributes:
        value: of the parameter; its error bounds the distance to where χ_1 is the target.
        chi: χ_1 of :attr:`network`.
        slope: dχ_1/dparameter; where χ_1 has a kink the mean of both sides, with an error that spans them.
        direction: "rises" or "falls", what χ_1 does as the parameter grows; "touches" where it turns back.
        network: with the parameter at this value.
    """

    value: Estimate
    chi: Estimate
    slope: Estimate
    direction: str
    network: Network

    def as_json(self) -> dict[str, Any]:
        """Numbers and direction."""
        return {
            "value": self.value.as_json(),
            "chi": self.chi.as_json(),
            "slope": self.slope.as_json(),
            "direction": self.direction,
        }


@dataclass(frozen=True)
class ChiJump:
    """A value of the parameter at which the state jumps, and χ_1 with it across the target.

    Attributes:
        value: of the parameter; where χ_1 passes the target across a gap, the error reaches to both ends of it.
        before, after: χ_1 below and above it.
    """

    value: Estimate
    before: float
    after: float

    def __str__(self) -> str:
        return f"at {self.value} it goes from {self.before:.6g} to {self.after:.6g} without being in between"

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        return {"value": self.value.as_json(), "before": self.before, "after": self.after}


@dataclass(frozen=True)
class CriticalPoint:
    """All critical values of one parameter in a range, everything else fixed; errors are bounds.

    Attributes:
        network, inputs: of what; the parameter's own value in ``network`` does not matter.
        parameter: its name.
        within: the range.
        target: what χ_1 is to be.
        roots: the critical values, ascending; one at least.
        jumps: where χ_1 passes the target without being there.
        gaps: stretches on which no stationary state was found, and why.
        chi_range: the least and the largest χ_1 met.
    """

    network: Network
    inputs: Inputs
    parameter: str
    within: tuple[float, float]
    target: float
    roots: tuple[CriticalValue, ...]
    jumps: tuple[ChiJump, ...]
    gaps: tuple[Gap, ...]
    chi_range: tuple[float, float]

    @property
    def value(self) -> Estimate:
        """The lowest critical value; see :attr:`roots` for others."""
        return self.roots[0].value

    @property
    def critical_network(self) -> Network:
        """The network at the lowest critical value."""
        return self.roots[0].network

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield critical --json`` prints."""
        return {
            "cell": self.network.cell,
            "regime": "untied",
            "network": self.network.as_json(),
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            "parameter": self.parameter,
            "within": list(self.within),
            "target": self.target,
            "roots": [root.as_json() for root in self.roots],
            "jumps": [jump.as_json() for jump in self.jumps],
            "gaps": [vars(gap) for gap in self.gaps],
            "chi_range": list(self.chi_range),
        }


def critical_point(
    network: Network,
    parameter: str,
    inputs: Inputs | None = None,
    *,
    within: Sequence[float],
    target: float = 1.0,
    points: int = POINTS,
) -> CriticalPoint:
    """All values of one parameter at which χ_1 is 1 (Chen et al. 2018, Gilboa et al. 2019; theory, section 3).

    Args:
        network: of a cell for which :func:`meanfield.fixed_points` gives χ_1.
        parameter: a gate and a law, as "h.recurrent_gain", or * for all gates that have it, as "*.input_gain".
        inputs: white inputs of power R, power 1 by default.
        within: the lowest and the highest value to consider.
        target: what χ_1 is to be instead of 1; positive.
        points: values at which χ_1 is looked at first. Two critical values closer together than their spacing may be
            missed in pairs, unless χ_1 is seen to turn back between them.

    Returns:
        The critical values with bounds that χ_1's own bounds leave standing, slopes and networks.

    Raises:
        InvalidInput: if the parameter, the range or the target makes no sense, or χ_1 is not known for the cell.
        Infeasible: if χ_1 is nowhere at the target; the message has the range of χ_1 that was met.
        NotConverged: if no stationary state is found anywhere in the range, or χ_1 is the target all over it.

    >>> import meanfield as mf
    >>> from meanfield.critical_points import critical_point
    >>> network = mf.Network("vanilla", {"h": mf.Gate(bias_std=0.3)})
    >>> found = critical_point(network, "h.recurrent_gain", mf.Inputs(power=0.0), within=(0.5, 3.0))
    >>> print(round(found.value.value, 9), found.value.error < 1e-12)
    1.395583975 True
    """
    found = NetworkParameter.named(network, parameter)
    low, high = check_range(found, within)
    check_target(target)
    check_count("points", points, 3)
    return solved(network, found, inputs if inputs is not None else Inputs(), (low, high), target, points)


def solved(
    network: Network,
    parameter: NetworkParameter,
    inputs: Inputs,
    within: tuple[float, float],
    target: float,
    points: int,
) -> CriticalPoint:
    """:func:`critical_point` for arguments that were checked."""

    def chi_at(value: float) -> tuple[float, float]:
        chi = untied_chi(parameter.applied(network, value), inputs)
        return chi.value, chi.error

    try:
        met = level_crossings(chi_at, target, *within, points=points)
    except ArithmeticError as failure:
        raise NotConverged(f"{parameter.name}: χ_1: {failure}") from failure
    if met.lowest is None or met.highest is None:
        reason = met.gaps[0].reason
        raise NotConverged(
            f"{parameter.name}: from {within[0]:g} to {within[1]:g} no stationary state was found: {reason}"
        )
    jumps = tuple(_jump(each) for each in met.jumps)
    if not met.crossings:
        raise Infeasible(_why_not(parameter, within, target, met, jumps))
    roots = tuple(
        CriticalValue(
            Estimate(each.place, each.error),
            Estimate(each.value, each.value_error),
            Estimate(each.slope.value, each.slope.error),
            each.direction,
            parameter.applied(network, each.place),
        )
        for each in met.crossings
    )
    return CriticalPoint(
        network, inputs, parameter.name, within, target, roots, jumps, met.gaps, (met.lowest, met.highest)
    )


def check_range(parameter: NetworkParameter, within: object) -> tuple[float, float]:
    """The ends of a range of values that the parameter may have.

    Raises:
        InvalidInput: if it is not one.
    """
    try:
        low, high = (float(each) for each in within)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InvalidInput(f"within: must be a lowest and a highest value, got {within!r}") from None
    for end in (low, high):
        check_number(f"within ({parameter.name})", end, parameter.lowest, float("inf"))
    if not low < high:
        raise InvalidInput(f"within: the lowest value must be below the highest, got {low:g} and {high:g}")
    return low, high


def check_target(target: object) -> None:
    """Check that a target is a positive number."""
    check_number("target", target, 0.0, float("inf"))
    if target == 0.0:
        raise InvalidInput("target: must be positive, got 0")


def _jump(jump: Jump) -> ChiJump:
    return ChiJump(Estimate(jump.place, jump.error), jump.before, jump.after)


def _why_not(
    parameter: NetworkParameter,
    within: tuple[float, float],
    target: float,
    met: LevelCrossings,
    jumps: tuple[ChiJump, ...],
) -> str:
    parts = [
        f"{parameter.name}: χ_1 is never {target:g} from {within[0]:g} to {within[1]:g}, "
        f"where it is from {met.lowest:.6g} to {met.highest:.6g}",
        *(str(jump) for jump in jumps),
        *(f"from {gap.low:.6g} to {gap.high:.6g} no stationary state was found: {gap.reason}" for gap in met.gaps),
    ]
    return "; ".join(parts)
