"""Integrals of one step of a closed cell at given laws of its Gaussian variables (theory, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import ClosedCell, Polynomial, Term, closed_cell
from meanfield.closed_integrals import Functions, functions_of
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.noise_laws import noise_parameters, outer_covariances, squared_gains
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClosedStep:
    """One step of a network's unit.

    Attributes:
        network, inputs: of what.
        squares: E[p²] of every carrier, (carriers,).
    """

    network: Network
    inputs: Inputs
    squares: Float64

    @cached_property
    def cell(self) -> ClosedCell:
        """The cell's polynomials."""
        return closed_cell(self.network.definition)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Means and deviations of the Gaussian variables."""
        return noise_parameters(self.network, self.cell.noises, self.inputs, dict(enumerate(self.squares)))

    @cached_property
    def groups(self) -> list[Functions]:
        """The functions of the step."""
        return [functions_of(group, self.parameters) for group in self.cell.groups]

    @cached_property
    def moments(self) -> list[Bounded]:
        """E F_i F_j of all functions."""
        return [group.moments for group in self.groups]

    @cached_property
    def squared_gains(self) -> Float64:
        """How much of every carrier's E[p²] is in every variable's variance, (variables, carriers)."""
        return squared_gains(self.network, self.cell.noises, len(self.squares))

    @cached_property
    def outer_covariances(self) -> Float64:
        """Covariances of the variables between two sequences without those of their fields, (variables,)."""
        return outer_covariances(self.network, self.cell.noises, self.inputs, len(self.squares))

    def group_of(self, noise: str) -> int:
        """Which group reads a variable."""
        return next(index for index, group in enumerate(self.cell.groups) if noise in group.noises)

    def with_matrix(self, index: int, matrix: Bounded) -> list[Bounded]:
        """:attr:`moments` with the matrix of one group replaced."""
        return [*self.moments[:index], matrix, *self.moments[index + 1 :]]

    @cached_property
    def variances(self) -> Float64:
        """Variances of the variables, (variables,)."""
        return np.array([self.parameters[f"deviation {name}"] ** 2 for name in self.cell.noises])


def pair_average(
    left: Sequence[Term], right: Sequence[Term], matrices: Sequence[Bounded], changed: int | None = None
) -> Bounded:
    """E of the product of two sums of products of functions.

    Args:
        left, right: the sums; functions of different groups are independent.
        matrices: averages of pairs of functions, one matrix a group; more axes than two are kept.
        changed: the group whose matrix is a derivative, for the derivative of the average; none by default.
    """
    total: Bounded | None = None
    for one in left:
        for other in right:
            product: Bounded | None = None
            for index, (matrix, i, j) in enumerate(zip(matrices, one.functions, other.functions, strict=True)):
                if i or j or index == changed:
                    entry = matrix[i, j]
                    product = entry if product is None else product * entry
            factor = one.factor * other.factor
            if product is None:
                product = bounded(factor)
            elif factor != 1.0:
                product = product * factor
            total = product if total is None else total + product
    return bounded(0.0) if total is None else total


def average(terms: Sequence[Term], matrices: Sequence[Bounded], changed: int | None = None) -> Bounded:
    """E of one sum, as :func:`pair_average`."""
    return pair_average(terms, (Term(1.0, (0,) * len(matrices)),), matrices, changed)


def carrier_average(
    carrier: Polynomial, mean: Bounded, product: Bounded, matrices: Sequence[Bounded], changed: int | None = None
) -> Bounded:
    """E p_a p_b of a carrier from E s and E s_a s_b of the state, as :func:`pair_average`."""
    offset, slope = carrier
    total = pair_average(offset, offset, matrices, changed)
    if slope:
        total = total + pair_average(slope, slope, matrices, changed) * product
        if offset:
            total = total + 2.0 * pair_average(offset, slope, matrices, changed) * mean
    return total
