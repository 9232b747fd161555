"""Eigenvalues of the one-step Jacobian in the plane: boundary, density, slow modes (theory, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.jacobian_spectra import SLOW_RADIUS
from meanfield.matrix_laws import matrix_law
from meanfield.network import Network
from meanfield.plane_curves import EigenvalueBoundary, EigenvalueContour, PlaneDensity, group_means, mean_contours
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Regime
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_boundary import RESOLUTION, Extremum, SupportBoundary
from meanfield.solvers.eigenvalue_density import EigenvalueDensity, Mass
from meanfield.solvers.eigenvalue_support import rightmost_eigenvalue
from meanfield.solvers.threads import one_blas_thread
from meanfield.trajectory import DEFAULT_GROUPS, DEFAULT_HIDDEN, Start, Trajectory, arrange, run

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_WIDEST = 512  # units a group by default
_MASS = 1e-5  # tolerance of a mass


@dataclass(frozen=True)
class Eigenvalues:
    """The eigenvalues λ of the Jacobian of one step, over all S N of them, in networks of a width.

    Units are dealt into networks of ``hidden`` units. Numbers are means over these; errors are standard errors from the
    scatter of groups, whose networks share inputs and the law of their fields, or of networks of several groups.

    Attributes:
        edge: largest real part.
        edge_scatter: standard deviation of the edge from network to network.
        atom_share: share of eigenvalues that are those of single units whatever the matrices are; the density is
            without them.
        centre: where rays start: the median over units of the skip path's largest eigenvalue.
        hidden: the width N.
        per_group: how many networks there are of every group.
        networks: the law of every network, those of a group together.
    """

    edge: Estimate
    edge_scatter: float
    atom_share: Estimate
    centre: float
    hidden: int
    per_group: int
    networks: tuple[EigenvalueDensity, ...] = field(repr=False, compare=False)

    @cached_property
    def radius(self) -> Estimate:
        """The spectral radius, the largest |λ|.

        Raises:
            NotConverged: if it was not found.
        """
        return self._extremum(lambda boundary: boundary.spectral_radius())

    @cached_property
    def hole_radius(self) -> Estimate:
        """Distance from the centre to the support if that surrounds the centre, else zero.

        Raises:
            NotConverged: if it was not found.
        """
        return self._extremum(lambda boundary: boundary.hole_radius())

    def boundary(self, angles: ArrayLike, *, centre: float | None = None) -> EigenvalueBoundary:
        """How far the support reaches from a centre in some directions; zero where there is none of it.

        Args:
            angles: of the rays, (rays,); 0 points right.
            centre: real point where rays start; by default the median, which differs a little from run to run.

        Raises:
            InvalidInput: if an angle or the centre is not finite.
            NotConverged: if a point of the boundary was not found.

        >>> import meanfield as mf
        >>> still = mf.Inputs.padded(signal=1, length=2, power=0.0)
        >>> network = mf.Network("gru", {gate: mf.Gate(recurrent_gain=1.2) for gate in "frh"})
        >>> found = eigenvalues(network, still, length=2, units=512)  # at rest: a disc about 1/2 of radius σ/4
        >>> found.boundary([0.0, 2.0]).radii.round(6)
        array([0.3, 0.3])
        """
        at = np.atleast_1d(np.asarray(angles, dtype=np.float64))
        if at.ndim != 1 or not np.all(np.isfinite(at)):
            raise InvalidInput(f"angles: must be a sequence of finite numbers, got {angles!r}")
        if centre is not None:
            check_number("centre", centre, -math.inf, math.inf)
        with _translated():
            boundaries = self._boundaries if centre is None else self._boundaries_from(centre)
            found = [boundary.radii(at) for boundary in boundaries]
        values, errors = self._averaged([each.values for each in found], [each.errors for each in found])
        return EigenvalueBoundary(self.centre if centre is None else float(centre), at, values, errors)

    def contours(self, resolution: int = RESOLUTION) -> tuple[EigenvalueContour, ...]:
        """Closed curves where the mean of log ρ(M) over networks vanishes, the largest first.

        Args:
            resolution: cells of the grid along the longer side; what is smaller than a cell is not resolved.

        Raises:
            InvalidInput: if the resolution is less than 8.
            NotConverged: if a vertex was not found.
        """
        check_count("resolution", resolution, 8)
        with _translated():
            return mean_contours(self._boundaries, resolution, self.per_group)

    def density(self, points: ArrayLike) -> PlaneDensity:
        """Density at points of the plane; with the atoms its integral is one.

        Raises:
            InvalidInput: if a point is not finite.
            NotConverged: if the potential of the eigenvalues was not found at a point.

        >>> import meanfield as mf
        >>> still = mf.Inputs.padded(signal=1, length=2, power=0.0)
        >>> found = eigenvalues(mf.Network("vanilla", {"h": mf.Gate(1.0)}), still, length=2, units=512)
        >>> found.density([0.0, 0.9j, 1.1]).values.round(6)  # at rest the circular law
        array([0.31831, 0.31831, 0.     ])
        """
        z = np.atleast_1d(np.asarray(points, dtype=np.complex128))
        if z.ndim != 1 or not np.all(np.isfinite(z)):
            raise InvalidInput("points: must be a sequence of finite complex numbers")
        with _translated():
            found = [network.density(z) for network in self.networks]
        return PlaneDensity(z, *self._averaged([each.values for each in found], [each.errors for each in found]))

    def mass_in_disc(self, centre: complex, radius: float) -> Estimate:
        """Share of the eigenvalues within a radius of a point.

        Raises:
            InvalidInput: if the disc is not finite or its radius not positive.
            NotConverged: if it was not found to 1e-3, or an atom is on the circle.
        """
        if not (np.isfinite(centre) and np.isfinite(radius) and radius > 0.0):
            raise InvalidInput(f"radius: must be positive and finite, and so must the centre, got {centre}, {radius}")
        return self._mass(lambda network: network.mass_in_disc(centre, radius, tolerance=_MASS))

    def mass_in_box(self, left: float, right: float, bottom: float = -math.inf, top: float = math.inf) -> Estimate:
        """Share of the eigenvalues with left < Re λ < right and bottom < Im λ < top; sides may be infinite.

        Raises:
            InvalidInput: if the box is empty.
            NotConverged: if it was not found to 1e-3, or an atom is on a side.
        """
        if not (left < right and bottom < top):
            raise InvalidInput(f"left, right, bottom, top: must be ascending, got {left}, {right}, {bottom}, {top}")
        return self._mass(lambda network: network.mass_in_box(left, right, bottom, top, tolerance=_MASS))

    def slow_fraction(self, radius: float = SLOW_RADIUS) -> Estimate:
        """Share of slow modes, the eigenvalues within a radius of one.

        Raises:
            InvalidInput: if the radius is not positive and finite.
            NotConverged: see :meth:`mass_in_disc`.
        """
        check_number("radius", radius, 0.0, math.inf)
        return self.mass_in_disc(1.0, radius)

    @cached_property
    def _boundaries(self) -> tuple[SupportBoundary, ...]:
        return self._boundaries_from(self.centre)

    def _boundaries_from(self, centre: float) -> tuple[SupportBoundary, ...]:
        return tuple(SupportBoundary(network.potential, centre) for network in self.networks)

    def _extremum(self, of: Callable[[SupportBoundary], Extremum]) -> Estimate:
        with _translated():
            found = [of(boundary) for boundary in self._boundaries]
        return self._estimate([each.value for each in found], [each.error for each in found])

    def _mass(self, of: Callable[[EigenvalueDensity], Mass]) -> Estimate:
        with _translated():
            found = [of(network) for network in self.networks]
        return self._estimate([each.value for each in found], [each.error for each in found])

    def _estimate(self, values: list[float], errors: list[float]) -> Estimate:
        mean, error = self._averaged(values, errors)
        return Estimate(float(mean), float(error))

    def _averaged(self, values: ArrayLike, errors: ArrayLike) -> tuple[Float64, Float64]:
        """Means over networks, (networks, …), the scatter of groups and the mean of the errors of each."""
        means = group_means(np.asarray(values, dtype=np.float64), self.per_group)
        scatter = np.std(means, axis=0, ddof=1) / math.sqrt(len(means))
        return np.mean(means, axis=0), np.hypot(scatter, np.mean(np.asarray(errors), axis=0))


def eigenvalues(
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
) -> Eigenvalues:
    """The eigenvalues of the one-step Jacobian over all state variables, in networks of a width.

    Matrices that are not Gaussian, as the network's ensemble says, leave the edge and the outer boundary as they are
    for the same mean square; they change the density inside and may leave holes.

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default.
        hidden: width of the networks; gates come the closer to one the more of them there are, so the edge depends on
            it.
        length: steps that are made, after a transient if the run is stationary; the Jacobian is that of the last one.
        units, groups, regime, start, seed, device: see :func:`meanfield.gradients`; there are at least twice as many
            units as ``hidden``.

    Returns:
        Estimates with one standard error, from the scatter of networks.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the states do not become stationary, or the edge was not found.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=1.0)
    >>> found = eigenvalues(mf.Network("gru", {"f": gate, "r": gate, "h": gate}), hidden=128, units=512)
    >>> 0.8 < found.edge.value < 1.1 and 0.0 < found.slow_fraction(0.1).value < found.slow_fraction(0.3).value < 1.0
    True
    """
    trajectory = run(
        network,
        inputs if inputs is not None else Inputs(),
        length=length,
        layout=arrange(hidden=hidden, units=units, groups=_enough(hidden, units, groups), device=device),
        regime=regime,
        start=start,
        seed=seed,
    )
    return of_trajectory(trajectory, hidden)


def of_trajectory(trajectory: Trajectory, hidden: int) -> Eigenvalues:
    """The eigenvalues at the last step of a linearised run with units for two independent networks or more.

    Raises:
        InvalidInput: if there are fewer.
        NotConverged: if the edge was not found.
    """
    sample, per_group = _networks(trajectory.snapshots()[-1], hidden)
    matrices = matrix_law(trajectory.network)
    with _translated(), one_blas_thread():
        edges = rightmost_eigenvalue(sample)
        networks = tuple(EigenvalueDensity(sample.at((k,)), matrices) for k in range(len(edges)))
    return Eigenvalues(
        edge=from_groups(group_means(edges, per_group)),
        edge_scatter=float(np.std(edges, ddof=1)),
        atom_share=from_groups(group_means(np.array([each.atom_share for each in networks]), per_group)),
        centre=float(np.median([each.potential.minors.largest for each in networks])),
        hidden=hidden,
        per_group=per_group,
        networks=networks,
    )


def _networks(sample: CircuitSample, hidden: int) -> tuple[CircuitSample, int]:
    """Networks of this width, each from one group or from several of its own, and how many a group gives."""
    groups, width = sample.state_to_state.shape[:2]
    merged = math.ceil(hidden / width)  # groups a network
    if groups // merged < 2:
        raise InvalidInput(
            f"units: {groups} groups of {width} must make two networks of {hidden} units that share none, so that "
            f"networks scatter; allowed are {2 * hidden} units or more in an even number of groups"
        )
    whole = sample.taken(np.arange(groups // merged * merged)).regrouped(merged * width)
    count = max(1, width // hidden)
    kept = slice(None, count * hidden)
    whole = replace(
        whole,
        state_to_state=whole.state_to_state[:, kept],
        field_to_state=whole.field_to_state[:, kept],
        state_to_carrier=whole.state_to_carrier[:, kept],
        field_to_carrier=whole.field_to_carrier[:, kept],
    )
    return whole.regrouped(hidden), count


def _enough(hidden: int, units: int | None, groups: int | None) -> int | None:
    """Groups for two networks, where none of that is said."""
    check_count("hidden", hidden, 1)
    if units is None and groups is None and 2 * hidden > DEFAULT_GROUPS * _WIDEST:
        return 2 * math.ceil(hidden / _WIDEST)
    return groups


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except NotConverged:
        raise
    except ArithmeticError as failure:
        raise NotConverged(f"eigenvalues of the one-step Jacobian: {failure}") from failure
