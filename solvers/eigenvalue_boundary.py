"""The boundary of the support of the eigenvalues of a one-step Jacobian (theory, section 5).

λ is in the support where ρ(M(λ)) ≥ 1. Around every eigenvalue of a unit's D that matrices move, M has a pole, and so
the support of n units has an island there at least, of a size of the order n^(-1/2); in holes of matrices that are not
Gaussian it has none. Rays therefore look at the places
next to such poles beside evenly spaced ones; contours are found on a grid and leave out islands that are smaller than
its cells, which are listed instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise, minimize_scalar

from meanfield.solvers.closed_contours import ClosedContour, clipped, closed_contours
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential

Float64 = NDArray[np.float64]

RESOLUTION = 96
_PARTS = 160  # evenly spaced parts of a ray
_NEAR = 2.0  # of these parts: distance from a ray at which a pole is looked at
_THIN = 1e-10  # of the size of the support: thinner rings are not seen
_BETWEEN = np.array([0.25, 0.5, 0.75])  # places between neighbouring poles
_ROOT = 1e-13  # tolerance of a radius, relative to the size of the support
_ROUNDING = 1e-14  # of log ρ
_DIRECTIONS = 48  # of the upper half plane in which an extremal radius is looked for
_AROUND = 200  # places at which a slightly larger circle is looked at
_BESIDE = 1e-10  # by how much it is larger
_ANGLE = 1e-6  # tolerance of the angle of an extremal radius
_MARGIN = 0.04  # of the size of a box, around all there is
_FARTHEST = 1e100


@dataclass(frozen=True)
class Radii:
    """Distances from a centre to the boundary.

    Attributes:
        values: one a ray.
        errors: of root finding, one a ray.
    """

    values: Float64
    errors: Float64


@dataclass(frozen=True)
class Extremum:
    """A largest or smallest distance, the bound of its error, and the direction."""

    value: float
    error: float
    angle: float


@dataclass(frozen=True)
class Outline:
    """The support in the plane.

    Attributes:
        contours: closed curves around it and around its holes, the largest first.
        islands: eigenvalues of D outside all of them, each in an island too small for the grid.
    """

    contours: tuple[ClosedContour, ...]
    islands: NDArray[np.inexact]


class SupportBoundary:
    """The boundary for one sample of units.

    Args:
        potential: of the eigenvalues.
        centre: real point from which rays start; by default the median over units of the largest eigenvalue of D.

    Attributes:
        potential: of the eigenvalues.
        centre: where rays start.

    Raises:
        ArithmeticError: if the support reaches beyond 1e100.

    >>> from meanfield.solvers.circuit_sample import CircuitSample
    >>> one = np.ones((4, 1, 1))  # J = 1/2 + W/2
    >>> sample = CircuitSample(0.5 * one, 0.5 * one, one, 0.0 * one, np.array([1.0]), np.array([0]))
    >>> boundary = SupportBoundary(EigenvaluePotential(sample))
    >>> boundary.centre, boundary.radii([0.0, 1.0]).values.round(9)
    (0.5, array([0.5, 0.5]))
    >>> round(boundary.spectral_radius().value, 9), boundary.hole_radius().value
    (1.0, 0.0)
    """

    def __init__(self, potential: EigenvaluePotential, centre: float | None = None) -> None:
        self.potential = potential
        minors = potential.minors
        self._poles, self._atoms = minors.poles, minors.atoms
        everything = np.concatenate((self._poles, self._atoms))
        self.centre = float(np.median(minors.largest)) if centre is None else float(centre)
        farthest = float(np.max(np.abs(everything - self.centre)))
        self._size = 1.25 * farthest + 1e-3 * (1.0 + abs(self.centre))
        directions = np.exp(1j * np.pi * np.arange(2 * _DIRECTIONS + 1) / (2 * _DIRECTIONS))
        # Beyond all poles ρ falls.
        while np.any(potential.log_radius(self.centre + self._size * directions, outer=True) > 0.0):
            self._size *= 1.5
            if self._size > _FARTHEST:
                raise ArithmeticError("the eigenvalues lie beyond the range of numbers; lower the recurrent gains")

    def radii(self, angles: ArrayLike) -> Radii:
        """Distance from the centre to the outermost point of the support on rays, zero where a ray meets none of it.

        Args:
            angles: of the rays, (rays,); 0 points right.

        Raises:
            ValueError: if an angle is not finite.
            ArithmeticError: if a root was not found.
        """
        theta = _angles(angles)
        found = self._crossings(theta, last=True)
        values = np.array([each[-1] if len(each) else 0.0 for each in found.values])
        errors = np.array([each[-1] if len(each) else 0.0 for each in found.errors])
        return Radii(values, errors)

    def crossings(self, angles: ArrayLike) -> tuple[Float64, ...]:
        """Distances from the centre at which rays enter or leave the support, ascending; one array a ray.

        Gaps that are narrower than half a percent of the support and do not lie between neighbouring eigenvalues of D
        may be missed.

        Raises:
            ValueError: if an angle is not finite.
            ArithmeticError: if a root was not found.
        """
        return self._crossings(_angles(angles), last=False).values

    def spectral_radius(self) -> Extremum:
        """Largest |λ|.

        Raises:
            ArithmeticError: if a root was not found.
        """
        about = SupportBoundary(self.potential, 0.0)
        most = float(np.angle(self._poles[np.argmax(np.abs(self._poles))])) if len(self._poles) else 0.0
        found = _largest(about, about.radii, np.append(np.linspace(0.0, np.pi, _DIRECTIONS + 1), abs(most)))
        if len(self._atoms) and np.max(np.abs(self._atoms)) > found.value:
            atom = self._atoms[np.argmax(np.abs(self._atoms))]
            return Extremum(float(np.abs(atom)), 0.0, float(np.angle(atom)))
        return found

    def hole_radius(self) -> Extremum:
        """Distance from the centre to the support if the support surrounds the centre, else zero.

        Raises:
            ArithmeticError: if a root was not found.
        """
        none = Extremum(0.0, 0.0, 0.0)
        if not self.potential.log_radius(self.centre) < 0.0:
            return none
        angles = np.linspace(0.0, np.pi, _DIRECTIONS + 1)
        if not all(len(each) for each in self._crossings(angles, last=False).values):
            return none

        def nearest(angles: Float64) -> Radii:
            found = self._crossings(angles, last=False)
            values = np.array([each[0] if len(each) else self._size for each in found.values])
            return Radii(-values, np.array([each[0] if len(each) else 0.0 for each in found.errors]))

        found = _largest(self, nearest, angles)
        return Extremum(-found.value, found.error, found.angle)

    def outline(self, resolution: int = RESOLUTION) -> Outline:
        """Contours of the support on a grid with this many cells along the longer side.

        Vertices are roots of ρ(M) = 1; what is smaller than a cell is not resolved.

        Raises:
            ArithmeticError: if a root was not found.
        """
        contours = tuple(closed_contours(self.potential.log_radius, *self.grid(resolution)))
        count = np.zeros(len(self._poles), dtype=int)
        for contour in contours:
            count += np.where(contour.encloses(self._poles), -1 if contour.hole else 1, 0)
        lonely = self._poles[count == 0]
        return Outline(contours, lonely[self.potential.log_radius(lonely) > 0.0])

    def grid(self, resolution: int) -> tuple[Float64, Float64]:
        """Nodes of a grid of square cells around the support and all eigenvalues of D, none on the real axis."""
        angles = np.linspace(0.0, np.pi, _DIRECTIONS + 1)
        reached = self.centre + self.radii(angles).values * np.exp(1j * angles)
        reached = np.concatenate((reached, self._poles, self._atoms))
        margin = _MARGIN * max(np.ptp(reached.real), 2.0 * np.max(np.abs(reached.imag)), 1e-6)
        left, right = reached.real.min() - margin, reached.real.max() + margin
        top = np.max(np.abs(reached.imag)) + margin
        cell = max(right - left, 2.0 * top) / resolution
        while True:
            x = left + cell * np.arange(np.ceil((right - left) / cell) + 1)
            half = cell * (np.arange(np.ceil(top / cell) + 1) + 0.5)
            y = np.concatenate((-half[::-1], half))
            border = np.concatenate((x + 1j * y[0], x[0] + 1j * y, x[-1] + 1j * y))
            if np.all(self.potential.log_radius(border) < 0.0):
                return x, y
            left, right, top = left - 2.0 * cell, right + 2.0 * cell, top + 2.0 * cell

    def _crossings(self, theta: Float64, *, last: bool) -> _Crossings:
        """All crossings of rays, or the last ones only."""
        directions = _directions(theta)
        even = self._size * np.arange(_PARTS + 1) / _PARTS
        points = self.centre + even * directions[:, None]
        inside = self.potential.log_radius(points, outer=last) > 0.0
        # Before the last place that is inside nothing matters for the last crossing.
        known = even[_PARTS - np.argmax(inside[:, ::-1], axis=1)] * np.any(inside, axis=1) if last else 0.0 * theta
        nodes = [self._nodes(even, each, start) for each, start in zip(directions, known.tolist(), strict=True)]
        ray = np.repeat(np.arange(len(nodes)), [len(each) for each in nodes])
        r = np.concatenate(nodes) if nodes else np.empty(0)
        thin, edges = np.empty(0, dtype=np.intp), np.empty(0)
        if self.potential.has_holes and not last:
            ray, r, thin, edges = self._with_thin_rings(directions, ray, r)
        signs = self.potential.log_radius(self.centre + r * directions[ray], outer=last) > 0.0
        at = np.flatnonzero((signs[1:] != signs[:-1]) & (ray[1:] == ray[:-1]))
        if last and len(at):
            at = at[np.append(ray[at][1:] != ray[at][:-1], True)]
        values, errors = self._roots(directions[ray[at]], r[at], r[at + 1], outer=last) if len(at) else (r[at], r[at])
        # Rings without width are entered and left at once.
        crossed = np.concatenate((ray[at], thin, thin))
        values = np.concatenate((values, edges, edges))
        order = np.lexsort((values, crossed))
        values, errors = values[order], np.concatenate((errors, np.tile(_THIN * self._size + 0.0 * edges, 2)))[order]
        split = np.searchsorted(crossed[order], np.arange(1, len(nodes)))
        return _Crossings(tuple(np.split(values, split)), tuple(np.split(errors, split)))

    def _nodes(self, even: Float64, direction: complex, start: float) -> Float64:
        """Distances on a ray that are looked at, from some distance on."""
        along = (self._poles - self.centre) * np.conj(direction)
        near = along.real[np.abs(along.imag) < _NEAR * self._size / _PARTS]
        near = np.unique(near[near > start])
        between = (near[:-1, None] + np.diff(near)[:, None] * _BETWEEN).ravel()
        return np.unique(np.concatenate((even[even >= start], near, between)))

    def _with_thin_rings(
        self, directions: NDArray[np.complex128], ray: NDArray[np.intp], r: Float64
    ) -> tuple[NDArray[np.intp], Float64, NDArray[np.intp], Float64]:
        """Where a hole and the outside are neighbours on a ray, one place more in the ring that parts them.

        Returns:
            Rays and places, and the same of rings that are too thin for that.
        """
        points = self.centre + r * directions[ray]
        outside, hole = self.potential.log_radius(points, outer=True) <= 0.0, self.potential.log_radius(points) <= 0.0
        hole &= ~outside
        parted = np.flatnonzero((ray[1:] == ray[:-1]) & ((hole[1:] & outside[:-1]) | (hole[:-1] & outside[1:])))
        if not len(parted):
            return ray, r, parted, np.empty(0)
        along = directions[ray[parted]]
        edge, _ = self._roots(along, r[parted], r[parted + 1], outer=True)
        beside = edge + np.where(hole[parted], -1.0, 1.0) * _THIN * self._size
        seen = self.potential.log_radius(self.centre + beside * along) > 0.0
        after = parted[seen] + 1
        return np.insert(ray, after, ray[after]), np.insert(r, after, beside[seen]), ray[parted[~seen]], edge[~seen]

    def _roots(
        self, directions: NDArray[np.complex128], low: Float64, high: Float64, *, outer: bool
    ) -> tuple[Float64, Float64]:
        """Distances at which ρ(M) = 1, in brackets, and their errors."""
        found = elementwise.find_root(
            lambda r, x, y: clipped(self.potential.log_radius(self.centre + r * (x + 1j * y), outer=outer)),
            (low, high),
            args=(directions.real, directions.imag),
            tolerances={"xatol": _ROOT * self._size, "xrtol": 0.0, "fatol": 0.0},
        )
        if not np.all(found.success):
            raise ArithmeticError("a point on the boundary of the eigenvalues was not found")
        width = np.abs(found.bracket[1] - found.bracket[0])
        rise = np.abs(found.f_bracket[1] - found.f_bracket[0])
        missed = (np.abs(found.f_x) + _ROUNDING) * width / np.maximum(rise, _ROUNDING)
        return found.x, np.minimum(width, 2.0 * missed) + 4e-16 * (np.abs(self.centre) + found.x)


@dataclass(frozen=True)
class _Crossings:
    """Of every ray, the distances and their errors."""

    values: tuple[Float64, ...]
    errors: tuple[Float64, ...]


def _angles(angles: ArrayLike) -> Float64:
    theta = np.atleast_1d(np.asarray(angles, dtype=np.float64))
    if theta.ndim != 1 or not np.all(np.isfinite(theta)):
        raise ValueError("angles must be a sequence of finite numbers")
    return theta


def _directions(theta: Float64) -> NDArray[np.complex128]:
    """Unit vectors, exactly real for multiples of π."""
    real = np.abs(np.sin(theta)) < 1e-15
    return np.where(real, np.sign(np.cos(theta)), np.exp(1j * theta))


def _largest(boundary: SupportBoundary, radii: Callable[[Float64], Radii], angles: Float64) -> Extremum:
    """The largest of radii in the upper half plane, from these angles on; negative ones are those of a hole."""
    found = radii(angles)
    best = int(np.argmax(found.values))
    value, error, angle = float(found.values[best]), float(found.errors[best]), float(angles[best])
    spacing = np.pi / _DIRECTIONS
    low, high = max(angle - spacing, 0.0), min(angle + spacing, np.pi)
    # Mostly it is where it was looked for, on the real axis: then a slightly larger circle meets no support.
    circle = abs(value) + _BESIDE * abs(value) * np.sign(value)
    around = boundary.centre + circle * np.exp(1j * np.linspace(low, high, _AROUND))
    if np.all(boundary.potential.log_radius(around, outer=value >= 0.0) < 0.0):
        return Extremum(value, error + _BESIDE * abs(value), angle)
    refined = minimize_scalar(
        lambda each: -radii(np.array([each])).values[0],
        bounds=(low, high),
        method="bounded",
        options={"xatol": _ANGLE},
    )
    if -refined.fun > value:
        # The radius changes by the square of what the angle is off.
        return Extremum(float(-refined.fun), error + _ANGLE**2 * abs(value) + 1e-15, float(refined.x))
    return Extremum(value, error, angle)
