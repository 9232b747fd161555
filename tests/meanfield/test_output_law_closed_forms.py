"""Second moments and gradients of LSTMs against closed forms, and those of a cell of which all moments are closed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit

import meanfield as mf
from meanfield.output_growth import output_growth
from meanfield.output_law import output_law

Float64 = NDArray[np.float64]


def normal(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def trapezoid() -> tuple[Float64, Float64]:
    points = np.linspace(-9.0, 9.0, 721)
    weights = np.exp(-0.5 * points**2)
    return points, weights / np.sum(weights)


def lstm(**gates: mf.Gate) -> mf.Network:
    """An LSTM that is moderate but for the gates that are given."""
    return mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1, 0.5, 0, 0.2)) | gates)


class TestClosedForms:
    @pytest.mark.parametrize("spread", [0.0, 0.6])
    def test_a_memory_that_forgets_at_once(self, spread: float) -> None:
        """f = 0: E h² = E o² E tanh²(i g), in two dimensions."""
        network = lstm(f=mf.Gate(1, 0.5, -50, spread), g=mf.Gate(0.0, 1.0, 0.3, 0.2), i=mf.Gate(0.0, 0.5))
        law = output_law(network)
        points, weights = trapezoid()
        i, g = expit(0.5 * points), np.tanh(0.3 + math.hypot(1.0, 0.2) * points)
        squashed = weights @ np.tanh(i[:, None] * g) ** 2 @ weights
        deviation = law.parameters["deviation drive o + field o"]
        exact = weights @ expit(deviation * points) ** 2 * squashed
        assert abs(law.second_moment.value - exact) <= law.second_moment.error + 1e-15
        assert law.second_moment.error < 1e-12

    @pytest.mark.parametrize("forget", [3.0, 8.0, 12.0, 15.0])
    def test_long_memories_become_gaussian(self, forget: float) -> None:
        """Small increments add up to a normal law, E h² = E o² E tanh²(N(0, E x²/(1 - f²))) but for 1 - f."""
        shift = 0.5 * (forget - math.log(4.0))  # so that the memory's variance is about 1 for all
        network = lstm(i=mf.Gate(0.0, 0.0, -shift), f=mf.Gate(0.0, 0.0, forget), g=mf.Gate(0, 1), o=mf.Gate(0))
        law = output_law(network)
        points, weights = trapezoid()
        release = expit(-forget)
        square = expit(-shift) ** 2 * (weights @ np.tanh(points) ** 2) / (release * (2.0 - release))
        assert abs(law.memory_second_moment.value - square) <= law.memory_second_moment.error + 1e-13
        assert law.memory_second_moment.error < 1e-7
        exact = 0.25 * (weights @ np.tanh(math.sqrt(square) * points) ** 2)
        assert abs(law.second_moment.value / exact - 1.0) < release
        chi = output_growth(law).chi
        assert abs(chi.value - (1.0 - release) ** 2) <= chi.error

    def test_saturated_candidates(self) -> None:
        """g = 1 and constant f and i: the memory is the point i/(1 - f)."""
        law = output_law(lstm(i=mf.Gate(0, 0, 0.3), f=mf.Gate(0, 0, 0.7), g=mf.Gate(0, 0, 50), o=mf.Gate(0, 0, -0.2)))
        memory = expit(0.3) / expit(-0.7)
        assert abs(law.memory_mean.value / memory - 1.0) < 1e-14
        assert abs(law.mean.value / (expit(-0.2) * math.tanh(memory)) - 1.0) < 1e-14
        assert abs(law.second_moment.value - law.mean.value**2) < 1e-15

    def test_closed_output_gates(self) -> None:
        """An output of 1e-22 feeds nothing back: the same memory without recurrence."""
        shut = output_law(lstm(o=mf.Gate(1, 0.5, -50)))
        alone = output_law(mf.Network("lstm", {**dict.fromkeys("ifg", mf.Gate(0, 0.5, 0, 0.2)), "o": mf.Gate(0, 0.5)}))
        assert abs(shut.memory_second_moment.value / alone.memory_second_moment.value - 1.0) < 1e-12
        # o = exp(u) there, of u ~ N(-50, 1/4) but for what Q adds.
        squashed = alone.second_moment.value / quad(lambda z: normal(z) * expit(0.5 * z) ** 2, -10, 10)[0]
        np.testing.assert_allclose(shut.second_moment.value, math.exp(-100.0 + 0.5) * squashed, rtol=1e-9)


def test_a_cell_without_a_squash_is_closed(linear: mf.Network) -> None:
    points, weights = trapezoid()

    def average(name: str, square: float, function: Callable[[Float64], Float64]) -> float:
        law = linear.gates[name]
        deviation = math.sqrt(law.recurrent_gain**2 * square + law.input_gain**2 + law.bias_std**2)
        return float(weights @ function(law.bias_mean + deviation * points))

    def memory(square: float) -> tuple[float, float]:
        f, f2, i, i2 = (average(name, square, lambda u, n=n: expit(u) ** n) for name in "fi" for n in (1, 2))
        g, g2 = (average("g", square, lambda u, n=n: np.tanh(u) ** n) for n in (1, 2))
        mean = i * g / (1.0 - f)
        return mean, (i2 * g2 + 2.0 * f * i * g * mean) / (1.0 - f2)

    def image(square: float) -> float:
        return average("o", square, lambda u: expit(u) ** 2) * memory(square)[1]

    law = output_law(linear)
    exact = brentq(lambda square: image(square) - square, 1e-3, 10.0, xtol=1e-15, rtol=1e-15)
    assert abs(law.second_moment.value - exact) <= law.second_moment.error + 1e-14
    assert abs(law.memory_second_moment.value / memory(exact)[1] - 1.0) < 1e-11
    # E[δc²] and E[δh²] are all there is of a perturbation.
    kept = average("f", exact, lambda u: expit(u) ** 2)
    gains = {name: gate.recurrent_gain**2 for name, gate in linear.gates.items()}
    slopes = {name: average(name, exact, lambda u: (expit(u) * expit(-u)) ** 2) for name in "ifo"}
    slopes["g"] = average("g", exact, lambda u: np.cosh(u) ** -4.0)
    fed = gains["f"] * slopes["f"] * memory(exact)[1]
    fed += gains["i"] * slopes["i"] * average("g", exact, lambda u: np.tanh(u) ** 2)
    fed += gains["g"] * slopes["g"] * average("i", exact, lambda u: expit(u) ** 2)
    opened = average("o", exact, lambda u: expit(u) ** 2)
    passed = gains["o"] * slopes["o"] * memory(exact)[1]
    growth = np.max(np.linalg.eigvals(np.array([[kept, fed], [opened * kept, opened * fed + passed]])).real)
    chi = output_growth(law).chi
    assert abs(chi.value - growth) <= chi.error + 1e-13
    assert chi.error < 1e-9
