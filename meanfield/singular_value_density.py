"""The law of the singular values of the one-step Jacobian: density, distribution, edges (theory, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.matrix_laws import fourth_cumulant, matrix_law
from meanfield.network import Network
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Regime
from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity, Values, quantiles
from meanfield.trajectory import DEFAULT_HIDDEN, Start, Trajectory, arrange, run
from meanfield.weight_ensembles import as_ensemble

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A function of the singular value.

    Attributes:
        points: singular values, (points,).
        values: the function there, (points,).
        errors: one standard error of it, (points,).
    """

    points: Float64
    values: Float64
    errors: Float64


@dataclass(frozen=True)
class SingularValues:
    """The law of the singular values λ ≥ 0 of the Jacobian of one step, over all S N of them.

    Every group of units has a law of its own; numbers are means over groups, errors their standard errors.

    Attributes:
        first_moment: m1, the mean of λ².
        second_moment: m2, the mean of λ⁴.
        atom_at_zero: share of singular values that are exactly zero.
        laws: the law of every group.
    """

    first_moment: Estimate
    second_moment: Estimate
    atom_at_zero: Estimate
    laws: tuple[SingularDensity, ...] = field(repr=False, compare=False)

    @cached_property
    def outer_edge(self) -> Estimate:
        """The largest singular value.

        Raises:
            NotConverged: if it was not found.
        """
        return self._edge(lambda law: (law.outer_edge.value, law.outer_edge.error))

    @cached_property
    def inner_edge(self) -> Estimate:
        """The smallest singular value but for the atom at zero; zero below 1e-6 √m1.

        Raises:
            NotConverged: if it was not found.
        """
        return self._edge(lambda law: (law.inner_edge.value, law.inner_edge.error))

    def density(self, points: ArrayLike) -> Curve:
        """Density at singular values λ ≥ 0; with the atoms it integrates to one.

        Nothing is broadened: where recurrent gains are tiny, singular values of single units are seen one by one.
        Differences of :meth:`distribution` are the exact masses between points.

        Raises:
            InvalidInput: if a point is negative or not finite.
            NotConverged: if the Dyson equation was not solved, or a point is an atom.

        >>> import meanfield as mf
        >>> found = singular_values(mf.Network("vanilla", {"h": mf.Gate(1.0)}), mf.Inputs(power=0.0), units=128)
        >>> found.density([0.0, 1.0]).values.round(6)  # at rest the quarter circle, √(4 - λ²)/π
        array([0.63662 , 0.551329])
        """
        return self._curve(points, lambda law, at: law.density(at))

    def distribution(self, points: ArrayLike) -> Curve:
        """Share of the singular values up to λ, the atom at zero included.

        Raises:
            InvalidInput: if a point is negative or not finite.
            NotConverged: if the Dyson equation was not solved.
        """
        return self._curve(points, lambda law, at: law.distribution(at))

    def quantile(self, share: float) -> Estimate:
        """The singular value up to which there is this share of all, from 0 to 1; zero up to the atom at zero.

        Its error is how far it moves with the share by one standard error of the distribution there.

        Raises:
            InvalidInput: if the share is not from 0 to 1.
            NotConverged: if the Dyson equation was not solved.

        >>> import meanfield as mf
        >>> found = singular_values(mf.Network("vanilla", {"h": mf.Gate(1.0)}), mf.Inputs(power=0.0), units=128)
        >>> round(found.quantile(0.5).value, 6)
        0.807946
        """
        check_number("share", share, 0.0, 1.0)
        with _translated():
            highest = max(law.outer_edge.value for law in self.laws)

        def distribution(points: Float64) -> Float64:
            return self.distribution(points).values

        resolution = max(law.equation.energy.resolution for law in self.laws)
        with _translated():
            middle = quantiles(distribution, [share], highest, resolution=resolution)
            uncertain = self.distribution(middle.values).errors[0]
            around = quantiles(distribution, np.clip([share - uncertain, share + uncertain], 0.0, 1.0), highest)
        value, moved = float(middle.values[0]), float(np.max(np.abs(around.values - middle.values)))
        return Estimate(value, moved + float(middle.errors[0]))

    def _edge(self, of: Callable[[SingularDensity], tuple[float, float]]) -> Estimate:
        with _translated():
            found = np.array([of(law) for law in self.laws])
        mean = from_groups(found[:, 0])
        return Estimate(mean.value, math.hypot(mean.error, float(np.mean(found[:, 1]))))

    def _curve(self, points: ArrayLike, of: Callable[[SingularDensity, Float64], Values]) -> Curve:
        at = np.atleast_1d(np.asarray(points, dtype=np.float64))
        wrong = at[~(np.isfinite(at) & (at >= 0.0))]
        if at.ndim != 1 or wrong.size:
            shown = f"shape {at.shape}" if at.ndim != 1 else repr(float(wrong[0]))
            raise InvalidInput(f"points: must be a sequence of finite numbers of at least 0, got {shown}")
        with _translated():
            found = [of(law, at) for law in self.laws]
        values = np.array([each.values for each in found])
        numerical = np.mean([each.errors for each in found], axis=0)
        scatter = np.std(values, axis=0, ddof=1) / math.sqrt(len(values))
        return Curve(at, np.mean(values, axis=0), np.hypot(scatter, numerical))


