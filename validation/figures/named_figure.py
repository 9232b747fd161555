"""A figure by name: what computes its numbers, and what draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from meanfield.validation.figures.series import FigureData

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        seed: of everything random.
        small: a fraction of networks, widths and points: a sketch in seconds.
    """

    seed: int = 0
    small: bool = False

    def pick(self, full: Kind, small: Kind) -> Kind:
        """The one that belongs to the size.

        >>> Size().pick(512, 64), Size(small=True).pick(512, 64)
        (512, 64)
        """
        return small if self.small else full


@dataclass(frozen=True)
class NamedFigure:
    """A figure.

    Attributes:
        name: in commands and of its files.
        caption: one or two sentences: what one sees.
        compute: its numbers, from nothing but the size.
        draw: a Matplotlib figure of these numbers and no others.
        needs: packages that the numbers need, as ``pip`` names them.
    """

    name: str
    caption: str
    compute: Callable[[Size], FigureData]
    draw: Callable[[FigureData], Any]
    needs: tuple[str, ...] = ()
