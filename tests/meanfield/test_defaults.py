"""Framework defaults against the layers that frameworks construct."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meanfield.defaults import framework_default, frameworks_of
from meanfield.errors import InvalidInput


@pytest.mark.parametrize(
    ("cell", "module", "blocks"), [("lstm", torch.nn.LSTM, "ifgo"), ("gru_reset_after", torch.nn.GRU, "rfh")]
)
def test_pytorch_default(cell: str, module: type[torch.nn.RNNBase], blocks: str) -> None:
    hidden, inputs = 400, 100
    torch.manual_seed(0)
    layer = module(inputs, hidden)
    network = framework_default(cell, hidden=hidden, inputs=inputs)
    for index, gate in enumerate(blocks):
        rows = slice(index * hidden, (index + 1) * hidden)
        weight = layer.weight_hh_l0[rows].detach().double()
        drive = layer.weight_ih_l0[rows].detach().double()
        law = network.gates[gate]
        # A uniform variable's square has relative deviation sqrt(4/5).
        for matrix, gain, fan_in in ((weight, law.recurrent_gain, hidden), (drive, law.input_gain, inputs)):
            found = math.sqrt(float((matrix**2).mean()) * fan_in)
            assert abs(found / gain - 1) < 4 * 0.5 * math.sqrt(0.8 / matrix.numel())
        whole = (layer.bias_ih_l0[rows] + layer.bias_hh_l0[rows]).detach().double()
        variance = law.bias_std**2 + law.recurrent_bias_std**2
        assert abs(float((whole**2).mean()) / variance - 1) < 4 * math.sqrt(1.4 / hidden)


def test_keras_lstm_opens_the_forget_gate() -> None:
    network = framework_default("lstm", hidden=128, inputs=32, framework="keras")
    assert [network.gates[gate].bias_mean for gate in "ifgo"] == [0.0, 1.0, 0.0, 0.0]
    assert network.gates["i"].recurrent_gain == 0.5  # rows of an N × 4N matrix with orthonormal rows
    assert network.gates["i"].input_gain == pytest.approx(math.sqrt(2 * 32 / (32 + 4 * 128)))


def test_flax_draws_a_matrix_a_gate() -> None:
    """Orthogonal recurrent kernels and LeCun normal input kernels, as flax.linen's cells make them; no biases."""
    initializers = pytest.importorskip("jax.nn.initializers")
    key = pytest.importorskip("jax").random.key(0)
    hidden, inputs = 300, 60
    # Flax multiplies rows by kernels of (fan-in, hidden).
    recurrent = np.asarray(initializers.orthogonal()(key, (hidden, hidden)), dtype=np.float64)
    drive = np.asarray(initializers.lecun_normal()(key, (inputs, hidden)), dtype=np.float64)
    for cell in ("lstm", "gru_reset_after", "vanilla"):
        for gate in framework_default(cell, hidden=hidden, inputs=inputs, framework="flax").gates.values():
            assert math.sqrt(np.mean(recurrent**2) * hidden) == pytest.approx(gate.recurrent_gain, rel=1e-5)
            assert abs(math.sqrt(np.mean(drive**2) * inputs) / gate.input_gain - 1) < 4 * math.sqrt(0.5 / drive.size)
            assert gate.bias_mean == gate.bias_std == gate.recurrent_bias_mean == gate.recurrent_bias_std == 0.0


def test_frameworks_of_a_cell() -> None:
    assert frameworks_of("gru_reset_after") == ("pytorch", "keras", "flax")
    assert frameworks_of("vanilla_relu") == ("pytorch",)
    assert frameworks_of("peephole_lstm") == ()


def test_unknown_frameworks_and_layers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="framework: must be one of pytorch, keras, flax, got 'caffe'"):
        framework_default("lstm", hidden=8, inputs=8, framework="caffe")
    with pytest.raises(InvalidInput, match="pytorch has no layer for cell 'janet'"):
        framework_default("janet", hidden=8, inputs=8)
