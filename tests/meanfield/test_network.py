"""Gates and networks: what is accepted, and what an error says."""

from __future__ import annotations

import math
import pickle

import pytest

from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recurrent_gain": -0.1}, "recurrent_gain: must not be negative, got -0.1"),
        ({"bias_std": -1}, "bias_std: must not be negative"),
        ({"input_gain": math.nan}, "input_gain: must be finite"),
        ({"bias_mean": math.inf}, "bias_mean: must be finite"),
        ({"bias_mean": "one"}, "bias_mean: must be a number"),
        ({"recurrent_gain": True}, "recurrent_gain: must be a number"),
    ],
)
def test_gate_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Gate(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "gates", "message"),
    [
        ("lstmm", {}, "cell: unknown cell 'lstmm'; known cells are vanilla"),
        ("gru", {"f": Gate(), "r": Gate()}, "gates: cell gru needs gates f, r, h; missing h"),
        ("vanilla", {"h": Gate(), "o": Gate()}, "unknown o"),
        ("vanilla", {"h": 1.0}, "gates.h: must be a Gate"),
        ("minimal", {"f": Gate(), "z": Gate(1.0)}, "gates.z.recurrent_gain: this gate has no recurrent matrix"),
        ("gru", dict.fromkeys("frh", Gate(recurrent_bias_std=1.0)), "gates.f.recurrent_bias_mean: .* no second bias"),
    ],
)
def test_network_refuses(cell: str, gates: dict[str, Gate], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Network(cell, gates)


def test_network_refuses_an_unknown_ensemble() -> None:
    with pytest.raises(InvalidInput, match="ensemble: must be one of 'gaussian'"):
        Network("vanilla", {"h": Gate()}, ensemble="cauchy")


def test_network_is_a_value() -> None:
    one = Network("gru_reset_after", {name: Gate(1.0) for name in "hrf"})
    other = Network("gru_reset_after", {name: Gate(1.0) for name in "frh"})
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        one.gates["f"] = Gate()  # type: ignore[index]
