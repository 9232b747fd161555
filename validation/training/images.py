"""Images of digits: scikit-learn's, which come with it, or MNIST's from files of one's own."""

from __future__ import annotations

import gzip
import importlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from meanfield.errors import InvalidInput
from meanfield.validation.training.batches import Part

Float32 = NDArray[np.float32]

CLASSES = 10
_MAGIC = {1: 2049, 3: 2051}  # of IDX files of bytes, by their number of axes
_HELD_OUT_DIGITS = 360


@dataclass(frozen=True)
class Images:
    """Images of mean 0 and mean square 1 over the training part, and what they show.

    Attributes:
        training, held_out: (images, side, side), float32.
        training_labels, held_out_labels: (images,), int64.
    """

    training: Float32
    training_labels: NDArray[np.int64]
    held_out: Float32
    held_out_labels: NDArray[np.int64]

    def draw(self, generator: np.random.Generator, count: int, part: Part) -> tuple[Float32, NDArray[np.int64]]:
        """Some images and their labels; held-out ones without repetition, so perhaps fewer."""
        if part == "training":
            chosen = generator.integers(0, len(self.training), count)
            return self.training[chosen], self.training_labels[chosen]
        chosen = generator.permutation(len(self.held_out))[:count]
        return self.held_out[chosen], self.held_out_labels[chosen]

    def resized(self, side: int) -> Images:
        """The same images with ``side`` by ``side`` pixels, interpolated linearly."""
        training, held_out = _zoomed(self.training, side), _zoomed(self.held_out, side)
        return _standardised(training, held_out, self.training_labels, self.held_out_labels)


@lru_cache(maxsize=2)
def digit_images(mnist: Path | None = None) -> Images:
    """Images of digits: of 8 by 8 pixels from scikit-learn, or MNIST's of 28 by 28.

    Args:
        mnist: a folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, each as it is or with ``.gz``.

    Raises:
        InvalidInput: if a file is missing or broken, or scikit-learn is needed and not installed.
    """
    if mnist is None:
        return _own_digits()
    training, held_out = (_read_idx(mnist / f"{part}-images-idx3-ubyte", 3) for part in ("train", "t10k"))
    labels, held_out_labels = (_read_idx(mnist / f"{part}-labels-idx1-ubyte", 1) for part in ("train", "t10k"))
    for name, images, shown in (("train", training, labels), ("t10k", held_out, held_out_labels)):
        if len(images) != len(shown) or len(shown) == 0 or np.max(shown) >= CLASSES:
            raise InvalidInput(f"{mnist}: {name}: {len(images)} images do not go with {len(shown)} labels from 0 to 9")
    return _standardised(training, held_out, labels.astype(np.int64), held_out_labels.astype(np.int64))


def _own_digits() -> Images:
    try:
        # By name: scikit-learn is not typed, and only an extra needs it.
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise InvalidInput(
            "images: need scikit-learn, which is not installed; run \"pip install 'meanfield-rnn[training]'\", "
            "or give MNIST's files"
        ) from None
    loaded = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.images))
    images, labels = loaded.images[order], loaded.target[order].astype(np.int64)
    last = slice(len(images) - _HELD_OUT_DIGITS, None)
    first = slice(0, len(images) - _HELD_OUT_DIGITS)
    return _standardised(images[first], images[last], labels[first], labels[last])


def _standardised(
    training: NDArray[Any], held_out: NDArray[Any], labels: NDArray[np.int64], others: NDArray[np.int64]
) -> Images:
    mean, spread = float(np.mean(training, dtype=np.float64)), float(np.std(training, dtype=np.float64))
    if spread == 0.0:
        raise InvalidInput("images: are all of one shade")
    scaled, held = (((part.astype(np.float32) - mean) / spread).astype(np.float32) for part in (training, held_out))
    return Images(scaled, labels, held, others)


def _zoomed(images: Float32, side: int) -> Float32:
    factor = side / images.shape[1]
    return np.asarray(zoom(images, (1.0, factor, factor), order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def _read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Bytes of an IDX file: a big-endian magic number, the sizes of the axes, the bytes."""
    found = next((each for each in (path, path.with_name(path.name + ".gz")) if each.is_file()), None)
    if found is None:
        raise InvalidInput(f"{path}: cannot be read: there is no such file, with or without .gz")
    try:
        raw = found.read_bytes()
        content = gzip.decompress(raw) if found.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise InvalidInput(f"{found}: cannot be read: {error}") from error
    header = np.frombuffer(content[: 4 * (1 + axes)], dtype=">u4") if len(content) >= 4 * (1 + axes) else np.zeros(1)
    if header[0] != _MAGIC[axes]:
        raise InvalidInput(f"{found}: must be an IDX file of bytes with {axes} axes, got another magic number")
    shape = tuple(int(size) for size in header[1:])
    body = content[4 * (1 + axes) :]
    if len(body) != math.prod(shape):
        raise InvalidInput(f"{found}: must hold {math.prod(shape)} bytes after its header, got {len(body)}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
