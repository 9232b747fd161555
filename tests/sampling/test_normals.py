"""Normals from words: exact moments over all angles, samples within their error bars, the inverse against SciPy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from meanfield.sampling import normals

Array = NDArray[Any]
SINGLE = np.float32
WORD = np.uint32
SEXTET = [SINGLE] * 6
DRAWS = 2**20
# Means of z^k for k = 0, 1, ..., 16: 1, 0, 1, 0, 3, 0, 15, ...
MOMENTS = [math.prod(range(k - 1, 0, -2)) if k % 2 == 0 else 0 for k in range(17)]
CORNERS = [0, 1, 63, 64, 0xFFFF, 0x10000, 0x55555555, 0x7FFFFFFF, 0x80000000, 0xAAAAAAAA, 0xFFFF0000, 0xFFFFFFC0]
CORNERS += [0xFFFFFFFF]


@pytest.fixture(scope="module")
def words(loops: Any) -> Array:
    """Four words of each of 2²⁰ streams."""
    chains = np.arange(DRAWS, dtype=np.uint64)
    fixed = [np.full(DRAWS, word, WORD) for word in (0, 20, 0)]
    state = loops("random_bits", "stream", *[WORD] * 4)(chains, *fixed)
    drawn = []
    for _ in range(4):
        word, *state = loops("random_bits", "next_word", *[WORD] * 5)(*state)
        drawn.append(word)
    return np.array(drawn)


@pytest.fixture(scope="module", params=["sextets", "pairs", "inverse"])
def sample(request: pytest.FixtureRequest, words: Array, loops: Any) -> Array:
    """Normals by each of the ways: one row for each variable of a draw."""
    if request.param == "sextets":
        found = loops("normals", "normal_sextet", *SEXTET)(*words)
    elif request.param == "pairs":
        pair = loops("normals", "normal_pair", SINGLE, SINGLE)
        found = (*pair(words[0], words[1]), *pair(words[2], words[3]))
    else:
        found = [loops("normals", "normal_from_uniform", SINGLE)(word)[0] for word in words]
    return np.array(found)


def test_moments_up_to_the_eighth(sample: Array) -> None:
    powers = np.ones(sample.shape)
    for order in range(1, 9):
        powers *= sample
        error = np.sqrt((MOMENTS[2 * order] - MOMENTS[order] ** 2) / DRAWS)
        np.testing.assert_allclose(powers.mean(axis=1), MOMENTS[order], atol=4.5 * error)


def test_the_variables_of_a_draw_are_independent(sample: Array) -> None:
    """Neither the variables nor their squares nor their sizes are correlated, within a draw or with the next one."""
    for values in (sample, sample**2, np.abs(sample)):
        both = np.concatenate([values[:, 1:], values[:, :-1]]).astype(np.float64)
        correlations = np.corrcoef(both) - np.eye(len(both))
        assert np.abs(correlations).max() < 5 / np.sqrt(DRAWS)


def test_kolmogorov_smirnov(sample: Array) -> None:
    """The largest distance of distribution functions, at a level of 1e-3 (Kolmogorov's limit law)."""
    for values in sample[: min(len(sample), 6)]:
        levels = ndtr(np.sort(values[:1_000_000]).astype(np.float64))
        steps = np.arange(len(levels) + 1) / len(levels)
        distance = max((steps[1:] - levels).max(), (levels - steps[:-1]).max())
        assert distance * np.sqrt(len(levels)) < 1.95


def test_moments_over_all_angles_are_exact(loops: Any) -> None:
    """Over the 2¹⁶ angles E s^m c^n is that of the circle, so z_0^m z_1^n has the mean of a Gaussian's direction."""
    angles = np.arange(2**16, dtype=WORD)
    radius, zero = np.full(2**16, 0x40000000, WORD), np.zeros(2**16, WORD)
    size = math.sqrt(-2 * math.log(0.25 + 2.0**-27))
    third = [zero | angles >> WORD(10), zero | angles >> WORD(4) & WORD(63), zero | angles << WORD(2) & WORD(63)]
    sextet = loops("normals", "normal_sextet", *SEXTET)
    first = sextet(radius, zero, zero, angles << WORD(16))[:2]
    second = sextet(zero, radius, zero, angles)[2:4]
    last = sextet(*(radius | bits for bits in third), zero)[4:]
    for sine, cosine in (first, second, last):
        s, c = (value.astype(np.float64) / size for value in (sine, cosine))
        assert math.fsum(sine) == 0 == math.fsum(cosine)
        np.testing.assert_allclose(s**2 + c**2, 1, atol=1e-6)
        for m, n in itertools.product(range(9), repeat=2):
            # E s^m c^n = E z^m E z^n/E r^(m + n), where E r^(2k) = 2^k k!
            mean = MOMENTS[m] * MOMENTS[n] / (2 ** ((m + n) / 2) * math.gamma((m + n) / 2 + 1))
            np.testing.assert_allclose((s**m * c**n).mean(), mean, atol=3e-7)
        # Neighbouring angles are 2π/2¹⁶ apart, all around.
        gaps = np.diff(np.sort(np.arctan2(s, c)))
        np.testing.assert_allclose(gaps, 2 * np.pi / 2**16, atol=1e-6)


def test_radii_follow_their_words(loops: Any) -> None:
    """√(-2 ln((k + 1/2)/2²⁶)) for 26 bits, √(-2 ln((k + 1/2)/2³¹)) for 31; near zero, up to a float of the uniform."""
    random = np.random.default_rng(5)
    tops = random.integers(0, 2**26, 100_000, dtype=WORD) >> random.integers(0, 26, 100_000, dtype=WORD)
    tops = np.concatenate([tops, WORD(2**26 - 1) - tops, WORD([0, 2**26 - 1])])
    zero = np.zeros_like(tops)
    z0, z1, *_ = loops("normals", "normal_sextet", *SEXTET)(tops << WORD(6) | WORD(63), zero, zero, zero)
    uniform = (tops + 0.5) / 2**26
    half_square = (z0.astype(np.float64) ** 2 + z1.astype(np.float64) ** 2) / 2
    np.testing.assert_allclose(half_square, -np.log(uniform), rtol=2e-6, atol=4e-8)
    p0, p1 = loops("normals", "normal_pair", SINGLE, SINGLE)(tops << WORD(6) | WORD(63), zero)
    half_square = (p0.astype(np.float64) ** 2 + p1.astype(np.float64) ** 2) / 2
    np.testing.assert_allclose(half_square, -np.log(((tops * 32.0 + 31) + 0.5) / 2**31), rtol=2e-6, atol=4e-8)


def test_complementing_words_changes_signs_only(words: Array, loops: Any) -> None:
    w0, w1, w2, w3 = words[:, :10_000]
    pair = loops("normals", "normal_pair", SINGLE, SINGLE)
    np.testing.assert_array_equal(pair(w0, ~w1), np.negative(pair(w0, w1)))
    sextet = loops("normals", "normal_sextet", *SEXTET)
    low = WORD(63)
    np.testing.assert_array_equal(sextet(w0 ^ low, w1 ^ low, w2 ^ low, ~w3), np.negative(sextet(w0, w1, w2, w3)))
    inverse = loops("normals", "normal_from_uniform", SINGLE)
    np.testing.assert_array_equal(inverse(~w0), np.negative(inverse(w0)))


def test_the_inverse_distribution_function(loops: Any) -> None:
    random = np.random.default_rng(7)
    lower = np.concatenate(
        [
            np.arange(2**15),
            2**31 - 1 - np.arange(2**15),
            np.arange(0, 2**31, 2**15 - 1),
            np.exp2(31 * random.random(2**15)).astype(np.int64) % 2**31,
        ]
    ).astype(WORD)
    inverse = loops("normals", "normal_from_uniform", SINGLE)
    for points in (lower, ~lower):
        (found,) = inverse(points)
        exact = ndtri((points + 0.5) / 2**32)
        assert np.abs(found / exact - 1).max() < 5e-7
        assert np.abs(found - exact).max() < 2e-6
        few = points[::401]
        plain = np.array([normals.normal_from_uniform(point) for point in few])
        assert plain.dtype == SINGLE
        assert np.abs(plain / exact[::401] - 1).max() < 5e-7


def test_no_word_is_out_of_range(loops: Any) -> None:
    corners = np.array(list(itertools.product(CORNERS, repeat=4)), WORD).T.copy()
    sextets = np.array(loops("normals", "normal_sextet", *SEXTET)(*corners))
    pairs = np.array(loops("normals", "normal_pair", SINGLE, SINGLE)(*corners[:2]))
    single = np.array(loops("normals", "normal_from_uniform", SINGLE)(corners[0]))
    for found, bound in ((sextets, 6.12), (pairs, 6.67), (single, 6.34)):
        assert np.isfinite(found).all()
        assert bound - 0.01 < np.abs(found).max() < bound


def test_plain_python_gives_the_same_numbers(loops: Any) -> None:
    rows = np.array([*itertools.product(CORNERS[::3], repeat=4)], WORD)
    compiled = np.array(loops("normals", "normal_sextet", *SEXTET)(*rows.T)).T
    for row, expected in zip(rows, compiled, strict=True):
        found = normals.normal_sextet(*row)
        assert [type(z) for z in found] == SEXTET
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    pairs = np.array(loops("normals", "normal_pair", SINGLE, SINGLE)(*rows[:, :2].T)).T
    for row, expected in zip(rows[::7], pairs[::7], strict=True):
        np.testing.assert_allclose(normals.normal_pair(*row[:2]), expected, rtol=1e-6, atol=1e-6)
