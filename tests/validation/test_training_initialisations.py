"""Initialisations that are compared: their laws from the literature, drawn as they are said to be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.validation.training.initialisations import FROM_RECIPES, initialisations_of, initialised_layer
from meanfield.validation.training.settings import Band, Cell

GATED: tuple[Cell, Cell] = ("lstm", "gru_reset_after")
CELLS: tuple[Cell, Cell, Cell] = (*GATED, "vanilla")
LAYERS = {"lstm": nn.LSTM, "gru_reset_after": nn.GRU, "vanilla": nn.RNN}
BLOCKS = {"lstm": 4, "gru_reset_after": 3}


def layer_of(name: str, cell: str, hidden: int = 256, length: int = 200, seed: int = 0) -> Any:
    return initialised_layer(name, cell, input_size=12, hidden=hidden, length=length, seed=seed)


def blocks(layer: nn.Module, name: str) -> list[np.ndarray]:
    array = getattr(layer, name).detach().double().numpy()
    return np.split(array, len(array) // layer.hidden_size)


@pytest.mark.parametrize("cell", CELLS)
def test_default_is_pytorchs_own(cell: str) -> None:
    torch.manual_seed(5)
    expected = LAYERS[cell](12, 256)
    before = torch.random.get_rng_state()
    layer = layer_of("default", cell, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, getattr(layer, name))


@pytest.mark.parametrize("cell", GATED)
def test_chrono(cell: str) -> None:
    length, hidden = 300, 4096
    layer, default = (
        initialised_layer(name, cell, input_size=1, hidden=hidden, length=length, seed=0)
        for name in ("chrono", "default")
    )
    keep = blocks(layer, "bias_ih_l0")[1] + blocks(layer, "bias_hh_l0")[1]
    # exp of the keep bias is uniform on [1, T-1]: mean and variance, and the law by Kolmogorov's distance.
    times = np.sort(np.exp(keep))
    assert 1.0 <= times[0] <= times[-1] <= (length - 1) * (1 + 1e-6)
    expected = (times - 1.0) / (length - 2.0)
    distance = np.abs(expected - (np.arange(hidden) + 0.5) / hidden).max()
    assert distance < 2.5 / math.sqrt(hidden)  # exceeded with probability 1e-5
    if cell == "lstm":
        write = blocks(layer, "bias_ih_l0")[0] + blocks(layer, "bias_hh_l0")[0]
        assert np.array_equal(write, -keep)
    changed = (0, 1) if cell == "lstm" else (1,)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        for index, (own, theirs) in enumerate(zip(blocks(layer, name), blocks(default, name), strict=True)):
            assert np.array_equal(own, theirs) == (index not in changed)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        assert torch.equal(getattr(layer, name), getattr(default, name))


@pytest.mark.parametrize("cell", GATED)
def test_forget_bias(cell: str) -> None:
    layer, default = layer_of("forget_bias", cell), layer_of("default", cell)
    assert (blocks(layer, "bias_ih_l0")[1] + blocks(layer, "bias_hh_l0")[1] == 1.0).all()
    for index in set(range(BLOCKS[cell])) - {1}:
        assert np.array_equal(blocks(layer, "bias_ih_l0")[index], blocks(default, "bias_ih_l0")[index])
    assert torch.equal(layer.weight_hh_l0, default.weight_hh_l0)


@pytest.mark.parametrize("cell", CELLS)
def test_orthogonal(cell: str) -> None:
    layer = layer_of("orthogonal", cell, hidden=64)
    for block in blocks(layer, "weight_hh_l0"):
        assert np.allclose(block @ block.T, np.eye(64), atol=1e-5)
    assert torch.equal(layer.weight_ih_l0, layer_of("default", cell, hidden=64).weight_ih_l0)


@pytest.mark.parametrize("cell", CELLS)
def test_keras(cell: str) -> None:
    layer = layer_of("keras", cell)
    fused = layer.weight_hh_l0.detach().double().numpy()
    assert np.allclose(fused.T @ fused, np.eye(256), atol=1e-5)
    (found,) = mf.torch.networks(layer)
    for name, gate in mf.framework_default(cell, hidden=256, inputs=12, framework="keras").gates.items():
        assert found.gates[name].recurrent_gain == pytest.approx(gate.recurrent_gain, rel=0.03)
        assert found.gates[name].input_gain == pytest.approx(gate.input_gain, rel=0.05)
        assert (found.gates[name].bias_mean, found.gates[name].bias_std) == (gate.bias_mean, 0.0)


@pytest.mark.parametrize("cell", CELLS)
def test_recipe_is_applied_by_the_adapter(cell: str) -> None:
    gate = mf.Gate(recurrent_gain=0.3, input_gain=0.7, bias_mean=2.0)
    network = mf.Network(cell, dict.fromkeys({"lstm": "ifgo", "gru_reset_after": "frh", "vanilla": "h"}[cell], gate))
    layer = initialised_layer("recipe", cell, input_size=12, hidden=256, length=50, seed=3, recipe=network)
    expected = mf.torch.initialize(type(layer)(12, 256), network, seed=3)
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, getattr(layer, name))


@pytest.mark.parametrize("cell", CELLS)
def test_seeds_differ(cell: str) -> None:
    for name in set(initialisations_of(cell)) - set(FROM_RECIPES):
        first, again, other = (layer_of(name, cell, hidden=8, seed=seed) for seed in (0, 0, 1))
        recurrent = "weight_hh" if isinstance(first, mf.torch.SpectralRNN) else "weight_hh_l0"
        assert torch.equal(getattr(first, recurrent), getattr(again, recurrent))
        assert not torch.equal(getattr(first, recurrent), getattr(other, recurrent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "glorot"}, "initialisation: must be one of recipe, default"),
        ({"cell": "gru"}, "cell: must be one of lstm, gru_reset_after"),
        ({"cell": "vanilla"}, "initialisation: vanilla has recipe, default, keras, orthogonal, spectral"),
        ({"name": "spectral"}, "initialisation: lstm has recipe, default"),
        ({"cell": "vanilla", "name": "spectral_recipe"}, "recipe: must be given"),
        ({"cell": "vanilla", "name": "spectral", "band": Band(reflectors=5)}, "reflectors: must be from 1 to 4"),
        ({"band": Band()}, "band: goes with"),
        ({"hidden": 0}, "hidden"),
        ({"seed": -1}, "seed"),
        ({"name": "recipe"}, "recipe: must be given"),
        ({"recipe": object()}, "recipe: must be given with the initialisation 'recipe'"),
    ],
)
def test_bad_requests(change: dict[str, object], message: str) -> None:
    request = {"name": "chrono", "cell": "lstm", "input_size": 2, "hidden": 4, "length": 10, "seed": 0} | change
    with pytest.raises(InvalidInput, match=message):
        initialised_layer(**request)
