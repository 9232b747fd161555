"""Means over simulated networks of numbers whose scatter spans orders of magnitude, and distances in errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Float64 = NDArray[np.float64]

FARTHEST = 38.0  # deviations beyond have probabilities below the smallest number


@dataclass(frozen=True)
class Spread:
    """A number, its standard error, and how well that error is known.

    Attributes:
        value: the number, or its logarithm.
        error: one standard error of it; a bound where the number was computed without sampling.
        freedom: degrees of freedom behind the error; inf for bounds.
    """

    value: float
    error: float
    freedom: float


def log_mean(logarithms: Float64) -> Spread:
    """The logarithm of the mean of positive numbers that are given by their logarithms, one a network.

    The error is the larger of two: the relative standard error of the mean, and that of the mean of a log-normal law
    with the scatter of the logarithms, √(s²/n + s⁴/(2(n-1))) (Cox; U. Olsson, J. Stat. Educ. 13, 2005). The first
    misses what a heavy tail has not shown yet in a few networks.

    Args:
        logarithms: natural ones, -inf for zeros, (networks,).

    >>> found = log_mean(np.log([1.0, 2.0, 3.0]))
    >>> round(math.exp(found.value), 12), found.freedom
    (2.0, 2.0)
    """
    count = len(logarithms)
    peak = float(np.max(logarithms))
    if peak == -math.inf:
        return Spread(-math.inf, 0.0, count - 1.0)
    scaled = np.exp(logarithms - peak)
    mean = float(np.mean(scaled))
    relative = float(np.std(scaled, ddof=1)) / math.sqrt(count) / mean
    variance = float(np.var(logarithms, ddof=1)) if np.all(np.isfinite(logarithms)) else 0.0
    lognormal = math.sqrt(variance / count + variance**2 / (2.0 * (count - 1)))
    return Spread(peak + math.log(mean), max(relative, lognormal), count - 1.0)


def jackknife(statistic: Callable[..., float], *samples: Float64) -> Spread:
    """A function of the logarithms of means over networks, with its jackknife error.

    Args:
        statistic: takes one logarithm of a mean for each of the samples.
        samples: logarithms, each (networks,).

    Returns:
        inf without an error where a mean is zero.

    >>> found = jackknife(lambda first, second: second - 2.0 * first, np.zeros(4), np.log([2.0, 2.0, 2.0, 2.0]))
    >>> round(found.value, 12), found.error
    (0.69314718056, 0.0)
    """
    count = len(samples[0])
    if not all(np.all(np.isfinite(each)) for each in samples):
        return Spread(math.inf, 0.0, count - 1.0)

    def of(kept: NDArray[np.intp]) -> float:
        return statistic(*(float(np.logaddexp.reduce(each[kept]) - math.log(len(kept))) for each in samples))

    networks = np.arange(count)
    partial = np.array([of(np.delete(networks, one)) for one in range(count)])
    error = math.sqrt((count - 1) * float(np.mean((partial - np.mean(partial)) ** 2)))
    return Spread(of(networks), error, count - 1.0)


def mean(samples: Float64 | Sequence[float]) -> Spread:
    """Mean over networks and its standard error.

    >>> mean([1.0, 2.0, 3.0]).value
    2.0
    """
    values = np.asarray(samples, dtype=np.float64)
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values)), len(values) - 1.0)


def sigmas(first: Spread, second: Spread, allowance: float) -> float:
    """Distance of two numbers beyond an allowance, in standard deviations of a normal law.

    Errors from a few networks are uncertain themselves, so the distance in combined errors follows Student's law
    (Welch's degrees of freedom). What is returned is the normal deviate of the same probability: 5 is as rare as 5σ
    should be. Bounds are part of the allowance.

    Returns:
        From 0 to 38.

    >>> from_eight = Spread(1.0, 0.1, 7.0)
    >>> round(sigmas(from_eight, Spread(2.0, 0.0, 7.0), 0.0), 2)  # ten errors, of seven degrees of freedom
    4.25
    """
    bounds = sum(each.error for each in (first, second) if math.isinf(each.freedom))
    sampled = [each for each in (first, second) if math.isfinite(each.freedom)]
    if first.value == second.value:
        return 0.0
    excess = abs(first.value - second.value) - allowance - bounds
    if excess <= 0.0:
        return 0.0
    variance = sum(each.error**2 for each in sampled)
    if variance == 0.0 or math.isinf(excess):
        return FARTHEST
    freedom = variance**2 / sum(each.error**4 / each.freedom for each in sampled)
    probability = float(stats.t.sf(excess / math.sqrt(variance), freedom))
    return min(float(stats.norm.isf(probability)), FARTHEST) if probability > 0.0 else FARTHEST
