"""Lyapunov exponents: known systems, exact sums, PyTorch's autograd, and the growth that theory predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.validation.lyapunov import LyapunovSpectrum, kaplan_yorke, lyapunov_spectrum, starting_frame
from meanfield.validation.network_lyapunov import NetworkFlow, network_lyapunov
from meanfield.validation.simulated_network import SimulatedNetwork, member
from meanfield.weights import sample_weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """x → A x."""

    matrix: Array

    @property
    def dimension(self) -> int:
        return len(self.matrix)

    def start(self) -> None:
        return None

    def advance(self, state: None, tangents: Array) -> tuple[None, Array]:
        return None, tangents @ self.matrix.T


class Henon:
    """(x, y) → (1 - 1.4 x² + y, 0.3 x)."""

    dimension = 2

    def start(self) -> tuple[float, float]:
        return 0.1, 0.1

    def advance(self, state: tuple[float, float], tangents: Array) -> tuple[tuple[float, float], Array]:
        x, y = state
        J = np.array([[-2.8 * x, 1.0], [0.3, 0.0]])
        return (1.0 - 1.4 * x * x + y, 0.3 * x), tangents @ J.T


class Alternating:
    """Two matrices by turns; only the product in the order of time has these exponents."""

    dimension = 2
    matrices = (np.array([[1.0, 5.0], [0.0, 0.5]]), np.array([[0.5, 0.0], [3.0, 1.0]]))

    def start(self) -> int:
        return 0

    def advance(self, state: int, tangents: Array) -> tuple[int, Array]:
        return state + 1, tangents @ self.matrices[state % 2].T


def test_a_linear_system_has_the_logarithms_of_its_eigenvalues() -> None:
    # Real eigenvalues, complex pairs and Jordan blocks; the smallest is e^-12 of the largest.
    g = np.random.default_rng(0)
    turn = 0.9 * np.array([[math.cos(1.0), -math.sin(1.0)], [math.sin(1.0), math.cos(1.0)]])
    blocks = np.zeros((7, 7))
    blocks[:2, :2], blocks[2, 2], blocks[3:5, 3:5] = turn, 1.7, [[0.3, 1.0], [0.0, 0.3]]
    blocks[5, 5], blocks[6, 6] = 0.05, 1e-5
    basis = g.standard_normal((7, 7))
    found = lyapunov_spectrum(Linear(basis @ blocks @ np.linalg.inv(basis)), steps=4000)
    expected = np.log([1.7, 0.9, 0.9, 0.3, 0.3, 0.05, 1e-5])
    # A pair rotates and a Jordan block grows like t: both fade like 1/t.
    np.testing.assert_allclose(found.values, expected, atol=5e-3)
    np.testing.assert_allclose(found.values[[0, 5, 6]], expected[[0, 5, 6]], atol=1e-6)
    assert np.all(np.abs(found.values - expected) <= 4.0 * found.errors + 5e-3)


def test_directions_that_vanish_are_minus_infinity() -> None:
    found = lyapunov_spectrum(Linear(np.diag([1.2, 0.5, 0.0])), steps=64, transient=10)
    np.testing.assert_allclose(found.values[:2], np.log([1.2, 0.5]), atol=1e-9)
    assert found.values[2] == -np.inf
    assert found.errors[2] == 0.0
    # λ_1 + λ_2 < 0: the dimension is 1 + log 1.2/log 2.
    assert found.attractor_dimension.value == pytest.approx(1.0 + math.log(1.2) / math.log(2.0), abs=1e-8)
    assert found.entropy_rate.value == pytest.approx(math.log(1.2), abs=1e-9)


def test_the_henon_map() -> None:
    found = lyapunov_spectrum(Henon(), steps=20000, transient=100)
    assert abs(found.values[0] - 0.41919) < 4.0 * found.errors[0]
    assert abs(found.values[1] + 1.62316) < 4.0 * found.errors[1]
    assert found.errors[0] < 5e-3
    # |det J| = 0.3 at every step.
    assert np.sum(found.values) == pytest.approx(math.log(0.3), abs=1e-9)
    assert abs(found.attractor_dimension.value - kaplan_yorke(np.array([0.41919, -1.62316]))) < 5e-3
    assert abs(found.entropy_rate.value - 0.41919) < 4.0 * found.entropy_rate.error


def test_the_product_is_in_the_order_of_time() -> None:
    first, second = Alternating.matrices
    expected = 0.5 * np.log(np.sort(np.abs(np.linalg.eigvals(second @ first)))[::-1])
    np.testing.assert_allclose(lyapunov_spectrum(Alternating(), steps=640).values, expected, atol=1e-3)
    # The top exponents are the start of the whole spectrum.
    top = lyapunov_spectrum(Alternating(), exponents=1, steps=640)
    np.testing.assert_allclose(top.values, expected[:1], atol=1e-3)


def test_numbers_that_need_more_exponents_are_refused() -> None:
    found = lyapunov_spectrum(Linear(np.diag([2.0, 1.5, 0.1])), exponents=2, steps=64)
    with pytest.raises(mf.NotConverged, match="ask for more of them to get the attractor's dimension"):
        _ = found.attractor_dimension
    with pytest.raises(mf.NotConverged, match="ask for more of them to get their sum"):
        _ = found.entropy_rate
    with pytest.raises(mf.InvalidInput, match="index: must be from 0 to 1, got 2"):
        found.exponent(2)
    with pytest.raises(mf.InvalidInput, match="exponents: must not exceed the dimension 3, got 4"):
        lyapunov_spectrum(Linear(np.eye(3)), exponents=4)
    with pytest.raises(mf.InvalidInput, match="steps: must be a whole number of at least 32, got 10"):
        lyapunov_spectrum(Linear(np.eye(3)), steps=10)


def test_what_leaves_the_range_of_numbers_is_an_error() -> None:
    with pytest.raises(mf.NotConverged, match="left the range of finite numbers by step 1"), np.errstate(all="ignore"):
        lyapunov_spectrum(Linear(np.diag([1e200, 1e-200]) @ np.full((2, 2), 1e200)))


def test_errors_are_those_of_the_time_averages() -> None:
    """Independent growth a step: the error over blocks is the standard error, for any number of steps."""

    class Noise:
        dimension = 1

        def start(self) -> int:
            return 0

        def advance(self, state: int, tangents: Array) -> tuple[int, Array]:
            return state + 1, tangents * math.exp(np.random.default_rng([9, state]).standard_normal())

    found = lyapunov_spectrum(Noise(), steps=3200, transient=0)
    assert abs(found.largest.value) < 5.0 / math.sqrt(3200)
    # The largest of three estimates, the least certain from 8 blocks.
    assert 0.7 / math.sqrt(3200) < found.largest.error < 2.2 / math.sqrt(3200)


def gates(*laws: float) -> mf.Gate:
    return mf.Gate(*laws)


NETWORKS = {
    "vanilla": mf.Network("vanilla", {"h": gates(1.5, 0.7, 0.0, 0.3)}),
    "gru": mf.Network("gru", {"f": gates(1, 0.5, 0.5, 0.2), "r": gates(1, 0.5), "h": gates(2, 0.5, 0, 0.3)}),
    "lstm": mf.Network("lstm", dict.fromkeys("ifgo", gates(1.5, 0.7, 0.5, 0.2))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_exponents_add_up_to_the_volume(name: str) -> None:
    """The sum of all exponents is the mean of log|det J|, computed without any QR decomposition."""
    network, hidden, steps, transient = NETWORKS[name], 12, 64, 8
    generator = np.random.default_rng(4)
    member = SimulatedNetwork(network, hidden=hidden, inputs=3, seed=(1, 2, 3))
    x = generator.standard_normal((steps + transient, 3))
    first = [0.3 * generator.standard_normal((1, hidden)) for _ in member.cell.states]
    flow = NetworkFlow(member, x, first)
    found = lyapunov_spectrum(flow, steps=steps, transient=transient)
    place, volumes = flow.start(), []
    for _ in range(steps + transient):
        place, J = flow.advance(place, np.eye(flow.dimension))
        volumes.append(np.linalg.slogdet(J)[1])
    assert flow.dimension == hidden * (2 if name == "lstm" else 1)
    assert np.sum(found.values) == pytest.approx(np.mean(volumes[transient:]), rel=1e-9)


@pytest.mark.parametrize(("cell", "order"), [("lstm", "ifgo"), ("gru_reset_after", "rfh"), ("vanilla", "h")])
def test_pytorch_differentiates_to_the_same_exponents(cell: str, order: str) -> None:
    """The whole spectrum of a small network, Jacobians by autograd of PyTorch's cells over (h, c)."""
    torch = pytest.importorskip("torch")
    hidden, inputs, steps = 6, 3, 96
    network = mf.Network(cell, dict.fromkeys(order, gates(1.2, 0.7, 0.3, 0.2)))
    weights = sample_weights(network, hidden=hidden, inputs=inputs, seed=5)
    generator = np.random.default_rng(6)
    x = generator.standard_normal((steps, inputs))
    member = SimulatedNetwork(network, hidden=hidden, inputs=inputs, weights=weights)
    first = [0.3 * generator.standard_normal((1, hidden)) for _ in member.cell.states]
    found = lyapunov_spectrum(NetworkFlow(member, x, first), steps=steps, transient=0, seed=7)

    kind = {"lstm": torch.nn.LSTMCell, "gru_reset_after": torch.nn.GRUCell, "vanilla": torch.nn.RNNCell}[cell]
    layer = kind(inputs, hidden, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh.copy_(torch.tensor(np.concatenate([weights[gate]["recurrent"] for gate in order])))
        layer.weight_ih.copy_(torch.tensor(np.concatenate([weights[gate]["input"] for gate in order])))
        layer.bias_ih.copy_(torch.tensor(np.concatenate([weights[gate]["bias"] for gate in order])))
        second = [weights[gate].get("recurrent_bias", np.zeros(hidden)) for gate in order]
        layer.bias_hh.copy_(torch.tensor(np.concatenate(second)))

    def step(state: Any, read: Any) -> Any:  # state (c, h) or (h), as one vector
        if cell != "lstm":
            return layer(read, state)
        h, c = layer(read, (state[hidden:], state[:hidden]))
        return torch.cat([c, h])

    state = torch.tensor(np.concatenate([each[0] for each in first]))
    frame = torch.tensor(starting_frame(len(state), len(state), 7).T)
    growth = np.zeros(len(state))
    for read in torch.tensor(x):
        J = torch.autograd.functional.jacobian(lambda s, read=read: step(s, read), state)
        frame, r = torch.linalg.qr(J @ frame)
        growth += np.log(np.abs(np.diagonal(r.numpy())))
        state = step(state, read).detach()
    expected = np.sort(growth / steps)[::-1]
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_chaos_of_an_autonomous_vanilla_network() -> None:
    """Beyond the transition λ_1 = ½ log(σ² E[φ'²]) at q = σ² E[φ²], by quadrature; networks are below it by 2/N."""
    gain = 2.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / np.sum(weights)
    q = 1.0
    for _ in range(200):
        q = gain**2 * float(weights @ np.tanh(math.sqrt(q) * nodes) ** 2)
    expected = 0.5 * math.log(gain**2 * float(weights @ np.cosh(math.sqrt(q) * nodes) ** -4.0))
    network = mf.Network("vanilla", {"h": gates(gain)})
    found = network_lyapunov(network, mf.Inputs(power=0.0), hidden=512, exponents=1, steps=300, networks=6)
    assert expected > 0.2
    assert abs(found.largest.value - expected) < 3.0 / 512 + 4.0 * found.largest.error
    assert found.largest.error < 0.01


def test_the_top_exponent_is_half_the_slope_of_gradients() -> None:
    """Driven by inputs, with a gate: the theory's χ of the tied population."""
    network = NETWORKS["gru"]
    inputs = mf.Inputs(power=0.5, size=32)
    chi = mf.gradients(network, inputs, length=100, hidden=200, units=3200, groups=16).chi
    found = network_lyapunov(network, inputs, hidden=200, exponents=3, steps=300, networks=12, seed=1)
    predicted = 0.5 * math.log(chi.value)
    error = math.hypot(found.largest.error, 0.5 * chi.error / chi.value)
    # χ is of mean squares, an exponent of logarithms: at finite width they part by what gradients scatter.
    assert abs(found.largest.value - predicted) < 4.0 * error + 0.005
    assert found.largest.error < 0.01


def test_a_network_at_rest_has_the_eigenvalues_of_its_jacobian() -> None:
    """An lstm without inputs and biases decays to zero; c and h both count, and N directions of h vanish there."""
    network = mf.Network("lstm", dict.fromkeys("ifgo", gates(0.8)))
    hidden = 16
    silent = mf.Inputs(power=0.0, size=1)
    found = network_lyapunov(network, silent, hidden=hidden, steps=640, transient=300, seed=3)
    drawn, _ = member(network, silent, hidden=hidden, seed=3, index=0, regime="tied")
    # c = ½ c_- + ½ tanh(W_g h), h = ½ tanh(c): near zero ½ + ¼ W_g on c.
    eigenvalues = np.linalg.eigvals(0.5 * np.eye(hidden) + 0.25 * drawn.weights(0)["g"]["recurrent"])
    expected = np.sort(np.log(np.abs(eigenvalues)))[::-1]
    np.testing.assert_allclose(found.values[:hidden], expected, atol=5e-3)
    assert np.all(found.values[hidden:] == -np.inf)
    assert found.attractor_dimension == mf.Estimate(0.0, 0.0)


def test_averages_over_networks_and_bad_requests() -> None:
    network = NETWORKS["vanilla"]
    told: list[tuple[int, int]] = []
    found = network_lyapunov(
        network, hidden=10, exponents=2, steps=32, transient=4, networks=3, progress=lambda *made: told.append(made)
    )
    values = [each.values[0] for each in found.spectra]
    assert found.largest.value == pytest.approx(np.mean(values))
    assert found.largest.error == pytest.approx(np.std(values, ddof=1) / math.sqrt(3.0))
    assert told[-1] == (108, 108)
    assert all(isinstance(each, LyapunovSpectrum) and each.dimension == 10 for each in found.spectra)
    again = network_lyapunov(network, hidden=10, exponents=2, steps=32, transient=4, networks=3)
    np.testing.assert_array_equal(again.values, found.values)
    with pytest.raises(mf.InvalidInput, match="must not exceed the 50 steps of the inputs, got 40"):
        network_lyapunov(network, mf.Inputs.padded(signal=5, length=50, size=2), hidden=8, steps=40, transient=20)
    with pytest.raises(mf.InvalidInput, match="hidden: must be a whole number of at least 1, got 0"):
        network_lyapunov(network, hidden=0)
    with pytest.raises(mf.InvalidInput, match="networks: must be a whole number of at least 1, got 0"):
        network_lyapunov(network, networks=0)


def test_untied_networks_grow_by_the_untied_theory() -> None:
    """With fresh weights the mean square grows by χ a step; the typical size by a little less at finite width."""
    network = mf.Network("vanilla_relu", {"h": gates(1.2, 0.5)})
    found = network_lyapunov(
        network, mf.Inputs(power=1.0, size=8), hidden=200, exponents=1, steps=300, transient=50, regime="untied"
    )
    assert abs(found.largest.value - 0.5 * math.log(0.72)) < 4.0 * found.largest.error + 0.02
