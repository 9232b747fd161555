"""The edge of the eigenvalues of the one-step Jacobian in the untied regime, by quadrature (theory, section 5).

λ is in the support where a perturbation λδ = Dδ + Σ_k A_k y_k keeps itself up: with δ = (λ - D)⁻¹ Σ A_k y_k the mean
squares of the carriers are carried on by

    M_cc'(λ) = Σ_k σ_k² (E[P_c² A_k² (λ - D)⁻²] + E Q_ck²),    the sum over the fields k that read c',

and the edge is where the spectral radius of M is one. On the right of all D it falls with λ.

Gates come the closer to one the more units there are, and their own eigenvalues D with them. A number is given only
where the edge is beyond them and would be the same without the rare units next to it, of which a network may have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from meanfield.closed_cells import Group, Polynomial, Term
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_sensitivity import Moved, squared_slopes
from meanfield.closed_step import ClosedStep, average, carrier_average, pair_average
from meanfield.estimate import Estimate
from meanfield.sampling.expressions import Expression, bounds, constant, evaluate
from meanfield.solvers.bounded_arithmetic import Bounded, bounded
from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.normal_rules import Transition

Float64 = NDArray[np.float64]

_NEAREST, _FARTHEST = 1e-12, 1e100  # distances from D at which the edge is looked for
_COMMON = 3.0  # deviations of a gate's argument within which units are not rare
_RARE_SHARE = 0.02  # of the spectral radius that these may make up; 0.0027 of all units are
_TOLERANCE = 1e-14
_STEP = 1e-4  # relative, of distances between which slopes are taken


def closed_edge(law: ClosedLaw, moved: Moved | None = None) -> Estimate | None:
    """The largest real part of an eigenvalue of the one-step Jacobian, N → ∞.

    Args:
        law: of the state.
        moved: :meth:`ClosedLaw.moved`, where it is known.

    Returns:
        The edge with a bound on its error. None where it depends on the width, since it is that of the gates' own
        values, and for cells whose keep gate shares its Gaussian variables with other factors of the circuit.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> silent = mf.Network("gru", {gate: mf.Gate(recurrent_gain=1.2) for gate in "frh"})  # at rest: (1 + W/2)/2
    >>> closed_edge(closed_law(silent, mf.Inputs(power=0.0))).value.__round__(12)
    0.8
    """
    found = _Edge.of(law)
    distance = found.distance() if found is not None else None
    if found is None or distance is None or found.rare_share(distance) > _RARE_SHARE:
        return None
    slope, off = found.slope(distance), found.error(distance)
    for other, share in law.moved() if moved is None else moved:
        beside = _Edge.of(other)
        if beside is None:
            return None
        shift = abs(beside.log_radius(distance) - found.log_radius(distance)) * distance / slope if distance else 0.0
        off += share * (abs(beside.start - found.start) + shift)
    return Estimate(found.start + distance, off + 4e-16 * (abs(found.start) + distance))


@dataclass(frozen=True, eq=False)
class _Edge:
    """The map M of mean squares right of all D.

    Attributes:
        step, mean, square: the step, and E s and E s² of the state that it reads.
        start: the least upper bound of D.
        gate: index of the group that D is a function of, None where D is one number.
        lost: ``start`` - D, a formula in that group's argument.
    """

    step: ClosedStep
    mean: Bounded
    square: Bounded
    start: float
    gate: int | None
    lost: Expression

    @classmethod
    def of(cls, law: ClosedLaw) -> _Edge | None:
        """None where products do not come apart, or D is no function of one variable."""
        step, keep = law.step, law.step.cell.update[1]
        reads = [index for index in sorted(_groups_of(keep)) if _spread(step, index) > 0.0]
        gate, lost = None, constant(0.0)
        if reads:
            (gate, *more) = reads
            if more or _groups_of(step.cell.lost) != {gate} or step.cell.groups[gate].outer is not None:
                return None
            group = step.cell.groups[gate]
            for term in step.cell.lost:
                lost = lost + constant(term.factor) * group.functions[term.functions[gate]]
            low = bounds([lost], {group.argument: (-math.inf, math.inf)})[lost][0]
            if not math.isfinite(low):
                return None
            start, lost = 1.0 - low, lost - low if low != 0.0 else lost
        else:
            start = float(average(keep, step.moments).value)
        found = cls(step, bounded(law.mean.value), bounded(law.second_moment.value), start, gate, lost)
        return found if found._comes_apart else None

    @cached_property
    def _slopes(self) -> dict[str, list[Bounded]]:
        """E Q_ck² of all carriers and E A_k² of every variable that has fields."""
        return {
            name: squared_slopes(self.step, self.mean, self.square, name)
            for name, gains in zip(self.step.cell.noises, self.step.squared_gains, strict=True)
            if gains.any()
        }

    @property
    def _comes_apart(self) -> bool:
        """Whether P_c is independent of A_k and D, and A_k or Q_ck vanishes."""
        cell = self.step.cell
        for name, slopes in self._slopes.items():
            if slopes[-1].magnitude == 0.0:
                continue
            group = self.step.group_of(name)
            moved = [term for part in cell.update for term in part if term.functions[group]]
            reads = {group, self.gate} | _groups_of(moved)
            if any(each.magnitude > 0.0 for each in slopes[:-1]):
                return False
            if any(_groups_of(carrier[1]) & reads for carrier in cell.carriers):
                return False
        return True

    def distance(self) -> float | None:
        """How far right of all D the edge is; None where it is not, but for a D that is one number."""
        if not self.log_radius(_NEAREST) > 0.0:
            return 0.0 if self.gate is None else None
        high = 1.0
        while self.log_radius(high) > 0.0:
            high *= 100.0
            if high > _FARTHEST:
                return None

        def excess(log_distance: float) -> float:
            return self.log_radius(math.exp(log_distance))

        ends = math.log(_NEAREST), math.log(high)
        return math.exp(brentq(excess, *ends, xtol=_TOLERANCE, rtol=_TOLERANCE))

    def slope(self, distance: float) -> float:
        """How fast the logarithm of the radius falls with that of the distance."""
        if distance == 0.0:
            return 1.0
        return (self.log_radius(distance) - self.log_radius(distance * (1.0 + _STEP))) / math.log1p(_STEP)

    def error(self, distance: float) -> float:
        """A bound on what is off in the distance, from the errors of integrals."""
        if distance == 0.0:
            return 0.0
        found = self.carried(distance)
        above, below = _radius(found.value + found.error), _radius(np.maximum(found.value - found.error, 0.0))
        # What it falls short of one at the root is what the root is off.
        share = (above - below) / _radius(found.value) + abs(self.log_radius(distance))
        return distance * (2.0 * share / self.slope(distance) + 4.0 * _TOLERANCE)

    def rare_share(self, distance: float) -> float:
        """The share of the spectral radius that is made by units whose gate is rarely as far open or shut."""
        if self.gate is None or distance == 0.0:
            return 0.0
        return 1.0 - _radius(self.carried(distance, common=True).value) / _radius(self.carried(distance).value)

    def log_radius(self, distance: float) -> float:
        """Logarithm of the spectral radius of M."""
        radius = _radius(self.carried(distance).value)
        return math.log(radius) if radius > 0.0 else -math.inf

    def carried(self, distance: float, *, common: bool = False) -> Bounded:
        """M at a distance right of all D, (carriers, carriers); without rare units if ``common``."""
        step, carriers = self.step, self.step.cell.carriers
        value, error = np.zeros((2, len(carriers), len(carriers)))
        direct = [pair_average(carrier[1], carrier[1], step.moments) for carrier in carriers]
        for name, slopes in self._slopes.items():
            through = bounded(0.0)
            if slopes[-1].magnitude > 0.0:
                through = self._through(name, distance, common)
            gains = step.squared_gains[list(step.cell.noises).index(name)]
            for c, power in enumerate(direct):
                row = power * through + slopes[c]
                value[c] += gains * row.value
                error[c] += gains * row.error
        return Bounded(value, error)

    def _through(self, name: str, distance: float, common: bool) -> Bounded:
        """E A_k² (λ - D)⁻²."""
        step, slopes = self.step, self._slopes[name][-1]
        if self.gate is None:
            return slopes / distance**2
        group, changed = step.cell.groups[self.gate], step.group_of(name)
        functions = group.functions
        if changed == self.gate:
            load = group.loads[group.inner.index(name)]
            functions = tuple(each * load for each in group.slopes)
        matrices = step.with_matrix(changed, step.groups[changed].slope_moments(name))
        one = constant(0.0 if changed == self.gate else 1.0)
        matrices[self.gate] = self._weighted(group, (*functions, one), distance, common)
        update = _with_one_as(step.cell.update, self.gate, len(functions))
        return carrier_average(update, self.mean, self.square, matrices, changed)

    def _weighted(self, group: Group, functions: Sequence[Expression], distance: float, common: bool) -> Bounded:
        """E F_i F_j (λ - D)⁻²."""
        mean, deviation = _law_of(self.step, group)

        def values(u: Float64) -> Float64:
            lost, *found = evaluate([self.lost, *functions], {group.argument: u})
            weight = 1.0 / (distance + lost)
            if common:
                weight = np.where(np.abs(u - mean) <= _COMMON * deviation, weight, 0.0)
            return np.stack([np.broadcast_to(each * weight, u.shape) for each in found])

        ends = (mean - _COMMON * deviation, mean + _COMMON * deviation) if common else ()
        places = [*group.transitions, *(Transition(end, deviation, kink=True) for end in ends)]
        # (λ - D)⁻¹ changes where D comes as near to its bound as λ is.
        grid = mean + deviation * np.linspace(-12.0, 12.0, 241)
        lost = np.broadcast_to(evaluate([self.lost], {group.argument: grid})[0], grid.shape)
        crossed = np.flatnonzero((lost[1:] > distance) != (lost[:-1] > distance))
        width = min((each.width for each in group.transitions), default=deviation)
        places += [Transition(float(grid[index]), width) for index in crossed]
        return NormalFunctions(values, mean, deviation, places).moments


def _radius(matrix: Float64) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(matrix)), initial=0.0))


def _groups_of(terms: Sequence[Term]) -> set[int]:
    """Which groups a sum of products reads."""
    return {index for term in terms for index, function in enumerate(term.functions) if function}


def _with_one_as(polynomial: Polynomial, group: int, place: int) -> Polynomial:
    """A polynomial with the constant function of one group in another place."""

    def moved(term: Term) -> Term:
        functions = list(term.functions)
        functions[group] = functions[group] or place
        return replace(term, functions=tuple(functions))

    offset, slope = polynomial
    return tuple(moved(each) for each in offset), tuple(moved(each) for each in slope)


def _law_of(step: ClosedStep, group: Group) -> tuple[float, float]:
    """Mean and deviation of the argument of a group without outer variable."""
    rest, *loads = (float(each) for each in evaluate([group.rest, *group.loads], {}))
    means, deviations = ([step.parameters[f"{word} {name}"] for name in group.inner] for word in ("mean", "deviation"))
    return rest + math.fsum(map(float.__mul__, loads, means)), math.hypot(*map(float.__mul__, loads, deviations))


def _spread(step: ClosedStep, index: int) -> float:
    """How much the functions of a group vary at most: zero where its variables do not."""
    return max((step.parameters[f"deviation {name}"] for name in step.cell.groups[index].noises), default=0.0)
