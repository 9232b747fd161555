"""A cell that both moments and overlaps of outputs are known of in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import meanfield as mf
from meanfield.activations import gate, tanh
from meanfield.cells import Cell, register, unregister
from meanfield.cells.cell import preactivation


class Linear(Cell):
    """h = o c: all moments of the untied theory are closed."""

    name = "linear_lstm"
    states, output, memory = ("c", "h"), 1, 0
    gates = ("i", "f", "g", "o")

    def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
        write, keep, open_ = (gate(preactivation(name, fields, drives))[0] for name in "ifo")
        memory = keep * state[0] + write * tanh(preactivation("g", fields, drives))[0]
        return memory, open_ * memory

    def circuit(self, state, fields, drives):  # type: ignore[no-untyped-def]
        write, _, write_slope = gate(preactivation("i", fields, drives))
        keep, _, keep_slope = gate(preactivation("f", fields, drives))
        new, new_slope = tanh(preactivation("g", fields, drives))
        open_, _, open_slope = gate(preactivation("o", fields, drives))
        responses = (write_slope * new, keep_slope * state[0], write * new_slope, 0.0)
        to_output = (*(open_ * response for response in responses[:3]), open_slope * (keep * state[0] + write * new))
        return self.simple_circuit(((keep, 0.0), (open_ * keep, 0.0)), (responses, to_output))


@pytest.fixture
def linear() -> Iterator[mf.Network]:
    register(Linear())
    yield mf.Network(
        "linear_lstm",
        {
            "i": mf.Gate(1, 0.5, 0.2, 0.2),
            "f": mf.Gate(0.8, 0.5, 1),
            "g": mf.Gate(2, 1, 0.4, 0.2),
            "o": mf.Gate(1.5, 0.5),
        },
    )
    unregister("linear_lstm")
