"""Laws of functions of a normal variable, as rules of nodes and weights.

For functions that are analytic near the real axis, as sigmoids and tanh are, the trapezoidal rule against the normal
density converges geometrically in the number of nodes; a Gauss rule of the function's law then needs few.

Source: L. N. Trefethen and J. A. C. Weideman, The exponentially convergent trapezoidal rule (SIAM Review 56, 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import expit

from meanfield.solvers.gauss_compression import KeepRule, Rule

Float64 = NDArray[np.float64]

_REACH = 9.0  # a standard normal variable has 2e-19 of its mass beyond
_FEWEST, _MOST = 64, 1 << 15  # intervals of the trapezoidal rule
_STILL = 1e-13  # change of Chebyshev moments, which are at most 1, by which a rule has converged
_EPSILON = float(np.finfo(np.float64).eps)


@lru_cache(maxsize=16)
def _trapezoid(intervals: int) -> tuple[Float64, Float64]:
    """Nodes and weights for the standard normal law, (intervals + 1,) each."""
    nodes = np.linspace(-_REACH, _REACH, intervals + 1)
    weights = np.exp(-0.5 * nodes**2)
    weights /= np.sum(weights)
    return nodes, weights


def gaussian_rule(function: Callable[[Float64], Float64], mean: float, deviation: float, *, count: int = 24) -> Rule:
    """The law of function(u) for u ~ N(mean, deviation²), compressed.

    The trapezoidal rule on mean ± 9 deviations is refined until its first 2 ``count`` Chebyshev moments over the range
    of the function stand still within 1e-13, or within the function's own rounding.

    Args:
        function: analytic near the real axis, of an array.
        mean: of u.
        deviation: of u, not negative; with 0 the law is a point.
        count: nodes of the result.

    Raises:
        ValueError: if the deviation is negative or not finite.
        ArithmeticError: if 32768 intervals are not enough: the function is not smooth.

    >>> rule = gaussian_rule(np.tanh, 0.3, 1.5)
    >>> len(rule.nodes), round(rule.expectation(np.square), 6)
    (24, 0.547555)
    """
    points, weights = _converged(function, mean, deviation, 2 * count)
    return Rule(np.asarray(function(points), dtype=np.float64), weights).compressed(count)


def normal_rule(mean: float, deviation: float, *, count: int = 24) -> Rule:
    """The normal law itself, compressed.

    >>> round(normal_rule(1.0, 2.0).expectation(np.square), 12)
    5.0
    """
    return gaussian_rule(np.positive, mean, deviation, count=count)


def sigmoid_keep_rule(mean: float, deviation: float, *, count: int = 48) -> KeepRule:
    """The law of f = 1/(1 + exp(-u)) for u ~ N(mean, deviation²), not compressed.

    Where f is spread between 0 and 1 and c is large, functions of f c vary on a logarithmic scale of f, which the nodes
    of the trapezoidal rule follow and those of a Gauss rule do not.

    Args:
        mean: of u.
        deviation: of u, not negative.
        count: 2 ``count`` Chebyshev moments of 1 - f stand still within 1e-13.

    Raises:
        ValueError: if the deviation is negative or not finite, or 1 - f underflows.

    >>> rule = sigmoid_keep_rule(12.0, 0.5)
    >>> bool(abs(rule.mean_release / np.exp(-12.0 + 0.125) - 1.0) < 1e-4)
    True
    """
    points, weights = _converged(lambda u: expit(-u), mean, deviation, 2 * count)
    return KeepRule(expit(points), expit(-points), weights)


def _converged(
    function: Callable[[Float64], Float64], mean: float, deviation: float, moments: int
) -> tuple[Float64, Float64]:
    """Points u and weights of the coarsest trapezoidal rule that has the function's moments, both (n,)."""
    if not (np.isfinite(mean) and np.isfinite(deviation) and deviation >= 0.0):
        raise ValueError(f"a normal variable needs a finite mean and deviation ≥ 0, got {mean} and {deviation}")
    if deviation == 0.0:
        return np.array([mean]), np.ones(1)
    intervals, previous = _FEWEST, None
    ends = np.asarray(function(mean + deviation * _trapezoid(4 * _FEWEST)[0]), dtype=np.float64)
    middle, half = 0.5 * (ends.max() + ends.min()), 0.5 * (ends.max() - ends.min())
    # Where the function hardly varies, its own rounding is what moves.
    still = _STILL + (8.0 * _EPSILON * moments * abs(middle) / half if half > 0.0 else 0.0)
    while intervals <= _MOST:
        nodes, weights = _trapezoid(intervals)
        points = mean + deviation * nodes
        # Between two constants of the same value nothing is left to converge.
        places = np.clip((function(points) - middle) / half, -1.0, 1.0) if half > 0.0 else np.zeros_like(points)
        current = weights @ chebyshev.chebvander(places, moments)
        if previous is not None and np.max(np.abs(current - previous)) <= still:
            return points, weights
        intervals, previous = 2 * intervals, current
    raise ArithmeticError(f"the law of a function of N({mean}, {deviation}²) did not converge with {_MOST} nodes")
