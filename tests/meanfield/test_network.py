"""Gates, networks and inputs: what is accepted, and what an error says."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
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
    with pytest.raises(InvalidInput, match="ensemble: must be 'gaussian'"):
        Network("vanilla", {"h": Gate()}, ensemble="cauchy")


def test_network_is_a_value() -> None:
    one = Network("gru_reset_after", {name: Gate(1.0) for name in "hrf"})
    other = Network("gru_reset_after", {name: Gate(1.0) for name in "frh"})
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        one.gates["f"] = Gate()  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": -1.0}, "power: must be at least 0"),
        ({"power": math.nan}, "power: must be a finite number"),
        ({"overlap": 1.5}, "overlap: must be from -1 to 1"),
        ({"size": -1}, "size: must be a whole number of at least 0"),
        ({"size": 2.5}, "size: must be a whole number"),
    ],
)
def test_white_inputs_refuse(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"signal": 0, "length": 10}, "signal: must be a whole number of at least 1"),
        ({"signal": 11, "length": 10}, "signal: must not exceed the length 10, got 11"),
        ({"signal": 5, "length": 0}, "length: must be a whole number of at least 1"),
        ({"signal": 5, "length": 10, "padding_power": -1.0}, "padding_power: must be at least 0"),
    ],
)
def test_padded_inputs_refuse(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs.padded(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((3, 4)), r"axes sequences × steps × inputs, got shape \(3, 4\)"),
        (np.zeros((3, 0, 4)), "must not be empty"),
        (np.full((2, 2, 2), np.nan), "must be finite, got 8 entries"),
        (np.zeros((2, 2, 2), complex), "must hold real numbers"),
        (np.array([[["a"]]]), "must hold real numbers"),
    ],
)
def test_measured_inputs_refuse(data: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs.from_data(data)


def test_measured_inputs_hand_out_their_own_sequences() -> None:
    data = np.arange(24.0).reshape(4, 3, 2)
    inputs = Inputs.from_data(data)
    assert (inputs.size, inputs.length, inputs.sequences) == (2, 3, 4)
    assert inputs.power == pytest.approx(np.mean(data**2))
    drawn = inputs.draw(np.random.default_rng(0), 4, 3)
    assert sorted(drawn[:, 0, 0].tolist()) == data[:, 0, 0].tolist()
    with pytest.raises(InvalidInput, match="5 sequences are needed, got 4"):
        inputs.draw(np.random.default_rng(0), 5, 3)


@pytest.mark.parametrize("overlap", [-1.0, -0.3, 0.0, 0.6, 1.0])
def test_white_inputs_have_their_power_and_overlap(overlap: float) -> None:
    inputs = Inputs(power=2.0, overlap=overlap, size=50)
    a, b = inputs.draw(np.random.default_rng(3), 2, 400).astype(float)
    error = 4 * 2.0 * math.sqrt(2.0 / a.size)
    assert abs(np.mean(a * a) - 2.0) < error
    assert abs(np.mean(a * b) - 2.0 * overlap) < error


def test_padded_inputs_change_their_power() -> None:
    inputs = Inputs.padded(signal=3, length=6, power=4.0, padding_power=0.0, size=5)
    drawn = inputs.draw(np.random.default_rng(0), 1, 6)
    assert np.all(drawn[:, 3:] == 0.0)
    assert np.all(drawn[:, :3] != 0.0)
    assert [inputs.power_at(step) for step in (2, 3)] == [4.0, 0.0]
