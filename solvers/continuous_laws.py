"""Laws of squared singular values that have a density and are known by ψ(z) = ∫ z t/(1 - z t) dμ(t)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.inverted_laws import InvertedLaw, moment_sums
from meanfield.solvers.moment_series import Number, Series, exact

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]
Array = NDArray[Any]

_NEAR = 0.2  # |z| times the largest square, below which a band's ψ is summed as a power series
_TERMS = 24  # of that series: 0.2^24 = 2e-17


@dataclass(frozen=True)
class UniformBand(InvertedLaw):
    """The law of s² for a singular value s that is uniform between two ends.

    Attributes:
        least: the smaller end, not negative.
        largest: the larger one.

    Raises:
        ValueError: if the ends are not finite, the smaller one is negative or not below the larger one.

    >>> from fractions import Fraction
    >>> UniformBand(Fraction(1, 2), Fraction(3, 2)).moments(2)  # E s² and E s⁴
    [Fraction(13, 12), Fraction(121, 80)]
    """

    least: Number
    largest: Number

    def __post_init__(self) -> None:
        if not 0 <= self.least < self.largest < math.inf:
            raise ValueError(
                f"least: must be from 0 to below the largest singular value {self.largest!r}, got {self.least!r}"
            )

    @property
    def lowest(self) -> float:
        return float(self.least) ** 2

    @property
    def highest(self) -> float:
        return float(self.largest) ** 2

    def moments(self, count: int) -> Series:
        # The mean of s^(2k) as a sum of positive terms, which a narrow band needs.
        a, b = exact(self.least), exact(self.largest)
        return [
            sum((a**j * b ** (2 * k - j) for j in range(1, 2 * k + 1)), b ** (2 * k)) / (2 * k + 1)
            for k in range(1, count + 1)
        ]

    def psi(self, z: Array) -> tuple[Array, Array, Array]:
        near = np.abs(z) * self.highest < _NEAR
        found = np.empty((3, *z.shape), dtype=z.dtype)
        found[:, ~near] = self._far(z[~near])
        moments = np.array(self.moments(_TERMS), dtype=np.float64)
        powers = z[near, None] ** np.arange(1, _TERMS + 1) * moments
        found[0, near] = np.sum(powers[:, ::-1], axis=1)
        found[2, near] = np.sum((powers * np.arange(1, _TERMS + 1))[:, ::-1], axis=1)
        found[1, near] = 1.0 + found[0, near]
        return found[0], found[1], found[2]

    def _far(self, z: Array) -> Array:
        """1 + ψ = (artanh(b√z) - artanh(a√z))/((b-a) √z), the difference by the addition theorem."""
        a, b = float(self.least), float(self.largest)
        root = np.sqrt(z.astype(np.complex128))
        middle = 1.0 - a * b * z
        argument = (b - a) * root / middle
        rest = np.arctanh(argument)
        if np.iscomplexobj(z):
            # Arguments come from below; on the band, and where rounding has taken them above, they stay continued.
            crossed = (z.imag >= 0.0) & (z.real > 0.0) & (np.abs(argument) > 1.0) & (rest.imag > 0.0)
            rest = np.where(crossed, rest - 1j * np.pi, rest)
        rest = rest / ((b - a) * root)
        rest = rest if np.iscomplexobj(z) else rest.real
        ends = (1.0 - z * b**2) * (1.0 - z * a**2)
        return np.stack([rest - 1.0, rest, 0.5 * ((1.0 + a * b * z) / ends - rest)])


@dataclass(frozen=True, eq=False)
class ContourLaw(InvertedLaw):
    """A law with a density, as quadrature on the real axis and on a contour below it.

    A density near the real axis needs ψ close to the reciprocals of the support, where a rule of real nodes is seen as
    the points that it is. An integrand that is analytic may as well be integrated below the axis, and ψ is then smooth
    as z comes from below and 1/z from above.

    Attributes:
        nodes, weights: a rule for the law, (n,) each.
        lower_nodes, lower_weights: a rule on a contour from the same start to the same end in the lower half plane,
            (m,) each.
        support: the law's own ends.

    Raises:
        ValueError: if a rule does not have mass 1, or the support is not from a number ≥ 0 to a larger one.
    """

    nodes: Float64
    weights: Float64
    lower_nodes: Complex128
    lower_weights: Complex128
    support: tuple[float, float]

    def __post_init__(self) -> None:
        if not 0.0 <= self.support[0] < self.support[1] < math.inf:
            raise ValueError(f"support: must be from a number of at least 0 to a larger one, got {self.support!r}")
        for weights in (self.weights, self.lower_weights):
            if not abs(np.sum(weights) - 1.0) < 1e-6:
                raise ValueError(f"weights: must sum to 1, got {np.sum(weights)}")

    @property
    def lowest(self) -> float:
        return self.support[0]

    @property
    def highest(self) -> float:
        return self.support[1]

    def moments(self, count: int) -> Series:
        return [float(self.weights @ self.nodes**k) for k in range(1, count + 1)]

    def psi(self, z: Array) -> tuple[Array, Array, Array]:
        if np.iscomplexobj(z):
            return moment_sums(z, self.lower_nodes, self.lower_weights)
        return moment_sums(z, self.nodes, self.weights)
