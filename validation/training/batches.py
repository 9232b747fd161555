"""Batches of sequences, and what defines a task besides its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput

Part = Literal["training", "held out"]


class Batch(NamedTuple):
    """Sequences and what is to be said at their end.

    Attributes:
        inputs: (T, sequences, M), float32.
        targets: (answers, sequences): numbers of classes as int64, or numbers as float32.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[Any]


Draw = Callable[[np.random.Generator, int, Part], Batch]
"""Called as draw(generator, sequences, part); "held out" may give fewer sequences."""


@dataclass(frozen=True)
class Sketch:
    """What a task is made of; see :class:`meanfield.validation.training.tasks.Task`."""

    input_size: int
    outputs: int
    chance: float
    threshold: float
    signal: int
    draw: Draw
    answers: int = 1


def require_length(task: str, length: int, shortest: int) -> None:
    """Check that a task fits into so many steps.

    Raises:
        InvalidInput: if it does not.
    """
    if length < shortest:
        raise InvalidInput(f"length: {task} needs at least {shortest} steps, got {length}")
