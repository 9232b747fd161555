"""Standard normal numbers from random words, in single precision.

Functions of scalars without branches, the same on a CPU, on a GPU and in plain Python; in a loop over arrays they
compile to vector instructions. Words are taken at the midpoints of their cells, so no logarithm is of zero, and
complementing the bits of a word changes nothing but signs: the mean over all words is zero.

Sources: G. E. P. Box, M. E. Muller, A note on the generation of random normal deviates (Ann. Math. Stat. 29, 1958);
M. Giles, Approximating the erfinv function (GPU Computing Gems, 2011), for the variable ln(1 - x²) of the inverse.
"""

import math

import numpy as np

_NORMAL_HALF = np.float32(0.5)
_NORMAL_ONE = np.float32(1.0)
_NORMAL_TWO = np.float32(2.0)
_NORMAL_SIGN_BIT = np.uint32(0x80000000)
_NORMAL_LOWEST_BIT = np.uint32(1)
_NORMAL_MANTISSA_BITS = np.int32(23)
_NORMAL_UNIT_27 = np.float32(2.0**-27)
_NORMAL_UNIT_31 = np.float32(2.0**-31)
_NORMAL_UNIT_33 = np.float32(2.0**-33)
_NORMAL_ANGLE_BITS = np.uint32(0xFFFE0000)
_NORMAL_ANGLE_MIDPOINT = np.uint32(0x00010000)

# (ln(1 + t) - t)/t^2 on |t| <= 1/3; a mantissa is taken from [2/3, 4/3).
_LOGARITHM_BITS_OF_TWO_THIRDS = np.int32(0x3F2AAAAB)
_LOGARITHM_LN2 = np.float32(0.6931471805599453)
_LOGARITHM_2 = np.float32(-0.49999937)
_LOGARITHM_3 = np.float32(0.333332)
_LOGARITHM_4 = np.float32(-0.2500775)
_LOGARITHM_5 = np.float32(0.20011072)
_LOGARITHM_6 = np.float32(-0.16417037)
_LOGARITHM_7 = np.float32(0.13997146)
_LOGARITHM_8 = np.float32(-0.15383527)
_LOGARITHM_9 = np.float32(0.14020602)

# sin(2 pi v)/v and cos(2 pi v) in v^2 on |v| <= 1/4
_SINE_0 = np.float32(6.2831855)
_SINE_1 = np.float32(-41.341724)
_SINE_2 = np.float32(81.604965)
_SINE_3 = np.float32(-76.633385)
_SINE_4 = np.float32(40.12531)
_COSINE_1 = np.float32(-19.739182)
_COSINE_2 = np.float32(64.93516)
_COSINE_3 = np.float32(-85.252)
_COSINE_4 = np.float32(56.32207)

# z/x with x = erf(z/sqrt(2)) as a polynomial in sqrt(5 - ln(1 - x^2)) - 3.1
_INVERSE_SHIFT = np.float32(5.0)
_INVERSE_MIDDLE = np.float32(3.1)
_INVERSE_0 = np.float32(2.8218613)
_INVERSE_1 = np.float32(1.9238578)
_INVERSE_2 = np.float32(-0.08996512)
_INVERSE_3 = np.float32(-0.11863038)
_INVERSE_4 = np.float32(0.15226217)
_INVERSE_5 = np.float32(-0.062112026)
_INVERSE_6 = np.float32(-0.03380155)
_INVERSE_7 = np.float32(0.052749023)
_INVERSE_8 = np.float32(-0.014266954)
_INVERSE_9 = np.float32(-0.015993282)
_INVERSE_10 = np.float32(0.013958067)
_INVERSE_11 = np.float32(-0.0014592888)
_INVERSE_12 = np.float32(-0.003228663)
_INVERSE_13 = np.float32(0.00192907)
_INVERSE_14 = np.float32(-0.00046155797)
_INVERSE_15 = np.float32(4.230893e-05)


