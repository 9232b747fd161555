"""The minimal RNN of Chen et al. 2018: one gate that reads the state and an embedding of the input."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values
from meanfield.sampling.cell import Field
from meanfield.solvers.linear_circuit import LinearCircuit


class Minimal(Cell):
    """z = tanh(U x + b_z), s = f s_- + (1-f) z, u_f = W s_- + V z + b_f.

    Gate z holds the input embedding; the input gain of gate f is that of V, which reads the embedding.
    """

    name = "minimal"
    gates = ("f", "z")
    input_gates = ("z",)
    fields = (Field("state", "f", carrier=0), Field("embedding", "f", carrier=1, gain="input_gain"))

    def carrier(self, index: int, state: State, fields: Values, drives: Values) -> Array:
        return state[0] if index == 0 else tanh(drives["z"])[0]

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        keep, write, _ = gate(fields["state"] + fields["embedding"] + drives["f"])
        return (keep * state[0] + write * tanh(drives["z"])[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep, write, slope = gate(fields["state"] + fields["embedding"] + drives["f"])
        embedding, embedding_slope = tanh(drives["z"])
        through_gate = slope * (state[0] - embedding)
        return LinearCircuit(
            state_to_state=((keep,),),
            field_to_state=((through_gate, through_gate),),
            state_to_carrier=((1.0,), (0.0,)),
            field_to_carrier=((0.0, 0.0), (0.0, 0.0)),
            drive_to_state=((through_gate, write * embedding_slope),),
            drive_to_carrier=((0.0, 0.0), (0.0, embedding_slope)),
        )
