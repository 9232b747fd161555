"""The sampled untied theory: against populations and closed forms, and with errors that cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

import meanfield as mf
from meanfield.cells import Cell, find, register, unregister
from meanfield.cells.cell import Array, State, Values, preactivation
from meanfield.solvers.linear_circuit import LinearCircuit

Float64 = NDArray[np.float64]


def gate(gain: float, given: float = 0.0, mean: float = 0.0, spread: float = 0.0) -> mf.Gate:
    return mf.Gate(recurrent_gain=gain, input_gain=given, bias_mean=mean, bias_std=spread)


LSTM = mf.Network(
    "lstm", {"i": gate(1, 0.5, 0, 0.2), "f": gate(1, 0.5, 1, 0.2), "g": gate(2, 1, 0, 0.2), "o": gate(1, 0.5, 0, 0.2)}
)
GRU = mf.Network("gru", {"f": gate(1.5, 0.5, 0.5, 0.3), "r": gate(1.5, 0.5, 0, 0.3), "h": gate(2, 0.5, 0.2, 0.3)})
RESET_AFTER = mf.Network(
    "gru_reset_after",
    {"f": gate(1.5, 0.5, 0.5, 0.3), "r": gate(1.5, 0.5, 0, 0.3), "h": mf.Gate(2.0, 0.5, 0.2, 0.3, 0.3, 0.2)},
)
MINIMAL = mf.Network("minimal", {"f": gate(1.5, 0.5, 0, 0.3), "z": gate(0, 1, 0.2, 0.3)})
VANILLA = mf.Network("vanilla", {"h": gate(1.5, 0.5, 0.2, 0.3)})
NETWORKS = [LSTM, GRU, RESET_AFTER, MINIMAL, VANILLA]
INPUTS = mf.Inputs(overlap=0.5)
CHAINS = 1 << 15
LENGTH = 24

Laws = Callable[[mf.Network], mf.StationaryLaw]


@pytest.fixture(scope="module")
def laws() -> Laws:
    """Laws of the networks above, each sampled once."""
    made: dict[str, mf.StationaryLaw] = {}

    def find_or_make(network: mf.Network) -> mf.StationaryLaw:
        if network.cell not in made:
            made[network.cell] = mf.sample_law(network, INPUTS, chains=CHAINS, device="cpu")
        return made[network.cell]

    return find_or_make


def output_of(network: mf.Network) -> str:
    cell = network.definition
    return cell.states[cell.output]


def agree(one: mf.Estimate, other: mf.Estimate, allowance: float = 0.0) -> None:
    """Within four joint standard errors."""
    error = math.hypot(one.error, other.error)
    assert abs(one.value - other.value) < 4.0 * error + allowance * abs(other.value), (one, other)


def quadrature(function: Callable[[Float64], Float64]) -> float:
    """E f(z) by the trapezoidal rule."""
    nodes = np.linspace(-9.0, 9.0, 2001)
    return float(np.exp(-0.5 * nodes**2) @ function(nodes) * (nodes[1] - nodes[0]) / math.sqrt(2.0 * math.pi))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.cell)
def test_chains_agree_with_populations(network: mf.Network, laws: Laws) -> None:
    law = laws(network)
    beside = mf.stationary(network, INPUTS, regime="untied", units=4096, seed=1)
    output = output_of(network)
    agree(law.second_moment[output], beside.second_moment)
    agree(law.mean[output], beside.mean)
    agree(mf.sample_overlap(law, device="cpu").overlap, beside.overlap)
    assert law.carriers[0] == law.second_moment[output]
    assert set(law.mean) == set(law.second_moment) == set(network.definition.states)
    assert len(law.carriers) == 1 + max(field.carrier for field in network.definition.fields)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.cell)
def test_growth_agrees_with_populations(network: mf.Network, laws: Laws) -> None:
    found = mf.sample_growth(laws(network), length=LENGTH)
    beside = mf.gradients(network, INPUTS, regime="untied", length=LENGTH, units=4096, seed=1)
    agree(found.chi, beside.chi)
    for lag in (1, 4, LENGTH):
        agree(found.profile.at(lag), beside.profile.at(lag))
    assert found.profile.at(0) == mf.Estimate(1.0, 0.0)
    assert found.timescale is not None
    np.testing.assert_allclose(found.timescale.value, -1.0 / math.log(found.chi.value), rtol=1e-12)


def test_the_lstm_of_the_theory(laws: Laws) -> None:
    """Theory, section 2: E[h²] = 0.0466 and a growth of 0.623 a step, measured with fresh weights at every step."""
    law = laws(LSTM)
    assert abs(law.second_moment["h"].value - 0.0466) < 4.0 * law.second_moment["h"].error + 0.00005
    assert law.second_moment["h"].error < 1e-4
    chi = mf.sample_growth(law).chi
    assert abs(chi.value - 0.623) < 4.0 * chi.error + 0.0005


def test_a_plain_network_has_closed_forms(laws: Laws) -> None:
    """E[tanh²] at its own fixed point, and χ = σ² E[1/cosh⁴] there."""
    law = laws(VANILLA)

    def deviation(square: float) -> float:
        return math.sqrt(1.5**2 * square + 0.25 + 0.09)

    exact = brentq(lambda q: quadrature(lambda z: np.tanh(0.2 + deviation(q) * z) ** 2) - q, 0.01, 1.0, xtol=1e-15)
    np.testing.assert_allclose(law.second_moment["s"].value, exact, rtol=1e-9)
    assert law.second_moment["s"].error < 1e-6
    mean = quadrature(lambda z: np.tanh(0.2 + deviation(exact) * z))
    np.testing.assert_allclose(law.mean["s"].value, mean, rtol=1e-9)
    chi = mf.sample_growth(law, chains=1 << 17).chi
    expected = 1.5**2 * quadrature(lambda z: np.cosh(0.2 + deviation(exact) * z) ** -4.0)
    assert abs(chi.value - expected) < 4.0 * chi.error


def test_the_overlap_of_identical_and_of_opposite_sequences() -> None:
    same = mf.sample_overlap(mf.sample_law(LSTM, mf.Inputs(overlap=1.0), chains=CHAINS, device="cpu"), device="cpu")
    np.testing.assert_allclose(same.overlap.value, 1.0, atol=1e-6)
    # An odd network: without biases two opposite sequences have opposite states.
    odd = mf.Network("vanilla", {"h": gate(1.0, 1.0)})
    opposite = mf.sample_overlap(
        mf.sample_law(odd, mf.Inputs(overlap=-1.0), chains=CHAINS, device="cpu"), device="cpu"
    )  # fmt: skip
    np.testing.assert_allclose(opposite.overlap.value, -1.0, atol=1e-6)


def test_the_slope_of_the_overlap_map_is_that_of_overlaps(laws: Laws) -> None:
    """χ_C from gradients of pairs: below χ_1, and in closed form for a plain network."""
    pair = mf.sample_overlap(laws(VANILLA), device="cpu")
    name = next(name for name in pair.parameters if name.startswith("correlation"))
    noise = name.removeprefix("correlation ")
    mean, deviation, correlation = (pair.parameters[f"{word} {noise}"] for word in ("mean", "deviation", "correlation"))
    nodes = np.linspace(-8.5, 8.5, 401)
    weights = np.exp(-0.5 * nodes**2) * (nodes[1] - nodes[0]) / math.sqrt(2.0 * math.pi)
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    other = correlation * x + math.sqrt(1.0 - correlation**2) * y
    slopes = (np.cosh(mean + deviation * x) * np.cosh(mean + deviation * other)) ** -2.0
    chi = mf.sample_growth(pair, chains=1 << 17).chi
    assert abs(chi.value - 1.5**2 * float(weights @ slopes @ weights)) < 4.0 * chi.error


@pytest.mark.parametrize("name", ["vanilla", "minimal", "gru", "lstm"])
def test_a_network_that_is_driven_by_nothing_stays_at_zero(name: str) -> None:
    cell = find(name)
    network = mf.Network(name, dict.fromkeys(cell.gates, gate(0.0)))
    law = mf.sample_law(network, mf.Inputs(power=0.0), chains=1 << 14, device="cpu")
    for state in cell.states:
        assert law.second_moment[state] == law.mean[state] == mf.Estimate(0.0, 0.0)
    histogram = law.histogram(cell.states[0], bins=3)
    np.testing.assert_allclose(np.sum(histogram.density * np.diff(histogram.edges)), 1.0)


@pytest.mark.parametrize("gain", [0.5, 0.95])
def test_a_plain_network_below_its_critical_gain_falls_silent(gain: float) -> None:
    law = mf.sample_law(mf.Network("vanilla", {"h": gate(gain)}), mf.Inputs(power=0.0), chains=1 << 14, device="cpu")
    assert law.second_moment["s"].value < 1e-12
    assert law.second_moment["s"].error < 1e-12


@pytest.mark.parametrize("kick", [0.0, 0.03, 0.3])
@pytest.mark.parametrize("gain", [1.1, 1.5])
def test_a_plain_network_above_its_critical_gain_is_active_by_itself(gain: float, kick: float) -> None:
    """E[tanh²] = Q has a positive solution; zero, where it is one too, is left by any perturbation."""
    network = mf.Network("vanilla", {"h": gate(gain, spread=kick)})
    law = mf.sample_law(network, mf.Inputs(power=0.0), chains=1 << 14, device="cpu")
    exact = brentq(
        lambda q: quadrature(lambda z: np.tanh(math.sqrt(gain**2 * q + kick**2) * z) ** 2) - q, 0.03, 1.0, xtol=1e-15
    )
    assert abs(law.second_moment["s"].value - exact) <= 4.0 * law.second_moment["s"].error + 1e-7


def test_a_gated_network_above_its_critical_gain_is_active_by_itself() -> None:
    network = mf.Network("gru", dict.fromkeys("frh", gate(6.0)))
    law = mf.sample_law(network, mf.Inputs(power=0.0), chains=CHAINS, device="cpu")
    kicked = mf.sample_law(
        mf.Network("gru", dict.fromkeys("frh", gate(6.0, spread=0.1))),
        mf.Inputs(power=0.0),
        chains=CHAINS,
        device="cpu",
    )
    assert kicked.second_moment["s"].value > 0.4
    assert abs(law.second_moment["s"].value - kicked.second_moment["s"].value) < 0.02


@pytest.mark.parametrize(("mean", "deviation"), [(-40.0, 4.0), (-60.0, 8.0), (60.0, 30.0)])
def test_output_gates_may_be_shut_or_steep(mean: float, deviation: float) -> None:
    gates = dict(LSTM.gates) | {"o": gate(0.0, mean=mean, spread=deviation)}
    law = mf.sample_law(mf.Network("lstm", gates), chains=1 << 14, device="cpu")
    assert 0.0 < law.second_moment["h"].value < 1.0
    assert 0.0 < law.second_moment["h"].error < 0.1 * law.second_moment["h"].value


@pytest.mark.parametrize(("mean", "spread"), [(60.0, 0.0), (40.0, 2.0)])
def test_a_memory_that_never_lets_go_has_no_law(mean: float, spread: float) -> None:
    gates = dict(LSTM.gates) | {"f": gate(0.0, mean=mean, spread=spread)}
    with pytest.raises(mf.NotConverged, match="lower its bias mean"):
        mf.sample_law(mf.Network("lstm", gates), chains=1 << 14, device="cpu")


def test_errors_cover_the_self_consistent_moments() -> None:
    """Pulls of E[h²] over 60 seeds, against a run of 32 times as many chains, each four times as long."""
    exact = mf.sample_law(LSTM, chains=1 << 19, steps=64, seed=10**6, device="cpu").second_moment["h"]
    pulls = []
    for seed in range(60):
        found = mf.sample_law(LSTM, chains=1 << 14, steps=16, seed=seed, device="cpu").second_moment["h"]
        pulls.append((found.value - exact.value) / math.hypot(found.error, exact.error))
    print("pulls of E[h²]:", np.mean(pulls), np.std(pulls, ddof=1))
    assert 0.75 < np.std(pulls, ddof=1) < 1.3
    assert abs(np.mean(pulls)) < 0.6


def test_results_do_not_depend_on_threads() -> None:
    one, two = (
        mf.sample(LSTM, INPUTS, chains=1 << 14, length=8, threads=threads, device="cpu", seed=3) for threads in (1, 2)
    )
    assert one.as_json() == two.as_json()
    np.testing.assert_array_equal(one.law.sample("h"), two.law.sample("h"))
    assert mf.sample_law(LSTM, chains=1 << 14, seed=4, device="cpu").mean != one.law.mean


def test_growth_says_how_many_chains_it_had(laws: Laws) -> None:
    assert mf.sample_growth(laws(LSTM), length=4, chains=1000).chains == 16384


def test_growth_is_not_lost_where_a_set_of_chains_happens_to_shrink_to_nothing() -> None:
    """A slow memory, whose E[δ_a δ_b] comes out negative in one of 32 small sets, does not decay at once."""
    network = mf.Network(
        "lstm",
        {"i": gate(1, 0.5, 0, 0.2), "f": gate(1, 0.5, 4, 0.2), "g": gate(1, 1, 0.5, 0.2), "o": gate(1, 0.5, 0, 0.2)},
    )
    law = mf.sample_law(network, INPUTS, chains=1 << 14, seed=12, device="cpu")
    found = mf.sample_growth(mf.sample_overlap(law, seed=12, device="cpu"), seed=12)
    assert found.chi.error > 0.0
    assert abs(found.chi.value - 0.955) < 4.0 * found.chi.error + 0.01


def test_no_burn_in_is_no_error() -> None:
    law = mf.sample_law(LSTM, chains=1 << 14, burn_in=0, device="cpu")
    assert abs(law.second_moment["h"].value - 0.0466) < 6.0 * law.second_moment["h"].error + 0.0002


@pytest.mark.parametrize("variable", ["c", "h"])
def test_histograms_are_densities(variable: str, laws: Laws, tmp_path: Path) -> None:
    law = laws(LSTM)
    histogram = law.histogram(variable, bins=80)
    width = np.diff(histogram.edges)
    middle = 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
    assert histogram.density.shape == histogram.errors.shape == (80,)
    np.testing.assert_allclose(np.sum(histogram.density * width), 1.0, rtol=1e-12)
    samples = law.sample(variable)
    assert samples.shape == (law.chains,)
    # Within a bin's width of the samples' own averages, and those within their errors of the measured moments.
    for power in (1, 2):
        read_off = float(np.sum(histogram.density * width * np.abs(middle) ** power))
        assert abs(read_off - np.mean(np.abs(samples) ** power)) < 2.0 * width[0] * max(np.mean(np.abs(samples)), 1.0)
    for moment, values in ((law.mean[variable], samples), (law.second_moment[variable], samples**2)):
        error = math.hypot(moment.error, float(np.std(values)) / math.sqrt(law.chains))
        assert abs(np.mean(values) - moment.value) < 4.5 * error
    expected = np.sqrt(histogram.density * width * (1.0 - histogram.density * width) / law.chains) / width
    np.testing.assert_allclose(histogram.errors, expected, rtol=1e-9)
    histogram.save(tmp_path / "law.csv")
    table = np.loadtxt(tmp_path / "law.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(
        table.T, [histogram.edges[:-1], histogram.edges[1:], histogram.density, histogram.errors]
    )


def test_samples_of_the_output_follow_the_memory(laws: Laws) -> None:
    law = laws(LSTM)
    c, h = law.sample("c"), law.sample("h")
    assert np.all(np.abs(h) <= np.abs(np.tanh(c)))
    np.testing.assert_array_equal(np.sign(h), np.sign(c))
    plain = laws(VANILLA).sample("s")
    assert abs(np.mean(plain**2) - laws(VANILLA).second_moment["s"].value) < 4.5 * np.std(plain**2) / math.sqrt(CHAINS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chains": 0}, "chains: must be a whole number of at least 1, got 0"),
        ({"chains": 10.5}, "chains: must be a whole number"),
        ({"steps": 1}, "steps: must be a whole number of at least 2, got 1"),
        ({"burn_in": -1}, "burn_in: must be a whole number of at least 0, got -1"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ({"threads": 0}, "threads: must be a whole number of at least 1, got 0"),
        ({"device": "gpu"}, "device: must be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        (
            {"inputs": mf.Inputs.padded(signal=3, length=9)},
            "inputs: chains have a stationary law under white inputs only",
        ),
        ({"inputs": mf.Inputs.from_data(np.ones((2, 3, 4)))}, "white inputs only"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(mf.InvalidInput) as caught:
        mf.sample_law(LSTM, **{"device": "cpu"} | options)
    assert message in str(caught.value)


def test_arguments_of_later_steps_are_named(laws: Laws) -> None:
    law = laws(LSTM)
    for call, message in (
        (lambda: mf.sample_overlap(law, chains=0), "chains: must be a whole number of at least 1"),
        (lambda: mf.sample_overlap(law, steps=1), "steps: must be a whole number of at least 2"),
        (lambda: mf.sample_overlap(law, device="tpu"), "device: must be"),
        (lambda: mf.sample_growth(law, length=1), "length: must be a whole number of at least 2"),
        (lambda: mf.sample_growth(law, chains=0), "chains: must be a whole number of at least 1"),
        (lambda: law.histogram("s"), "variable: must be one of c, h, got 's'"),
        (lambda: law.histogram("c", bins=0), "bins: must be a whole number of at least 1"),
    ):
        with pytest.raises(mf.InvalidInput, match=message):
            call()


def test_chains_beyond_memory_are_refused() -> None:
    with pytest.raises(MemoryError, match=r"chains need .* GB of memory"):
        mf.sample_law(LSTM, chains=10**10, steps=2, burn_in=2, device="cpu")


class Foreign(Cell):
    """A cell that uses what kernels do not know."""

    name, gates, keep_gate = "foreign", ("h",), None

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        return (np.sin(preactivation("h", fields, drives)),)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        return self.simple_circuit(((0.0,),), ((np.cos(preactivation("h", fields, drives)),),))


class Branching(Foreign):
    """A cell that compares a value with a number, as NumPy code does."""

    name = "branching"

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        u = preactivation("h", fields, drives)
        return (np.where(u > 0.0, u, 0.1 * u),)


@pytest.fixture(params=[Foreign, Branching])
def unknown(request: pytest.FixtureRequest) -> Iterator[str]:
    register(request.param())
    yield request.param.name
    unregister(request.param.name)


def test_cells_that_kernels_do_not_know_are_named(unknown: str) -> None:
    with pytest.raises(mf.InvalidInput, match=f"cell {unknown!r} cannot be made into a kernel"):
        mf.sample_law(mf.Network(unknown, {"h": gate(1.0)}), device="cpu")


def test_errors_of_products_include_those_of_the_law() -> None:
    """Slow and saturated gates: what the law of one copy is off by moves the pair too, by more than its own scatter."""
    gates = {"i": gate(2.24, 0.89, -1.16, 0.91), "f": gate(0.05, 0.61, 4.0, 0.26), "g": gate(2.55, 1.21, 1.22, 0.63)}
    network = mf.Network("lstm", {**gates, "o": gate(1.09, 1.52, -1.89, 0.45)})
    inputs = mf.Inputs(power=0.74, overlap=-0.05)
    exact = mf.fixed_points(network, inputs).overlaps[0].product
    for seed in range(3):
        law = mf.sample_law(network, inputs, chains=1 << 17, device="cpu", seed=seed)
        product = mf.sample_overlap(law, device="cpu", seed=seed).products[0]
        assert abs(product.value - exact.value) < 4.0 * product.error + exact.error
        assert product.error < 1e-5 * exact.value