def logarithm(x: np.float32) -> np.float32:
    """ln x of a positive normal number, to a relative error of 2e-7, near one too; at most 0 for x <= 1.

    x = 2^e (1 + t) with |t| <= 1/3; ln(1 + t) is a polynomial.

    >>> abs(float(logarithm(np.float32(10.0))) - 2.302585093) < 3e-7, float(logarithm(np.float32(1.0)))
    (True, 0.0)
    """
    bits = np.float32(x).view(np.int32)
    e = np.int32(np.int32(bits - _LOGARITHM_BITS_OF_TWO_THIRDS) >> _NORMAL_MANTISSA_BITS)
    t = np.float32(np.int32(bits - np.int32(e << _NORMAL_MANTISSA_BITS)).view(np.float32) - _NORMAL_ONE)
    p = np.float32(_LOGARITHM_9 * t + _LOGARITHM_8)
    p = np.float32(p * t + _LOGARITHM_7)
    p = np.float32(p * t + _LOGARITHM_6)
    p = np.float32(p * t + _LOGARITHM_5)
    p = np.float32(p * t + _LOGARITHM_4)
    p = np.float32(p * t + _LOGARITHM_3)
    p = np.float32(p * t + _LOGARITHM_2)
    p = np.float32(np.float32(t * t) * p + t)
    return np.float32(np.float32(e) * _LOGARITHM_LN2 + p)


def sine_cosine_turns(v: np.float32) -> tuple[np.float32, np.float32]:
    """sin(2πv) and cos(2πv) for a quarter of a turn either way, |v| <= 1/4.

    The sine is odd and has a relative error of 2e-7, the cosine is even and has an absolute error of 2e-7.

    >>> sine, cosine = sine_cosine_turns(np.float32(1 / 12))
    >>> abs(float(sine) - 0.5) < 2e-7, abs(float(cosine) - 0.75**0.5) < 2e-7
    (True, True)
    """
    y = np.float32(v * v)
    s = np.float32(_SINE_4 * y + _SINE_3)
    s = np.float32(s * y + _SINE_2)
    s = np.float32(s * y + _SINE_1)
    s = np.float32(s * y + _SINE_0)
    c = np.float32(_COSINE_4 * y + _COSINE_3)
    c = np.float32(c * y + _COSINE_2)
    c = np.float32(c * y + _COSINE_1)
    c = np.float32(c * y + _NORMAL_ONE)
    return np.float32(s * v), c


def _sign_flipped(value: np.float32, bits: np.uint32) -> np.float32:
    """The value, with its sign changed where the highest of these bits is set."""
    sign = np.uint32(bits & _NORMAL_SIGN_BIT)
    return np.uint32(np.float32(value).view(np.uint32) ^ sign).view(np.float32)


def _box_muller(u: np.float32, angle: np.int32, sign: np.uint32) -> tuple[np.float32, np.float32]:
    """Two normals from u in (0, 1], an angle in units of π/2³² and the sign bit of the cosine."""
    # The root of math, since NumPy's is known for arrays only on CUDA.
    radius = np.float32(math.sqrt(np.float32(np.float32(-_NORMAL_TWO) * logarithm(u))))
    sine, cosine = sine_cosine_turns(np.float32(np.float32(angle) * _NORMAL_UNIT_33))
    return np.float32(radius * sine), _sign_flipped(np.float32(radius * cosine), sign)


def normal_pair(radius_word: np.uint32, angle_word: np.uint32) -> tuple[np.float32, np.float32]:
    """Two independent standard normals from two random words (Box & Muller 1958); none is beyond 6.67.

    Complementing the angle's word changes both signs.

    >>> z0, z1 = normal_pair(np.uint32(0x80000000), np.uint32(0x40000000))
    >>> round(float(z0), 4), round(float(z1), 4)
    (0.8326, 0.8326)
    """
    # The highest 31 bits of the first word make the radius, those of the second the sine, its lowest bit a sign.
    u = np.float32(np.float32(np.float32(np.int32(radius_word >> _NORMAL_LOWEST_BIT)) + _NORMAL_HALF) * _NORMAL_UNIT_31)
    angle = np.uint32(angle_word | _NORMAL_LOWEST_BIT).view(np.int32)
    return _box_muller(u, angle, np.uint32(angle_word << np.uint32(31)))


