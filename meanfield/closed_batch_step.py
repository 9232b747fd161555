"""One step of the units of many networks of one closed cell, as arrays over networks (theory, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import ClosedCell, Group, closed_cell
from meanfield.closed_step import ClosedStep
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.expressions import evaluate
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.many_gaussian_products import ManyNormalFunctions, SharedRule

Float64 = NDArray[np.float64]
Chosen = NDArray[np.intp] | slice

_SPACINGS = 3.0  # distance of the nearest pole over that of the coarse rule's nodes from which errors can be trusted


def shares_a_rule(cell: ClosedCell) -> bool:
    """Whether all functions of a cell are smooth ones of a single variable, which one rule can integrate."""
    return all(
        group.outer is None and len(group.functions) > 1 and not any(each.kink for each in group.transitions)
        for group in cell.groups
    )


@dataclass(frozen=True, eq=False)
class ManyUnits:
    """The Gaussian variables of many networks, apart from what their recurrent fields add.

    Attributes:
        cell: of all networks.
        means: (variables, networks).
        variances: without fields, (variables, networks).
        covariances: between two sequences, without fields, (variables, networks).
        squared_gains: how much of every carrier's E[p²] is in every variable's variance, (variables, carriers,
            networks).
    """

    cell: ClosedCell
    means: Float64
    variances: Float64
    covariances: Float64
    squared_gains: Float64

    @classmethod
    def of(cls, networks: Sequence[Network], inputs: Sequence[Inputs]) -> ManyUnits:
        """Those of networks of one cell under their inputs."""
        cell = closed_cell(networks[0].definition)
        steps = [
            ClosedStep(network, each, np.zeros(len(cell.carriers)))
            for network, each in zip(networks, inputs, strict=True)
        ]
        means = [[step.parameters[f"mean {name}"] for name in cell.noises] for step in steps]
        return cls(
            cell,
            np.array(means).T,
            np.stack([step.variances for step in steps], axis=-1),
            np.stack([step.outer_covariances for step in steps], axis=-1),
            np.stack([step.squared_gains for step in steps], axis=-1),
        )

    def __len__(self) -> int:
        return self.means.shape[1]

    def chosen(self, which: Chosen) -> ManyUnits:
        """Some of the networks."""
        return ManyUnits(
            self.cell,
            self.means[:, which],
            self.variances[:, which],
            self.covariances[:, which],
            self.squared_gains[:, :, which],
        )


class ManyFunctions:
    """The functions of one group, of u = rest + Σ loads × variables, and their slopes in u.

    Args:
        group: the group; it has no outer variable.
        variables: rows of its variables in the arrays.
        means, variances: of all variables, (variables, networks).
        rule: that integrates them.
    """

    def __init__(
        self, group: Group, variables: list[int], means: Float64, variances: Float64, rule: SharedRule
    ) -> None:
        self._loads = {row: float(evaluate([load], {})[0]) for row, load in zip(variables, group.loads, strict=True)}
        rest = float(evaluate([group.rest], {})[0])
        self._shares = {row: load**2 * variances[row] for row, load in self._loads.items()}
        self.deviation = np.sqrt(sum(self._shares.values()))
        mean = rest + sum(load * means[row] for row, load in self._loads.items())
        u = mean[:, None] + self.deviation[:, None] * rule.nodes
        both = evaluate([*group.functions[1:], *group.slopes[1:]], {group.argument: u})
        found = [np.broadcast_to(each, u.shape) for each in both]
        count = len(group.functions) - 1
        self.slopes = ManyNormalFunctions(rule, 0.0, found[count:])
        self.values = ManyNormalFunctions(rule, 1.0, found[:count], self.deviation * self._slope_sizes)
        width = min((each.width for each in group.transitions), default=np.inf)
        smooth = self.deviation * (_SPACINGS * rule.spacing) <= width
        self.resolved = smooth & self.values.resolved & self.slopes.resolved

    def factor(self, function: int, variable: int | None = None) -> Float64:
        """A function on the rule's nodes, or its derivative in a variable, (networks, nodes); not the constant one."""
        if variable is None:
            return self.values.values[function - 1]
        return self.slopes.values[function - 1] * self._loads[variable]

    @property
    def rule(self) -> SharedRule:
        """The rule that integrates."""
        return self.values.rule

    @property
    def _slope_sizes(self) -> Float64:
        squares = self.slopes.moments
        return np.sqrt(np.diagonal(squares.value + squares.error).T[1:])

    @property
    def moments(self) -> Bounded:
        """E F_i F_j, (functions, functions, networks)."""
        return self.values.moments

    def variance_slope(self, variable: int) -> Float64:
        """Derivative of that in a variable's variance; zero where there is no variance."""
        scale = np.divide(
            0.5 * self._loads[variable] ** 2,
            self.deviation,
            out=np.zeros_like(self.deviation),
            where=self.deviation > 0.0,
        )
        return self.values.scores(self.slopes) * scale

    def slope_moments(self, variable: int) -> Bounded:
        """E ∂F_i ∂F_j with derivatives in a variable, (functions, functions, networks)."""
        return self.slopes.moments * self._loads[variable] ** 2

    def pairs(self, correlations: Bounded) -> Bounded:
        """E F_i F_j of two copies, (functions, functions, copies, networks).

        Args:
            correlations: of all variables, (variables, copies, networks).
        """
        found = self._correlation(correlations)
        return self.values.pairs(found.value, found.error)

    def pair_slopes(self, variable: int, correlations: Bounded) -> Bounded:
        """E ∂F_i ∂F_j of two copies: the derivative of :meth:`pairs` in a variable's covariance (Price)."""
        found = self._correlation(correlations)
        return self.slopes.pairs(found.value, found.error) * self._loads[variable] ** 2

    def _correlation(self, correlations: Bounded) -> Bounded:
        (row, *others) = self._loads
        if not others:
            return correlations[row]
        total = sum(self._shares.values())
        found = sum(share * correlations[each].value for each, share in self._shares.items())
        off = sum(share * correlations[each].error for each, share in self._shares.items())
        value, error = (
            np.divide(each, total, out=np.full_like(each, empty), where=total > 0.0)
            for each, empty in ((found, 1.0), (off, 0.0))
        )
        return Bounded(np.clip(value, -1.0, 1.0), error)


