"""Piecewise polynomials on panels of the line: interpolation at Chebyshev nodes, and averages of what it interpolates.

Panels are narrow near an origin, where functions have their structure, and grow with the distance from it.

Source: L. N. Trefethen, Approximation Theory and Approximation Practice (SIAM, 2013), chapters 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_AT_ONCE = 1 << 21  # evaluations of one polynomial that are kept in memory together


@lru_cache(maxsize=32)
def _reference(order: int) -> tuple[Float64, Float64]:
    """Chebyshev points on [-1, 1], (order,), and the matrix from values there to Chebyshev coefficients, transposed."""
    if order == 1:
        return np.zeros(1), np.ones((1, 1))
    degree = order - 1
    nodes = -np.cos(np.arange(order) * np.pi / degree)
    to_coefficients: Float64 = chebyshev.chebvander(nodes, degree).T * np.float64(2.0 / degree)
    to_coefficients[:, [0, degree]] *= 0.5  # discrete orthogonality, in which the ends
    to_coefficients[[0, degree]] *= 0.5  # and the first and last polynomials count half
    return nodes, to_coefficients


@dataclass(frozen=True, eq=False)
class Panels:
    """Intervals that share their ends, with ``order`` Chebyshev points in each, of which the outer ones are its ends.

    Neighbours share the value at their common end. Without that, panels that are wide for the steps of a random walk
    would hardly hear of each other.

    Attributes:
        edges: ascending, (panels + 1,).
        order: points a panel, at least 2; or 1, with a single panel, for constants.

    >>> panels = Panels(np.array([0.0, 1.0, 3.0]), 8)
    >>> points = np.array([[0.25, 0.75], [2.0, 2.0]])
    >>> halves = panels.averages(points, np.array([0.5, 0.5]))  # E of the function at two points, for two rows
    >>> halves.shape, np.allclose(halves @ panels.nodes**2, [0.3125, 4.0])
    ((2, 15), True)
    """

    edges: Float64
    order: int

    @property
    def nodes(self) -> Float64:
        """All points, ascending, (N,) with N = panels × (order - 1) + 1."""
        reference, _ = _reference(self.order)
        widths = np.diff(self.edges)[:, None]
        nodes = self.edges[:-1, None] + widths * (0.5 * (reference + 1.0))
        return nodes.ravel() if self.order == 1 else np.append(nodes[:, :-1].ravel(), self.edges[-1])

    def averages(self, points: Float64, weights: Float64) -> Float64:
        """The matrix that takes values at the nodes to Σ_k weights_k × interpolant(points_rk).

        Args:
            points: (rows, K); those outside all panels are moved to the nearest end.
            weights: (K,) or (rows, K).

        Returns:
            (rows, N). Rows add up to the sums of their weights within rounding.
        """
        weights = np.broadcast_to(weights, points.shape)
        step = max(1, _AT_ONCE // (points.shape[1] * self.order))
        blocks = [
            self._averages(points[first : first + step], weights[first : first + step])
            for first in range(0, len(points), step)
        ]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _averages(self, points: Float64, weights: Float64) -> Float64:
        rows, panels = len(points), len(self.edges) - 1
        flat = points.ravel()
        panel = np.searchsorted(self.edges[1:-1], flat)
        half = 0.5 * np.diff(self.edges)
        places = (flat - self.edges[:-1][panel]) / half[panel] - 1.0
        np.clip(places, -1.0, 1.0, out=places)
        target = panel.reshape(points.shape)
        target += panels * np.arange(rows)[:, None]
        cells = target.ravel()
        # Sums of every Chebyshev polynomial over the points of a row in a panel; from there to nodal values.
        sums = np.empty((self.order, rows * panels))
        before, now = np.ascontiguousarray(weights).ravel(), weights.ravel() * places
        sums[0] = np.bincount(cells, before, rows * panels)
        if self.order > 1:
            sums[1] = np.bincount(cells, now, rows * panels)
        places *= 2.0
        for degree in range(2, self.order):
            before, now = now, places * now - before
            sums[degree] = np.bincount(cells, now, rows * panels)
        _, to_coefficients = _reference(self.order)
        values = (sums.T @ to_coefficients).reshape(rows, panels, self.order)
        if self.order == 1:
            return values[:, 0]
        result = np.zeros((rows, panels * (self.order - 1) + 1))
        result[:, :-1] = values[:, :, :-1].reshape(rows, -1)
        result[:, self.order - 1 :: self.order - 1] += values[:, :, -1]
        return result


def graded_panels(
    low: float,
    high: float,
    order: int,
    *,
    origin: float,
    narrowest: float,
    growth: float,
    plateau: float,
    widest: float,
) -> Panels:
    """Panels from low to high that widen away from an origin.

    Args:
        low: the lower end.
        high: the upper end, above ``low``.
        order: nodes a panel.
        origin: around which panels are narrowest, inside or outside of [low, high].
        narrowest: width within ``plateau`` of the origin.
        growth: by how much of the further distance from the origin panels are wider.
        plateau: how far from the origin they begin to widen.
        widest: at most this.

    >>> graded_panels(-4.0, 8.0, 4, origin=0.0, narrowest=1.0, growth=1.0, plateau=1.0, widest=4.0).edges.round(2)
    array([-4., -2., -1.,  0.,  1.,  2.,  4.,  8.])
    """
    middle = min(max(origin, low), high)

    def walk(end: float, sign: float) -> Float64:
        """Distances of edges from the middle, scaled so that the last one meets the end."""
        length, distances = sign * (end - middle), [0.0]
        away = sign * (middle - origin)
        while distances[-1] < length * (1.0 - 1e-12):
            far = max(0.0, away + distances[-1] - plateau)
            distances.append(distances[-1] + min(narrowest + growth * far, widest))
        return np.array(distances) * (length / distances[-1] if distances[-1] > 0.0 else 0.0)

    up, down = walk(high, 1.0), walk(low, -1.0)
    edges = np.concatenate([middle - down[:0:-1], [middle], middle + up[1:]])
    edges[0], edges[-1] = low, high
    return Panels(edges, order)
