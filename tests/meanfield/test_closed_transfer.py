"""The transfer of moments over one step against mpmath, quadrature on a grid, populations and simulated networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.activations import gate, tanh
from meanfield.cells import Cell, register, unregister
from meanfield.cells.cell import preactivation
from meanfield.closed_growth import closed_growth
from meanfield.closed_isometry import closed_isometry, untied_isometry
from meanfield.closed_moments import ClosedLaw, closed_law
from meanfield.closed_transfer import transfer
from meanfield.noise_laws import noise_parameters
from meanfield.sampling.cell import Field
from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.validation.finite_width import jacobian

Float64 = NDArray[np.float64]

GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
NETWORKS = {
    "vanilla": mf.Network("vanilla", {"h": GATE}),
    "vanilla_erf": mf.Network("vanilla_erf", {"h": GATE}),
    "vanilla_relu": mf.Network("vanilla_relu", {"h": mf.Gate(0.8, 0.5, 0.2, 0.3)}),
    "leaky": mf.Network("leaky", {"h": GATE}),
    "minimal": mf.Network("minimal", {"f": mf.Gate(4.0, 0.5, 0.2, 0.3), "z": mf.Gate(0.0, 1.0, 0.2, 0.3)}),
    # Means away from zero, so that gradients are correlated with the states.
    "gru": mf.Network(
        "gru", {"f": mf.Gate(5.0, 0.5, 0.5, 0.3), "r": mf.Gate(4.0, 0.5, 0.5), "h": mf.Gate(3.0, 0.3, 0.8)}
    ),
    "gru_reset_after": mf.Network("gru_reset_after", dict.fromkeys("frh", GATE)),
    "peephole_lstm": mf.Network(
        "peephole_lstm", {"i": mf.Gate(1.0, 0.5, 0.5), "f": mf.Gate(1.5, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)}
    ),
    "janet": mf.Network("janet", {"f": mf.Gate(3.0, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)}),
}


class Nested(Cell):
    """A gru of which the reset gate and the candidate read f s too: gate f acts on the state and on two carriers."""

    name = "nested"
    gates = ("f", "r", "h")
    fields = (Field("f", "f"), Field("r", "r", carrier=1), Field("h", "h", carrier=2))

    def carrier(self, index, state, fields, drives):  # type: ignore[no-untyped-def]
        if index == 0:
            return state[0]
        keep = gate(preactivation("f", fields, drives))[0]
        if index == 1:
            return keep * state[0]
        reset = gate(preactivation("r", fields, drives))[0]
        return keep * reset * state[0] + 0.5 * reset

    def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
        keep, write, _ = gate(preactivation("f", fields, drives))
        return (keep * state[0] + write * tanh(preactivation("h", fields, drives))[0],)

    def circuit(self, state, fields, drives):  # type: ignore[no-untyped-def]
        keep, write, keep_slope = gate(preactivation("f", fields, drives))
        reset, _, reset_slope = gate(preactivation("r", fields, drives))
        new, slope = tanh(preactivation("h", fields, drives))
        through_reset = (keep * state[0] + 0.5) * reset_slope
        A = ((keep_slope * (state[0] - new), 0.0, write * slope),)
        Q = ((0.0, 0.0, 0.0), (keep_slope * state[0], 0.0, 0.0), (keep_slope * reset * state[0], through_reset, 0.0))
        return LinearCircuit(((keep,),), A, ((1.0,), (keep,), (keep * reset,)), Q, A, Q)


@pytest.fixture
def nested() -> Iterator[mf.Network]:
    register(Nested())
    yield mf.Network("nested", dict(NETWORKS["gru"].gates))
    unregister("nested")


class TestOneStep:
    def test_gru(self) -> None:
        """The sum over pairings (theory, section 5), those of the reset gate's matrix too, in 25 digits."""
        law = closed_law(NETWORKS["gru"])
        found = closed_isometry(law, length=1)
        with mpmath.workdps(25):
            m1, m2 = gru_with_mpmath(law)
            assert abs(found.first_moment.value / m1 - 1) < 1e-12
            assert abs(found.second_moments.at(1).value / m2 - 1) < found.second_moments.at(1).error / m2 + 1e-15
        assert found.second_moments.relative_errors[0] < 1e-11

    def test_gru_reset_after(self) -> None:
        """E b and E b² of one step by sums over all its Gaussian variables."""
        law = closed_law(NETWORKS["gru_reset_after"])
        chi = closed_growth(law).chi.value
        step = transfer(law, chi)
        first, second = reset_after_on_a_grid(law)
        assert abs(first / chi - 1.0) < 1e-12
        assert abs((step.matrix.value @ step.start.value)[3] / (second / first**2) - 1.0) < 1e-12


