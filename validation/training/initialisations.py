"""Initialisations that are compared, each applied to a fresh nn.LSTM, nn.GRU or nn.RNN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import nn

import meanfield.torch as adapter
from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.torch_spectral_rnn import SpectralRNN
from meanfield.validation.training.settings import Band, Cell

_Fused = nn.LSTM | nn.GRU | nn.RNN
Layer = _Fused | SpectralRNN

_LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {
    "lstm": nn.LSTM,
    "gru_reset_after": nn.GRU,
    "vanilla": nn.RNN,
}
# Blocks of rows as PyTorch stacks them: i, f, g, o and r, z, n; its update gate z of the GRU keeps.
_KEEP_BLOCK = 1
_WRITE_BLOCK = 0


def initialised_layer(
    name: str,
    cell: str,
    *,
    input_size: int,
    hidden: int,
    length: int,
    seed: int,
    recipe: Any = None,
    band: Band | None = None,
) -> Layer:
    """A new layer, initialised in one of the ways that are compared.

    Args:
        name: one of :func:`initialisations_of` the cell.
        cell: ``"lstm"``, ``"gru_reset_after"`` or ``"vanilla"``.
        input_size, hidden: M and N.
        length: T, which chrono depends on.
        seed: of the draw; PyTorch's own generator is left as it was.
        recipe: what those in ``FROM_RECIPES`` draw from.
        band: of those in ``IN_BANDS``; ``Band()`` by default.

    Returns:
        nn.LSTM, nn.GRU, nn.RNN of tanh or, of those in ``IN_BANDS``, SpectralRNN of tanh; float32, on the CPU.

    Raises:
        InvalidInput: if there is no such initialisation or cell, the cell has no such initialisation, a recipe is
            missing, or the band has more reflectors than the layer has units.

    >>> layer = initialised_layer("chrono", "lstm", input_size=2, hidden=64, length=200, seed=0)
    >>> keep = layer.bias_ih_l0[64:128]
    >>> bool((keep >= 0).all() and (keep <= 5.3).all()), bool((layer.bias_ih_l0[:64] == -keep).all())
    (True, True)
    """
    if name not in INITIALISATIONS:
        raise InvalidInput(f"initialisation: must be one of {', '.join(INITIALISATIONS)}, got {name!r}")
    if cell not in get_args(Cell):
        raise InvalidInput(f"cell: must be one of {', '.join(get_args(Cell))}, got {cell!r}")
    if name not in initialisations_of(cell):
        raise InvalidInput(f"initialisation: {cell} has {', '.join(initialisations_of(cell))}; got {name!r}")
    for argument, value, lowest in (("input_size", input_size, 1), ("hidden", hidden, 1), ("length", length, 1)):
        check_count(argument, value, lowest)
    check_count("seed", seed, 0)
    if (recipe is None) == (name in FROM_RECIPES):
        raise InvalidInput(f"recipe: must be given with the initialisation {_either(FROM_RECIPES)}, and with no other")
    if band is not None and name not in IN_BANDS:
        raise InvalidInput(f"band: goes with the initialisation {_either(IN_BANDS)}, and with no other")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        if name in IN_BANDS:
            return _spectral(input_size, hidden, Band() if band is None else band, seed, recipe)
        layer = _LAYERS[cell](input_size, hidden)
        if recipe is not None:
            return adapter.initialize(layer, recipe, seed=seed)
        _CHANGES[name](layer, length)
    return layer


def initialisations_of(cell: str) -> tuple[str, ...]:
    """Those that a cell has: ``vanilla`` has no gate with a bias to be set, and only it has those ``IN_BANDS``.

    >>> initialisations_of("vanilla")
    ('recipe', 'default', 'keras', 'orthogonal', 'spectral', 'spectral_recipe')
    """
    absent = _OF_GATES if cell == "vanilla" else IN_BANDS
    return tuple(name for name in INITIALISATIONS if name not in absent)


def _spectral(input_size: int, hidden: int, band: Band, seed: int, recipe: Any) -> SpectralRNN:
    """Singular values held in a band throughout; input weights and bias are a recipe's if there is one.

    J. Zhang, Q. Lei, I. S. Dhillon, ICML 2018.
    """
    count = band.at_width(hidden).reflectors
    layer = SpectralRNN(input_size, hidden, count, count, half_width=band.half_width, seed=seed)
    if recipe is not None:
        # Of the same seed these are the very ones that a layer of the recipe has: only the recurrent matrices differ.
        drawn = adapter.initialize(nn.RNN(input_size, hidden), recipe, seed=seed)
        layer.weight_ih.copy_(_parameter(drawn, "weight_ih_l0"))
        _parameter(layer, "bias").copy_(_parameter(drawn, "bias_ih_l0"))
    return layer


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(repr(name) for name in names)


def _default(layer: _Fused, length: int) -> None:
    """PyTorch's own: weights and biases uniform within ±1/√N."""


def _forget_bias(layer: _Fused, length: int) -> None:
    """PyTorch's own, but the keep gate's bias is 1. R. Jozefowicz, W. Zaremba, I. Sutskever, ICML 2015."""
    _set_bias(layer, _KEEP_BLOCK, torch.ones(layer.hidden_size))


def _chrono(layer: _Fused, length: int) -> None:
    """PyTorch's own, but keep biases are log U[1, T-1], and the LSTM's input biases their negatives.

    C. Tallec, Y. Ollivier, Can recurrent neural networks warp time (1804.11188), section 2.
    """
    keep = torch.log(torch.empty(layer.hidden_size).uniform_(1.0, max(1.0, length - 1.0)))
    _set_bias(layer, _KEEP_BLOCK, keep)
    if isinstance(layer, nn.LSTM):
        _set_bias(layer, _WRITE_BLOCK, -keep)


def _orthogonal(layer: _Fused, length: int) -> None:
    """PyTorch's own, but every gate's recurrent matrix is orthogonal, uniformly so."""
    for block in _parameter(layer, "weight_hh_l0").chunk(_blocks(layer)):
        nn.init.orthogonal_(block)


def _keras(layer: _Fused, length: int) -> None:
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


_CHANGES: dict[str, Callable[[_Fused, int], None]] = {
    "default": _default,
    "keras": _keras,
    "forget_bias": _forget_bias,
    "chrono": _chrono,
    "orthogonal": _orthogonal,
}
IN_BANDS = ("spectral", "spectral_recipe")
FROM_RECIPES = ("recipe", "spectral_recipe")
INITIALISATIONS = ("recipe", *_CHANGES, *IN_BANDS)
_OF_GATES = ("forget_bias", "chrono")


def _blocks(layer: _Fused) -> int:
    return len(_parameter(layer, "weight_hh_l0")) // layer.hidden_size


def _set_bias(layer: _Fused, block: int, bias: torch.Tensor) -> None:
    """Make a gate's whole bias this one; PyTorch adds two."""
    _parameter(layer, "bias_ih_l0").chunk(_blocks(layer))[block].copy_(bias)
    _parameter(layer, "bias_hh_l0").chunk(_blocks(layer))[block].zero_()


def _parameter(layer: Layer, name: str) -> torch.Tensor:
    parameter: torch.Tensor = getattr(layer, name)
    return parameter
