"""exp, tanh and erf in single precision: polynomials and one division, no branch and no call of a library.

Functions of float32 scalars, the same on a CPU, on a GPU and in plain Python; in a loop over an array they compile to
vector instructions. The stated errors hold with and without fused multiply-adds. The coefficients are minimax fits of
the relative error, rounded to float32 one after another with the later ones refitted.
"""

import numpy as np

_SINGLE_ONE = np.float32(1.0)
# Adding 1.5 * 2^23 rounds to an integer, which is then found in the lowest bits.
_SINGLE_ROUNDING = np.float32(12582912.0)
_SINGLE_MANTISSA_BITS = np.int32(23)
_SINGLE_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts: products of the first with integers below 2^15 are exact.
_SINGLE_LN2_HIGH = np.float32(0.693359375)
_SINGLE_LN2_LOW = np.float32(-2.12194440054690583e-4)

# (exp(r) - 1 - r)/r^2 on |r| <= ln(2)/2
_SINGLE_EXP_2 = np.float32(0.4999923)
_SINGLE_EXP_3 = np.float32(0.16667114)
_SINGLE_EXP_4 = np.float32(0.041890208)
_SINGLE_EXP_5 = np.float32(0.008312569)

# tanh(u)/u as a ratio of polynomials in u^2 on |u| <= 8.4
_SINGLE_TANH_END = np.float32(8.7)
_SINGLE_TANH_UPPER_1 = np.float32(0.13422127)
_SINGLE_TANH_UPPER_2 = np.float32(0.0035446135)
_SINGLE_TANH_UPPER_3 = np.float32(2.142822e-05)
_SINGLE_TANH_UPPER_4 = np.float32(1.4523998e-08)
_SINGLE_TANH_LOWER_1 = np.float32(0.46755454)
_SINGLE_TANH_LOWER_2 = np.float32(0.02606291)
_SINGLE_TANH_LOWER_3 = np.float32(0.0003366286)
_SINGLE_TANH_LOWER_4 = np.float32(8.247207e-07)

# erf(u)/u as a ratio of polynomials in u^2 on |u| <= 3.95
_SINGLE_ERF_END = np.float32(3.92)
_SINGLE_ERF_UPPER_0 = np.float32(1.1283791)
_SINGLE_ERF_UPPER_1 = np.float32(0.19162951)
_SINGLE_ERF_UPPER_2 = np.float32(0.052887447)
_SINGLE_ERF_UPPER_3 = np.float32(0.003812913)
_SINGLE_ERF_UPPER_4 = np.float32(0.00028503386)
_SINGLE_ERF_UPPER_5 = np.float32(2.0278378e-06)
_SINGLE_ERF_LOWER_1 = np.float32(0.50315964)
_SINGLE_ERF_LOWER_2 = np.float32(0.11459421)
_SINGLE_ERF_LOWER_3 = np.float32(0.0150631005)
_SINGLE_ERF_LOWER_4 = np.float32(0.0011724023)
_SINGLE_ERF_LOWER_5 = np.float32(3.7871265e-05)


def exp(u: np.float32) -> np.float32:
    """exp(u) for |u| <= 83, to a relative error of 2.2e-7; meaningless outside that range, which is not checked.

    u = n ln 2 + r with an integer n and |r| <= ln(2)/2; n goes into the exponent's bits, exp(r) is a polynomial.

    >>> abs(float(exp(np.float32(1.0))) - 2.718281828) < 1e-6
    True
    """
    shifted = np.float32(u * _SINGLE_LOG2_E + _SINGLE_ROUNDING)
    n = np.float32(shifted - _SINGLE_ROUNDING)
    r = np.float32(u - n * _SINGLE_LN2_HIGH)
    r = np.float32(r - n * _SINGLE_LN2_LOW)
    p = np.float32(_SINGLE_EXP_5 * r + _SINGLE_EXP_4)
    p = np.float32(p * r + _SINGLE_EXP_3)
    p = np.float32(p * r + _SINGLE_EXP_2)
    p = np.float32(p * r + _SINGLE_ONE)
    p = np.float32(p * r + _SINGLE_ONE)
    exponent = np.int32(np.float32(shifted).view(np.int32) << _SINGLE_MANTISSA_BITS)
    return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)


def tanh(u: np.float32) -> np.float32:
    """tanh(u) for every finite u, to a relative error of 3.5e-7, near zero too; odd, and never beyond ±1.

    u P(u²)/Q(u²) with polynomials of degree four, constant beyond |u| = 8.7, where 1 - tanh u is 6e-8.

    >>> float(tanh(np.float32(1e-20))) == float(np.float32(1e-20)), round(float(tanh(np.float32(-1e30))), 6)
    (True, -1.0)
    """
    x = np.float32(min(max(u, -_SINGLE_TANH_END), _SINGLE_TANH_END))
    y = np.float32(x * x)
    p = np.float32(_SINGLE_TANH_UPPER_4 * y + _SINGLE_TANH_UPPER_3)
    p = np.float32(p * y + _SINGLE_TANH_UPPER_2)
    p = np.float32(p * y + _SINGLE_TANH_UPPER_1)
    p = np.float32(p * y + _SINGLE_ONE)
    q = np.float32(_SINGLE_TANH_LOWER_4 * y + _SINGLE_TANH_LOWER_3)
    q = np.float32(q * y + _SINGLE_TANH_LOWER_2)
    q = np.float32(q * y + _SINGLE_TANH_LOWER_1)
    q = np.float32(q * y + _SINGLE_ONE)
    return np.float32(min(max(np.float32(np.float32(x * p) / q), -_SINGLE_ONE), _SINGLE_ONE))


def erf(u: np.float32) -> np.float32:
    """erf(u) for every finite u, to a relative error of 4e-7, near zero too; odd, and never beyond ±1.

    u P(u²)/Q(u²) with polynomials of degree five, constant beyond |u| = 3.92, where 1 - erf u is 3e-8.

    >>> abs(float(erf(np.float32(0.5))) - 0.5204998778) < 2e-7, round(float(erf(np.float32(1e30))), 6)
    (True, 1.0)
    """
    x = np.float32(min(max(u, -_SINGLE_ERF_END), _SINGLE_ERF_END))
    y = np.float32(x * x)
    p = np.float32(_SINGLE_ERF_UPPER_5 * y + _SINGLE_ERF_UPPER_4)
    p = np.float32(p * y + _SINGLE_ERF_UPPER_3)
    p = np.float32(p * y + _SINGLE_ERF_UPPER_2)
    p = np.float32(p * y + _SINGLE_ERF_UPPER_1)
    p = np.float32(p * y + _SINGLE_ERF_UPPER_0)
    q = np.float32(_SINGLE_ERF_LOWER_5 * y + _SINGLE_ERF_LOWER_4)
    q = np.float32(q * y + _SINGLE_ERF_LOWER_3)
    q = np.float32(q * y + _SINGLE_ERF_LOWER_2)
    q = np.float32(q * y + _SINGLE_ERF_LOWER_1)
    q = np.float32(q * y + _SINGLE_ONE)
    return np.float32(min(max(np.float32(np.float32(x * p) / q), -_SINGLE_ONE), _SINGLE_ONE))