def reset_after_on_a_grid(law: ClosedLaw) -> tuple[float, float]:
    """E b and E b² for the diagonal b = D² + Σ A_k² σ_k² of J Jᵀ after one step."""
    nodes = np.linspace(-8.5, 8.5, 49)
    weights = np.exp(-0.5 * nodes**2) / np.sum(np.exp(-0.5 * nodes**2))

    def variable(name: str) -> Float64:
        return law.parameters[f"mean {name}"] + law.parameters[f"deviation {name}"] * nodes

    f, r = (1.0 / (1.0 + np.exp(-variable(f"drive {name} + field {name}"))) for name in "fr")
    reset, m, w = r[:, None, None], variable("field h")[:, None], variable("drive h")
    n = np.tanh(w + reset * m)
    candidate = (1.0 - n**2) ** 2 * (m**2 * (reset * (1.0 - reset)) ** 2 + reset**2)
    volume = weights[:, None, None] * weights[:, None] * weights

    def over(values: Float64) -> float:
        return float(np.sum(volume * values))

    keep, forget, write = f**2, (f * (1.0 - f)) ** 2, (1.0 - f) ** 2
    powers = [over(n**k) for k in range(5)]
    s = [1.0]
    for k in range(1, 5):
        fed = [
            math.comb(k, j) * float(weights @ (f**j * (1.0 - f) ** (k - j))) * s[j] * powers[k - j] for j in range(k)
        ]
        s.append(sum(fed) / (1.0 - float(weights @ f**k)))
    apart, fourth = (sum(math.comb(p, j) * (-1) ** j * s[p - j] * powers[j] for j in range(p + 1)) for p in (2, 4))
    mixed = sum(c * s[2 - j] * over(n**j * candidate) for j, c in enumerate((1.0, -2.0, 1.0)))
    gain = law.network.gates["h"].recurrent_gain ** 2
    first = weights @ keep + gain * (weights @ forget * apart + weights @ write * over(candidate))
    second = weights @ keep**2 + gain**2 * (weights @ forget**2 * fourth + weights @ write**2 * over(candidate**2))
    second += 2.0 * gain * (weights @ (keep * forget) * apart + weights @ (keep * write) * over(candidate))
    second += 2.0 * gain**2 * (weights @ (forget * write)) * mixed
    return float(first), float(second)


def gru_with_mpmath(law: ClosedLaw) -> tuple[mpmath.mpf, mpmath.mpf]:
    """m1 and m2 of one step, at the variances of the law."""
    powers = range(5)

    def average(name: str, function: Callable[[mpmath.mpf], mpmath.mpf]) -> mpmath.mpf:
        mean, deviation = (law.parameters[f"{word} drive {name} + field {name}"] for word in ("mean", "deviation"))
        ends = [-13, -6, -3, -1, 0, 1, 3, 6, 13]
        return mpmath.quad(lambda z: mpmath.npdf(z) * function(mean + deviation * z), ends)

    def sigmoid(u: mpmath.mpf) -> mpmath.mpf:
        return 1 / (1 + mpmath.exp(-u))

    def f(kept: int, lost: int, slope: int = 0) -> mpmath.mpf:
        return average("f", lambda u: sigmoid(u) ** (kept + slope) * sigmoid(-u) ** (lost + slope))

    def r(value: int, slope: int) -> mpmath.mpf:
        return average("r", lambda u: sigmoid(u) ** (value + slope) * sigmoid(-u) ** slope)

    n = [average("h", lambda u, p=p: mpmath.tanh(u) ** p) for p in powers]
    steep = [average("h", lambda u, p=p: mpmath.tanh(u) ** p * mpmath.sech(u) ** 4) for p in range(3)]
    steepest = average("h", lambda u: mpmath.sech(u) ** 8)
    s = [mpmath.mpf(1)]
    for k in powers[1:]:
        fed = sum(mpmath.binomial(k, j) * f(j, k - j) * s[j] * n[k - j] for j in range(k))
        s.append(fed / (1 - f(k, 0)))
    apart, fourth = (
        sum(mpmath.binomial(p, j) * (-1) ** j * s[p - j] * n[j] for j in range(p + 1)) for p in (2, 4)
    )  # E (s - n)² and ⁴
    mixed = s[2] * steep[0] - 2 * s[1] * steep[1] + steep[2]
    gains = [mpmath.mpf(law.network.gates[name].recurrent_gain) ** 2 for name in "frh"]
    inner = gains[1] * s[2] * r(0, 2)
    power = r(2, 0) + inner
    own = r(4, 0) + 2 * inner * r(2, 0) + inner**2 + 2 * gains[1] * s[2] * r(2, 2) + gains[1] ** 2 * s[4] * r(0, 4)
    forget, update = gains[0] * f(0, 0, 2) * apart, gains[2] * f(0, 2) * steep[0]
    m1 = f(2, 0) + forget + update * power
    m2 = f(4, 0) + 2 * gains[0] * f(2, 0, 2) * apart + 2 * gains[2] * power * f(2, 2) * steep[0]
    m2 += gains[0] ** 2 * f(0, 0, 4) * fourth + 2 * gains[0] * gains[2] * power * f(0, 2, 2) * mixed
    m2 += gains[2] ** 2 * power**2 * f(0, 4) * steepest
    m2 += 2 * f(2, 0) * (forget + update * power) + forget**2 + 2 * forget * update * power + update**2 * own
    return m1, m2


