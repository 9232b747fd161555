"""Tasks on images of digits: rows or pixels, then padding; and one pixel at a time, in order or permuted.

Sources: Q. Le, N. Jaitly, G. Hinton, A simple way to initialize recurrent networks of rectified linear units
(1504.00941), for pixels in order and permuted; M. Chen, J. Pennington, S. Schoenholz (1806.05394), for padded digits.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from meanfield.validation.training.batches import Batch, Part, Sketch, require_length
from meanfield.validation.training.images import CLASSES, Float32, Images, digit_images

_PERMUTATION_SEED = 0
_SMALLEST_SIDE = 4
THRESHOLD = 0.8


def padded_digits(length: int, padding_power: float, mnist: Path | None) -> Sketch:
    """An image row by row, then noise or zeros; in the end, which digit it was. M is the width of a row."""
    images = digit_images(mnist)
    side = images.training.shape[1]
    return _padded("padded_digits", images, length, padding_power, steps=side, size=side)


def padded_pixels(length: int, padding_power: float, mnist: Path | None) -> Sketch:
    """An image pixel by pixel, then noise or zeros; in the end, which digit it was. M = 1."""
    images = digit_images(mnist)
    return _padded("padded_pixels", images, length, padding_power, steps=images.training[0].size, size=1)


def sequential_pixels(length: int, padding_power: float, mnist: Path | None) -> Sketch:
    """An image resized to at most T pixels, pixel by pixel, the few steps that are left blank. M = 1."""
    return _pixels("sequential_pixels", length, mnist, np.arange(length))


def permuted_pixels(length: int, padding_power: float, mnist: Path | None) -> Sketch:
    """The same with all T steps in another order, which is always the same one. M = 1."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(length)
    return _pixels("permuted_pixels", length, mnist, order)


def _padded(name: str, images: Images, length: int, padding_power: float, *, steps: int, size: int) -> Sketch:
    require_length(name, length, steps)
    scale = np.float32(math.sqrt(padding_power))

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        chosen, labels = images.draw(generator, count, part)
        inputs: Float32 = np.zeros((length, len(chosen), size), dtype=np.float32)
        inputs[:steps] = np.swapaxes(chosen.reshape(len(chosen), steps, size), 0, 1)
        if padding_power > 0.0:
            noise = generator.standard_normal((length - steps, len(chosen), size), dtype=np.float32)
            inputs[steps:] = scale * noise
        return Batch(inputs, labels[None])

    return Sketch(input_size=size, outputs=CLASSES, chance=1.0 / CLASSES, threshold=THRESHOLD, signal=steps, draw=draw)


def _pixels(name: str, length: int, mnist: Path | None, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Sketch:
    require_length(name, length, _SMALLEST_SIDE**2)
    side = math.isqrt(length)
    images = digit_images(mnist)
    images = images if side == images.training.shape[1] else images.resized(side)

    def draw(generator: np.random.Generator, count: int, part: Part) -> Batch:
        chosen, labels = images.draw(generator, count, part)
        inputs: Float32 = np.zeros((length, len(chosen), 1), dtype=np.float32)
        inputs[: side * side, :, 0] = chosen.reshape(len(chosen), -1).T
        return Batch(inputs[order], labels[None])

    return Sketch(input_size=1, outputs=CLASSES, chance=1.0 / CLASSES, threshold=THRESHOLD, signal=length, draw=draw)
