"""How networks are trained: one set of settings for all initialisations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from meanfield.checks import check_count, check_number

Cell = Literal["lstm", "gru_reset_after"]


@dataclass(frozen=True)
class Settings:
    """Of the optimiser and of what is measured.

    Attributes:
        learning_rate: of Adam.
        batch: sequences per iteration.
        clip: largest norm of the gradient.
        iterations: at most so many.
        evaluate_every: iterations between measurements on held-out sequences.
        held_out: how many of these.

    Raises:
        InvalidInput: if one is out of its range.
    """

    learning_rate: float = 1e-3
    batch: int = 64
    clip: float = 1.0
    iterations: int = 1500
    evaluate_every: int = 20
    held_out: int = 512

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, 1e-12, 1e30)
        check_number("clip", self.clip, 1e-12, math.inf)
        for name in ("batch", "iterations", "evaluate_every", "held_out"):
            check_count(name, getattr(self, name), 1)

    def as_json(self) -> dict[str, Any]:
        """The settings by name."""
        return {**vars(self), "learning_rate": float(self.learning_rate), "clip": float(self.clip)}
