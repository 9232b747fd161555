"""E f(x) g(y) of functions of two correlated normal variables, for many laws of these variables at once.

As in gaussian_products, by Mehler's series; here all laws share one trapezoidal rule, so that sums over nodes and over
Hermite polynomials are products of matrices. For steep functions and kinks the rule is not made, which its errors say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.normal_rules import NormalRule, trapezoidal_rule

Float64 = NDArray[np.float64]

_ROUNDING = 2e-15  # of values of gates and sums of them, relative to √(E f² E g²)
_NEGLIGIBLE = 1e-18  # share of E f² at the last nodes


@dataclass(frozen=True, eq=False)
class SharedRule:
    """A trapezoidal rule that is the mean of two, a coarse one and the one on the midpoints of its intervals.

    Attributes:
        nodes: those of the coarse rule first, (nodes,).
        coarse: how many of them there are.
        weights: those of each of both rules sum to one, (nodes,).
        projection: weights times orthonormal Hermite polynomials, (nodes, terms).
        spacing: distance of the coarse rule's nodes.
    """

    nodes: Float64
    coarse: int
    weights: Float64
    projection: Float64
    spacing: float

    @property
    def terms(self) -> int:
        """How many Hermite polynomials there are."""
        return self.projection.shape[1]

    @property
    def ends(self) -> list[int]:
        """Indices of the first and the last node."""
        return [int(np.argmin(self.nodes)), int(np.argmax(self.nodes))]

    def sums(self, values: Float64, weights: Float64) -> tuple[Float64, Float64]:
        """Σ values × weights over the nodes of both rules and over those of the coarse one, of the last axis."""
        first = values[..., : self.coarse] @ weights[: self.coarse]
        return 0.5 * (first + values[..., self.coarse :] @ weights[self.coarse :]), first


@lru_cache(maxsize=8)
def shared_rule(intervals: int, terms: int) -> SharedRule:
    """The rule with so many intervals, a divisor of 1024, and the polynomials of degree below ``terms``.

    >>> rule = shared_rule(128, 8)
    >>> fine, coarse = rule.sums(rule.nodes**4, rule.weights)
    >>> round(float(fine), 12), round(float(coarse), 12)
    (3.0, 3.0)
    """
    whole = trapezoidal_rule()
    nodes = whole.nodes[:: (len(whole.nodes) - 1) // intervals]
    parts = [nodes[::2], nodes[1::2]]
    densities = [np.exp(-0.5 * part**2) for part in parts]
    weights = np.concatenate([each / np.sum(each) for each in densities])
    rule = NormalRule(np.concatenate(parts), weights, np.zeros_like(weights))
    projection = (rule.hermite(terms) * rule.lifted[0]).T
    return SharedRule(rule.nodes, len(parts[0]), weights, np.ascontiguousarray(projection), float(np.diff(parts[0])[0]))


@dataclass(frozen=True, eq=False)
class ManyNormalFunctions:
    """Functions of normal variables on a rule's nodes, after a first function that is constant.

    Attributes:
        rule: the rule.
        first: the constant.
        values: of every other function f_i, (laws, nodes) each.
        steepness: bounds on √E (df_i/dz)² of these, (functions, laws); None for estimates from Hermite coefficients.

    >>> rule = shared_rule(256, 16)
    >>> u = np.array([[1.0], [2.0]]) * rule.nodes  # two laws, of deviations 1 and 2
    >>> linear = ManyNormalFunctions(rule, 1.0, [u])
    >>> linear.pairs(np.array([[0.5, 0.5]])).value[1, 1, 0].round(12).tolist()
    [0.5, 2.0]
    """

    rule: SharedRule
    first: float
    values: Sequence[Float64]
    steepness: Float64 | None = None

    @cached_property
    def moments(self) -> Bounded:
        """E f_i f_j, (functions, functions, laws)."""
        count, laws = 1 + len(self.values), len(self.values[0])
        found = Bounded(np.zeros((count, count, laws)), np.zeros((count, count, laws)))
        found.value[0, 0] = self.first**2
        for i, left in enumerate(self.values, start=1):
            for j, right in enumerate(self.values[:i], start=1):
                self._enter(found, i, j, left * right)
            if self.first != 0.0:
                self._enter(found, i, 0, left if self.first == 1.0 else self.first * left)
        sizes = np.sqrt(np.diagonal(found.value).T)
        found.error[1:, 1:] += _ROUNDING * sizes[1:, None] * sizes[None, 1:]
        found.error[0, 1:] += _ROUNDING * abs(self.first) * sizes[1:]
        found.error[1:, 0] += _ROUNDING * abs(self.first) * sizes[1:]
        return found

    def _enter(self, found: Bounded, i: int, j: int, product: Float64) -> None:
        fine, coarse = self.rule.sums(product, self.rule.weights)
        found.value[i, j] = found.value[j, i] = fine
        found.error[i, j] = found.error[j, i] = np.abs(fine - coarse)

    def scores(self, derivatives: ManyNormalFunctions) -> Float64:
        """E z d(f_i f_j)/du, (functions, functions, laws): twice the deviation times the slope in the variance.

        Args:
            derivatives: those of the functions in u.
        """
        found = np.zeros_like(self.moments.value)
        weights = self.rule.nodes * self.rule.weights
        for i, (left, rise) in enumerate(zip(self.values, derivatives.values, strict=True), start=1):
            if self.first != 0.0:
                found[i, 0] = found[0, i] = self.first * self.rule.sums(rise, weights)[0]
            for j, (right, other) in enumerate(zip(self.values[:i], derivatives.values, strict=False), start=1):
                found[i, j] = found[j, i] = self.rule.sums(rise * right + left * other, weights)[0]
        return found

    @cached_property
    def resolved(self) -> NDArray[np.bool_]:
        """Whether the functions are negligible at the last nodes, (laws,)."""
        ends = self.rule.ends
        found = np.ones(len(self.values[0]), dtype=bool)
        for square, each in zip(np.diagonal(self.moments.value).T[1:], self.values, strict=True):
            shares = each[:, ends] ** 2 * self.rule.weights[ends]
            found &= np.all(shares <= _NEGLIGIBLE * square[:, None], axis=1)
        return found

    def pairs(self, correlations: Float64, off: Float64 | float = 0.0) -> Bounded:
        """E f_i f_j of two copies of each variable, (functions, functions, copies, laws).

        Args:
            correlations: of the copies, (copies, laws).
            off: bounds on their errors, of the same shape.
        """
        series, moments = self._series, self.moments
        powers, last = _powers(correlations.T, self.rule.terms)
        direct = np.moveaxis(powers @ series.products, -1, 0).swapaxes(1, 2)
        apart = 1.0 - correlations
        # At copies that are the same the sum of the whole series is known.
        last = last.T
        kept = np.where(correlations > 0.0, last, 0.0)
        near = np.where(correlations > 0.0, np.minimum(1.0, self.rule.terms * apart), 1.0)
        count = 1 + len(self.values)
        shape = (count, count, *correlations.shape)
        found = Bounded(np.empty(shape), np.empty(shape))
        for side in (found.value, found.error):
            source = moments.value if side is found.value else moments.error
            side[0] = source[0, :, None]
            side[:, 0] = source[:, 0, None]
        for pair, (i, j) in enumerate(series.indices):
            rest = np.where(
                correlations > 0.0,
                np.minimum(last * series.rest[pair], _times(apart, series.rise[pair])),
                np.abs(last) * series.rest[pair],
            )
            size = np.sqrt(moments.value[i, i] * moments.value[j, j])
            error = rest + kept * moments.error[i, j] + near * series.errors[pair]
            error += _ROUNDING * size + series.steepness[pair] * off
            found.value[i, j] = found.value[j, i] = direct[pair] + kept * series.beyond[pair]
            found.error[i, j] = found.error[j, i] = error
        return found

    @cached_property
    def _series(self) -> _Series:
        rule, squares = self.rule, np.diagonal(self.moments.value).T[1:]
        found = [rule.sums(each, rule.projection) for each in self.values]
        coefficients = [fine for fine, _ in found]
        degrees = np.arange(rule.terms)
        sizes = np.sqrt(squares)
        errors = np.array([np.sqrt(np.sum((fine - coarse) ** 2, axis=1)) for fine, coarse in found])
        errors += _ROUNDING * sizes
        unsure = np.diagonal(self.moments.error).T[1:] + 2.0 * errors * (sizes + errors)
        rest = np.sqrt(np.maximum(squares - [np.sum(c**2, axis=1) for c in coefficients], 0.0) + unsure)
        # The same with every coefficient multiplied by √k, which makes it one of the derivative.
        inside = np.array([np.sum(c**2 * degrees, axis=1) for c in coefficients])
        if self.steepness is None:
            steepness, rise = np.sqrt(inside + rule.terms * rest**2), np.full_like(rest, np.inf)
        else:
            steepness = self.steepness
            rise = np.sqrt(np.maximum(steepness**2 - inside, 0.0) + rule.terms * unsure)
        indices = [(i, j) for i in range(len(squares)) for j in range(i + 1)]
        products = np.stack([coefficients[i] * coefficients[j] for i, j in indices], axis=-1)
        moments = np.array([self.moments.value[i + 1, j + 1] for i, j in indices])

        def each(left: Float64, right: Float64) -> Float64:
            return np.array([left[i] * right[j] for i, j in indices])

        return _Series(
            [(i + 1, j + 1) for i, j in indices],
            products,
            moments - np.sum(products, axis=1).T,
            each(rest, rest),
            each(rise, rise),
            each(errors, sizes) + each(sizes, errors) + each(errors, errors),
            each(steepness, steepness),
        )


@dataclass(frozen=True, eq=False)
class _Series:
    """Mehler series of pairs of functions.

    Attributes:
        indices: the pairs.
        products: c_k d_k, (laws, terms, pairs).
        beyond: the sum of those that are left out, (pairs, laws).
        rest: √(Σ c_k² Σ d_k²) of what is left out, (pairs, laws).
        rise: the same with k c_k² and k d_k²; infinite where it is not known.
        errors: of Σ c_k d_k ρ^k for all ρ from -1 to 1.
        steepness: bounds on the derivative in the correlation.
    """

    indices: list[tuple[int, int]]
    products: Float64
    beyond: Float64
    rest: Float64
    rise: Float64
    errors: Float64
    steepness: Float64


def _times(small: Float64, large: Float64) -> Float64:
    """A product that is zero where its first factor is."""
    return np.multiply(small, large, out=np.zeros_like(small), where=small > 0.0)


def _powers(bases: Float64, count: int) -> tuple[Float64, Float64]:
    """Powers 0 to count - 1 along a last axis, and the power ``count``."""
    table = np.empty((*bases.shape, count))
    table[..., 0] = 1.0
    done, power = 1, bases
    while done < count:
        new = min(done, count - done)
        np.multiply(table[..., :new], power[..., None], out=table[..., done : done + new])
        done += new
        power = power * power if done < count else power
    return table, table[..., -1] * bases
