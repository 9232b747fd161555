"""The long short-term memory of Hochreiter and Schmidhuber with forget gates, and its output stage."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import Entry, LinearCircuit


class OutputGated(Cell):
    """Cells with a memory c behind an output gate, h = o tanh(c); subclasses say how c moves."""

    states = ("c", "h")
    output = 1
    memory = 0

    def memory_update(self, memory: Array, fields: Values, drives: Values) -> Array:
        """The new memory c."""
        raise NotImplementedError

    def memory_response(self, memory: Array, fields: Values, drives: Values) -> tuple[Array, dict[str, Array]]:
        """∂c/∂c_- and the response of c to each gate's pre-activation."""
        raise NotImplementedError

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        memory = self.memory_update(state[0], fields, drives)
        return memory, gate(preactivation("o", fields, drives))[0] * tanh(memory)[0]

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep, responses = self.memory_response(state[0], fields, drives)
        value, slope = tanh(self.memory_update(state[0], fields, drives))
        open_, _, open_slope = gate(preactivation("o", fields, drives))
        through = open_ * slope  # ∂h/∂c
        to_memory: tuple[Entry, ...] = tuple(responses.get(name, 0.0) for name in self.gates)
        to_output: tuple[Entry, ...] = tuple(
            through * responses[name] if name in responses else open_slope * value for name in self.gates
        )
        return self.simple_circuit(((keep, 0.0), (through * keep, 0.0)), (to_memory, to_output))


class LSTM(OutputGated):
    """c = f c_- + i g, h = o tanh(c), all gates reading h."""

    name = "lstm"
    gates = ("i", "f", "g", "o")

    def memory_update(self, memory: Array, fields: Values, drives: Values) -> Array:
        write, keep = (gate(preactivation(name, fields, drives))[0] for name in ("i", "f"))
        new: Array = keep * memory + write * tanh(preactivation("g", fields, drives))[0]
        return new

    def memory_response(self, memory: Array, fields: Values, drives: Values) -> tuple[Array, dict[str, Array]]:
        write, _, write_slope = gate(preactivation("i", fields, drives))
        keep, _, keep_slope = gate(preactivation("f", fields, drives))
        value, value_slope = tanh(preactivation("g", fields, drives))
        return keep, {"i": write_slope * value, "f": keep_slope * memory, "g": write * value_slope}
