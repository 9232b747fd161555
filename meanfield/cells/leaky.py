"""The leaky integrator network of reservoir computing, s = (1-α) s_- + α tanh(u)."""

from __future__ import annotations

from typing import ClassVar

from meanfield.activations import tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit


class Leaky(Cell):
    """s = (1-α) s_- + α tanh(u_h) with leak rate α; other rates are a subclass with another name."""

    name = "leaky"
    leak: ClassVar[float] = 0.3
    gates = ("h",)
    keep_gate = None

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        value = tanh(preactivation("h", fields, drives))[0]
        return ((1.0 - self.leak) * state[0] + self.leak * value,)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        slope = tanh(preactivation("h", fields, drives))[1]
        return self.simple_circuit(((1.0 - self.leak,),), ((self.leak * slope,),))
