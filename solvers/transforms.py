"""S-transforms of laws on the positive axis, by numerical inversion where there is no formula, with bounds.

With p the mass outside zero, ψ maps z < 0 onto (-p, 0), z below the reciprocal of the support onto y > 0, and z beyond
the reciprocal of its positive part onto y < -p, all three monotonically. Each is inverted by bracketing, in a variable
in which it is smooth: log(-z), and the log-odds of z relative to the ends of the support.

Source: H. Bercovici and D. Voiculescu, Free convolution of measures with unbounded support (Indiana Univ. Math. J. 42,
1993), section 6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import expit

from meanfield.solvers.free_laws import ExplicitLaw, PositiveLaw
from meanfield.solvers.inverted_laws import InvertedLaw

Float64 = NDArray[np.float64]

_ROUNDING = 2e-15  # relative, of ψ and of what is made of it
_FARTHEST = 700.0  # logarithms beyond which there are no numbers


def s_transform(law: PositiveLaw, y: ArrayLike) -> tuple[Float64, Float64]:
    """S(y) = (1+y)/y ψ⁻¹(y) of a law that is not a point at zero.

    Args:
        law: any; p is its mass outside zero.
        y: real, above -p, or below it where the positive part of the law does not reach down to zero; any shape. An
            explicit formula is taken at its word everywhere.

    Returns:
        S and a bound on its error, to which a standard error is added where the law stands for samples, both of the
        shape of y.

    Raises:
        ValueError: if a y is out of range or not finite, or the law is a point at zero.
        ArithmeticError: if the inverse is not found: y is so close to the end of its range that z is no number.

    >>> from meanfield.solvers.inverted_laws import DiscreteLaw
    >>> coin = DiscreteLaw([0.0, 1.0])  # a projection: S = (1+y)/(1/2+y)
    >>> [round(float(each), 12) for each in s_transform(coin, [-0.25, 0.0, 1.0])[0]]
    [3.0, 2.0, 1.333333333333]
    """
    if law.highest == 0.0:
        raise ValueError("law: all mass is at zero, where there is no S-transform")
    points: Float64 = np.asarray(y, dtype=np.float64)
    if not np.all(np.isfinite(points)):
        raise ValueError("y: must be finite")
    if isinstance(law, ExplicitLaw):
        values = law.s_transform(points, 1.0 + points)[0]
        return values, _ROUNDING * np.abs(values)
    assert isinstance(law, InvertedLaw)
    values, errors = (np.full(points.shape, each / float(law.moments(1)[0])) for each in (1.0, _ROUNDING))
    moving = points != 0.0
    z, relative, _ = inverse_psi(law, points[moving])
    values[moving] = z * (1.0 + points[moving]) / points[moving]
    errors[moving] = relative * np.abs(values[moving])
    return values, errors


def inverse_psi(law: InvertedLaw, y: Float64) -> tuple[Float64, Float64, Float64]:
    """z with ψ(z) = y for real y, a bound on its relative error (with one standard error for samples), and z ψ'(z).

    Args:
        law: not a point at zero.
        y: none of them zero, (n,).

    Raises:
        ValueError, ArithmeticError: as :func:`s_transform`.
    """
    mass = 1.0 - law.zero_mass
    refused = y <= -mass if law.lowest == 0.0 else y == -mass
    if np.any(refused):
        allowed = "above" if law.lowest == 0.0 else "anything but"
        raise ValueError(f"y: must be {allowed} {-mass!r}, got {float(y[refused][0])!r}")
    branch = _Branches(law, mass)
    left = branch.start(y)
    bracket = elementwise.bracket_root(
        branch.excess, left, left + 1.0, xmin=-_FARTHEST, xmax=_FARTHEST, args=(y,), maxiter=60
    )
    inner, found = (y < 0.0) & (y > -mass), bracket.success
    if np.any(inner & ~found):
        raise ArithmeticError(
            f"ψ(z) = y was not inverted at y = {float(y[inner & ~found][0])!r}, too close to {-mass!r}"
        )
    # Where others are not found they are closer to the end of the support than numbers can be: z is that end.
    place = np.full(y.shape, np.inf)
    ends = tuple(each[found] for each in bracket.bracket)
    tolerances = {"xatol": 4e-16, "fatol": 2e-16}
    place[found] = elementwise.find_root(branch.excess, ends, args=(y[found],), tolerances=tolerances).x
    z = branch.z(place, y)
    errors, growth = np.full(y.shape, 2.0 * _ROUNDING), np.full(y.shape, np.inf)
    psi, rest, growth[found] = law.psi(z[found])
    wrong = np.abs(branch.excess(place[found], y[found])) + _ROUNDING
    wrong += np.where(y[found] < 0.0, _ROUNDING / np.abs(mass + y[found]), 0.0)  # p + y is known no better
    errors[found] += wrong / branch.rate(y[found], psi, rest, growth[found])
    errors[found] += law.scatter(z[found]) / np.abs(growth[found])
    return z, errors, growth


class _Branches:
    """ψ of a law on the three parts of the real axis, as a rising function of a variable v that covers the real line.

    For y in (-p, 0) it is v = log(-z); otherwise v is the log-odds of the share of the way from zero, or from infinity,
    to the reciprocal of the support.
    """

    def __init__(self, law: InvertedLaw, mass: float) -> None:
        self._law, self._mass, self._low, self._high = law, mass, law.lowest, law.highest

    def z(self, v: Float64, y: Float64) -> Float64:
        """The argument of ψ; y only says which part it is on."""
        part = expit(v)
        negative = -np.exp(np.where((y < 0.0) & (y > -self._mass), v, 0.0))
        with np.errstate(divide="ignore", over="ignore"):
            beyond = 1.0 / (self._low * part)
        return np.where(y > 0.0, part / self._high, np.where(y > -self._mass, negative, beyond))

    def excess(self, v: Float64, y: Float64) -> Float64:
        """How far ψ is beyond y, on a logarithmic scale; v and y of the same shape or to be broadcast."""
        shape = np.broadcast_shapes(v.shape, y.shape)
        v, y = (np.broadcast_to(each, shape).ravel() for each in (v, y))
        p = self._mass
        # At the end of the support itself ψ is infinite.
        with np.errstate(all="ignore"):
            psi, rest, _ = self._law.psi(self.z(v, y))
            ratios = np.where(y > 0.0, psi / y, np.where(y > -p, (psi / rest) * ((p + y) / y), rest / (p + y)))
            return np.log(np.where(ratios >= 0.0, ratios, np.inf)).reshape(shape)

    def rate(self, y: Float64, psi: Float64, rest: Float64, growth: Float64) -> Float64:
        """How fast the excess changes with log|z|: errors of ψ reach z through it."""
        inner = growth * self._mass / (psi * rest)
        return np.abs(np.where(y > 0.0, growth / psi, np.where(y > -self._mass, inner, growth / rest)))

    def start(self, y: Float64) -> Float64:
        """A v that is below the solution, which is between those of points at the two ends of the support."""
        p = self._mass
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.log(-y / (p + y)) - math.log(self._high)
            v = np.where(y > 0.0, np.log(y / p), np.where(y > -p, inner, np.log(-(p + y) / p)))
        return v - 1e-3
