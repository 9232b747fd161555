"""Overlaps of LSTMs and their growth against plain NumPy pairs of chains and derivatives of the map."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

import meanfield as mf
from meanfield.closed_overlap import OverlapFixedPoint
from meanfield.output_growth import output_growth
from meanfield.output_law import OutputLaw, output_law
from meanfield.output_overlap import OutputOverlapMap, output_overlap
from meanfield.output_pairs import pair_laws

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
# Two sequences part from each other though their inputs are the same.
CHAOTIC = lstm(i=mf.Gate(1, 0.3, 1), f=mf.Gate(0.3, 0.1, 2), g=mf.Gate(3, 0.3, 0, 0.1), o=mf.Gate(1, 0.3, 1, 0.2))
CASES = {
    "lstm of the theory": (THEORY, 0.5),
    "coupled gates": (COUPLED, 0.5),
    "skewed": (SKEWED, 0.8),
    "opposite inputs": (THEORY, -1.0),
}
EVERY = pytest.mark.parametrize("case", CASES)


def reached(network: mf.Network, overlap: float) -> tuple[OutputLaw, OverlapFixedPoint]:
    law = output_law(network, mf.Inputs(overlap=overlap))
    (point,) = (each for each in output_overlap(law) if each.reached)
    return law, point


@cache
def reached_in(case: str) -> tuple[OutputLaw, OverlapFixedPoint]:
    return reached(*CASES[case])


@pytest.fixture(scope="module")
def chaotic() -> mf.FixedPoints:
    return mf.fixed_points(CHAOTIC, mf.Inputs(overlap=1.0))


class Pairs:
    """Groups of pairs of chains with fresh weights at every step, at a given E[h_a h_b].

    Nothing is shared with what is tested but the law's parameters.
    """

    def __init__(self, law: OutputLaw, product: float, *, groups: int = 32, chains: int = 512, seed: int = 0) -> None:
        self.gates, self.coupled = law.network.gates, law.network.cell == "cifg_lstm"
        self.laws = {}
        for name, own in self.gates.items():
            mean, deviation = (law.parameters[f"{word} drive {name} + field {name}"] for word in ("mean", "deviation"))
            shared = own.recurrent_gain**2 * product + own.bias_std**2
            shared += own.input_gain**2 * law.inputs.power * law.inputs.overlap
            self.laws[name] = mean, deviation, min(shared / deviation**2, 1.0) if deviation > 0.0 else 1.0
        self.generator = np.random.default_rng(seed)
        self.memory = np.zeros((2, groups, chains))

    def step(self) -> dict[str, Float64]:
        """The gates of both copies and their slopes."""
        found: dict[str, Float64] = {"old": self.memory}
        for name, (mean, deviation, correlation) in self.laws.items():
            u = self.generator.standard_normal(self.memory.shape)
            u[1] = correlation * u[0] + math.sqrt(1.0 - correlation**2) * u[1]
            u = mean + deviation * u
            value = np.tanh(u) if name == "g" else expit(u)
            found[name], found[f"{name} slope"] = value, 1.0 - value**2 if name == "g" else value * (1.0 - value)
        if self.coupled:
            found["i"] = 1.0 - found["f"]
        self.memory = found["f"] * self.memory + found["i"] * found["g"]
        return found

    def product(self, burn_in: int, steps: int, square: mf.Estimate) -> Float64:
        """E[h_a h_b] of every group, corrected by what is known of a single copy."""
        found = []
        for step in range(burn_in + steps):
            output = self.step()["o"] * np.tanh(self.memory)
            if step >= burn_in:
                found.append([np.mean(output[0] * output[1], axis=1), np.mean(output**2, axis=(0, 2))])
        product, squares = np.mean(found, axis=0)
        covariance = np.cov(product, squares)
        return np.asarray(product - covariance[0, 1] / covariance[1, 1] * (squares - square.value))

    def growth(self, burn_in: int, warm_up: int, steps: int) -> Float64:
        """Growth per step of E δh_a δh_b of every group, by carrying E[δc_a δc_b | paths] along."""
        gains = {name: own.recurrent_gain**2 for name, own in self.gates.items()}
        for _ in range(burn_in):
            self.step()
        perturbation, logarithm = np.zeros(self.memory.shape[1:]), np.zeros(self.memory.shape[1])
        for step in range(warm_up + steps):
            now = self.step()
            through_f = now["f slope"] * (now["old"] - (now["g"] if self.coupled else 0.0))
            fed = gains["f"] * np.prod(through_f, axis=0) + gains["g"] * np.prod(now["i"] * now["g slope"], axis=0)
            if not self.coupled:
                fed += gains["i"] * np.prod(now["i slope"] * now["g"], axis=0)
            perturbation = np.prod(now["f"], axis=0) * perturbation + fed
            read = np.prod(now["o"] / np.cosh(self.memory) ** 2, axis=0) * perturbation
            read += gains["o"] * np.prod(now["o slope"] * np.tanh(self.memory), axis=0)
            factor = np.mean(read, axis=1)
            if step >= warm_up:
                logarithm += np.log(factor)
            perturbation /= factor[:, None]
        return np.asarray(np.exp(logarithm / steps))


def agrees(samples: Float64, value: float, bound: float) -> None:
    """Within four standard errors of the mean of independent groups."""
    error = np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert abs(np.mean(samples) - value) < 4.0 * error + bound, (np.mean(samples), error, value)


class TestAgainstChains:
    @EVERY
    def test_products_are_kept(self, case: str) -> None:
        law, point = reached_in(case)
        samples = Pairs(law, point.product.value).product(60, 60, law.second_moment)
        agrees(samples, point.product.value, point.product.error)
        assert point.product.error < 1e-7 * law.second_moment.value
        variance = law.second_moment.value - law.mean.value**2
        expected = (point.product.value - law.mean.value**2) / variance
        assert abs(point.overlap.value - expected) <= point.overlap.error + 1e-13

    @EVERY
    def test_growth(self, case: str) -> None:
        law, point = reached_in(case)
        samples = Pairs(law, point.product.value).growth(60, 30, 30)
        agrees(samples, point.slope.value, point.slope.error)
        assert np.std(samples) / math.sqrt(len(samples)) < 0.005
        assert point.slope.error < 1e-6

    @pytest.mark.parametrize("case", ["lstm of the theory", "coupled gates"])
    def test_sampled_overlaps(self, case: str) -> None:
        _, point = reached_in(case)
        law = mf.sample_law(CASES[case][0], mf.Inputs(overlap=0.5), chains=1 << 15, device="cpu", threads=1, seed=2)
        pair = mf.sample_overlap(law, device="cpu", threads=1, seed=2)
        growth = mf.sample_growth(pair, length=48, threads=1, seed=2)
        for exact, sampled in (
            (point.product, pair.products[0]),
            (point.overlap, pair.overlap),
            (point.slope, growth.chi),
        ):
            assert abs(exact.value - sampled.value) < 4.0 * sampled.error + exact.error

    @pytest.mark.parametrize("overlap", [-0.5, 0.2, 0.95])
    def test_the_map_away_from_its_fixed_point(self, overlap: float) -> None:
        law = output_law(SKEWED, mf.Inputs(overlap=0.3))
        places = OutputOverlapMap(law)
        (product,) = places.products(np.array([overlap]))
        change = places.change(np.array([overlap]))
        samples = Pairs(law, float(product)).product(60, 40, law.second_moment)
        agrees(samples - product, float(change.value[0]), float(change.error[0]))


class TestSlopes:
    @pytest.mark.parametrize("network", [THEORY, COUPLED, SKEWED], ids=["lstm", "coupled", "skewed"])
    def test_the_static_slope_is_the_derivative_of_the_map(self, network: mf.Network) -> None:
        places = OutputOverlapMap(output_law(network, mf.Inputs(overlap=0.5)))
        overlaps = np.array([-0.6, 0.1, 0.8])
        slopes, step = places.slope(overlaps), 1e-3
        changes = [places.change(overlaps + shift * step).value for shift in (-2, -1, 1, 2)]
        rise = (changes[0] - 8.0 * changes[1] + 8.0 * changes[2] - changes[3]) / 12.0
        run = places.products(overlaps + step) - places.products(overlaps)
        np.testing.assert_allclose(slopes.slope.value - 1.0, rise / run, atol=3e-7)
        np.testing.assert_allclose(slopes.lacking.value, 1.0 - slopes.slope.value, atol=1e-14)

    def test_both_slopes_of_copies_that_are_the_same(self) -> None:
        """The static slope approaches the one at overlap 1 from below, and χ_C is χ_1 there."""
        law = output_law(THEORY, mf.Inputs(overlap=1.0))
        (point,) = output_overlap(law)
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert abs(point.slope.value - output_growth(law).chi.value) < 1e-13
        near, same = OutputOverlapMap(law).slope(np.array([0.999, 1.0])).slope.value
        assert 0.0 < same - near < 0.01

    def test_growth_and_static_slope_are_one_at_once_and_cross_there(self) -> None:
        """Where the map has slope one, distances neither grow nor decay, memory or not: both are on one side of 1."""
        for law, point in (reached_in("lstm of the theory"), reached(CHAOTIC, 0.3)):
            static = OutputOverlapMap(law).slope(np.array([point.overlap.value])).slope.value[0]
            assert static < point.slope.value < 1.0


class TestManyFixedPoints:
    def test_a_stable_one_beside_the_same_copies(self, chaotic: mf.FixedPoints) -> None:
        apart, same = chaotic.overlaps
        assert same.overlap == mf.Estimate(1.0, 0.0)
        assert (apart.stable, apart.reached) == (True, True)
        assert (same.stable, same.reached) == (False, False)
        assert 0.1 < apart.overlap.value < 0.2
        assert apart.slope.value < 1.0 < same.slope.value
        assert abs(same.slope.value - chaotic.growth.chi.value) < 1e-9
        assert (apart.timescale is None, same.timescale is None) == (False, True)
        assert not chaotic.ambiguous

    def test_pairs_of_chains_part_until_there(self, chaotic: mf.FixedPoints) -> None:
        apart = chaotic.overlaps[0]
        law = chaotic.law
        assert isinstance(law, OutputLaw)
        samples = Pairs(law, apart.product.value).product(150, 100, law.second_moment)
        agrees(samples, apart.product.value, apart.product.error)

    def test_the_map_is_above_the_diagonal_below_the_stable_one(self, chaotic: mf.FixedPoints) -> None:
        law = chaotic.law
        assert isinstance(law, OutputLaw)
        place = chaotic.overlaps[0].overlap.value
        below, above = OutputOverlapMap(law).change(np.array([place - 0.05, place + 0.05])).value
        assert below > 0.0 > above

    def test_ordered_networks_have_one(self) -> None:
        (point,) = mf.fixed_points(THEORY, mf.Inputs(overlap=1.0)).overlaps
        assert (point.overlap.value, point.stable, point.reached) == (1.0, True, True)

    @pytest.mark.parametrize("inputs", [SILENT, mf.Inputs(power=0.0, overlap=-1.0), mf.Inputs(power=0.0, overlap=0.3)])
    def test_autonomous_networks_have_no_inputs_to_differ_by(self, inputs: mf.Inputs) -> None:
        found = mf.fixed_points(THEORY, inputs)
        (point,) = found.overlaps
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert abs(point.slope.value - found.growth.chi.value) < 1e-13

    def test_the_zero_state(self) -> None:
        found = mf.fixed_points(mf.Network("cifg_lstm", dict.fromkeys("fgo", mf.Gate(2))), mf.Inputs(overlap=-0.5))
        (point,) = found.overlaps
        assert found.law.second_moment.value == 0.0
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert abs(point.slope.value - 0.5) < 1e-12


HARD = {
    "gains of 10": (mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(10, 0.5, 0, 0.2))), 0.5),
    "coupled gains of 10": (mf.Network("cifg_lstm", dict.fromkeys("fgo", mf.Gate(10, 0.5, 0.3, 0.2))), 0.9),
    "open input gate": (lstm(i=mf.Gate(1, 0.5, 50)), -0.5),
    "closed input gate": (lstm(i=mf.Gate(1, 0.5, -50)), -1.0),
    "no memory": (lstm(f=mf.Gate(1, 0.5, -50)), 0.5),
    "saturated candidate": (lstm(g=mf.Gate(1, 0.5, 50)), -1.0),
    "open output gate": (lstm(o=mf.Gate(1, 0.5, 50)), 0.9),
    "closed output gate": (lstm(o=mf.Gate(1, 0.5, -50)), 0.5),
    "wide biases": (mf.Network("cifg_lstm", dict.fromkeys("fgo", mf.Gate(1, 0.5, 0.5, 3))), 0.0),
    "coupled, opposite biases": (
        mf.Network("cifg_lstm", {"f": mf.Gate(2, 1, -4), "g": mf.Gate(3, 1, 8), "o": mf.Gate(6)}),
        0.3,
    ),
    "no spread": (mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1, 0.5, 0.5, 0))), -1.0),
}


class TestHardNetworks:
    @pytest.mark.parametrize("name", HARD)
    def test_against_chains(self, name: str) -> None:
        network, overlap = HARD[name]
        law, point = reached(network, overlap)
        samples = Pairs(law, point.product.value).product(60, 40, law.second_moment)
        agrees(samples, point.product.value, point.product.error)
        assert point.product.error < 1e-4 * law.second_moment.value
        assert -1.0 <= point.overlap.value <= 1.0
        # Of no two sequences the perturbations grow faster than of one.
        chi = output_growth(law).chi
        assert abs(point.slope.value) <= chi.value + chi.error + point.slope.error

    def test_large_errors_do_not_make_up_fixed_points(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Inputs of overlap 0.9 do not leave sequences the same, though the map near 1 is lost in its errors."""
        monkeypatch.setattr("meanfield.output_pairs._LEVELS", ((12, 7.0), (14, 8.0)))
        network = mf.Network(
            "lstm",
            {"i": mf.Gate(0.1, 3, 0, 4), "f": mf.Gate(3, 1, 8, 0.2), "g": mf.Gate(10, 0, 1), "o": mf.Gate(0, 0, 4, 1)},
        )
        law = output_law(network, mf.Inputs(power=2.0, overlap=0.9))
        places = OutputOverlapMap(law)
        change = places.change(np.array([1.0]))
        assert abs(change.value[0]) < 4.0 * change.error[0]
        roots = places.roots()
        assert len(roots) == 1
        assert roots[0] < 0.5

    def test_steep_gates_do_not_make_up_fixed_points(self) -> None:
        """Short series for steep gates near an overlap of 1 tell the sign of the map badly; it has one fixed point."""
        network = mf.Network(
            "cifg_lstm", {"f": mf.Gate(6, 0, 2, 4), "g": mf.Gate(6, 0, 8, 4), "o": mf.Gate(3, 0.1, 4, 1)}
        )
        found = mf.fixed_points(network, SILENT)
        (point,) = found.overlaps
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert point.slope.value == pytest.approx(found.growth.chi.value, rel=1e-12)


class TestOrder:
    def test_results_do_not_depend_on_the_order_of_calls(self) -> None:
        def numbers() -> tuple[OverlapFixedPoint, ...]:
            return output_overlap(output_law(COUPLED, mf.Inputs(overlap=0.5)))

        pair_laws.cache_clear()
        first = numbers()
        reached(THEORY, 0.5)
        assert numbers() == first
        law = output_law(COUPLED, mf.Inputs(overlap=0.5))
        places = OutputOverlapMap(law)
        places.change(np.array([0.9, -0.9]), quick=True)
        places.slope(np.array([0.2]))
        assert output_overlap(law) == first
        pair_laws.cache_clear()
        assert output_overlap(law) == first

    def test_equal_networks_have_equal_numbers(self) -> None:
        one, other = (mf.fixed_points(mf.Network("cifg_lstm", dict(COUPLED.gates))).as_json() for _ in range(2))
        assert one == other
        assert one["memory_second_moment"]["value"] > 0.0
