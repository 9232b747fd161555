"""Analyses with weights redrawn at every step: quadrature and operators in place of the population, checked with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.untied_analyses import untied_theory

GATE = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
KEEP = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=1.0, bias_std=0.2)
WIDE = mf.Gate(recurrent_gain=2.0, input_gain=1.0, bias_std=0.2)
NETWORKS = {
    "lstm": {"i": GATE, "f": KEEP, "g": WIDE, "o": GATE},
    "cifg_lstm": {"f": KEEP, "g": WIDE, "o": GATE},
    "gru": {"f": KEEP, "r": GATE, "h": WIDE},
    "vanilla": {"h": WIDE},
}


@pytest.mark.parametrize("cell", NETWORKS)
def test_an_analysis_and_the_population_agree(cell: str) -> None:
    network, inputs = mf.Network(cell, NETWORKS[cell]), mf.Inputs(overlap=0.5)
    found = mf.analyze(network, inputs, length=8, regime="untied", hidden=64)
    sampled = mf.gradients(network, inputs, length=8, regime="untied", units=2**15, groups=32, seed=3)
    states = mf.stationary(network, inputs, regime="untied", units=2**14, groups=32, seed=4)
    assert found.states is not None
    assert {"second_moment", "chi", "gradient_profile"} <= set(found.without_sampling)
    for exact, other in (
        (found.gradients.second_moment, sampled.second_moment),
        (found.states.mean, states.mean),
        (found.states.overlap, states.overlap),
        *((found.gradients.profile.at(lag), sampled.profile.at(lag)) for lag in (1, 2, 4, 8)),
    ):
        # Groups of finite width are off by a few parts in a thousand.
        assert abs(exact.value - other.value) < 4.0 * math.hypot(exact.error, other.error) + 5e-3 * abs(other.value)
    assert found.gradients.profile.relative_errors.max() < 1e-9


def test_gradients_of_a_memory_behind_a_gate_by_plain_simulation() -> None:
    # Units with fresh Gaussian fields, and the mean square of a perturbation of h carried along each path.
    network = mf.Network("lstm", NETWORKS["lstm"])
    theory = untied_theory(network, mf.Inputs(), 6)
    assert theory is not None
    square = theory.found.law.second_moment.value
    groups = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        memory, kept, output, profile = np.zeros(40_000), np.zeros(40_000), 1.0, []
        for step in range(40 + 6):
            u = {
                name: rng.normal(
                    gate.bias_mean,
                    math.sqrt(gate.recurrent_gain**2 * square + gate.input_gain**2 + gate.bias_std**2),
                    memory.size,
                )
                for name, gate in NETWORKS["lstm"].items()
            }
            i, f, o = (1.0 / (1.0 + np.exp(-u[name])) for name in "ifo")
            g = np.tanh(u["g"])
            if step >= 40:
                fed = (f * (1.0 - f) * memory) ** 2 + (i * (1.0 - i) * g) ** 2 + (2.0 * i * (1.0 - g**2)) ** 2
                kept = f**2 * kept + fed * output
            memory = f * memory + i * g
            if step >= 40:
                through = np.mean(o**2 * (1.0 - np.tanh(memory) ** 2) ** 2 * kept)
                output = through + output * np.mean((o * (1.0 - o) * np.tanh(memory)) ** 2)
                profile.append(output)
        groups.append(profile)
    means, errors = np.mean(groups, axis=0), np.std(groups, axis=0, ddof=1) / 4.0
    assert np.all(np.abs(theory.profile.values[1:] - means) < 4.0 * errors)


def test_what_is_not_closed_is_left_to_the_population() -> None:
    network = mf.Network("vanilla", {"h": GATE})
    padded = mf.analyze(network, mf.Inputs.padded(signal=2, length=5), length=5, regime="untied", units=512)
    from_zero = mf.analyze(network, length=5, regime="untied", start="zero", units=512)
    tied = mf.analyze(network, length=5, units=512)
    assert padded.without_sampling == from_zero.without_sampling == tied.without_sampling == ()


def test_what_passes_nothing_on() -> None:
    found = mf.analyze(mf.Network("vanilla", {"h": mf.Gate(input_gain=1.0)}), length=3, regime="untied", units=512)
    assert found.gradients.profile.at(3).value == 0.0
    assert found.gradients.isometry_defect.value == math.inf
