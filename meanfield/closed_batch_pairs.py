"""One step of two copies of the units of many networks: images of E[s_a s_b] and their slopes (theory, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_moments import ManyLaws
from meanfield.closed_batch_step import ManySteps
from meanfield.closed_cells import Term
from meanfield.closed_pairs import MapSlope
from meanfield.closed_step import average, carrier_average, pair_average
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

_ROUNDING = 5e-16  # of correlations


class ManyPairs:
    """Averages over two copies of a step, found in the order in which the gates are evaluated.

    Args:
        laws: of the single copies.
        products: E[s_a s_b], (copies, networks).
    """

    def __init__(self, laws: ManyLaws, products: Float64) -> None:
        self.laws, self.steps, self.products = laws, laws.steps, bounded(products)
        units = self.steps.units
        self._found: dict[int, Bounded] = {}
        covariances = np.repeat(units.covariances[:, None], len(products), axis=1)
        self._covariances = Bounded(covariances, np.zeros_like(covariances))
        for index, carrier in enumerate(units.cell.carriers):
            matrices = self._matrices(carrier[0] + carrier[1])
            shared = carrier_average(carrier, laws.mean, self.products, matrices)
            gains = units.squared_gains[:, index, None]
            self._covariances = self._covariances + Bounded(gains * shared.value, gains * shared.error)

    def _matrices(self, terms: Sequence[Term]) -> list[Bounded]:
        """Averages of pairs of functions in all groups that a sum reads; those of single copies stand for the rest."""
        return [
            self._matrix(index) if any(term.functions[index] for term in terms) else single[:, :, None]
            for index, single in enumerate(self.steps.moments)
        ]

    def _matrix(self, index: int) -> Bounded:
        if index not in self._found:
            self._found[index] = self.steps.groups[index].pairs(self._correlations)
        return self._found[index]

    @property
    def _correlations(self) -> Bounded:
        variances = self.steps.variances[:, None]
        value, error = (
            np.divide(each, variances, out=np.full_like(each, empty), where=variances > 0.0)
            for each, empty in ((self._covariances.value, 1.0), (self._covariances.error, 0.0))
        )
        error = error + _ROUNDING
        # Copies that may be the same are the same, so that nothing is left of the series that is not known.
        same = 1.0 - value <= error
        return Bounded(np.where(same, 1.0, np.maximum(value, -1.0)), np.where(same, 2.0 * error, error))

    def change(self) -> Bounded:
        """How far the map moves E[s_a s_b], (copies, networks)."""
        offset, keep = self.steps.units.cell.update
        matrices = self._matrices(offset + keep + self.steps.units.cell.lost)
        fed = 2.0 * pair_average(keep, offset, matrices) * self.laws.mean + pair_average(offset, offset, matrices)
        return fed - _lost(self.steps, matrices) * self.products

    def slope(self) -> MapSlope:
        """Slope of the map, (copies, networks)."""
        matrices = [self._matrix(index) for index in range(len(self.steps.groups))]
        correlations = self._correlations

        def derived(variable: int) -> Bounded:
            return self.steps.groups[self.steps.group_of(variable)].pair_slopes(variable, correlations)

        return _slope(self.laws, self.products, matrices, derived)


def growth(laws: ManyLaws) -> tuple[Bounded, Bounded]:
    """χ_1 and 1 - χ_1, (networks,): the slope of the overlap map for copies that are the same."""
    steps = laws.steps

    def derived(variable: int) -> Bounded:
        return steps.groups[steps.group_of(variable)].slope_moments(variable)

    found = _slope(laws, laws.second, steps.moments, derived)
    return found.slope, found.lacking


def _slope(
    laws: ManyLaws, products: Bounded, matrices: list[Bounded], derivative: Callable[[int], Bounded]
) -> MapSlope:
    """Slope of the overlap map.

    Args:
        laws: of single copies.
        products: E[s_a s_b].
        matrices: averages of pairs of functions, one matrix a group.
        derivative: that of the matrix that reads a variable, in the variable's covariance.
    """
    steps = laws.steps
    units = steps.units
    offset, keep = units.cell.update
    rises: dict[int, Bounded] = {}  # of the covariances of variables with E[s_a s_b]
    derived: dict[int, tuple[list[Bounded], int]] = {}
    for index, carrier in enumerate(units.cell.carriers):
        rise = pair_average(carrier[1], carrier[1], matrices)
        for variable, (changed, group) in derived.items():
            rise = rise + carrier_average(carrier, laws.mean, products, changed, group) * rises[variable]
        for variable, gains in enumerate(units.squared_gains[:, index]):
            if np.any(gains > 0.0) and np.any(rise.value):
                rises[variable] = rises.get(variable, bounded(0.0)) + gains * rise
                if variable not in derived:
                    group = steps.group_of(variable)
                    changed = [*matrices[:group], derivative(variable), *matrices[group + 1 :]]
                    derived[variable] = changed, group
    through = bounded(np.zeros_like(products.value))
    spread = np.zeros_like(products.value)
    for variable, (changed, group) in derived.items():
        fed = 2.0 * pair_average(keep, offset, changed, group) * laws.mean
        fed = fed + pair_average(offset, offset, changed, group)
        fed = fed + pair_average(keep, keep, changed, group) * products
        through = through + fed * rises[variable]
        spread = spread + _ROUNDING * fed.magnitude * steps.variances[variable]
    return MapSlope(pair_average(keep, keep, matrices) + through, _lost(steps, matrices) - through, spread)


def _lost(steps: ManySteps, matrices: list[Bounded]) -> Bounded:
    """E[1 - D_a D_b]."""
    lost = steps.units.cell.lost
    return 2.0 * average(lost, steps.moments) - pair_average(lost, lost, matrices)
