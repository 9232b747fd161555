"""JANET (van der Westhuizen and Lasenby 2018): an LSTM with the forget gate only."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit


class Janet(Cell):
    """c = f c_- + (1-f) g with g = tanh(u_g)."""

    name = "janet"
    states = ("c",)
    gates = ("f", "g")

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        keep, write, _ = gate(preactivation("f", fields, drives))
        return (keep * state[0] + write * tanh(preactivation("g", fields, drives))[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep, write, keep_slope = gate(preactivation("f", fields, drives))
        value, value_slope = tanh(preactivation("g", fields, drives))
        return self.simple_circuit(((keep,),), ((keep_slope * (state[0] - value), write * value_slope),))
