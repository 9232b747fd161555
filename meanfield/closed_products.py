"""Expectations of products of up to four coefficients of a closed cell's linear circuit (theory, section 1).

Update and circuit are sums of products of functions of independent groups of Gaussian variables. So products of two
coefficients are too, and the expectations of products of four are one matrix: that of the products of two with each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import Group, Term
from meanfield.closed_integrals import functions_of
from meanfield.closed_step import ClosedStep
from meanfield.sampling.expressions import Expression, constant, evaluate, symbol
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

Factor = tuple[int, str | None]
"""A function of a group, or its derivative in the variable that is named."""
Form = Mapping[tuple[Factor, ...], float]
"""A sum of products of one factor a group."""
Pair = tuple[Factor, Factor]
PairForm = dict[tuple[Pair, ...], float]
"""A sum of products of two factors a group."""
_ROUNDING = 1e-15
_DEVIATES = np.linspace(-9.0, 9.0, 65)  # where factors are looked at for their size
_ONE_NODE = ((0.0, 1.0),)
_THREE_NODES = ((-np.sqrt(3.0), 1.0 / 6.0), (0.0, 2.0 / 3.0), (np.sqrt(3.0), 1.0 / 6.0))
"""Gauss-Hermite rule of three nodes, exact for the powers up to four in which the unknown part of a variable enters."""


def times(left: Form, right: Form) -> PairForm:
    """The product of two forms."""
    found: PairForm = {}
    for one, a in left.items():
        for other, b in right.items():
            key = tuple((x, y) if _order(x) <= _order(y) else (y, x) for x, y in zip(one, other, strict=True))
            found[key] = found.get(key, 0.0) + a * b
    return found


def plus(left: PairForm, right: PairForm) -> PairForm:
    """The sum of two products."""
    found = dict(left)
    for key, value in right.items():
        found[key] = found.get(key, 0.0) + value
    return found


def _order(factor: Factor) -> tuple[int, str]:
    return factor[0], factor[1] or ""


class StepForms:
    """The forms of one step and their expectations; coefficients of forms are in units of the sizes of their factors.

    Args:
        step: the cell and the laws of its Gaussian variables.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> step = closed_law(mf.Network("vanilla", {"h": mf.Gate(bias_std=1.0)}), mf.Inputs(power=0.0)).step
    >>> forms = StepForms(step)
    >>> value = forms.form(step.cell.update[0])  # tanh of a standard normal variable
    >>> round(float(forms.matrix([times(value, value)]).value[0, 0]), 12)  # its fourth power
    0.252991883244
    """

    def __init__(self, step: ClosedStep) -> None:
        self._groups, self._parameters = step.cell.groups, step.parameters
        self._sizes: list[dict[Factor, float]] = [{} for _ in self._groups]

    def form(self, terms: Iterable[Term], noise: str | None = None, factor: float = 1.0) -> Form:
        """A sum of products of functions, or its derivative in a Gaussian variable, times a number."""
        found: dict[tuple[Factor, ...], float] = {}
        for term in terms:
            key: list[Factor] = [(function, None) for function in term.functions]
            if noise is not None:
                place = next(index for index, group in enumerate(self._groups) if noise in group.noises)
                key[place] = (term.functions[place], noise)
            # One after the other, the number between them: products of small sizes alone may not be numbers.
            value = term.factor * factor
            for size in (self._size(index, each) for index, each in enumerate(key)):
                value *= size
            if value != 0.0:
                found[tuple(key)] = found.get(tuple(key), 0.0) + value
        return found

    def matrix(self, forms: Sequence[PairForm]) -> Bounded:
        """E of the products of all forms with each other, (forms, forms)."""
        keys = list(dict.fromkeys(key for form in forms for key in form))
        places = {key: place for place, key in enumerate(keys)}
        coefficients = np.zeros((len(forms), len(keys)))
        for row, form in zip(coefficients, forms, strict=True):
            for key, value in form.items():
                row[places[key]] = value
        total = bounded(np.ones((len(keys), len(keys))))
        for index in range(len(self._groups)):
            pairs = list(dict.fromkeys(key[index] for key in keys))
            which = [pairs.index(key[index]) for key in keys]
            total = total * self._pair_moments(index, pairs)[np.ix_(which, which)]
        sizes = np.abs(coefficients)
        off = sizes @ (total.error + _ROUNDING * np.abs(total.value)) @ sizes.T
        return Bounded(coefficients @ total.value @ coefficients.T, off)

    def _pair_moments(self, index: int, pairs: Sequence[Pair]) -> Bounded:
        """E of the products of pairs of factors, each in units of its size, with each other, (pairs, pairs)."""
        factors = list(dict.fromkeys(factor for pair in pairs for factor in pair))
        every = self._all_pair_moments(index, factors)
        places = np.empty((len(factors), len(factors)), dtype=np.intp)
        left, right = np.triu_indices(len(factors))
        places[left, right] = places[right, left] = np.arange(len(left))
        one, other = (np.array([factors.index(pair[side]) for pair in pairs], dtype=np.intp) for side in (0, 1))
        # Rounding of E f g is relative to √(E f² E g²): a product of four has the bound of its best split.
        i, j, k, m = one[:, None], other[:, None], one[None, :], other[None, :]
        splits = [every[places[a, b], places[c, d]] for a, b, c, d in ((i, j, k, m), (i, k, j, m), (i, m, j, k))]
        best = np.argmin([each.error for each in splits], axis=0)
        value, error = (np.choose(best, [getattr(each, part) for each in splits]) for part in ("value", "error"))
        return Bounded(value, error)

    def _all_pair_moments(self, index: int, factors: Sequence[Factor]) -> Bounded:
        """The same for all pairs of factors, in the order of np.triu_indices."""
        group, parameters = self._groups[index], self._parameters
        outer = any(noise is not None and noise == group.outer for _, noise in factors)
        parts = []
        for unknown, weight in _THREE_NODES if outer else _ONE_NODE:
            formulas = [
                _formula(group, parameters, each, unknown) * (1.0 / self._size(index, each)) for each in factors
            ]
            products = tuple(formulas[i] * formulas[j] for i, j in zip(*np.triu_indices(len(factors)), strict=True))
            parts.append(weight * functions_of(replace(group, functions=products, slopes=()), parameters).moments)
        return reduce(add, parts)

    def _size(self, index: int, factor: Factor) -> float:
        """About the largest value of a factor, so that fourth powers of small ones are numbers; 0 if it vanishes."""
        if factor not in self._sizes[index]:
            self._sizes[index][factor] = _largest(self._groups[index], self._parameters, factor)
        return self._sizes[index][factor]


def _largest(group: Group, parameters: Mapping[str, float], factor: Factor) -> float:
    """The largest absolute value of a factor among values over all likely deviates."""
    formula = _formula(group, parameters, factor, 1.0)
    if formula.operation == "constant":
        return abs(float(formula.label))
    law, found = _conditional(group, parameters), 0.0
    changes = np.array([each.centre + each.width * side for each in group.transitions for side in (-1.0, 0.0, 1.0)])
    for t in _DEVIATES[::8] if group.outer is not None else _DEVIATES[:1]:
        values: dict[str, Float64] = {}
        if group.outer is not None:
            place = parameters[f"mean {group.outer}"] + parameters[f"deviation {group.outer}"] * t
            values[group.outer] = np.asarray(place)
        mean, variance = (float(each) for each in evaluate(law, values))
        reach = np.sqrt(variance) * _DEVIATES
        values[group.argument] = mean + np.concatenate((reach, np.clip(changes - mean, reach[0], reach[-1])))
        found = max(found, float(np.max(np.abs(evaluate([formula], values)[0]))))
    return found


def _formula(group: Group, parameters: Mapping[str, float], factor: Factor, unknown: float) -> Expression:
    """A factor as a formula in the group's argument u and its outer variable.

    Args:
        group, parameters: whose, and the laws of its variables.
        factor: which one.
        unknown: what u and the outer variable do not say of the sum of variables, in its deviations.
    """
    function, noise = factor
    if noise is None:
        return group.functions[function]
    if noise != group.outer:
        return group.slopes[function] * group.loads[group.inner.index(noise)]
    # The argument moves with the outer variable by Σ loads' × variables, of which u knows one part.
    rest_slope, *slopes = group.sum_slopes
    mean, variance = _conditional(group, parameters)
    spread = variance + 1e-300  # where there is none, nothing is known either
    start, along, across = rest_slope, constant(0.0), constant(0.0)
    squares = [constant(parameters[f"deviation {name}"] ** 2) for name in group.inner]
    for i, (name, slope, load) in enumerate(zip(group.inner, slopes, group.loads, strict=True)):
        start = start + slope * _parameter(parameters, "mean", name)
        along = along + slope * load * squares[i]
        for j in range(i):
            area = load * slopes[j] - group.loads[j] * slope
            across = across + area * area * (squares[i] * squares[j])
    known = start + along / spread * (symbol(group.argument) - mean)
    moved = known + unknown * np.sqrt(across / spread)
    return group.outer_slopes[function] + group.slopes[function] * moved


def _conditional(group: Group, parameters: Mapping[str, float]) -> tuple[Expression, Expression]:
    """Mean and variance of the group's argument given its outer variable."""
    mean, variance = group.rest, constant(0.0)
    for name, load in zip(group.inner, group.loads, strict=True):
        mean = mean + load * _parameter(parameters, "mean", name)
        variance = variance + load * load * constant(parameters[f"deviation {name}"] ** 2)
    return mean, variance


def _parameter(parameters: Mapping[str, float], word: str, name: str) -> Expression:
    return constant(parameters[f"{word} {name}"])
