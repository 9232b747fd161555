"""How far numbers scatter from design to design about a smooth surface."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

ROWS = 24
"""Rows around a place that a surface is fitted to, at most."""
_SMALLEST_SINGULAR_VALUE = 1e-9  # relative to the largest
_SHARE = 0.975  # of Student's distribution: 95 per cent to both sides
_ROUNDING = 1e-12  # relative to the number
_LEVERAGE = 1.0 - 1e-9  # a row that decides its own fit says nothing of scatter


def scatters(entries: Sequence[Mapping[str, tuple[float, float]]], offsets: Float64) -> dict[str, float]:
    """How far a number of a further design lies from a surface through the rows around it, at 95 per cent.

    The surface is linear in the coordinates; where rows are too few for it (as many as it has coefficients) it is a
    constant, so that slopes count as scatter. The rows' root mean square distance from the surface through the others
    is multiplied by Student's factor for as many degrees of freedom as the fit leaves.

    Args:
        entries: numbers of each row by column, with their errors, (rows).
        offsets: coordinates of the rows, (rows, axes).

    Returns:
        By column; infinite where fewer than two rows have the number.

    >>> entries = [{"chi": (value, 0.0)} for value in (1.0, 2.0, 3.0, 4.0)]
    >>> scatters(entries, np.arange(4.0)[:, None])["chi"] < 1e-12
    True
    >>> scatters(entries[:1], np.zeros((1, 1)))
    {'chi': inf}
    """
    alike: dict[tuple[int, ...], list[str]] = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        alike.setdefault(tuple(row for row, entry in enumerate(entries) if name in entry), []).append(name)
    found: dict[str, float] = {}
    for rows, names in alike.items():
        values = np.array([[entries[row][name][0] for name in names] for row in rows], dtype=np.float64)
        found |= dict(zip(names, _scatter(values, offsets[list(rows)]).tolist(), strict=True))
    return found


def _scatter(values: Float64, offsets: Float64) -> Float64:
    """Of each column of values, (rows, columns)."""
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return np.full(values.shape[1], math.inf)
    rounding = _ROUNDING * np.abs(values).max(axis=0)
    values = values - values.mean(axis=0)
    surface = _directions(np.column_stack([np.ones(count), offsets - offsets.mean(axis=0)]))
    if surface.shape[1] >= count:
        surface = np.full((count, 1), count**-0.5)
    leverage = np.sum(surface**2, axis=1)
    telling = leverage < _LEVERAGE
    residuals = (values - surface @ (surface.T @ values))[telling] / (1.0 - leverage[telling, None])
    # The fit's own rounding is not scatter.
    residuals[np.abs(residuals) <= rounding] = 0.0
    freedom = count - surface.shape[1]
    spread: Float64 = np.sqrt(np.mean(residuals**2, axis=0)) * float(stdtrit(freedom, _SHARE))
    return spread


def _directions(columns: Float64) -> Float64:
    """An orthonormal basis of what the columns span, (rows, rank)."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis: Float64 = left[:, sizes > _SMALLEST_SINGULAR_VALUE * sizes[0]]
    return basis