class Chain:
    """Units of the untied theory, simulated: the state and the linear circuit of its next step."""

    def __init__(self, law: ClosedLaw, units: int, seed: int, burn_in: int = 30) -> None:
        self.network, self.cell = law.network, law.network.definition
        self.units, self.generator = units, np.random.default_rng(seed)
        members = [*(f"field {each.name}" for each in self.cell.fields), *(f"drive {name}" for name in self.cell.gates)]
        squares = {index: each.value for index, each in enumerate(law.carriers)}
        self.laws = noise_parameters(self.network, {each: (each,) for each in members}, law.inputs, squares)
        self.gains = np.array([getattr(self.network.gates[each.gate], each.gain) for each in self.cell.fields])
        self.reads = np.array([each.carrier for each in self.cell.fields], dtype=np.intp)
        self.state = np.zeros(units)
        for _ in range(burn_in):
            self.advance()

    def advance(self) -> CircuitSample:
        """Make a step, the circuit of which comes back."""
        fields = {each.name: self._draw(f"field {each.name}") for each in self.cell.fields}
        drives = {name: self._draw(f"drive {name}") for name in self.cell.gates}
        circuit = self.cell.circuit((self.state,), fields, drives)
        self.state = self.cell.update((self.state,), fields, drives)[0]
        return CircuitSample.of(circuit, (self.units,), self.gains, self.reads)

    def _draw(self, name: str) -> Float64:
        noise = self.generator.standard_normal(self.units)
        return self.laws[f"mean {name}"] + self.laws[f"deviation {name}"] * noise


def standardised(samples: Float64, predicted: Float64) -> Float64:
    """Distances of the means of independent rows from a prediction, in standard errors."""
    error = np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
    off = np.abs(np.mean(samples, axis=0) - predicted)
    return np.where(off <= 1e-9 * np.abs(predicted), 0.0, off / np.maximum(error, 1e-300))


class TestPopulations:
    @pytest.mark.parametrize("cell", ["minimal", "gru", "gru_reset_after", "peephole_lstm"])
    def test_one_step(self, cell: str) -> None:
        law = closed_law(NETWORKS[cell])
        found = closed_isometry(law, length=1)
        assert found.first_moment.value == pytest.approx(closed_growth(law).chi.value, rel=1e-14)
        chains = [Chain(law, 4000, seed) for seed in range(32)]
        moments = np.array([jacobian_moments(chain.advance().reached()) for chain in chains])
        predicted = np.array([found.first_moment.value, found.second_moments.at(1).value])
        assert np.max(standardised(moments, predicted)) < 4.0

    @pytest.mark.parametrize("cell", [*NETWORKS, "nested"])
    def test_gradients_and_states_of_single_units(self, cell: str, nested: mf.Network) -> None:
        """b ← D² b + Σ A_k² g_k beside the state: E b s, E b s² and E b² in units of E b."""
        law = closed_law(nested if cell == "nested" else NETWORKS[cell])
        chi, length = closed_growth(law).chi.value, 4
        step = transfer(law, chi)
        assert abs(step.growth.value - 1.0) < 1e-12
        state = np.linalg.matrix_power(step.matrix.value, length) @ step.start.value
        predicted = np.array([chi**length, *state[1:4]])
        rows = [_unit_moments(Chain(law, 4000, seed), length) for seed in range(32)]
        assert np.max(standardised(np.array(rows), predicted)) < 4.0


