"""Moments, free cumulants and S-transforms as power series, exact for rational numbers.

With ψ(z) = Σ m_k z^k the S-transform is S(y) = (1+y)/y ψ⁻¹(y), and free cumulants follow from C(z M(z)) = M(z), where
M = 1 + ψ and C(w) = 1 + Σ κ_k w^k. Free products multiply S, free sums add κ.

Source: D. Voiculescu, Multiplication of certain non-commuting random variables (J. Operator Theory 18, 1987);
A. Nica and R. Speicher, Lectures on the Combinatorics of Free Probability (2006), lectures 16 to 18.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Number = int | Fraction | float
Series = list[Fraction | float]


def free_cumulants(moments: Sequence[Number]) -> Series:
    """Free cumulants κ_1 … κ_n, the coefficients of the R-transform R(w) = Σ κ_(k+1) w^k.

    Args:
        moments: m_1 … m_n; fractions if all of them are whole numbers or fractions.

    Returns:
        As many cumulants, exact for fractions.

    Raises:
        ValueError: if there are no moments, or one is not a finite number.

    >>> [int(each) for each in free_cumulants([0, 1, 0, 2, 0, 5])]  # the semicircle law
    [0, 1, 0, 0, 0, 0]
    """
    series = _numbers("moments", moments)
    return _reciprocal(_reversion([_one(series), *series]))[1:]


def moments_of_cumulants(cumulants: Sequence[Number]) -> Series:
    """Moments m_1 … m_n from free cumulants; the inverse of :func:`free_cumulants`, with its errors.

    >>> [int(each) for each in moments_of_cumulants([1, 1, 1, 1])]  # the Marchenko-Pastur law of square matrices
    [1, 2, 5, 14]
    """
    series = _numbers("cumulants", cumulants)
    return _reversion(_reciprocal([_one(series), *series]))[1:]


def s_series(moments: Sequence[Number]) -> Series:
    """Coefficients S_0 … S_(n-1) of the S-transform S(y) = Σ S_k y^k of a law on the positive axis.

    Args:
        moments: m_1 … m_n, m_1 positive.

    Returns:
        As many coefficients, exact for fractions.

    Raises:
        ValueError: if a moment is negative or not finite, or the first one is zero: there is no S-transform at zero.

    >>> [int(each) for each in s_series([1, 2, 5, 14])]  # 1/(1+y)
    [1, -1, 1, -1]
    """
    series = _numbers("moments", moments)
    if min(series) < 0 or series[0] == 0:
        raise ValueError(f"moments: an S-transform needs a positive mean and no negative moment, got {moments!r}")
    inverse = _reversion(series)
    return [inverse[0], *(inverse[k] + inverse[k - 1] for k in range(1, len(inverse)))]


def moments_of_s_series(coefficients: Sequence[Number]) -> Series:
    """Moments m_1 … m_n from S_0 … S_(n-1); the inverse of :func:`s_series`.

    Raises:
        ValueError: if there are no coefficients, one is not finite, or the first one is not positive.

    >>> [int(each) for each in moments_of_s_series([1, 0, 0])]  # a point at 1
    [1, 1, 1]
    """
    series = _numbers("coefficients", coefficients)
    if series[0] <= 0:
        raise ValueError(f"coefficients: the first one must be positive, got {coefficients!r}")
    inverse: Series = []
    for coefficient in series:
        inverse.append(coefficient - inverse[-1] if inverse else coefficient)
    return _reversion(inverse)


def free_product(*factors: Sequence[Number]) -> Series:
    """Moments of the free multiplicative convolution of laws on the positive axis.

    Args:
        factors: m_1 … m_n of every factor; the shortest sequence decides how many moments there are.

    Returns:
        m_1 … m_n, zeros if a factor is a point at zero.

    Raises:
        ValueError: as :func:`s_series`, and without factors.

    >>> ginibre = [1, 2, 5]
    >>> [int(each) for each in free_product(ginibre, ginibre)]  # Fuss-Catalan
    [1, 3, 12]
    """
    series = _alike(factors)
    if any(all(moment == 0 for moment in each) for each in series):
        return [0 * series[0][0]] * len(series[0])
    total = s_series(series[0])
    for each in series[1:]:
        total = multiplied(total, s_series(each))
    return moments_of_s_series(total)


def free_sum(*terms: Sequence[Number]) -> Series:
    """Moments of the free additive convolution of laws.

    Args:
        terms: m_1 … m_n of every law; the shortest sequence decides how many moments there are.

    Raises:
        ValueError: as :func:`free_cumulants`, and without terms.

    >>> coin = [0, 1, 0, 1, 0, 1]
    >>> [int(each) for each in free_sum(coin, coin)]  # the arcsine law
    [0, 2, 0, 6, 0, 20]
    """
    cumulants = [free_cumulants(each) for each in _alike(terms)]
    return moments_of_cumulants([sum(column[1:], column[0]) for column in zip(*cumulants, strict=True)])


def multiplied(one: Series, other: Series) -> Series:
    """Product of two power series to the order of the shorter one.

    >>> multiplied([1, 1, 0], [1, 1, 0])
    [1, 2, 1]
    """
    return [
        sum((one[j] * other[k - j] for j in range(1, k + 1)), one[0] * other[k])
        for k in range(min(len(one), len(other)))
    ]


def exact(number: Number) -> Fraction | float:
    """A fraction if the number is rational by type, else a float.

    >>> exact(2), exact(0.5)
    (Fraction(2, 1), 0.5)
    """
    return Fraction(number) if isinstance(number, int | Fraction) else float(number)


def _alike(sequences: Sequence[Sequence[Number]]) -> list[Series]:
    """Sequences cut to the length of the shortest."""
    if not sequences:
        raise ValueError("moments: of one law at least")
    series = [_numbers("moments", each) for each in sequences]
    return [each[: min(map(len, series))] for each in series]


def _numbers(name: str, values: Sequence[Number]) -> Series:
    """Fractions if all numbers are rational, floats otherwise."""
    if len(values) == 0:
        raise ValueError(f"{name}: one at least, got none")
    if all(isinstance(each, int | Fraction) for each in values):
        return [Fraction(each) for each in values]
    floats: Series = [float(each) for each in values]
    if not all(math.isfinite(each) for each in floats):
        raise ValueError(f"{name}: must be finite, got {values!r}")
    return floats


def _one(series: Series) -> Fraction | float:
    return Fraction(1) if isinstance(series[0], Fraction) else 1.0


def _reciprocal(series: Series) -> Series:
    """1/Σ a_k z^k."""
    found: Series = [1 / series[0]]
    for k in range(1, len(series)):
        tail = sum((series[j] * found[k - j] for j in range(2, k + 1)), series[1] * found[k - 1])
        found.append(-tail / series[0])
    return found


def _reversion(series: Series) -> Series:
    """The inverse function of Σ a_k z^k, k = 1 … n, as such a series, by Lagrange: [w^k] = [z^(k-1)] (z/f)^k / k."""
    step = _reciprocal(series)
    power, found = step, [step[0]]
    for k in range(2, len(series) + 1):
        power = multiplied(power, step)
        found.append(power[k - 1] / k)
    return found
