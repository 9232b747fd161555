"""Growth of gradients per step, and the time scale that follows from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meanfield.estimate import Estimate, standard_error

Float64 = NDArray[np.float64]


def late_growth(log_gradient: Float64, length: int) -> Estimate:
    """χ, the growth per step of a mean square, from its slope over the second half of the lags.

    Args:
        log_gradient: logarithms at lags 0 to ``length`` at least, (lags, groups).
        length: the last lag that is read.

    Returns:
        Its value with one standard error over groups; exactly zero where nothing of the state is passed on.

    >>> late_growth(np.log(0.5) * np.arange(9)[:, None] * np.ones(3), 8).value
    0.5
    """
    middle = length // 2
    if not np.all(np.isfinite(log_gradient[[middle, length]])):
        return Estimate(0.0, 0.0)
    slopes = (log_gradient[length] - log_gradient[middle]) / (length - middle)
    growth = math.exp(np.mean(slopes))
    return Estimate(growth, growth * standard_error(slopes))


def timescale_of(chi: Estimate) -> Estimate | None:
    """ξ = -1/log χ in steps; None where gradients do not decay.

    >>> round(timescale_of(Estimate(math.exp(-0.1), 0.0)).value, 9)
    10.0
    """
    if chi.value >= 1.0:
        return None
    if chi.value == 0.0:
        return Estimate(0.0, 0.0)
    scale = -1.0 / math.log(chi.value)
    return Estimate(scale, scale**2 * chi.error / chi.value)
