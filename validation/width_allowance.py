"""How far a simulated network may be off because it is not as wide as the population behind the prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SINGLE_PRECISION = 0.002  # populations carry states in single precision and drop the faintest directions
_MOMENTS = 5.0  # a share of 5/N: 1 % at 512 units
_LAGS = 0.06  # and of 0.06 τ²/N: populations send gradients through matrices that forget the forward pass
_OTHER_LAGS = 0.3  # and of 0.3 τ² times the difference of the inverse widths
_LATEST = 20  # lags beyond which it grows no more
_EDGE = 0.6  # a share of 0.6/√N: the outermost of N eigenvalues is not the edge of their density


@dataclass(frozen=True)
class WidthAllowance:
    """Allowances in numbers and in natural logarithms.

    Predictions of groups of n units have corrections of order 1/n of their own, near those of a network of n units. So
    a share of 1/N is allowed, and more where the widths differ, for |1/N - 1/n|. Quadrature and moments of spectra are
    for the limit n → ∞, and so are drives of many inputs, of which a network has as many as units.

    Attributes:
        hidden: width N of the simulated networks.
        width: n, units of a group of the population.
        many_inputs: whether the prediction is for the limit of many inputs.
        exact: names of predictions that come without sampling.

    >>> allowed = WidthAllowance(hidden=512, width=512)
    >>> round(allowed.share("second_moment"), 3), round(allowed.share("gradient_profile", 20), 3)
    (0.012, 0.059)
    >>> round(WidthAllowance(hidden=512, width=256).share("gradient_profile", 20), 3)
    0.303
    """

    hidden: int
    width: int
    many_inputs: bool = False
    exact: tuple[str, ...] = ()

    def share(self, name: str, lag: int = 0) -> float:
        """Of a mean square, at a lag of the number of steps that it spans."""
        square = min(lag, _LATEST) ** 2
        own, other = _MOMENTS + _LAGS * square, _MOMENTS + _OTHER_LAGS * square
        return _SINGLE_PRECISION + own / self.hidden + other * self._apart(name)

    def growth(self, name: str, length: int) -> float:
        """Of the growth a step that is read off the second half of a profile."""
        return 2.0 * self.share(name, length) / max(length, 2)

    def edge(self, value: float) -> float:
        """Of the largest real part of an eigenvalue."""
        return abs(value) * _EDGE / math.sqrt(self.hidden)

    def counted(self) -> float:
        """Of a share of eigenvalues: one of them for every unit's share."""
        return 1.0 / self.hidden

    def is_exact(self, name: str) -> bool:
        """Whether a prediction comes without sampling, its error a bound."""
        return name in self.exact or (name.startswith("singular_values") and "singular_values" in self.exact)

    def _apart(self, name: str) -> float:
        limit = self.many_inputs or self.is_exact(name) or name == "singular_values"
        return 1.0 / self.hidden if limit else abs(1.0 / self.hidden - 1.0 / self.width)
