"""Numbers of mpmath that carry a bound on their error through sums, products and quotients.

Rounding is not followed: it stays ten digits and more below the errors if the working precision is chosen so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HighPrecision = Any
"""A number of mpmath, which has no types of its own."""


@dataclass(frozen=True, eq=False)
class Precise:
    """A number and a bound on its error; plain numbers are taken as exact.

    Attributes:
        value: a number of mpmath, or 0.
        error: the same.

    >>> from mpmath import mpf
    >>> third = Precise(mpf(1), mpf("1e-30")) / 3
    >>> bool(3e-31 < third.error < 4e-31)
    True
    """

    value: HighPrecision
    error: HighPrecision = 0

    def __add__(self, other: Precise | HighPrecision) -> Precise:
        right = precise(other)
        return Precise(self.value + right.value, self.error + right.error)

    __radd__ = __add__

    def __neg__(self) -> Precise:
        return Precise(-self.value, self.error)

    def __sub__(self, other: Precise | HighPrecision) -> Precise:
        return self + -precise(other)

    def __rsub__(self, other: HighPrecision) -> Precise:
        return -self + other

    def __mul__(self, other: Precise | HighPrecision) -> Precise:
        right = precise(other)
        off = abs(self.value) * right.error + self.error * (abs(right.value) + right.error)
        return Precise(self.value * right.value, off)

    __rmul__ = __mul__

    def __truediv__(self, other: Precise | HighPrecision) -> Precise:
        """The quotient.

        Raises:
            ZeroDivisionError: if the divisor may be zero.
        """
        right = precise(other)
        least = abs(right.value) - right.error
        if least <= 0:
            raise ZeroDivisionError("a divisor may be zero to within its error")
        value = self.value / right.value
        return Precise(value, (self.error + abs(value) * right.error) / least)


def precise(number: Precise | HighPrecision) -> Precise:
    """A number as it is, or an exact one."""
    return number if isinstance(number, Precise) else Precise(number)
