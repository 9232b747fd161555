"""One step of two copies of a closed cell: the image of E[s_a s_b] and its slope (theory, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import Term
from meanfield.closed_step import ClosedStep, average, carrier_average, pair_average
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

_ROUNDING = 5e-16  # of correlations
_INHERITED = 1e-13  # relative error of a covariance beyond which it counts


@dataclass(frozen=True, eq=False)
class MapSlope:
    """Slope of the overlap map.

    Attributes:
        slope: its value.
        lacking: one minus that, without cancellation where memory is long.
        spread: how far rounding of correlations moves the map itself.
    """

    slope: Bounded
    lacking: Bounded
    spread: Float64


class Pairs:
    """Averages over two copies of a step, found in the order in which the gates are evaluated.

    Args:
        step: of a single copy.
        mean: E[s].
        products: E[s_a s_b], (products,).
        quick: whether a short series is enough, whatever its error.
    """

    def __init__(self, step: ClosedStep, mean: Estimate, products: Float64, *, quick: bool = False) -> None:
        self.step, self.quick = step, quick
        self.mean, self.products = bounded(mean.value), bounded(products)
        self.found: dict[int, Bounded] = {}
        self.covariances = np.repeat(self.step.outer_covariances[:, None], len(products), axis=1)
        self.covariance_errors = np.zeros_like(self.covariances)
        for index, carrier in enumerate(self.step.cell.carriers):
            shared = carrier_average(carrier, self.mean, self.products, self.matrices(carrier[0] + carrier[1]))
            self.covariances += self.step.squared_gains[:, index, None] * shared.value
            self.covariance_errors += self.step.squared_gains[:, index, None] * shared.error

    def matrices(self, terms: Sequence[Term]) -> list[Bounded]:
        """Averages of pairs of functions in all groups that a sum reads; those of single copies stand for the rest."""
        return [
            self._matrix(index) if any(term.functions[index] for term in terms) else single
            for index, single in enumerate(self.step.moments)
        ]

    def _matrix(self, index: int) -> Bounded:
        if index not in self.found:
            found = self.step.groups[index].pairs(self._correlations, quick=self.quick)
            self.found[index] = Bounded(found.value, found.error + self._inherited(index))
        return self.found[index]

    def _inherited(self, index: int) -> Float64 | float:
        """What errors of covariances do to averages of pairs of functions, by Price's theorem and Cauchy-Schwarz."""
        noises, inherited = list(self.step.cell.noises), np.zeros(())
        for name in self.step.cell.groups[index].noises:
            row = noises.index(name)
            errors = self.covariance_errors[row]
            if np.any(errors > _INHERITED * self.step.variances[row]):
                sizes = np.sqrt(np.abs(np.diag(self.step.groups[index].slope_moments(name).value)))
                inherited = inherited + np.outer(sizes, sizes)[..., None] * errors
        return inherited

    @property
    def _correlations(self) -> dict[str, Float64]:
        variances = self.step.variances[:, None]
        ones = np.ones_like(self.covariances)
        correlations = np.divide(self.covariances, variances, out=ones, where=variances > 0.0)
        return dict(zip(self.step.cell.noises, np.clip(correlations, -1.0, 1.0), strict=True))

    def change(self) -> Bounded:
        """How far the map moves E[s_a s_b], (products,)."""
        cell = self.step.cell
        offset, keep = cell.update
        matrices = self.matrices(offset + keep + cell.lost)
        lost = self._lost(matrices)
        fed = 2.0 * pair_average(keep, offset, matrices) * self.mean + pair_average(offset, offset, matrices)
        return fed - lost * self.products

    def _lost(self, matrices: list[Bounded]) -> Bounded:
        """E[1 - D_a D_b]."""
        lost = self.step.cell.lost
        return 2.0 * average(lost, self.step.moments) - pair_average(lost, lost, matrices)

    def slope(self) -> MapSlope:
        """Slope of the map, (products,)."""
        step = self.step
        matrices = [self._matrix(index) for index in range(len(step.groups))]
        offset, keep = step.cell.update
        rises: dict[str, Bounded] = {}  # of the covariances of variables with E[s_a s_b]
        derived: dict[str, tuple[list[Bounded], int]] = {}
        for index, carrier in enumerate(step.cell.carriers):
            rise = pair_average(carrier[1], carrier[1], matrices)
            for name, (changed, group) in derived.items():
                rise = rise + carrier_average(carrier, self.mean, self.products, changed, group) * rises[name]
            for name, gain in zip(step.cell.noises, step.squared_gains[:, index], strict=True):
                if gain > 0.0 and rise.value.any():
                    rises[name] = rises.get(name, bounded(0.0)) + gain * rise
                    derived.setdefault(name, self._derived(name, matrices))
        through = bounded(np.zeros(len(self.products.value)))
        spread = np.zeros(len(self.products.value))
        for name, (changed, group) in derived.items():
            fed = 2.0 * pair_average(keep, offset, changed, group) * self.mean
            fed = fed + pair_average(offset, offset, changed, group)
            fed = fed + pair_average(keep, keep, changed, group) * self.products
            through = through + fed * rises[name]
            spread = spread + _ROUNDING * fed.magnitude * step.variances[list(step.cell.noises).index(name)]
        return MapSlope(pair_average(keep, keep, matrices) + through, self._lost(matrices) - through, spread)

    def _derived(self, name: str, matrices: list[Bounded]) -> tuple[list[Bounded], int]:
        """Averages of pairs of functions, with the derivatives of one group in the covariance of a variable."""
        group = self.step.group_of(name)
        slopes = self.step.groups[group].pair_slopes(name, self._correlations)
        return [*matrices[:group], slopes, *matrices[group + 1 :]], group
