"""The gated recurrent unit of Cho et al. 2014, its reset gate applied before the recurrent matrix."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.sampling.cell import Field
from meanfield.solvers.linear_circuit import LinearCircuit


class GRU(Cell):
    """s = f s_- + (1-f) n with n = tanh(u_h) and u_h reading r s_-. f is the keep gate (PyTorch's z)."""

    name = "gru"
    gates = ("f", "r", "h")
    fields = (Field("f", "f"), Field("r", "r"), Field("h", "h", carrier=1))

    def carrier(self, index: int, state: State, fields: Values, drives: Values) -> Array:
        if index == 0:
            return state[0]
        reset: Array = gate(preactivation("r", fields, drives))[0]
        return reset * state[0]

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        keep, write, _ = gate(preactivation("f", fields, drives))
        return (keep * state[0] + write * tanh(preactivation("h", fields, drives))[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep, write, keep_slope = gate(preactivation("f", fields, drives))
        reset, _, reset_slope = gate(preactivation("r", fields, drives))
        new, new_slope = tanh(preactivation("h", fields, drives))
        through_keep, through_new = keep_slope * (state[0] - new), write * new_slope
        return LinearCircuit(
            state_to_state=((keep,),),
            field_to_state=((through_keep, 0.0, through_new),),
            state_to_carrier=((1.0,), (reset,)),
            field_to_carrier=((0.0, 0.0, 0.0), (0.0, state[0] * reset_slope, 0.0)),
            drive_to_state=((through_keep, 0.0, through_new),),
            drive_to_carrier=((0.0, 0.0, 0.0), (0.0, state[0] * reset_slope, 0.0)),
        )
