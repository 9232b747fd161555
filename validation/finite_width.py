"""Real networks of finite width in plain NumPy, the witness of every prediction.

Nothing is shared with the populations but the cells' updates and carriers. Derivatives are complex steps: the state is
carried as h + iεδ with ε = 1e-30, and the imaginary part divided by ε is the tangent, exact to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.population import Regime
from meanfield.validation.simulated_network import COMPLEX_STEP, input_sequences, member

Float64 = NDArray[np.float64]
Array = NDArray[Any]


@dataclass(frozen=True)
class Simulation:
    """What networks of finite width did, one row a network; t0 is the end of the burn-in.

    Attributes:
        second_moment: mean square of the output after every step, burn-in included, (networks, burn_in + length).
        gradient_profile: ‖∂h_{t0+τ}/∂h_{t0}‖²/N at τ = 0 … length, other state variables held fixed at t0,
            (networks, length + 1).
        input_sensitivity: ‖∂h_{t0+1+τ}/∂x‖²/N with x the input that step t0+1 reads, at τ = 0 … length-1,
            (networks, length).
        bias_response: |δh|²/N at the end for a constant unit Gaussian kick of all biases after t0, (networks,).
    """

    second_moment: Float64
    gradient_profile: Float64
    input_sensitivity: Float64
    bias_response: Float64


def simulate(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    networks: int = 4,
    seed: int = 0,
    regime: Regime = "tied",
    burn_in: int = 0,
    directions: int = 16,
) -> Simulation:
    """Run networks from the zero state, each with weights and an input sequence of its own.

    Args:
        network, inputs: what to simulate; inputs of size 0 get as many components as there are units.
        hidden: width N.
        length: steps after the burn-in.
        networks: number of independent networks.
        seed: of weights, inputs and tangents.
        regime: ``"tied"`` weights, or ``"untied"`` ones, drawn anew with their biases at every step.
        burn_in: steps before tangents start.
        directions: random unit Gaussian tangents of each kind a network; squared norms are averages over them.

    Raises:
        InvalidInput: if a size is not positive.

    >>> import meanfield as mf
    >>> silent = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)})  # at the zero state: G(τ) = σ^(2τ)
    >>> found = simulate(silent, mf.Inputs(power=0.0), hidden=400, length=2, directions=64)
    >>> [round(float(value), 2) for value in found.gradient_profile.mean(axis=0)]
    [1.0, 0.25, 0.06]
    """
    rows = []
    for index in range(networks):
        drawn, generator = member(network, inputs, hidden=hidden, seed=seed, index=index, regime=regime)
        x = input_sequences(inputs, generator, hidden=hidden, steps=burn_in + length)[0]
        state, squares = drawn.rest(), []
        for step in range(burn_in):
            state = drawn.advance(step, state, x[step][None])
            squares.append(np.mean(state[drawn.output] ** 2))
        by_state, by_input, by_bias = (slice(k * directions, (k + 1) * directions) for k in range(3))
        state = [np.repeat(variable, 3 * directions, axis=0).astype(np.complex128) for variable in state]
        state[drawn.output][by_state] += 1j * COMPLEX_STEP * generator.standard_normal((directions, hidden))
        kick = {gate: np.zeros((3 * directions, hidden), np.complex128) for gate in network.gates}
        for values in kick.values():
            values[by_bias] = 1j * COMPLEX_STEP * generator.standard_normal((directions, hidden))
        responses = [_mean_squares(state[drawn.output], directions)]
        for step in range(burn_in, burn_in + length):
            read = np.repeat(x[step][None], 3 * directions, axis=0).astype(np.complex128)
            if step == burn_in:
                read[by_input] += 1j * COMPLEX_STEP * generator.standard_normal((directions, x.shape[1]))
            state = drawn.advance(step, state, read, kick)
            squares.append(np.mean(state[drawn.output][0].real ** 2))
            responses.append(_mean_squares(state[drawn.output], directions))
        rows.append((np.array(squares), np.array(responses)))
    second, response = (np.array(each) for each in zip(*rows, strict=True))
    return Simulation(second, response[:, :, 0], response[:, 1:, 1], response[:, -1, 2])


def input_response(
    network: Network,
    sequence: ArrayLike,
    changes: ArrayLike,
    *,
    hidden: int,
    networks: int = 4,
    seed: int = 0,
    regime: Regime = "tied",
) -> Float64:
    """Mean-square linear response of the last output to given changes of one input sequence, (networks, changes).

    Args:
        network, hidden, networks, seed, regime: as for :func:`simulate`.
        sequence: the inputs, (steps, M).
        changes: their changes, (changes, steps, M).

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(input_gain=2.0)})  # at the zero state: ν² |δx|²/M
    >>> found = input_response(linear, np.zeros((1, 3)), np.ones((1, 1, 3)), hidden=500, networks=8)
    >>> bool(3.5 < found.mean() < 4.5)
    True
    """
    x = np.asarray(sequence, dtype=np.float64)
    shifted = x + 1j * COMPLEX_STEP * np.asarray(changes, dtype=np.float64)
    rows = []
    for index in range(networks):
        drawn, _ = member(network, Inputs(size=x.shape[1]), hidden=hidden, seed=seed, index=index, regime=regime)
        state = [np.repeat(variable, len(shifted), axis=0).astype(np.complex128) for variable in drawn.rest()]
        for step in range(len(x)):
            state = drawn.advance(step, state, shifted[:, step])
        rows.append(np.mean((state[drawn.output].imag / COMPLEX_STEP) ** 2, axis=1))
    return np.array(rows)


def jacobian(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    steps: int = 1,
    networks: int = 1,
    seed: int = 0,
    regime: Regime = "tied",
) -> Float64:
    """Dense Jacobians over the last ``steps`` of ``length`` steps from the zero state, over all state variables.

    Args:
        network, inputs, hidden, networks, seed, regime: as for :func:`simulate`.
        length: number of steps in all.
        steps: number of steps, the last ones, that the Jacobian spans.

    Returns:
        ∂(state after the last step)/∂(state before these steps), (networks, S N, S N), the units of the first state
        variable first.

    Raises:
        InvalidInput: if there are no steps or more than the length.

    >>> import meanfield as mf
    >>> leaky = mf.Network("leaky", {"h": mf.Gate()})
    >>> jacobian(leaky, mf.Inputs(), hidden=2, length=1)[0]
    array([[0.7, 0. ],
           [0. , 0.7]])
    """
    check_count("steps", steps, 1)
    if steps > length:
        raise InvalidInput(f"steps: must not exceed the length {length}, got {steps}")
    found = []
    for index in range(networks):
        drawn, generator = member(network, inputs, hidden=hidden, seed=seed, index=index, regime=regime)
        x = input_sequences(inputs, generator, hidden=hidden, steps=length)[0]
        state, whole = drawn.rest(), None
        for step in range(length - steps):
            state = drawn.advance(step, state, x[step][None])
        for step in range(length - steps, length):
            state, circuit = drawn.linearised(step, state, x[step][None])
            whole = drawn.dense(step, circuit, whole)
        found.append(whole)
    return np.array(found, dtype=np.float64)


def jacobian_singular_values(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    steps: int = 1,
    networks: int = 1,
    seed: int = 0,
    regime: Regime = "tied",
) -> Float64:
    """All singular values of the Jacobians over the last ``steps`` of ``length`` steps, falling, (networks, S N).

    Arguments are those of :func:`jacobian`.

    >>> import meanfield as mf
    >>> jacobian_singular_values(mf.Network("leaky", {"h": mf.Gate()}), mf.Inputs(), hidden=2, length=4, steps=2)
    array([[0.49, 0.49]])
    """
    matrices = jacobian(
        network, inputs, hidden=hidden, length=length, steps=steps, networks=networks, seed=seed, regime=regime
    )
    return np.asarray(np.linalg.svd(matrices, compute_uv=False), dtype=np.float64)


def jacobian_eigenvalues(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    steps: int = 1,
    networks: int = 1,
    seed: int = 0,
    regime: Regime = "tied",
) -> NDArray[np.complex128]:
    """All eigenvalues of the Jacobians over the last ``steps`` of ``length`` steps, (networks, S N).

    Arguments are those of :func:`jacobian`.

    >>> import meanfield as mf
    >>> jacobian_eigenvalues(mf.Network("leaky", {"h": mf.Gate()}), mf.Inputs(), hidden=2, length=1).real
    array([[0.7, 0.7]])
    """
    matrices = jacobian(
        network, inputs, hidden=hidden, length=length, steps=steps, networks=networks, seed=seed, regime=regime
    )
    return np.asarray(np.linalg.eigvals(matrices), dtype=np.complex128)


def overlaps(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    networks: int = 4,
    seed: int = 0,
    regime: Regime = "tied",
) -> Float64:
    """Correlation coefficient over units of the outputs of two input sequences after every step, (networks, length).

    Args:
        network, hidden, length, networks, seed, regime: as for :func:`simulate`; both sequences start at the zero state
            and see the same weights.
        inputs: their overlap is that of the two sequences.

    Returns:
        One where the outputs do not vary over units.

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(input_gain=0.1)})
    >>> found = overlaps(linear, mf.Inputs(overlap=0.5, size=400), hidden=400, length=1, networks=8)
    >>> bool(abs(found.mean() - 0.5) < 0.1)
    True
    """
    rows = []
    for index in range(networks):
        drawn, generator = member(network, inputs, hidden=hidden, seed=seed, index=index, regime=regime)
        x = input_sequences(inputs, generator, hidden=hidden, steps=length, sequences=2)
        state, found = drawn.rest(2), []
        for step in range(length):
            state = drawn.advance(step, state, x[:, step])
            found.append(correlation(state[drawn.output]))
        rows.append(found)
    return np.array(rows)


def correlation(pair: Float64) -> float:
    """Correlation coefficient over units of two rows, (2, N); one where they do not vary.

    >>> round(correlation(np.array([[1.0, 2.0, 4.0], [-1.0, -2.0, -4.0]])), 12), correlation(np.ones((2, 3)))
    (-1.0, 1.0)
    """
    covariance, (first, second) = np.cov(pair, bias=True), np.mean(pair**2, axis=1)
    variance = (covariance[0, 0] + covariance[1, 1]) / 2.0
    return float(covariance[0, 1] / variance) if variance > 1e-12 * max(first, second, 1e-30) else 1.0


def _mean_squares(output: Array, directions: int) -> Float64:
    """Mean squares of the tangents of an output, by kind."""
    tangents = output.imag.reshape(3, directions, -1) / COMPLEX_STEP
    return np.asarray(np.mean(tangents**2, axis=(1, 2)))
