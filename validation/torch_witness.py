"""A second witness: PyTorch's own layers with a recipe's weights, run and differentiated by PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.torch import initialize
from meanfield.validation.simulated_network import input_sequences, reading_generator
from meanfield.validation.simulated_predictions import random_readouts

# meanfield.torch says how to install PyTorch where it is missing.
import torch  # isort: skip
from torch import nn  # isort: skip

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class TorchSimulation:
    """What PyTorch's layers did from the zero state, one row a network; lags count back from the last step.

    Attributes:
        second_moment: mean square of the last output, (networks,).
        gradient_profile: ‖∂h_T/∂h_{T-τ}‖²/N at τ = 0 … T-1, the LSTM's cell state held fixed, (networks, T).
        input_sensitivity: ‖∂h_T/∂x_{T-τ}‖²/N at τ = 0 … T-1, (networks, T).
    """

    second_moment: Float64
    gradient_profile: Float64
    input_sensitivity: Float64


def simulate_torch(
    recipe: Any, inputs: Inputs, *, hidden: int, length: int, networks: int = 4, seed: int = 0, directions: int = 16
) -> TorchSimulation:
    """Initialise PyTorch layers with a recipe, run them, and differentiate by autograd, in double precision.

    Args:
        recipe: a recipe, or anything else with a ``network``, or a network: lstm (nn.LSTM), gru_reset_after (nn.GRU),
            vanilla or vanilla_relu (nn.RNN).
        inputs: what they read; of size 0: as many components as there are units.
        hidden: width N.
        length: T.
        networks: how many, each with weights and inputs of its own.
        seed: of weights, inputs and readouts.
        directions: random readouts that gradients of a layer are averaged over.

    Raises:
        InvalidInput: if a number is out of its range, or PyTorch has no layer of this cell.

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)})  # at the zero state: σ^(2τ)
    >>> found = simulate_torch(linear, mf.Inputs(power=0.0, size=1), hidden=300, length=3, networks=8)
    >>> found.gradient_profile.mean(axis=0).round(2)
    array([1.  , 0.25, 0.06])
    """
    network = getattr(recipe, "network", recipe)
    if not isinstance(network, Network):
        raise InvalidInput(f"recipe: must be a recipe or a network, got {recipe!r}")
    for name, value in (("hidden", hidden), ("length", length), ("networks", networks), ("directions", directions)):
        check_count(name, value, 1)
    rows = []
    for index in range(networks):
        generator = reading_generator(seed, index)
        x = input_sequences(inputs, generator, hidden=hidden, steps=length)[0]
        readouts = random_readouts(generator, directions, hidden)
        layer = layer_of(network.cell, inputs=x.shape[1], hidden=hidden)
        # Layers of one seed and different index share no weights: seeds of layers are hashed with their index.
        own = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])
        rows.append(layer_gradients(initialize(layer, network, seed=own), x, readouts))
    second, gradient, sensitivity = (np.array(each) for each in zip(*rows, strict=True))
    return TorchSimulation(second, gradient, sensitivity)


def layer_of(cell: str, *, inputs: int, hidden: int) -> nn.RNNBase:
    """PyTorch's layer of a cell, in double precision.

    Raises:
        InvalidInput: if it has none.

    >>> type(layer_of("gru_reset_after", inputs=2, hidden=3)).__name__
    'GRU'
    """
    if cell == "lstm":
        return nn.LSTM(inputs, hidden, dtype=torch.float64)
    if cell == "gru_reset_after":
        return nn.GRU(inputs, hidden, dtype=torch.float64)
    if cell in ("vanilla", "vanilla_relu"):
        return nn.RNN(inputs, hidden, nonlinearity="tanh" if cell == "vanilla" else "relu", dtype=torch.float64)
    raise InvalidInput(f"cell: PyTorch has layers for lstm, gru_reset_after, vanilla and vanilla_relu, got {cell!r}")


def layer_gradients(layer: nn.RNNBase, x: Float64, readouts: Float64) -> tuple[float, Float64, Float64]:
    """Mean square of a layer's last output and mean squares of readouts pulled back from it, at all lags.

    The layer is called a step at a time, so that its states and inputs can be differentiated by; PyTorch keeps h and c
    apart, so a derivative by h holds c fixed.

    Args:
        layer: of one layer and direction.
        x: inputs, (T, M).
        readouts: v with E[v vᵀ] = 1, (rows, N).

    Returns:
        Mean square, and of every lag 0 … T-1 the mean over rows of |vᵀ∂h_T/∂h_{T-τ}|²/N and of |vᵀ∂h_T/∂x_{T-τ}|²/N.
    """
    rows, hidden = readouts.shape
    inputs = [torch.tensor(np.repeat(step[None, None], rows, axis=1)).requires_grad_() for step in x]
    outputs, state = [], None
    for step in inputs:
        _, state = layer(step, state)
        outputs.append(state[0] if isinstance(layer, nn.LSTM) else state)
    sources = [*reversed(outputs), *reversed(inputs)]
    products = torch.autograd.grad(outputs[-1], sources, torch.tensor(readouts)[None])
    norms = np.array([float(each.square().sum()) for each in products]) / (rows * hidden)
    return float(outputs[-1].detach().square().mean()), norms[: len(x)], norms[len(x) :]
