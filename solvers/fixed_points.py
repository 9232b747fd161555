"""Fixed points x = F(x) by damped iteration with Anderson's acceleration.

The next point is taken where the last few residuals F(x) - x, extrapolated linearly, vanish. That is a secant method
for one unknown. An extrapolated step is taken only along the plain one: fixed points that repel the plain iteration,
such as the zero state of a network beyond its critical gain, are not converged to.

Source: D. G. Anderson, Iterative procedures for nonlinear integral equations (J. ACM 12, 1965); H. F. Walker and P. Ni,
Anderson acceleration for fixed-point iterations (SIAM J. Numer. Anal. 49, 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Map = Callable[[Float64], Float64]

_FARTHEST = 1e4  # plain steps that an extrapolated one may be long
_NOTHING = 1e-30
_UNBOUNDED = 1e30


@dataclass(frozen=True)
class Iterate:
    """Where an iteration is.

    Attributes:
        point: x, (unknowns,).
        image: F(x), (unknowns,).
        points: earlier points, oldest first, (depth, unknowns).
        images: their images.
        steps: how many evaluations there were.
    """

    point: Float64
    image: Float64
    points: Float64
    images: Float64
    steps: int

    @property
    def residual(self) -> float:
        """Largest |F(x) - x| for |F(x)|; zero where both are zero."""
        size = np.maximum(np.abs(self.image), _NOTHING)
        return float(np.max(np.abs(self.image - self.point) / size, initial=0.0))


@dataclass(frozen=True)
class FixedPoint:
    """Where an iteration ended.

    Attributes:
        value: F(x), (unknowns,).
        residual: largest |F(x) - x| for |F(x)|.
        converged: whether that is within the tolerance.
        status: a sentence.
        steps: evaluations of F.
    """

    value: Float64
    residual: float
    converged: bool
    status: str
    steps: int


def started(function: Map, start: Float64) -> Iterate:
    """The iteration at its start."""
    point = np.atleast_1d(np.asarray(start, dtype=np.float64))
    nothing = np.empty((0, len(point)))
    return Iterate(point, function(point), nothing, nothing, 1)


def advanced(function: Map, iterate: Iterate, *, depth: int, damping: float, positive: bool) -> Iterate:
    """The iteration one evaluation on; arguments as for :func:`fixed_point`."""
    guess = _extrapolated(iterate, damping)
    if positive:
        guess = np.where((guess > 0.0) | (iterate.image <= 0.0), guess, 1e-3 * iterate.image)
        guess = np.where(guess < _NOTHING, 0.0, guess)
    first = len(iterate.points) + 1 - depth
    points, images = (
        np.vstack((earlier, latest))[max(first, 0) :]
        for earlier, latest in ((iterate.points, iterate.point), (iterate.images, iterate.image))
    )
    return Iterate(guess, function(guess), points, images, iterate.steps + 1)


def _extrapolated(iterate: Iterate, damping: float) -> Float64:
    residual = iterate.image - iterate.point
    plain = iterate.point + damping * residual
    if not len(iterate.points):
        return plain
    residuals = iterate.images - iterate.points
    changes = residual - residuals
    weights, *_ = np.linalg.lstsq(changes.T, residual, rcond=1e-10)
    guess = plain - weights @ (iterate.point - iterate.points + damping * changes)
    step = guess - iterate.point
    along = float(step @ residual) > 0.0
    near = float(np.linalg.norm(step)) <= _FARTHEST * float(np.linalg.norm(residual))
    return guess if along and near else plain


def fixed_point(
    function: Map,
    start: Float64,
    *,
    tolerance: float = 1e-12,
    depth: int = 3,
    damping: float = 1.0,
    positive: bool = False,
    limit: int = 200,
) -> FixedPoint:
    """Find x = F(x) near a start.

    Args:
        function: F, of an array (unknowns,).
        start: (unknowns,).
        tolerance: of the residual, relative to every unknown.
        depth: earlier points that are extrapolated from; 0 for plain iteration.
        damping: share of the plain step that is taken, above 0 and up to 1.
        positive: unknowns are not negative, and go to zero from above only.
        limit: evaluations at most.

    Returns:
        The fixed point; if it did not converge, the status says so, and nothing is raised.

    Raises:
        ValueError: if damping is not in (0, 1].

    >>> found = fixed_point(np.cos, np.array([1.0]))
    >>> round(float(found.value[0]), 10), found.status
    (0.7390851332, 'converged in 8 evaluations')
    """
    if not 0.0 < damping <= 1.0:
        raise ValueError(f"damping: must be above 0 and at most 1, got {damping}")
    iterate = started(function, start)
    while True:
        if not np.all(np.abs(iterate.image) < _UNBOUNDED):
            status = f"the iteration grew without bound in {iterate.steps} evaluations"
            return FixedPoint(iterate.image, np.inf, False, status, iterate.steps)
        if iterate.residual <= tolerance:
            status = f"converged in {iterate.steps} evaluations"
            return FixedPoint(iterate.image, iterate.residual, True, status, iterate.steps)
        if iterate.steps >= limit:
            status = f"a residual of {iterate.residual:.1e} is left after {iterate.steps} evaluations"
            return FixedPoint(iterate.image, iterate.residual, False, status, iterate.steps)
        iterate = advanced(function, iterate, depth=depth, damping=damping, positive=positive)
