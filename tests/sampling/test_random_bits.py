"""Philox and xoshiro128++ against published vectors and independent implementations in Python's integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from meanfield.sampling import random_bits

WORD = np.uint32
MODULUS = 2**32
# The known answers of Random123 for philox4x32 with ten rounds: counter, key, result.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def philox_by_definition(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds of Salmon et al. 2011: multiply, swap halves, add the round's key."""
    left_0, right_0, left_1, right_1 = counter[1], counter[0], counter[3], counter[2]
    for number in range(10):
        k0 = (key[0] + number * 0x9E3779B9) % MODULUS
        k1 = (key[1] + number * 0xBB67AE85) % MODULUS
        high_0, low_0 = divmod(right_0 * 0xD2511F53, MODULUS)
        high_1, low_1 = divmod(right_1 * 0xCD9E8D57, MODULUS)
        right_0, left_0, right_1, left_1 = high_1 ^ left_0 ^ k0, low_1, high_0 ^ left_1 ^ k1, low_0
    return [right_0, left_0, right_1, left_1]


def rotated(x: int, k: int) -> int:
    return (x << k | x >> (32 - k)) % MODULUS


def xoshiro_by_definition(state: list[int]) -> Iterator[int]:
    """Blackman and Vigna's algorithm, line by line; the state is changed in place."""
    s = state
    while True:
        yield (rotated((s[0] + s[3]) % MODULUS, 7) + s[0]) % MODULUS
        t = (s[1] << 9) % MODULUS
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotated(s[3], 11)


def words(*numbers: int) -> tuple[np.uint32, ...]:
    return tuple(WORD(number) for number in numbers)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers_of_philox(counter: list[int], key: list[int], answer: list[int], loops: Any) -> None:
    found = random_bits.philox(*words(*counter, *key))
    assert [type(word) for word in found] == [WORD] * 4
    assert [int(word) for word in found] == answer == philox_by_definition(counter, key)
    compiled = loops("random_bits", "philox", *[WORD] * 4)(*(np.array([word], WORD) for word in (*counter, *key)))
    assert [int(word[0]) for word in compiled] == answer


def test_philox_compiled_is_its_definition(loops: Any) -> None:
    inputs = np.random.default_rng(1).integers(0, MODULUS, (6, 500), dtype=WORD)
    found = np.array(loops("random_bits", "philox", *[WORD] * 4)(*inputs)).T
    for row, result in zip(inputs.T.tolist(), found.tolist(), strict=True):
        assert result == philox_by_definition(row[:4], row[4:])


def test_first_words_of_xoshiro_by_hand() -> None:
    """From (1, 2, 3, 4): (1 + 4) 2⁷ + 1 = 641; then from (7, 0, 1026, 12288): (7 + 12288) 2⁷ + 7 = 1573767."""
    state = words(1, 2, 3, 4)
    found = []
    for _ in range(4):
        word, *state = random_bits.next_word(*state)
        found.append(int(word))
    assert found == [641, 1573767, 3222811527, 3517856514]


@pytest.mark.parametrize("state", [[1, 2, 3, 4], [0xFFFFFFFF] * 4, [0, 0, 0, 1], [0x80000000, 0, 0, 0]])
def test_xoshiro_is_its_definition(state: list[int]) -> None:
    found = words(*state)
    reference = xoshiro_by_definition(state)
    for _ in range(300):
        word, *found = random_bits.next_word(*found)
        assert [type(x) for x in (word, *found)] == [WORD] * 5
        assert int(word) == next(reference)


def test_xoshiro_compiled_is_its_definition(loops: Any) -> None:
    advance = loops("random_bits", "next_word", *[WORD] * 5)
    states = np.random.default_rng(2).integers(0, MODULUS, (4, 100), dtype=WORD)
    references = [xoshiro_by_definition(column) for column in states.T.tolist()]
    for _ in range(20):
        found, *states = advance(*states)
        assert found.tolist() == [next(reference) for reference in references]


def streams(loops: Any, chains: Any, purpose: int = 0, seed: int = 0) -> Any:
    fixed = [np.full(len(chains), word, WORD) for word in (purpose, seed % MODULUS, seed // MODULUS)]
    return np.array(loops("random_bits", "stream", *[WORD] * 4)(np.asarray(chains, np.uint64), *fixed))


def test_a_stream_starts_at_philox_of_chain_and_purpose(loops: Any) -> None:
    for chain, purpose, seed in [(0, 0, 0), (5, 1, 2**40 + 3), (2**64 - 1, 2**32 - 1, 2**64 - 1), (2**32, 7, 1)]:
        seed_words = words(seed % MODULUS, seed // MODULUS)
        found = random_bits.stream(np.uint64(chain), WORD(purpose), *seed_words)
        counter = [chain % MODULUS, chain // MODULUS, purpose, 0]
        expected = philox_by_definition(counter, [seed % MODULUS, seed // MODULUS])
        assert [int(word) for word in found] == expected
        assert streams(loops, [chain], purpose, seed)[:, 0].tolist() == expected


def test_streams_are_distinct(loops: Any) -> None:
    chains = np.arange(4096, dtype=np.uint64)
    states = [streams(loops, chains, purpose, seed) for purpose in (0, 1) for seed in (0, 1, 2**32)]
    states += [streams(loops, chains + np.uint64(2**32))]
    everything = np.concatenate(states, axis=1)
    assert len(np.unique(everything, axis=1).T) == everything.shape[1]


def test_a_zero_state_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No input is known that makes it; xoshiro128++ would stay there for ever."""
    zeros: Callable[..., tuple[np.uint32, ...]] = lambda *_: words(0, 0, 0, 0)  # noqa: E731
    monkeypatch.setattr(random_bits, "philox", zeros)
    state = random_bits.stream(np.uint64(1), WORD(0), WORD(0), WORD(0))
    assert any(int(word) for word in state)


def test_bits_of_neighbouring_streams_are_fair_and_independent(loops: Any) -> None:
    """Every bit of the first word is set in half of the chains, and equal to the next chain's in half."""
    chains = 2**16
    word, *_ = loops("random_bits", "next_word", *[WORD] * 5)(*streams(loops, np.arange(chains), seed=3))
    bits = word[:, None] >> np.arange(32, dtype=WORD) & WORD(1)
    bound = 4.5 * 0.5 / np.sqrt(chains)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=bound)
    np.testing.assert_allclose((bits[1:] == bits[:-1]).mean(axis=0), 0.5, atol=bound)
    np.testing.assert_allclose((bits[:, 1:] == bits[:, :-1]).mean(axis=0), 0.5, atol=bound)
