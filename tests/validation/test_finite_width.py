"""The simulator itself: complex steps against finite differences, Jacobians against tangents."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find, names
from meanfield.sampling.population import generators
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.validation.agreement import deviation
from meanfield.validation.dense_circuits import dense_jacobian
from meanfield.validation.finite_width import input_response, jacobian, simulate
from meanfield.validation.simulated_network import SIMULATED, member
from meanfield.weights import sample_weights


def network_of(name: str) -> mf.Network:
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    return mf.Network(name, {g: mf.Gate(0.8 if g in recurrent else 0.0, 0.7, 0.2, 0.3) for g in cell.gates})


def test_an_lstm_step_is_the_textbook_one() -> None:
    """One and two steps of a simulated lstm, written out with matrices."""
    network, x = network_of("lstm"), np.random.default_rng(0).standard_normal((2, 3))
    changes = np.random.default_rng(1).standard_normal((1, 2, 3))

    def sigmoid(u: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-u))

    # The simulator derives the seed of its only set of weights from (seed, purpose, network, 0) and step 0.
    seed = int(np.random.SeedSequence([7, SIMULATED, 0, 0, 0]).generate_state(1, np.uint64)[0])
    weights = sample_weights(network, hidden=10, inputs=3, seed=seed)

    def last_output(sequence: np.ndarray) -> np.ndarray:
        h, c = np.zeros(10), np.zeros(10)
        for read in sequence:
            u = {k: w["recurrent"] @ h + w["input"] @ read + w["bias"] for k, w in weights.items()}
            c = sigmoid(u["f"]) * c + sigmoid(u["i"]) * np.tanh(u["g"])
            h = sigmoid(u["o"]) * np.tanh(c)
        return h

    step = 1e-5
    slope = (last_output(x + step * changes[0]) - last_output(x - step * changes[0])) / (2.0 * step)
    found = input_response(network, x, changes, hidden=10, networks=1, seed=7)
    assert found[0, 0] == pytest.approx(np.mean(slope**2), rel=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_simulated_networks_share_no_random_numbers_with_populations(seed: int) -> None:
    """Groups of a population draw inputs, biases, matrices and readouts; no network reads any of their streams."""
    used = {
        str(generator.bit_generator.state)
        for purpose in range(200)
        for generator in generators(seed, purpose, groups=8)
    }
    networks = {
        str(
            member(network_of("gru"), mf.Inputs(), hidden=4, seed=seed, index=index, regime="tied")[
                1
            ].bit_generator.state
        )
        for index in range(8)
    }
    assert len(used) == 8 * 200
    assert len(networks) == 8
    assert not used & networks


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_tangents_are_those_of_the_dense_jacobian(name: str, regime: str) -> None:
    """E|J δ|²/N of random directions is the squared norm of the block of J between outputs."""
    network, hidden, burn_in = network_of(name), 24, 5
    seen = simulate(
        network,
        mf.Inputs(size=4),
        hidden=hidden,
        length=1,
        burn_in=burn_in,
        networks=3,
        seed=1,
        regime=regime,  # type: ignore[arg-type]
        directions=4000,
    )
    dense = jacobian(
        network,
        mf.Inputs(size=4),
        hidden=hidden,
        length=burn_in + 1,
        networks=3,
        seed=1,
        regime=regime,  # type: ignore[arg-type]
    )
    block = slice(find(name).output * hidden, (find(name).output + 1) * hidden)
    norms = np.sum(dense[:, block, block] ** 2, axis=(1, 2)) / hidden
    # 4000 directions: the mean of a quadratic form of Gaussians is known to 1/√4000 of its value or better, times √2.
    np.testing.assert_allclose(seen.gradient_profile[:, 1], norms, rtol=4.0 * np.sqrt(2.0 / 4000))


def test_jacobians_of_several_steps_are_products() -> None:
    network, inputs = network_of("gru"), mf.Inputs(size=4)
    steps = [jacobian(network, inputs, hidden=12, length=length, seed=2)[0] for length in (4, 5, 6)]
    whole = jacobian(network, inputs, hidden=12, length=6, steps=3, seed=2)[0]
    # White inputs of different lengths are drawn from one stream, earlier steps first.
    np.testing.assert_allclose(whole, steps[2] @ steps[1] @ steps[0], rtol=1e-10, atol=1e-14)


def test_networks_differ_and_seeds_repeat() -> None:
    network = network_of("minimal")
    first, again, other = (
        simulate(network, mf.Inputs(size=2), hidden=16, length=4, seed=seed, networks=3) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.gradient_profile, again.gradient_profile)
    np.testing.assert_array_equal(first.input_sensitivity, again.input_sensitivity)
    assert len(np.unique(np.concatenate([first.second_moment, other.second_moment])[:, -1])) == 6
    assert first.second_moment.shape == (3, 4)
    assert first.gradient_profile.shape == (3, 5)
    assert first.input_sensitivity.shape == (3, 4)
    assert first.bias_response.shape == (3,)


def test_untied_weights_are_drawn_anew_at_every_step() -> None:
    """Without inputs a tied network would settle; an untied one keeps moving with its biases."""
    network = mf.Network("vanilla", {"h": mf.Gate(0.3, 0.0, 0.0, 1.0)})
    moments = {
        regime: simulate(network, mf.Inputs(power=0.0), hidden=30, length=40, networks=1, regime=regime).second_moment
        for regime in ("tied", "untied")
    }
    assert np.ptp(moments["tied"][0, -10:]) < 1e-9
    assert np.ptp(moments["untied"][0, -10:]) > 1e-2


def test_unknown_regimes_are_refused() -> None:
    with pytest.raises(mf.InvalidInput, match="regime: must be 'tied' or 'untied', got 'both'"):
        simulate(network_of("gru"), mf.Inputs(), hidden=4, length=1, regime="both")  # type: ignore[arg-type]


def test_a_dense_circuit_follows_its_chain_of_carriers() -> None:
    """A gru's reset gate is inside the carrier of its candidate: J = D + A W_h (P + Q W_r)."""
    g = np.random.default_rng(5)
    n = 6
    f, a, r, q = (g.standard_normal(n) for _ in range(4))
    zero = np.zeros(n)
    sample = CircuitSample(
        f[:, None, None],
        np.stack([zero, a], axis=-1)[:, None, :],
        np.stack([np.ones(n), r], axis=-1)[:, :, None],
        np.stack([np.zeros((n, 2)), np.stack([q, zero], axis=-1)], axis=1),
        np.array([0.5, 2.0]),
        np.array([0, 1]),
    )
    replay = np.random.default_rng(6)
    inner, outer = (replay.standard_normal((n, n)) * gain / np.sqrt(n) for gain in (0.5, 2.0))
    expected = np.diag(f) + a[:, None] * (outer @ (np.diag(r) + q[:, None] * inner))
    np.testing.assert_allclose(dense_jacobian(sample, np.random.default_rng(6)), expected, rtol=1e-12, atol=1e-14)


def test_deviations_count_combined_errors() -> None:
    samples = [0.9, 1.0, 1.1]
    error = np.std(samples, ddof=1) / np.sqrt(3.0)
    assert deviation(mf.Estimate(1.5, 0.0), samples) == pytest.approx(0.5 / error)
    assert deviation(mf.Estimate(1.5, 0.1), samples) == pytest.approx(0.5 / np.hypot(error, 0.1))
    assert deviation(mf.Estimate(1.5, 0.0), samples, allowance=0.2) == pytest.approx(0.2 / error)
    assert deviation(mf.Estimate(1.5, 0.0), samples, allowance=0.4) == 0.0
    assert deviation(mf.Estimate(1.5, 0.0), [1.0, 1.0]) == np.inf
