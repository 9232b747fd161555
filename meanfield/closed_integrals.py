"""Integrals of a closed cell's functions over the Gaussian variables that they read (theory, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import Group
from meanfield.closed_conditional import ManyConditional, TabulatedFunctions
from meanfield.sampling.expressions import Expression, evaluate
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.conditional_products import ConditionalFunctions
from meanfield.solvers.gaussian_products import NormalFunctions

Float64 = NDArray[np.float64]
Correlations = Mapping[str, Float64]

_LEAST = 1e-4  # deviation of an outer variable below which its covariance's derivative is that at this deviation


class Functions(Protocol):
    """Functions of Gaussian variables that are integrated together; the first one is the constant 1."""

    @property
    def moments(self) -> Bounded:
        """E F_i F_j, (functions, functions)."""
        ...

    def variance_slope(self, noise: str) -> Float64:
        """Derivative of that in a variable's variance, (functions, functions)."""
        ...

    def slope_moments(self, noise: str) -> Bounded:
        """E ∂F_i ∂F_j with derivatives in a variable, (functions, functions)."""
        ...

    def pairs(self, correlations: Correlations, *, quick: bool = False) -> Bounded:
        """E F_i F_j of two copies whose variables are correlated, (functions, functions, correlations)."""
        ...

    def pair_slopes(self, noise: str, correlations: Correlations) -> Bounded:
        """E ∂F_i ∂F_j of two copies: the derivative of :meth:`pairs` in a variable's covariance (Price)."""
        ...


class OneArgument:
    """Functions of u = Σ loads × variables, which is Gaussian."""

    def __init__(self, group: Group, parameters: Mapping[str, float]) -> None:
        self._noises = group.inner
        self._loads = np.array([float(evaluate([load], {})[0]) for load in group.loads])
        self._variances = np.array([parameters[f"deviation {name}"] ** 2 for name in group.inner])
        means = [parameters[f"mean {name}"] for name in group.inner]
        mean = float(evaluate([group.rest], {})[0]) + float(self._loads @ means)
        deviation = math.sqrt(float(self._loads**2 @ self._variances))
        self._values, self._slopes = (
            NormalFunctions(partial(_evaluated, formulas, group.argument, {}), mean, deviation, group.transitions)
            for formulas in (group.functions, group.slopes)
        )

    @property
    def moments(self) -> Bounded:
        return self._values.moments

    def variance_slope(self, noise: str) -> Float64:
        return _of_constant(self._values.variance_slopes(self._slopes)) * self._load(noise) ** 2

    def slope_moments(self, noise: str) -> Bounded:
        return self._slopes.moments * self._load(noise) ** 2

    def pairs(self, correlations: Correlations, *, quick: bool = False) -> Bounded:
        return self._values.pairs(self._correlation(correlations), quick=quick)

    def pair_slopes(self, noise: str, correlations: Correlations) -> Bounded:
        return self._slopes.pairs(self._correlation(correlations)) * self._load(noise) ** 2

    def _load(self, noise: str) -> float:
        return float(self._loads[self._noises.index(noise)])

    def _correlation(self, correlations: Correlations) -> Float64:
        if len(self._noises) == 1:
            return correlations[self._noises[0]]
        shares = self._loads**2 * self._variances
        total = np.stack([correlations[name] for name in self._noises], axis=1) @ shares
        return np.clip(total / np.sum(shares), -1.0, 1.0) if np.any(shares) else np.ones(len(total))