def _unit_moments(chain: Chain, length: int) -> Float64:
    diagonal = np.ones(chain.units)
    for _ in range(length):
        circuit = chain.advance()
        A, P, Q = (each**2 for each in (circuit.field_to_state, circuit.state_to_carrier, circuit.field_to_carrier))
        rises: list[float] = []
        for gain, carrier in zip(chain.gains, chain.reads, strict=True):
            inner = sum(Q[:, carrier, m] * rise for m, rise in enumerate(rises))
            rises.append(gain**2 * float(np.mean(P[:, carrier, 0] * diagonal + inner)))
        diagonal = circuit.state_to_state[:, 0, 0] ** 2 * diagonal + A[:, 0] @ np.array(rises)
    mean, s = np.mean(diagonal), chain.state
    return np.array([mean, *(np.mean(diagonal * each) / mean for each in (s, s**2, diagonal / mean))])


class TestSimulatedNetworks:
    @pytest.mark.parametrize(
        "cell", ["vanilla", "leaky", "minimal", "gru", "janet", "peephole_lstm", "gru_reset_after", "nested"]
    )
    def test_fresh_weights_at_every_step(self, cell: str, nested: mf.Network) -> None:
        network = nested if cell == "nested" else NETWORKS[cell]
        length = 2 if cell == "nested" else 3
        found = untied_isometry(network, length=length)
        first, second = found.first_moment.value, found.second_moments.at(length).value
        # Effects of the width of order 1/N are taken off by those at half the width.
        wide, narrow = (
            _relative_moments(network, hidden, length, networks, (first, second), seed)
            for hidden, networks, seed in ((128, 24, 1), (64, 48, 2))
        )
        (value, error), (other, other_error) = (_jackknife(each) for each in (wide, narrow))
        off = np.abs(2.0 * value - other - 1.0) / np.sqrt(4.0 * error**2 + other_error**2)
        assert np.max(off) < 4.0

    @pytest.mark.parametrize("cell", ["vanilla", "gru", "peephole_lstm", "minimal"])
    def test_sampled_gradients(self, cell: str) -> None:
        found = untied_isometry(NETWORKS[cell], length=5)
        sampled = mf.gradients(NETWORKS[cell], length=5, units=2**15, groups=32, regime="untied", seed=1)
        for one, other in (
            (found.isometry_defect, sampled.isometry_defect),
            (found.log_spread, sampled.log_spread),
            (found.first_moment, sampled.first_moment),
        ):
            assert abs(one.value - other.value) < 4.0 * other.error


def _relative_moments(
    network: mf.Network, hidden: int, length: int, networks: int, predicted: tuple[float, float], seed: int
) -> Float64:
    J = jacobian(
        network,
        mf.Inputs(),
        hidden=hidden,
        length=length + 15,
        steps=length,
        networks=networks,
        seed=seed,
        regime="untied",
    )
    grams = J @ np.swapaxes(J, 1, 2)
    moments = (np.trace(grams, axis1=1, axis2=2) / hidden, np.sum(grams**2, axis=(1, 2)) / hidden)
    return np.stack([each / exact for each, exact in zip(moments, predicted, strict=True)], axis=1)


def _jackknife(samples: Float64) -> tuple[Float64, Float64]:
    """m1, m2 and m2/m1², all relative to their predictions, and their standard errors."""

    def statistic(rows: Float64) -> Float64:
        first, second = np.mean(rows, axis=0)
        return np.array([first, second, second / first**2])

    count = len(samples)
    partial = np.array([statistic(np.delete(samples, index, axis=0)) for index in range(count)])
    spread = np.mean((partial - np.mean(partial, axis=0)) ** 2, axis=0)
    return statistic(samples), np.sqrt((count - 1) * spread)
