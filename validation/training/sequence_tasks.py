"""Tasks whose sequences are made on the spot: adding, copy, parity, recall and temporal order.

Sources: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997), experiments 4 to 6, for
adding and temporal order; M. Arjovsky, A. Shah, Y. Bengio, Unitary evolution recurrent neural networks (1511.06464),
for adding and copy as they are made here.
"""

from __future__ import annotations

import numpy as np

from meanfield.validation.training.batches import Batch, Part, Sketch, require_length

SYMBOLS = 8
COPIED = 5
BITS = 3


def adding(length: int) -> Sketch:
    """Two of T numbers from [0, 1] are marked, one in each half; their sum is to be said. M = 2: number, mark."""
    require_length("adding", length, 2)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        inputs = np.zeros((length, count, 2), dtype=np.float32)
        inputs[:, :, 0] = generator.random((length, count), dtype=np.float32)
        half, each = length // 2, np.arange(count)
        places = generator.integers(0, half, count), generator.integers(half, length, count)
        total = np.zeros(count, dtype=np.float32)
        for place in places:
            inputs[place, each, 1] = 1.0
            total += inputs[place, each, 0]
        return Batch(inputs, total[None])

    # Saying 1 always errs by the variance of the sum, 2/12.
    return Sketch(input_size=2, outputs=1, chance=1.0 / 6.0, threshold=0.02, signal=length, draw=draw)


def copy(length: int) -> Sketch:
    """Five of eight symbols, then zeros; in the end, all of them in order, at once. M = 8.

    The usual task asks for one after the other, which is a test of counting as well: networks first learn which symbols
    there were, and stay there.
    """
    require_length("copy", length, COPIED)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        inputs = np.zeros((length, count, SYMBOLS), dtype=np.float32)
        symbols = generator.integers(0, SYMBOLS, (COPIED, count))
        inputs[np.arange(COPIED)[:, None], np.arange(count)[None], symbols] = 1.0
        return Batch(inputs, symbols)

    return Sketch(
        input_size=SYMBOLS,
        outputs=SYMBOLS,
        chance=1.0 / SYMBOLS,
        threshold=0.9,
        signal=COPIED,
        draw=draw,
        answers=COPIED,
    )


def delayed_parity(length: int) -> Sketch:
    """Three numbers of size 1/2 to 3/2, then zeros; in the end, whether an odd number was negative. M = 1."""
    require_length("delayed_parity", length, BITS)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        negative = generator.integers(0, 2, (BITS, count))
        inputs = np.zeros((length, count, 1), dtype=np.float32)
        inputs[:BITS, :, 0] = (1.0 - 2.0 * negative) * generator.uniform(0.5, 1.5, (BITS, count))
        return Batch(inputs, negative.sum(axis=0, keepdims=True) % 2)

    return Sketch(input_size=1, outputs=2, chance=0.5, threshold=0.95, signal=BITS, draw=draw)


def delayed_recall(length: int) -> Sketch:
    """A symbol at every step, one in the first tenth is marked and is to be said at the end. M = 9."""
    require_length("delayed_recall", length, 10)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        symbols = generator.integers(0, SYMBOLS, (length, count))
        inputs = np.zeros((length, count, SYMBOLS + 1), dtype=np.float32)
        each = np.arange(count)
        inputs[np.arange(length)[:, None], each[None], symbols] = 1.0
        place = generator.integers(0, length // 10, count)
        inputs[place, each, SYMBOLS] = 1.0
        return Batch(inputs, symbols[place, each][None])

    signal = length // 10
    return Sketch(
        input_size=SYMBOLS + 1, outputs=SYMBOLS, chance=1.0 / SYMBOLS, threshold=0.9, signal=signal, draw=draw
    )


def temporal_order(length: int) -> Sketch:
    """X or Y early, X or Y in the middle, among four other symbols; in the end, which of the four orders it was.

    M = 8: start, end, X, Y, and the other four.
    """
    require_length("temporal_order", length, 20)
    early, middle = (length // 10, length // 5), (length // 2, 3 * length // 5)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        symbols = generator.integers(4, 8, (length, count))
        symbols[0], symbols[-1] = 0, 1
        each = np.arange(count)
        chosen = generator.integers(0, 2, (2, count))
        for (first, last), choice in zip((early, middle), chosen, strict=True):
            symbols[generator.integers(first, last, count), each] = 2 + choice
        inputs = np.zeros((length, count, 8), dtype=np.float32)
        inputs[np.arange(length)[:, None], each[None], symbols] = 1.0
        return Batch(inputs, (2 * chosen[0] + chosen[1])[None])

    return Sketch(input_size=8, outputs=4, chance=0.25, threshold=0.9, signal=length, draw=draw)
