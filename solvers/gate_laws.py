"""A gate: a function of one Gaussian variable, its law, and what two correlated copies of it share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.normal_rules import NormalRule, Transition, rule_for
from meanfield.solvers.orthogonal_polynomials import OrthonormalPolynomials, polynomials_of

Float64 = NDArray[np.float64]
Function = Callable[[Float64], Float64]


@dataclass(frozen=True, eq=False)
class GateLaw:
    """v(u) for u ~ N(mean, deviation²).

    Attributes:
        value: v, of an array of u.
        slope: dv/du.
        mean, deviation: of u; the deviation may be zero.
        transitions: where v changes, in u.
        count: how many orthonormal polynomials of v describe it.

    >>> gate = GateLaw(np.tanh, lambda u: 1.0 / np.cosh(u) ** 2, 0.0, 0.5, (), 8)
    >>> one, other = gate.form(1.0), gate.form(0.0)  # the same copy, and independent ones
    >>> np.allclose(one.value, np.eye(8)), np.allclose(other.value, np.diag([1.0, *[0.0] * 7]))
    (True, True)
    """

    value: Function
    slope: Function
    mean: float
    deviation: float
    transitions: Sequence[Transition]
    count: int

    @cached_property
    def _rule(self) -> NormalRule:
        return rule_for([each.scaled(self.mean, self.deviation) for each in self.transitions])

    @cached_property
    def points(self) -> tuple[Float64, Float64]:
        """Values of u and their weights, a rule for averages over u."""
        if self.deviation == 0.0:
            return np.array([self.mean]), np.ones(1)
        used = self._rule.weights > 0.0
        weights = self._rule.weights[used]
        return self.mean + self.deviation * self._rule.nodes[used], weights / np.sum(weights)

    @cached_property
    def polynomials(self) -> OrthonormalPolynomials:
        """Orthonormal polynomials of v."""
        points, weights = self.points
        return polynomials_of(np.broadcast_to(self.value(points), points.shape), weights, self.count)

    def form(self, correlation: float, *, quick: bool = False) -> Bounded:
        """E p_j(v_a) p_k(v_b) at a correlation of u_a and u_b, (n, n)."""
        return self._values.pairs(np.array([correlation]), quick=quick)[..., 0]

    def slope_form(self, correlation: float, *, quick: bool = False) -> Float64:
        """E v'_a p_j(v_a) v'_b p_k(v_b), (n, n)."""
        return self._slopes.pairs(np.array([correlation]), quick=quick).value[..., 0]

    @cached_property
    def _values(self) -> NormalFunctions:
        return NormalFunctions(
            lambda u: self.polynomials.values(np.asarray(self.value(u))), self.mean, self.deviation, self.transitions
        )

    @cached_property
    def _slopes(self) -> NormalFunctions:
        return NormalFunctions(
            lambda u: self.polynomials.values(np.asarray(self.value(u))) * self.slope(u),
            self.mean,
            self.deviation,
            self.transitions,
        )
