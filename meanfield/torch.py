"""PyTorch: initialise a recurrent layer, read the laws of its weights, and say what theory expects of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.sampling.population import Regime
from meanfield.trajectory import Start
from meanfield.weights import sample_weights

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise ImportError("meanfield.torch needs PyTorch; install it with: pip install 'meanfield-rnn[torch]'") from error

if TYPE_CHECKING:
    from meanfield.analyses import Analysis

from meanfield.torch_spectral_rnn import SpectralRNN
from meanfield.torch_svd import SVDParametrization

__all__ = ["SVDParametrization", "SpectralRNN", "initialize", "inspect", "networks"]

AnyModule = TypeVar("AnyModule", bound=nn.Module)
Recurrent = nn.RNN | nn.LSTM | nn.GRU | nn.RNNCell | nn.LSTMCell | nn.GRUCell
Direction = Literal["forward", "reverse"]

# Gates in the order in which PyTorch stacks them; its update gate z of the GRU is the keep gate f.
_STACKED = {
    "lstm": ("i", "f", "g", "o"),
    "gru_reset_after": ("r", "f", "h"),
    "vanilla": ("h",),
    "vanilla_relu": ("h",),
}


def initialize(module: AnyModule, recipe: Any, *, seed: int = 0) -> AnyModule:
    """Draw the weights and biases of a recurrent layer, in place.

    Every layer and direction is drawn independently, from laws of its own if the recipe has them. The whole bias is
    written to ``bias_ih`` and ``bias_hh`` is zero, but for the GRU's ``b_hn``, the second bias of gate h.

    Args:
        module: nn.LSTM, nn.GRU, nn.RNN or one of their cells, of any width; keeps its dtype and device.
        recipe: a recipe, or anything else with a ``network``, or a network. Its cell is ``"lstm"`` for nn.LSTM,
            ``"gru_reset_after"`` for nn.GRU, ``"vanilla"`` or ``"vanilla_relu"`` for nn.RNN.
        seed: of the draw.

    Returns:
        The module itself.

    Raises:
        InvalidInput: if the module is of another kind, its cell is another one, it has no biases where the network
            needs them, or its weights cannot be written.

    >>> import meanfield as mf
    >>> keep, other = mf.Gate(recurrent_gain=0.1, bias_mean=3.0), mf.Gate(recurrent_gain=1.0, input_gain=0.5)
    >>> network = mf.Network("lstm", {"i": other, "f": keep, "g": other, "o": other})
    >>> layer = mf.torch.initialize(nn.LSTM(28, 64), network)
    >>> layer.bias_ih_l0[64:67].tolist()
    [3.0, 3.0, 3.0]
    """
    layer = _recurrent(module)
    suffixes = _suffixes(layer)
    described = getattr(recipe, "networks", None) or [getattr(recipe, "network", recipe)]
    for network in described:
        if not isinstance(network, Network):
            raise InvalidInput(f"recipe: must be a recipe or a network, got {recipe!r}")
        _check_fit(layer, network)
    if len(described) not in (1, len(suffixes)):
        raise InvalidInput(
            f"recipe: is of {len(described)} layers and directions, but the module has {len(suffixes)}; design it with "
            "the layers and bidirectional of the module"
        )
    check_count("seed", seed, 0)
    parameters = dict(layer.named_parameters(recurse=False))
    stacked = _STACKED[described[0].cell]
    own_seeds = np.random.SeedSequence(seed).generate_state(len(suffixes), np.uint64)
    drawn: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for suffix, network, own_seed in zip(suffixes, itertools.cycle(described), own_seeds, strict=False):
        weights = sample_weights(network, hidden=layer.hidden_size, inputs=_fan_in(layer, suffix), seed=int(own_seed))
        drawn[f"weight_ih{suffix}"] = np.concatenate([weights[gate]["input"] for gate in stacked])
        drawn[f"weight_hh{suffix}"] = np.concatenate([weights[gate]["recurrent"] for gate in stacked])
        if layer.bias:
            nothing = np.zeros(layer.hidden_size)
            drawn[f"bias_ih{suffix}"] = np.concatenate([weights[gate]["bias"] for gate in stacked])
            drawn[f"bias_hh{suffix}"] = np.concatenate(
                [weights[gate].get("recurrent_bias", nothing) for gate in stacked]
            )
    for name in drawn:
        if name not in parameters:
            raise InvalidInput(f"module: {name} is not a parameter; initialise the layer before it is parametrised")
    with torch.no_grad():
        for name, array in drawn.items():
            parameters[name].copy_(torch.from_numpy(array))
    return module


def networks(module: nn.Module) -> list[Network]:
    """The laws of a layer's weights as they stand.

    Gains are taken from the mean squares of the weights, biases from the mean and standard deviation over units of
    ``bias_ih + bias_hh``; the GRU's gate h has the two biases apart.

    Args:
        module: nn.LSTM, nn.GRU, nn.RNN or one of their cells.

    Returns:
        One network for every layer and direction, in PyTorch's order: forward, then reverse, of the first layer first.

    Raises:
        InvalidInput: if the module is of another kind, or its weights are not finite.

    >>> _ = torch.manual_seed(0)
    >>> first, second = networks(nn.GRU(28, 256, num_layers=2))
    >>> round(first.gates["f"].recurrent_gain ** 2, 1)  # one third, of weights uniform within 1/sqrt(256)
    0.3
    """
    layer = _recurrent(module)
    found = []
    for suffix in _suffixes(layer):
        gates = {}
        for index, name in enumerate(_STACKED[_cell(layer)]):
            rows = slice(index * layer.hidden_size, (index + 1) * layer.hidden_size)
            bias = _rows(layer, f"bias_ih{suffix}", rows) if layer.bias else np.zeros(1)
            second = _rows(layer, f"bias_hh{suffix}", rows) if layer.bias else np.zeros(1)
            apart = isinstance(layer, nn.GRU | nn.GRUCell) and name == "h"
            if not apart:
                bias = bias + second
            gates[name] = Gate(
                recurrent_gain=_gain(_rows(layer, f"weight_hh{suffix}", rows)),
                input_gain=_gain(_rows(layer, f"weight_ih{suffix}", rows)),
                bias_mean=float(np.mean(bias)),
                bias_std=float(np.std(bias)),
                recurrent_bias_mean=float(np.mean(second)) if apart else 0.0,
                recurrent_bias_std=float(np.std(second)) if apart else 0.0,
            )
        found.append(Network(_cell(layer), gates))
    return found


def inspect(
    module: nn.Module,
    *,
    length: int,
    inputs: Inputs | None = None,
    layer: int = 0,
    direction: Direction = "forward",
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start = "zero",
    seed: int = 0,
) -> Analysis:
    """What theory says of a layer as it stands: moments, gradients and spectra over ``length`` steps.

    Args:
        module: nn.LSTM, nn.GRU, nn.RNN or one of their cells.
        length: T, the number of steps.
        inputs: what the layer reads, in the order in which this direction reads it; white inputs of power 1 by default,
            for the first layer only. Inputs without a size take the layer's.
        layer: which layer, from 0.
        direction: ``"forward"`` or ``"reverse"``.
        units, groups, regime, seed: see :func:`meanfield.gradients`.
        start: ``"zero"``, as PyTorch starts a layer, or ``"stationary"``.

    Returns:
        What :func:`meanfield.analyze` returns, for the width of the layer.

    Raises:
        InvalidInput: if the module is of another kind, has no such layer or direction, or the inputs do not fit it.
        NotConverged: if the states do not become stationary, or gradients leave the range of numbers.

    >>> _ = torch.manual_seed(0)
    >>> found = inspect(nn.LSTM(28, 64), length=20, units=1024)
    >>> found.gradients.profile.at(20).value < 1e-4  # nothing reaches back: PyTorch's default
    True
    """
    from meanfield.analyses import analyze

    chosen = _recurrent(module)
    layers = chosen.num_layers if isinstance(chosen, nn.RNNBase) else 1
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or not 0 <= layer < layers:
        raise InvalidInput(f"layer: must be a whole number from 0 to {layers - 1}, got {layer!r}")
    if direction not in get_args(Direction):
        raise InvalidInput(f"direction: must be 'forward' or 'reverse', got {direction!r}")
    both = _bidirectional(chosen)
    if direction == "reverse" and not both:
        raise InvalidInput("direction: this layer has no reverse direction, so this must be 'forward'")
    index = int(layer) * (1 + both) + (direction == "reverse")
    if inputs is None:
        if layer > 0:
            raise InvalidInput(
                f"inputs: layer {layer} reads the outputs of the layer below, which are not white; "
                "give them, as by Inputs.from_data"
            )
        inputs = Inputs()
    size = _fan_in(chosen, _suffixes(chosen)[index])
    if inputs.size == 0:
        inputs = dataclasses.replace(inputs, size=size)
    if inputs.size != size:
        raise InvalidInput(f"inputs: layer {layer} reads {size} numbers a step, got inputs of size {inputs.size}")
    return analyze(
        networks(chosen)[index],
        inputs,
        length=length,
        hidden=chosen.hidden_size,
        units=units,
        groups=groups,
        regime=regime,
        start=start,
        seed=seed,
    )


def _recurrent(module: nn.Module) -> Recurrent:
    """The module, if it is a recurrent layer that theory covers."""
    if not isinstance(module, Recurrent):
        raise InvalidInput(
            f"module: must be an nn.LSTM, nn.GRU or nn.RNN, or one of their cells, got {type(module).__name__}"
        )
    if getattr(module, "proj_size", 0) != 0:
        raise InvalidInput(f"module: projections are not covered, so proj_size must be 0, got {module.proj_size}")
    if any(parameter.is_meta for parameter in module.parameters()):
        raise InvalidInput("module: its weights are on the meta device; materialise them first, as by to_empty")
    return module


def _cell(layer: Recurrent) -> str:
    if isinstance(layer, nn.LSTM | nn.LSTMCell):
        return "lstm"
    if isinstance(layer, nn.GRU | nn.GRUCell):
        return "gru_reset_after"
    return "vanilla" if layer.nonlinearity == "tanh" else "vanilla_relu"


def _check_fit(layer: Recurrent, network: Network) -> None:
    wanted, kind = _cell(layer), type(layer).__name__
    if network.cell == "gru" and wanted == "gru_reset_after":
        raise InvalidInput(
            f"recipe: nn.{kind} applies the reset gate after the recurrent matrix; make the recipe for "
            "gru_reset_after instead of gru"
        )
    if network.cell != wanted:
        raise InvalidInput(f"recipe: nn.{kind} needs cell {wanted}, got cell {network.cell}")
    if layer.bias:
        return
    for name, gate in network.gates.items():
        if (gate.bias_mean, gate.bias_std, gate.recurrent_bias_mean, gate.recurrent_bias_std) != (0.0,) * 4:
            raise InvalidInput(f"module: gate {name} needs a bias, and this layer has none; make it with bias=True")


def _bidirectional(layer: Recurrent) -> bool:
    return isinstance(layer, nn.RNNBase) and layer.bidirectional


def _suffixes(layer: Recurrent) -> list[str]:
    """What follows ``weight_ih`` in the names of the parameters of every layer and direction."""
    if not isinstance(layer, nn.RNNBase):
        return [""]
    directions = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"_l{index}{direction}" for index in range(layer.num_layers) for direction in directions]


def _fan_in(layer: Recurrent, suffix: str) -> int:
    return int(getattr(layer, f"weight_ih{suffix}").shape[1])


def _rows(layer: Recurrent, name: str, rows: slice) -> np.ndarray[Any, np.dtype[np.float64]]:
    block: torch.Tensor = getattr(layer, name)[rows]
    return np.asarray(block.detach().to("cpu", torch.float64).numpy(), dtype=np.float64)


def _gain(weights: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The gain whose weights have this mean square: of variance gain²/fan-in."""
    return math.sqrt(weights.shape[1] * float(np.mean(weights**2)))
