"""Backward passes: responses to biases and inputs, the transpose of the forward pass, the spread of T steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield import Gate, Inputs, Network
from meanfield.estimate import from_groups
from meanfield.sampling.adjoint import AdjointRun, pull_back
from meanfield.sampling.cell import fields_of_carrier
from meanfield.sampling.population import Layout, Regime, generators
from meanfield.sampling.tangent import log_second_moment
from meanfield.trajectory import Trajectory, run
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import input_response, jacobian, simulate

Drives = Mapping[str, NDArray[np.float32]]

# Predictions are of infinite width; see tests/sampling/test_population.py.
ALLOWANCE = 0.03

GRU = Network(
    "gru",
    {
        "f": Gate(1.0, 0.7, 1.0, 0.2),
        "r": Gate(1.0, 0.7, 0.0, 0.2),
        "h": Gate(1.4, 0.7, 0.0, 0.2),
    },
)
LSTM = Network(
    "lstm",
    {
        "i": Gate(1.0, 0.7, 0.0, 0.2),
        "f": Gate(1.0, 0.7, 1.0, 0.2),
        "g": Gate(1.4, 0.7, 0.0, 0.2),
        "o": Gate(1.0, 0.7, 0.5, 0.2),
    },
)
MINIMAL = Network("minimal", {"f": Gate(1.2, 0.8, 1.0, 0.2), "z": Gate(0.0, 0.9, 0.1, 0.2)})
LEAKY = Network("leaky", {"h": Gate(1.4, 0.7, 0.0, 0.2)})
NETWORKS = {network.cell: network for network in (GRU, LSTM, MINIMAL, LEAKY)}


def streams(network: Network, trajectory: Trajectory, purpose: int) -> list[list[np.random.Generator]]:
    groups, sequences, _ = trajectory.shape
    carriers = len(fields_of_carrier(network.definition))
    return [generators(trajectory.seed, purpose + carrier, groups * sequences) for carrier in range(carriers)]


def backward(trajectory: Trajectory, **options: object) -> AdjointRun:
    network = trajectory.network
    return pull_back(
        network.definition,
        network.gates,
        trajectory.circuits,
        shape=trajectory.shape,
        readouts=generators(trajectory.seed, 900, trajectory.layout.groups),
        images=streams(network, trajectory, 910),
        tied=trajectory.regime == "tied",
        **options,  # type: ignore[arg-type]
    )


def measured(seed: int, sequences: int = 60, steps: int = 24, size: int = 6) -> NDArray[np.float64]:
    """Slow oscillations of random phase and amplitude under noise: correlated in time, of changing power."""
    g = np.random.default_rng(seed)
    time = np.arange(steps)[None, :, None]
    phase, amplitude = g.uniform(0, 2 * np.pi, (sequences, 1, size)), g.uniform(0, 2, (sequences, 1, size))
    return amplitude * np.sin(2 * np.pi * time / 16 + phase) + 0.3 * g.standard_normal((sequences, steps, size))


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("kind", ["padded", "data"])
def test_responses_to_windows_of_the_inputs_agree_with_simulated_networks(name: str, kind: str) -> None:
    """E|δh_T|² for replacing the inputs of one window by another sequence's."""
    network, steps, size, windows = NETWORKS[name], 24, 6, 3
    if kind == "padded":
        inputs: Inputs = Inputs.padded(signal=12, length=steps, power=1.0, padding_power=0.3, size=size)
    else:
        inputs = Inputs.from_data(measured(0))
    trajectory = run(network, inputs, length=steps, layout=Layout(48, 3, 256), seed=1)
    drives = trajectory.population.drives

    def changed(step: int) -> tuple[int, Drives]:
        x = drives.inputs_at(step)
        change = drives.of((x[:, [1, 2, 0]] - x[:, [2, 0, 1]]) / np.float32(np.sqrt(2.0)))
        gates = network.definition.input_gates
        return step * windows // steps, {
            gate: np.float32(network.gates[gate].input_gain) * change[:, :, index] for index, gate in enumerate(gates)
        }

    found = backward(trajectory, windows=windows, changed_drives=changed).input_response
    seen = []
    for index in range(32):
        x = inputs.draw(np.random.default_rng([2, index]), 3, steps).astype(np.float64)
        changes = np.zeros((windows, steps, size))
        for step in range(steps):
            changes[step * windows // steps, step] = (x[1, step] - x[2, step]) / np.sqrt(2.0)
        seen.append(input_response(network, x[0], changes, hidden=200, networks=1, seed=index)[0])
    for window in range(windows):
        predicted = from_groups(found[window].mean(axis=1))
        assert deviation(predicted, np.array(seen)[:, window], allowance=ALLOWANCE) < 4.0, f"window {window}"


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_responses_to_a_kick_of_all_biases_agree_with_simulated_networks(name: str, regime: Regime) -> None:
    network, inputs, steps = NETWORKS[name], Inputs.padded(signal=8, length=15, padding_power=0.5, size=10), 15
    trajectory = run(network, inputs, length=steps, layout=Layout(32, 1, 384), seed=3, regime=regime)
    found = from_groups(backward(trajectory).bias_response[:, 0])
    seen = simulate(network, inputs, hidden=200, length=steps, networks=20, seed=4, regime=regime, directions=8)
    assert deviation(found, seen.bias_response, allowance=ALLOWANCE) < 4.0


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_the_spread_of_several_steps_agrees_with_dense_jacobians(name: str, regime: Regime) -> None:
    """m1 and m2 of ∂h_T/∂h_{T-8}, from the last steps of a longer run."""
    network, length, steps = NETWORKS[name], 30, 8
    trajectory = run(network, Inputs(), length=length, layout=Layout(32, 1, 384), seed=5, regime=regime, start="zero")
    adjoint = backward(trajectory, jacobian_steps=steps)
    log_second = log_second_moment(
        network.definition,
        network.gates,
        trajectory.circuits,
        adjoint,
        images=streams(network, trajectory, 920),
    )
    seen = []
    for index in range(10):
        hidden, output = 200, network.definition.output
        whole = jacobian(network, Inputs(), hidden=hidden, length=length, steps=steps, seed=index, regime=regime)[0]
        J = whole[output * hidden :, output * hidden :]
        gram = J @ J.T
        seen.append((np.trace(gram) / hidden, np.sum(gram**2) / hidden))
    first, second = np.array(seen).T
    assert deviation(from_groups(np.exp(adjoint.log_gradient[steps, :, 0])), first, allowance=ALLOWANCE) < 4.0
    # The second moment has twice the gates and so about twice the correction.
    assert deviation(from_groups(np.exp(log_second[:, 0])), second, allowance=3 * ALLOWANCE) < 4.0


def test_the_adjoint_does_not_depend_on_how_long_the_trajectory_was_before() -> None:
    """Gradients of the last steps are the same whether earlier circuits are pulled back through or not."""
    trajectory = run(GRU, Inputs(size=4), length=20, layout=Layout(4, 1, 128), seed=6, start="zero")
    whole, part = (
        backward(trajectory),
        backward(run(GRU, Inputs(size=4), length=20, layout=Layout(4, 1, 128), seed=6, start="zero"), jacobian_steps=9),
    )
    np.testing.assert_array_equal(whole.log_gradient, part.log_gradient)
    assert part.jacobian_steps == 9
    assert whole.jacobian_steps == 20
    size = np.mean(part.state[0].astype(np.float64) ** 2, axis=-1)
    np.testing.assert_allclose(np.log(size) + 2.0 * part.log_scale, part.log_gradient[9], rtol=1e-5)


@pytest.mark.parametrize("gain", [1e-9, 1e9])
def test_gradients_beyond_the_range_of_numbers_keep_their_logarithm(gain: float) -> None:
    """s = tanh(W s) at rest: log G(τ) = 2 τ log σ, here down to e^-2000 and up to e^2000."""
    network, steps = Network("vanilla", {"h": Gate(recurrent_gain=gain)}), 50
    trajectory = run(
        network, Inputs(power=0.0), length=steps, layout=Layout(8, 1, 1024), seed=7, start="zero", regime="untied"
    )
    log_gradient = backward(trajectory).log_gradient[:, :, 0]
    lags = np.arange(steps + 1)
    # Every step multiplies |adjoint|² by χ²(1024)/1024, whose logarithm has mean -1/1024 and variance 2/1024.
    deviations = log_gradient.mean(axis=1) - lags * (2.0 * np.log(gain) - 1.0 / 1024)
    assert np.all(np.abs(deviations) < 4.0 * np.sqrt(2.0 * lags / 1024 / 8) + 1e-3)
