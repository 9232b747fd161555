"""Free multiplicative convolution of laws on the positive axis: moments, density, ends of the support, atoms.

The S-transforms of free factors multiply. With x = 1/z the Cauchy transform is G(x) = (1+y)/x where y = ψ(z) solves
x χ(y) = 1 for χ(y) = y/(1+y) Π S_i(y). On the negative axis y is real and unique; the solution is followed from far out
there to the real axis from above, where x ρ(x) = -Im y/π. Unknowns are the log-odds q = log(-y/(1+y)) and, for every
law without a formula for S, ζ = log(-z_i) of its own argument with ψ_i(z_i) = y, so that nothing is inverted on the
way; all of them stay in the strip 0 ≤ Im ≤ π, in which the solution is unique.

Source: H. Bercovici and D. Voiculescu, Free convolution of measures with unbounded support (Indiana Univ. Math. J. 42,
1993); S. Belinschi and H. Bercovici, A new approach to subordination results in free probability (J. Anal. Math. 101,
2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from meanfield.solvers.free_laws import ExplicitLaw, PositiveLaw
from meanfield.solvers.inverted_laws import InvertedLaw
from meanfield.solvers.moment_series import Series, free_product
from meanfield.solvers.transforms import inverse_psi

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_START = 1e-2  # -y where the path begins, in units of what the relative variance allows
_STEPS = (24, 96, 384)  # along a path, the later ones for points that the former lost
_APPROACH = 0.25 ** np.arange(1.0, 9.0)  # of the last of them, how far from the axis it is divided
_NEWTON, _LAST_NEWTON = 30, 60  # iterations on the way and at its end, where roots may be double
_FARTHEST = 300.0  # size of log-odds beyond which a density is zero
_STRIDE = 2.0  # largest change of q in one of them
_ROUGH, _FINE = 1e-3, 1e-13  # last change of q with which they are content
_STRIP = 1e-6  # how far Newton's rounding may leave the strip
_ROUNDING = 1e-15
_GRID, _BLOCK = 128, 8  # values of y among which an end of the support is looked for, so many at a time


@dataclass(frozen=True, eq=False)
class Density:
    """A density per unit of log x, and what it is uncertain by.

    Attributes:
        values: x ρ(x), not negative, (n,).
        errors: bounds from rounding and from where Newton's iteration stopped, (n,).
    """

    values: Float64
    errors: Float64


@dataclass(frozen=True, eq=False)
class FreeProduct:
    """The law of squared singular values of a product of free factors.

    Attributes:
        factors: laws and how often each of them occurs; the order does not matter.

    Raises:
        ValueError: if there are no factors, or one occurs less than once.

    >>> from meanfield.solvers.free_laws import MarchenkoPastur
    >>> ginibre = FreeProduct([(MarchenkoPastur(), 2)])
    >>> [int(each) for each in ginibre.moments(3)]
    [1, 3, 12]
    >>> round(math.exp(ginibre.log_ends()[1][0]), 12)  # 27/4
    6.75
    """

    factors: Sequence[tuple[PositiveLaw, int]]

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError("factors: one at least, got none")
        for _, times in self.factors:
            if isinstance(times, bool) or not isinstance(times, int | np.integer) or times < 1:
                raise ValueError(f"factors: each must occur a whole number of times, at least 1, got {times!r}")

    @property
    def vanishes(self) -> bool:
        """Whether all mass is at zero."""
        return any(law.highest == 0.0 for law, _ in self.factors)

    @property
    def reaches_zero(self) -> bool:
        """Whether the support outside zero reaches down to it, as that of two projections of the same rank does."""
        largest = [(law, times) for law, times in self.factors if law.zero_mass == self.zero_mass]
        alone = self.zero_mass > 0.0 and sum(times for _, times in largest) == 1
        # A projection of the smallest rank keeps what is left away from zero; two of the same rank do not.
        return any(law.lowest == 0.0 for law, _ in (largest if alone else self.factors)) or (
            self.zero_mass > 0.0 and not alone
        )

    @property
    def zero_mass(self) -> float:
        """Mass at zero, the largest one of a factor."""
        return max(law.zero_mass for law, _ in self.factors)

    def moments(self, count: int) -> Series:
        """m_1 … m_count, exact if those of all factors are."""
        return free_product(*(law.moments(count) for law, times in self.factors for _ in range(times)))

    @cached_property
    def relative_variance(self) -> float:
        """m_2/m_1² - 1, which free factors add up."""
        total = 0.0
        for law, times in self.factors:
            first, second = (float(each) for each in law.moments(2))
            total += times * max(second / first**2 - 1.0, 0.0)
        return total

    @cached_property
    def log_mean(self) -> float:
        """log m_1."""
        return math.fsum(times * math.log(float(law.moments(1)[0])) for law, times in self.factors)

    @cached_property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Positions other than zero and masses: atoms meet where their masses sum to more than the factors but one."""
        found = [(1.0, 1.0)]
        for law, times in self.factors:
            for _ in range(times):
                pairs = [(a * b, m + n - 1.0) for a, m in found for b, n in law.atoms]
                found = [(position, mass) for position, mass in pairs if mass > _ROUNDING]
        merged: dict[float, float] = {}
        for position, mass in found:
            merged[position] = merged.get(position, 0.0) + mass
        return tuple(sorted(merged.items()))

    def log_density(self, log_x: ArrayLike) -> Density:
        """Density of log x, atoms left out.

        Args:
            log_x: logarithms of squared singular values, (n,).

        Returns:
            x ρ(x) with bounds on its error; the quadrature behind a law that stands for a continuous one is taken as
            exact.

        Raises:
            ValueError: if a logarithm is not finite.
            ArithmeticError: if the solution is lost on its way: next to a pole of the density, or where zero has mass
                and x is so small that rounding hides it.

        >>> from meanfield.solvers.free_laws import MarchenkoPastur
        >>> found = FreeProduct([(MarchenkoPastur(), 1)]).log_density([0.0])  # √(x(4-x))/(2π)
        >>> bool(abs(found.values[0] - math.sqrt(3.0) / (2.0 * math.pi)) < found.errors[0] + 1e-15)
        True
        """
        points = np.asarray(log_x, dtype=np.float64).ravel()
        if not np.all(np.isfinite(points)):
            raise ValueError("log_x: must be finite")
        found = self.found_log_density(points)
        lost = np.flatnonzero(np.isinf(found.errors))
        if lost.size:
            raise ArithmeticError(f"the density was not found at x = exp({points[lost[0]]:.6g})")
        return found

    def found_log_density(self, points: Float64) -> Density:
        """:meth:`log_density` with infinite errors where the solution is lost."""
        values, errors = np.zeros_like(points), np.zeros_like(points)
        if self.vanishes or not points.size:
            return Density(values, errors)
        spread = [(law, times) for law, times in self.factors if law.lowest < law.highest or law.zero_mass > 0.0]
        if not spread or (len(spread) == 1 and spread[0][1] == 1 and spread[0][0].atoms):
            return Density(values, errors)  # a discrete law, moved
        left = np.arange(points.size)
        for steps in _STEPS:
            q, change, slope, found = self._followed(points[left], steps)
            q = np.where(found, q, 0.0)
            odds = np.exp(-np.abs(q.real) + 1j * np.where(q.real > 0.0, -q.imag, q.imag))
            share = odds / (1.0 + odds)  # -y, or 1+y where y is near -1; both have the imaginary part of -y up to sign
            values[left] = np.maximum(np.where(q.real > 0.0, -share.imag, share.imag) / np.pi, 0.0)
            size = np.abs(share) * np.abs(1.0 - share) / np.pi
            errors[left] = size * (change + _ROUNDING * (1.0 + self._count) / np.maximum(np.abs(slope), _ROUNDING))
            left = left[~found]
            if not left.size:
                break
        errors[left] = np.inf
        return Density(values, errors)

    @cached_property
    def _explicit(self) -> list[tuple[ExplicitLaw, int]]:
        return [(law, times) for law, times in self.factors if isinstance(law, ExplicitLaw)]

    @cached_property
    def _inverted(self) -> list[tuple[InvertedLaw, int]]:
        return [(law, times) for law, times in self.factors if isinstance(law, InvertedLaw)]

    @property
    def _count(self) -> int:
        return sum(times for _, times in self.factors)

    def _followed(self, log_x: Float64, steps: int) -> tuple[Complex128, Float64, Complex128, NDArray[np.bool_]]:
        """q, its last change, d log χ/dq and whether the solution was found, (n,) each."""
        small = _START / (1.0 + self.relative_variance)
        start = self.log_mean - math.log(small) + 1j * np.pi
        q = np.full(log_x.shape, math.log(small), dtype=np.complex128)
        means = [math.log(float(law.moments(1)[0])) for law, _ in self._inverted]
        zeta = np.array([q - mean for mean in means], dtype=np.complex128).reshape(len(means), len(log_x))
        # The closer to the axis the smaller the steps: next to an end of the support the mirrored root is close by.
        evenly = np.arange(steps) / steps
        for share in (*evenly, *(1.0 - _APPROACH / steps), 1.0):
            last = share == 1.0
            here = np.asarray(start + (log_x - start) * share, dtype=np.complex128)
            for _ in range(_LAST_NEWTON if last else _NEWTON):
                with np.errstate(all="ignore"):
                    move, moves, slope = self._newton(here, q, zeta)
                    beyond = np.abs(q.real) > _FARTHEST
                    q, zeta = np.where(beyond, q, q + move), np.where(beyond, zeta, zeta + moves)
                change = np.where(beyond, 0.0, np.abs(move))
                if np.all((change < (_FINE if last else _ROUGH)) | ~np.isfinite(change)):
                    break
        # Whole turns of a logarithm say nothing of what it is the logarithm of.
        turned = (np.remainder(each.imag + 0.5 * np.pi, 2.0 * np.pi) - 0.5 * np.pi for each in (q, *zeta))
        inside = [(angle > -_STRIP) & (angle < np.pi + _STRIP) for angle in turned]
        # At an end of the support the root is double, and known to half of the digits.
        return q, change, slope, beyond | (np.all(inside, axis=0) & (change < 1e-6))

    def _newton(self, log_x: Complex128, q: Complex128, zeta: Complex128) -> tuple[Complex128, Complex128, Complex128]:
        """Newton's step of q and of all ζ, and d log χ/dq."""
        odds = np.exp(q)
        complement = 1.0 / (1.0 + odds)
        y = -odds * complement
        spread = y * complement
        total = log_x + 1j * np.pi + q
        slope = np.ones_like(q)
        for law, times in self._explicit:
            value, growth = law.s_transform(y, complement)
            total = total + times * np.log(value)
            slope = slope + times * growth * spread
        parts = []
        for (inverted, times), each in zip(self._inverted, zeta, strict=True):
            psi, rest, growth = inverted.psi(-np.exp(each))
            rest = rest + inverted.zero_mass
            residual = _wrapped(np.log(-psi / rest) - q)
            rate = growth / (psi * rest)
            parts.append((residual, rate))
            total = total + times * (each - q - residual / rate)
            slope = slope + times * (1.0 / rate - 1.0)
        move = -_wrapped(total) / slope
        move = move * np.minimum(1.0, _STRIDE / np.maximum(np.abs(move), 1e-300))
        moves = [(move - residual) / rate for residual, rate in parts]
        return move, np.array(moves, dtype=np.complex128).reshape(zeta.shape), slope

    def log_ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Logarithms of where the support begins, apart from zero, and of where it ends, each with an error bound.

        The inverse of x → y has zero derivative there (or the support ends in an atom). There may be gaps in between.

        Returns:
            (log x, error) of both ends, -inf for a support that reaches down to zero.

        Raises:
            ValueError: if all mass is at zero.
            ArithmeticError: if an end is not found.
        """
        if self.vanishes:
            raise ValueError("factors: all mass is at zero, where the support has no ends")
        width = 1.0 + math.sqrt(self.relative_variance)
        grid = np.exp(np.linspace(math.log(1e-3 / width), math.log(1e9), _GRID))
        upper = self._end(grid, [law.highest for law, _ in self.factors])
        if self.reaches_zero:
            return (-math.inf, 0.0), upper
        # From where x is zero, y = -p, away from the origin, as far as all ψ can be inverted there.
        start = 1.0 - self.zero_mass
        room = min((1.0 - law.zero_mass - start for law, _ in self.factors if law.lowest == 0.0), default=math.inf)
        # The factor keeps the grid from y = -1, where z is infinite and only S is a number.
        down = grid * 1.0000123 if room == math.inf else room * grid / (1.0 + grid)
        return self._end(-start - down, [law.lowest for law, _ in self.factors]), upper

    def _end(self, grid: Float64, points: list[float]) -> tuple[float, float]:
        """log x where d log x/dy first vanishes along the grid, else where the factors' ends multiply to."""
        turned, right = np.empty(0, dtype=np.intp), 0
        while not turned.size and right < len(grid):
            first, right = max(right - 1, 0), right + _BLOCK
            slopes = self._slopes(grid[first:right])
            turned = first + np.flatnonzero(slopes[1:] * slopes[:-1] <= 0.0)
        if not turned.size:
            found, error = self._log_x(grid[-1])
            value = -math.inf
            if min(points) > 0.0:
                value = math.fsum(times * math.log(each) for each, (_, times) in zip(points, self.factors, strict=True))
            if abs(found - value) > error + 1e-3:
                raise ArithmeticError("an end of the support was not found")
            return value, _ROUNDING * self._count
        ends = grid[turned[0]], grid[turned[0] + 1]
        place = brentq(lambda y: float(self._slopes(np.array([y]))[0]), *ends, xtol=1e-300, rtol=1e-12)
        return self._log_x(float(place))

    def _slopes(self, y: Float64) -> Float64:
        """d log χ/d log(y/(1+y)) at real y."""
        spread = y * (1.0 + y)
        slope = np.ones_like(y)
        for law, times in self._explicit:
            slope = slope + times * law.s_transform(y, 1.0 + y)[1] * spread
        for inverted, times in self._inverted:
            slope = slope + times * (spread / inverse_psi(inverted, y)[2] - 1.0)
        return slope

    def _log_x(self, y: float) -> tuple[float, float]:
        """log 1/χ(y) at real y and a bound on its error."""
        points = np.array([y])
        total, error = math.log(abs((1.0 + y) / y)), _ROUNDING
        for law, times in self._explicit:
            total -= times * math.log(abs(law.s_transform(points, 1.0 + points)[0][0]))
            error += times * 2.0 * _ROUNDING
        for inverted, times in self._inverted:
            z, relative, _ = inverse_psi(inverted, points)
            total -= times * math.log(abs(z[0] * (1.0 + y) / y))
            error += times * float(relative[0])
        return total, error + _ROUNDING * abs(total)


def _wrapped(logarithm: Complex128) -> Complex128:
    """The logarithm with its imaginary part between -π and π."""
    turns = np.round(logarithm.imag / (2.0 * np.pi))
    return logarithm - 2j * np.pi * turns
