"""Averages over a singular value that is uniform in a band, in the half plane where resolvents are (theory, section 6).

With z = p q, p and q in the closed lower half plane, E s²/(1 - s² z) and E log(1 - s² z) are elementary functions of
ρ = √p √q, which is there too. Their branches are those that are analytic in both; on the real axis, limits from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_NEAR = 0.2  # |z| times the largest square, below which averages are summed as power series
_ALMOST_ONE = 1.0 - 2.0**-53
_TERMS = 26  # of these series: 0.2^26 = 7e-19


@dataclass(frozen=True)
class BandAverages:
    """Averages over s from ``least`` to ``largest``, scaled to a mean square of one.

    Attributes:
        least, largest: ends of the band, 0 ≤ least < largest.

    >>> band = BandAverages.of(0.5, 1.5)
    >>> round(band.least**2 + band.least * band.largest + band.largest**2, 12)
    3.0
    """

    least: float
    largest: float

    @classmethod
    def of(cls, least: float, largest: float) -> BandAverages:
        """The band between two ends, both divided by the root mean square."""
        size = math.sqrt((least**2 + least * largest + largest**2) / 3.0)
        return cls(least / size, largest / size)

    @cached_property
    def _moments(self) -> tuple[float, ...]:
        """E s², E s⁴, …, as sums of positive terms."""
        a, b = self.least, self.largest
        return tuple(sum(a**j * b ** (2 * k - j) for j in range(2 * k + 1)) / (2 * k + 1) for k in range(1, _TERMS + 2))

    def response(self, p: Complex128, q: Complex128) -> tuple[Complex128, Complex128]:
        """h = E s²/(1 - s² z) and dh/dz at z = p q.

        >>> one = np.array([1.0 + 0.0j])
        >>> float(BandAverages(0.999, 1.001).response(0.5 * one, one)[0][0].real.round(4))  # 1/(1 - 1/2)
        2.0
        """
        z = p * q
        near = np.abs(z) * self.largest**2 < _NEAR
        moments = self._moments
        value, slope = np.zeros_like(z), np.zeros_like(z)
        small = np.where(near, z, 0.0)
        for k in range(_TERMS, -1, -1):
            slope = slope * small + value
            value = value * small + moments[k]
        if np.all(near):
            return value, slope
        a, b = self.least, self.largest
        root = _root(p) * _root(q)
        z, root = np.where(near, 1.0, z), np.where(near, 1.0, root)
        rest = np.arctanh((b - a) * root / (1.0 - a * b * z))
        rest = np.where(rest.imag > 0.25 * np.pi, rest - 1j * np.pi, rest) / ((b - a) * root)  # E 1/(1 - s² z)
        growth = 0.5 * ((1.0 + a * b * z) / ((1.0 - z * b**2) * (1.0 - z * a**2)) - rest)  # z d/dz of it
        far = (rest - 1.0) / z
        return np.where(near, value, far), np.where(near, slope, (growth / z - far) / z)

    def imaginary(self, kappa: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """F = E s²/(η + s²), 1 - F, dF/dκ and R = E 1/(η + s²) at η = e^(-κ), for p and q on the imaginary axis."""
        a, b = self.least, self.largest
        near = b**2 * np.exp(kappa) < _NEAR
        x = np.where(near, np.exp(kappa), 1.0)
        share, slope = np.zeros_like(kappa), np.zeros_like(kappa)
        for k, moment in reversed(list(enumerate(self._moments))):
            share, slope = x * (moment - share), x * ((k + 1) * moment - slope)
        eta = np.exp(-np.where(near, 0.0, kappa))
        root = np.sqrt(eta)
        rest = root * np.arctan2((b - a) * root, eta + a * b) / (b - a)
        grown = 0.5 * (rest - eta * (eta - a * b) / ((eta + b**2) * (eta + a**2)))
        rest = np.where(near, 1.0 - share, rest)
        return np.where(near, share, 1.0 - rest), rest, np.where(near, slope, grown), rest * np.exp(kappa)

    def phase(self, p: Complex128, q: Complex128) -> Float64:
        """E Im log(1/(p q) - s²), continuous from zero at large p q in the lower half plane."""
        reciprocal = 1.0 / (_root(p) * _root(q))
        width = self.largest - self.least
        total = np.zeros(p.shape)
        for start, end in ((-self.least, -self.largest), (self.largest, self.least)):
            first, last = reciprocal + start, reciprocal + end
            step = width / last
            # log(1 + step), to the digits that a short step has.
            size = 0.5 * np.log1p(np.maximum(step.real * (2.0 + step.real) + step.imag**2, -_ALMOST_ONE))
            ratio = size - 1j * np.abs(np.angle(1.0 + step))
            total += np.abs(np.angle(first)) + (last / width * ratio).imag
        return total

    @property
    def inverse_square(self) -> float:
        """E s⁻², infinite if the band reaches zero."""
        return 1.0 / (self.least * self.largest) if self.least > 0.0 else math.inf


def _root(p: Complex128) -> Complex128:
    """The square root in the lower half plane, continued a little above the negative axis."""
    root = np.sqrt(p)
    return np.where(root.imag > np.abs(root.real), -root, root)
