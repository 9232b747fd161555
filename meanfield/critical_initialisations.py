"""Critical initialisations in closed form: networks with χ_1 = 1 at a chosen variance of the pre-activation.

The untied theory of a plain network and of the minimal RNN is solved backwards: with the variance q of u given, all
averages are known, χ_1 = 1 gives the recurrent gain, and the spread of biases makes up the rest of q.

Sources: B. Poole et al., Exponential expressivity in deep neural networks through transient chaos (1606.05340), for
the plain network; M. Chen, J. Pennington, S. Schoenholz, Dynamical isometry and a mean field theory of RNNs
(1806.05394), for the minimal RNN; theory, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from meanfield.activations import ACTIVATIONS, gate, tanh
from meanfield.checks import check_number
from meanfield.closed_moments import closed_law
from meanfield.errors import Infeasible, InvalidInput
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.normal_activations import activation_moments, variance_surplus
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

_CELLS = {"tanh": "vanilla", "erf": "vanilla_erf", "relu": "vanilla_relu"}


@dataclass(frozen=True)
class CriticalInitialisation:
    """A network whose χ_1 is 1 with weights that are redrawn at every step; errors are bounds.

    Attributes:
        network, inputs: the network, and the white inputs it is critical under.
        variance: of the pre-activation, as it was asked for.
        recurrent_gain, bias_std: of the gate that reads the state.
        second_moment: E[s²] of the state.
    """

    network: Network
    inputs: Inputs
    variance: float
    recurrent_gain: Estimate
    bias_std: Estimate
    second_moment: Estimate


def critical_vanilla(
    variance: float,
    *,
    activation: str = "tanh",
    bias_mean: float = 0.0,
    input_gain: float = 0.0,
    inputs: Inputs | None = None,
) -> CriticalInitialisation:
    """The critical plain network s = φ(u) whose pre-activation has a given variance q.

    σ² = 1/E[φ'²], and ρ² = q - σ² E[φ²] - ν² R with averages at u ~ N(μ, q). As q goes to 0 with μ = 0, σ goes to
    1/φ'(0) and ρ to 0; for relu σ² = 2 and ρ = 0 at every q, and the second moment stays what it is at the start.

    Args:
        variance: q, not negative.
        activation: "tanh", "erf" or "relu".
        bias_mean: μ; 0 for relu, whose second moments are stable at χ_1 = 1 with no other.
        input_gain: ν.
        inputs: white inputs of power R; power 1 by default.

    Returns:
        The network, with bounds on its laws.

    Raises:
        InvalidInput: if an argument is out of its range.
        Infeasible: if the recurrent field and the inputs alone make up more than q, or the network settles elsewhere.
        NotConverged: if bias_mean is not 0 and it does not settle.

    >>> import meanfield as mf
    >>> from meanfield.critical_initialisations import critical_vanilla
    >>> found = critical_vanilla(1.0)
    >>> print(round(found.recurrent_gain.value, 9), round(found.bias_std.value, 9))
    1.467413592 0.38854167
    """
    check_number("variance", variance, 0.0, math.inf)
    if activation not in _CELLS:
        raise InvalidInput(f"activation: must be one of {', '.join(_CELLS)}, got {activation!r}")
    if activation == "relu" and bias_mean != 0.0:
        raise InvalidInput(f"bias_mean: must be 0 for relu, got {bias_mean!r}")
    law = Gate(input_gain=input_gain, bias_mean=bias_mean)
    given = _white(inputs)
    function = ACTIVATIONS[activation]
    averages = activation_moments(function, bias_mean, variance)
    square, steepness = averages[1, 1], averages[2, 2]
    if not steepness.value > steepness.error:
        raise Infeasible(f"variance: {activation} has no slope at variance {variance:g} and bias mean {bias_mean:g}")
    left = variance_surplus(function, bias_mean, variance) / steepness - law.input_gain**2 * given.power
    gain, spread = _root(bounded(1.0) / steepness), _spread(left, variance, "variance")
    network = Network(_CELLS[activation], {"h": Gate(gain.value, law.input_gain, law.bias_mean, spread.value)})
    if bias_mean != 0.0:
        # Without it E φ² is concave in q, and its fixed point the only one.
        _check_reached(network, given, square, "variance")
    return CriticalInitialisation(network, given, float(variance), gain, spread, _estimate(square))


def critical_minimal(
    keep_variance: float,
    *,
    keep_mean: float = 0.0,
    embedding: Gate | None = None,
    embedding_gain: float = 0.0,
    inputs: Inputs | None = None,
) -> CriticalInitialisation:
    """The critical minimal RNN whose keep gate f = σ(u_f) has u_f ~ N(μ, q).

    With E[s] = E[z] and E[s²] = (2 E[f(1-f)] E[z]² + E[(1-f)²] E[z²])/E[1-f²], growth is
    χ_1 = E[f²] + σ² E[f'²] E[(s-z)²]. So σ² = E[1-f²]/(E[f'²] (E[s²] - 2 E[z]² + E[z²])) and
    ρ² = q - σ² E[s²] - ν² E[z²].

    Args:
        keep_variance: q, positive.
        keep_mean: μ, the mean of the keep gate's bias.
        embedding: law of the input embedding z = tanh(U x + b_z); an input gain of 1 without biases by default.
        embedding_gain: ν, with which the keep gate reads z.
        inputs: white inputs of power R; power 1 by default.

    Returns:
        The network, with bounds on the laws of its keep gate.

    Raises:
        InvalidInput: if an argument is out of its range.
        Infeasible: if the embedding is always zero, if the recurrent field and the embedding alone make up more than q
            (without ν and E[z] q is more than 1, the more the less f keeps), or if the network settles elsewhere.
        NotConverged: if it does not settle.

    >>> import meanfield as mf
    >>> from meanfield.critical_initialisations import critical_minimal
    >>> found = critical_minimal(6.0, keep_mean=4.0)
    >>> chi = mf.fixed_points(found.network).growth.chi
    >>> abs(chi.value - 1.0) < 1e-13
    True
    """
    check_number("keep_variance", keep_variance, 0.0, math.inf)
    source = embedding if embedding is not None else Gate(input_gain=1.0)
    if not isinstance(source, Gate):
        raise InvalidInput(f"embedding: must be a Gate, got {source!r}")
    keep_law = Gate(input_gain=embedding_gain, bias_mean=keep_mean)
    given = _white(inputs)
    z = activation_moments(tanh, source.bias_mean, source.input_gain**2 * given.power + source.bias_std**2)
    mean, drive = z[0, 1], z[1, 1]
    keep = activation_moments(gate, keep_mean, keep_variance)
    mixed, write, steepness = keep[1, 2], keep[2, 2], keep[3, 3]
    lost = 2.0 * keep[0, 2] - write  # E[1-f²]
    second = (2.0 * mixed * mean * mean + write * drive) / lost
    apart = second - 2.0 * mean * mean + drive  # E[(s-z)²]
    through = steepness * apart
    if not through.value > through.error:
        raise Infeasible("embedding: it does not vary, so that no recurrent gain of the keep gate reaches χ_1 = 1")
    squared_gain = lost / through
    left = bounded(float(keep_variance)) - squared_gain * second - keep_law.input_gain**2 * drive
    gain, spread = _root(squared_gain), _spread(left, keep_variance, "keep_variance")
    gates = {"f": Gate(gain.value, keep_law.input_gain, keep_law.bias_mean, spread.value), "z": source}
    network = Network("minimal", gates)
    _check_reached(network, given, second, "keep_variance")
    return CriticalInitialisation(network, given, float(keep_variance), gain, spread, _estimate(second))


def _white(inputs: Inputs | None) -> Inputs:
    found = inputs if inputs is not None else Inputs()
    if not found.endless:
        raise InvalidInput("inputs: critical networks are for white inputs only, got padded or measured ones")
    return found


def _check_reached(network: Network, inputs: Inputs, square: Bounded, name: str) -> None:
    """Check that a network settles at the second moment that it was made for, and not at another fixed point."""
    settled = closed_law(network, inputs).second_moment
    if abs(settled.value - float(square.value)) > 1e-6 * float(square.value) + settled.error:
        raise Infeasible(
            f"{name}: the second moment that belongs to it, {float(square.value):.6g}, is not the one at which the "
            f"critical network settles, {settled.value:.6g}; choose a larger variance"
        )


def _spread(left: Bounded, variance: float, name: str) -> Estimate:
    """The spread of biases that makes up what is left of a variance."""
    if left.value < -left.error:
        made = variance - float(left.value)
        raise Infeasible(
            f"{name}: the recurrent field of a critical network and its inputs make up {made:.6g}, more than the "
            f"{variance:g} asked for; choose another variance or bias mean, or lower input gains"
        )
    return _root(left)


def _root(square: Bounded) -> Estimate:
    """Square root; zero where the number is not distinguishable from it."""
    value, error = float(square.value), float(square.error)
    if value <= error:
        return Estimate(0.0, math.sqrt(max(value, 0.0) + error))
    root = math.sqrt(value)
    return Estimate(root, error / root + float(np.spacing(root)))


def _estimate(number: Bounded) -> Estimate:
    return Estimate(float(number.value), float(number.error))
