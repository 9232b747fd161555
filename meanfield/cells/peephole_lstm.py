"""The peephole LSTM of Gilboa et al. 2019: all gates read the cell state through full matrices."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit


class PeepholeLSTM(Cell):
    """c = f c_- + i g with g = tanh(u_g)."""

    name = "peephole_lstm"
    states = ("c",)
    gates = ("i", "f", "g")

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        write, keep = (gate(preactivation(name, fields, drives))[0] for name in ("i", "f"))
        return (keep * state[0] + write * tanh(preactivation("g", fields, drives))[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        write, _, write_slope = gate(preactivation("i", fields, drives))
        keep, _, keep_slope = gate(preactivation("f", fields, drives))
        value, value_slope = tanh(preactivation("g", fields, drives))
        return self.simple_circuit(((keep,),), ((write_slope * value, keep_slope * state[0], write * value_slope),))
