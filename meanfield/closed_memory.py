"""The direct path through the keep gate in the untied regime, E Π f² and its spread, by quadrature (theory, section 4).

Gates are independent from step to step, so that both are powers: (E f²)^T and (E f⁴/(E f²)²)^T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from meanfield.closed_cells import Term
from meanfield.closed_moments import ClosedLaw, forgotten
from meanfield.closed_products import StepForms, times
from meanfield.closed_sensitivity import Moved, of_law
from meanfield.closed_step import pair_average
from meanfield.estimate import Estimate, Profile
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

_ROUNDING = 1e-15


@dataclass(frozen=True)
class MemoryPath:
    """One step of the direct path; errors are bounds.

    Attributes:
        log_square: log E f².
        log_spread: log E f⁴/(E f²)².
    """

    log_square: Estimate
    log_spread: Estimate

    def profile(self, length: int) -> Profile:
        """E Π f² over the last τ steps, τ = 0 … ``length``."""
        lags = np.arange(length + 1)
        off = (self.log_square.error + _ROUNDING * abs(self.log_square.value)) * lags
        logarithms = np.zeros(length + 1)
        logarithms[1:] = self.log_square.value * lags[1:]
        return Profile(lags, logarithms, np.expm1(off))

    def spread(self, length: int) -> Estimate:
        """E Π f⁴/(E Π f²)² over ``length`` steps, infinite where it is beyond the range of numbers."""
        logarithm = length * self.log_spread.value
        if logarithm > 700.0:
            return Estimate(math.inf, 0.0)
        value = math.exp(logarithm)
        return Estimate(value, value * math.expm1(min(length * self.log_spread.error, 700.0)) + _ROUNDING * value)


def closed_memory(law: ClosedLaw, moved: Moved | None = None) -> MemoryPath | None:
    """The direct path of a cell with a keep gate; None without one, or where the gate lets nothing pass.

    Args:
        law: of the state.
        moved: :meth:`ClosedLaw.moved`, where it is known.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> half = mf.Network("janet", {"f": mf.Gate(), "g": mf.Gate(input_gain=1.0)})  # f = 1/2
    >>> closed_memory(closed_law(half)).profile(3).at(3).value.__round__(12)
    0.015625
    """
    if law.network.definition.keep_gate is None or float(_square(law).value) == 0.0:
        return None
    moved = law.moved() if moved is None else moved
    return MemoryPath(of_law(law, _log_square, moved), of_law(law, _log_spread, moved))


def _square(law: ClosedLaw) -> Bounded:
    keep = law.step.cell.update[1]
    return pair_average(keep, keep, law.step.moments)


def _log_square(law: ClosedLaw) -> Bounded:
    """log E f², from 1 - E f² where that keeps more digits."""
    square, gone = _square(law), forgotten(law.step)[1]
    if gone.value < 0.5:
        return _logged(math.log1p(-float(gone.value)), float(gone.error / (1.0 - gone.value)))
    return _logged(math.log(square.value), float(square.error / square.value))


def _log_spread(law: ClosedLaw) -> Bounded:
    step, square = law.step, _square(law)
    forms = StepForms(step)
    keep = forms.form(step.cell.update[1], None, 1.0 / math.sqrt(float(square.value)))
    one = forms.form((Term(1.0, (0,) * len(step.cell.groups)),))
    found = forms.matrix([times(keep, keep), times(one, one)])
    ratio = found[0, 0] / (found[0, 1] * found[0, 1])
    # It is never below one; at one all its digits are rounding.
    return _logged(max(0.0, math.log(ratio.value)), float(ratio.error / ratio.value))


def _logged(logarithm: float, share: float) -> Bounded:
    error = -math.log1p(-share) if share < 1.0 else math.inf
    return Bounded(bounded(logarithm).value, bounded(error + _ROUNDING * abs(logarithm)).value)
