"""Averages by the transfer operator against sampled ones, exact moments and quadrature."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find
from meanfield.sampling.affine_memory import NotAffine
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.operator_averages import memory_law, operator_averages
from meanfield.sampling.programs import pair_program, stationary_program
from meanfield.sampling.stationary_run import run_stationary

LAWS = {
    "lstm": {"i": (0.0, 0.6), "f": (1.0, 0.6), "g": (0.2, 0.9), "o": (0.0, 0.6)},
    "cifg_lstm": {"f": (1.0, 0.8), "g": (0.5, 1.2), "o": (0.5, 0.6)},
    "gru": {"f": (0.5, 1.0), "r": (0.0, 1.0), "h": (0.3, 2.0)},
    "gru_reset_after": {"f": (0.5, 1.0), "r": (0.0, 1.0), "h": (0.3, 2.0)},
    "janet": {"f": (2.0, 0.5), "g": (0.0, 1.0)},
    "peephole_lstm": {"i": (0.0, 0.6), "f": (0.0, 1.0), "g": (0.2, 0.9)},
    "minimal": {"f": (1.0, 0.7), "z": (0.0, 1.0)},
    "leaky": {"h": (0.4, 1.0)},
}


def parameters_of(name: str) -> dict[str, float]:
    parameters = {}
    for noise, members in stationary_program(find(name)).noises.items():
        mean, deviation = LAWS[name][members[0].split()[1]]
        parameters |= {f"mean {noise}": mean, f"deviation {noise}": deviation}
    return parameters


@pytest.mark.parametrize("name", LAWS)
def test_every_observable_is_what_chains_give(name: str) -> None:
    program, parameters = stationary_program(find(name)), parameters_of(name)
    found = operator_averages(program, parameters)
    seen = run_stationary(program, parameters, chains=1 << 16, steps=40, seed=11)
    assert set(found) == set(seen.averages)
    for observable, (value, error) in found.items():
        blocks = seen.averages[observable]
        scatter = float(np.std(blocks, ddof=1)) / np.sqrt(len(blocks))
        assert error < 1e-9 * max(abs(value), 1e-3)
        assert abs(value - np.mean(blocks)) <= 4.5 * scatter + 3e-7 * abs(value) + 1e-12, observable


@pytest.mark.parametrize("name", LAWS)
def test_moments_of_the_memory_are_the_exact_ones(name: str) -> None:
    program, parameters = stationary_program(find(name)), parameters_of(name)
    law = memory_law(program, parameters)
    exact, bounds = exact_memory_moments(program, parameters, (1, 2, 4))
    for order, moment, bound in zip((1, 2, 4), exact, bounds, strict=True):
        value, error = law.expectation(lambda c, n=order: c**n)
        assert abs(value - moment) <= error + bound


def test_what_has_no_operator_is_refused() -> None:
    with pytest.raises(NotAffine):
        operator_averages(pair_program(find("lstm")), {})


SLOW = mf.Network(
    "lstm",
    {"i": mf.Gate(1.0, 0.5, -1.0), "f": mf.Gate(0.1, 0.2, 10.0), "g": mf.Gate(2.0, 1.0), "o": mf.Gate(1.0, 0.5)},
)


def test_memories_of_twenty_thousand_steps_are_no_matter() -> None:
    law = mf.sample_law(SLOW, method="operator", device="cpu")
    assert law.second_moment["h"].error < 1e-9
    # E[c²] = (2 E[f] E[g] E[c] + E[g²]) / (1 - E[f²]) with E[g] = 0 here, by quadrature.
    z = np.linspace(-9.0, 9.0, 4001)
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()

    def variable(gate: str) -> np.ndarray:
        (name,) = (each for each in law.parameters if each.startswith("mean") and each.endswith(f"field {gate}"))
        return law.parameters[name] + law.parameters[name.replace("mean", "deviation", 1)] * z

    write = weights @ (1.0 / (1.0 + np.exp(-variable("i")))) ** 2 * (weights @ np.tanh(variable("g")) ** 2)
    release = 1.0 / (1.0 + np.exp(variable("f")))
    lost = weights @ (release * (2.0 - release))
    assert law.second_moment["c"].value == pytest.approx(write / lost, rel=1e-9)
    with pytest.raises(mf.InvalidInput, match="no chains to take samples from"):
        law.histogram("c")


def test_self_consistent_moments_agree_between_the_methods() -> None:
    gate = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_std=0.3)
    network = mf.Network("gru", {"f": gate, "r": gate, "h": mf.Gate(3.0, 0.5, 0.0, 0.3)})
    by = {
        method: mf.sample_law(network, method=method, chains=1 << 16, device="cpu").second_moment["s"]
        for method in ("operator", "chains", "array_rqmc")
    }
    for method in ("chains", "array_rqmc"):
        assert abs(by[method].value - by["operator"].value) < 4.5 * by[method].error
    assert by["operator"].error < 1e-11
