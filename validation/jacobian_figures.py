"""How far one-step Jacobians of networks of finite width are off the theory of their spectra, figure by figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count
from meanfield.eigenvalue_plane import of_trajectory as eigenvalues_of
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.jacobian_spectra import SLOW_RADIUS
from meanfield.network import Network
from meanfield.sampling.population import Regime
from meanfield.singular_value_density import SingularValues
from meanfield.singular_value_density import of_trajectory as singular_values_of
from meanfield.solvers.threads import one_blas_thread
from meanfield.trajectory import arrange, run

Float64 = NDArray[np.float64]
Verdict = Literal["yes", "scatter", "no"]

TARGETS = {"m1": 0.015, "m2": 0.04, "edge": 0.015, "distribution": 0.01, "slow": 0.01}
"""Largest differences: of m1, m2 and the edge relative to the prediction, of the others absolute."""

_POINTS = 300  # quantiles at which the predicted distribution is computed; it is interpolated in between
_NOTHING = 1e-9  # singular values below this share of the largest are zeros
_CLEAR = 2.0  # standard errors beyond which a difference is not scatter


@dataclass(frozen=True)
class Figure:
    """One number of the spectrum, predicted and seen.

    Attributes:
        quantity: ``m1``, ``m2``, ``edge`` (largest real part of an eigenvalue), ``distribution`` (of the singular
            values) or ``slow`` (share of the eigenvalues within 0.1 of one).
        predicted: theory and its standard error; of the distribution the distance 0, and what networks of this width
            differ from each other by.
        simulated: mean over networks and its standard error; of the distribution the largest distance of the networks'
            pooled one from theory's.
        difference: relative to the prediction or absolute, as the target.
        target: what is asked for.
        scatter: the difference that scatter explains: two standard errors of it; of the edge the standard deviation
            from network to network; of the distribution the distance between populations of this width.
    """

    quantity: str
    predicted: Estimate
    simulated: Estimate
    difference: float
    target: float
    scatter: float

    @property
    def within(self) -> Verdict:
        """Whether the difference is within the target, or else within the scatter."""
        if self.difference <= self.target:
            return "yes"
        return "scatter" if self.difference <= self.scatter else "no"


def jacobian_figures(
    network: Network,
    inputs: Inputs,
    matrices: ArrayLike,
    *,
    length: int,
    groups: int = 16,
    regime: Regime = "tied",
    seed: int = 0,
) -> tuple[Figure, ...]:
    """Compare the Jacobians of simulated networks with the theory for their width.

    Args:
        network, inputs: the laws of weights and inputs.
        matrices: one-step Jacobians over all state variables, (networks, S N, S N), at least two.
        length: the step from the zero state that they are of.
        groups: populations of N units that the prediction is made from, at least twice as many as networks.
        regime: see :func:`meanfield.gradients`.
        seed: of the populations.

    Returns:
        m1, m2, edge, distribution, slow, in this order.

    Raises:
        InvalidInput: if the shapes do not fit, or there are too few groups.
        NotConverged: if the theory's equations were not solved.

    >>> import meanfield as mf
    >>> from meanfield.validation.finite_width import jacobian
    >>> network, inputs = mf.Network("vanilla", {"h": mf.Gate(0.9, 0.5)}), mf.Inputs()
    >>> seen = jacobian(network, inputs, hidden=128, length=10, networks=4)
    >>> figures = jacobian_figures(network, inputs, seen, length=10)
    >>> [figure.quantity for figure in figures if figure.difference < 0.1]
    ['m1', 'm2', 'edge', 'distribution', 'slow']
    """
    seen = np.asarray(matrices, dtype=np.float64)
    variables = len(network.definition.states)
    if seen.ndim != 3 or seen.shape[1] != seen.shape[2] or seen.shape[1] % variables or len(seen) < 2:
        raise InvalidInput(f"matrices: must be two or more of {variables} N rows and columns, got shape {seen.shape}")
    check_count("groups", groups, 2 * len(seen))
    hidden = seen.shape[1] // variables
    trajectory = run(
        network,
        inputs,
        length=length,
        layout=arrange(hidden=hidden, units=groups * hidden, groups=groups),
        regime=regime,
        start="zero",
        seed=seed,
    )
    law, plane = singular_values_of(trajectory), eigenvalues_of(trajectory, hidden)
    with one_blas_thread():
        singular = np.array([np.linalg.svd(matrix, compute_uv=False) for matrix in seen])
        eigen = np.array([np.linalg.eigvals(matrix) for matrix in seen])
    edge = _figure("edge", plane.edge, eigen.real.max(axis=1))
    edge_scatter = plane.edge_scatter / abs(plane.edge.value) if plane.edge.value else math.inf
    return (
        _figure("m1", law.first_moment, np.mean(singular**2, axis=1)),
        _figure("m2", law.second_moment, np.mean(singular**4, axis=1)),
        Figure("edge", edge.predicted, edge.simulated, edge.difference, edge.target, edge_scatter),
        _distribution(law, singular),
        _figure("slow", plane.slow_fraction(), np.mean(np.abs(eigen - 1.0) < SLOW_RADIUS, axis=1)),
    )


def _figure(quantity: str, predicted: Estimate, samples: Float64) -> Figure:
    """One number a network against its prediction."""
    simulated = from_groups(samples)
    size = 1.0 if quantity == "slow" else abs(predicted.value)
    off, error = abs(simulated.value - predicted.value), math.hypot(simulated.error, predicted.error)
    difference, scatter = (each / size if size else math.inf for each in (off, _CLEAR * error))
    return Figure(quantity, predicted, simulated, difference, TARGETS[quantity], scatter)


def _distribution(law: SingularValues, singular: Float64) -> Figure:
    """Kolmogorov's distance of the networks' pooled singular values, (networks, S N), from the prediction."""
    pooled = np.sort(np.where(singular > _NOTHING * singular.max(), singular, 0.0).ravel())
    positive = pooled[pooled > 0.0]
    at = np.append(0.0, np.unique(np.quantile(positive, np.linspace(0.0, 1.0, _POINTS))) if positive.size else [])
    every = np.array([each.distribution(at).values for each in law.laws])  # (groups, points)
    mean = np.mean(every, axis=0)
    # What as many populations as there are networks differ from all others by.
    batches = []
    for start in range(len(every)):
        shifted = np.roll(every, start, axis=0)
        chosen, others = shifted[: len(singular)], shifted[len(singular) :]
        batches.append(np.max(np.abs(np.mean(chosen, axis=0) - np.mean(others, axis=0))))
    expected = np.interp(pooled, at, mean)
    upper = np.searchsorted(pooled, pooled, side="right") / len(pooled)
    # Just left of a value the prediction lacks its atom there: at zero all of it.
    lower = np.searchsorted(pooled, pooled, side="left") / len(pooled)
    left = np.where(pooled > 0.0, expected, 0.0)
    distance = float(max(np.max(np.abs(upper - expected)), np.max(np.abs(lower - left))))
    return Figure(
        "distribution",
        Estimate(0.0, float(np.mean(batches))),
        Estimate(distance, float(np.mean(batches))),
        distance,
        TARGETS["distribution"],
        float(np.max(batches)),
    )
