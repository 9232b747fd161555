"""Averages of activation functions and their slopes over a normal pre-activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_formulas import transitions
from meanfield.sampling.expressions import symbol
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.gaussian_products import NormalFunctions

Float64 = NDArray[np.float64]
Activation = Callable[[Any], tuple[Any, ...]]

_ROUNDING = 4e-16


def activation_moments(activation: Activation, mean: float, variance: float) -> Bounded:
    """E F_i F_j of the constant F_0 = 1 and of all that an activation returns, at u ~ N(mean, variance).

    Args:
        activation: one of :mod:`meanfield.activations`: (φ, φ'), or (σ, 1 - σ, σ').
        mean, variance: of u.

    Returns:
        (1 + functions, 1 + functions), with bounds.

    >>> from meanfield.activations import relu
    >>> activation_moments(relu, 0.0, 2.0).value[1:, 1:].diagonal().round(12)
    array([1. , 0.5])
    """

    def values(u: Float64) -> Float64:
        return np.stack([np.ones_like(u), *activation(u)])

    return _moments(values, activation, mean, variance)


def variance_surplus(activation: Activation, mean: float, variance: float) -> Bounded:
    """q E[φ'²] - E[φ²] at u ~ N(mean, q), without cancellation where φ is nearly affine.

    With any a it is q E[(φ' - a)²] - E[(φ - a (u - mean))²], by E[(u - mean) φ] = q E[φ']; a = E[φ'] leaves least.

    >>> from meanfield.activations import tanh
    >>> small = variance_surplus(tanh, 0.0, 1e-4)  # 4/3 q³
    >>> print(round(float(small.value) / 1e-12, 2), bool(small.error < 1e-10 * small.value))
    1.33 True
    """
    slope = float(activation_moments(activation, mean, variance).value[0, 2])

    def values(u: Float64) -> Float64:
        value, steepness = activation(u)
        return np.stack([value - slope * (u - mean), steepness - slope])

    squares = _moments(values, activation, mean, variance)
    by_value, by_slope = squares[0, 0], squares[1, 1]
    # What is taken off rounds on its own scale.
    sizes = 2.0 * _ROUNDING * abs(slope) * np.sqrt([variance * float(by_value.value), float(by_slope.value)])
    by_value, by_slope = (
        Bounded(each.value, each.error + size) for each, size in zip((by_value, by_slope), sizes, strict=True)
    )
    return variance * by_slope - by_value


def _moments(functions: Callable[[Float64], Float64], activation: Activation, mean: float, variance: float) -> Bounded:
    u = symbol("u")
    places = transitions(list(activation(u)), u)
    return NormalFunctions(functions, mean, math.sqrt(variance), places).moments
