"""The density of the eigenvalues of a one-step Jacobian in the plane, and masses of regions (theory, section 5).

The density is the Laplacian of the potential, computed without differences. The mass of a region is the integral of
the potential's gradient G(z) = E 1/(z - λ) around it, (1/2πi) ∮ G dz, by adaptive Gauss-Kronrod rules. Eigenvalues of D
that no matrix moves are atoms; they belong to masses and not to the density, and are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cubature

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential
from meanfield.solvers.free_laws import PositiveLaw

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]
Path = Callable[[Float64], tuple[Complex128, Complex128]]

TOLERANCE = 1e-6  # of a mass by default
_WORST = 1e-3  # error of a mass that is no longer reported
_SUBDIVISIONS = 300
_SAME = 1e-12  # distance, relative to one plus their size, at which an atom is on a curve
_CIRCLE = 64  # directions in which the support is looked for
_FARTHEST = 1e100


@dataclass(frozen=True)
class PlaneValues:
    """A function on the plane.

    Attributes:
        values: one a point.
        errors: of them, one a point.
    """

    values: Float64
    errors: Float64


@dataclass(frozen=True)
class Mass:
    """A share of all eigenvalues and a bound of its error."""

    value: float
    error: float


class EigenvalueDensity:
    """The law of the S N eigenvalues of J for one sample of units, of total mass one.

    Args:
        sample: coefficients without leading axes; n units answer for a network of n units.
        matrices: see :class:`~meanfield.solvers.eigenvalue_potential.EigenvaluePotential`.

    Attributes:
        potential: the logarithmic potential.

    Raises:
        ValueError: if the law of the matrices is none of those.
        ArithmeticError: if coefficients are not finite.

    >>> one = np.ones((4, 1, 1))
    >>> disc = EigenvalueDensity(CircuitSample(0.5 * one, one, one, 0 * one, np.array([0.5]), np.array([0])))
    >>> disc.density([0.5, 0.8j]).values.round(8)  # about 1/2 with radius 1/2: 4/π inside
    array([1.27323954, 0.        ])
    >>> round(disc.mass_in_disc(0.5, 0.25).value, 6), round(disc.mass_in_box(0.5, np.inf).value, 6)
    (0.25, 0.5)
    """

    def __init__(self, sample: CircuitSample, matrices: PositiveLaw | None = None) -> None:
        self.potential = EigenvaluePotential(sample, matrices)

    @property
    def atoms(self) -> NDArray[np.inexact]:
        """Eigenvalues of J that are those of some unit's D whatever the matrices are, each 1/(S N) of all."""
        return self.potential.minors.atoms

    @property
    def atom_share(self) -> float:
        """Share of the eigenvalues that are atoms."""
        return len(self.atoms) * self._share

    @property
    def _share(self) -> float:
        return 1.0 / (self.potential.minors.units * self.potential.minors.variables)

    @cached_property
    def extent(self) -> float:
        """A radius about zero beyond which there are no eigenvalues.

        Raises:
            ArithmeticError: if it is beyond 1e100.
        """
        minors = self.potential.minors
        own = np.abs(np.concatenate((minors.poles, minors.atoms)))
        radius, directions = 1.5 * float(np.max(own)) + 1e-3, np.exp(1j * np.pi * np.arange(_CIRCLE + 1) / _CIRCLE)
        while np.any(self.potential.log_radius(radius * directions, outer=True) > 0.0):
            radius *= 2.0
            if radius > _FARTHEST:
                raise ArithmeticError("the eigenvalues lie beyond the range of numbers; lower the recurrent gains")
        return radius

    def density(self, points: ArrayLike) -> PlaneValues:
        """Density at points of the plane, eigenvalues per area; atoms are not in it, and it is zero outside.

        Raises:
            ValueError: if a point is not finite.
            ArithmeticError: if the stationary point of the potential was not reached.
        """
        z = np.atleast_1d(np.asarray(points, dtype=np.complex128))
        if z.ndim != 1 or not np.all(np.isfinite(z)):
            raise ValueError("points of the plane must be a sequence of finite complex numbers")
        found = self.potential.at(z)
        return PlaneValues(found.density, found.errors)

    def mass_in_disc(self, centre: complex, radius: float, *, tolerance: float = TOLERANCE) -> Mass:
        """Share of the eigenvalues within a radius of a point, to a tolerance.

        Raises:
            ValueError: if the disc is not finite or its radius not positive.
            ArithmeticError: if the integral was not found to 1e-3, or an atom is on the circle.
        """
        if not (np.isfinite(centre) and np.isfinite(radius) and radius > 0.0):
            raise ValueError(f"a disc needs a finite centre and a positive finite radius, got {centre} and {radius}")

        def circle(angles: Float64) -> tuple[Complex128, Complex128]:
            offsets = radius * np.exp(1j * angles)
            return centre + offsets, 1j * offsets

        distance = np.abs(self.atoms - centre) - radius
        self._refuse_on_curve(distance, f"the circle of radius {radius:g} about {centre:g}")
        # The lower half plane mirrors the upper one.
        ends, weight = ((0.0, np.pi), 2.0) if np.imag(centre) == 0.0 else ((0.0, 2.0 * np.pi), 1.0)
        return self._mass([(circle, *ends)], weight, int(np.sum(distance < 0.0)), tolerance)

    def mass_in_box(
        self,
        left: float,
        right: float,
        bottom: float = -np.inf,
        top: float = np.inf,
        *,
        tolerance: float = TOLERANCE,
    ) -> Mass:
        """Share of the eigenvalues λ with left < Re λ < right and bottom < Im λ < top; any side may be infinite.

        Raises:
            ValueError: if a side is not a number or the box is empty.
            ArithmeticError: if the integral was not found to 1e-3, or an atom is on a side.
        """
        if not (left < right and bottom < top):
            raise ValueError(f"a box needs left < right and bottom < top, got {left}, {right}, {bottom}, {top}")
        x, y = np.real(self.atoms), np.imag(self.atoms)
        outside = np.maximum(np.maximum(left - x, x - right), np.maximum(bottom - y, y - top))
        self._refuse_on_curve(outside, "a side of the box")
        far = 1.1 * self.extent
        left, bottom = np.clip([left, bottom], -far, far).tolist()
        right, top = np.clip([right, top], -far, far).tolist()
        if not (left < right and bottom < top):
            return Mass(0.0, 0.0)
        symmetric = bottom == -top
        lowest = 0.0 if symmetric else bottom
        corners = [right + 1j * lowest, right + 1j * top, left + 1j * top, left + 1j * lowest]
        corners += [] if symmetric else [corners[0]]
        sides = [(_side(first, last), 0.0, 1.0) for first, last in pairwise(corners)]
        return self._mass(sides, 2.0 if symmetric else 1.0, int(np.sum(outside < 0.0)), tolerance)

    def slow_masses(self, radii: ArrayLike, centre: float = 1.0) -> list[Mass]:
        """Share of the slow modes, those within each of some radii of one.

        Raises:
            ValueError: if a radius is not positive and finite.
            ArithmeticError: see :meth:`mass_in_disc`.
        """
        return [self.mass_in_disc(centre, float(radius)) for radius in np.atleast_1d(np.asarray(radii, np.float64))]

    def _mass(self, paths: list[tuple[Path, float, float]], weight: float, atoms: int, tolerance: float) -> Mass:
        """From integrals along parts of a closed curve, counter-clockwise, and the atoms inside."""
        value, error = atoms * self._share, 0.0
        for path, start, end in paths:

            def integrand(t: Float64, path: Path = path) -> Float64:
                z, direction = path(t[:, 0])
                return np.asarray((self.potential.at(z).gradient * direction).imag)

            found = cubature(
                integrand,
                [start],
                [end],
                rtol=0.0,
                atol=2.0 * np.pi * tolerance / (weight * len(paths)),
                max_subdivisions=_SUBDIVISIONS,
            )
            value += weight * float(found.estimate) / (2.0 * np.pi)
            error += weight * float(found.error) / (2.0 * np.pi)
        if not error <= _WORST:
            raise ArithmeticError(f"the mass of a region was found to {error:.1g} only; move its boundary a little")
        return Mass(min(max(value, 0.0), 1.0), error)

    def _refuse_on_curve(self, distances: Float64, curve: str) -> None:
        close = np.abs(distances) <= _SAME * (1.0 + np.abs(self.atoms))
        if np.any(close):
            raise ArithmeticError(
                f"the eigenvalue {self.atoms[close][0]:.6g}, which no matrix moves, lies on {curve}; move it a little"
            )


def _side(first: complex, last: complex) -> Path:
    def side(t: Float64) -> tuple[Complex128, Complex128]:
        return np.asarray(first + t * (last - first)), np.full(len(t), last - first, dtype=np.complex128)

    return side
