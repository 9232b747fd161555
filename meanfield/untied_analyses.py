"""What quadrature and operators know of an analysis with weights redrawn at every step, in place of a population."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_isometry import closed_isometry
from meanfield.closed_maps import FixedPoints, fixed_points
from meanfield.closed_moments import ClosedLaw
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, Profile
from meanfield.gradient_profiles import Gradients
from meanfield.inputs import Inputs
from meanfield.jacobian_spectra import Spectra
from meanfield.network import Network
from meanfield.output_profile import output_profile
from meanfield.state_moments import Stationary

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class UntiedTheory:
    """Numbers of an analysis without statistical errors.

    Attributes:
        found: moments, growth, overlaps.
        profile: G(τ) at lags 0 to the length.
        log_spread: log m2(T)/m1(T)²; None where only a population knows it: for LSTMs, and matrices that are not
            Gaussian.
        second_moment_of_step: m2 of one step; likewise.
    """

    found: FixedPoints
    profile: Profile
    log_spread: Estimate | None
    second_moment_of_step: Estimate | None

    @property
    def names(self) -> tuple[str, ...]:
        """What of an analysis is replaced."""
        names = ["second_moment", "overlap", "chi", "timescale", "final_gradient", "gradient_profile"]
        if self.log_spread is not None:
            names += ["isometry_defect", "singular_values"]
        return tuple(names)

    def states(self, sampled: Stationary) -> Stationary:
        """Moments of the output."""
        law = self.found.law
        overlap = next(point.overlap for point in self.found.overlaps if point.reached)
        return replace(sampled, second_moment=law.second_moment, mean=law.mean, overlap=overlap)

    def gradients(self, sampled: Gradients) -> Gradients:
        """Profiles and what follows from them."""
        length = int(self.profile.lags[-1])
        growth, first = self.found.growth, self.profile.at(length)
        spread, defect = sampled.log_spread, sampled.isometry_defect
        if self.log_spread is not None:
            spread = self.log_spread
            logarithm = float(self.profile.log_values[-1])
            off = float(self.profile.relative_errors[-1])
            if math.isfinite(logarithm):
                error = 2.0 * abs(logarithm) * off + off**2 + spread.error
                defect = Estimate(logarithm**2 + spread.value, error)
            else:
                defect = Estimate(math.inf, 0.0)
        return replace(
            sampled,
            profile=self.profile,
            chi=growth.chi,
            timescale=growth.timescale,
            first_moment=first,
            log_spread=spread,
            isometry_defect=defect,
            second_moment=self.found.law.second_moment,
        )

    def spectra(self, sampled: Spectra) -> Spectra:
        """Moments of the singular values of one step."""
        if self.second_moment_of_step is None:
            return sampled
        return replace(sampled, first_moment=self.found.growth.chi, second_moment=self.second_moment_of_step)


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
        found = fixed_points(network, inputs)
        law = found.law
        if not isinstance(law, ClosedLaw):
            return UntiedTheory(found, output_profile(law, length), None, None)
        isometry = closed_isometry(law, length=length)
    except (InvalidInput, NotConverged):
        return None
    first = isometry.first_moments
    from_zero = Profile(np.arange(length + 1), np.append(0.0, first.log_values), np.append(0.0, first.relative_errors))
    if network.matrices.name != "gaussian":
        return UntiedTheory(found, from_zero, None, None)
    return UntiedTheory(found, from_zero, isometry.log_spread, isometry.second_moments.at(1))
