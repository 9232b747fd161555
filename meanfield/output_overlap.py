"""Fixed points of the overlap of two sequences, for a memory behind an output gate (theory, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from meanfield.closed_overlap import OverlapFixedPoint, OverlapMap, fixed_points_of
from meanfield.estimate import Estimate
from meanfield.output_growth import output_growth
from meanfield.output_law import OutputLaw
from meanfield.output_pairs import OutputPairs
from meanfield.solvers.bounded_arithmetic import Bounded

Float64 = NDArray[np.float64]

_SCAN = np.unique(np.concatenate((np.linspace(-1.0, 1.0, 11), [-0.95, 0.9, 0.95, 0.99, 0.999])))
_CORRECTIONS = 4
_NEAR = 1e-6  # of the overlap: a root of the quick map
_SETTLED = 1e-9  # last correction of the overlap
_SLACK = 1e-9  # relative, of bounds of a growth


def output_overlap(law: OutputLaw) -> tuple[OverlapFixedPoint, ...]:
    """All fixed points of the map of the output's overlap between -1 and 1.

    Args:
        law: of the single copies; its inputs' overlap is that of the two sequences.

    Returns:
        Ascending in the overlap. Two fixed points that lie closer together than the points of a coarse scan, 0.2 in the
        middle and 0.001 near 1, without a change of sign in between may be missed together. χ_C is the growth per step
        of the distance between two sequences, memory and output together.

    Raises:
        NotConverged: if no fixed point is found, or the map is flat to within its errors.

    >>> import meanfield as mf
    >>> from meanfield.output_law import output_law
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
    >>> gates = {"i": gate, "f": mf.Gate(1.0, 0.5, 1.0, 0.2), "g": mf.Gate(2.0, 1.0, 0.0, 0.2), "o": gate}
    >>> (point,) = output_overlap(output_law(mf.Network("lstm", gates), mf.Inputs(overlap=0.5)))
    >>> round(point.overlap.value, 6), point.overlap.error < 1e-8, round(point.slope.value, 4)
    (0.436012, True, 0.5877)
    """
    return fixed_points_of(OutputOverlapMap(law))


@dataclass(frozen=True, eq=False)
class OutputOverlapMap(OverlapMap):
    """The map of E[h_a h_b] for the copies of a law, as a function of the output's overlap."""

    law: OutputLaw
    scan: Float64 = field(default_factory=lambda: _SCAN)
    nearby: float = 1e-3
    sharp: float = 1e-6

    def directions(self) -> tuple[Float64, Float64]:
        """Overlaps of the scan, and which way the map moves them."""
        overlaps, signs = super().directions()
        ends = overlaps == 1.0
        if np.any(signs[ends] == 0.0) and not OutputPairs(self.law.step, self.products(overlaps[ends])).same:
            signs[ends] = -1.0  # copies that differ are not alike for long, though errors hide it
        return overlaps, signs

    def root_between(self, low: float, high: float) -> float:
        """The root of the quick map, corrected by Newton's method with the costly one."""

        def quick(overlap: float) -> float:
            return float(self.change(np.array([overlap]), quick=True).value[0])

        ends = [quick(low), quick(high)]
        if not ends[0] * ends[1] < 0.0:
            return super().root_between(low, high)
        overlap = float(brentq(quick, low, high, xtol=_NEAR))
        variance = float(self.law.second_moment.value - self.law.mean.value**2)
        for _ in range(_CORRECTIONS):
            here = np.array([overlap])
            change = self.change(here)
            step = float(change.value[0] / self.slope(here).lacking.value[0]) / variance
            overlap = float(np.clip(overlap + step, low, high))
            if abs(step) <= max(float(change.error[0]) / variance, _SETTLED):
                return overlap
        # What the quick map takes for a root need not be one.
        return super().root_between(low, high)

    def growth(self, overlap: float, slope: Bounded, lacking: Bounded) -> tuple[Bounded, Bounded]:
        """χ_C and 1 - χ_C: the memory follows the map of the overlap in its own time."""
        pairs = OutputPairs(self.law.step, self.products(np.array([overlap])))
        most = output_growth(self.law).chi
        if pairs.same:
            same = Bounded(np.asarray(most.value), np.asarray(most.error))
            return same, 1.0 - same
        chi, left = pairs.growth()
        return _between(chi[0], left[0], float(pairs.least()[0]), most)


def _between(chi: Bounded, lacking: Bounded, least: float, most: Estimate) -> tuple[Bounded, Bounded]:
    """A growth and one minus that, given what it is at least, and χ_1, as |E δ_a δ_b| is at most E δ².

    Where little of a perturbation returns, χ_C is close to what the memory keeps, and polynomials tell it badly.
    """
    highest = (1.0 + _SLACK) * most.value + most.error
    lowest = max((1.0 - _SLACK) * least, -highest)
    low, high = float(chi.value - chi.error), float(chi.value + chi.error)
    if lowest <= low and high <= highest:
        return chi, lacking
    low, high = max(low, lowest), min(high, highest)
    if low > high:
        low, high = lowest, highest
    found = Bounded(np.asarray(0.5 * (low + high)), np.asarray(0.5 * (high - low)))
    return found, 1.0 - found
