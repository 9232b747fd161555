"""PyTorch's own layers, simulated and differentiated by PyTorch, do what theory says of their weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import meanfield as mf
from meanfield.estimate import Estimate, from_groups

HIDDEN, INPUTS, STEPS = 512, 64, 60
NETWORKS, SEQUENCES, VECTORS = 12, 4, 4
# The plain network's Jacobian is a product of one matrix with itself, and slowest to reach its limit: at this width the
# mean ‖W⁴⁰‖² of Gaussian matrices is still 1.7 times its limit (1.16 at width 1024), ‖W²⁰‖² within 3 %.
LAGS = {nn.LSTM: (1, 2, 5, 10, 20, 40), nn.GRU: (1, 2, 5, 10, 20, 40), nn.RNN: (1, 2, 5, 10, 20)}
SEED = 0


def gate(*laws: float) -> mf.Gate:
    return mf.Gate(*laws)


# None is PyTorch's default, for which the prediction is made from the weights of the first layer alone.
CASES: dict[str, tuple[type[nn.RNNBase], mf.Network | None]] = {
    "LSTM by default": (nn.LSTM, None),
    "LSTM with a wide write gate": (
        nn.LSTM,
        mf.Network(
            "lstm",
            {"i": gate(1, 0.5, 0, 0.2), "f": gate(1, 0.5, 1, 0.2), "g": gate(2, 1, 0, 0.2), "o": gate(1, 0.5, 0, 0.2)},
        ),
    ),
    "LSTM that forgets slowly": (
        nn.LSTM,
        mf.Network(
            "lstm",
            {"i": gate(0.5, 1, -1, 0.1), "f": gate(0.5, 0.5, 3, 0.1), "g": gate(1, 1), "o": gate(1, 0.5, 0, 0.2)},
        ),
    ),
    "GRU by default": (nn.GRU, None),
    "GRU near chaos": (
        nn.GRU,
        mf.Network(
            "gru_reset_after",
            {"r": gate(1.5, 0.5, 0, 0.3), "f": gate(1.5, 0.5, 0, 0.3), "h": gate(3, 0.5, 0, 0.3)},
        ),
    ),
    "GRU with a spread second bias": (
        nn.GRU,
        mf.Network(
            "gru_reset_after",
            {"r": gate(1, 1, 1, 0.3), "f": gate(1, 1, 2, 0.3), "h": gate(1.2, 1, 0, 0.2, 0.3, 0.5)},
        ),
    ),
    "RNN by default": (nn.RNN, None),
    "RNN with strong weights": (nn.RNN, mf.Network("vanilla", {"h": gate(1.3, 0.7, 0.1, 0.3)})),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices gain nothing from threads, and lose much where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_layer_follows_its_prediction(name: str) -> None:
    """States, gradient profile and input sensitivity: within 10 % and four standard errors."""
    kind, network = CASES[name]
    measured = []
    for seed in range(SEED, SEED + NETWORKS):
        torch.manual_seed(seed)
        layer = kind(INPUTS, HIDDEN)
        if network is not None:
            mf.torch.initialize(layer, network, seed=seed)
        if seed == SEED:
            read_off = mf.torch.networks(layer)[0]
        measured.append(simulate(layer, LAGS[kind]))
    predicted = predict(network if network is not None else read_off, LAGS[kind])
    assert_agreement(predicted, np.array(measured), LAGS[kind])


@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru_reset_after", nn.GRU)])
def test_layer_shows_what_its_recipe_says(cell: str, kind: type[nn.RNNBase]) -> None:
    """The numbers in a recipe's file, of layers that were initialised with it."""
    recipe = mf.recipe(cell, length=STEPS, hidden=256, inputs=32, units=8192, seed=SEED)
    predictions = recipe.content.predictions
    rows = {"G": predictions.gradient_profile, "S": predictions.input_sensitivity}
    lags = tuple(row.lag for row in rows["S"] if row.lag <= 34)
    entries = [predictions.numbers["second_moment"], *(row for name in "GS" for row in rows[name] if row.lag in lags)]
    predicted = [Estimate(entry.value, entry.error) for entry in entries]  # type: ignore[arg-type]
    torch.manual_seed(SEED)
    layers = [mf.torch.initialize(kind(32, 256), recipe, seed=seed) for seed in range(SEED, SEED + NETWORKS)]
    assert_agreement(predicted, np.array([simulate(layer, lags) for layer in layers]), lags)


def assert_agreement(predicted: list[Estimate], measured: NDArray[np.float64], lags: tuple[int, ...]) -> None:
    report, worst = [], 0.0
    quantities = ["E[h²]", *(f"{profile}({lag})" for profile in "GS" for lag in lags)]
    for quantity, theory, samples in zip(quantities, predicted, measured.T, strict=True):
        simulated = from_groups(samples)
        allowed = 0.1 * theory.value + 4.0 * math.hypot(theory.error, simulated.error)
        worst = max(worst, abs(simulated.value - theory.value) / allowed)
        report.append(f"{quantity}: predicted {theory}, simulated {simulated}")
    assert worst <= 1.0, "\n".join(report)


def predict(network: mf.Network, lags: tuple[int, ...]) -> list[Estimate]:
    """What theory says: E[h²], G at all lags, S at all lags."""
    found = mf.gradients(network, mf.Inputs(size=INPUTS), length=STEPS, start="zero", units=32768, groups=32, seed=SEED)
    profiles = (found.profile, found.sensitivity)
    return [found.second_moment, *(profile.at(lag) for profile in profiles for lag in lags)]


def simulate(layer: nn.RNNBase, lags: tuple[int, ...]) -> NDArray[np.float64]:
    """The same of one layer, by its own forward pass and by autograd.

    The layer is called a step at a time, so that its states and inputs at every step can be differentiated by. For
    random signs v, E‖vᵀJ‖² = ‖J‖². PyTorch keeps h and c apart, so a derivative by h holds c fixed.
    """
    layer.requires_grad_(False)
    sequences = torch.randn(STEPS, SEQUENCES, layer.input_size).repeat_interleave(VECTORS, dim=1)
    inputs = [step[None].clone().requires_grad_() for step in sequences]
    outputs, state = [], None
    for step in inputs:
        _, state = layer(step, state)
        outputs.append(state[0] if isinstance(layer, nn.LSTM) else state)
    signs = torch.sign(torch.rand_like(outputs[-1]) - 0.5)
    sources = [series[-1 - lag] for series in (outputs, inputs) for lag in lags]
    products = torch.autograd.grad(outputs[-1], sources, signs)
    norms = [float(each.double().square().sum(dim=-1).mean()) / layer.hidden_size for each in products]
    return np.array([float(outputs[-1].detach().double().square().mean()), *norms])
