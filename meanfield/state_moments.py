"""Second moments and overlaps of the states (theory, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Regime
from meanfield.trajectory import DEFAULT_HIDDEN, Start, Trajectory, arrange, run


@dataclass(frozen=True)
class Stationary:
    """Moments of what the network passes on: h for the LSTMs, the state otherwise.

    Attributes:
        second_moment: E[h²].
        mean: E[h].
        overlap: correlation coefficient of the outputs of two sequences over units; 1 if the outputs do not vary.
        transient: steps made before averaging.
    """

    second_moment: Estimate
    mean: Estimate
    overlap: Estimate
    transient: int


def stationary(
    network: Network,
    inputs: Inputs | None = None,
    *,
    length: int = 64,
    hidden: int = DEFAULT_HIDDEN,
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    device: DeviceChoice = "cpu",
) -> Stationary:
    """Moments and overlap of two sequences in the stationary state, or after ``length`` steps from the zero state.

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default. Their overlap is that of the two sequences.
        length: steps that are averaged over; from the zero state, the step after which moments are taken.
        hidden: width N of the network; groups are of that width (128 to 512) unless ``units`` is given.
        units: units in all groups together; more units, smaller errors.
        groups: independent groups, whose scatter gives the errors; 8 or more by default.
        regime: ``"tied"`` weights, as in a real network, or ``"untied"``.
        start: see :func:`meanfield.trajectory.run`.
        seed: of everything random.
        device: see :func:`meanfield.gradients`.

    Returns:
        Estimates with one standard error over groups.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the states do not become stationary.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=1.0)
    >>> found = mf.stationary(mf.Network("vanilla_erf", {"h": gate}), mf.Inputs(power=0.5), units=1024)
    >>> import math
    >>> q = 0.5  # E[erf²] = (2/π) asin(2v/(1+2v)) at variance v = q + power
    >>> for _ in range(60): q = 2 / math.pi * math.asin(2 * (q + 0.5) / (1 + 2 * (q + 0.5)))
    >>> abs(found.second_moment.value - q) < 4 * found.second_moment.error
    True
    """
    trajectory = run(
        network,
        inputs if inputs is not None else Inputs(),
        length=length,
        layout=arrange(hidden=hidden, units=units, groups=groups, sequences=2, device=device),
        regime=regime,
        start=start,
        seed=seed,
        linearise=False,
    )
    return of_trajectory(trajectory)


def of_trajectory(trajectory: Trajectory) -> Stationary:
    """Moments read off a run of two sequences."""
    means = trajectory.means[trajectory.averaged]
    products = trajectory.products[trajectory.averaged]
    squares = np.mean(np.diagonal(products, axis1=2, axis2=3), axis=(0, 2))
    mean = np.mean(means, axis=(0, 2))
    centred = products - means[..., :, None] * means[..., None, :]
    variance = np.mean(np.diagonal(centred, axis1=2, axis2=3), axis=(0, 2))
    covariance = np.mean(centred[..., 0, 1], axis=0)
    vary = variance > 1e-12 * np.maximum(squares, 1e-30)
    overlap = np.where(vary, covariance / np.where(vary, variance, 1.0), 1.0)
    return Stationary(from_groups(squares), from_groups(mean), from_groups(overlap), trajectory.transient)
