"""The spread of the singular values of many untied networks' Jacobians, each over its own number of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_transfer import Transfer
from meanfield.solvers.bounded_arithmetic import Bounded

Float64 = NDArray[np.float64]

_ROUNDING = 2e-15  # of a sum of five products, relative to the sum of their sizes


def log_spreads(transfers: Sequence[Transfer], lengths: Sequence[int]) -> Bounded:
    """log m2(T)/m1(T)² of Jacobians, (networks,).

    A power of the transfer matrix is made of squares of squares, so that its cost grows with the logarithm of T.

    Args:
        transfers: of one network each.
        lengths: T of each.

    Returns:
        The logarithms, with errors that are infinite where nothing is known.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> from meanfield.closed_transfer import transfer
    >>> linear = closed_law(mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)}), mf.Inputs(power=0.0))
    >>> np.exp(log_spreads([transfer(linear, 1.0)] * 2, [3, 1000]).value).round(9).tolist()  # 1 + T
    [4.0, 1001.0]
    """
    power = np.stack([each.matrix.value for each in transfers])
    off = np.stack([each.matrix.error for each in transfers])
    state = np.stack([each.start.value for each in transfers])[..., None]
    error = np.stack([each.start.error for each in transfers])[..., None]
    left = np.asarray(lengths)
    scale, power_scale = np.zeros(len(left)), np.zeros(len(left))  # powers of two taken out
    with np.errstate(all="ignore"):
        while True:
            odd = (left % 2 == 1)[:, None, None]
            moved, moved_error = _product(power, off, state, error)
            state, error = np.where(odd, moved, state), np.where(odd, moved_error, error)
            scale = np.where(odd[:, 0, 0], scale + power_scale, scale)
            state, error, scale = _scaled(state, error, scale)
            left = left // 2
            if not np.any(left):
                break
            power, off = _product(power, off, power, off)
            power, off, power_scale = _scaled(power, off, 2.0 * power_scale)
        spread = state[:, 3, 0] + state[:, 4, 0]
        share = (error[:, 3, 0] + error[:, 4, 0]) / spread
        logarithm = np.log(spread) + math.log(2.0) * scale
        known = (spread > 0.0) & (share < 1.0) & np.isfinite(logarithm)
        bound = np.where(known, -np.log1p(-np.where(known, share, 0.0)), np.inf)
    # It is never below zero: m2 is at least m1².
    return Bounded(np.maximum(logarithm, 0.0), bound + _ROUNDING * (1.0 + np.abs(logarithm)))


def _product(left: Float64, left_error: Float64, right: Float64, right_error: Float64) -> tuple[Float64, Float64]:
    """Products of matrices and bounds on their errors."""
    sizes, others = np.abs(left), np.abs(right)
    error = sizes @ right_error + left_error @ (others + right_error) + _ROUNDING * (sizes @ others)
    return left @ right, error


def _scaled(values: Float64, errors: Float64, scale: Float64) -> tuple[Float64, Float64, Float64]:
    """Matrices divided by powers of two, which rounds nothing, so that long products are numbers."""
    _, exponents = np.frexp(np.max(np.abs(values), axis=(1, 2)))
    across = -exponents[:, None, None]
    return np.ldexp(values, across), np.ldexp(errors, across), scale + exponents
