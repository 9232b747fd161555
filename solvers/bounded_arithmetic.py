"""Numbers that carry a bound on their error through sums, products and quotients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Number = float | Float64

_ROUNDING = 2.3e-16  # of one operation in double precision


@dataclass(frozen=True, eq=False)
class Bounded:
    """An array and a bound on its error, of the same shape; plain numbers are taken as exact.

    >>> third = Bounded(np.array(1.0), np.array(1e-3)) / 3.0
    >>> bool(3e-4 < third.error < 4e-4)
    True
    """

    value: Float64
    error: Float64
    __array_ufunc__ = None  # so that NumPy leaves arithmetic with arrays to this class

    def __add__(self, other: Bounded | Number) -> Bounded:
        if isinstance(other, Bounded):
            value = self.value + other.value
            return Bounded(value, self.error + other.error + _ROUNDING * np.abs(value))
        value = self.value + other
        return Bounded(value, self.error + _ROUNDING * np.abs(value))

    def __radd__(self, other: Number) -> Bounded:
        return self + other

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error)

    def __sub__(self, other: Bounded | Number) -> Bounded:
        return self + -other

    def __rsub__(self, other: Number) -> Bounded:
        return -self + other

    def __mul__(self, other: Bounded | Number) -> Bounded:
        if isinstance(other, Bounded):
            value = self.value * other.value
            error = np.abs(self.value) * other.error + self.error * (np.abs(other.value) + other.error)
        else:
            value, error = self.value * other, self.error * np.abs(other)
        return Bounded(value, error + _ROUNDING * np.abs(value))

    def __rmul__(self, other: Number) -> Bounded:
        return self * other

    def __truediv__(self, other: Bounded | Number) -> Bounded:
        # A divisor that may be zero leaves no bound: the error is infinite.
        right = bounded(other)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = self.value / right.value
            least = np.abs(right.value) - right.error
            error = (self.error + np.abs(value) * right.error) / np.where(least > 0.0, least, 0.0)
        return Bounded(value, np.where(least > 0.0, error + _ROUNDING * np.abs(value), np.inf))

    def __getitem__(self, index: Any) -> Bounded:
        return Bounded(self.value[index], self.error[index])

    @property
    def magnitude(self) -> Float64:
        """The largest size that the number may have."""
        return np.abs(self.value) + self.error


def bounded(number: Bounded | Number) -> Bounded:
    """A number as it is, or an exact one."""
    if isinstance(number, Bounded):
        return number
    value = np.asarray(number, dtype=np.float64)
    return Bounded(value, np.zeros_like(value))
