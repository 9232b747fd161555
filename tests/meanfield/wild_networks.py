"""Networks far from anything sensible."""

from __future__ import annotations

import numpy as np

import meanfield as mf
from meanfield.cells import find


def wild_network(cell: str, generator: np.random.Generator) -> mf.Network:
    """Gains from none to ten, biases from none to fifty."""
    definition = find(cell)
    reading = {field.gate for field in definition.fields if field.gain == "recurrent_gain"}
    laws = {
        name: mf.Gate(
            recurrent_gain=float(generator.choice([0.0, 0.5, 3.0, 10.0])) * (name in reading),
            input_gain=float(generator.choice([0.0, 1.0, 10.0])),
            bias_mean=float(generator.choice([0.0, -50.0, 50.0, 1.0])),
            bias_std=float(generator.choice([0.0, 0.3, 3.0])),
        )
        for name in definition.gates
    }
    return mf.Network(cell, laws)
