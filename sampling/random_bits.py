"""Random bits one word at a time: Philox4x32-10 for seeding, xoshiro128++ for the streams.

Functions of scalars, the same on a CPU, on a GPU and in plain Python. Every integer result is cast to its own width,
since compilers of NumPy code would otherwise widen it to 64 bits and lose half of the lanes. Sums are taken in 64 bits
and cut to 32, so that they wrap without a warning; compiled, that is one 32-bit addition.

Sources: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011),
section 3.3; D. Blackman, S. Vigna, Scrambled linear pseudorandom number generators (ACM TOMS 47, 2021).
"""

import numpy as np

_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
_PHILOX_FACTOR_0 = np.uint64(0xD2511F53)
_PHILOX_FACTOR_1 = np.uint64(0xCD9E8D57)
_PHILOX_STEP_0 = np.uint64(0x9E3779B9)
_PHILOX_STEP_1 = np.uint64(0xBB67AE85)
_NO_WORD = np.uint32(0)
_STATE_INSTEAD_OF_ZERO = np.uint32(0x9E3779B9)


def philox(
    c0: np.uint32, c1: np.uint32, c2: np.uint32, c3: np.uint32, k0: np.uint32, k1: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    """Philox4x32-10: four random words for the counter (c0, c1, c2, c3) under the key (k0, k1).

    A bijection of counters for every key (Salmon et al. 2011, section 3.3), so distinct counters never collide.

    >>> words = philox(*(np.uint32(0) for _ in range(6)))
    >>> [f"{word:08x}" for word in words]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    a0 = np.uint64(c0)
    a1 = np.uint64(c1)
    a2 = np.uint64(c2)
    a3 = np.uint64(c3)
    b0 = np.uint64(k0)
    b1 = np.uint64(k1)
    for _ in range(10):
        first = np.uint64(a0 * _PHILOX_FACTOR_0)
        second = np.uint64(a2 * _PHILOX_FACTOR_1)
        a0 = np.uint64(np.uint64(second >> _WORD_BITS) ^ a1 ^ b0)
        a1 = np.uint64(second & _LOW_WORD)
        a2 = np.uint64(np.uint64(first >> _WORD_BITS) ^ a3 ^ b1)
        a3 = np.uint64(first & _LOW_WORD)
        b0 = np.uint64(np.uint64(b0 + _PHILOX_STEP_0) & _LOW_WORD)
        b1 = np.uint64(np.uint64(b1 + _PHILOX_STEP_1) & _LOW_WORD)
    return np.uint32(a0), np.uint32(a1), np.uint32(a2), np.uint32(a3)


def _word_sum(a: np.uint32, b: np.uint32) -> np.uint32:
    """a + b modulo 2³²."""
    return np.uint32(np.uint64(np.uint64(a) + np.uint64(b)) & _LOW_WORD)


def next_word(
    s0: np.uint32, s1: np.uint32, s2: np.uint32, s3: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32, np.uint32]:
    """xoshiro128++: a random word and the state (s0, s1, s2, s3) after it (Blackman & Vigna 2021).

    The period is 2¹²⁸ - 1; the state must not be all zero.

    >>> word, *state = next_word(*(np.uint32(word) for word in (1, 2, 3, 4)))
    >>> int(word), [int(word) for word in state]
    (641, [7, 0, 1026, 12288])
    """
    total = _word_sum(s0, s3)
    turned = np.uint32(np.uint32(total << np.uint32(7)) | np.uint32(total >> np.uint32(25)))
    word = _word_sum(turned, s0)
    shifted = np.uint32(s1 << np.uint32(9))
    third = np.uint32(s2 ^ s0)
    fourth = np.uint32(s3 ^ s1)
    n1 = np.uint32(s1 ^ third)
    n0 = np.uint32(s0 ^ fourth)
    n2 = np.uint32(third ^ shifted)
    n3 = np.uint32(np.uint32(fourth << np.uint32(11)) | np.uint32(fourth >> np.uint32(21)))
    return word, n0, n1, n2, n3


def stream(
    chain: np.uint64, purpose: np.uint32, seed_low: np.uint32, seed_high: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    """State of the xoshiro128++ stream that a chain has for a purpose, under a seed of 64 bits.

    It is Philox of the counter (chain, purpose, 0) with the seed as the key: states of different chains or purposes
    are distinct, and two streams of n words overlap with probability at most 2n/2¹²⁸. The one state that xoshiro128++
    cannot leave, all zero, is replaced by a fixed other one.

    >>> state = stream(np.uint64(7), np.uint32(0), np.uint32(1), np.uint32(0))
    >>> state == stream(np.uint64(8), np.uint32(0), np.uint32(1), np.uint32(0))
    False
    """
    chain_low = np.uint32(np.uint64(chain & _LOW_WORD))
    chain_high = np.uint32(np.uint64(chain >> _WORD_BITS))
    s0, s1, s2, s3 = philox(chain_low, chain_high, purpose, _NO_WORD, seed_low, seed_high)
    last = _STATE_INSTEAD_OF_ZERO if np.uint32(s0 | s1 | s2 | s3) == _NO_WORD else s3
    return s0, s1, s2, last
