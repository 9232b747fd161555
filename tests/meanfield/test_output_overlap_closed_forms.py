"""Overlaps of LSTMs and their growth against two-dimensional sums, those of a cell without a squash entirely."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

import meanfield as mf
from meanfield.closed_overlap import OverlapFixedPoint
from meanfield.output_growth import output_growth
from meanfield.output_law import OutputLaw, output_law
from meanfield.output_overlap import OutputOverlapMap, output_overlap

Float64 = NDArray[np.float64]
Function = Callable[[Float64], Float64]


def reached(network: mf.Network, overlap: float) -> tuple[OutputLaw, OverlapFixedPoint]:
    law = output_law(network, mf.Inputs(overlap=overlap))
    (point,) = (each for each in output_overlap(law) if each.reached)
    return law, point


def slope_of_gate(u: Float64) -> Float64:
    return np.asarray(expit(u) * expit(-u))


def shared(left: Function, right: Function, mean: float, deviation: float, correlation: float) -> float:
    """E φ(u_a) χ(u_b) of normal variables with equal laws, on a grid of both deviates."""
    nodes = np.linspace(-9.0, 9.0, 181)
    weights = np.exp(-0.5 * nodes**2)
    weights /= np.sum(weights)
    other = correlation * nodes[:, None] + math.sqrt(max(1.0 - correlation**2, 0.0)) * nodes
    return float((left(mean + deviation * nodes) * weights) @ (right(mean + deviation * other) @ weights))


class LinearPair:
    """E c_a c_b, E h_a h_b and their growth at a law's deviations, by sums."""

    def __init__(self, law: OutputLaw, overlap: float) -> None:
        self.law, self.overlap, self.gates = law, overlap, law.network.gates

    def average(self, name: str, product: float, left: Function, right: Function) -> float:
        own = self.gates[name]
        deviation = self.law.parameters[f"deviation drive {name} + field {name}"]
        covariance = own.recurrent_gain**2 * product + own.input_gain**2 * self.overlap + own.bias_std**2
        return shared(left, right, own.bias_mean, deviation, covariance / deviation**2)

    def memory(self, product: float) -> float:
        f, ff = (self.average("f", product, expit, other) for other in (np.ones_like, expit))
        x, xx = (
            self.average("i", product, expit, i) * self.average("g", product, np.tanh, g)
            for i, g in ((np.ones_like, np.ones_like), (expit, np.tanh))
        )
        return (xx + 2.0 * f * x * x / (1.0 - f)) / (1.0 - ff)

    def image(self, product: float) -> float:
        return self.average("o", product, expit, expit) * self.memory(product)

    def growth(self, product: float) -> float:
        def pair(name: str, function: Function) -> float:
            return self.average(name, product, function, function)

        gains = {name: own.recurrent_gain**2 for name, own in self.gates.items()}
        memory, kept, opened = self.memory(product), pair("f", expit), pair("o", expit)
        fed = gains["f"] * pair("f", slope_of_gate) * memory
        fed += gains["i"] * pair("i", slope_of_gate) * pair("g", np.tanh)
        fed += gains["g"] * pair("g", lambda u: np.cosh(u) ** -2.0) * pair("i", expit)
        passed = gains["o"] * pair("o", slope_of_gate) * memory
        rates = np.linalg.eigvals(np.array([[kept, fed], [opened * kept, opened * fed + passed]]))
        return float(rates[np.argmax(np.abs(rates))].real)


