"""E f(x) g(y) of functions of two correlated standard normal variables, for all correlations at once.

With f = Σ c_k h_k and g = Σ d_k h_k in orthonormal Hermite polynomials, E f(x) g(y) = Σ c_k d_k ρ^k (Mehler). What
the series leaves out is at most |ρ|^K √(Σ_k≥K c_k² Σ_k≥K d_k²), and both sums are known from E f² and E g². Where this
is too much, for steps and kinks at correlations near ±1, the two-dimensional integral is done on panels.

Source: F. G. Mehler, Ueber die Entwicklung einer Function von beliebig vielen Variablen nach Laplaceschen Functionen
höherer Ordnung (J. reine angew. Math. 66, 1866).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.normal_rules import (
    NormalRule,
    Transition,
    far_rule,
    panel_edges,
    panel_nodes,
    rule_for,
)

Float64 = NDArray[np.float64]

_TERMS = (128, 512)
_ROUNDING = 2e-15  # of values of gates and sums of them, relative to √(E f² E g²)
_ENOUGH = 1e-13  # the same, of an expansion
_NEGLIGIBLE = 1e-18  # share of E f² at the last nodes
_PAIR_REACH = 12.0
_PAIR_ORDERS = (24, 18)
_SIDE = 1e-300  # distance from a kink
_AT_ONCE = 1 << 20  # evaluations of functions that are kept in memory together


@dataclass(frozen=True, eq=False)
class NormalFunctions:
    """Functions f_i of one normal variable u = mean + deviation × z.

    Attributes:
        function: values of all functions at an array of u, (functions, …).
        mean: of u.
        deviation: of u; may be zero.
        transitions: where functions change, in u.

    >>> both = NormalFunctions(lambda u: np.stack([np.ones_like(u), u]), 0.0, 2.0)
    >>> float(both.pairs(np.array([0.5])).value[1, 1, 0].round(12))
    2.0
    """

    function: Callable[[Float64], Float64]
    mean: float
    deviation: float
    transitions: Sequence[Transition] = field(default=())

    @cached_property
    def moments(self) -> Bounded:
        """E f_i f_j, (functions, functions)."""
        if self.deviation == 0.0:
            # At a kink the limit of small deviations is the average of both sides.
            kink = any(each.kink and each.centre == self.mean for each in self.transitions)
            sides = self.function(self.mean + np.array([-_SIDE, _SIDE])) if kink else self._values[:, None]
            value = sides @ sides.T / sides.shape[1]
            return Bounded(value, _ROUNDING * np.abs(value))
        fine = (self._values * self._rule.weights) @ self._values.T
        coarse = (self._values * self._rule.coarse) @ self._values.T
        sizes = np.sqrt(np.outer(np.diag(fine), np.diag(fine)))
        return Bounded(fine, np.abs(fine - coarse) + _ROUNDING * sizes)

    def variance_slopes(self, derivatives: NormalFunctions) -> Float64:
        """Derivatives of E f_i f_j in the variance of u, (functions, functions); zero where there is no variance.

        Args:
            derivatives: those of the functions in u, of the same u. With E (f g)' z they leave one order of the
                deviation less to cancel than the score z² - 1 of f g itself.
        """
        if self.deviation == 0.0:
            return np.zeros_like(self.moments.value)
        weights = self._rule.weights * self._rule.nodes / (2.0 * self.deviation)
        half = (derivatives.on(self._rule.nodes) * weights) @ self._values.T
        return half + half.T

    def on(self, deviates: Float64) -> Float64:
        """Values at given deviates, (functions, …)."""
        return self.function(self.mean + self.deviation * deviates)

    def pairs(self, correlations: Float64, *, quick: bool = False) -> Bounded:
        """E f_i(u_a) f_j(u_b) of two copies of u.

        Args:
            correlations: of the copies, (correlations,).
            quick: stop at a short series, whatever its error; it is good except for steep functions near ±1.

        Returns:
            (functions, functions, correlations).
        """
        count = len(self.moments.value)
        if self.deviation == 0.0:
            shape = (count, count, len(correlations))
            return Bounded(
                np.broadcast_to(self.moments.value[..., None], shape),
                np.broadcast_to(self.moments.error[..., None], shape),
            )
        sizes = np.sqrt(np.diag(self.moments.value))
        allowed = _ENOUGH * np.outer(sizes, sizes)[..., None]
        found = self._expanded(correlations, _TERMS[0])
        if quick:
            return found
        poor = np.any(found.error > allowed + self.moments.error[..., None], axis=(0, 1))
        if np.any(poor):
            _replace(found, poor, self._expanded(correlations[poor], _TERMS[1]))
            poor = np.any(found.error > allowed + self.moments.error[..., None], axis=(0, 1))
        same = poor & (correlations == 1.0)
        if np.any(same):
            _replace(found, same, self.moments[..., None])
            poor &= ~same
        for index in np.flatnonzero(poor):
            direct = self._integrated(float(correlations[index]))
            better = direct.error < found.error[:, :, index]
            found.value[:, :, index] = np.where(better, direct.value, found.value[:, :, index])
            found.error[:, :, index] = np.where(better, direct.error, found.error[:, :, index])
        return found

    @cached_property
    def _places(self) -> list[Transition]:
        return [each.scaled(self.mean, self.deviation) for each in self.transitions]

    @cached_property
    def _nodes_and_values(self) -> tuple[NormalRule, Float64]:
        rule = rule_for(self._places)
        values = self.on(rule.nodes)
        shares = values[:, [0, -1]] ** 2 * rule.weights[[0, -1]]
        if np.any(shares > _NEGLIGIBLE * (values**2 @ rule.weights)[:, None]):
            # What is tiny where most of the mass is may live in the tails.
            rule = far_rule(self._places)
            values = self.on(rule.nodes)
        return rule, values

    @property
    def _rule(self) -> NormalRule:
        return self._nodes_and_values[0]

    @cached_property
    def _values(self) -> Float64:
        if self.deviation == 0.0:
            return self.function(np.array([self.mean]))[:, 0]
        return self._nodes_and_values[1]

    def coefficients(self, terms: int) -> tuple[Float64, Float64, Float64]:
        """Hermite coefficients of all functions, (terms, functions), their errors, and what they leave of E f²."""
        if terms not in self._expansions:
            fine, coarse, rest = self._projected(terms)
            self._expansions[terms] = fine, np.abs(fine - coarse), rest
        return self._expansions[terms]

    def _projected(self, terms: int) -> tuple[Float64, Float64, Float64]:
        squares = np.diag(self.moments.value)
        if self.deviation == 0.0:
            fine = np.zeros((terms, len(squares)))
            fine[0] = self._values
            return fine, fine, 1e-16 * squares
        table = self._rule.hermite(terms)
        fine, coarse = (table @ (self._values * lifted).T for lifted in self._rule.lifted)
        return fine, coarse, np.maximum(squares - np.sum(fine**2, axis=0), 1e-16 * squares)

    @cached_property
    def _expansions(self) -> dict[int, tuple[Float64, Float64, Float64]]:
        return {}

    @cached_property
    def _products(self) -> dict[int, tuple[Float64, Float64, Float64]]:
        return {}

    def _expansion(self, terms: int) -> tuple[Float64, Float64, Float64]:
        """Products c_k d_k of all pairs of functions and their errors, (terms, pairs), and what they leave out."""
        if terms not in self._products:
            fine, errors, rest = self.coefficients(terms)
            sizes = np.abs(fine) + errors
            products = fine[:, :, None] * fine[:, None, :]
            off = errors[:, :, None] * sizes[:, None, :] + sizes[:, :, None] * errors[:, None, :]
            left_out = np.sqrt(np.outer(rest, rest))
            self._products[terms] = products.reshape(terms, -1), off.reshape(terms, -1), left_out
        return self._products[terms]

    def _expanded(self, correlations: Float64, terms: int) -> Bounded:
        products, errors, rest = self._expansion(terms)
        powers = np.vander(correlations, terms, increasing=True)
        count = len(rest)
        value = (powers @ products).T.reshape(count, count, -1)
        error = (np.abs(powers) @ errors).T.reshape(count, count, -1)
        left_out = rest[..., None] * np.abs(correlations) ** terms
        sizes = np.sqrt(np.diag(self.moments.value))
        return Bounded(value, error + left_out + _ROUNDING * np.outer(sizes, sizes)[..., None])

    def _integrated(self, correlation: float) -> Bounded:
        """Both deviates on panels: x, and what is left of y = ρ x + √(1-ρ²) y' given x."""
        residue = np.sqrt((1.0 - correlation) * (1.0 + correlation))
        outer = list(self._places)
        for each in self._places:
            # The average over y' smooths what changes at y = centre.
            width = residue if each.kink else np.hypot(each.width, residue)
            outer.append(Transition(each.centre / correlation, width / abs(correlation)))
        gaussian = np.linspace(-_PAIR_REACH, _PAIR_REACH, 7)
        edges = np.unique(panel_edges(outer, gaussian))
        fine, coarse = (self._panel_sum(edges, gaussian, order, correlation, residue) for order in _PAIR_ORDERS)
        beyond = self._beyond(_PAIR_REACH)
        sizes = np.sqrt(np.diag(self.moments.value))
        lost = np.outer(beyond, sizes) + np.outer(sizes, beyond)
        return Bounded(fine, np.abs(fine - coarse) + lost + _ROUNDING * np.outer(sizes, sizes))

    def _panel_sum(self, edges: Float64, gaussian: Float64, order: int, correlation: float, residue: float) -> Float64:
        nodes, weights = panel_nodes(edges, order)
        left = self.on(nodes) * weights
        if residue < 1e-10:
            # Curvature over a distance of 1e-10 is below rounding; a kink moves by as little.
            return left @ self.on(correlation * nodes).T
        scaled = [Transition(each.centre / residue, each.width / residue, each.kink) for each in self._places]
        total = np.zeros((len(left), len(left)))
        rows = max(1, _AT_ONCE // ((len(gaussian) + 60 * max(1, len(scaled))) * order))
        for first in range(0, len(nodes), rows):
            part = slice(first, first + rows)
            inner, inner_weights = panel_nodes(
                panel_edges(scaled, gaussian, -correlation * nodes[part] / residue), order
            )
            values = self.on(correlation * nodes[part, None] + residue * inner)
            total += left[:, part] @ np.sum(values * inner_weights, axis=-1).T
        return total

    def _beyond(self, reach: float) -> Float64:
        """√E f², of the part beyond a reach, (functions,)."""
        far = np.abs(self._rule.nodes) > reach
        return np.sqrt((self._values[:, far] ** 2) @ self._rule.weights[far])


def _replace(found: Bounded, where: NDArray[np.bool_], other: Bounded) -> None:
    found.value[:, :, where] = other.value
    found.error[:, :, where] = other.error