@dataclass(frozen=True, eq=False)
class ManySteps:
    """One step of the units of many networks.

    Attributes:
        units: of what.
        squares: E[p²] of every carrier, (carriers, networks).
        rule: that integrates.
    """

    units: ManyUnits
    squares: Float64
    rule: SharedRule

    @cached_property
    def variances(self) -> Float64:
        """Variances of the variables, (variables, networks)."""
        return self.units.variances + np.einsum("vcn,cn->vn", self.units.squared_gains, self.squares)

    @cached_property
    def groups(self) -> list[ManyFunctions]:
        """The functions of the step."""
        rows = {name: row for row, name in enumerate(self.units.cell.noises)}
        return [
            ManyFunctions(group, [rows[name] for name in group.inner], self.units.means, self.variances, self.rule)
            for group in self.units.cell.groups
        ]

    @cached_property
    def moments(self) -> list[Bounded]:
        """E F_i F_j of all functions."""
        return [group.moments for group in self.groups]

    @property
    def resolved(self) -> NDArray[np.bool_]:
        """Whether the rule is made for all functions, (networks,)."""
        return np.all([group.resolved for group in self.groups], axis=0)

    def group_of(self, variable: int) -> int:
        """Which group reads a variable."""
        name = list(self.units.cell.noises)[variable]
        return next(index for index, group in enumerate(self.units.cell.groups) if name in group.noises)

    def driven(self) -> list[int]:
        """The variables that recurrent fields are part of, in any of the networks."""
        return [int(row) for row in np.flatnonzero(np.any(self.units.squared_gains > 0.0, axis=(1, 2)))]
