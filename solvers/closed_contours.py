"""Closed curves on which a function of the plane vanishes, by marching squares with exact vertices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]
PlaneFunction = Callable[[Complex128], Float64]

LARGEST = 700.0  # functions are clipped to this size, infinite ones too
_ROOT = 1e-12  # tolerance of a vertex relative to the size of the box
_Edge = tuple[int, int, bool]  # row and column of its first node, and whether it is vertical


@dataclass(frozen=True)
class ClosedContour:
    """One closed curve, the positive side to its left.

    Attributes:
        points: vertices, the first not repeated, (vertices,).
        hole: whether it encloses a negative region.
    """

    points: Complex128
    hole: bool

    @property
    def area(self) -> float:
        """The area it encloses, positive."""
        following = np.roll(self.points, -1)
        return abs(float(np.sum((np.conj(self.points) * following).imag))) / 2.0

    def encloses(self, points: NDArray[np.inexact]) -> NDArray[np.bool_]:
        """Whether points are inside, by counting crossings, of the shape of the points."""
        z = np.asarray(points, dtype=np.complex128)[..., None]
        a, b = self.points, np.roll(self.points, -1)
        spans = (a.imag > z.imag) != (b.imag > z.imag)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = a.real + (z.imag - a.imag) / (b.imag - a.imag) * (b.real - a.real)
        return np.asarray(np.sum(spans & (z.real < crossing), axis=-1) % 2 == 1)


def clipped(values: Float64) -> Float64:
    """Values between -700 and 700, for root finding."""
    return np.clip(values, -LARGEST, LARGEST)


def closed_contours(function: PlaneFunction, x: Float64, y: Float64) -> list[ClosedContour]:
    """Curves on which a function vanishes inside a box, at whose border it is negative.

    Vertices are roots along the edges of the grid; features smaller than its cells may be missed.

    Args:
        function: of points of any shape; may be infinite.
        x, y: nodes of the grid, ascending.

    Returns:
        The largest area first.

    Raises:
        ValueError: if the function is not negative at the border.
        ArithmeticError: if a root was not found.

    >>> nodes = np.linspace(-1.5, 1.5, 31)
    >>> (circle,) = closed_contours(lambda z: 1.0 - np.abs(z), nodes, nodes)
    >>> bool(np.allclose(np.abs(circle.points), 1.0, atol=1e-11)), circle.hole, round(circle.area, 2)
    (True, False, 3.14)
    """
    values = clipped(function(x[None, :] + 1j * y[:, None]))
    inside = values > 0.0
    if np.any(inside[[0, -1]]) or np.any(inside[:, [0, -1]]):
        raise ValueError("the function must be negative at the border of the box")
    edges = _vertices(function, x, y, values)
    neighbours = _neighbours(function, x, y, inside)
    found = []
    while neighbours:
        start = next(iter(neighbours))
        loop, edge = [start], start
        following = neighbours.pop(start)[0]
        while following != start:
            before, edge = edge, following
            loop.append(edge)
            first, second = neighbours.pop(edge)
            following = second if first == before else first
        found.append(_oriented(loop, edges, inside, x, y))
    return sorted(found, key=lambda contour: -contour.area)


def _vertices(function: PlaneFunction, x: Float64, y: Float64, values: Float64) -> dict[_Edge, complex]:
    """The root on every edge of the grid whose ends differ in sign."""
    inside = values > 0.0
    rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
    higher, places = np.nonzero(inside[1:] != inside[:-1])
    first = np.concatenate((x[columns] + 1j * y[rows], x[places] + 1j * y[higher]))
    last = np.concatenate((x[columns + 1] + 1j * y[rows], x[places] + 1j * y[higher + 1]))
    if not len(first):
        return {}
    step = last - first
    result = elementwise.find_root(
        lambda t, ax, ay, dx, dy: clipped(function(ax + t * dx + 1j * (ay + t * dy))),
        (np.zeros(len(first)), np.ones(len(first))),
        args=(first.real, first.imag, step.real, step.imag),
        tolerances={"xatol": _ROOT, "xrtol": 0.0, "fatol": 0.0},
    )
    if not np.all(result.success):
        raise ArithmeticError("a vertex of a contour was not found")
    names = [(int(j), int(i), False) for j, i in zip(rows, columns, strict=True)]
    names += [(int(j), int(i), True) for j, i in zip(higher, places, strict=True)]
    return dict(zip(names, (first + result.x * step).tolist(), strict=True))


def _neighbours(function: PlaneFunction, x: Float64, y: Float64, inside: NDArray[np.bool_]) -> dict[_Edge, list[_Edge]]:
    """The two edges that the contour through an edge goes on to."""
    found: dict[_Edge, list[_Edge]] = {}
    corners = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    count = np.sum(corners, axis=0)
    for j, i in zip(*map(np.ndarray.tolist, np.nonzero((count > 0) & (count < 4))), strict=True):
        bottom, top, left, right = (j, i, False), (j + 1, i, False), (j, i, True), (j, i + 1, True)
        lower, upper = inside[j, i : i + 2], inside[j + 1, i : i + 2]
        crossed = [
            edge
            for edge, differs in (
                (bottom, lower[0] != lower[1]),
                (right, lower[1] != upper[1]),
                (top, upper[0] != upper[1]),
                (left, lower[0] != upper[0]),
            )
            if differs
        ]
        pairs = [tuple(crossed)]
        if len(crossed) == 4:
            # A saddle: the middle decides which corners belong together.
            middle = 0.5 * (x[i] + x[i + 1]) + 0.5j * (y[j] + y[j + 1])
            joined = bool(function(np.array([middle]))[0] > 0.0) == bool(lower[0])
            pairs = [(bottom, right), (top, left)] if joined else [(bottom, left), (top, right)]
        for one, other in pairs:
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
    return found


def _oriented(
    loop: list[_Edge], edges: dict[_Edge, complex], inside: NDArray[np.bool_], x: Float64, y: Float64
) -> ClosedContour:
    """A curve with the positive side to its left."""
    points = np.array([edges[edge] for edge in loop])
    twice_area = float(np.sum((np.conj(points) * np.roll(points, -1)).imag))
    j, i, vertical = loop[0]
    towards = 1j if vertical else 1.0  # from the first node of the edge to the second
    inner = towards if not inside[j, i] else -towards
    # Counter-clockwise about a positive region; which side is positive is told at one edge by the cells around it.
    direction = points[1] - points[-1]
    left = (np.conj(direction) * inner).imag > 0.0
    ordered = points if left else points[::-1]
    return ClosedContour(ordered, hole=bool((twice_area > 0.0) != left))
