"""Initialisations that are compared, each applied to a fresh nn.LSTM or nn.GRU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import nn

import meanfield.torch as adapter
from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.validation.training.settings import Cell

Layer = nn.LSTM | nn.GRU

_LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru_reset_after": nn.GRU}
# Blocks of rows as PyTorch stacks them: i, f, g, o and r, z, n; its update gate z of the GRU keeps.
_KEEP_BLOCK = 1
_WRITE_BLOCK = 0


def initialised_layer(
    name: str, cell: str, *, input_size: int, hidden: int, length: int, seed: int, recipe: Any = None
) -> Layer:
    """A new layer, initialised in one of the ways that are compared.

    Args:
        name: one of ``INITIALISATIONS``.
        cell: ``"lstm"`` or ``"gru_reset_after"``.
        input_size, hidden: M and N.
        length: T, which chrono depends on.
        seed: of the draw; PyTorch's own generator is left as it was.
        recipe: what ``"recipe"`` draws from.

    Returns:
        nn.LSTM or nn.GRU, float32, on the CPU.

    Raises:
        InvalidInput: if there is no such initialisation or cell, or a recipe is missing.

    >>> layer = initialised_layer("chrono", "lstm", input_size=2, hidden=64, length=200, seed=0)
    >>> keep = layer.bias_ih_l0[64:128]
    >>> bool((keep >= 0).all() and (keep <= 5.3).all()), bool((layer.bias_ih_l0[:64] == -keep).all())
    (True, True)
    """
    if name not in INITIALISATIONS:
        raise InvalidInput(f"initialisation: must be one of {', '.join(INITIALISATIONS)}, got {name!r}")
    if cell not in get_args(Cell):
        raise InvalidInput(f"cell: must be one of {', '.join(get_args(Cell))}, got {cell!r}")
    for argument, value, lowest in (("input_size", input_size, 1), ("hidden", hidden, 1), ("length", length, 1)):
        check_count(argument, value, lowest)
    check_count("seed", seed, 0)
    if (recipe is None) == (name == "recipe"):
        raise InvalidInput("recipe: must be given with the initialisation 'recipe', and with no other")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        layer = _LAYERS[cell](input_size, hidden)
        if recipe is not None:
            return adapter.initialize(layer, recipe, seed=seed)
        _CHANGES[name](layer, length)
    return layer


def _default(layer: Layer, length: int) -> None:
    """PyTorch's own: weights and biases uniform within ±1/√N."""


def _forget_bias(layer: Layer, length: int) -> None:
    """PyTorch's own, but the keep gate's bias is 1. R. Jozefowicz, W. Zaremba, I. Sutskever, ICML 2015."""
    _set_bias(layer, _KEEP_BLOCK, torch.ones(layer.hidden_size))


def _chrono(layer: Layer, length: int) -> None:
    """PyTorch's own, but keep biases are log U[1, T-1], and the LSTM's input biases their negatives.

    C. Tallec, Y. Ollivier, Can recurrent neural networks warp time (1804.11188), section 2.
    """
    keep = torch.log(torch.empty(layer.hidden_size).uniform_(1.0, max(1.0, length - 1.0)))
    _set_bias(layer, _KEEP_BLOCK, keep)
    if isinstance(layer, nn.LSTM):
        _set_bias(layer, _WRITE_BLOCK, -keep)


def _orthogonal(layer: Layer, length: int) -> None:
    """PyTorch's own, but every gate's recurrent matrix is orthogonal, uniformly so."""
    for block in _parameter(layer, "weight_hh_l0").chunk(_blocks(layer)):
        nn.init.orthogonal_(block)


def _keras(layer: Layer, length: int) -> None:
    """Keras': input weights Glorot uniform and recurrent ones orthogonal over all gates at once, the LSTM's forget
    bias 1, no other biases. https://keras.io/api/layers/recurrent_layers/lstm
    """
    limit = math.sqrt(6.0 / (layer.input_size + _blocks(layer) * layer.hidden_size))
    _parameter(layer, "weight_ih_l0").uniform_(-limit, limit)
    nn.init.orthogonal_(_parameter(layer, "weight_hh_l0"))
    for name in ("bias_ih_l0", "bias_hh_l0"):
        _parameter(layer, name).zero_()
    if isinstance(layer, nn.LSTM):
        _set_bias(layer, _KEEP_BLOCK, torch.ones(layer.hidden_size))


_CHANGES: dict[str, Callable[[Layer, int], None]] = {
    "default": _default,
    "keras": _keras,
    "forget_bias": _forget_bias,
    "chrono": _chrono,
    "orthogonal": _orthogonal,
}
INITIALISATIONS = ("recipe", *_CHANGES)


def _blocks(layer: Layer) -> int:
    return 4 if isinstance(layer, nn.LSTM) else 3


def _set_bias(layer: Layer, block: int, bias: torch.Tensor) -> None:
    """Make a gate's whole bias this one; PyTorch adds two."""
    _parameter(layer, "bias_ih_l0").chunk(_blocks(layer))[block].copy_(bias)
    _parameter(layer, "bias_hh_l0").chunk(_blocks(layer))[block].zero_()


def _parameter(layer: Layer, name: str) -> torch.Tensor:
    parameter: torch.Tensor = getattr(layer, name)
    return parameter
