"""The LSTM with coupled input and forget gates (Greff et al. 2017)."""

from __future__ import annotations

from meanfield.activations import gate, tanh
from meanfield.cells.cell import Array, Values, preactivation
from meanfield.cells.lstm import OutputGated


class CoupledLSTM(OutputGated):
    """c = f c_- + (1-f) g, h = o tanh(c), all gates reading h."""

    name = "cifg_lstm"
    gates = ("f", "g", "o")

    def memory_update(self, memory: Array, fields: Values, drives: Values) -> Array:
        keep, write, _ = gate(preactivation("f", fields, drives))
        new: Array = keep * memory + write * tanh(preactivation("g", fields, drives))[0]
        return new

    def memory_response(self, memory: Array, fields: Values, drives: Values) -> tuple[Array, dict[str, Array]]:
        keep, write, keep_slope = gate(preactivation("f", fields, drives))
        value, value_slope = tanh(preactivation("g", fields, drives))
        return keep, {"f": keep_slope * (memory - value), "g": write * value_slope}