def singular_values(
    network: Network,
    inputs: Inputs | None = None,
    *,
    steps: int = 1,
    hidden: int = DEFAULT_HIDDEN,
    length: int = 64,
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    device: DeviceChoice = "cpu",
) -> SingularValues:
    """The law of the singular values of the Jacobian of one step, or of a few, over all state variables.

    The coefficients of the Jacobian are those of a population, jointly; its matrices are wide, and of the network's
    ensemble: Gaussian, orthogonal or with singular values in a band.

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default.
        steps: how many steps the Jacobian spans, along one trajectory. More than one need matrices that are independent
            from step to step: weights that are redrawn, or a cell without skip path, for which only equal times pair
            up (of matrices that are not Gaussian, a cell with a single one). Cost grows steeply with steps and
            carriers: two steps of a gru take as long as four of a vanilla network. Moments of longer products:
            :func:`meanfield.gradients`.
        hidden: width of the network that it is for.
        length: steps that are made, after a transient if the run is stationary; the Jacobian is that of the last ones.
        units, groups, regime, start, seed, device: see :func:`meanfield.gradients`.

    Returns:
        Estimates with one standard error, from the scatter of the groups.

    Raises:
        InvalidInput: if an argument is out of its range, or several steps are asked for with tied weights and a skip
            path, or with several tied matrices that are not Gaussian.
        NotConverged: if the states do not become stationary, or the Dyson equation was not solved.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=1.0)
    >>> found = singular_values(mf.Network("gru", {"f": gate, "r": gate, "h": gate}), units=512, groups=4)
    >>> 0.0 < found.inner_edge.value < found.outer_edge.value < 1.5
    True
    """
    check_count("steps", steps, 1)
    check_count("length", length, 1)
    trajectory = run(
        network,
        inputs if inputs is not None else Inputs(),
        length=max(length, steps),
        layout=arrange(hidden=hidden, units=units, groups=groups, device=device),
        regime=regime,
        start=start,
        seed=seed,
    )
    return of_trajectory(trajectory, steps)


def of_trajectory(trajectory: Trajectory, steps: int = 1) -> SingularValues:
    """The law over the last steps of a linearised run."""
    sample = trajectory.last_steps(steps)
    if steps > 1 and trajectory.population.regime == "tied" and np.any(sample.state_to_state):
        raise InvalidInput(
            f"steps: with tied weights and the skip path of cell {trajectory.network.cell!r} the matrices of different "
            f"steps are not independent; ask for one step, or regime='untied', got {steps}"
        )
    network = trajectory.network
    cumulant, matrices = fourth_cumulant(network), matrix_law(network)
    if steps > 1 and trajectory.population.regime == "tied" and cumulant != 0.0:
        reached = trajectory.last_steps(1).reached()
        if len(reached.gains) > 1:
            raise InvalidInput(
                f"steps: tied matrices of ensemble {as_ensemble(network.ensemble).name!r} are covered over several "
                f"steps for cells with one of them; cell {network.cell!r} has {len(reached.gains)}; ask for one step, "
                f"or regime='untied', got {steps}"
            )
    with _translated():
        groups = range(len(sample.state_to_state))
        laws = tuple(SingularDensity(_group(sample, k), matrices=matrices) for k in groups)
        try:
            first, second = jacobian_moments(sample, cumulant)
        except ValueError:
            # Fields that act on the state and on a carrier both: beyond the pairings, not beyond the Dyson equation.
            first, second = np.array([law.moments() for law in laws]).T
    return SingularValues(from_groups(first), from_groups(second), from_groups([law.atom for law in laws]), laws)


def _group(sample: CircuitSample, index: int) -> CircuitSample:
    return sample.taken(np.array(index, dtype=np.intp))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except NotConverged:
        raise
    except ArithmeticError as failure:
        raise NotConverged(f"singular values of the one-step Jacobian: {failure}") from failure
