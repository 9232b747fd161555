"""Fixed points of maps that are known by sampling, with the errors that sampling leaves in them.

A cheap evaluation with fixed random numbers is a smooth function: its fixed point is found by iteration with Aitken's
extrapolation, and its derivatives by differences. A costly evaluation near that point then corrects it by one Newton
step, and the scatter of its independent blocks, passed through the same step, gives the errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_TOLERANCE = 1e-5
_ITERATIONS = 200
_NEAR = 3e-3  # relative distance over which the map is as good as linear
_EXACT = 1e-10  # the same, for maps without noise
_SLOPE_ERROR = 0.05  # of slopes by differences from the cheap evaluation
_STEEPEST = 1e-4  # distance of slopes from one below which noise decides where the fixed point is
_CONTRACTING = 0.99
_SHRINK = 1e-3
_NOTHING, _UNBOUNDED = 1e-30, 1e30
_CORRECTIONS = 6
_DIFFERENCE = 1e-2


class NoFixedPoint(ArithmeticError):
    """The iteration did not settle."""


@dataclass(frozen=True)
class SampledFixedPoint:
    """Where q = F(q), and what was observed there.

    Attributes:
        point: where the costly evaluation was made, (unknowns,).
        blocks: observations of every block, carried over to the fixed point, (blocks, observations); the first
            ``unknowns`` of them are the fixed point itself.
        remainder: how far off the correction by one Newton step may be, (observations,).
        response: of every observation at the fixed point to an error in the map, (observations, unknowns).
    """

    point: Float64
    blocks: Float64
    remainder: Float64
    response: Float64


def sampled_fixed_point(
    cheap: Callable[[Float64], Float64], costly: Callable[[Float64], Float64], start: Float64
) -> SampledFixedPoint:
    """Find q = F(q), where F(q) is the first part of what is observed at q.

    Args:
        cheap: observations at q, (observations,), from the same random numbers at every call.
        costly: observations of independent blocks at q, (blocks, observations).
        start: where the iteration begins, (unknowns,); unknowns are second moments, or may have either sign where one
            of them starts out negative or zero.

    Raises:
        NoFixedPoint: if the iteration does not settle, or the map has slope one where it does.

    >>> found = sampled_fixed_point(
    ...     lambda q: 0.5 * q + 1.0, lambda q: 0.5 * q + np.array([[1.1], [0.9]]), np.array([0.1]))
    >>> found.blocks.ravel().round(6).tolist()  # each block's own fixed point
    [2.2, 1.8]
    """
    unknowns = len(start)
    if unknowns == 0:
        blocks = costly(start)
        return SampledFixedPoint(start, blocks, np.zeros(blocks.shape[1]), np.zeros((blocks.shape[1], 0)))
    point = settled(cheap, start)
    for _ in range(_CORRECTIONS):
        centre = cheap(point)
        slopes = np.empty((len(centre), unknowns))
        for index in range(unknowns):
            moved = point.copy()
            moved[index] += _DIFFERENCE * max(abs(point[index]), 1e-6)
            slopes[:, index] = (cheap(moved) - centre) / (moved[index] - point[index])
        response = np.eye(unknowns) - slopes[:unknowns]
        if np.linalg.svd(response, compute_uv=False)[-1] < _STEEPEST:
            raise NoFixedPoint("the map has slope one at its fixed point, which sampling cannot resolve")
        blocks = costly(point)
        shifts = np.linalg.solve(response, (blocks[:, :unknowns] - point).T).T
        shift = np.mean(shifts, axis=0)
        scatter = np.std(shifts, axis=0, ddof=1) / np.sqrt(len(shifts))
        # Where there is no scatter the map is known exactly, and only Newton's own convergence limits the answer.
        near = np.where(scatter > 0.0, _NEAR, _EXACT) * np.abs(point)
        if np.all(np.abs(shift) <= np.maximum(near, 3.0 * scatter) + 1e-300):
            remainder = _SLOPE_ERROR * np.abs(slopes) @ np.abs(shift)
            return SampledFixedPoint(point, blocks + shifts @ slopes.T, remainder, slopes @ np.linalg.inv(response))
        point = point + shift
    raise NoFixedPoint("evaluations of different cost do not agree on the fixed point; take more samples")


def settled(cheap: Callable[[Float64], Float64], start: Float64) -> Float64:
    """The stable fixed point of the cheap evaluation alone that iteration from the start leads to, (unknowns,).

    Aitken's extrapolation is taken only where the iteration contracts: elsewhere it leads back to an unstable fixed
    point, such as the zero state of a network beyond its critical gain.

    Raises:
        NoFixedPoint: if the iteration does not settle.

    >>> settled(lambda q: np.sqrt(q), np.array([0.01])).round(4).tolist()  # zero is a fixed point too, an unstable one
    [1.0]
    """
    point = np.asarray(start, dtype=np.float64)
    for _ in range(_ITERATIONS // 2):
        first = cheap(point)[: len(point)]
        second = cheap(first)[: len(point)]
        if not np.all(np.abs(second) < _UNBOUNDED):
            raise NoFixedPoint("the second moments grow without bound; lower the recurrent gains")
        before, after = first - point, second - first
        if np.all(np.abs(after) <= _TOLERANCE * np.abs(second)):
            return second
        contracts = np.abs(after) < _CONTRACTING * np.abs(before)
        ratio = np.divide(after, before, out=np.zeros_like(after), where=contracts)
        guess = second + after * ratio / (1.0 - ratio)
        # What decays to zero is extrapolated to its other side as easily as not; it stays on its own.
        point = np.where(guess * second > 0.0, guess, _SHRINK * second)
        point[np.abs(point) < _NOTHING] = 0.0
        if not np.any(point):
            return point
    raise NoFixedPoint(f"the second moments did not settle within {_ITERATIONS} iterations")
