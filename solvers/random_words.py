"""Moments of sums of words in independent random matrices and diagonals, by all non-crossing partitions.

A word is X_0 W_1 X_1 … W_n X_n with diagonal matrices X whose entries are independent from unit to unit, and matrices W
whose law is invariant under rotations from both sides. As N → ∞ the trace of a product of words and their transposes is

    Σ over non-crossing partitions of the letters  Π_blocks κ(block)  Π_regions E[product of entries between blocks],

where a block has letters of one matrix only, in turn itself and its transpose. For Gaussian W only pairs count, κ = σ²;
other laws have κ_2 = m1 and κ_4 = m2 - 2 m1², with m_p = E tr (W Wᵀ)^p/N. Sums are made with whatever numbers the
averages are: fractions give exact moments.

Source: A. Nica and R. Speicher, Lectures on the Combinatorics of Free Probability (2006), lectures 11, 14 and 15.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import Any

Number = Any
"""What can be multiplied and added: a fraction, a float, a number of mpmath with its error."""

Region = tuple[str, ...]
"""Names of diagonal matrices that are multiplied, ascending."""

_Letter = tuple[str, bool]


@dataclass(frozen=True)
class Word:
    """X_0 W_1 X_1 … W_n X_n.

    Attributes:
        regions: names of the diagonals in X_0 … X_n, (n + 1,).
        matrices: names of W_1 … W_n, (n,).
    """

    regions: tuple[Region, ...]
    matrices: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """What a non-crossing partition contributes.

    Attributes:
        blocks: name of the matrix and number of letters of every block, ascending.
        regions: products of diagonals that are averaged, each by itself, ascending.
    """

    blocks: tuple[tuple[str, int], ...]
    regions: tuple[Region, ...]


def partitions(words: Sequence[Word], order: int, largest: int = 2) -> Counter[Partition]:
    """All non-crossing partitions of tr (J Jᵀ)^order/N for J = Σ words, with their multiplicities.

    Args:
        words: the terms of J.
        order: of the moment.
        largest: number of letters of the largest block: 2 for Gaussian matrices, an even number otherwise.

    Raises:
        ValueError: if a word has no region between two of its matrices, or the order is not positive.

    >>> ginibre = Word(((), ()), ("W",))
    >>> sum(partitions([ginibre], 3).values())  # Catalan
    5
    """
    if order < 1 or any(len(word.regions) != len(word.matrices) + 1 for word in words):
        raise ValueError("moments are of positive orders, of words with one region more than matrices")
    total: Counter[Partition] = Counter()
    for chosen in product(words, repeat=2 * order):
        letters: list[_Letter] = []
        regions: list[list[str]] = [[]]
        for index, word in enumerate(chosen):
            sides = (word.regions, word.matrices) if index % 2 == 0 else (word.regions[::-1], word.matrices[::-1])
            regions[-1].extend(sides[0][0])
            for matrix, region in zip(sides[1], sides[0][1:], strict=True):
                letters.append((matrix, index % 2 == 1))
                regions.append(list(region))
        # The trace is cyclic: the region before the first letter follows the last one.
        start = regions.pop(0)
        if not regions:
            regions.append([])
        regions[-1].extend(start)
        total.update(_closed(tuple(letters), tuple(tuple(sorted(each)) for each in regions), largest))
    return total


def moment(
    words: Sequence[Word],
    order: int,
    average: Callable[[Region], Number],
    cumulants: Mapping[str, Sequence[Number]],
) -> Number:
    """tr (J Jᵀ)^order/N as N → ∞ for J = Σ words.

    Args:
        words: the terms of J.
        order: of the moment.
        average: E of the product of the entries of diagonals, of one unit; it is called with () for no diagonals too.
        cumulants: κ_2, κ_4, … of every matrix, as far as they are not zero.

    Returns:
        The moment, in the kind of number that averages and cumulants are; the number 0 if nothing contributes.

    Raises:
        ValueError: as :func:`partitions`.

    >>> from fractions import Fraction
    >>> chain = Word(((), (), (), ()), ("W1", "W2", "W3"))  # a product of three Gaussian matrices
    >>> gaussian = {name: [Fraction(1)] for name in ("W1", "W2", "W3")}
    >>> moment([chain], 2, lambda region: Fraction(1), gaussian)
    Fraction(4, 1)
    >>> turn = Word(((), ()), ("W",))  # an orthogonal matrix
    >>> moment([turn], 2, lambda region: Fraction(1), {"W": [Fraction(1), Fraction(-1)]})
    Fraction(1, 1)
    """
    largest = 2 * max((len(each) for each in cumulants.values()), default=1)
    known: dict[Region, Number] = {}
    total: Number = 0
    for partition, count in partitions(words, order, largest).items():
        if any(size // 2 > len(cumulants[name]) for name, size in partition.blocks):
            continue
        value: Number = count
        for name, size in partition.blocks:
            value = value * cumulants[name][size // 2 - 1]
        for region in partition.regions:
            if region not in known:
                known[region] = average(region)
            value = value * known[region]
        total = total + value
    return total


@lru_cache(maxsize=4096)
def _closed(letters: tuple[_Letter, ...], regions: tuple[Region, ...], largest: int) -> Counter[Partition]:
    """Partitions of a cyclic word; a region follows every letter, and there is one if there are no letters."""
    if not letters:
        return Counter({Partition((), regions): 1})
    found: Counter[Partition] = Counter()
    matrix = letters[0][0]
    alike = [place for place, letter in enumerate(letters) if place and letter[0] == matrix]
    for size in range(2, largest + 1, 2):
        for others in combinations(alike, size - 1):
            block = (0, *others)
            if any(letters[a][1] == letters[b][1] for a, b in zip(block, others, strict=False)):
                continue
            if any((b - a) % 2 == 0 for a, b in zip(block, others, strict=False)):
                continue  # an odd number of letters is left between two
            inside = [
                _closed(letters[a + 1 : b], _joined(regions[a:b]), largest)
                for a, b in zip(block, (*others, len(letters)), strict=True)
            ]
            for parts in product(*(each.items() for each in inside)):
                blocks: list[tuple[str, int]] = [(matrix, size)]
                between: list[Region] = []
                count = 1
                for part, times in parts:
                    blocks.extend(part.blocks)
                    between.extend(part.regions)
                    count *= times
                found[Partition(tuple(sorted(blocks)), tuple(sorted(between)))] += count
    return found


def _joined(regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Regions of a piece that is closed to a cycle: those at its two ends become one."""
    if len(regions) == 1:
        return regions
    return (*regions[1:-1], tuple(sorted((*regions[0], *regions[-1]))))
