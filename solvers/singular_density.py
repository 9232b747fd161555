"""The law of the singular values of a one-step Jacobian: density, distribution, edges, quantiles (theory, section 5).

All of it is read from the Dyson equation on the real axis itself, without broadening. The density is the imaginary
part of the trace. The distribution is the phase of E log det(H - λ - i0): K has a negative imaginary part, so that its
pivots lie in the lower half plane and their angles add up without ambiguity. Edges are folds, where the Hessian of Φ is
singular.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.dyson import ROUNDING, DysonEquation, DysonSolution
from meanfield.solvers.free_laws import PositiveLaw
from meanfield.solvers.generic_rank import null_share
from meanfield.solvers.spectral_fold import fold_near
from meanfield.solvers.threads import in_parts

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

LOWEST = 1e-6  # of √m1: singular values below it are not told from zero
_AT_ONCE = 1 << 13  # units times points whose matrices are eliminated at once
_INSIDE = 15  # points by which a bracket of an edge is divided
_NARROW = 0.1  # relative width of a bracket from which a fold is looked for
_SHARP = 1e-11  # relative width of a bracket that needs no fold
_BESIDE = 1e-7  # relative distance at which both sides of a fold are looked at
_CLOSE = 1e-10  # the same of matrices that are not Gaussian
_ATOM = 1e-14  # relative distance at which a point is right of an atom
_INFINITE = 1e11  # times 1/λ: a trace as large is that of an atom
_HIDDEN = 1e-5  # relative error of a trace from which an atom is close
_LARGE = 1e6  # the same where atoms are resolved to 1e-7 only
_PHASE = 1e-11  # rounding of the distribution
_FARTHEST = 1e9  # in units of √m1
_PROBES = (np.array([0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3]), np.array([1e-4, 1e-5, 1e-6]))  # for a gap at zero, of √m1
_NEXT_TO_ATOM = 1e3  # times 1/λ: a trace from which a point may be next to an atom of matrices that are not Gaussian
_TABLE = 64  # points between which a quantile is looked for
_CIRCLE = 64  # points of the contour of moments, in the upper half plane


@dataclass(frozen=True)
class Values:
    """A function of the singular value.

    Attributes:
        values: one a point.
        errors: of them, one a point.
    """

    values: Float64
    errors: Float64


@dataclass(frozen=True)
class Edge:
    """An end of the support and a bound of its error."""

    value: float
    error: float


class SingularDensity:
    """The law of the singular values λ ≥ 0 of J - z for one sample of units, of total mass one.

    Args:
        sample: coefficients without leading axes.
        shift: z.
        matrices: see :class:`~meanfield.solvers.dyson.DysonEquation`.

    Attributes:
        equation: the Dyson equation.
        atom: mass at λ = 0, exact.

    >>> one = np.ones((4, 1, 1))
    >>> circle = SingularDensity(CircuitSample(0 * one, one, one, 0 * one, np.array([1.0]), np.array([0])))
    >>> circle.density([1.0]).values.round(12)  # √(4 - λ²)/π
    array([0.5513289])
    >>> circle.atom, round(circle.outer_edge.value, 12)
    (0.0, 2.0)
    """

    def __init__(self, sample: CircuitSample, shift: complex = 0.0, matrices: PositiveLaw | None = None) -> None:
        self.equation = DysonEquation(sample, shift, matrices)
        self.atom = null_share(sample, shift)
        self._lowest = LOWEST * self.equation.pencils.scale
        # Masses of bands that a gap separates are multiples of one unit's share.
        self._half_unit = 0.5 / (len(sample.state_to_state) * sample.variables)

    def density(self, points: ArrayLike) -> Values:
        """Density at singular values λ ≥ 0; atoms are not in it. Below 1e-6 √m1 it is that at 1e-6 √m1.

        Raises:
            ValueError: if a point is negative or not finite.
            ArithmeticError: if the Dyson equation was not solved, or a point is an atom.
        """
        at = _checked(points)
        if np.any(hidden := at < self._gap):
            found = Values(np.zeros(len(at)), np.zeros(len(at)))
            if not np.all(hidden):
                rest = self.density(at[~hidden])
                found.values[~hidden], found.errors[~hidden] = rest.values, rest.errors
            return found
        solution = self.equation.solve(np.maximum(at, self._lowest))
        scale = 2.0 / np.pi
        values = np.where(solution.outside, 0.0, np.maximum(solution.trace.imag, 0.0))
        below = np.where(at < self._lowest, np.abs(solution.derivative.imag) * self._lowest, 0.0)
        # The density vanishes outside, but for a point that may be inside by rounding.
        errors = np.where(solution.outside, ROUNDING * np.abs(solution.derivative) * at, solution.errors + below)
        atoms = ~(np.abs(at * solution.trace) < (_LARGE if self.equation.energy.resolution else _INFINITE))
        if np.any(atoms):
            raise ArithmeticError(f"the singular values have an atom at {at[atoms][0]:.6g}: ask for their distribution")
        return Values(scale * values, scale * errors)

    def distribution(self, points: ArrayLike) -> Values:
        """Share of the singular values up to λ, the atom at zero included; below 1e-6 √m1 that is the atom alone.

        Atoms away from zero count from 1e-14 λ left of them, those of matrices that are not Gaussian from 1e-7 λ.

        Raises:
            ValueError: if a point is negative or not finite.
            ArithmeticError: if the Dyson equation was not solved.
        """
        at = _checked(points)
        small = (at < self._lowest) | (at < self._gap)
        # A point that is an atom belongs to the left; without matrices to smear it nothing is finite there.
        aims = np.maximum(at * (1.0 + _ATOM), max(self._lowest, self._gap))
        solution, shift = self.equation.solve(aims), np.full(len(at), _ATOM)
        if resolution := self.equation.energy.resolution:
            size = np.abs(solution.trace)
            near = (aims * size > _NEXT_TO_ATOM) & (solution.errors > _HIDDEN * size)
            if np.any(near):
                shift[near] = resolution
                solution = self.equation.solve(aims * np.where(near, 1.0 + resolution, 1.0))
        values = np.clip(2.0 * self.below(solution) - 1.0, self.atom, 1.0)
        # Φ is stationary in the unknowns: their errors count only in second order.
        errors = 2.0 * np.abs(solution.trace * solution.reached.imag) + _PHASE
        errors += 2.0 * np.abs(solution.trace.imag) * shift * at
        return Values(np.where(small, self.atom, values), np.where(small, values - self.atom + _PHASE, errors))

    def quantile(self, shares: ArrayLike) -> Values:
        """Singular values up to which there are these shares of all, from 0 to 1; 0 up to the atom at zero.

        Raises:
            ValueError: if a share is not from 0 to 1.
            ArithmeticError: if the Dyson equation was not solved.
        """
        return quantiles(
            lambda points: self.distribution(points).values,
            shares,
            self.outer_edge.value,
            resolution=self.equation.energy.resolution,
        )

    def moments(self) -> tuple[float, float]:
        """m1 and m2, the means of λ² and λ⁴, from the trace on a circle around the spectrum.

        Raises:
            ArithmeticError: if the Dyson equation was not solved.
        """
        radius = 1.5 * self.outer_edge.value
        circle = radius * np.exp(1j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE)
        trace = self.equation.solve(circle).trace
        first, second = (float(-np.mean((circle ** (order + 1) * trace).real)) for order in (2, 4))
        return first, second

    def below(self, solution: DysonSolution) -> Float64:
        """Share of the eigenvalues ±λ of the Hermitisation that lie below Re w."""
        equation = self.equation
        C = equation.pencils.carriers
        w = solution.reached / equation.pencils.scale
        alpha, beta = np.split(equation.energy.of_units(solution.unknowns), [C], axis=1)
        phase = np.empty(len(w))
        at_once = max(1, _AT_ONCE // len(equation.pencils.skip))

        def work(first: int, last: int) -> None:
            with np.errstate(all="ignore"):
                for part in range(first, last):
                    some = slice(part * at_once, (part + 1) * at_once)
                    phase[some] = np.mean(_phases(equation.pencils.matrices(w[some], alpha[some], beta[some])), axis=1)

        in_parts(work, -(-len(w) // at_once))
        phase += np.sum(np.abs(np.angle(-alpha)), axis=1) + equation.energy.phase(solution.unknowns)
        if not np.all(np.isfinite(phase)):
            raise ArithmeticError("the distribution of the singular values is not a number at some point")
        return np.asarray(-phase / (2.0 * np.pi * equation.pencils.variables))

    @cached_property
    def outer_edge(self) -> Edge:
        """The largest singular value.

        Raises:
            ArithmeticError: if there is none below 1e9 √m1, or the Dyson equation was not solved.
        """
        scale = self.equation.pencils.scale
        if self.atom >= 1.0:
            return Edge(0.0, 0.0)
        low, high = (1.0 - _BESIDE) * scale, 2.0 * scale  # no law is wholly below its mean square
        while not self._is_above(np.array([high]))[0]:
            high *= 2.0
            if high > _FARTHEST * scale:
                raise ArithmeticError("the largest singular value is beyond all numbers")
        return self._edge(low, high, outer=True)

    @cached_property
    def inner_edge(self) -> Edge:
        """The smallest singular value but for the atom at zero; zero if it is less than 1e-6 √m1."""
        if self.atom >= 1.0:
            return Edge(0.0, 0.0)
        low = self._gap or self._lowest
        if not self._gap and not self._is_under(np.array([low]))[0]:
            return Edge(0.0, self._lowest)
        return self._edge(low, self.outer_edge.value * (1.0 + _BESIDE), outer=False)

    @cached_property
    def _gap(self) -> float:
        """A place in the gap at zero, zero if there is none or the equation can be solved there.

        Where matrices that can be inverted dominate, their answers grow like 1/λ towards zero and cancel.
        """
        if not self.equation.energy.resolution or self.atom >= 1.0:
            return 0.0
        for probes in _PROBES:
            places = probes * self.equation.pencils.scale
            try:
                under = self._is_under(places)
            except ArithmeticError:
                return 0.0
            if np.any(under):
                return float(places[np.argmax(under)])
        return 0.0

    def _is_above(self, points: Float64) -> NDArray[np.bool_]:
        solution = self.equation.solve(points)
        return np.asarray(solution.outside & (2.0 * self.below(solution) - 1.0 > 1.0 - self._half_unit))

    def _is_under(self, points: Float64) -> NDArray[np.bool_]:
        solution = self.equation.solve(points)
        return np.asarray(solution.outside & (2.0 * self.below(solution) - 1.0 < self.atom + self._half_unit))

    def _edge(self, low: float, high: float, *, outer: bool) -> Edge:
        """The end of the support in a bracket, by division into many parts and then as a fold."""
        # Atoms and jumps of the density are no folds, and next to them it is rounding that decides.
        resolution = self.equation.energy.resolution
        while high - low > max(_SHARP, resolution) * high:
            spaced = np.geomspace if high > 2.0 * low else np.linspace
            inside = spaced(low, high, _INSIDE + 2)[1:-1]
            # Whether points lie left of the edge changes once, from yes to no.
            left = ~self._is_above(inside) if outer else self._is_under(inside)
            count = int(np.argmin(left)) if not np.all(left) else len(inside)
            low, high = float((low, *inside)[count]), float((*inside, high)[count])
            if high - low < _NARROW * high and (edge := self._fold(low, high, outer=outer)) is not None:
                return edge
        return Edge(0.5 * (low + high), 0.5 * (high - low) + resolution * high)

    def _fold(self, low: float, high: float, *, outer: bool) -> Edge | None:
        """The fold in a bracket, None if it was not found or is not the edge."""
        outside = self.equation.solve(high if outer else low)
        if not outside.outside[0] or not self.equation.pencils.carriers:
            return None
        found = fold_near(self.equation, outside.points[0].real, outside.unknowns[0].real)
        if found is None or not low <= found.point <= high:
            return None
        # Densities of bands may begin with a jump, next to which folds are rounding.
        beside = _CLOSE if self.equation.energy.resolution else _BESIDE
        sides = found.point * (1.0 + np.array([-beside, beside]))
        if self.equation.energy.resolution:
            trace = self.equation.solve(sides[1 if outer else 0]).trace[0]
            if np.abs(trace) * found.point > _NEXT_TO_ATOM:
                return None
        left = ~self._is_above(sides) if outer else self._is_under(sides)
        return Edge(found.point, found.error) if left[0] and not left[1] else None


def quantiles(
    distribution: Callable[[Float64], Float64], shares: ArrayLike, highest: float, *, resolution: float = 0.0
) -> Values:
    """Where a distribution on [0, highest] reaches these shares, by a table and then root finding.

    Args:
        distribution: not decreasing, one at the highest point.
        shares: from 0 to 1.
        highest: end of the support.
        resolution: relative distance by which a step of the distribution may be off.

    Returns:
        Points, and bounds of their errors from the slope between the last points on both sides.

    Raises:
        ValueError: if a share is not from 0 to 1.
        ArithmeticError: if a root was not found.
    """
    wanted = np.atleast_1d(np.asarray(shares, dtype=np.float64))
    if not np.all((wanted >= 0.0) & (wanted <= 1.0)):
        raise ValueError(f"shares must be from 0 to 1, got {wanted.tolist()}")
    if highest == 0.0:
        return Values(np.zeros(len(wanted)), np.zeros(len(wanted)))
    # Points next to zero cost most.
    nodes = highest * np.concatenate(([0.0], np.geomspace(1e-5, 0.01, _TABLE // 8), np.linspace(0.02, 1.0, _TABLE)))
    reached = np.maximum.accumulate(np.append(distribution(nodes[:-1]), 1.0))
    found = np.where(wanted <= reached[0], 0.0, np.where(wanted >= 1.0, highest, np.nan))
    inner = np.flatnonzero(np.isnan(found))
    errors = np.zeros(len(wanted))
    if len(inner):
        cell = np.searchsorted(reached, wanted[inner])
        result = elementwise.find_root(
            lambda points, share: distribution(points) - share,
            (nodes[cell - 1], nodes[cell]),
            args=(wanted[inner],),
            tolerances={"xatol": 1e-10 * highest, "xrtol": 1e-10, "fatol": 10.0 * _PHASE},
        )
        if not np.all(result.success):
            raise ArithmeticError("a quantile of the singular values was not found")
        width = np.abs(result.bracket[1] - result.bracket[0])
        rise = np.abs(result.f_bracket[1] - result.f_bracket[0])
        missed = (
            2.0
            * (np.abs(result.f_x) + _PHASE)
            * np.divide(width, rise, out=np.full_like(rise, np.inf), where=rise > 0.0)
        )
        found[inner], errors[inner] = result.x, np.minimum(width, missed) + resolution * result.x
    return Values(found, errors)


def _checked(points: ArrayLike) -> Float64:
    at = np.atleast_1d(np.asarray(points, dtype=np.float64))
    if not np.all(np.isfinite(at)) or np.any(at < 0.0):
        raise ValueError("singular values must be finite and not negative")
    return at


def _phases(K: Complex128) -> Float64:
    """Sum of the angles of the pivots of matrices with negative imaginary parts, each from -π to 0."""
    K = np.moveaxis(K, (-2, -1), (0, 1)).copy()
    total = np.zeros(K.shape[2:])
    for i in range(len(K)):
        pivot = K[i, i]
        total -= np.abs(np.angle(pivot))
        for j in range(i + 1, len(K)):
            K[j, i + 1 :] -= (K[j, i] / pivot) * K[i, i + 1 :]
    return total
