"""How far simulated networks are off a prediction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from meanfield.estimate import Estimate, from_groups


def deviation(predicted: Estimate, samples: ArrayLike, *, allowance: float = 0.0) -> float:
    """Distance of the mean of independent samples from a prediction, in combined standard errors.

    Args:
        predicted: the prediction and its error.
        samples: one number a simulated network.
        allowance: share of the prediction that does not count, for effects of the finite width.

    >>> deviation(Estimate(1.0, 0.3), [1.8, 2.0, 2.2, 2.0, 2.0], allowance=0.1) > 2.5
    True
    """
    seen = from_groups(np.asarray(samples, dtype=np.float64))
    excess = max(0.0, abs(seen.value - predicted.value) - allowance * abs(predicted.value))
    error = math.hypot(seen.error, predicted.error)
    return 0.0 if excess == 0.0 else excess / error if error > 0.0 else math.inf
