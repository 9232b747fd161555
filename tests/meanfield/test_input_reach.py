"""The lag at which inputs are forgotten: closed forms, corner cases, PyTorch's own layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import meanfield as mf
from meanfield.estimate import Estimate, Profile
from meanfield.input_reach import fading, reach


def profile(log10_values: Any, relative: float = 0.01) -> Profile:
    values = np.asarray(log10_values, dtype=np.float64) * math.log(10.0)
    return Profile(np.arange(len(values)), values, np.full(len(values), relative))


def test_reach_of_a_linear_network() -> None:
    """S(τ) = ν² σ^(2τ) at the zero state."""
    network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.8, input_gain=0.5)})
    seen = mf.gradients(network, mf.Inputs(power=0.0, size=4), length=30, hidden=512, units=8192, start="zero")
    lag = reach(seen.sensitivity)
    assert lag is not None
    assert abs(lag.value - math.log(1e-3) / math.log(0.64)) < 4.0 * lag.error
    assert 0.0 < lag.error < 0.5


def test_reach_is_between_the_steps_around_it() -> None:
    lag = reach(profile(-0.7 * np.arange(10)))
    assert lag is not None
    assert lag.value == pytest.approx(3.0 / 0.7)
    # An error of 0.01 √2 in S(τ)/S(0), over a slope of 0.7 decades a step.
    assert lag.error == pytest.approx(0.01 * math.sqrt(2.0) / (0.7 * math.log(10.0)))


def test_reach_takes_the_first_time() -> None:
    lag = reach(profile([0.0, -1.0, -4.0, -1.0, -1.0, -5.0]))
    assert lag is not None
    assert lag.value == pytest.approx(1.0 + 2.0 / 3.0)


def test_reach_where_there_is_none() -> None:
    assert reach(profile([0.0, -1.0, -2.9])) is None
    assert reach(profile([0.0])) is None
    assert reach(profile([0.0, 5.0, 9.0])) is None


def test_reach_where_inputs_leave_no_mark() -> None:
    assert reach(profile([-np.inf, -np.inf])) == Estimate(0.0, 0.0)
    gone = reach(profile([0.0, 0.0, -np.inf]))
    assert gone == Estimate(2.0, 1.0)


def test_reach_beyond_the_range_of_numbers() -> None:
    lag = reach(profile(-500.0 - 1.5 * np.arange(4)))
    assert lag is not None
    assert lag.value == pytest.approx(2.0)


def test_fading_starts_at_one() -> None:
    faded = fading(profile([3.0, 2.0], 0.3))
    assert faded.at(0) == Estimate(1.0, 0.0)
    assert faded.at(1).value == pytest.approx(0.1)
    assert faded.relative_errors[1] == pytest.approx(0.3 * math.sqrt(2.0))


def test_reach_of_pytorch_is_that_of_pytorchs_layers() -> None:
    """By autograd through nn.LSTM as it is constructed."""
    hidden, inputs, length, networks = 256, 16, 20, 12
    network = mf.framework_default("lstm", hidden=hidden, inputs=inputs)
    seen = mf.gradients(network, mf.Inputs(size=inputs), length=length, hidden=hidden, units=8192, start="zero")
    predicted = reach(seen.sensitivity)
    profiles = []
    for seed in range(networks):
        torch.manual_seed(seed)
        layer, x = nn.LSTM(inputs, hidden), torch.randn(length, 4, inputs, requires_grad=True)
        last = layer(x)[0][-1]
        rows = torch.autograd.grad(last, x, torch.sign(torch.rand_like(last) - 0.5))[0]
        profiles.append(rows.double().square().sum(dim=2).mean(dim=1).flip(0).numpy())
    simulated = reach(Profile.from_log_groups(np.log(np.array(profiles).T)))
    assert predicted is not None
    assert simulated is not None
    # 5 % for the finite width: of log S a step.
    allowed = 0.05 * predicted.value + 4.0 * math.hypot(predicted.error, simulated.error)
    assert abs(predicted.value - simulated.value) < allowed
