"""How a perturbation of a memory behind an output gate is fed, kept and read out, by the transfer operator.

Source: theory, section 3; the recursion is in output_growth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from meanfield.noise_laws import squared_gains
from meanfield.output_step import OutputStep
from meanfield.solvers.coefficient_laws import BlendedCoefficients, IndependentCoefficients, JointCoefficients
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.transfer_operator import TransferOperator

Float64 = NDArray[np.float64]
Function = Callable[[Float64], Float64]

_COUNT = 24  # nodes of the laws of gates
_PARTS = ("nodes", "weights")


class Perturbed:
    """How a perturbation of the memory is fed, kept and read out, on the nodes of one resolution.

    Attributes:
        coupling: E[o²] times what a unit perturbation of the output adds to that of the memory, (nodes,).
        readout: ψ'², (nodes,).
        passed: what the output gate alone passes on.
        forgotten: 1 - E[f²].
        kept: T_{f²}, (nodes, nodes): a perturbation of the memory, as weights at the nodes, becomes that times this.
    """

    def __init__(self, step: OutputStep, *, coarse: bool = False) -> None:
        self._step, memory = step, step.memory
        self._operator: TransferOperator = memory.coarser if coarse else memory.operator
        self._law = memory.coarser_weights if coarse else memory.weights
        cell, nodes = step.cell, self._operator.nodes
        noises = cell.program.noises
        gains = dict(zip(noises, squared_gains(step.network, noises, 1)[:, 0], strict=True))
        self._release = cell.release.law(step.parameters, _COUNT)
        self._gates = [gate.law(step.parameters, _COUNT) for gate in cell.gates]
        self._gate_gains = [gains[gate.noise] for gate in cell.gates]
        self.readout: Float64 = cell.squash_slopes(nodes) ** 2
        squashed = float(self._law @ cell.squashed(nodes) ** 2)
        self.passed = gains[cell.opening.noise] * float(step.opening_slope.moments.value[0, 0]) * squashed
        points, weights = self._release.points
        release = self._release.value(points)
        self.forgotten = float(weights @ (release * (2.0 - release)))
        open_ = float(step.opening.moments.value[1, 1])
        self.coupling: Float64 = open_ * self._source(gains[cell.release.noise])
        self.kept: Float64 = self._operator.weighted(lambda keep, _: keep**2)

    @property
    def static(self) -> float:
        """The growth that a perturbation would have if the memory followed it at once."""
        return self.passed + float(self.coupling @ self.resolvent(self.forgotten))

    def resolvent(self, distance: float) -> Float64:
        """(χ - T_{f²})⁻¹ ψ'² for χ = E[f²] + distance, (nodes,)."""
        matrix = -self.kept
        count = len(matrix)
        diagonal = np.arange(count)
        # Rows add up to the distance: set so, long memories keep their digits.
        matrix[diagonal, diagonal] = 0.0
        matrix[diagonal, diagonal] = distance - np.sum(matrix, axis=1)
        found: Float64 = lu_solve(lu_factor(matrix, check_finite=False), self.readout, check_finite=False)
        return found

    def _source(self, keep_gain: float) -> Float64:
        """What a unit perturbation of the output adds to that of the memory, by the new memory, (nodes,)."""
        law, nodes, target = self._law, self._operator.nodes, self._target
        blended, slope = isinstance(self._operator.coefficients, BlendedCoefficients), self._release.slope
        source = np.zeros(len(nodes))
        if keep_gain > 0.0:
            squared = self._keep(lambda u: slope(u) ** 2)
            # (∂c/∂u)² = f'² (c - t)² in powers of t; there is no t in it where increments are not blended in.
            for power, row in enumerate((law * nodes**2, -2.0 * law * nodes, law)[: 3 if blended else 1]):
                for sign in (1.0, -1.0):
                    weights = target.weights * np.maximum(sign * target.nodes**power, 0.0)
                    if np.any(weights):
                        source += sign * keep_gain * row @ self._moved(squared, Rule(target.nodes, weights))
        if fed := [self._fed(index) for index, gain in enumerate(self._gate_gains) if gain > 0.0]:
            keep = self._keep(lambda u: self._release.value(u) ** 2 if blended else np.ones_like(u))
            nodes_of, weights_of = (np.concatenate([getattr(rule, part) for rule in fed]) for part in _PARTS)
            source += law @ self._moved(keep, Rule(nodes_of, weights_of).compressed(_COUNT))
        return source

    @property
    def _target(self) -> Rule:
        """The law of the increment, or of what is blended in."""
        law = self._operator.coefficients
        assert not isinstance(law, JointCoefficients)
        return law.target if isinstance(law, BlendedCoefficients) else law.increment

    def _keep(self, weight: Function) -> KeepRule:
        """The law of f with weights, functions of its variable."""
        points, weights = self._release.points
        release = self._release.value(points)
        return KeepRule(1.0 - release, release, weights * weight(points)).compressed(_COUNT)

    def _fed(self, index: int) -> Rule:
        """The law of the product of all gates with the square of its derivative in one variable, times the gain."""
        found = Rule(np.array([self._step.cell.size]), np.array([self._gate_gains[index] * self._step.cell.size**2]))
        for other, gate in enumerate(self._gates):
            points, weights = gate.points
            factor = gate.slope(points) if other == index else gate.value(points)
            found = found.times(Rule(gate.value(points), weights * factor**2), _COUNT)
        return found

    def _moved(self, keep: KeepRule, increment: Rule) -> Float64:
        blended = isinstance(self._operator.coefficients, BlendedCoefficients)
        return self._operator.push((BlendedCoefficients if blended else IndependentCoefficients)(keep, increment))
