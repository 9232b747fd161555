"""exp, tanh and erf in double precision: the counterparts of :mod:`meanfield.sampling.single_math`.

Functions of float64 scalars, the same on a CPU, on a GPU and in plain Python; in a loop over an array exp and tanh
compile to vector instructions. The coefficients are weighted minimax fits of the relative error.
"""

import math

import numpy as np

_DOUBLE_ONE = np.float64(1.0)
_DOUBLE_TWO = np.float64(2.0)
# Adding 1.5 * 2^52 rounds to an integer, which is then found in the lowest bits.
_DOUBLE_ROUNDING = np.float64(6755399441055744.0)
_DOUBLE_MANTISSA_BITS = np.int64(52)
_DOUBLE_BITS_OF_ONE = np.int64(0x3FF0000000000000)
_DOUBLE_LOG2_E = np.float64(1.4426950408889634)
# ln 2 in two parts: products of the first with integers below 2^20 are exact.
_DOUBLE_LN2_HIGH = np.float64(0.6931471803691238)
_DOUBLE_LN2_LOW = np.float64(1.9082149292705877e-10)
_DOUBLE_EXP_END = np.float64(700.0)
_DOUBLE_TANH_END = np.float64(20.0)

# (exp(r) - 1 - r)/r^2 on |r| <= ln(2)/2, to 2e-17 of exp(r) - 1
_DOUBLE_EXP_2 = np.float64(0.5000000000000006)
_DOUBLE_EXP_3 = np.float64(0.16666666666666613)
_DOUBLE_EXP_4 = np.float64(0.04166666666657392)
_DOUBLE_EXP_5 = np.float64(0.00833333333337427)
_DOUBLE_EXP_6 = np.float64(0.0013888888932249949)
_DOUBLE_EXP_7 = np.float64(0.00019841269752241453)
_DOUBLE_EXP_8 = np.float64(2.480150461549204e-05)
_DOUBLE_EXP_9 = np.float64(2.755737778933431e-06)
_DOUBLE_EXP_10 = np.float64(2.7626257071074854e-07)
_DOUBLE_EXP_11 = np.float64(2.5063199627448293e-08)


def _power_and_remainder(u: np.float64) -> tuple[np.float64, np.float64]:
    """2^n and exp(r) - 1, where u = n ln 2 + r with an integer n and |r| <= ln(2)/2."""
    shifted = np.float64(u * _DOUBLE_LOG2_E + _DOUBLE_ROUNDING)
    n = np.float64(shifted - _DOUBLE_ROUNDING)
    r = np.float64(u - n * _DOUBLE_LN2_HIGH)
    r = np.float64(r - n * _DOUBLE_LN2_LOW)
    p = np.float64(_DOUBLE_EXP_11 * r + _DOUBLE_EXP_10)
    p = np.float64(p * r + _DOUBLE_EXP_9)
    p = np.float64(p * r + _DOUBLE_EXP_8)
    p = np.float64(p * r + _DOUBLE_EXP_7)
    p = np.float64(p * r + _DOUBLE_EXP_6)
    p = np.float64(p * r + _DOUBLE_EXP_5)
    p = np.float64(p * r + _DOUBLE_EXP_4)
    p = np.float64(p * r + _DOUBLE_EXP_3)
    p = np.float64(p * r + _DOUBLE_EXP_2)
    remainder = np.float64(np.float64(r * r) * p + r)
    exponent = np.int64(np.float64(shifted).view(np.int64) << _DOUBLE_MANTISSA_BITS)
    return np.int64(exponent + _DOUBLE_BITS_OF_ONE).view(np.float64), remainder


def exp(u: np.float64) -> np.float64:
    """exp(min(max(u, -700), 700)), to a relative error of 3e-16: it neither overflows nor returns zero.

    >>> abs(float(exp(np.float64(1.0))) - 2.718281828459045) < 1e-15, float(exp(np.float64(-1e300))) > 0
    (True, True)
    """
    power, remainder = _power_and_remainder(np.float64(min(max(u, -_DOUBLE_EXP_END), _DOUBLE_EXP_END)))
    return np.float64(power * np.float64(remainder + _DOUBLE_ONE))


def tanh(u: np.float64) -> np.float64:
    """tanh(u) for every finite u, to a relative error of 6e-16, near zero too.

    (exp(2u) - 1)/(exp(2u) + 1) from exp(2u) - 1, which keeps its digits near zero; beyond |u| = 20 it is ±1.

    >>> float(tanh(np.float64(1e-200))), float(tanh(np.float64(-1e300)))
    (1e-200, -1.0)
    """
    x = np.float64(min(max(u, -_DOUBLE_TANH_END), _DOUBLE_TANH_END))
    power, remainder = _power_and_remainder(np.float64(x + x))
    difference = np.float64(power * remainder + np.float64(power - _DOUBLE_ONE))
    return np.float64(difference / np.float64(difference + _DOUBLE_TWO))


def erf(u: np.float64) -> np.float64:
    """erf(u) of the mathematics library, for every u.

    >>> float(erf(np.float64(0.0)))
    0.0
    """
    return np.float64(math.erf(u))
