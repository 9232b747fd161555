"""The overlaps that uncorrelated copies of many networks of one closed cell reach; equations as in closed_overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from meanfield.closed_batch_moments import ManyLaws, forgotten
from meanfield.closed_batch_pairs import ManyPairs, growth
from meanfield.solvers.bounded_arithmetic import Bounded

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SCAN = np.unique(np.concatenate((np.linspace(0.0, 1.0, 21), 1.0 - 10.0 ** -np.arange(2.0, 11.0))))
_CHANGE = 1e-6  # of the overlap, over which slopes are linear
_CLEAR = 4.0  # change over its error from which its sign is known
_FLAT = 1e-3  # 1 - χ_C over 1 - E[D²], below which other fixed points may be near


@dataclass(frozen=True, eq=False)
class ManyPoints:
    """Growth of perturbations, and the overlaps reached; errors are bounds; all (networks,).

    Attributes:
        chi: χ_1, growth per step at identical inputs.
        lacking: 1 - χ_1.
        overlap: C*, the overlap that uncorrelated copies reach.
        slope: χ_C, that of the overlap map there.
        slope_lacking: 1 - χ_C.
        settled: whether these are the numbers of a fixed point that stands alone.
    """

    chi: Bounded
    lacking: Bounded
    overlap: Bounded
    slope: Bounded
    slope_lacking: Bounded
    settled: Mask


def settle_overlaps(laws: ManyLaws) -> ManyPoints:
    """The fixed points of the overlap that uncorrelated copies reach.

    Args:
        laws: of the single copies.

    Returns:
        Numbers whose errors hold where :attr:`ManyPoints.settled`.
    """
    overlaps, settled = _reached(laws)
    inward = np.where(overlaps > 0.0, overlaps - _CHANGE, overlaps + _CHANGE)
    both = np.stack((overlaps, inward))
    slopes = ManyPairs(laws, _products(laws, both)).slope()
    change = _change(laws, overlaps[None])[0]
    slope, lacking = slopes.slope[0], slopes.lacking[0]
    chi, chi_lacking = growth(laws)
    off, slope_off, chi_off = change.magnitude + slopes.spread[0], np.zeros(len(overlaps)), np.zeros(len(overlaps))
    for moved, share in laws.moved():
        pairs = ManyPairs(moved, _products(moved, overlaps[None]))
        off = off + share * np.abs(pairs.change().value[0] - change.value)
        slope_off = slope_off + share * np.abs(pairs.slope().slope.value[0] - slope.value)
        chi_off = chi_off + share * np.abs(growth(moved)[0].value - chi.value)
    variance = _variance(laws)
    room = lacking.value - lacking.error - slope_off
    same = overlaps == 1.0
    error = np.where(same, 0.0, off / room)
    curvature = np.abs(slopes.slope.value[1] - slope.value) / (_CHANGE * variance.value)
    slope_off = slope_off + np.where(same, 0.0, 2.0 * curvature * error)
    overlap_error = np.where(same, 0.0, (error + 2.0 * variance.error) / variance.value)
    return ManyPoints(
        chi=Bounded(chi.value, chi.error + chi_off),
        lacking=Bounded(chi_lacking.value, chi_lacking.error + chi_off),
        overlap=Bounded(overlaps, overlap_error),
        slope=Bounded(slope.value, slope.error + slope_off),
        slope_lacking=Bounded(lacking.value, lacking.error + slope_off),
        settled=settled & (same | (room > _FLAT * forgotten(laws.steps)[1].value)),
    )


def _variance(laws: ManyLaws) -> Bounded:
    return laws.second - laws.mean * laws.mean


def _products(laws: ManyLaws, overlaps: Float64) -> Float64:
    """E[s_a s_b] at correlation coefficients of the state, (copies, networks)."""
    mean, square = laws.mean.value, laws.second.value
    # From the nearer end, so that copies that are the same are so exactly.
    variance = square - mean**2
    return np.where(overlaps > 0.0, square - (1.0 - overlaps) * variance, mean**2 + overlaps * variance)


def _change(laws: ManyLaws, overlaps: Float64) -> Bounded:
    """How far one step moves E[s_a s_b], (copies, networks)."""
    return ManyPairs(laws, _products(laws, overlaps)).change() + np.zeros_like(overlaps)


def _reached(laws: ManyLaws) -> tuple[Float64, Mask]:
    """The first fixed point on the way that uncorrelated copies take, and whether it is known to be that."""
    count = len(laws.settled)
    changes = _change(laws, np.stack((np.zeros(count), np.full(count, _SCAN[1]), np.full(count, -_SCAN[1]))))
    drift, right, left = _signs(changes)
    direction = np.where(drift < 0.0, -1.0, 1.0)
    ahead = _signs(_change(laws, direction * _SCAN[:, None])) * direction
    first = np.argmax(ahead <= 0.0, axis=0)  # the first place where the copies no longer move on
    networks = np.arange(count)
    crossed = ahead[first, networks] < 0.0
    at_end = (ahead[first, networks] == 0.0) & (first == len(_SCAN) - 1)
    kept = (drift == 0.0) & (left != 0.0) & (right != 0.0)
    crossed &= drift != 0.0
    overlaps = np.where(kept, 0.0, direction)
    if np.any(crossed):
        which = np.flatnonzero(crossed)
        ends = direction[which] * _SCAN[first[which] - 1], direction[which] * _SCAN[first[which]]
        overlaps[which] = _roots(laws, which, *ends)
    return overlaps, kept | crossed | (at_end & (drift != 0.0))


def _roots(laws: ManyLaws, which: NDArray[np.intp], start: Float64, end: Float64) -> Float64:
    """Overlaps between two where the change passes zero, of some of the networks."""
    overlaps = np.zeros(len(laws.settled))

    def change(trial: Float64, networks: Float64) -> Float64:
        chosen = networks.astype(np.intp)
        overlaps[chosen] = trial
        return _change(laws, overlaps[None]).value[0, chosen]

    tolerances = {"xatol": 1e-15, "xrtol": 1e-15, "fatol": 0.0, "frtol": 0.0}
    found = elementwise.find_root(change, (start, end), args=(which.astype(np.float64),), tolerances=tolerances)
    return np.where(found.success, found.x, np.nan)


def _signs(change: Bounded) -> Float64:
    return np.where(np.abs(change.value) > _CLEAR * change.error, np.sign(change.value), 0.0)
