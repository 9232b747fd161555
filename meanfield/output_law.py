"""The stationary moments of a cell with a memory behind an output gate, in the untied regime (theory, section 3).

The law of the memory comes from its transfer operator, at the second moment of the output, which is

    Q = E[o²] E[ψ(c)²].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.output_pairs import OutputPairs
from meanfield.output_step import OutputStep
from meanfield.solvers.fixed_points import fixed_point

Float64 = NDArray[np.float64]

_TOLERANCE = 1e-11
_LIMIT = 1000  # evaluations: from a tiny drive a second moment grows by little at a time
_SMALL_START, _FARTHER_START = 1e-10, 0.01  # second moments of perturbations of the zero state
_MOVE = 1e-4  # relative change of the second moment over which its effect on other results is linear
_UNRESOLVED = 1e-6  # distance of slopes from one at which the fixed point is not told from its neighbourhood


@dataclass(frozen=True)
class OutputLaw:
    """Moments of one unit with weights that are redrawn at every step; errors are bounds.

    Attributes:
        network, inputs: of what.
        mean, second_moment: of the output h, at its self-consistent value.
        memory_mean, memory_second_moment: of the memory c.
        parameters: means and deviations of the Gaussian variables.
    """

    network: Network
    inputs: Inputs
    mean: Estimate
    second_moment: Estimate
    memory_mean: Estimate
    memory_second_moment: Estimate
    parameters: Mapping[str, float]
    step: OutputStep = field(repr=False, compare=False)
    neighbour: OutputStep | None = field(repr=False, compare=False)

    @property
    def carriers(self) -> tuple[Estimate, ...]:
        """E[p²] of the one vector that recurrent matrices read."""
        return (self.second_moment,)

    def moved(self) -> list[tuple[OutputLaw, float]]:
        """The law with its second moment moved, and the share of the way that its error makes up."""
        if self.neighbour is None:
            return []
        step = self.neighbour
        law = replace(
            self,
            mean=replace(self.mean, value=float(step.mean.value)),
            second_moment=replace(self.second_moment, value=step.square),
            step=step,
            neighbour=None,
        )
        return [(law, 2.0 * self.second_moment.error / abs(step.square - self.step.square))]

    def pairs(self, products: Float64, *, quick: bool = False) -> OutputPairs:
        """Averages over two copies of a step at E[h_a h_b]."""
        return OutputPairs(self.step, products, quick=quick)


def output_law(network: Network, inputs: Inputs | None = None) -> OutputLaw:
    """Moments of the output at its self-consistent second moment, by the transfer operator of the memory.

    Args:
        network: of a cell with a memory behind an output gate, such as the LSTM.
        inputs: white inputs of power R; power 1 by default. Only their power matters here.

    Returns:
        The stable law that is reached from what inputs and biases alone give, with bounds on all errors.

    Raises:
        NotClosed: if the cell is of another kind.
        InvalidInput: if the inputs are not white.
        NotConverged: if there is no stationary law, or its second moment does not settle.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
    >>> gates = {"i": gate, "f": mf.Gate(1.0, 0.5, 1.0, 0.2), "g": mf.Gate(2.0, 1.0, 0.0, 0.2), "o": gate}
    >>> law = output_law(mf.Network("lstm", gates))
    >>> round(law.second_moment.value, 9), law.second_moment.error < 1e-10
    (0.046571095, True)
    """
    inputs = inputs if inputs is not None else Inputs()
    if not inputs.endless:
        raise InvalidInput("inputs: there is a stationary law under white inputs only, got padded or measured ones")
    driven = float(OutputStep(network, inputs, 0.0).image.value)

    def image(squares: Float64) -> Float64:
        return np.atleast_1d(OutputStep(network, inputs, float(squares[0])).image.value)

    start = np.array([driven if driven > 0.0 else _SMALL_START])
    if driven == 0.0 and image(start)[0] > start[0]:
        start = np.array([_FARTHER_START])  # the zero state repels
    found = fixed_point(image, start, tolerance=_TOLERANCE, positive=True, limit=_LIMIT)
    if not found.converged:
        raise NotConverged(f"the second moment of {OutputStep(network, inputs, 0.0).cell.output}: {found.status}")
    square = float(found.value[0])
    step = OutputStep(network, inputs, square)
    neighbour, slope = None, 0.0
    if square > 0.0 and any(gate.recurrent_gain != 0.0 for gate in network.gates.values()):
        neighbour = OutputStep(network, inputs, square * (1.0 + _MOVE))
        slope = float(neighbour.image.value - step.image.value) / (_MOVE * square)
        if abs(1.0 - slope) <= _UNRESOLVED:
            raise NotConverged("the map of second moments has slope one where it settles; the network is critical")
    off = float(step.image.error + abs(step.image.value - square)) / abs(1.0 - slope)
    moments = [step.memory.expectation(np.positive), step.memory.expectation(np.square)]
    mean = step.mean
    pull = 0.0 if neighbour is None else abs(float(neighbour.mean.value - mean.value)) / (_MOVE * square)
    return OutputLaw(
        network=network,
        inputs=inputs,
        mean=Estimate(float(mean.value), float(mean.error) + pull * off),
        second_moment=Estimate(square, off),
        memory_mean=Estimate(*moments[0]),
        memory_second_moment=Estimate(*moments[1]),
        parameters=dict(step.parameters),
        step=step,
        neighbour=neighbour,
    )
