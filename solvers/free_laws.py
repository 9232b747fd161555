"""Laws of squared singular values, with their S-transforms where these are formulas.

Source: V. Marchenko and L. Pastur, Distribution of eigenvalues for some sets of random matrices (Math. USSR Sb. 1,
1967); T. Banica, S. Belinschi, M. Capitaine and B. Collins, Free Bessel laws (Canad. J. Math. 63, 2011).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.moment_series import Number, Series, exact

Float64 = NDArray[np.float64]
Array = NDArray[Any]


class PositiveLaw(ABC):
    """A law on the positive axis with bounded support."""

    @property
    @abstractmethod
    def lowest(self) -> float:
        """Where the support begins, apart from zero if there is an atom."""

    @property
    @abstractmethod
    def highest(self) -> float:
        """Where the support ends."""

    @property
    def zero_mass(self) -> float:
        """Mass at zero."""
        return 0.0

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Positions other than zero, and their masses."""
        return ()

    @abstractmethod
    def moments(self, count: int) -> Series:
        """m_1 … m_count; fractions where the law's parameters are whole numbers or fractions."""


class ExplicitLaw(PositiveLaw):
    """A law whose S-transform is a formula."""

    @abstractmethod
    def s_transform(self, y: Array, complement: Array) -> tuple[Array, Array]:
        """S and its logarithmic derivative d log S/dy at real or complex y.

        Args:
            y: any shape.
            complement: 1 + y, with the digits that it has near y = -1.
        """


@dataclass(frozen=True)
class PointMass(ExplicitLaw):
    """All mass in one point: S = 1/position. Squared singular values of σ times an orthogonal matrix are at σ².

    Attributes:
        position: not negative.

    Raises:
        ValueError: if it is negative or not finite.

    >>> PointMass(4.0).moments(3)
    [4.0, 16.0, 64.0]
    """

    position: Number

    def __post_init__(self) -> None:
        if not 0 <= self.position < math.inf:
            raise ValueError(f"position: must be finite and not negative, got {self.position!r}")

    @property
    def lowest(self) -> float:
        return float(self.position)

    @property
    def highest(self) -> float:
        return float(self.position)

    @property
    def zero_mass(self) -> float:
        return 1.0 if self.position == 0 else 0.0

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        return ((float(self.position), 1.0),) if self.position > 0 else ()

    def moments(self, count: int) -> Series:
        return [exact(self.position) ** k for k in range(1, count + 1)]

    def s_transform(self, y: Array, complement: Array) -> tuple[Array, Array]:
        return np.full_like(y, 1.0 / float(self.position)), np.zeros_like(y)


@dataclass(frozen=True)
class MarchenkoPastur(ExplicitLaw):
    """Squared singular values of a Gaussian matrix: S = 1/(variance (1 + ratio y)).

    With X of N × M independent entries of variance ``variance``/M it is the law of the eigenvalues of X Xᵀ.

    Attributes:
        ratio: N/M, positive.
        variance: the mean, positive.

    Raises:
        ValueError: if one of them is not positive and finite.

    >>> MarchenkoPastur(ratio=1, variance=1).moments(4)[-1]
    Fraction(14, 1)
    """

    ratio: Number = 1
    variance: Number = 1

    def __post_init__(self) -> None:
        for name in ("ratio", "variance"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be positive and finite, got {getattr(self, name)!r}")

    @property
    def lowest(self) -> float:
        return float(self.variance) * (1.0 - math.sqrt(self.ratio)) ** 2

    @property
    def highest(self) -> float:
        return float(self.variance) * (1.0 + math.sqrt(self.ratio)) ** 2

    @property
    def zero_mass(self) -> float:
        return max(0.0, 1.0 - 1.0 / float(self.ratio))

    def moments(self, count: int) -> Series:
        ratio, variance = exact(self.ratio), exact(self.variance)
        return [
            variance**k
            * sum((ratio**j * (math.comb(k, j) * math.comb(k, j + 1) // k) for j in range(1, k)), 0 * ratio + 1)
            for k in range(1, count + 1)
        ]

    def s_transform(self, y: Array, complement: Array) -> tuple[Array, Array]:
        ratio = float(self.ratio)
        if ratio == 1.0:
            return 1.0 / (float(self.variance) * complement), -1.0 / complement
        slope = 1.0 + ratio * y
        return 1.0 / (float(self.variance) * slope), -ratio / slope


@dataclass(frozen=True)
class FussCatalan(ExplicitLaw):
    """Squared singular values of a product of square Gaussian matrices: S = (variance (1+y))^(-order).

    Attributes:
        order: T, the number of matrices, each with entries of variance ``variance``/N.
        variance: of one matrix, positive.

    Raises:
        ValueError: if the order is not a whole number of at least 1, or the variance not positive and finite.

    >>> [int(each) for each in FussCatalan(order=2).moments(4)]
    [1, 3, 12, 55]
    """

    order: int
    variance: Number = 1

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or not isinstance(self.order, int | np.integer) or self.order < 1:
            raise ValueError(f"order: must be a whole number of at least 1, got {self.order!r}")
        if not 0 < self.variance < math.inf:
            raise ValueError(f"variance: must be positive and finite, got {self.variance!r}")

    @property
    def lowest(self) -> float:
        return 0.0

    @property
    def highest(self) -> float:
        return float(self.variance) ** self.order * (self.order + 1.0) * (1.0 + 1.0 / self.order) ** self.order

    def moments(self, count: int) -> Series:
        variance = exact(self.variance)
        return [
            variance ** (self.order * k) * (math.comb((self.order + 1) * k, k) // (self.order * k + 1))
            for k in range(1, count + 1)
        ]

    def s_transform(self, y: Array, complement: Array) -> tuple[Array, Array]:
        return (float(self.variance) * complement) ** -float(self.order), -float(self.order) / complement
