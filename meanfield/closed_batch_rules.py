"""Numbers of many networks of one closed cell on rules that they share, and which networks these rules settle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_moments import settle
from meanfield.closed_batch_overlap import settle_overlaps
from meanfield.closed_batch_step import ManyUnits
from meanfield.closed_growth import slow_timescale
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.many_gaussian_products import SharedRule, shared_rule

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ACCURACY = 1e-10
_CANCELLED = 1e-12  # of Q* over the state's variance: error of the overlap that no rule improves
_RULES = ((256, 64, 512), (512, 128, 512), (1024, 512, 64))  # intervals, Hermite polynomials, networks at once

COLUMNS = ("mean", "second_moment", "overlap", "chi", "overlap_slope", "timescale", "overlap_timescale")
"""What the numbers of a network are, in order."""


def settle_together(networks: Sequence[Network], inputs: Sequence[Inputs], numbers: Float64) -> Mask:
    """Compute networks on rules that they share, from quick ones to one of 1025 nodes.

    Args:
        networks: of one cell, for which :func:`meanfield.closed_batch_step.shares_a_rule` holds.
        inputs: of each of them.
        numbers: to be filled in with values and errors where they are accurate, (columns, 2, networks).

    Returns:
        Which networks were settled, (networks,).
    """
    units = ManyUnits.of(networks, inputs)
    settled = np.zeros(len(units), dtype=bool)
    for intervals, terms, at_once in _RULES:
        rule, left = shared_rule(intervals, terms), np.flatnonzero(~settled)
        for start in range(0, len(left), at_once):
            part = left[start : start + at_once]
            good, found = _on_rule(units.chosen(part), rule)
            settled[part[good]] = True
            numbers[:, :, part[good]] = found[:, :, good]
    return settled


def _on_rule(units: ManyUnits, rule: SharedRule) -> tuple[Mask, Float64]:
    """Which networks a rule settles, and all columns of values and errors, (columns, 2, networks)."""
    with np.errstate(all="ignore"):  # what leaves the range of numbers is not settled
        laws = settle(units, rule)
        points = settle_overlaps(laws)
        columns = laws.mean, laws.second, points.overlap, points.chi, points.slope
        good = laws.settled & points.settled & _accurate(*columns)
    found = np.full((len(COLUMNS), 2, len(units)), np.nan)
    found[: len(columns)] = [(each.value, each.error) for each in columns]
    pairs = (points.chi, points.lacking), (points.slope, points.slope_lacking)
    for column, (chi, lacking) in enumerate(pairs, start=len(columns)):
        for row in np.flatnonzero(good).tolist():
            slope = Estimate(float(chi.value[row]), float(chi.error[row]))
            scale = slow_timescale(slope, float(lacking.value[row]), float(lacking.error[row]))
            if scale is not None:
                found[column, :, row] = scale.value, scale.error
    return good, found


def _accurate(mean: Bounded, second: Bounded, overlap: Bounded, chi: Bounded, slope: Bounded) -> Mask:
    """Whether errors are below those that :func:`meanfield.fixed_points_of_many` promises, (networks,)."""
    share = (second.value - mean.value**2) / second.value
    sizes = np.sqrt(second.value), second.value, np.maximum(1.0, _CANCELLED / _ACCURACY / share), chi.value, chi.value
    found = np.ones(len(share), dtype=bool)
    for column, size in zip((mean, second, overlap, chi, slope), sizes, strict=True):
        found &= np.isfinite(column.value) & (column.error <= _ACCURACY * size)
    return found