class TwoArguments:
    """Functions of u = rest + Σ loads × variables and of the outer variable that rest and loads read."""

    def __init__(self, group: Group, parameters: Mapping[str, float]) -> None:
        assert group.outer is not None
        self._group, self._parameters = group, parameters
        self._deviation = parameters[f"deviation {group.outer}"]
        self._values = self._functions(group.functions, self._deviation)
        self._known: dict[str, ConditionalFunctions] = {}

    @property
    def moments(self) -> Bounded:
        return self._values.moments

    def variance_slope(self, noise: str) -> Float64:
        if noise == self._group.outer:
            if self._deviation == 0.0:
                return np.zeros_like(self.moments.value)
            scale = 2.0 * self._deviation**2
            return _of_constant(self._values.weighted_moments(lambda t: (t**2 - 1.0) / scale))
        slopes = self._functions(self._group.slopes, self._deviation)
        together = self._values.variance_slopes(slopes.many)
        if together is not None:
            found, t = together
            loads = self._many_loads(t, self._deviation)[self._group.inner.index(noise)]
            return _of_constant(np.tensordot(loads**2, found, axes=1))

        def scaled(t: float, given: NormalFunctions) -> Float64:
            return given.variance_slopes(slopes.given(t)) * self._load(noise, t, self._deviation) ** 2

        return _of_constant(self._values.average(scaled))

    def slope_moments(self, noise: str) -> Bounded:
        if noise != self._group.outer:
            return self._slopes(noise).moments
        # With d = Σ load' × variable given u, E d² splits into what u says of d and what it does not.
        group, deviations, means = self._group, self._inner("deviation"), self._inner("mean")

        def parts(t: Float64) -> tuple[Float64, Float64, Float64]:
            found = evaluate(group.sum_slopes, self._outer(t, self._deviation))
            rest, *slopes = (np.broadcast_to(each, t.shape) for each in found)
            loads = self._many_loads(t, self._deviation).T * deviations
            rises = np.stack(slopes, axis=-1) * deviations
            size = np.sqrt(np.sum(loads**2, axis=-1))
            along = np.divide(np.sum(rises * loads, axis=-1), size, out=np.zeros_like(size), where=size > 0.0)
            across = np.sqrt(np.maximum(np.sum(rises**2, axis=-1) - along**2, 0.0))
            return rest + np.stack(slopes, axis=-1) @ means, along, across

        def combined(values: Float64, t: Float64, deviates: Float64) -> Float64:
            inner, outer = np.split(values, 2)
            start, along, _ = parts(t)
            return outer + inner * (start[:, None] + along[:, None] * deviates)

        both = group.slopes + group.outer_slopes
        plain = self._many(both, self._deviation)

        def given(t: float) -> NormalFunctions:
            one = self._given(both, t, self._deviation)

            def function(u: Float64) -> Float64:
                deviates = (u - one.mean) / one.deviation if one.deviation > 0.0 else np.zeros_like(u)
                return combined(one.function(u)[:, None], np.array([t]), deviates[None])[:, 0]

            return replace(one, function=function)

        def values(t: Float64, u: Float64) -> Float64:
            mean, deviation = plain.law(t[:, 0])
            return combined(plain.values(t, u), t[:, 0], (u - mean[:, None]) / deviation[:, None])

        known = TabulatedFunctions(
            given,
            lambda t: self._loads(t, self._deviation) * deviations,
            many=replace(plain, values=values),
            factors=np.ones_like,
        )
        unknown = self._functions(group.slopes, self._deviation, lambda t: parts(t)[2])
        return known.moments + unknown.moments

    def pairs(self, correlations: Correlations, *, quick: bool = False) -> Bounded:
        return self._at_all(self._values, correlations, quick=quick)

    def pair_slopes(self, noise: str, correlations: Correlations) -> Bounded:
        same = np.all([each == 1.0 for each in correlations.values()], axis=0)
        if np.any(same):
            found = self._pair_slopes(noise, {name: each[~same] for name, each in correlations.items()})
            moments = self.slope_moments(noise)
            value, error = (np.empty((*moments.value.shape, len(same))) for _ in range(2))
            value[..., same], error[..., same] = moments.value[..., None], moments.error[..., None]
            value[..., ~same], error[..., ~same] = found.value, found.error
            return Bounded(value, error)
        return self._pair_slopes(noise, correlations)

    def _pair_slopes(self, noise: str, correlations: Correlations) -> Bounded:
        if noise != self._group.outer:
            return self._at_all(self._slopes(noise), correlations)
        deviation = max(self._deviation, _LEAST)
        values = self._values
        if self._deviation < _LEAST:
            values = self._functions(self._group.functions, deviation)
        found = self._at_all(values, correlations, slope=True)
        found = found * deviation**-2
        # Without variance the derivative is that at a small one, from which it differs by the variance itself.
        small = 10.0 * _LEAST**2 if self._deviation < _LEAST else 0.0
        return Bounded(found.value, found.error + small * np.abs(found.value))

    def _at_all(
        self, functions: ConditionalFunctions, correlations: Correlations, *, slope: bool = False, quick: bool = False
    ) -> Bounded:
        outer = correlations[self._group.noises[-1]]
        inner = np.stack([correlations[name] for name in self._group.inner], axis=1)
        if not len(outer):
            count = len(self._group.functions)
            return Bounded(np.empty((count, count, 0)), np.empty((count, count, 0)))
        found = [
            functions.pair(row, float(each), slope=slope, quick=quick) for row, each in zip(inner, outer, strict=True)
        ]
        values, errors = ([getattr(each, part) for each in found] for part in ("value", "error"))
        return Bounded(np.stack(values, axis=-1), np.stack(errors, axis=-1))

    def _slopes(self, noise: str) -> ConditionalFunctions:
        if noise not in self._known:
            index = self._group.inner.index(noise)
            self._known[noise] = self._functions(
                self._group.slopes, self._deviation, lambda t: self._many_loads(t, self._deviation)[index]
            )
        return self._known[noise]

    def _load(self, noise: str, t: float, deviation: float) -> float:
        return float(self._loads(t, deviation)[self._group.inner.index(noise)])

    def _outer(self, t: float | Float64, deviation: float) -> dict[str, Float64]:
        name = self._group.outer
        return {str(name): np.asarray(self._parameters[f"mean {name}"] + deviation * t)}

    def _functions(
        self,
        formulas: tuple[Expression, ...],
        deviation: float,
        factors: Callable[[Float64], Float64] = np.ones_like,
    ) -> TabulatedFunctions:
        return TabulatedFunctions(
            lambda t: self._given(formulas, t, deviation),
            lru_cache(maxsize=None)(lambda t: self._loads(t, deviation) * self._inner("deviation")),
            lru_cache(maxsize=None)(lambda t: float(factors(np.array([t]))[0])),
            many=self._many(formulas, deviation),
            factors=factors,
        )

    def _many(self, formulas: tuple[Expression, ...], deviation: float) -> ManyConditional:
        """The functions for many deviates of the outer variable."""
        group = self._group

        def values(t: Float64, u: Float64) -> Float64:
            return _evaluated(formulas, group.argument, self._outer(t, deviation), u)

        def law(t: Float64) -> tuple[Float64, Float64]:
            loads = self._many_loads(t, deviation)
            rest = np.broadcast_to(evaluate([group.rest], self._outer(t, deviation))[0], t.shape)
            spread = np.sqrt(np.sum((loads.T * self._inner("deviation")) ** 2, axis=1))
            return rest + self._inner("mean") @ loads, spread

        return ManyConditional(values, law, group.transitions)

    def _many_loads(self, t: Float64, deviation: float) -> Float64:
        """(inner variables, nodes)."""
        found = evaluate(self._group.loads, self._outer(t, deviation))
        return np.stack([np.broadcast_to(each, t.shape) for each in found])

    def _given(self, formulas: tuple[Expression, ...], t: float, deviation: float) -> NormalFunctions:
        outer, loads = self._outer(t, deviation), self._loads(t, deviation)
        mean = float(evaluate([self._group.rest], outer)[0]) + float(loads @ self._inner("mean"))
        spread = math.hypot(*(loads * self._inner("deviation")))
        function = partial(_evaluated, formulas, self._group.argument, outer)
        return NormalFunctions(function, mean, spread, self._group.transitions)

    def _loads(self, t: float, deviation: float) -> Float64:
        return np.array([float(each) for each in evaluate(self._group.loads, self._outer(t, deviation))])

    def _inner(self, word: str) -> Float64:
        return np.array([self._parameters[f"{word} {name}"] for name in self._group.inner])


def _evaluated(formulas: Sequence[Expression], name: str, others: Mapping[str, Float64], u: Float64) -> Float64:
    """Values of formulas in one argument, (formulas, …)."""
    return np.stack([np.broadcast_to(each, u.shape) for each in evaluate(formulas, {**others, name: u})])


def _of_constant(slopes: Float64) -> Float64:
    """Slopes of averages, of which that of the constant 1 is zero."""
    slopes[0, 0] = 0.0
    return slopes


def functions_of(group: Group, parameters: Mapping[str, float]) -> Functions:
    """The functions of a group at given laws of its variables."""
    return (OneArgument if group.outer is None else TwoArguments)(group, parameters)
