"""Fixed points of the overlap of two sequences in the untied regime, in closed maps (theory, section 3).

Given p = E[s_a s_b], the Gaussian variables of two copies have known correlations, and

    p ← E[D_a D_b] p + 2 E[D_a B_b] E[s] + E[B_a B_b].

By Price's theorem the map's slope is made of averages of products of derivatives: it is χ_C, the growth per step of
E[δ_a δ_b] of a perturbation δ of the states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from meanfield.closed_growth import slow_timescale
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_pairs import MapSlope
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded

Float64 = NDArray[np.float64]

_NEAR_ENDS = 1.0 - 10.0 ** -np.arange(2.0, 11.0)
_SCAN = np.unique(np.concatenate((np.linspace(-1.0, 1.0, 41), _NEAR_ENDS, -_NEAR_ENDS)))


@dataclass(frozen=True)
class OverlapFixedPoint:
    """An overlap that the network keeps; errors are bounds.

    Attributes:
        overlap: correlation coefficient of the state between two copies; 1 where the state does not vary, with an error
            of 2 where it varies by less than rounding can tell.
        product: E[s_a s_b].
        slope: χ_C, that of the overlap map there.
        timescale: ξ = -1/log χ_C, None where χ_C is not between 0 and 1.
        stable: whether the overlap returns from small changes.
        reached: whether uncorrelated states lead there.
    """

    overlap: Estimate
    product: Estimate
    slope: Estimate
    timescale: Estimate | None
    stable: bool
    reached: bool


def closed_overlap(law: ClosedLaw) -> tuple[OverlapFixedPoint, ...]:
    """All fixed points of the overlap map between -1 and 1.

    Args:
        law: of the single copies; its inputs' overlap is that of the two sequences.

    Returns:
        Ascending in the overlap. Two fixed points that lie closer together than 1e-10 near ±1, or than 0.05 elsewhere
        without a change of sign in between, may be missed together.

    Raises:
        NotConverged: if no fixed point is found, or the map is flat to within its errors.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> chaotic = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=3.0)})
    >>> points = closed_overlap(closed_law(chaotic, mf.Inputs(power=0.0)))
    >>> [(round(point.overlap.value, 6), point.stable) for point in points]
    [(-1.0, False), (0.0, True), (1.0, False)]
    """
    return fixed_points_of(OverlapMap(law))


def fixed_points_of(overlap_map: OverlapMap) -> tuple[OverlapFixedPoint, ...]:
    """All fixed points of a map between -1 and 1, as for :func:`closed_overlap`."""
    if not overlap_map.varies:
        alone = overlap_map.fixed_point(1.0, reached=True)
        if any(value > 0.0 for name, value in overlap_map.law.parameters.items() if name.startswith("deviation ")):
            # It varies by less than its variance's error: nothing is known of how alike copies are.
            alone = replace(alone, overlap=Estimate(1.0, 2.0))
        return (alone,)
    places = overlap_map.roots()
    if not places:
        raise NotConverged("the overlap map has no fixed point that its errors leave standing")
    reached = overlap_map.reached(places)
    return tuple(overlap_map.fixed_point(place, reached=index == reached) for index, place in enumerate(places))


class CopiesOfLaw(Protocol):
    """What the map of the overlap asks of the law of a single copy."""

    @property
    def mean(self) -> Estimate:
        """Of what the overlap is of."""
        ...

    @property
    def second_moment(self) -> Estimate:
        """The same."""
        ...

    @property
    def parameters(self) -> Mapping[str, float]:
        """Means and deviations of the Gaussian variables."""
        ...

    def moved(self) -> Sequence[tuple[Self, float]]:
        """Laws whose second moments are moved, and the share of the way that their errors make up."""
        ...

    def pairs(self, products: Float64, *, quick: bool = False) -> CopiesOfStep:
        """Averages over two copies of a step."""
        ...


class CopiesOfStep(Protocol):
    """Averages over two copies of a step at several overlaps."""

    def change(self) -> Bounded:
        """How far the map moves E[s_a s_b], (products,)."""
        ...

    def slope(self) -> MapSlope:
        """Slope of the map, (products,)."""
        ...


@dataclass(frozen=True, eq=False)
class OverlapMap:
    """The map of E[s_a s_b] for the copies of a law, as a function of the overlap.

    Attributes:
        law: of the single copies.
        scan: overlaps between which fixed points are told apart, ascending.
        nearby: change of the overlap over which slopes are linear, and change by more than their errors.
        sharp: error of the map, for the variance, beyond which overlaps that seem not to move are left out.
    """

    law: CopiesOfLaw
    scan: Float64 = field(default_factory=lambda: _SCAN)
    nearby: float = 1e-6
    sharp: float = np.inf

    @property
    def varies(self) -> bool:
        """Whether the state has a variance that is not lost in its error."""
        return bool(self._variance.value > self._variance.error)

    @property
    def _variance(self) -> Bounded:
        mean, square = _bounded(self.law.mean), _bounded(self.law.second_moment)
        return square - mean * mean

    def products(self, overlaps: Float64) -> Float64:
        """E[s_a s_b] at correlation coefficients of the state."""
        square, mean = self.law.second_moment.value, self.law.mean.value
        # From the nearer end, so that copies that are the same are so exactly.
        return np.where(
            overlaps > 0.0,
            square - (1.0 - overlaps) * (square - mean**2),
            mean**2 + overlaps * (square - mean**2),
        )

    def change(self, overlaps: Float64, *, quick: bool = False) -> Bounded:
        """How far one step moves E[s_a s_b], (overlaps,)."""
        return self.law.pairs(self.products(overlaps), quick=quick).change() + np.zeros(len(overlaps))

    def slope(self, overlaps: Float64) -> MapSlope:
        """Slope of the map."""
        return self.law.pairs(self.products(overlaps)).slope()

    def directions(self) -> tuple[Float64, Float64]:
        """Overlaps of the scan, and which way the map moves them: 0 where it does not to within its errors."""
        scan = self.scan
        signs, hidden = _signs(self.change(scan, quick=True)), np.zeros(len(scan), dtype=bool)
        unclear = signs == 0.0
        if np.any(unclear):
            change = self.change(scan[unclear])
            signs[unclear] = _signs(change)
            hidden[unclear] = (signs[unclear] == 0.0) & (change.error > self.sharp * self._variance.value)
        return scan[~hidden], signs[~hidden]

    def roots(self) -> list[float]:
        """Overlaps that the map keeps, ascending."""
        scan, signs = self.directions()
        if not np.any(signs):
            raise NotConverged("the overlap does not move to within the errors of its map; every overlap is kept")
        found = []
        index = 0
        while index < len(scan):
            last = index
            if signs[index] == 0.0:
                while last + 1 < len(scan) and signs[last + 1] == 0.0:
                    last += 1
                run = scan[index : last + 1]
                # Ends and the middle are kept by symmetry where they are kept at all.
                found.append(next((float(each) for each in (1.0, -1.0, 0.0) if each in run), float(np.median(run))))
            elif index + 1 < len(scan) and signs[index] * signs[index + 1] < 0.0:
                found.append(self.root_between(scan[index], scan[index + 1]))
            index = last + 1
        return found

    def root_between(self, low: float, high: float) -> float:
        """The root between two overlaps that the map moves apart or together."""
        if not self._change_at(low) * self._change_at(high) < 0.0:
            raise NotConverged(f"the overlap map is not resolved between {low} and {high}; lower the recurrent gains")
        return float(brentq(self._change_at, low, high, xtol=1e-15, rtol=1e-15))

    def _change_at(self, overlap: float) -> float:
        return float(self.change(np.array([overlap])).value[0])

    def reached(self, roots: list[float]) -> int:
        """Index of the fixed point that uncorrelated states lead to."""
        drift = self._change_at(0.0)
        if 0.0 in roots:
            return roots.index(0.0)
        ahead = [index for index, root in enumerate(roots) if root * drift > 0.0]
        if not ahead:
            return int(np.argmin(np.abs(roots)))
        return min(ahead, key=lambda index: abs(roots[index]))

    def growth(self, overlap: float, slope: Bounded, lacking: Bounded) -> tuple[Bounded, Bounded]:
        """χ_C and 1 - χ_C at a fixed point: with one state variable the slope of the map."""
        return slope, lacking

    def fixed_point(self, overlap: float, *, reached: bool) -> OverlapFixedPoint:
        """All that is known of a fixed point, with errors passed through the map."""
        inward = overlap - self.nearby if overlap > 0.0 else overlap + self.nearby
        overlaps = np.array([overlap] if overlap == 1.0 else [overlap, inward])
        slopes = self.slope(overlaps)
        slope, lacking, change = slopes.slope[0], slopes.lacking[0], self.change(overlaps)[0]
        off, slope_off = float(change.magnitude + slopes.spread[0]), 0.0
        for law, share in self.law.moved():
            moved = replace(self, law=law)
            off += share * abs(float(moved.change(overlaps).value[0] - change.value))
            slope_off += share * abs(float(moved.slope(overlaps).slope.value[0] - slope.value))
        variance = float(np.maximum(self._variance.value, 0.0))
        square = self.law.second_moment
        error = overlap_error = 0.0
        if overlap != 1.0:
            room = abs(float(lacking.value)) - float(lacking.error) - slope_off
            if room <= 0.0:
                raise NotConverged(f"the overlap map is flat to within its errors at an overlap of {overlap:.6g}")
            error = off / room
            curvature = abs(float(slopes.slope.value[1] - slope.value)) / (self.nearby * variance)
            slope_off += 2.0 * curvature * error
            overlap_error = (error + float(self._variance.error)) / variance
        chi, lacking = self.growth(overlap, slope, lacking)
        growth = Estimate(float(chi.value), float(chi.error) + slope_off)
        product = float(self.products(np.array([overlap]))[0])
        return OverlapFixedPoint(
            overlap=Estimate(overlap, overlap_error),
            product=Estimate(product, error + square.error),
            slope=growth,
            timescale=slow_timescale(growth, float(lacking.value), float(lacking.error) + slope_off),
            stable=bool(abs(growth.value) < 1.0 or (growth.value > 0.0 and lacking.value > 0.0)),
            reached=reached,
        )


def _signs(change: Bounded) -> Float64:
    return np.where(np.abs(change.value) > 4.0 * change.error, np.sign(change.value), 0.0)


def _bounded(estimate: Estimate) -> Bounded:
    return Bounded(np.asarray(estimate.value), np.asarray(estimate.error))
