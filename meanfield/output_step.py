"""One step of a unit with a memory behind an output gate, at a given second moment of the output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meanfield.errors import NotConverged
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.noise_laws import noise_parameters
from meanfield.output_cells import OutputCell, output_cell
from meanfield.sampling.operator_averages import memory_law
from meanfield.solvers.autoregression_law import StationaryLaw
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.gaussian_products import NormalFunctions


@dataclass(frozen=True, eq=False)
class OutputStep:
    """One step of a unit at a given second moment of the output.

    Attributes:
        network, inputs: of what.
        square: E[h²] that the recurrent matrices read.
    """

    network: Network
    inputs: Inputs
    square: float

    @cached_property
    def cell(self) -> OutputCell:
        """The cell's parts."""
        return output_cell(self.network.definition)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Means and deviations of the Gaussian variables."""
        return noise_parameters(self.network, self.cell.program.noises, self.inputs, {0: self.square})

    @cached_property
    def memory(self) -> StationaryLaw:
        """The stationary law of c."""
        try:
            return memory_law(self.cell.program, self.parameters)
        except (ValueError, ArithmeticError) as error:
            raise NotConverged(f"the stationary law of {self.cell.memory} was not found: {error}") from error

    @cached_property
    def opening(self) -> NormalFunctions:
        """The functions 1 and o of the output gate's variable."""
        gate = self.cell.opening.law(self.parameters, 1)
        return NormalFunctions(
            lambda u: np.stack([np.ones_like(u), gate.value(u)]), gate.mean, gate.deviation, gate.transitions
        )

    @cached_property
    def opening_slope(self) -> NormalFunctions:
        """The slope of o, as one function."""
        gate = self.cell.opening.law(self.parameters, 1)
        return NormalFunctions(lambda u: np.asarray(gate.slope(u))[None], gate.mean, gate.deviation, gate.transitions)

    def of_memory(self, power: int) -> Bounded:
        """E[ψ(c)^power]."""
        value, error = self.memory.expectation(lambda c: self.cell.squashed(c) ** power)
        return Bounded(np.asarray(value), np.asarray(error))

    @cached_property
    def mean(self) -> Bounded:
        """E[h]."""
        return self.opening.moments[0, 1] * self.of_memory(1)

    @cached_property
    def image(self) -> Bounded:
        """E[h²] one step later."""
        return self.opening.moments[1, 1] * self.of_memory(2)
