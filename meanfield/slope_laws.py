"""The law of φ'(u)² for a Gaussian pre-activation u: what a layer's diagonal does to squared singular values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from meanfield.errors import InvalidInput
from meanfield.solvers.continuous_laws import ContourLaw
from meanfield.solvers.free_laws import PointMass, PositiveLaw
from meanfield.solvers.inverted_laws import DiscreteLaw

Float64 = NDArray[np.float64]
Array = NDArray[Any]

_REACH = 9.0  # a normal variable has 2e-19 of its mass beyond
_DEPTH = 0.3  # of a contour below the real axis; 1/cosh² has poles at π/2


@dataclass(frozen=True)
class _Slope:
    """A smooth φ' that falls on both sides of u = 0.

    Attributes:
        square: φ'² at real or complex u.
        highest: its largest value, at u = 0.
        decay: how the depth of a contour falls with u, so that the argument of φ'² stays above -π, and its derivative.
    """

    square: Callable[[Array], Array]
    highest: float
    decay: Callable[[Float64], tuple[Float64, Float64]]


def _tanh_square(u: Array) -> Array:
    decay = np.exp(np.where(u.real > 0.0, -2.0 * u, 2.0 * u))
    return (4.0 * decay / (1.0 + decay) ** 2) ** 2


_SLOPES = {
    "tanh": _Slope(
        square=_tanh_square,
        highest=1.0,
        decay=lambda u: (np.ones_like(u), np.zeros_like(u)),
    ),
    "erf": _Slope(
        square=lambda u: 4.0 / np.pi * np.exp(-2.0 * u * u),
        highest=4.0 / math.pi,
        decay=lambda u: ((1.0 + u * u) ** -0.5, -u * (1.0 + u * u) ** -1.5),
    ),
}


def slope_law(activation: str, mean: float, deviation: float, *, intervals: int = 512) -> PositiveLaw:
    """The law of φ'(u)² for u ~ N(mean, deviation²).

    Args:
        activation: ``"tanh"``, ``"erf"`` or ``"relu"``.
        mean, deviation: of u; the deviation is not negative.
        intervals: of the trapezoidal rules behind a law that has a density.

    Raises:
        InvalidInput: if the activation is another one.

    >>> round(float(slope_law("tanh", 0.0, 1.0).moments(1)[0]), 6)
    0.464403
    """
    if activation == "relu":
        above = float(ndtr(mean / deviation)) if deviation > 0.0 else float(mean > 0.0)
        return DiscreteLaw([0.0, 1.0], [1.0 - above, above])
    if activation not in _SLOPES:
        raise InvalidInput(f"activation: must be 'tanh', 'erf' or 'relu', got {activation!r}")
    slope = _SLOPES[activation]
    if deviation == 0.0:
        return PointMass(float(slope.square(np.array(mean))))
    # Nodes are dense around u = 0, where φ'² is largest and its law singular, and grow apart with the distance from it.
    width = min(1.0, deviation)
    ends = np.arcsinh((mean + deviation * np.array([-_REACH, _REACH])) / width)
    grid = np.linspace(ends[0], ends[1], intervals + 1)
    u = width * np.sinh(grid)
    z = (u - mean) / deviation
    weights = np.cosh(grid) * np.exp(-0.5 * z**2)
    weights /= np.sum(weights)
    # Below the axis by no more than a deviation, where the normal density is still of its size on the axis.
    deepest = min(_DEPTH, deviation)
    decay, decay_slope = slope.decay(u)
    bend, bend_slope = np.tanh(grid), np.cosh(grid) ** -3 / width
    # φ'² falls on the right of zero and rises on its left: down there is up on the left.
    depth, along = deepest * bend * decay, deepest * (bend_slope * decay + bend * decay_slope)
    below = u + 1j * depth
    growth = np.exp(0.5 * (depth / deviation) ** 2 - 1j * z * depth / deviation) * (1.0 + 1j * along)
    return ContourLaw(slope.square(u), weights, slope.square(below), weights * growth, (0.0, slope.highest))