def _packed_pair(radius_bits: np.uint32, angle_bits: np.uint32) -> tuple[np.float32, np.float32]:
    """Two normals from the highest 26 bits of one word and the highest 16 of another; the others are ignored."""
    odd = np.int32(np.uint32(np.uint32(radius_bits >> np.uint32(5)) | _NORMAL_LOWEST_BIT))
    angle = np.uint32(np.uint32(angle_bits & _NORMAL_ANGLE_BITS) | _NORMAL_ANGLE_MIDPOINT).view(np.int32)
    return _box_muller(np.float32(np.float32(odd) * _NORMAL_UNIT_27), angle, np.uint32(angle_bits << np.uint32(15)))


def normal_sextet(
    w0: np.uint32, w1: np.uint32, w2: np.uint32, w3: np.uint32
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Six independent standard normals from 128 random bits: three radii of 26 bits, three angles of 16; |z| <= 6.12.

    The angles are 2¹⁶ equidistant ones, over which trigonometric moments of order below 2¹⁶ are those of all angles;
    E z² is 1, E z⁴ 3 and E z⁸ 105 to relative 3e-8, 2e-7 and 1e-5. Four words serve where pairs take six.

    >>> six = normal_sextet(*(np.uint32(word) for word in (0, 1 << 31, 3 << 30, 0)))
    >>> [round(abs(float(z)), 4) for z in six]
    [0.0003, 6.118, 0.0001, 1.1774, 0.0, 0.7585]
    """
    # The third angle comes from the lowest six bits of the words whose highest 26 bits make the radii.
    six_bits = np.uint32(26)
    third = np.uint32(w0 << six_bits)
    third = np.uint32(third | np.uint32(np.uint32(w1 << six_bits) >> np.uint32(6)))
    third = np.uint32(third | np.uint32(np.uint32(w2 << six_bits) >> np.uint32(12)))
    z0, z1 = _packed_pair(w0, w3)
    z2, z3 = _packed_pair(w1, np.uint32(w3 << np.uint32(16)))
    z4, z5 = _packed_pair(w2, third)
    return z0, z1, z2, z3, z4, z5


def normal_from_uniform(word: np.uint32) -> np.float32:
    """Inverse of the standard normal distribution function at (word + 1/2)/2³², to 5e-7 relative and 2e-6 absolute.

    Complementing the word changes the sign, exactly; |z| <= 6.34. With x = 2(word + 1/2)/2³² - 1, the ratio of
    the result to x is one polynomial in √(5 - ln(1 - x²)), over the whole range (the variable of Giles 2011).

    >>> round(float(normal_from_uniform(np.uint32(0))), 4), round(float(normal_from_uniform(np.uint32(3 << 30))), 4)
    (-6.338, 0.6745)
    """
    signed = np.uint32(word ^ _NORMAL_SIGN_BIT)
    centred = np.uint32(signed).view(np.int32)
    # Twice the distances from the middle and from the nearer end, both with all their digits.
    inner = np.int32(centred ^ np.int32(centred >> np.int32(31)))
    outer = np.int32(inner ^ np.int32(0x7FFFFFFF))
    x = np.float32(np.float32(np.float32(inner) + _NORMAL_HALF) * _NORMAL_UNIT_31)
    tail = np.float32(np.float32(np.float32(outer) + _NORMAL_HALF) * _NORMAL_UNIT_31)
    logarithmic = logarithm(np.float32(tail * np.float32(_NORMAL_TWO - tail)))
    y = np.float32(np.float32(math.sqrt(np.float32(_INVERSE_SHIFT - logarithmic))) - _INVERSE_MIDDLE)
    p = np.float32(_INVERSE_15 * y + _INVERSE_14)
    p = np.float32(p * y + _INVERSE_13)
    p = np.float32(p * y + _INVERSE_12)
    p = np.float32(p * y + _INVERSE_11)
    p = np.float32(p * y + _INVERSE_10)
    p = np.float32(p * y + _INVERSE_9)
    p = np.float32(p * y + _INVERSE_8)
    p = np.float32(p * y + _INVERSE_7)
    p = np.float32(p * y + _INVERSE_6)
    p = np.float32(p * y + _INVERSE_5)
    p = np.float32(p * y + _INVERSE_4)
    p = np.float32(p * y + _INVERSE_3)
    p = np.float32(p * y + _INVERSE_2)
    p = np.float32(p * y + _INVERSE_1)
    p = np.float32(p * y + _INVERSE_0)
    return _sign_flipped(np.float32(p * x), signed)
