"""How far back inputs leave a mark on the last state."""

from __future__ import annotations

import math

import numpy as np

from meanfield.estimate import Estimate, Profile

FORGOTTEN = 1e-3


def fading(sensitivity: Profile) -> Profile:
    """S(τ)/S(0) over the lag; its errors are those of independent numbers, and rather too large for these.

    >>> faded = fading(Profile(np.arange(2), np.log([4.0, 1.0]), np.array([0.3, 0.4]))).at(1)
    >>> round(faded.value, 12), round(faded.error, 12)
    (0.25, 0.125)
    """
    logarithms, errors = sensitivity.log_values, sensitivity.relative_errors
    if not np.isfinite(logarithms[0]):
        return Profile(sensitivity.lags, np.full_like(logarithms, -np.inf), np.zeros_like(errors))
    ratio_errors = np.hypot(errors, errors[0])
    ratio_errors[0] = 0.0
    return Profile(sensitivity.lags, logarithms - logarithms[0], ratio_errors)


def reach(sensitivity: Profile, share: float = FORGOTTEN) -> Estimate | None:
    """The lag at which S falls below a share of S(0) for the first time, between steps; None where it does not.

    >>> halving = Profile(np.arange(5), -np.log(2.0) * np.arange(5), np.full(5, 0.01))
    >>> print(reach(halving, 0.25 / np.sqrt(2.0)))
    2.5 ± 0.02
    >>> reach(halving) is None
    True
    """
    faded = fading(sensitivity)
    height = faded.log_values - math.log(share)
    below = np.flatnonzero(height < 0.0)
    if len(below) == 0:
        return None
    last = int(below[0])
    if not np.isfinite(height[last]):
        # Gone at once, somewhere in this step; or never there.
        return Estimate(float(faded.lags[last]), 1.0 if last > 0 else 0.0)
    crossing = float(faded.lags[last] - height[last] / (height[last] - height[last - 1]))
    # The slope over some steps around it, which scatters less than that of the one step.
    around = max(1, last // 8)
    nearby = height[max(0, last - around) : last + around + 1]
    slope = float(np.ptp(nearby[np.isfinite(nearby)])) / (np.count_nonzero(np.isfinite(nearby)) - 1)
    return Estimate(crossing, float(faded.relative_errors[last]) / slope)
