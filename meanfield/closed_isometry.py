"""The spread of the singular values of T-step Jacobians in the untied regime, by quadrature (theory, sections 4 and 5).

With weights that are redrawn at every step, J = ∂s_T/∂s_0 is a product of independent random matrices along one
stationary trajectory. m1 = tr J Jᵀ/N is χ_1^T, and m2 = tr (J Jᵀ)²/N follows from a linear recursion in five numbers,
for matrices of all ensembles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.closed_growth import ClosedGrowth, closed_growth
from meanfield.closed_moments import ClosedLaw, closed_law
from meanfield.closed_transfer import Transfer, transfer
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate, Profile
from meanfield.inputs import Inputs
from meanfield.network import Network

Float64 = NDArray[np.float64]

_ROUNDING = 1e-15
_LARGE = 1e200  # where the moments of long products are rescaled
_POOR = 0.1  # relative error above which something is not a number


@dataclass(frozen=True)
class UntiedIsometry:
    """Moments of the squared singular values of ∂s_t/∂s_0 for t = 1 … T, with weights redrawn at every step.

    Relative errors of the profiles are bounds.

    Attributes:
        length: T.
        first_moments: m1(t) = tr J Jᵀ/N = χ_1^t, lags 1 … T.
        second_moments: m2(t) = tr (J Jᵀ)²/N, lags 1 … T.
        spreads: m2(t)/m1(t)², one if all singular values are equal, lags 1 … T.
    """

    length: int
    first_moments: Profile
    second_moments: Profile
    spreads: Profile

    @property
    def first_moment(self) -> Estimate:
        """m1(T)."""
        return self.first_moments.at(self.length)

    @property
    def log_spread(self) -> Estimate:
        """log m2(T)/m1(T)²."""
        return _logarithm(self.spreads, self.length)

    @property
    def isometry_defect(self) -> Estimate:
        """Δ(T)."""
        return self.defect_at(self.length)

    def defect_at(self, length: int) -> Estimate:
        """Δ(t) = (log m1)² + log m2/m1²; infinite where nothing, or no number, is passed on.

        Args:
            length: t.

        Raises:
            KeyError: if t is not from 1 to T.
        """
        first, spread = (_logarithm(each, length) for each in (self.first_moments, self.spreads))
        if not math.isfinite(first.value):
            return Estimate(math.inf, 0.0)
        error = (2.0 * abs(first.value) + first.error) * first.error + spread.error
        return Estimate(first.value**2 + spread.value, error)


def _logarithm(profile: Profile, length: int) -> Estimate:
    """The logarithm of a profile at one lag."""
    profile.at(length)  # whether it has that lag
    index = length - int(profile.lags[0])
    return Estimate(float(profile.log_values[index]), math.log1p(float(profile.relative_errors[index])))


def untied_isometry(network: Network, inputs: Inputs | None = None, *, length: int = 1) -> UntiedIsometry:
    """How far T-step Jacobians are from isometries if weights are redrawn at every step.

    Args:
        network: of a cell with one state variable whose update is affine in it.
        inputs: white inputs of power R; power 1 by default. Only their power matters here.
        length: T, at least 1.

    Returns:
        m1, m2 and Δ of N → ∞ units for 1 … T steps, with bounds on their errors.

    Raises:
        InvalidInput: if the cell's moments do not close, the inputs are not white, or the length is below 1.
        NotConverged: if there is no stationary law with a fourth moment.

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)})  # stays at zero: Gaussian matrices
    >>> found = untied_isometry(linear, mf.Inputs(power=0.0), length=3)
    >>> found.second_moments.values.round(12)
    array([2., 3., 4.])
    >>> round(found.isometry_defect.value, 12) == round(math.log(4.0), 12)
    True
    """
    check_count("length", length, 1)
    return closed_isometry(closed_law(network, inputs), length=length)


def closed_isometry(law: ClosedLaw, *, length: int) -> UntiedIsometry:
    """The same from the law of the state."""
    growth = closed_growth(law)
    chi = growth.chi.value
    if chi == 0.0:
        nothing = np.full(length, -np.inf)
        gone = _profile(nothing, np.zeros(length))
        return UntiedIsometry(length, gone, gone, _profile(np.zeros(length), np.zeros(length)))
    steps = np.arange(1, length + 1, dtype=np.float64)
    slope = _log_growth(growth)
    log_first = slope.value * steps
    first_error = (slope.error + _ROUNDING * abs(slope.value)) * steps
    step = transfer(law, chi)
    if not abs(step.growth.value - 1.0) <= _POOR:
        raise NotConverged(f"χ_1 = {chi:.3g} is too near the end of the range of numbers; change the biases")
    log_spread, spread_error = _log_spreads(step, length)
    for moved, share in law.moved():
        spread_error = spread_error + share * np.abs(_log_spreads(transfer(moved, chi), length)[0] - log_spread)
    # m2 is never below m1².
    log_spread = np.maximum(log_spread, 0.0)
    if not np.all(np.expm1(spread_error) <= _POOR) or not np.all(first_error < 1.0):
        raise NotConverged(f"moments of Jacobians over {length} steps cannot be resolved; lower the length")
    return UntiedIsometry(
        length=length,
        first_moments=_profile(log_first, first_error),
        second_moments=_profile(2.0 * log_first + log_spread, 2.0 * first_error + spread_error),
        spreads=_profile(log_spread, spread_error),
    )


def _profile(logarithms: Float64, errors: Float64) -> Profile:
    return Profile(np.arange(1, len(logarithms) + 1), logarithms, np.expm1(errors))


def _log_growth(growth: ClosedGrowth) -> Estimate:
    """log χ_1, from its time scale where that keeps more digits."""
    chi, scale = growth.chi, growth.timescale
    if scale is not None and scale.value > 2.0:
        return Estimate(-1.0 / scale.value, scale.error / scale.value**2)
    share = chi.error / chi.value
    return Estimate(math.log(chi.value), -math.log1p(-share) if share < 1.0 else math.inf)


def _log_spreads(step: Transfer, length: int) -> tuple[Float64, Float64]:
    """log m2/m1² after 1 … T steps and bounds on its errors, (length,) both."""
    matrix, off = step.matrix.value, step.matrix.error
    sizes = np.abs(matrix) + off
    off = off + _ROUNDING * np.abs(matrix)
    state, error, scale = step.start.value, step.start.error, 0.0
    found, errors = np.empty(length), np.empty(length)
    for index in range(length):
        state, error = matrix @ state, sizes @ error + off @ np.abs(state)
        spread = state[3] + state[4]
        if spread > _LARGE:
            state, error, scale = state / _LARGE, error / _LARGE, scale + math.log(_LARGE)
            spread /= _LARGE
        share = (error[3] + error[4]) / spread
        found[index] = math.log(spread) + scale
        errors[index] = -math.log1p(-share) + _ROUNDING * (1.0 + abs(found[index])) if share < 1.0 else math.inf
    return found, errors
