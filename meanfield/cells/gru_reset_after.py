"""The gated recurrent unit of cuDNN, PyTorch and Keras, its reset gate applied after the recurrent matrix."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Cell, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit


class GRUResetAfter(Cell):
    """s = f s_- + (1-f) n with n = tanh(U_h x + b_h + r (W_h s_- + b_hn)). f is the keep gate (PyTorch's z)."""

    name = "gru_reset_after"
    gates = ("f", "r", "h")
    recurrent_bias_gates = ("h",)

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        keep, write, _ = gate(preactivation("f", fields, drives))
        reset = gate(preactivation("r", fields, drives))[0]
        return (keep * state[0] + write * tanh(drives["h"] + reset * fields["h"])[0],)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep, write, keep_slope = gate(preactivation("f", fields, drives))
        reset, _, reset_slope = gate(preactivation("r", fields, drives))
        new, new_slope = tanh(drives["h"] + reset * fields["h"])
        through_keep, through_new = keep_slope * (state[0] - new), write * new_slope
        through_reset = through_new * fields["h"] * reset_slope
        return LinearCircuit(
            state_to_state=((keep,),),
            field_to_state=((through_keep, through_reset, through_new * reset),),
            state_to_carrier=((1.0,),),
            field_to_carrier=((0.0, 0.0, 0.0),),
            drive_to_state=((through_keep, through_reset, through_new),),
            drive_to_carrier=((0.0, 0.0, 0.0),),
        )
