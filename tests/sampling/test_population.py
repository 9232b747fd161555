"""Populations against real networks of finite width, for every cell and both regimes."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield import Gate, Inputs, Network, gradients
from meanfield.cells import find, names
from meanfield.sampling.drives import InputDrives, covariance_factor
from meanfield.sampling.population import Layout, Population, Regime, generators
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import simulate

LENGTH = 20
HIDDEN = 256
# Predictions are of infinite width. Averages over networks of width N are off by a few parts in N: each matrix meets
# its own past images in O(1/N) of its variance, through up to four gates.
ALLOWANCE = 0.03


def network_of(name: str) -> Network:
    """Recurrent gains about one, biases with some spread, gates half open; stable in both regimes."""
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gates = {}
    for gate in cell.gates:
        gain = {"h": 1.4, "g": 1.4}.get(gate, 1.0)
        keep = 1.0
        if name == "peephole_lstm":  # the cell state itself is read by the gates, and has no bound
            gain, keep = {"i": 0.5, "f": 0.3, "g": 1.0}[gate], 0.0
        if name == "vanilla_relu":
            gain = 1.0
        second = gate in cell.recurrent_bias_gates
        gates[gate] = Gate(
            recurrent_gain=gain if gate in recurrent else 0.0,
            input_gain=0.7,
            bias_mean=keep if gate == "f" else 0.0,
            bias_std=0.2,
            recurrent_bias_mean=0.3 if second else 0.0,
            recurrent_bias_std=0.2 if second else 0.0,
        )
    return Network(name, gates)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("regime", "size"), [("tied", 0), ("tied", 32), ("untied", 32)])
def test_moments_and_gradients_agree_with_simulated_networks(name: str, regime: Regime, size: int) -> None:
    network, inputs = network_of(name), Inputs(power=1.0, size=size)
    found = gradients(network, inputs, length=LENGTH, units=16384, groups=32, regime=regime, seed=1)
    seen = simulate(
        network,
        inputs,
        hidden=HIDDEN,
        length=LENGTH,
        networks=24 if regime == "tied" else 10,
        seed=2,
        regime=regime,
        burn_in=100 if regime == "tied" else 30,
        directions=8,
    )
    assert deviation(found.second_moment, seen.second_moment[:, -LENGTH:].mean(axis=1), allowance=ALLOWANCE) < 4.0
    for lag in (1, 2, 5, 10, LENGTH):
        profile = deviation(found.profile.at(lag), seen.gradient_profile[:, lag], allowance=ALLOWANCE)
        assert profile < 4.0, f"gradient at lag {lag}"
    for lag in (0, 1, 4, 9, LENGTH - 1):
        sensitivity = deviation(found.sensitivity.at(lag), seen.input_sensitivity[:, lag], allowance=ALLOWANCE)
        assert sensitivity < 4.0, f"sensitivity at lag {lag}"


@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_populations_from_zero_follow_simulated_networks_step_by_step(regime: Regime) -> None:
    network, inputs, steps = network_of("gru"), Inputs(power=1.0, size=16), 12
    population = Population(
        network.definition, network.gates, inputs, layout=Layout(32, 1, 256), steps=steps, regime=regime, seed=3
    )
    squares = []
    for _ in range(steps):
        population.advance()
        squares.append(np.mean(population.state[0].astype(np.float64) ** 2, axis=(1, 2)))
    seen = simulate(network, inputs, hidden=256, length=steps, networks=16, seed=4, regime=regime, directions=1)
    for step in range(steps):
        difference = np.mean(squares[step]) - np.mean(seen.second_moment[:, step])
        error = np.hypot(
            np.std(squares[step], ddof=1) / np.sqrt(32), np.std(seen.second_moment[:, step], ddof=1) / np.sqrt(16)
        )
        assert abs(difference) < 4.0 * error + ALLOWANCE * np.mean(squares[step])


def states(seed: int, *, groups: int = 3, sequences: int = 2, size: int = 4, regime: Regime = "tied") -> np.ndarray:
    network = network_of("lstm")
    population = Population(
        network.definition,
        network.gates,
        Inputs(size=size, overlap=1.0),
        layout=Layout(groups, sequences, 64),
        steps=10,
        regime=regime,
        seed=seed,
    )
    for _ in range(10):
        population.advance()
    return np.stack(population.state)


@pytest.mark.parametrize("regime", ["tied", "untied"])
@pytest.mark.parametrize("size", [0, 4])
def test_the_seed_decides_everything(regime: Regime, size: int) -> None:
    first = states(5, size=size, regime=regime)
    np.testing.assert_array_equal(states(5, size=size, regime=regime), first)
    assert not np.allclose(states(6, size=size, regime=regime), first)
    # A group follows from the seed and its own index only.
    np.testing.assert_allclose(states(5, groups=2, size=size, regime=regime), first[:, :2], rtol=1e-5, atol=1e-6)
    assert not np.allclose(first[:, 0], first[:, 1])


@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_the_same_inputs_give_the_same_states_within_a_group(regime: Regime) -> None:
    first, second = states(7, regime=regime).transpose(2, 0, 1, 3)
    np.testing.assert_allclose(first, second, atol=2e-4)


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_drives_have_the_covariance_of_the_inputs(size: int, tied: bool) -> None:
    sequences, units, steps = 3, 4096, 6
    source = Inputs(power=2.0, overlap=0.5, size=size)
    drives = InputDrives(source, generators(0, 0, 4), sequences=sequences, steps=steps, gates=2, units=units, tied=tied)
    for step in range(steps):
        found = drives.at(step).astype(np.float64)
        for group in range(4):
            if size:
                x = drives.inputs_at(step)[group].astype(np.float64)
                expected = x @ x.T / size
            else:
                expected = source.covariance(sequences, step)
            flat = found[group].reshape(sequences, -1)
            scatter = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / flat.shape[1])
            assert np.all(np.abs(flat @ flat.T / flat.shape[1] - expected) < 4.5 * scatter)


def test_tied_drives_are_linear_in_the_inputs_and_untied_ones_forget() -> None:
    source = Inputs(size=5)
    tied, untied = (
        InputDrives(source, generators(1, 0, 2), sequences=2, steps=3, gates=2, units=8, tied=each)
        for each in (True, False)
    )
    a, b = tied.inputs_at(0), np.ones((2, 2, 5), np.float32)
    np.testing.assert_allclose(tied.of(2.0 * a - b), 2.0 * tied.at(0) - tied.of(b), atol=1e-5)
    assert not np.allclose(untied.at(1), untied.at(1))
    with pytest.raises(ValueError, match="tied weights and a positive input size"):
        untied.of(b)


def test_endless_inputs_keep_their_law_over_the_pieces_in_which_they_are_drawn() -> None:
    drives = InputDrives(
        Inputs(power=0.5, size=50), generators(2, 0, 2), sequences=2, steps=200, gates=1, units=4, tied=True
    )
    powers = [np.mean(drives.inputs_at(step).astype(np.float64) ** 2) for step in range(200)]
    assert len(np.unique(powers)) == 200
    assert abs(np.mean(powers) - 0.5) < 4.0 * 0.5 * np.sqrt(2.0 / (200 * 200))


@pytest.mark.parametrize(
    "covariance", [np.zeros((3, 3)), np.ones((3, 3)), np.diag([1.0, 0.0, 4.0]), np.array([[1.0, -1.0], [-1.0, 1.0]])]
)
def test_singular_covariances_have_factors(covariance: np.ndarray) -> None:
    factor = covariance_factor(covariance)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-12)
