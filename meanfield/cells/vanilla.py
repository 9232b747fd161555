"""The plain recurrent network, s = φ(u) with φ one of tanh, erf and relu."""

from __future__ import annotations

from typing import ClassVar

from meanfield.activations import ACTIVATIONS
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit


class Vanilla(Cell):
    """s = φ(u_h). The network keeps nothing of its state but what the recurrent matrix returns."""

    name = "vanilla"
    activation: ClassVar[str] = "tanh"
    gates = ("h",)
    keep_gate = None

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        return (ACTIVATIONS[self.activation](preactivation("h", fields, drives))[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        slope = ACTIVATIONS[self.activation](preactivation("h", fields, drives))[1]
        return self.simple_circuit(((0.0,),), ((slope,),))


class VanillaErf(Vanilla):
    """The plain network with φ = erf, whose correlations have closed forms (theory, section 9)."""

    name = "vanilla_erf"
    activation = "erf"


class VanillaRelu(Vanilla):
    """The plain network with φ = relu."""

    name = "vanilla_relu"
    activation = "relu"
