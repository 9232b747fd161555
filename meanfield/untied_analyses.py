"""What quadrature and operators know of an analysis with weights redrawn at every step, in place of a population."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.closed_edge import closed_edge
from meanfield.closed_isometry import closed_isometry
from meanfield.closed_kick import closed_bias_response
from meanfield.closed_maps import FixedPoints, fixed_points
from meanfield.closed_memory import closed_memory
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_sensitivity import closed_sensitivity
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, Profile
from meanfield.gradient_profiles import Gradients
from meanfield.inputs import Inputs
from meanfield.jacobian_spectra import Spectra
from meanfield.network import Network
from meanfield.output_profile import output_profile
from meanfield.state_moments import Stationary

Float64 = NDArray[np.float64]
_Number = TypeVar("_Number")


@dataclass(frozen=True)
class UntiedTheory:
    """Numbers of an analysis without statistical errors, N → ∞.

    Attributes:
        found: moments, growth, overlaps.
        profile: G(τ) at lags 0 to the length.
        log_spread: log m2(T)/m1(T)². This and what follows is None where only a population knows it, as for LSTMs.
        second_moment_of_step: m2 of one step.
        sensitivity: S(τ) at lags 0 to the length.
        memory: E Π f² over the last τ steps, at lags 0 to the length; None also without a keep gate.
        memory_spread: E Π f⁴/(E Π f²)² over all steps; likewise.
        bias_response: E|δh_T|² for a constant unit Gaussian kick of all biases, lasting T + 1 steps as in stationary
            populations.
        eigenvalue_edge: largest real part of an eigenvalue of one step's Jacobian; None also where it depends on the
            width (:func:`meanfield.closed_edge.closed_edge`).
    """

    found: FixedPoints
    profile: Profile
    log_spread: Estimate | None = None
    second_moment_of_step: Estimate | None = None
    sensitivity: Profile | None = None
    memory: Profile | None = None
    memory_spread: Estimate | None = None
    bias_response: Estimate | None = None
    eigenvalue_edge: Estimate | None = None

    @property
    def length(self) -> int:
        """T."""
        return int(self.profile.lags[-1])

    @property
    def overlap(self) -> Estimate:
        """That which two sequences settle at."""
        return next(point.overlap for point in self.found.overlaps if point.reached)

    @property
    def isometry_defect(self) -> Estimate | None:
        """(log m1)² + log m2/m1² of T steps; infinite where nothing, or no number, is passed on."""
        if self.log_spread is None:
            return None
        logarithm, off = float(self.profile.log_values[-1]), float(self.profile.relative_errors[-1])
        if not math.isfinite(logarithm):
            return Estimate(math.inf, 0.0)
        error = 2.0 * abs(logarithm) * off + off**2 + self.log_spread.error
        return Estimate(logarithm**2 + self.log_spread.value, error)

    @property
    def names(self) -> tuple[str, ...]:
        """What of an analysis is replaced."""
        names = ["second_moment", "overlap", "chi", "timescale", "final_gradient", "gradient_profile"]
        if self.log_spread is not None:
            names += ["isometry_defect", "singular_values"]
        further = {
            "input_sensitivity": self.sensitivity,
            "memory_path": self.memory,
            "memory_spread": self.memory_spread,
            "bias_response": self.bias_response,
            "eigenvalue_edge": self.eigenvalue_edge,
        }
        return (*names, *(name for name, known in further.items() if known is not None))

    def states(self, sampled: Stationary) -> Stationary:
        """Moments of the output."""
        law = self.found.law
        return replace(sampled, second_moment=law.second_moment, mean=law.mean, overlap=self.overlap)

    def gradients(self, sampled: Gradients) -> Gradients:
        """Profiles and what follows from them."""
        growth, defect = self.found.growth, self.isometry_defect
        return replace(
            sampled,
            profile=self.profile,
            sensitivity=self.sensitivity if self.sensitivity is not None else sampled.sensitivity,
            memory=self.memory if self.memory is not None else sampled.memory,
            memory_spread=self.memory_spread if self.memory_spread is not None else sampled.memory_spread,
            chi=growth.chi,
            timescale=growth.timescale,
            first_moment=self.profile.at(self.length),
            log_spread=self.log_spread if self.log_spread is not None else sampled.log_spread,
            isometry_defect=defect if defect is not None else sampled.isometry_defect,
            bias_response=self.bias_response if self.bias_response is not None else sampled.bias_response,
            second_moment=self.found.law.second_moment,
        )

    def spectra(self, sampled: Spectra) -> Spectra:
        """Moments of the singular values of one step, and its eigenvalue edge; the scatter of edges stays."""
        found = sampled
        if self.second_moment_of_step is not None:
            found = replace(found, first_moment=self.found.growth.chi, second_moment=self.second_moment_of_step)
        if self.eigenvalue_edge is not None:
            found = replace(found, eigenvalue_edge=self.eigenvalue_edge)
        return found


def untied_theory(network: Network, inputs: Inputs, length: int) -> UntiedTheory | None:
    """What is known without sampling of a stationary network over ``length`` steps.

    Args:
        network: any.
        inputs: white; their overlap is that of two sequences.
        length: T, at least 1.

    Returns:
        None where nothing is known, and a population has to say everything: the cell's moments do not close, or one of
        its fixed points is not resolved.

    >>> import meanfield as mf
    >>> theory = untied_theory(mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 1.0)}), mf.Inputs(), 3)
    >>> round(theory.profile.at(3).value, 12), round(math.exp(theory.log_spread.value), 12)  # χ = 1/2, spread 1 + 2 T
    (0.125, 7.0)
    """
    try:
        return resolved_theory(network, inputs, length)
    except (InvalidInput, NotConverged):
        return None


def resolved_theory(network: Network, inputs: Inputs, length: int) -> UntiedTheory:
    """The same, with the reason where nothing is known.

    Raises:
        InvalidInput: if the cell's moments do not close, the inputs are not white, or the length is below 1.
        NotConverged: if the law of the state, its overlaps or its Jacobian's moments are not resolved.
    """
    check_count("length", length, 1)
    found = fixed_points(network, inputs)
    law = found.law
    if not isinstance(law, ClosedLaw):
        return UntiedTheory(found, output_profile(law, length))
    isometry, moved = closed_isometry(law, length=length), law.moved()
    memory = _if_resolved(lambda: closed_memory(law, moved))
    reads = _if_resolved(lambda: closed_sensitivity(law, moved))
    return UntiedTheory(
        found,
        profile=from_zero(isometry.first_moments),
        log_spread=isometry.log_spread,
        second_moment_of_step=isometry.second_moments.at(1),
        sensitivity=sensitivity_profile(reads, isometry.first_moments) if reads is not None else None,
        memory=memory.profile(length) if memory is not None else None,
        memory_spread=memory.spread(length) if memory is not None else None,
        bias_response=_if_resolved(lambda: closed_bias_response(law, length + 1, moved)),
        eigenvalue_edge=_if_resolved(lambda: closed_edge(law, moved)),
    )


def from_zero(profile: Profile) -> Profile:
    """A profile from lag 1 on with the lag 0, where nothing is between."""
    length = int(profile.lags[-1])
    return Profile(np.arange(length + 1), np.append(0.0, profile.log_values), np.append(0.0, profile.relative_errors))


def sensitivity_profile(of_step: Estimate, first_moments: Profile) -> Profile:
    """S(τ) = S(0) m1(τ) from lag 0 on.

    Args:
        of_step: S(0).
        first_moments: m1 from lag 1 on.

    >>> m1 = Profile(np.array([1, 2]), np.log([0.5, 0.25]), np.zeros(2))
    >>> sensitivity_profile(Estimate(3.0, 0.0), m1).values.round(12)
    array([3.  , 1.5 , 0.75])
    """
    growth = from_zero(first_moments)
    if of_step.value == 0.0:
        return replace(
            growth, log_values=np.full(len(growth.lags), -np.inf), relative_errors=np.zeros(len(growth.lags))
        )
    off = of_step.error / of_step.value
    rounding = 4e-16 * (1.0 + abs(math.log(of_step.value)))
    return replace(
        growth,
        log_values=math.log(of_step.value) + growth.log_values,
        relative_errors=off + growth.relative_errors * (1.0 + off) + rounding,
    )


def _if_resolved(number: Callable[[], _Number | None]) -> _Number | None:
    """A number that other ones do not need; None where it is not resolved."""
    try:
        return number()
    except NotConverged:
        return None
