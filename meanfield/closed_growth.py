"""Growth of gradients at identical inputs in the untied regime, in closed maps (theory, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from meanfield.closed_cells import Polynomial
from meanfield.closed_moments import ClosedLaw, forgotten
from meanfield.closed_step import carrier_average, pair_average
from meanfield.estimate import Estimate
from meanfield.growth import timescale_of
from meanfield.solvers.bounded_arithmetic import Bounded, bounded


@dataclass(frozen=True)
class ClosedGrowth:
    """How the mean square of a perturbation of the state grows or decays; errors are bounds.

    Attributes:
        chi: χ_1, growth per step at identical inputs.
        timescale: ξ = -1/log χ_1, None where χ_1 is not below 1.
    """

    chi: Estimate
    timescale: Estimate | None


def closed_growth(law: ClosedLaw) -> ClosedGrowth:
    """Growth of a perturbation of the state, by quadrature.

    With s ← D s + B and a perturbation of the state that is independent of it, E δ² grows by E[D²] and, through every
    Gaussian variable u, by E[(∂_u D s + ∂_u B)²] times what E δ² adds to the variance of u.

    Args:
        law: of the state.

    Returns:
        χ_1 and ξ, with bounds on their errors.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> small = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)})
    >>> closed_growth(closed_law(small, mf.Inputs(power=0.0))).chi.value
    0.25
    """
    found, lacking = _growth(law)
    moved = sum(share * abs(float(_growth(other)[0].value - found.value)) for other, share in law.moved())
    chi = Estimate(float(found.value), float(found.error) + moved)
    return ClosedGrowth(chi, slow_timescale(chi, float(lacking.value), float(lacking.error) + moved))


def slow_timescale(chi: Estimate, lacking: float, error: float) -> Estimate | None:
    """ξ = -1/log χ from 1 - χ where that is small; None where χ is not from 0 to 1.

    >>> slow_timescale(Estimate(1.0, 1e-16), 1e-20, 0.0)
    Estimate(value=1e+20, error=0.0)
    """
    if not 0.0 <= chi.value <= 1.0 or lacking <= 0.0:
        return None
    if chi.value < 0.5:
        return timescale_of(chi)
    scale = -1.0 / math.log1p(-lacking)
    return Estimate(scale, scale**2 * error / (1.0 - lacking))


def _growth(law: ClosedLaw) -> tuple[Bounded, Bounded]:
    """χ_1 and 1 - χ_1."""
    step = law.step
    mean, square = bounded(law.mean.value), bounded(law.second_moment.value)
    rises: dict[str, Bounded] = {}  # of the variances of variables with E δ²
    derived: dict[str, tuple[list[Bounded], int]] = {}

    def through_fields(formula: Polynomial) -> Bounded:
        found = bounded(0.0)
        for name, (matrices, group) in derived.items():
            found = found + carrier_average(formula, mean, square, matrices, group) * rises[name]
        return found

    for index, carrier in enumerate(step.cell.carriers):
        rise = pair_average(carrier[1], carrier[1], step.moments) + through_fields(carrier)
        for name, gain in zip(step.cell.noises, step.squared_gains[:, index], strict=True):
            if gain > 0.0 and np.any(rise.value):
                rises[name] = rises.get(name, bounded(0.0)) + gain * rise
                group = step.group_of(name)
                slopes = step.groups[group].slope_moments(name)
                derived.setdefault(name, (step.with_matrix(group, slopes), group))
    keep, through = step.cell.update[1], through_fields(step.cell.update)
    return pair_average(keep, keep, step.moments) + through, forgotten(step)[1] - through
