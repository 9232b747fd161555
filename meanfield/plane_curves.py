"""Curves and functions on the plane of the eigenvalues, means over networks with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.closed_contours import clipped, closed_contours
from meanfield.solvers.eigenvalue_boundary import SupportBoundary

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_STEP = 1e-6  # of slopes, relative to the size of a contour


@dataclass(frozen=True)
class EigenvalueBoundary:
    """How far the support reaches in some directions.

    Attributes:
        centre: where rays start.
        angles: of the rays, (rays,).
        radii: mean distance of the outermost point of the support, (rays,).
        errors: one standard error of it, (rays,).
    """

    centre: float
    angles: Float64
    radii: Float64
    errors: Float64

    @property
    def points(self) -> Complex128:
        """The points of the boundary, (rays,)."""
        return self.centre + self.radii * np.exp(1j * self.angles)


@dataclass(frozen=True)
class EigenvalueContour:
    """One closed curve around the support or a hole in it.

    Attributes:
        points: vertices, the first not repeated, the support to their left, (vertices,).
        errors: one standard error of the position across the curve, (vertices,).
        hole: whether it goes around a hole.
    """

    points: Complex128
    errors: Float64
    hole: bool


@dataclass(frozen=True)
class PlaneDensity:
    """The density of eigenvalues at points of the plane.

    Attributes:
        points: complex, (points,).
        values: eigenvalues per area, as a share of all, (points,).
        errors: one standard error, (points,).
    """

    points: Complex128
    values: Float64
    errors: Float64


def group_means(values: Float64, per_group: int) -> Float64:
    """Means over the networks of every group, (groups, …), from (networks, …).

    >>> group_means(np.array([1.0, 3.0, 5.0, 7.0]), 2)
    array([2., 6.])
    """
    return np.asarray(np.mean(values.reshape(-1, per_group, *values.shape[1:]), axis=1))


def mean_contours(
    boundaries: Sequence[SupportBoundary], resolution: int, per_group: int
) -> tuple[EigenvalueContour, ...]:
    """Curves where the mean of log ρ(M) over the networks of two or more groups vanishes, the largest first.

    Args:
        boundaries: of the networks, those of a group together.
        resolution: cells of the grid along the longer side of the widest network's support.
        per_group: how many networks there are of every group.

    Raises:
        ArithmeticError: if a vertex was not found.
    """

    def log_radii(points: Complex128) -> Float64:
        found = np.array([clipped(boundary.potential.log_radius(points)) for boundary in boundaries])
        return group_means(found, per_group)

    def errors(points: Complex128) -> Float64:
        """Standard error of the mean of log ρ, divided by its slope."""
        step = _STEP * float(np.max(np.abs(points - np.mean(points))))
        x, y = (
            np.mean(log_radii(points + step * along) - log_radii(points - step * along), axis=0) for along in (1.0, 1j)
        )
        scatter = np.std(log_radii(points), axis=0, ddof=1) / math.sqrt(len(boundaries) // per_group)
        return np.asarray(scatter * 2.0 * step / np.hypot(x, y))

    grids = [boundary.grid(resolution) for boundary in boundaries]
    widest = grids[int(np.argmax([np.ptp(x) * np.ptp(y) for x, y in grids]))]
    # The widest grid need not hold the others: its nodes are continued as far as they reach.
    x, y = (_continued(widest[axis], [grid[axis] for grid in grids]) for axis in range(2))
    found = closed_contours(lambda z: np.mean(log_radii(z), axis=0), x, y)
    return tuple(EigenvalueContour(each.points, errors(each.points), each.hole) for each in found)


def _continued(nodes: Float64, others: list[Float64]) -> Float64:
    """Evenly spaced nodes, continued on both sides as far as others reach."""
    cell = (nodes[-1] - nodes[0]) / (len(nodes) - 1)
    before = math.ceil(max(0.0, nodes[0] - min(each[0] for each in others)) / cell - 1e-9)
    after = math.ceil(max(0.0, max(each[-1] for each in others) - nodes[-1]) / cell - 1e-9)
    return np.asarray(nodes[0] + cell * np.arange(-before, len(nodes) + after))
