"""Second moments and gradients of LSTMs against plain NumPy chains, at the zero state, and where there is no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

import meanfield as mf
from meanfield.output_growth import output_growth
from meanfield.output_law import OutputLaw, output_law
from meanfield.untied_growth import untied_chi

Float64 = NDArray[np.float64]
SILENT = mf.Inputs(power=0.0)


def lstm(**gates: mf.Gate) -> mf.Network:
    """An LSTM that is moderate but for the gates that are given."""
    return mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1, 0.5, 0, 0.2)) | gates)


THEORY = lstm(f=mf.Gate(1, 0.5, 1, 0.2), g=mf.Gate(2, 1, 0, 0.2))
COUPLED = mf.Network(
    "cifg_lstm", {"f": mf.Gate(1, 0.5, 1, 0.2), "g": mf.Gate(2, 1, 0.4, 0.2), "o": mf.Gate(1, 0.5, 0, 0.2)}
)
SKEWED = mf.Network(
    "lstm",
    {
        "i": mf.Gate(1, 0.3, 0.5, 0.1),
        "f": mf.Gate(2, 0.5, -1, 0.3),
        "g": mf.Gate(2.5, 0.4, 1, 0),
        "o": mf.Gate(3, 0.2, 1),
    },
)
NETWORKS = {"lstm of the theory": THEORY, "coupled gates": COUPLED, "skewed": SKEWED}
EVERY = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))


class Chains:
    """Groups of chains of a cell with fresh weights at every step, at given laws of the pre-activations.

    Nothing is shared with what is tested but these laws' parameters.
    """

    def __init__(self, law: OutputLaw, *, groups: int = 32, chains: int = 1024, seed: int = 0) -> None:
        self.network, self.coupled = law.network, law.network.cell == "cifg_lstm"
        self.laws = {
            name: [law.parameters[f"{word} drive {name} + field {name}"] for word in ("mean", "deviation")]
            for name in law.network.gates
        }
        self.generator = np.random.default_rng(seed)
        self.memory = np.zeros((groups, chains))

    def step(self) -> dict[str, Float64]:
        """The gates of one step and their slopes."""
        found: dict[str, Float64] = {"old": self.memory}
        for name, (mean, deviation) in self.laws.items():
            u = mean + deviation * self.generator.standard_normal(self.memory.shape)
            value = np.tanh(u) if name == "g" else expit(u)
            found[name], found[f"{name} slope"] = value, 1.0 - value**2 if name == "g" else value * (1.0 - value)
        if self.coupled:
            found["i"] = 1.0 - found["f"]
        self.memory = found["f"] * self.memory + found["i"] * found["g"]
        return found

    def moments(self, burn_in: int, steps: int) -> dict[str, Float64]:
        """Averages of every group."""
        found: dict[str, list[Float64]] = {
            "mean": [],
            "second_moment": [],
            "memory_mean": [],
            "memory_second_moment": [],
        }
        for _ in range(burn_in):
            self.step()
        for _ in range(steps):
            output = self.step()["o"] * np.tanh(self.memory)
            for name, values in (("", output), ("memory_", self.memory)):
                found[f"{name}mean"].append(np.mean(values, axis=1))
                found[f"{name}second_moment"].append(np.mean(values**2, axis=1))
        return {name: np.mean(values, axis=0) for name, values in found.items()}

    def growth(self, burn_in: int, warm_up: int, steps: int) -> Float64:
        """Growth per step of E δh² of every group, by carrying E[δc² | path] along."""
        gains = {name: gate.recurrent_gain**2 for name, gate in self.network.gates.items()}
        for _ in range(burn_in):
            self.step()
        output = np.ones((len(self.memory), 1))
        perturbation, logarithm = np.zeros_like(self.memory), np.zeros(len(self.memory))
        for step in range(warm_up + steps):
            now = self.step()
            # ∂c/∂u of every gate; with coupled gates f moves its complement too.
            through_f = now["f slope"] * (now["old"] - (now["g"] if self.coupled else 0.0))
            fed = gains["f"] * through_f**2 + gains["g"] * (now["i"] * now["g slope"]) ** 2
            if not self.coupled:
                fed += gains["i"] * (now["i slope"] * now["g"]) ** 2
            perturbation = now["f"] ** 2 * perturbation + output * fed
            read = (now["o"] / np.cosh(self.memory) ** 2) ** 2 * perturbation
            read += gains["o"] * (now["o slope"] * np.tanh(self.memory)) ** 2 * output
            factor = np.mean(read, axis=1, keepdims=True) / output
            if step >= warm_up:
                logarithm += np.log(factor[:, 0])
            # Scaled so that the output's perturbation stays one.
            perturbation, output = perturbation / (factor * output), np.ones_like(output)
        return np.asarray(np.exp(logarithm / steps))


def agrees(samples: Float64, exact: mf.Estimate) -> None:
    """Within four standard errors of the mean of independent groups."""
    error = np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert abs(np.mean(samples) - exact.value) < 4.0 * error + exact.error, (np.mean(samples), error, exact)


class TestAgainstChains:
    @EVERY
    def test_moments(self, network: mf.Network) -> None:
        law = output_law(network)
        found = Chains(law).moments(60, 60)
        for name, samples in found.items():
            agrees(samples, getattr(law, name))
        # The law is at its own second moment.
        variance = network.gates["g"].recurrent_gain ** 2 * law.second_moment.value
        outer = law.network.gates["g"]
        expected = math.sqrt(variance + outer.input_gain**2 + outer.bias_std**2)
        assert law.parameters["deviation drive g + field g"] == pytest.approx(expected, rel=1e-9)
        assert law.second_moment.error < 1e-9 * law.second_moment.value

    @EVERY
    def test_growth(self, network: mf.Network) -> None:
        law = output_law(network)
        growth = output_growth(law)
        samples = Chains(law).growth(60, 30, 30)
        agrees(samples, growth.chi)
        assert np.std(samples) / math.sqrt(len(samples)) < 0.003 * growth.chi.value
        assert growth.chi.error < 1e-9
        assert untied_chi(network) == growth.chi

    @EVERY
    def test_sampled_laws(self, network: mf.Network) -> None:
        law = output_law(network)
        sampled = mf.sample_law(network, chains=1 << 15, device="cpu", threads=1, seed=3)
        for exact, other in (
            (law.mean, sampled.mean["h"]),
            (law.second_moment, sampled.second_moment["h"]),
            (law.memory_mean, sampled.mean["c"]),
            (law.memory_second_moment, sampled.second_moment["c"]),
        ):
            assert abs(exact.value - other.value) < 4.0 * other.error + exact.error

    def test_the_lstm_of_the_theory(self) -> None:
        """Theory, sections 2 and 3, measured with fresh weights at every step: 0.0466 and 0.623."""
        law = output_law(THEORY)
        assert abs(law.second_moment.value - 0.0466) < 0.00005
        assert abs(output_growth(law).chi.value - 0.623) < 0.0005
        timescale = output_growth(law).timescale
        assert timescale is not None
        assert timescale.value == pytest.approx(-1.0 / math.log(0.622871), rel=1e-5)


def lstm_of(others: mf.Gate, candidate: mf.Gate) -> mf.Network:
    return mf.Network("lstm", {"i": others, "f": others, "g": candidate, "o": others})


class TestAtTheZeroState:
    def test_zero_without_drive(self) -> None:
        """At c = h = 0 without biases the increment alone feeds the memory: χ_1 = 1/4 + σ_g²/16."""
        for gain in (0.0, 1.0, 2.0, 3.4):
            law = output_law(mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(gain))), SILENT)
            assert law.second_moment == mf.Estimate(0.0, 0.0)
            chi = output_growth(law).chi
            assert abs(chi.value - (0.25 + gain**2 / 16.0)) <= chi.error + 1e-15
            assert chi.error < 1e-12

    def test_the_zero_state_is_left_beyond_its_critical_gain(self) -> None:
        """σ_g² = 12 is critical, and E h² grows from zero there."""
        below, above, far = (
            output_law(lstm_of(mf.Gate(0.0), mf.Gate(math.sqrt(12.0 * factor))), SILENT) for factor in (0.95, 1.05, 1.5)
        )
        assert below.second_moment.value == 0.0
        assert 0.0 < above.second_moment.value < 0.01 < far.second_moment.value
        assert output_growth(below).chi.value < 1.0
        agrees(Chains(far).moments(60, 60)["second_moment"], far.second_moment)

    def test_near_the_critical_gain_it_still_converges(self) -> None:
        law = output_law(lstm_of(mf.Gate(0.0), mf.Gate(math.sqrt(12.0 * 1.001))), SILENT)
        # To leading order the map is Q (1 + 0.001 - slope Q): ten times as far, ten times as much.
        farther = output_law(lstm_of(mf.Gate(0.0), mf.Gate(math.sqrt(12.0 * 1.01))), SILENT)
        assert farther.second_moment.value / law.second_moment.value == pytest.approx(10.0, rel=0.01)

    def test_a_critical_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("meanfield.output_law._LIMIT", 40)
        critical = lstm_of(mf.Gate(0.0), mf.Gate(math.sqrt(12.0)))
        with pytest.raises(mf.NotConverged, match=r"second moment of h: a residual of .* left after 40 evaluations"):
            output_law(critical, SILENT)


HARD = {
    "gains of 10": mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(10, 0.5, 0, 0.2))),
    "coupled gains of 10": mf.Network("cifg_lstm", dict.fromkeys("fgo", mf.Gate(10, 0.5, 0.3, 0.2))),
    "open input gate": lstm(i=mf.Gate(1, 0.5, 50)),
    "no memory": lstm(f=mf.Gate(1, 0.5, -50)),
    "saturated candidate": lstm(g=mf.Gate(1, 0.5, 50)),
    "open output gate": lstm(o=mf.Gate(1, 0.5, 50)),
    "wide biases": mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1, 0.5, 0, 3))),
    "coupled, opposite biases": mf.Network(
        "cifg_lstm", {"f": mf.Gate(2, 1, -4), "g": mf.Gate(3, 1, 8), "o": mf.Gate(6)}
    ),
    "no spread": mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1, 0.5, 0.5, 0))),
}


class TestHardNetworks:
    @pytest.mark.parametrize("name", HARD)
    def test_against_chains(self, name: str) -> None:
        law = output_law(HARD[name])
        found = Chains(law, chains=512).moments(60, 40)
        for part, samples in found.items():
            agrees(samples, getattr(law, part))
        assert law.second_moment.error < 1e-8 * law.second_moment.value
        chi = output_growth(law).chi
        assert 0.0 <= chi.error < 1e-7 * chi.value

    # Where χ_1 is close to what the memory keeps, few chains carry most of a perturbation: not those.
    @pytest.mark.parametrize("name", ["open input gate", "open output gate", "no spread"])
    def test_growth_against_chains(self, name: str) -> None:
        law = output_law(HARD[name])
        agrees(Chains(law, chains=512).growth(60, 30, 20), output_growth(law).chi)

    def test_a_closed_input_gate(self) -> None:
        """An input gate of 1e-22: Q scales with its square, and no digits are lost."""
        one, other = (output_law(lstm(i=mf.Gate(1, 0.5, mean))) for mean in (-50.0, -52.0))
        np.testing.assert_allclose(one.second_moment.value / other.second_moment.value, math.exp(4.0), rtol=1e-7)
        assert one.second_moment.error < 1e-7 * one.second_moment.value
        chi = output_growth(one).chi
        assert 0.0 < chi.error < 1e-6 * chi.value

    def test_nothing_moves(self) -> None:
        law = output_law(mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate())))
        assert law.second_moment == mf.Estimate(0.0, 0.0)
        assert abs(output_growth(law).chi.value - 0.25) < 1e-13

    def test_inputs_without_power_leave_biases(self) -> None:
        law = output_law(THEORY, SILENT)
        assert 0.0 < law.second_moment.value < output_law(THEORY).second_moment.value
        agrees(Chains(law).moments(60, 40)["second_moment"], law.second_moment)


class TestErrors:
    def test_memories_that_never_fade(self) -> None:
        sentence = r"stationary law of c was not found: c remembers .* steps; rounding allows 1e\+10 at most"
        with pytest.raises(mf.NotConverged, match=sentence):
            output_law(lstm(f=mf.Gate(1, 0.5, 50)))

    @pytest.mark.parametrize("inputs", [mf.Inputs.padded(signal=3, length=9), mf.Inputs.from_data(np.ones((2, 5, 3)))])
    def test_inputs_that_are_not_white(self, inputs: mf.Inputs) -> None:
        with pytest.raises(mf.InvalidInput, match="white inputs only"):
            output_law(THEORY, inputs)

    def test_the_order_of_calls_does_not_matter(self) -> None:
        first = output_law(THEORY).second_moment, output_growth(output_law(THEORY)).chi
        for network in (COUPLED, SKEWED):
            output_growth(output_law(network))
        assert (output_law(THEORY).second_moment, output_growth(output_law(THEORY)).chi) == first

    def test_moved_laws_cover_the_error(self) -> None:
        law = output_law(THEORY)
        ((moved, share),) = law.moved()
        step = moved.second_moment.value - law.second_moment.value
        assert abs(share * step) == pytest.approx(2.0 * law.second_moment.error, rel=1e-9)
        assert output_law(mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate()))).moved() == []
