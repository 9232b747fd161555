"""Singular values and eigenvalues of the one-step Jacobian (theory, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.matrix_laws import fourth_cumulant, matrix_law
from meanfield.network import Network
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Regime
from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.eigenvalue_support import mass_near, rightmost_eigenvalue
from meanfield.solvers.threads import one_blas_thread
from meanfield.trajectory import DEFAULT_HIDDEN, Start, Trajectory, arrange, run

SLOW_RADIUS = 0.1


@dataclass(frozen=True)
class Spectra:
    """What the Jacobian of one step, over all state variables, looks like.

    Attributes:
        first_moment: m1 = tr J Jᵀ/(S N).
        second_moment: m2 = tr (J Jᵀ)²/(S N).
        eigenvalue_edge: largest real part of an eigenvalue in a network of ``hidden`` units; its error is that of the
            mean over networks, ``edge_scatter`` the standard deviation from network to network.
        edge_scatter: see there.
        slow_fraction: share of the eigenvalues within 0.1 of 1.
        hidden: the width that the edge is for.
    """

    first_moment: Estimate
    second_moment: Estimate
    eigenvalue_edge: Estimate
    edge_scatter: float
    slow_fraction: Estimate
    hidden: int


def spectra(
    network: Network,
    inputs: Inputs | None = None,
    *,
    hidden: int = DEFAULT_HIDDEN,
    length: int = 64,
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    device: DeviceChoice = "cpu",
) -> Spectra:
    """Moments of the singular values, eigenvalue edge and slow modes of the one-step Jacobian.

    The second moment and the slow modes depend on the ensemble of the recurrent matrices, the first moment and the edge
    on their mean square only.

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default.
        hidden: width of the network whose edge is asked for: gates come the closer to one the more of them there are,
            so the edge grows with the width.
        length: steps over which the Jacobian is looked at; from the zero state, the step at which it is.
        units, groups, regime, start, seed, device: see :func:`meanfield.gradients`.

    Returns:
        Estimates with one standard error.

    Raises:
        InvalidInput: if an argument is out of its range, or a cell of one's own has a field that acts on the state and
            on a later carrier both.
        NotConverged: if the states do not become stationary, or the edge is not found.

    >>> import meanfield as mf
    >>> silent = {gate: mf.Gate(recurrent_gain=2.0) for gate in "frh"}  # at the zero state: critical at gain 2
    >>> found = mf.spectra(mf.Network("gru", silent), mf.Inputs(power=0.0), units=512)
    >>> round(found.eigenvalue_edge.value, 6)
    1.0
    """
    trajectory = run(
        network,
        inputs if inputs is not None else Inputs(),
        length=length,
        layout=arrange(hidden=hidden, units=units, groups=groups, device=device),
        regime=regime,
        start=start,
        seed=seed,
    )
    return of_trajectory(trajectory, hidden)


def of_trajectory(trajectory: Trajectory, hidden: int) -> Spectra:
    """Spectra read off a linearised run of at least ``hidden`` units in all."""
    first, second, edges, slow = [], [], [], []
    cumulant, matrices = fourth_cumulant(trajectory.network), matrix_law(trajectory.network)
    try:
        with one_blas_thread():
            for sample in trajectory.snapshots():
                m1, m2 = jacobian_moments(sample, cumulant)
                first.append(m1)
                second.append(m2)
                edges.append(rightmost_eigenvalue(sample.regrouped(hidden)))
                slow.append(mass_near(sample, radius=SLOW_RADIUS, points=24, matrices=matrices))
    except ValueError as failure:
        raise InvalidInput(f"cell {trajectory.network.cell!r}: {failure}") from failure
    except ArithmeticError as failure:
        raise NotConverged(f"eigenvalues of the one-step Jacobian: {failure}") from failure
    networks = np.array(edges)
    scatter = float(np.std(networks, ddof=1)) if networks.size > 1 else 0.0
    # Snapshots of one population are not independent; networks within a snapshot are.
    independent = networks.shape[1]
    error = scatter / np.sqrt(independent) if independent > 1 else scatter
    return Spectra(
        first_moment=from_groups(np.mean(first, axis=0)),
        second_moment=from_groups(np.mean(second, axis=0)),
        eigenvalue_edge=Estimate(float(np.mean(networks)), float(error)),
        edge_scatter=scatter,
        slow_fraction=from_groups(np.clip(np.mean(slow, axis=0), 0.0, 1.0)),
        hidden=hidden,
    )
