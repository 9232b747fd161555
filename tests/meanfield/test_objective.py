"""The terms of the objective against simulated networks in plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.objective import Terms, evaluate
from meanfield.sampling.population import Layout

WIDTH, INPUTS, LENGTH, SEQUENCES = 400, 12, 40, 3
Array = NDArray[np.float64]

LSTM = Network(
    "lstm",
    {
        "i": Gate(0.6, 1.5, -1.0, 0.2),
        "f": Gate(0.5, 0.6, 2.5, 0.3),
        "g": Gate(0.8, 1.0, 0.0, 0.1),
        "o": Gate(0.5, 0.5, 0.3, 0.2),
    },
)
GRU = Network(
    "gru_reset_after",
    {"f": Gate(0.5, 1.2, 2.0, 0.3), "r": Gate(0.7, 1.0, 0.0, 0.2), "h": Gate(0.9, 1.0, 0.1, 0.1, 0.2, 0.2)},
)


def sigmoid(u: Array) -> Array:
    return 1 / (1 + np.exp(-u))


def last_state(
    network: Network, weights: dict[str, tuple[Array, Array, Array, Array]], x: Array, kick: Array | None = None
) -> Array:
    """h_T of every sequence, (sequences, N); ``kick`` is added to the bias of every gate, (gates, N)."""
    h, c = np.zeros((len(x), WIDTH)), np.zeros((len(x), WIDTH))
    for t in range(x.shape[1]):
        y, u = {}, {}
        for index, (gate, (recurrent, drive, bias, second)) in enumerate(weights.items()):
            y[gate] = h @ recurrent.T + second
            u[gate] = x[:, t] @ drive.T + bias + (0.0 if kick is None else kick[index])
        if network.cell == "lstm":
            c = sigmoid(u["f"] + y["f"]) * c + sigmoid(u["i"] + y["i"]) * np.tanh(u["g"] + y["g"])
            h = sigmoid(u["o"] + y["o"]) * np.tanh(c)
        else:
            keep = sigmoid(u["f"] + y["f"])
            h = keep * h + (1 - keep) * np.tanh(u["h"] + sigmoid(u["r"] + y["r"]) * y["h"])
    return h


def simulated(network: Network, data: Array, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, gate in network.gates.items():
        weights[name] = (
            rng.normal(size=(WIDTH, WIDTH)) * gate.recurrent_gain / WIDTH**0.5,
            rng.normal(size=(WIDTH, INPUTS)) * gate.input_gain / INPUTS**0.5,
            gate.bias_mean + gate.bias_std * rng.normal(size=WIDTH),
            gate.recurrent_bias_mean + gate.recurrent_bias_std * rng.normal(size=WIDTH),
        )
    x = data[rng.choice(len(data), SEQUENCES, replace=False)]
    h, step = last_state(network, weights, x), 1e-5
    change = (np.roll(x, -1, axis=0) - np.roll(x, -2, axis=0)) / math.sqrt(2)
    found = {"second_moment": float(np.mean(h**2)), "variance": float(np.mean(np.var(h, axis=0, ddof=1)))}
    for quarter in range(4):
        window = slice(quarter * LENGTH // 4, (quarter + 1) * LENGTH // 4)
        moved = x.copy()
        moved[:, window] += step * change[:, window]
        found[f"response {quarter}"] = float(np.mean(((last_state(network, weights, moved) - h) / step) ** 2))
    kick = step * rng.normal(size=(len(weights), WIDTH))
    found["bias_response"] = float(np.mean(((last_state(network, weights, x, kick) - h) / step) ** 2))
    return found


@pytest.mark.parametrize("network", [LSTM, GRU], ids=lambda network: network.cell)
@pytest.mark.parametrize("kind", ["data", "white"])
def test_terms_agree_with_simulated_networks(network: Network, kind: str) -> None:
    rng = np.random.default_rng(5)
    smooth = np.cumsum(rng.normal(size=(40, LENGTH, INPUTS)), axis=1) / math.sqrt(LENGTH) * 2  # correlated in time
    white = rng.normal(size=(400, LENGTH, INPUTS))
    data = smooth if kind == "data" else white
    inputs = Inputs.from_data(smooth) if kind == "data" else Inputs(size=INPUTS)
    rows = [evaluate(network, inputs, length=LENGTH, layout=Layout(2, SEQUENCES, 256), seed=seed) for seed in range(10)]
    predicted = {
        "second_moment": [row.second_moment for row in rows],
        "variance": [row.variance for row in rows],
        "bias_response": [row.bias_response for row in rows],
        **{f"response {k}": [row.responses[k] for row in rows] for k in range(4)},
    }
    runs = [simulated(network, data, seed) for seed in range(12)]
    for name, values in predicted.items():
        simulation = np.array([run[name] for run in runs])
        error = math.hypot(np.std(values, ddof=1) / math.sqrt(10), np.std(simulation, ddof=1) / math.sqrt(12))
        # 3 % for corrections of order 1/N at the widths of both, 256 and 400 units.
        allowed = 4 * error + 0.03 * simulation.mean()
        assert abs(np.mean(values) - simulation.mean()) < allowed, (name, np.mean(values), simulation.mean(), error)


def test_memory_of_constant_gates_is_their_power() -> None:
    quiet = Network("lstm", {"i": Gate(), "f": Gate(bias_mean=3.0), "g": Gate(), "o": Gate()})
    terms = evaluate(quiet, Inputs(size=4), length=50, layout=Layout(2, 3, 32), seed=0)
    assert terms.memory == pytest.approx((1 / (1 + math.exp(-3.0))) ** 100, rel=1e-5)
    assert terms.memory_spread == pytest.approx(1.0)


def test_objective_is_the_formula_of_its_docstring() -> None:
    terms = Terms(0.3, 0.01, (0.002, 0.004, 0.2, 0.5), 2.0, 0.01, 5.0, 100.0)
    log = math.log
    signal = 0.25 * np.mean([log(1e-6 + min(1, a / 0.02)) for a in (0.002, 0.004, 0.2, 0.5)])
    expected = signal + 0.5 * log(2) - log(3) - log(2) - 0.5 * log(5) - log(2.5) - log(2)
    assert terms.value() == pytest.approx(expected)
    assert terms.binding() == ["variance", "state_size", "memory", "memory_spread", "step_too_large"]
    small = Terms(0.1, 0.05, (1.0,) * 4, 1.0, 0.5, 1.0, 0.5)
    assert small.contributions()["step_too_small"] == pytest.approx(-log(2))
    assert small.binding() == ["step_too_small"]


def test_common_random_numbers_make_the_objective_smooth() -> None:
    """Neighbouring gains give neighbouring values: the difference is far below the scatter over seeds."""

    def value(gain: float, seed: int) -> float:
        gates = dict(LSTM.gates) | {"i": Gate(0.6, gain, -1.0, 0.2)}
        return evaluate(Network("lstm", gates), Inputs(size=4), length=20, layout=Layout(2, 3, 64), seed=seed).value()

    step = abs(value(1.5, 0) - value(1.5001, 0))
    scatter = np.std([value(1.5, seed) for seed in range(6)], ddof=1)
    assert step < 0.01 * scatter
