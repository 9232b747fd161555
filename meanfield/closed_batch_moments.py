"""Stationary moments of many networks of one closed cell at once; equations as in closed_moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_step import ManySteps, ManyUnits
from meanfield.closed_step import average, carrier_average, pair_average
from meanfield.solvers.bounded_arithmetic import Bounded, bounded
from meanfield.solvers.many_gaussian_products import SharedRule

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ITERATIONS = 30
_NEAR_ZERO = 1e-10
_SMALL_START = 0.01  # of carriers that inputs and biases alone do not drive
_SHRINK = 1e-3
_STABLE = 1.0 - 1e-6  # slope of the map of second moments above which a network is too close to critical
_MULTIPLE = 8  # networks in an array are a multiple of it
_MOVE = 1e-5  # relative change of second moments over which their effect on other results is linear


@dataclass(frozen=True, eq=False)
class ManyLaws:
    """Moments of the units of many networks; errors are bounds.

    Attributes:
        steps: at the second moments found.
        mean: E[s], (networks,).
        second: E[s²], (networks,).
        carriers: E[p²] of the vectors that recurrent matrices read, (carriers, networks).
        settled: whether the moments are those that uncorrelated starts lead to, within their errors, (networks,).
    """

    steps: ManySteps
    mean: Bounded
    second: Bounded
    carriers: Bounded
    settled: Mask

    def moved(self) -> Iterator[tuple[ManyLaws, Float64]]:
        """Laws with one carrier's second moment moved, and the share of the way that its error makes up, (networks,).

        What a result changes by, times that share, is the result's error from that of the law.
        """
        for index, (value, error) in enumerate(zip(self.carriers.value, self.carriers.error, strict=True)):
            if not np.any(self.steps.units.squared_gains[:, index]):
                continue  # nothing reads it
            squares = self.steps.squares.copy()
            squares[index] *= 1.0 + _MOVE
            steps = ManySteps(self.steps.units, squares, self.steps.rule)
            mean, second = state_moments(steps)
            yield ManyLaws(steps, mean, second, self.carriers, self.settled), 2.0 * error / (_MOVE * value)


def padded(which: NDArray[np.intp]) -> NDArray[np.intp]:
    """Networks, some of them repeated so that all arrays have shapes for which sums are made in the same order.

    >>> padded(np.array([3, 5])).tolist()
    [3, 5, 3, 3, 3, 3, 3, 3]
    """
    return np.concatenate((which, np.repeat(which[:1], -len(which) % _MULTIPLE)))


def settle(units: ManyUnits, rule: SharedRule) -> ManyLaws:
    """Moments at self-consistent second moments.

    Newton steps where the map of second moments is stable, and plain iteration elsewhere, lead from what inputs and
    biases alone give to the same law as :func:`meanfield.closed_moments.closed_law` finds.

    Args:
        units: of the networks.
        rule: that integrates.

    Returns:
        The laws; those of networks that did not settle are not :attr:`ManyLaws.settled`, and their numbers mean
        nothing.
    """
    count = len(units.cell.carriers)
    point = _map(ManySteps(units, np.zeros((count, len(units))), rule))[2].value
    settled = np.zeros(len(units), dtype=bool)
    # Which state is reached from zero where nothing drives the network takes more care than Newton steps do, unless
    # there is one carrier and zero repels it.
    near = np.full_like(point, _NEAR_ZERO)
    repels = np.all(_map(ManySteps(units, near, rule))[2].value > near, axis=0) & (count == 1)
    active = np.flatnonzero(np.any(point > 0.0, axis=0) | repels)
    point = np.where(point > 0.0, point, _SMALL_START)
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        active = padded(active)
        steps = ManySteps(units.chosen(active), point[:, active], rule)
        mean, second, squares = _map(steps)
        done = np.all(np.abs(squares.value - steps.squares) <= squares.error, axis=0)
        settled[active[done]] = True
        following, usable = _next(steps.squares, squares.value, _slopes(steps, mean, second)[:, 2:])
        usable &= np.all(np.isfinite(squares.error), axis=0)
        point[:, active[usable & ~done]] = following[:, usable & ~done]
        active = np.unique(active[usable & ~done])
    return _law(ManySteps(units, point, rule), settled)


def _next(point: Float64, squares: Float64, slopes: Float64) -> tuple[Float64, Mask]:
    """The next second moments, (carriers, networks), and whether they can be used."""
    finite = np.all(np.isfinite(slopes), axis=(1, 2)) & np.all(np.isfinite(squares), axis=0)
    stable = np.zeros(len(slopes), dtype=bool)
    stable[finite] = np.max(np.real(np.linalg.eigvals(slopes[finite])), axis=1) < _STABLE
    response = np.eye(len(point)) - np.where(stable[:, None, None], slopes, 0.0)
    guess = point + np.linalg.solve(response, (squares - point).T[..., None])[..., 0].T
    # What decays to zero is extrapolated to its other side as easily as not; it stays on its own.
    guess = np.where((guess > 0.0) | ~stable, guess, _SHRINK * squares)
    return guess, finite


def _law(steps: ManySteps, settled: Mask) -> ManyLaws:
    """The laws at fixed points, with errors passed through the self-consistency."""
    mean, second, squares = _map(steps)
    slopes = _slopes(steps, mean, second)
    finite = np.all(np.isfinite(slopes), axis=(1, 2))
    stable = np.zeros(len(slopes), dtype=bool)
    stable[finite] = np.max(np.real(np.linalg.eigvals(slopes[finite, 2:])), axis=1) < _STABLE
    response = np.eye(len(steps.squares)) - np.where(stable[:, None, None], slopes[:, 2:], 0.0)
    far = squares.error + np.abs(squares.value - steps.squares)
    off = np.einsum("nij,jn->in", np.abs(np.linalg.inv(response)), far)
    mean, second = (
        Bounded(each.value, each.error + np.einsum("nc,cn->n", np.abs(slopes[:, row]), off))
        for row, each in enumerate((mean, second))
    )
    variance = second - mean * mean
    settled = settled & stable & steps.resolved & (variance.value > variance.error)
    settled &= np.all(steps.squares > 0.0, axis=0)
    return ManyLaws(steps, mean, second, Bounded(steps.squares, off), settled)


def _map(steps: ManySteps) -> tuple[Bounded, Bounded, Bounded]:
    """E[s], E[s²] and E[p²] of all carriers, (carriers, networks), given the second moments that drive the step."""
    mean, second = state_moments(steps)
    squares = [carrier_average(carrier, mean, second, steps.moments) for carrier in steps.units.cell.carriers]
    values, errors = (np.array([getattr(each, part) for each in squares]) for part in ("value", "error"))
    return mean, second, Bounded(values, errors)


def state_moments(steps: ManySteps) -> tuple[Bounded, Bounded]:
    """E[s] and E[s²], (networks,); their errors are infinite where there is no stationary moment."""
    offset, keep = steps.units.cell.update
    gone, gone_twice = forgotten(steps)
    mean = average(offset, steps.moments) / gone
    fed = 2.0 * pair_average(keep, offset, steps.moments) * mean + pair_average(offset, offset, steps.moments)
    return mean, fed / gone_twice


def forgotten(steps: ManySteps) -> tuple[Bounded, Bounded]:
    """1 - E[D] and 1 - E[D²], (networks,); zero where they are not positive within their errors."""
    lost = steps.units.cell.lost
    gone = average(lost, steps.moments) + np.zeros(len(steps.units))
    gone_twice = 2.0 * gone - pair_average(lost, lost, steps.moments)
    return _positive(gone), _positive(gone_twice)


def _positive(number: Bounded) -> Bounded:
    return Bounded(np.where(number.value > number.error, number.value, 0.0), number.error)


def _slopes(steps: ManySteps, mean: Bounded, second: Bounded) -> Float64:
    """Derivatives of E[s], E[s²] and E[p²] of all carriers in the latter, (networks, 2 + carriers, carriers)."""
    units = steps.units
    offset, keep = units.cell.update
    lost = units.cell.lost
    gone, gone_twice = forgotten(steps)
    by_variance = np.zeros((2 + len(steps.squares), len(units.means), len(units)))
    for variable in steps.driven():
        changed = steps.group_of(variable)
        slope = bounded(steps.groups[changed].variance_slope(variable))
        matrices = [*steps.moments[:changed], slope, *steps.moments[changed + 1 :]]
        lost_once = average(lost, matrices, changed)
        lost_twice = 2.0 * lost_once - pair_average(lost, lost, matrices, changed)
        m_slope = (average(offset, matrices, changed) - mean * lost_once) / gone
        fed = pair_average(offset, offset, matrices, changed) - second * lost_twice
        fed = fed + 2.0 * (
            mean * pair_average(keep, offset, matrices, changed) + m_slope * pair_average(keep, offset, steps.moments)
        )
        q_slope = fed / gone_twice
        by_variance[:2, variable] = m_slope.value, q_slope.value
        for row, carrier in enumerate(units.cell.carriers, start=2):
            direct = carrier_average(carrier, mean, second, matrices, changed)
            through = pair_average(carrier[1], carrier[1], steps.moments) * q_slope
            mixed = 2.0 * pair_average(carrier[0], carrier[1], steps.moments) * m_slope
            by_variance[row, variable] = (direct + through + mixed).value
    return np.einsum("rvn,vcn->nrc", by_variance, units.squared_gains)
