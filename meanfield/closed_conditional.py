"""Single averages of functions f_i(t, u), t standard normal and u normal given t, for all t at once.

Where functions are smooth on the scale of u's deviation, trapezoidal rules in both have all digits; how many nodes the
inner one takes follows from the distance of the nearest pole. Other t go through the rules of one argument, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.conditional_products import ConditionalFunctions, hermite_rule
from meanfield.solvers.normal_rules import Transition, trapezoidal_rule

Float64 = NDArray[np.float64]

_REACH = 9.5  # of both rules: the density ends at exp(-45)
_OUTER = (32, 64, 128, 256, 512, 1024)  # intervals of the rule in t; nodes are used again
_INNER = ((128, 1.9), (256, 0.95), (512, 0.475), (1024, 0.3))  # those in u, from which distance of a pole on
_NEGLIGIBLE = 1e-18  # share of E f² at the last nodes
_ROUNDING = 2e-15  # of values of gates and sums of them, relative to √(E f² E g²)
_SUMMED = 4e-15  # the same, of sums over t
_HERMITE = 32  # nodes of averages without a bound
_AT_ONCE = 1 << 21  # values that are kept in memory together


@dataclass(frozen=True, eq=False)
class ManyConditional:
    """Functions of t and u.

    Attributes:
        values: of all functions at deviates t, (nodes, 1), and arguments u, (nodes, k): (functions, nodes, k).
        law: mean and deviation of u at deviates t, (nodes,) both.
        transitions: where functions change, in u.
    """

    values: Callable[[Float64, Float64], Float64]
    law: Callable[[Float64], tuple[Float64, Float64]]
    transitions: Sequence[Transition]

    def inner_counts(self, t: Float64) -> NDArray[np.intp]:
        """Intervals that the rule in u takes at every t; 0 where it does not do."""
        deviation = self.law(t)[1]
        found = np.zeros(len(t), dtype=np.intp)
        if any(each.kink for each in self.transitions):
            return found
        width = min((each.width for each in self.transitions), default=np.inf)
        for count, least in reversed(_INNER):
            found[(deviation > 0.0) & (width >= least * deviation)] = count
        return found

    def on(self, t: Float64, count: int) -> tuple[Float64, Float64]:
        """Values times the square roots of the weights, (nodes, functions, count + 1), and the deviates of u."""
        z, roots = _rule(count)
        mean, deviation = self.law(t)
        u = mean[:, None] + deviation[:, None] * z
        return np.moveaxis(self.values(t[:, None], u) * roots, 0, 1), z

    def moments(self, t: Float64, count: int) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """E f_i f_j given t and its error, (nodes, functions, functions) both, and whether tails are negligible."""
        scaled, _ = self.on(t, count)
        coarse = scaled[..., ::2] * _coarse_factor(count)
        fine = scaled @ np.swapaxes(scaled, 1, 2)
        diagonal = np.sqrt(np.diagonal(fine, axis1=1, axis2=2))
        sizes = diagonal[:, :, None] * diagonal[:, None, :]
        ends = np.max(scaled[..., [0, -1]] ** 2, axis=2) <= _NEGLIGIBLE * diagonal**2
        return fine, np.abs(fine - coarse @ np.swapaxes(coarse, 1, 2)) + _ROUNDING * sizes, np.all(ends, axis=1)

    def coefficients(self, t: Float64, terms: int) -> tuple[Float64, ...] | None:
        """Hermite coefficients in u's deviate, (terms, functions, nodes), errors, and what they leave of E f².

        Returns:
            None where the rules of one argument are needed.
        """
        if not np.all(self.inner_counts(t)):
            return None
        rule = trapezoidal_rule()
        mean, deviation = self.law(t)
        values = self.values(t[:, None], mean[:, None] + deviation[:, None] * rule.nodes)
        squares = values**2 @ rule.weights
        if np.any(values[..., [0, -1]] ** 2 * rule.weights[[0, -1]] > _NEGLIGIBLE * squares[..., None]):
            return None
        flat, table = values.reshape(-1, len(rule.nodes)).T, rule.hermite(terms)
        weights, halved = (each[:, None] for each in rule.lifted)
        fine = table @ (flat * weights)
        coarse = table[:, ::2] @ (flat[::2] * halved[::2])  # the coarse rule has every second node
        rest = np.maximum(squares - np.sum(fine**2, axis=0).reshape(squares.shape), 1e-16 * squares)
        shape = (terms, *squares.shape)
        return fine.reshape(shape), np.abs(fine - coarse).reshape(shape), rest


@dataclass(frozen=True, eq=False)
class TabulatedFunctions(ConditionalFunctions):
    """The same functions with :attr:`moments` for all t at once.

    Attributes:
        many: the functions for many t.
        factors: what multiplies them, for many t.
    """

    many: ManyConditional = field(kw_only=True)
    factors: Callable[[Float64], Float64] = field(kw_only=True)

    @cached_property
    def moments(self) -> Bounded:
        """E f_i f_j, (functions, functions)."""
        total = error = np.zeros((0, 0))
        previous: Float64 | None = None
        for step, intervals in enumerate(_OUTER):
            t = np.linspace(-_REACH, _REACH, intervals + 1)
            weights = np.exp(-0.5 * t**2)
            new = slice(None) if step == 0 else slice(1, None, 2)
            value, off = self._over(t[new], weights[new] * self.factors(t[new]) ** 2)
            total, error = (value, off) if step == 0 else (total + value, error + off)
            norm = np.sum(weights)
            found = total / norm
            diagonal = np.sqrt(np.abs(np.diag(found)))
            own = error / norm + _SUMMED * np.outer(diagonal, diagonal)
            apart = np.full_like(found, np.inf) if previous is None else np.abs(found - previous)
            if np.all(apart <= own):
                break
            previous = found
        return Bounded(found, own + apart)

    def _over(self, t: Float64, weights: Float64) -> tuple[Float64, Float64]:
        """Σ weights E f_i f_j given t, and what is off in that."""
        counts = self.many.inner_counts(t)
        total: Float64 | None = None
        off: Float64 | None = None
        for count in np.unique(counts[counts > 0]):
            which = np.flatnonzero(counts == count)
            rows = max(1, _AT_ONCE // (int(count) * 64))
            for part in (which[first : first + rows] for first in range(0, len(which), rows)):
                value, error, good = self.many.moments(t[part], int(count))
                counts[part[~good]] = 0
                kept = weights[part] * good
                value, error = np.tensordot(kept, value, axes=1), np.tensordot(kept, error, axes=1)
                total, off = (value, error) if total is None or off is None else (total + value, off + error)
        for index in np.flatnonzero(counts == 0):
            single = self._at(float(t[index])).moments
            value, error = weights[index] * single.value, weights[index] * single.error
            total, off = (value, error) if total is None or off is None else (total + value, off + error)
        assert total is not None
        assert off is not None
        return total, off

    def weighted_moments(self, weight: Callable[[Float64], Float64]) -> Float64:
        """E weight(t) f_i f_j on the fewest nodes."""
        nodes, weights, _ = hermite_rule(_HERMITE)
        return self._over(nodes, weights * weight(nodes))[0]

    def variance_slopes(self, derivatives: ManyConditional) -> tuple[Float64, Float64] | None:
        """Derivatives of E f_i f_j given t in the variance of u, (nodes, functions, functions), and nodes t.

        Args:
            derivatives: of the functions in u.

        Returns:
            None where the rules of one argument are needed.
        """
        t, weights, _ = hermite_rule(_HERMITE)
        counts = self.many.inner_counts(t)
        if np.any(counts == 0):
            return None
        count = int(np.max(counts))
        (scaled, z), (slopes, _) = self.many.on(t, count), derivatives.on(t, count)
        spread = (weights / (2.0 * self.many.law(t)[1]))[:, None, None]
        half = spread * ((slopes * z) @ np.swapaxes(scaled, 1, 2))
        return half + np.swapaxes(half, 1, 2), t

    def _summed(
        self, nodes: Float64, kappa: Float64, kernel: Float64, end: Float64, terms: int
    ) -> tuple[Float64, tuple[Float64, Float64], Float64]:
        """The double series of pairs as products of matrices, its last terms in t, its size, and what it leaves out."""
        fine, errors, rest = self._expansions(len(nodes), terms)
        powers = _powers(kappa, len(fine))
        rows, columns = np.moveaxis(fine, 1, 0).reshape(fine.shape[1], -1), np.swapaxes(fine, 1, 2)
        value, last = (rows @ ((powers * each) @ columns).reshape(rows.shape[::-1]) for each in (kernel, end))
        # As |κ| ≤ 1, by Cauchy and Schwarz.
        size, off = np.sqrt(np.sum(fine**2, axis=0)), np.sqrt(np.sum(errors**2, axis=0))
        reach = np.abs(kernel)
        diagonal = np.sqrt(np.sum((size @ reach) * size, axis=1))
        wrong = off @ reach @ (size + off).T
        left = rest @ (reach * np.abs(kappa) ** len(fine)) @ rest.T
        return value, (last, np.outer(diagonal, diagonal)), left + wrong + wrong.T

    def _expansions(self, count: int, terms: int) -> tuple[Float64, Float64, Float64]:
        """Coefficients in u and errors, (terms, functions, nodes) both, and √ of what they leave of E f²."""
        if (count, terms) not in self._known:
            nodes = hermite_rule(count)[0]
            together = self.many.coefficients(nodes, terms)
            if together is None:
                found = [self._at(t).coefficients(terms) for t in nodes.tolist()]
                together = tuple(np.stack([each[part] for each in found], axis=-1) for part in range(3))
            fine, errors, rest = together
            self._known[count, terms] = fine, errors, np.sqrt(rest)
        return self._known[count, terms]

    @cached_property
    def _known(self) -> dict[tuple[int, int], tuple[Float64, Float64, Float64]]:
        return {}


def _powers(matrix: Float64, count: int) -> Float64:
    """Powers 0 to ``count`` - 1 of every entry, (count, …); by doubling, as cumulative products are far slower."""
    found = np.empty((count, *matrix.shape))
    found[0] = 1.0
    made, factor = 1, matrix
    while made < count:
        more = min(made, count - made)
        np.multiply(found[:more], factor, out=found[made : made + more])
        made, factor = 2 * made, factor * factor
    return found


@lru_cache(maxsize=8)
def _rule(count: int) -> tuple[Float64, Float64]:
    """Equidistant nodes and the square roots of their weights against the normal density."""
    nodes = np.linspace(-_REACH, _REACH, count + 1)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, np.sqrt(weights / np.sum(weights))


@lru_cache(maxsize=8)
def _coarse_factor(count: int) -> float:
    """What the square roots of every second weight are multiplied by, so that these sum to one."""
    roots = _rule(count)[1][::2]
    return float(1.0 / np.sqrt(np.sum(roots**2)))
