"""E f(t, u) g(t', u') of correlated pairs, where t is standard normal and u is normal given t.

Given both t and t', u and u' have a known correlation κ, and Mehler's series in κ does the inner average; the outer one
is the same series in the correlation of t and t', on Gauss-Hermite nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.gaussian_products import NormalFunctions

Float64 = NDArray[np.float64]

_NODES = (32, 64)
_TERMS = (96, 512)
_REACH = 9.5
_INTERVALS = (48, 96, 192, 384, 768)  # of the trapezoidal rule for single copies; nodes are used again
_ENOUGH = 1e-12
_ROUNDING = 4e-15


@dataclass(frozen=True, eq=False)
class ConditionalFunctions:
    """Functions f_i(t, u), the first of them the constant 1.

    Attributes:
        given: the functions of u given t.
        loads: standard deviations of the independent parts of u given t, (parts,); their squares sum to u's variance.
        factor: a function of t that multiplies all functions.

    >>> linear = ConditionalFunctions(
    ...     lambda t: NormalFunctions(lambda u: np.stack([np.ones_like(u), u]), t, 2.0), lambda t: np.array([2.0]))
    >>> float(linear.pair(np.array([0.25]), 0.5).value[1, 1].round(12))  # 0.5 from t and 4 × 0.25 from u given t
    1.5
    """

    given: Callable[[float], NormalFunctions]
    loads: Callable[[float], Float64]
    factor: Callable[[float], float] = lambda t: 1.0

    @cached_property
    def moments(self) -> Bounded:
        """E f_i f_j, (functions, functions)."""
        previous: Float64 | None = None
        for intervals in _INTERVALS:
            nodes = np.linspace(-_REACH, _REACH, intervals + 1)
            weights = np.exp(-0.5 * nodes**2)
            weights /= np.sum(weights)
            found = [self._at(t).moments for t in nodes]
            scaled = weights * np.array([self.factor(t) ** 2 for t in nodes])
            value = np.tensordot(scaled, [each.value for each in found], axes=1)
            error = np.tensordot(scaled, [each.error for each in found], axes=1) + _sizes(value)
            off = np.full_like(value, np.inf) if previous is None else np.abs(value - previous)
            if np.all(off <= error):
                break
            previous = value
        return Bounded(value, error + off)

    def pair(self, inner: Float64, outer: float, *, slope: bool = False, quick: bool = False) -> Bounded:
        """E f_i(t, u) f_j(t', u'), (functions, functions).

        Args:
            inner: correlations of the parts of u, (parts,).
            outer: correlation of t and t'.
            slope: whether the derivative in ``outer`` is wanted instead.
            quick: stop at the shortest series, whatever its error.
        """
        if not slope and outer == 1.0 and np.all(inner == 1.0):
            return self.moments
        if quick:
            return self._pair(_NODES[0], inner, outer, slope, _TERMS[:1])
        return _refined(lambda count: self._pair(count, inner, outer, slope, _TERMS))

    def average(self, matrix: Callable[[float, NormalFunctions], Float64]) -> Float64:
        """E of a matrix that belongs to t, on the fewest nodes."""
        nodes, weights, _ = hermite_rule(_NODES[0])
        found: Float64 = np.tensordot(weights, [matrix(t, self._at(t)) for t in nodes], axes=1)
        return found

    @cached_property
    def _found(self) -> dict[float, NormalFunctions]:
        return {}

    def _at(self, t: float) -> NormalFunctions:
        if t not in self._found:
            self._found[t] = self.given(t)
        return self._found[t]

    def _pair(self, count: int, inner: Float64, outer: float, slope: bool, lengths: Sequence[int]) -> Bounded:
        nodes, weights, table = hermite_rule(count)
        loads = np.stack([self.loads(t) for t in nodes])
        factors = np.array([self.factor(t) for t in nodes])
        size = np.sqrt(np.sum(loads**2, axis=1))
        unit = np.divide(loads, size[:, None], out=np.zeros_like(loads), where=size[:, None] > 0.0)
        kappa = np.clip((unit * inner) @ unit.T, -1.0, 1.0)
        powers = outer ** np.arange(count, dtype=np.float64)
        if slope:
            powers = np.arange(count, dtype=np.float64) * np.concatenate(([0.0], powers[:-1]))
        basis = table * weights * factors
        late = np.arange(count) >= 3 * count // 4
        kernel, end = basis.T @ (powers[:, None] * basis), basis[late].T @ (powers[late, None] * basis[late])
        for terms in lengths:
            value, tail, missing = self._summed(nodes, kappa, kernel, end, terms)
            if np.all(missing <= _ENOUGH * tail[1]):
                break
        # On these nodes the series at correlation one is their own rule; what that misses, the series may miss too.
        own = np.tensordot(weights * factors**2, [np.diag(self._at(t).moments.value) for t in nodes], axes=1)
        off = np.sqrt(np.abs(own - np.diag(self.moments.value)))
        coarse = np.outer(off, off) * (count if slope else 1.0)
        return Bounded(value, missing + coarse + np.abs(tail[0]) + _ROUNDING * tail[1])

    def _summed(
        self, nodes: Float64, kappa: Float64, kernel: Float64, end: Float64, terms: int
    ) -> tuple[Float64, tuple[Float64, Float64], Float64]:
        """The double series, its last terms in t and the size of all, and what the series in κ leaves out."""
        expansions = [self._at(t).coefficients(terms) for t in nodes]
        fine, errors = (np.stack([each[part] for each in expansions], axis=1) for part in (0, 1))
        rest = np.sqrt(np.stack([each[2] for each in expansions], axis=1))
        functions = fine.shape[2]
        # Horner's rule in κ.
        series = np.zeros((functions, functions, *kappa.shape))
        off = np.zeros_like(series)
        for k in range(terms - 1, -1, -1):
            c, e = fine[k].T, errors[k].T
            series = series * kappa + c[:, None, :, None] * c[None, :, None, :]
            if np.any(e > 1e-17):
                big = np.abs(c) + e
                off = off * np.abs(kappa) + e[:, None, :, None] * big[None, :, None, :]
                off += big[:, None, :, None] * e[None, :, None, :]
        left = rest[:, None, :, None] * rest[None, :, None, :] * np.abs(kappa) ** terms
        value = np.sum(series * kernel, axis=(-2, -1))
        last = np.sum(series * end, axis=(-2, -1))
        diagonal = np.sqrt(np.abs(np.diag(np.sum(np.abs(series * kernel), axis=(-2, -1)))))
        missing = np.sum((left + off) * np.abs(kernel), axis=(-2, -1))
        return value, (last, np.outer(diagonal, diagonal)), missing


def _refined(attempt: Callable[[int], Bounded]) -> Bounded:
    """The first of finer and finer attempts that is good enough, else the best."""
    best: Bounded | None = None
    for count in _NODES:
        found = attempt(count)
        if best is None or np.max(found.error) < np.max(best.error):
            best = found
        if np.max(found.error) <= _ENOUGH * np.max(np.abs(found.value)):
            break
    assert best is not None
    return best


def _sizes(value: Float64) -> Float64:
    diagonal = np.sqrt(np.abs(np.diag(value)))
    return _ROUNDING * np.outer(diagonal, diagonal)


@lru_cache(maxsize=4)
def hermite_rule(count: int) -> tuple[Float64, Float64, Float64]:
    """Gauss-Hermite nodes and weights, and orthonormal polynomials there, (count, nodes)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / np.sum(weights)
    table = np.ones((count, count))
    table[1] = nodes
    for k in range(1, count - 1):
        table[k + 1] = (nodes * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    return nodes, weights, table
