"""Expectations of products of four coefficients of linear circuits, for many networks of one closed cell at once.

What closed_products does for one network, on the nodes of a rule that all networks share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_step import ManyFunctions, ManySteps
from meanfield.closed_cells import Term
from meanfield.closed_products import Factor, Form, Pair, PairForm
from meanfield.solvers.bounded_arithmetic import Bounded, bounded
from meanfield.solvers.many_gaussian_products import ManyNormalFunctions

Float64 = NDArray[np.float64]

_ROUNDING = 1e-15
_CONSTANT: Factor = (0, None)


class ManyStepForms:
    """The forms of one step of many networks, with coefficients (networks,), and their expectations.

    Args:
        steps: the cell and the laws of its Gaussian variables.
    """

    def __init__(self, steps: ManySteps) -> None:
        self._steps = steps
        self._rows = {name: row for row, name in enumerate(steps.units.cell.noises)}

    def form(self, terms: Iterable[Term], noise: str | None = None, factor: float | Float64 = 1.0) -> Form:
        """A sum of products of functions, or its derivative in a Gaussian variable, times a number."""
        found: dict[tuple[Factor, ...], Any] = {}
        place = -1 if noise is None else self._steps.group_of(self._rows[noise])
        for term in terms:
            if noise is not None and not term.functions[place]:
                continue  # a constant has no derivative
            key = tuple((function, noise if index == place else None) for index, function in enumerate(term.functions))
            value = np.broadcast_to(np.asarray(term.factor * factor, dtype=np.float64), (len(self._steps.units),))
            found[key] = found[key] + value if key in found else value
        return found

    def matrix(self, forms: Sequence[PairForm]) -> Bounded:
        """E of the products of all forms with each other, (forms, forms, networks)."""
        keys = list(dict.fromkeys(key for form in forms for key in form))
        places = {key: place for place, key in enumerate(keys)}
        coefficients = np.zeros((len(self._steps.units), len(forms), len(keys)))
        for row, form in enumerate(forms):
            for key, numbers in form.items():
                coefficients[:, row, places[key]] = numbers
        total = bounded(np.ones((1, 1, 1)))
        for index, functions in enumerate(self._steps.groups):
            pairs = list(dict.fromkeys(key[index] for key in keys))
            which = [pairs.index(key[index]) for key in keys]
            total = total * _pair_moments(functions, self._rows, pairs)[np.ix_(which, which)]
        value, error = (np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in (total.value, total.error))
        # Products of matrices of one network each, whose rounding does not depend on how many there are.
        across, sizes = coefficients.swapaxes(1, 2), np.abs(coefficients)
        off = sizes @ (error + _ROUNDING * np.abs(value)) @ sizes.swapaxes(1, 2)
        return Bounded(np.moveaxis(coefficients @ value @ across, 0, -1), np.moveaxis(off, 0, -1))


def _pair_moments(functions: ManyFunctions, rows: dict[str, int], pairs: Sequence[Pair]) -> Bounded:
    """E of the products of pairs of factors with each other, (pairs, pairs, networks)."""
    factors = {
        factor: functions.factor(factor[0], rows[factor[1]] if factor[1] else None)
        for factor in dict.fromkeys(each for pair in pairs for each in pair)
        if factor != _CONSTANT
    }
    products: list[Float64] = []
    places = []
    for one, other in pairs:
        if one == other == _CONSTANT:
            places.append(0)
            continue
        known = [factors[each] for each in (one, other) if each != _CONSTANT]
        products.append(known[0] * known[1] if len(known) == 2 else known[0])
        places.append(len(products))
    if not products:
        return bounded(np.ones((len(pairs), len(pairs), 1)))
    return ManyNormalFunctions(functions.rule, 1.0, products).moments[np.ix_(places, places)]
