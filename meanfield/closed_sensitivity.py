"""How far inputs reach in the untied regime, in closed maps: S(0) of the step that reads them (theory, section 4).

The adjoint a of the state of a step is made by later steps, whose weights and gates are independent of all that the
step read. So E a² grows by χ_1 for every step back, S(τ) = χ_1^τ S(0), and S(0) is the sensitivity of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_moments import ClosedLaw
from meanfield.closed_step import ClosedStep, carrier_average
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]
Moved = Sequence[tuple[ClosedLaw, float]]

_POOR = 0.1  # relative error above which something is not a number


def closed_sensitivity(law: ClosedLaw, moved: Moved | None = None) -> Estimate:
    """S(0) = E‖∂s_T/∂x_T‖²/N, by quadrature.

    With ψ_c the mean square of the adjoint of carrier c for an adjoint of the new state of mean square one,

        ψ_c = Σ_k σ_k² (E A_k² + Σ_c' E Q_c'k² ψ_c'),    S(0) = Σ_g ν_g² (E B_g² + Σ_c E R_cg² ψ_c),

    the first sum over the fields k that read c, and B_g and R_cg the slopes of the new state and of c in the drive of
    gate g.

    Args:
        law: of the state.
        moved: :meth:`ClosedLaw.moved`, where it is known.

    Returns:
        S(0) with a bound on its error.

    Raises:
        NotConverged: if rounding is all that is left of it, as in saturated networks.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> relu = mf.Network("vanilla_relu", {"h": mf.Gate(recurrent_gain=1.0, input_gain=0.6)})
    >>> closed_sensitivity(closed_law(relu)).value.__round__(15)  # 0.6² for the half of the units that pass it on
    0.18
    """
    found = of_law(law, lambda each: _sensitivity(each.step, *_moments(each)), moved)
    if found.error > _POOR * found.value:
        raise NotConverged(
            "the input sensitivity is too small beside the terms that it is the sum of; change the biases"
        )
    return found


def of_law(law: ClosedLaw, number: Callable[[ClosedLaw], Bounded], moved: Moved | None = None) -> Estimate:
    """A number that follows from a law, with what the law's own errors make of it."""
    found = number(law)
    others = law.moved() if moved is None else moved
    off = sum(share * abs(float(number(other).value - found.value)) for other, share in others)
    return Estimate(float(found.value), float(found.error) + off)


def _moments(law: ClosedLaw) -> tuple[Bounded, Bounded]:
    return bounded(law.mean.value), bounded(law.second_moment.value)


def squared_slopes(step: ClosedStep, mean: Bounded, square: Bounded, name: str) -> list[Bounded]:
    """Mean squares of the slopes of all carriers and of the new state in one Gaussian variable, (carriers + 1,)."""
    group = step.group_of(name)
    matrices = step.with_matrix(group, step.groups[group].slope_moments(name))
    return [carrier_average(each, mean, square, matrices, group) for each in (*step.cell.carriers, step.cell.update)]


def _sensitivity(step: ClosedStep, mean: Bounded, square: Bounded) -> Bounded:
    cell, network = step.cell, step.network
    inputs = {f"drive {name}": network.gates[name].input_gain ** 2 for name in network.definition.input_gates}
    powers = [sum(inputs.get(member, 0.0) for member in members) for members in cell.noises.values()]
    slopes = [
        squared_slopes(step, mean, square, name) if power > 0.0 or gains.any() else None
        for name, power, gains in zip(cell.noises, powers, step.squared_gains, strict=True)
    ]
    return sensitivity_of_slopes(slopes, step.squared_gains, np.array(powers))


def sensitivity_of_slopes(slopes: Sequence[Sequence[Bounded] | None], gains: Float64, powers: Float64) -> Bounded:
    """S(0) of one network, or of many in the last axis of everything.

    Args:
        slopes: of every Gaussian variable, mean squares of the slopes of all carriers and of the new state in it; None
            where it reads neither fields nor inputs.
        gains: how much of every carrier's mean square is in every variable's variance, (variables, carriers, …).
        powers: ν² of what inputs add to every variable, (variables, …).
    """
    adjoints = [bounded(0.0)] * gains.shape[1] + [bounded(1.0)]

    def reached(variable: int) -> Bounded:
        """E of the squared adjoint of a variable."""
        total = bounded(0.0)
        for slope, adjoint in zip(slopes[variable] or (), adjoints, strict=True):
            if np.any(adjoint.magnitude) and np.any(slope.magnitude):
                total = total + slope * adjoint
        return total

    # Later carriers first: an earlier one acts through the fields that read it.
    for carrier in reversed(range(gains.shape[1])):
        for variable, gain in enumerate(gains[:, carrier]):
            if np.any(gain):
                adjoints[carrier] = adjoints[carrier] + reached(variable) * gain
    found = bounded(np.zeros(powers.shape[1:]))
    for variable, power in enumerate(powers):
        if np.any(power):
            found = found + reached(variable) * power
    return found
