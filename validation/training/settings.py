"""How networks are trained: one set of settings for all initialisations; and the cells that are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from meanfield.checks import check_count, check_number
from meanfield.svd import check_band, check_reflectors

Cell = Literal["lstm", "gru_reset_after", "vanilla"]


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


@dataclass(frozen=True)
class Band:
    """What ``spectral`` and ``spectral_recipe`` hold the singular values of a recurrent matrix in.

    Attributes:
        half_width: r; they stay between 1 - r and 1 + r.
        reflectors: of either orthogonal factor; N/4 by default, at least 1.

    Raises:
        InvalidInput: unless 0 < r < 1 and there is a reflector.

    >>> Band().at_width(64)
    Band(half_width=0.01, reflectors=16)
    """

    half_width: float = 0.01
    reflectors: int | None = None

    def __post_init__(self) -> None:
        check_band(1.0, self.half_width)
        if self.reflectors is not None:
            check_count("reflectors", self.reflectors, 1)

    def at_width(self, hidden: int) -> Band:
        """The same for N units, with the number of reflectors.

        Raises:
            InvalidInput: if there are more than N.
        """
        check_count("hidden", hidden, 1)
        count = max(1, hidden // 4) if self.reflectors is None else self.reflectors
        check_reflectors("reflectors", count, hidden)
        return Band(float(self.half_width), count)
