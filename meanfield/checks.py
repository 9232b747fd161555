"""Checks of single arguments; errors name the argument, its value and what is allowed."""

from __future__ import annotations

import math

import numpy as np

from meanfield.errors import InvalidInput


def check_count(name: str, value: object, lowest: int) -> None:
    """Check that a value is a whole number of at least ``lowest``.

    Raises:
        InvalidInput: if it is not.

    >>> check_count("length", 0, 1)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: length: must be a whole number of at least 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise InvalidInput(f"{name}: must be a whole number of at least {lowest}, got {value!r}")


def check_number(name: str, value: object, lowest: float, highest: float) -> None:
    """Check that a value is a finite number in a range, its ends included.

    Raises:
        InvalidInput: if it is not.

    >>> check_number("overlap", 2.0, -1.0, 1.0)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: overlap: must be from -1 to 1, got 2.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"{name}: must be a finite number, got {value!r}")
    if not lowest <= value <= highest:
        allowed = f"at least {lowest:g}" if highest == math.inf else f"from {lowest:g} to {highest:g}"
        raise InvalidInput(f"{name}: must be {allowed}, got {value!r}")
