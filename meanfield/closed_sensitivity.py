"""How far inputs reach in the untied regime, in closed maps: S(0) of the step that reads them (theory, section 4).

The adjoint a of the state of a step is made by later steps, whose weights and gates are independent of all that the
step read. So E a² grows by χ_1 for every step back, S(τ) = χ_1^τ S(0), and S(0) is the sensitivity of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meanfield.closed_moments import ClosedLaw
from meanfield.closed_step import ClosedStep, carrier_average
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

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
    powers = {name: sum(inputs.get(member, 0.0) for member in members) for name, members in cell.noises.items()}
    slopes = {
        name: squared_slopes(step, mean, square, name)
        for name, gains in zip(cell.noises, step.squared_gains, strict=True)
        if powers[name] > 0.0 or gains.any()
    }
    adjoints = [bounded(0.0) for _ in cell.carriers] + [bounded(1.0)]
    # Later carriers first: an earlier one acts through the fields that read it.
    for carrier in reversed(range(len(cell.carriers))):
        for name, gain in zip(cell.noises, step.squared_gains[:, carrier].tolist(), strict=True):
            if gain > 0.0:
                adjoints[carrier] = adjoints[carrier] + gain * _through(slopes[name], adjoints)
    total = bounded(0.0)
    for name, power in powers.items():
        if power > 0.0:
            total = total + power * _through(slopes[name], adjoints)
    return total


def _through(slopes: Sequence[Bounded], adjoints: Sequence[Bounded]) -> Bounded:
    """E of the squared adjoint of a variable."""
    total = bounded(0.0)
    for slope, adjoint in zip(slopes, adjoints, strict=True):
        if adjoint.magnitude > 0.0 and slope.magnitude > 0.0:
            total = total + slope * adjoint
    return total
