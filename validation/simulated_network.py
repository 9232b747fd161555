"""One network of finite width with drawn weights: its steps, and tangents and adjoints through them.

Nothing is shared with the populations but the cells' updates and carriers: derivatives are complex steps of these,
exact to rounding, and matrices are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.cell import fields_of_carrier
from meanfield.sampling.population import Regime
from meanfield.solvers.linear_circuit import Block, Entry, LinearCircuit
from meanfield.weights import Weights, sample_weights

Float64 = NDArray[np.float64]
Array = NDArray[Any]

COMPLEX_STEP = 1e-30
# Purpose of the random numbers of simulated networks, other than those that populations of the same seed have.
SIMULATED = 3000


class SimulatedNetwork:
    """A network whose weights stay, or are drawn anew at every step.

    Rows of a state are copies that share weights: sequences, or tangents carried by their imaginary parts.

    Args:
        network: the laws of the weights.
        hidden, inputs: width N and input size M.
        seed: of the weights; those of step t follow from it and t.
        regime: ``"tied"`` or ``"untied"`` weights.
        weights: a tied network's own weights, as :func:`meanfield.weights.sample_weights` gives them.

    Raises:
        InvalidInput: if a size is not positive or there is no such regime.

    >>> import meanfield as mf
    >>> network = SimulatedNetwork(mf.Network("leaky", {"h": mf.Gate(bias_mean=2.0)}), hidden=3, inputs=1)
    >>> state, circuit = network.linearised(0, network.rest(), np.zeros((1, 1)))
    >>> state[0].round(3), circuit.state_to_state
    (array([[0.289, 0.289, 0.289]]), ((0.7,),))
    """

    def __init__(
        self,
        network: Network,
        *,
        hidden: int,
        inputs: int,
        seed: Sequence[int] = (0,),
        regime: Regime = "tied",
        weights: Weights | None = None,
    ) -> None:
        if regime not in ("tied", "untied"):
            raise InvalidInput(f"regime: must be 'tied' or 'untied', got {regime!r}")
        self._network, self.cell = network, network.definition
        self.hidden, self.inputs, self._seed = hidden, inputs, tuple(seed)
        self._drawn: tuple[int, Weights] | None = None
        self._tied = regime == "tied"
        if weights is not None:
            self._drawn, self._tied = (0, weights), True
        self.output = self.cell.output
        self._by_carrier = fields_of_carrier(self.cell)

    def rest(self, rows: int = 1) -> list[Array]:
        """The zero state, every variable (rows, N)."""
        return [np.zeros((rows, self.hidden)) for _ in self.cell.states]

    def weights(self, step: int) -> Weights:
        """The weights of one step."""
        step = 0 if self._tied else step
        if self._drawn is None or self._drawn[0] != step:
            seed = int(np.random.SeedSequence([*self._seed, step]).generate_state(1, np.uint64)[0])
            drawn = sample_weights(self._network, hidden=self.hidden, inputs=self.inputs, seed=seed)
            self._drawn = step, drawn
        return self._drawn[1]

    def advance(self, step: int, state: list[Array], x: Array, kick: Mapping[str, Array] | None = None) -> list[Array]:
        """The state after one step that reads x, (rows, M), biases moved by the kick, (rows, N) a gate."""
        return list(self.cell.update(state, *self._fields(step, state, x, kick)))

    def linearised(self, step: int, state: list[Array], x: Array) -> tuple[list[Array], LinearCircuit]:
        """The state after one step of real rows, and the linear circuit of its first row, entries (N,)."""
        fields, drives = self._fields(step, state, x, None)
        new = list(self.cell.update(state, fields, drives))
        return new, self._circuit(
            [each[0] for each in state],
            {name: each[0] for name, each in fields.items()},
            {name: each[0] for name, each in drives.items()},
        )

    def push(self, step: int, circuit: LinearCircuit, tangents: Sequence[Entry]) -> list[Entry]:
        """Tangents of the state after a step, from those before it, (rows, N) a variable."""
        matrices = self._matrices(step)
        fields: list[Entry] = [0.0] * len(self.cell.fields)
        for carrier, members in enumerate(self._by_carrier):
            read = circuit.to_carrier(carrier, tangents, fields)
            for k in members:
                if not isinstance(read, float):
                    fields[k] = read @ matrices[k].T
        return circuit.to_state(tangents, fields)

    def pull(
        self, step: int, circuit: LinearCircuit, adjoints: Sequence[Entry]
    ) -> tuple[list[Entry], dict[str, Entry]]:
        """Adjoints of the state before a step and of every gate's drive, from those of the state after it."""
        matrices = self._matrices(step)
        carriers: list[Entry] = [0.0] * len(self._by_carrier)
        for carrier in range(len(self._by_carrier) - 1, -1, -1):
            total: Entry = 0.0
            for k in self._by_carrier[carrier]:
                field = circuit.adjoint_of_field(k, adjoints, carriers)
                if not isinstance(field, float):
                    total = total + field @ matrices[k]
            carriers[carrier] = total
        drives = {gate: circuit.adjoint_of_drive(g, adjoints, carriers) for g, gate in enumerate(self.cell.gates)}
        return [circuit.adjoint_of_state(s, adjoints, carriers) for s in range(len(self.cell.states))], drives

    def pull_to_inputs(self, step: int, drives: Mapping[str, Entry]) -> Array | float:
        """Adjoints of the inputs that a step reads, (rows, M), from those of its drives."""
        weights = self.weights(step)
        total: Array | float = 0.0
        for gate in self.cell.input_gates:
            drive = drives[gate]
            if not isinstance(drive, float):
                total = total + drive @ weights[gate]["input"]
        return total

    def dense(self, step: int, circuit: LinearCircuit, before: Float64 | None = None) -> Float64:
        """The Jacobian of one step over all state variables, (S N, S N), the units of the first variable first.

        Args:
            step, circuit: which step, and its circuit.
            before: the Jacobian of the steps before this one, which it multiplies from the left.
        """
        rows = np.eye(len(self.cell.states) * self.hidden) if before is None else before.T
        return self.push_rows(step, circuit, rows).T

    def push_rows(self, step: int, circuit: LinearCircuit, rows: Float64) -> Float64:
        """:meth:`push` of tangents that hold all state variables one after the other, (count, S N)."""
        parts = self.push(step, circuit, np.split(rows, len(self.cell.states), axis=1))
        return np.concatenate([np.broadcast_to(each, (len(rows), self.hidden)) for each in parts], axis=1)

    def _matrices(self, step: int) -> list[Float64]:
        weights = self.weights(step)
        kinds = ("recurrent" if field.gain == "recurrent_gain" else "input" for field in self.cell.fields)
        return [weights[field.gate][kind] for field, kind in zip(self.cell.fields, kinds, strict=True)]

    def _fields(
        self, step: int, state: list[Array], x: Array, kick: Mapping[str, Array] | None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        weights = self.weights(step)
        drives: dict[str, Array] = {}
        for gate, arrays in weights.items():
            drives[gate] = arrays["bias"] + (kick[gate] if kick is not None else 0.0)
            if gate in self.cell.input_gates:
                drives[gate] = drives[gate] + _times(x, arrays["input"])
            drives[gate] = np.broadcast_to(drives[gate], state[0].shape)
        fields: dict[str, Array] = {}
        for field, matrix in zip(self.cell.fields, self._matrices(step), strict=True):
            fields[field.name] = _times(self.cell.carrier(field.carrier, state, fields, drives), matrix)
            if field.gate in self.cell.recurrent_bias_gates and field.gain == "recurrent_gain":
                fields[field.name] = fields[field.name] + weights[field.gate]["recurrent_bias"]
        return fields, drives

    def _circuit(self, state: list[Array], fields: dict[str, Array], drives: dict[str, Array]) -> LinearCircuit:
        """Derivatives of the update and of the carriers, one complex row for everything that they depend on."""
        cell, values = self.cell, [*state, *fields.values(), *drives.values()]
        moved = [np.repeat(each[None], len(values), axis=0).astype(np.complex128) for each in values]
        for row, each in enumerate(moved):
            each[row] += 1j * COMPLEX_STEP
        ends = len(state), len(state) + len(fields)
        s, y = moved[: ends[0]], dict(zip(fields, moved[ends[0] : ends[1]], strict=True))
        d = dict(zip(drives, moved[ends[1] :], strict=True))
        new = [each.imag / COMPLEX_STEP for each in cell.update(s, y, d)]
        carriers = [np.asarray(cell.carrier(c, s, y, d)).imag / COMPLEX_STEP for c in range(len(self._by_carrier))]

        def block(responses: list[Array], first: int, last: int) -> Block:
            return tuple(tuple(_entry(each[j]) for j in range(first, last)) for each in responses)

        parts = [(0, ends[0]), ends, (ends[1], len(values))]
        blocks = [block(responses, *part) for part in parts for responses in (new, carriers)]
        return LinearCircuit(blocks[0], blocks[2], blocks[1], blocks[3], blocks[4], blocks[5])


def member(
    network: Network, inputs: Inputs, *, hidden: int, seed: int, index: int, regime: Regime
) -> tuple[SimulatedNetwork, np.random.Generator]:
    """One of several networks with weights of their own, and a generator for what it reads.

    Inputs of size 0 get as many components as there are units.
    """
    own = (seed, SIMULATED, index, 0)
    drawn = SimulatedNetwork(network, hidden=hidden, inputs=inputs.size or hidden, seed=own, regime=regime)
    return drawn, reading_generator(seed, index)


def reading_generator(seed: int, index: int) -> np.random.Generator:
    """The generator for what one of several networks reads, and for directions of its tangents."""
    return np.random.default_rng([seed, SIMULATED, index, 1])


def input_sequences(
    inputs: Inputs, generator: np.random.Generator, *, hidden: int, steps: int, sequences: int = 1
) -> Float64:
    """Input sequences for a network of N units, (sequences, steps, M)."""
    sized = inputs if inputs.size else replace(inputs, size=hidden)
    return np.asarray(sized.draw(generator, sequences, steps), dtype=np.float64)


def _entry(values: Float64) -> Entry:
    """A number where all units have the same one, so that missing connections cost nothing."""
    return float(values[0]) if np.all(values == values[0]) else values


def _times(rows: Array, matrix: Float64) -> Array:
    """Every row multiplied by the matrix; rows of complex arrays share their real part."""
    if not np.iscomplexobj(rows):
        return np.asarray(rows @ matrix.T)
    return np.asarray(rows.real[:1] @ matrix.T + 1j * (rows.imag @ matrix.T))