class TestClosedForms:
    @pytest.mark.parametrize("overlap", [-1.0, 0.3, 0.9])
    def test_a_cell_without_a_squash(self, linear: mf.Network, overlap: float) -> None:
        """Fixed point, static slope and growth by two-dimensional sums."""
        law = output_law(linear, mf.Inputs(overlap=overlap))
        (point,) = output_overlap(law)
        exact = LinearPair(law, overlap)
        product = brentq(lambda p: exact.image(p) - p, -law.second_moment.value, law.second_moment.value, xtol=1e-15)
        assert abs(point.product.value - product) <= point.product.error + 1e-13
        assert abs(point.slope.value - exact.growth(product)) <= point.slope.error + 1e-12
        static = OutputOverlapMap(law).slope(np.array([point.overlap.value])).slope
        step = 1e-5 * law.second_moment.value
        slope = (exact.image(product + step) - exact.image(product - step)) / (2.0 * step)
        assert abs(static.value[0] - slope) < 1e-7
        assert point.slope.error < 1e-9

    def test_no_recurrence(self) -> None:
        """The memory's own rate E f_a f_b is all there is of a perturbation."""
        network = mf.Network("lstm", {name: mf.Gate(0, 0.8, 0.3, 0.2) for name in "ifgo"})
        _, point = reached(network, 0.4)
        deviation = math.hypot(0.8, 0.2)
        kept = shared(expit, expit, 0.3, deviation, (0.64 * 0.4 + 0.04) / deviation**2)
        assert abs(point.slope.value - kept) <= point.slope.error + 1e-14

    def test_an_output_gate_that_feeds_itself_alone(self) -> None:
        """Either the memory's rate or what the gate passes on, E o'_a o'_b E ψ_a ψ_b σ_o², whichever is larger."""
        for gain, by_gate in ((0.1, False), (3.0, True)):
            network = mf.Network(
                "lstm",
                {"i": mf.Gate(0, 0, 2), "f": mf.Gate(0, 0.1, -3), "g": mf.Gate(0, 0, 2), "o": mf.Gate(gain, 0.5, 1)},
            )
            law, point = reached(network, 0.9)
            mean, deviation = (law.parameters[f"{word} drive o + field o"] for word in ("mean", "deviation"))
            correlation = (gain**2 * point.product.value + 0.9 * 0.25) / deviation**2
            slopes = shared(slope_of_gate, slope_of_gate, mean, deviation, correlation)
            opened = shared(expit, expit, mean, deviation, correlation)
            passed = gain**2 * slopes * point.product.value / opened
            kept = shared(expit, expit, -3.0, 0.1, 0.9)
            assert (passed > kept) == by_gate
            assert abs(point.slope.value - max(passed, kept)) < 1e-9

    def test_a_gate_that_turns_the_output_over(self) -> None:
        """Opposite candidates: the output gate's slope is negative, and the larger one in size."""
        network = mf.Network(
            "lstm", {"i": mf.Gate(0), "f": mf.Gate(1e-3, 0, -4), "g": mf.Gate(0, 3), "o": mf.Gate(10, 0.3)}
        )
        law, point = reached(network, -1.0)
        mean, deviation = (law.parameters[f"{word} drive o + field o"] for word in ("mean", "deviation"))
        correlation = (100.0 * point.product.value - 0.09) / deviation**2
        opened = shared(expit, expit, mean, deviation, correlation)
        slopes = shared(slope_of_gate, slope_of_gate, mean, deviation, correlation)
        passed = 100.0 * slopes * point.product.value / opened
        assert passed < -0.1
        assert abs(point.slope.value - passed) < 1e-4
        assert point.timescale is None
        assert point.stable

    def test_opposite_sequences(self) -> None:
        """With constant gates but an odd candidate, opposite inputs lead to opposite outputs."""
        network = mf.Network(
            "lstm", {"i": mf.Gate(0, 0, 1), "f": mf.Gate(0, 0, 1), "g": mf.Gate(0.5, 1), "o": mf.Gate(0)}
        )
        _, point = reached(network, -1.0)
        assert point.overlap.value == -1.0
        assert point.overlap.error < 1e-6
        assert point.stable


class TestMemories:
    def test_the_slowest_forget_gates(self) -> None:
        """A forget bias of 12 with small increments: the growth is the memory's own, to many digits of 1 - χ."""
        usual = mf.Gate(1, 0.5, 0, 0.2)
        network = mf.Network("lstm", {"i": mf.Gate(1, 0.5, -6), "f": mf.Gate(0.1, 0.1, 12), "g": usual, "o": usual})
        law, point = reached(network, 0.5)
        mean, deviation = (law.parameters[f"{word} drive f + field f"] for word in ("mean", "deviation"))
        correlation = (0.01 * point.product.value + 0.005) / deviation**2
        release = shared(lambda u: expit(-u), np.ones_like, mean, deviation, 0.0)
        forgotten = 2.0 * release - shared(lambda u: expit(-u), lambda u: expit(-u), mean, deviation, correlation)
        # A perturbation feeds itself, but less than one at identical inputs does.
        most = output_growth(law).timescale
        assert point.timescale is not None
        assert most is not None
        assert (1.0 - 1e-6) * (1.0 / forgotten - 0.5) <= point.timescale.value <= (1.0 + 1e-6) * most.value
        assert point.timescale.error < 1e-4 * point.timescale.value
        assert 1e4 < point.timescale.value < 1e6

    def test_little_returns_to_a_wide_memory(self) -> None:
        """Where polynomials tell little, χ_C lies between what the memory keeps and χ_1."""
        network = mf.Network(
            "lstm", {"i": mf.Gate(3, 0.1, 1), "f": mf.Gate(10, 1, 0, 4), "g": mf.Gate(1, 3, 0, 4), "o": mf.Gate(0, 0.1)}
        )
        law, point = reached(network, 0.3)
        mean, deviation = (law.parameters[f"{word} drive f + field f"] for word in ("mean", "deviation"))
        correlation = (100.0 * point.product.value + 0.3 + 16.0) / deviation**2
        kept = shared(expit, expit, mean, deviation, correlation)
        chi = output_growth(law).chi
        slack = 1e-3  # for what the overlap's own error adds
        assert kept - slack <= point.slope.value - point.slope.error
        assert point.slope.value + point.slope.error <= chi.value + slack
