"""Real networks of finite width in plain NumPy, the witness of every prediction.

Nothing is shared with the populations but the cells' updates and carriers. Derivatives are complex steps: the state is
carried as h + iεδ with ε = 1e-30, and the imaginary part divided by ε is the tangent, exact to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.weights import Weights, sample_weights

Float64 = NDArray[np.float64]
Array = NDArray[Any]
Regime = Literal["tied", "untied"]

_STEP = 1e-30


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
        member, generator = _member(network, inputs, hidden, seed, index, regime)
        x = _draw(inputs, generator, hidden, burn_in + length)
        state, squares = member.rest(), []
        for step in range(burn_in):
            state = member.advance(step, state, x[step][None])
            squares.append(np.mean(state[member.output] ** 2))
        by_state, by_input, by_bias = (slice(k * directions, (k + 1) * directions) for k in range(3))
        state = [np.repeat(variable, 3 * directions, axis=0).astype(np.complex128) for variable in state]
        state[member.output][by_state] += 1j * _STEP * generator.standard_normal((directions, hidden))
        kick = {gate: np.zeros((3 * directions, hidden), np.complex128) for gate in network.gates}
        for values in kick.values():
            values[by_bias] = 1j * _STEP * generator.standard_normal((directions, hidden))
        responses = [_mean_squares(state[member.output], directions)]
        for step in range(burn_in, burn_in + length):
            read = np.repeat(x[step][None], 3 * directions, axis=0).astype(np.complex128)
            if step == burn_in:
                read[by_input] += 1j * _STEP * generator.standard_normal((directions, x.shape[1]))
            state = member.advance(step, state, read, kick)
            squares.append(np.mean(state[member.output][0].real ** 2))
            responses.append(_mean_squares(state[member.output], directions))
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
    shifted = x + 1j * _STEP * np.asarray(changes, dtype=np.float64)
    rows = []
    for index in range(networks):
        member, _ = _member(network, Inputs(size=x.shape[1]), hidden, seed, index, regime)
        state = [np.repeat(variable, len(shifted), axis=0).astype(np.complex128) for variable in member.rest()]
        for step in range(len(x)):
            state = member.advance(step, state, shifted[:, step])
        rows.append(np.mean((state[member.output].imag / _STEP) ** 2, axis=1))
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

    >>> import meanfield as mf
    >>> leaky = mf.Network("leaky", {"h": mf.Gate()})
    >>> jacobian(leaky, mf.Inputs(), hidden=2, length=1)[0]
    array([[0.7, 0. ],
           [0. , 0.7]])
    """
    found = []
    for index in range(networks):
        member, generator = _member(network, inputs, hidden, seed, index, regime)
        x = _draw(inputs, generator, hidden, length)
        state = member.rest()
        for step in range(length - steps):
            state = member.advance(step, state, x[step][None])
        columns = []
        for variable in range(len(state)):
            moved = [np.repeat(values, hidden, axis=0).astype(np.complex128) for values in state]
            moved[variable] += 1j * _STEP * np.eye(hidden)
            for step in range(length - steps, length):
                moved = member.advance(step, moved, x[step][None])
            columns.append(np.concatenate([values.imag.T for values in moved]) / _STEP)
        found.append(np.concatenate(columns, axis=1))
    return np.array(found)


class _Member:
    """One network of the simulated ones; rows of a state are copies that differ in their tangents only."""

    def __init__(self, network: Network, hidden: int, size: int, seed: tuple[int, ...], regime: Regime) -> None:
        self._network, self._cell = network, network.definition
        self._hidden, self._size, self._seed, self._regime = hidden, size, seed, regime
        self._tied = self._draw(0) if regime == "tied" else None
        self.output = self._cell.output

    def rest(self) -> list[Array]:
        """The zero state, one row."""
        return [np.zeros((1, self._hidden)) for _ in self._cell.states]

    def advance(self, step: int, state: list[Array], x: Array, kick: Mapping[str, Array] | None = None) -> list[Array]:
        """The state after one step that reads x, (rows, M), biases moved by the kick, (rows, N) a gate."""
        weights = self._draw(step) if self._tied is None else self._tied
        drives: dict[str, Array] = {}
        for gate, arrays in weights.items():
            drives[gate] = arrays["bias"] + (kick[gate] if kick is not None else 0.0)
            if gate in self._cell.input_gates:
                drives[gate] = drives[gate] + _times(x, arrays["input"])
            drives[gate] = np.broadcast_to(drives[gate], state[0].shape)
        fields: dict[str, Array] = {}
        for field in self._cell.fields:
            arrays = weights[field.gate]
            matrix = arrays["recurrent" if field.gain == "recurrent_gain" else "input"]
            fields[field.name] = _times(self._cell.carrier(field.carrier, state, fields, drives), matrix)
            if field.gate in self._cell.recurrent_bias_gates and field.gain == "recurrent_gain":
                fields[field.name] = fields[field.name] + arrays["recurrent_bias"]
        return list(self._cell.update(state, fields, drives))

    def _draw(self, step: int) -> Weights:
        seed = np.random.SeedSequence([*self._seed, step]).generate_state(1, np.uint64)[0]
        return sample_weights(self._network, hidden=self._hidden, inputs=self._size, seed=int(seed))


def _member(
    network: Network, inputs: Inputs, hidden: int, seed: int, index: int, regime: Regime
) -> tuple[_Member, np.random.Generator]:
    if regime not in ("tied", "untied"):
        raise InvalidInput(f"regime: must be 'tied' or 'untied', got {regime!r}")
    member = _Member(network, hidden, inputs.size or hidden, (seed, index, 0), regime)
    return member, np.random.default_rng([seed, index, 1])


def _draw(inputs: Inputs, generator: np.random.Generator, hidden: int, steps: int) -> Float64:
    """One input sequence, (steps, M)."""
    sized = inputs if inputs.size else replace(inputs, size=hidden)
    return np.asarray(sized.draw(generator, 1, steps)[0], dtype=np.float64)


def _times(rows: Array, matrix: Float64) -> Array:
    """Every row multiplied by the matrix; rows of complex arrays share their real part."""
    if not np.iscomplexobj(rows):
        return np.asarray(rows @ matrix.T)
    return np.asarray(rows.real[:1] @ matrix.T + 1j * (rows.imag @ matrix.T))


def _mean_squares(output: Array, directions: int) -> Float64:
    """Mean squares of the tangents of an output, by kind."""
    tangents = output.imag.reshape(3, directions, -1) / _STEP
    return np.asarray(np.mean(tangents**2, axis=(1, 2)))
