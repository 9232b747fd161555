"""The operator of a random-coefficient autoregression c ← f c + g, discretised.

(T φ)(c) = E[φ(f c + g)] takes functions to their expectations one step later. φ is represented by its values at the
nodes of Chebyshev panels, so T is a matrix, and its transpose carries measures, represented by weights at the nodes,
one step forward. That asks for smooth functions only: measures may be as rough as they are, as long as what is averaged
over them is smooth on the scale of a panel.

Source: theory, section 3; K. E. Atkinson, The Numerical Solution of Integral Equations of the Second Kind (Cambridge
University Press, 1997), chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from meanfield.solvers.chebyshev_panels import Panels, graded_panels
from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    Coefficients,
    IndependentCoefficients,
    JointCoefficients,
)

Float64 = NDArray[np.float64]
KeepFunction = Callable[[Float64, Float64], Float64]

_SMALLEST_CONDITION = 1e-14  # reciprocal condition number: about the rate at which c forgets


@dataclass(frozen=True)
class Grading:
    """How panels widen away from the origin of c, about which the functions to be averaged vary.

    Attributes:
        narrowest: width of panels near the origin.
        plateau: how far from the origin panels keep that width.
        growth: by how much of the further distance panels are wider.
        widest: at most this.
    """

    narrowest: float
    plateau: float
    growth: float
    widest: float

    def panels(self, low: float, high: float, order: int, origin: float) -> Panels:
        return graded_panels(
            low,
            high,
            order,
            origin=origin,
            narrowest=min(self.narrowest, self.widest),
            growth=self.growth,
            plateau=self.plateau,
            widest=self.widest,
        )


@dataclass(frozen=True, eq=False)
class TransferOperator:
    """T on panels, and its relatives with other weights.

    Everything happens in c - centre, so that a law that is narrow for its mean keeps its digits.

    Attributes:
        coefficients: the law of f and g.
        panels: in c - centre.
        grading: of panels for the values that c takes between its two changes, fading and increment.
        centre: where c is measured from.

    >>> from meanfield.solvers.gauss_compression import KeepRule, Rule
    >>> coin = IndependentCoefficients(KeepRule([0.5], [0.5], [1.0]), Rule([-0.5, 0.5], [0.5, 0.5]))
    >>> grading = Grading(narrowest=1.0, plateau=1.0, growth=0.0, widest=1.0)
    >>> operator = TransferOperator(coin, grading.panels(-1.0, 1.0, 8, 0.0), grading)
    >>> law = operator.stationary()  # the uniform one
    >>> float(law @ operator.nodes**2).__round__(12)
    0.333333333333
    >>> halved = operator.weighted(lambda keep, release: keep)  # keep is 1/2
    >>> np.allclose(law @ halved, 0.5 * law)
    True
    """

    coefficients: Coefficients
    panels: Panels
    grading: Grading
    centre: float = 0.0

    @cached_property
    def nodes(self) -> Float64:
        """Where functions of c are evaluated, (N,)."""
        return self.centre + self.panels.nodes

    @cached_property
    def matrix(self) -> Float64:
        """T, (N, N): from values at the nodes to expectations one step later; measures as row vectors times it move on.

        Rows add up to 1.
        """
        return self.weighted(None)

    def weighted(self, kappa: KeepFunction | None) -> Float64:
        """T_κ, (N, N): (T_κ φ)(c) = E[κ(f) φ(f c + g)].

        A density v(c) of something that a step multiplies by κ(f), given as weights at the nodes, becomes
        ``v @ weighted(kappa)``. For what starts anew with weights s at each step and is read out by values q, the
        renewal function is K(z) = s (1 - z T_κ)⁻¹ q.

        Args:
            kappa: of arrays f and 1 - f, not negative; None for 1. Analytic in f, like T itself.
        """
        law = self.coefficients
        if isinstance(law, JointCoefficients):
            return self.push(law if kappa is None else _reweighted(law, kappa))
        weights = law.keep.weights
        if kappa is not None:
            weights = weights * np.broadcast_to(kappa(law.keep.keep, law.keep.release), weights.shape)
        if isinstance(law, BlendedCoefficients):
            return self._blend(law, weights)
        return self._fade(weights) @ self._increment

    def push(self, coefficients: Coefficients) -> Float64:
        """The matrix (N, N) of φ ↦ ∫ φ(f c + g) dM(f, g) for another measure M, of any mass.

        It serves where the weight of a step depends on more than f and g; M must not carry c outside of the panels.
        """
        if isinstance(coefficients, BlendedCoefficients):
            return self._blend(coefficients, coefficients.keep.weights)
        if isinstance(coefficients, IndependentCoefficients):
            other = TransferOperator(coefficients, self.panels, self.grading, self.centre)
            return other.matrix
        steps = coefficients.increment - self.centre * coefficients.release
        points = self.panels.nodes[:, None] * coefficients.keep + steps
        return self.panels.averages(points, coefficients.weights)

    def _blend(self, law: BlendedCoefficients, weights: Float64) -> Float64:
        """f changes the nodes by itself, so all pairs of f and target are visited."""
        keep, release = law.keep.keep[:, None], law.keep.release[:, None]
        steps = (release * (law.target.nodes - self.centre)).ravel()
        points = self.panels.nodes[:, None] * np.broadcast_to(keep, (len(keep), len(law.target.nodes))).ravel() + steps
        return self.panels.averages(points, np.outer(weights, law.target.weights).ravel())

    # With f and g independent, T is a fading c -> f c, which takes the nodes to a second set of panels, and an
    # increment. f c is measured from (1 - release) centre, where release is the mean of 1 - f.

    @cached_property
    def _faded(self) -> tuple[Float64, Panels]:
        """Values of f c at the nodes and their panels, (N, keeps)."""
        assert isinstance(self.coefficients, IndependentCoefficients)
        keep = self.coefficients.keep
        offsets = self.centre * (keep.mean_release - keep.release)
        points = self.panels.nodes[:, None] * keep.keep + offsets
        low, high = float(points.min()), float(points.max())
        if low == high:
            return points, Panels(np.array([low - 1.0, low + 1.0]), 1)  # its only node is there
        origin = -self.centre * (1.0 - keep.mean_release)
        return points, self.grading.panels(low, high, self.panels.order, origin)

    @cached_property
    def _increment(self) -> Float64:
        assert isinstance(self.coefficients, IndependentCoefficients)
        law = self.coefficients
        steps = law.increment.nodes - self.centre * law.keep.mean_release
        _, middle = self._faded
        return self.panels.averages(middle.nodes[:, None] + steps, law.increment.weights)

    def _fade(self, weights: Float64) -> Float64:
        points, middle = self._faded
        return middle.averages(points, weights)

    def stationary(self) -> Float64:
        """Weights (N,) with sum 1 that T leaves as they are: the stationary law as a quadrature rule on the nodes.

        Raises:
            ArithmeticError: if T has more than one such measure within rounding.
        """
        excess = -self.matrix.T
        count = len(excess)
        diagonal = np.arange(count)
        # What stays and what leaves a node add up to 1 in exact arithmetic; set so, no mass is lost over a long memory.
        excess[diagonal, diagonal] = 0.0
        excess[diagonal, diagonal] = -np.sum(excess, axis=0)
        # One equation of the left null vector follows from the others; the sum takes its place.
        spare = int(np.argmin(np.abs(self.panels.nodes)))
        excess[spare] = 1.0
        size = float(np.max(np.sum(np.abs(excess), axis=0)))
        factors, pivots, _ = lapack.dgetrf(excess, overwrite_a=True)
        condition, _ = lapack.dgecon(factors, size)
        if condition < _SMALLEST_CONDITION:
            raise ArithmeticError("the transfer operator has more than one stationary law within rounding")
        solution, _ = lapack.dgetrs(factors, pivots, (diagonal == spare).astype(np.float64))
        return np.asarray(solution)


def _reweighted(law: JointCoefficients, kappa: KeepFunction) -> JointCoefficients:
    return JointCoefficients(law.keep, law.release, law.increment, law.weights * kappa(law.keep, law.release))
