"""The slope of a function that is known to within errors, from secants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_STEP = 1e-4  # of the scale: rounding over the step and the square of the step are then equally small
_LEAST = 1e-9  # of the scale, below which a side has no room for secants


@dataclass(frozen=True)
class Slope:
    """A slope; at a kink the mean of both sides, with an error that spans them."""

    value: float
    error: float


def secant_slope(
    function: Callable[[float], tuple[float, float]], place: float, low: float, high: float, *, scale: float
) -> Slope:
    """Slope of a function at a place between ``low`` and ``high``, from values between them only.

    Args:
        function: gives a value and a bound on its error.
        place: where.
        low, high: between which the function exists.
        scale: distance over which the function changes.

    Returns:
        From parabolas on both sides, with what these differ by from each other, from the plain secant, and what errors
        of the values make up; the error is infinite where there is no room.

    >>> found = secant_slope(lambda x: (x**3, 1e-16), 1.0, 0.0, 3.0, scale=1.0)
    >>> abs(found.value - 3.0) < found.error < 1e-6
    True
    >>> kink = secant_slope(lambda x: (abs(x), 0.0), 0.0, -1.0, 1.0, scale=1.0)
    >>> round(kink.value, 9), kink.error >= 1.0
    (0.0, True)
    """
    centre, noise = function(place)
    noise = max(noise, float(np.spacing(abs(centre))))
    rooms = [(room, sign) for room, sign in ((place - low, -1.0), (high - place, 1.0)) if room >= _LEAST * scale]
    if not rooms:
        return Slope(0.0, np.inf)
    step = min(_STEP * scale, *(0.5 * room for room, _ in rooms))
    secants, parabolas, rounding = [], [], 0.0
    for _, sign in rooms:
        (near, near_error), (far, far_error) = (function(place + sign * times * step) for times in (1.0, 2.0))
        secants.append(sign * (near - centre) / step)
        parabolas.append(sign * (-3.0 * centre + 4.0 * near - far) / (2.0 * step))
        rounding = max(rounding, (3.0 * noise + 4.0 * near_error + far_error) / (2.0 * step))
    value = sum(parabolas) / len(parabolas)
    apart = max(parabolas) - min(parabolas)
    return Slope(value, apart + abs(value - sum(secants) / len(secants)) + rounding)
