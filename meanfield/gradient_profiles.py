"""How far signals and gradients reach through time (theory, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.estimate import Estimate, Profile, from_groups
from meanfield.growth import late_growth, timescale_of
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.adjoint import AdjointRun, pull_back
from meanfield.sampling.cell import fields_of_carrier
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Regime, generators
from meanfield.sampling.tangent import log_second_moment
from meanfield.solvers.threads import one_blas_thread
from meanfield.trajectory import DEFAULT_HIDDEN, Start, Trajectory, arrange, run

Float64 = NDArray[np.float64]

# Purposes of random streams; a population itself uses those below 100.
_READOUT, _TRANSPOSED, _TANGENT = 100, 110, 120


@dataclass(frozen=True)
class Gradients:
    """Profiles over the lag, and what follows from them.

    Attributes:
        profile: G(τ) = E‖∂h_T/∂h_{T-τ}‖²/N, lags 0 … T; for the LSTMs the cell state c_{T-τ} is held fixed.
        sensitivity: S(τ) = E‖∂h_T/∂x_{T-τ}‖²/N; lag 0 is the step that reads x_T.
        memory: E Π f² over the last τ steps, the direct path ∂c_T/∂c_{T-τ} through the keep gate; None without one.
        memory_spread: E Π f⁴/(E Π f²)² over all T steps; None without a keep gate.
        chi: growth of G a step at large lags (its second half).
        timescale: ξ = -1/log χ in steps; None where gradients do not decay.
        first_moment: m1(T) = tr J Jᵀ/N of the T-step Jacobian J = ∂h_T/∂h_0.
        log_spread: log m2(T)/m1(T)², zero if all its singular values are equal.
        isometry_defect: (log m1)² + (log m2/m1²) of the T-step Jacobian.
        bias_response: E|δh_T|² for a constant unit Gaussian kick of all biases.
        second_moment: E[h²].
        transient: steps made before the T steps.
    """

    profile: Profile
    sensitivity: Profile
    memory: Profile | None
    memory_spread: Estimate | None
    chi: Estimate
    timescale: Estimate | None
    first_moment: Estimate
    log_spread: Estimate
    isometry_defect: Estimate
    bias_response: Estimate
    second_moment: Estimate
    transient: int


def gradients(
    network: Network,
    inputs: Inputs | None = None,
    *,
    length: int,
    hidden: int = DEFAULT_HIDDEN,
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    device: DeviceChoice = "cpu",
) -> Gradients:
    """Gradient profile, input sensitivity, time scale and isometry defect over ``length`` steps.

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default.
        length: T, the number of steps.
        hidden: width N of the network; groups are of that width (128 to 512) unless ``units`` is given.
        units: units in all groups together; more units, smaller errors.
        groups: independent groups, whose scatter gives the errors; 8 or more by default.
        regime: ``"tied"`` weights, as in a real network, or ``"untied"``.
        start: see :func:`meanfield.trajectory.run`.
        seed: of everything random.
        device: where recurrent matrices are applied: ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU if there is one.

    Returns:
        Estimates with one standard error over groups. Cost grows as units × T² up to T = units/groups, then as T.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the states do not become stationary, or gradients leave the range of numbers.

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.9)})  # without inputs: stays at zero
    >>> found = mf.gradients(linear, mf.Inputs(power=0.0), length=5, units=1024)
    >>> abs(found.chi.value - 0.81) < 4 * found.chi.error
    True
    """
    trajectory = run(
        network,
        inputs if inputs is not None else Inputs(),
        length=length,
        layout=arrange(hidden=hidden, units=units, groups=groups, device=device),
        regime=regime,
        start=start,
        seed=seed,
        full_lags=True,
    )
    return of_trajectory(trajectory, length)


def pull_back_of(
    trajectory: Trajectory,
    length: int,
    *,
    windows: int = 0,
    changed_drives: Callable[[int], tuple[int, Mapping[str, NDArray[Any]]] | None] | None = None,
) -> AdjointRun:
    """The backward pass over all steps of a trajectory, keeping the adjoint of the state ``length`` before its end.

    ``windows`` and ``changed_drives`` are those of :func:`meanfield.sampling.adjoint.pull_back`.
    """
    population = trajectory.population
    with one_blas_thread(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return pull_back(
            population.cell,
            population.laws,
            trajectory.circuits,
            shape=trajectory.shape,
            readouts=generators(trajectory.seed, _READOUT, trajectory.layout.groups, trajectory.layout.networks),
            images=_streams(trajectory, _TRANSPOSED),
            tied=trajectory.regime == "tied",
            device=trajectory.layout.device,
            orthogonal=trajectory.network.nearly_orthogonal,
            jacobian_steps=length,
            squared_weights=population.drives.squared_weights,
            windows=windows,
            changed_drives=changed_drives,
        )


def of_trajectory(trajectory: Trajectory, length: int) -> Gradients:
    """Profiles read off a linearised run of at least ``length`` steps, the Jacobian being that of the last ones."""
    return of_adjoint(trajectory, pull_back_of(trajectory, length), length)


def of_adjoint(trajectory: Trajectory, adjoint: AdjointRun, length: int) -> Gradients:
    """The same, from the backward pass that :func:`pull_back_of` made."""
    with one_blas_thread(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        log_gradient = _per_group(adjoint.log_gradient)
        profile = Profile.from_log_groups(log_gradient)
        sensitivity = Profile.from_log_groups(_per_group(adjoint.log_sensitivity))
        log_second = _second_moment(trajectory, adjoint)
    memory, memory_spread = _memory_path(trajectory, length)
    log_first = log_gradient[length]
    chi = late_growth(log_gradient, length)
    return Gradients(
        profile=profile,
        sensitivity=sensitivity,
        memory=memory,
        memory_spread=memory_spread,
        chi=chi,
        timescale=timescale_of(chi),
        first_moment=profile.at(length),
        log_spread=_jackknife(lambda first, second: second - 2.0 * first, log_first, log_second),
        isometry_defect=_jackknife(lambda first, second: first**2 + second - 2.0 * first, log_first, log_second),
        bias_response=from_groups(np.mean(adjoint.bias_response, axis=1)),
        second_moment=from_groups(
            np.mean(np.diagonal(trajectory.products[trajectory.averaged], axis1=2, axis2=3), axis=(0, 2))
        ),
        transient=trajectory.transient,
    )


def moments_of_jacobian(trajectory: Trajectory, adjoint: AdjointRun, length: int) -> list[tuple[float, float]]:
    """m1(T) and m2(T)/m1(T)² of the Jacobian whose adjoint was kept, of every network; without errors."""
    networks = trajectory.layout.networks
    firsts = _per_group(adjoint.log_gradient)[length].reshape(networks, -1)
    seconds = _second_moment(trajectory, adjoint).reshape(networks, -1)
    found = []
    for first, second in zip(map(_log_mean, firsts), map(_log_mean, seconds), strict=True):
        if math.isfinite(first):
            found.append((math.exp(min(first, 700.0)), math.exp(min(second - 2.0 * first, 700.0))))
        else:
            found.append((0.0, 1.0))
    return found


def _streams(trajectory: Trajectory, purpose: int) -> list[list[np.random.Generator]]:
    carriers = len(fields_of_carrier(trajectory.population.cell))
    groups, sequences, _ = trajectory.shape
    networks = trajectory.layout.networks
    return [generators(trajectory.seed, purpose + carrier, groups * sequences, networks) for carrier in range(carriers)]


def _per_group(log_samples: Float64) -> Float64:
    """Average over the sequences of a group: (lags, groups, sequences) → (lags, groups), in logarithms."""
    return np.asarray(np.logaddexp.reduce(log_samples, axis=2) - np.log(log_samples.shape[2]), dtype=np.float64)


def _second_moment(trajectory: Trajectory, adjoint: AdjointRun) -> Float64:
    """log m2 of the Jacobian whose adjoint is kept, (groups,)."""
    log_moment = log_second_moment(
        trajectory.population.cell,
        trajectory.population.laws,
        trajectory.circuits,
        adjoint,
        images=_streams(trajectory, _TANGENT),
        device=trajectory.layout.device,
        excess=trajectory.network.spread_of_matrices,
        orthogonal=trajectory.network.nearly_orthogonal,
    )
    return _per_group(log_moment[None])[0]


def _memory_path(trajectory: Trajectory, length: int) -> tuple[Profile | None, Estimate | None]:
    if trajectory.network.definition.keep_gate is None:
        return None, None
    squares = [np.zeros(trajectory.shape[:2])]
    for logarithm in trajectory.log_memory_path(length):
        squares.append(_log_unit_mean(2.0 * logarithm))
    profile = Profile.from_log_groups(_per_group(np.array(squares)))
    log_square = _per_group(np.array(squares[-1:]))[0]
    log_fourth = _per_group(_log_unit_mean(4.0 * logarithm)[None])[0]
    spread = _jackknife(lambda square, fourth: math.exp(fourth - 2.0 * square), log_square, log_fourth)
    return profile, spread


def _log_unit_mean(log_values: Float64) -> Float64:
    """log of the mean over units."""
    peak = np.max(log_values, axis=-1, keepdims=True)
    return np.asarray(np.log(np.mean(np.exp(log_values - peak), axis=-1)) + peak[..., 0], dtype=np.float64)


def _log_mean(log_samples: Float64) -> float:
    return float(np.logaddexp.reduce(log_samples) - np.log(len(log_samples)))


def _jackknife(statistic: Callable[[float, float], float], first: Float64, second: Float64) -> Estimate:
    """A function of the logarithms of two means over groups, with its jackknife error.

    Infinite where a group's moment is exactly zero: what passes nothing on is infinitely far from an isometry.
    """
    if not np.all(np.isfinite(first) & np.isfinite(second)):
        return Estimate(math.inf, 0.0)
    groups = np.arange(len(first))
    kept = [groups[groups != group] for group in groups]
    partial = np.array([statistic(_log_mean(first[some]), _log_mean(second[some])) for some in kept])
    error = math.sqrt((len(groups) - 1) * float(np.mean((partial - np.mean(partial)) ** 2)))
    return Estimate(statistic(_log_mean(first), _log_mean(second)), error)
