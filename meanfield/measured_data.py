"""A few sequences of a data set: from an array, a NumPy file that is not read whole, or batches of a loader."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput

DRAWN = 64  # sequences taken from files and loaders; a population reads a few of them per group
Float32 = NDArray[np.float32]


def drawn_sequences(
    source: ArrayLike | str | os.PathLike[str] | Iterable[Any], *, most: int = DRAWN, seed: int = 0
) -> Float32:
    """Sequences × steps × inputs, in single precision.

    Args:
        source: an array, taken whole; a file in NumPy's .npy format, of which ``most`` sequences are read; or an
            iterable of batches, as PyTorch's DataLoader is, each (batch, steps, inputs) or a tuple that begins with
            that, of which the first ``most`` sequences are taken.
        most: sequences taken from a file or a loader.
        seed: of the choice of sequences from a file.

    Raises:
        InvalidInput: if the file cannot be read, or what is found does not have three axes, is empty, or is not made
            of finite real numbers.

    >>> drawn_sequences([(np.ones((2, 5, 3)), "labels"), (np.ones((2, 5, 3)), "labels")], most=3).shape
    (3, 5, 3)
    """
    check_count("most", most, 1)
    if isinstance(source, str | os.PathLike):
        return _checked(_from_file(Path(source), most, seed))
    if not isinstance(source, np.ndarray) and not hasattr(source, "__array__") and _is_loader(source):
        return _checked(_from_batches(source, most))
    return _checked(np.asarray(source))


def padded_sequences(data: Float32, *, length: int, padding_power: float, seed: int) -> Float32:
    """Sequences followed by white noise of a power up to a length.

    Raises:
        InvalidInput: if the sequences are longer, or the power is negative.
    """
    check_count("length", length, 1)
    check_number("padding_power", padding_power, 0.0, np.inf)
    sequences, steps, size = data.shape
    if steps > length:
        raise InvalidInput(f"length: must be at least the {steps} steps of the data to pad them, got {length}")
    noise = np.random.default_rng([seed, 77]).standard_normal((sequences, length - steps, size), dtype=np.float32)
    return np.concatenate([data, noise * np.float32(padding_power**0.5)], axis=1)


def _is_loader(source: Any) -> TypeGuard[Iterable[Any]]:
    """Whether this yields batches rather than being one array written as lists."""
    if not isinstance(source, list | tuple):
        return True
    return bool(source) and (isinstance(source[0], tuple) or getattr(source[0], "ndim", 0) == 3)


def _from_file(path: Path, most: int, seed: int) -> NDArray[Any]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InvalidInput(f"data: {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InvalidInput(f"data: {path}: is not an array in NumPy's .npy format: {error}") from error
    if not isinstance(mapped, np.ndarray):
        mapped.close()
        raise InvalidInput(f"data: {path}: holds several arrays; save the one of sequences × steps × inputs as .npy")
    if mapped.ndim != 3 or len(mapped) <= most:
        return np.array(mapped)
    chosen = np.sort(np.random.default_rng([seed, 78]).choice(len(mapped), size=most, replace=False))
    return np.array(mapped[chosen])


def _from_batches(batches: Iterable[Any], most: int) -> NDArray[Any]:
    taken: list[NDArray[Any]] = []
    for batch in batches:
        first = batch[0] if isinstance(batch, list | tuple) else batch
        detached = first.detach().cpu() if hasattr(first, "detach") else first
        array = np.asarray(detached)
        if array.ndim != 3:
            raise InvalidInput(f"data: batches must have the axes batch × steps × inputs, got shape {array.shape}")
        if taken and array.shape[1:] != taken[0].shape[1:]:
            raise InvalidInput(
                f"data: batches must have the same steps and inputs, got {taken[0].shape[1:]} and {array.shape[1:]}; "
                "pad them to one length"
            )
        taken.append(array)
        if sum(map(len, taken)) >= most:
            break
    if not taken:
        raise InvalidInput("data: must not be empty, got a loader without batches")
    return np.concatenate(taken)[:most]


def _checked(data: NDArray[Any]) -> Float32:
    if data.ndim != 3:
        raise InvalidInput(f"data: must have the axes sequences × steps × inputs, got shape {data.shape}")
    if min(data.shape) == 0:
        raise InvalidInput(f"data: must not be empty, got shape {data.shape}")
    if not (np.issubdtype(data.dtype, np.floating) or np.issubdtype(data.dtype, np.integer)):
        raise InvalidInput(f"data: must hold real numbers, got {data.dtype}")
    with np.errstate(over="ignore"):
        single = data.astype(np.float32)
    if not np.isfinite(single).all():
        raise InvalidInput(f"data: must be finite, got {np.count_nonzero(~np.isfinite(single))} entries that are not")
    return single
