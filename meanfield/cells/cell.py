"""The base of every cell, and what its functions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from meanfield.sampling.cell import Field
from meanfield.solvers.linear_circuit import Block, LinearCircuit

Array = NDArray[Any]
State = Sequence[Array]
Values = Mapping[str, Array]


class Cell:
    """A recurrent cell: variables, update and linear circuit (theory, section 1).

    A subclass is one small file. Its functions work unit by unit on arrays of any common shape, real or complex, and
    know nothing of networks. ``fields[name]`` is the recurrent part W p of a pre-activation, ``drives[gate]`` the part
    that comes from outside, U x + b.

    Attributes:
        name: the name in files and on the command line.
        states: names of the state variables of a unit.
        output: index of the variable that the network passes on.
        memory: index of the variable that carries the memory.
        gates: names of the gates.
        fields: the recurrent fields in order of evaluation; by default one a gate, all reading the output.
        input_gates: gates that read the input; by default all.
        keep_gate: the gate that keeps the memory, None where there is none.
        recurrent_bias_gates: gates with a second bias beside the recurrent field.
    """

    name: ClassVar[str]
    states: ClassVar[tuple[str, ...]] = ("s",)
    output: ClassVar[int] = 0
    memory: ClassVar[int] = 0
    gates: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[Field, ...]]
    input_gates: ClassVar[tuple[str, ...]]
    keep_gate: ClassVar[str | None] = "f"
    recurrent_bias_gates: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "gates" in cls.__dict__:
            if "fields" not in cls.__dict__:
                cls.fields = tuple(Field(gate, gate) for gate in cls.gates)
            if "input_gates" not in cls.__dict__:
                cls.input_gates = cls.gates

    def carrier(self, index: int, state: State, fields: Values, drives: Values) -> Array:
        """The vector that recurrent matrices read; by default the output of the previous step."""
        return state[self.output]

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        """The state after one step."""
        raise NotImplementedError

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        """The linear circuit of the update at this point."""
        raise NotImplementedError

    def simple_circuit(self, state_to_state: Block, gate_to_state: Block) -> LinearCircuit:
        """Circuit of a cell whose pre-activations are all u = W p + U x + b with the output as their only carrier."""
        return LinearCircuit(
            state_to_state=state_to_state,
            field_to_state=gate_to_state,
            state_to_carrier=(tuple(float(s == self.output) for s in range(len(self.states))),),
            field_to_carrier=((0.0,) * len(self.gates),),
            drive_to_state=gate_to_state,
            drive_to_carrier=((0.0,) * len(self.gates),),
        )


def preactivation(name: str, fields: Values, drives: Values) -> Array:
    """u = W p + U x + b of one gate."""
    value: Array = fields[name] + drives[name]
    return value
