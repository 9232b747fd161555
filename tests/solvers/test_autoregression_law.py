"""Stationary laws against closed forms, finer resolutions and compiled chains, and error bounds that hold."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from meanfield.cells import find
from meanfield.sampling.averages import factors, observed
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.programs import stationary_program
from meanfield.solvers.autoregression_law import StationaryLaw, stationary_law
from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    Coefficients,
    IndependentCoefficients,
    JointCoefficients,
    centred_moments,
)
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule, sigmoid_keep_rule
from meanfield.solvers.law_resolution import Resolution, resolved

Float64 = NDArray[np.float64]
Four = tuple[float, float, float, float] | NDArray[np.float64]
Cell = Callable[..., Coefficients]

# Means and deviations of the pre-activations of f, i, g, o.
GATES: dict[str, tuple[Four, Four]] = {
    "plain": ((1.0, 0.0, 0.0, 0.0), (0.6, 0.6, 0.9, 0.6)),
    "slow, small increments": ((5.0, -4.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6)),
    "slow": ((5.0, 0.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6)),
    "very slow": ((8.0, 0.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6)),
    "slowest": ((12.0, 0.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6)),
    "nearly deterministic": ((1.0, 0.0, 0.0, 0.0), (1e-3, 1e-3, 1e-3, 1e-3)),
    "nearly deterministic, off 0": ((1.0, 0.0, 0.5, 0.0), (1e-3, 1e-3, 1e-3, 1e-3)),
    "wide": ((1.0, 0.0, 0.0, 0.0), (3.0, 0.6, 0.9, 0.6)),
    "wide and slow": ((6.0, 0.0, 0.5, 0.0), (4.0, 1.0, 1.0, 1.0)),
    "saturated": ((2.0, 1.0, 0.7, 0.0), (1.0, 1.0, 1.0, 1.0)),
}
FINEST = Resolution(22, 0.85, 4.0, 0.45, 1.1, 1e-18, 20.0)


def lstm(means: Four, deviations: Four, count: int = 24) -> Coefficients:
    inward = gaussian_rule(expit, means[1], deviations[1], count=count)
    increment = inward.times(gaussian_rule(np.tanh, means[2], deviations[2], count=count), count)
    return IndependentCoefficients(sigmoid_keep_rule(means[0], deviations[0]), increment)


def janet(means: Four, deviations: Four, count: int = 24) -> Coefficients:
    target = gaussian_rule(np.tanh, means[2], deviations[2], count=count)
    return BlendedCoefficients(sigmoid_keep_rule(means[0], deviations[0]), target)


def tanh_square(c: Float64) -> Float64:
    return np.tanh(c) ** 2


def slope_square(c: Float64) -> Float64:
    return 1.0 / np.cosh(np.clip(c, -80.0, 80.0)) ** 4


def weighted_slope(c: Float64) -> Float64:
    return c**2 / np.cosh(np.clip(c, -80.0, 80.0)) ** 2


FUNCTIONS = (tanh_square, np.tanh, slope_square, weighted_slope)


def misses(law: StationaryLaw, finer: Coefficients) -> list[str]:
    """Functions whose bound does not cover the difference to a much finer resolution."""
    operator, weights = resolved(finer, centred_moments(finer, 8), 1.0, FINEST)
    found = []
    for function in FUNCTIONS:
        value, error = law.expectation(function)
        values = function(operator.nodes)
        # Weights have a rounding error of their own, also those of the reference.
        if abs(value - weights @ values) > error + 3e-15 * np.max(np.abs(values)):
            found.append(f"{function.__name__}: {value} ± {error:.1e}, {weights @ values}")
    return found


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("cell", [lstm, janet])
def test_gates(cell: Cell, name: str) -> None:
    law = stationary_law(cell(*GATES[name]))
    assert misses(law, cell(*GATES[name], count=40)) == []
    value, error = law.expectation(tanh_square)
    assert error < (2e-9 if name == "slowest" else 1e-10) * value
    for order in (1, 2, 4):
        moment, error = law.expectation(lambda c, n=order: c**n)
        assert abs(moment - law.moments.raw(order)) <= error


def test_bounds_hold_for_gates_of_any_kind() -> None:
    """Means within ± 6 and deviations from 1e-3 to 4; the bound may be missed once in a thousand."""
    rng = np.random.default_rng(2024)
    missed, relative = [], []
    for number in range(200):
        means = rng.uniform(-6.0, 6.0, 4)
        deviations = np.exp(rng.uniform(np.log(1e-3), np.log(4.0), 4)) if number % 2 else rng.uniform(1e-3, 4.0, 4)
        cell = janet if number % 4 == 3 else lstm
        law = stationary_law(cell(means, deviations))
        value, error = law.expectation(tanh_square)
        relative.append(error / value)
        missed += misses(law, cell(means, deviations, count=40))
    assert missed == []
    assert np.median(relative) < 1e-12
    assert max(relative) < 1e-7


def test_it_is_fast() -> None:
    coefficients, times = lstm(*GATES["plain"]), []
    for _ in range(5):
        started = time.perf_counter()
        stationary_law(coefficients).expectation(tanh_square)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.06


def test_chains_agree() -> None:
    """Compiled chains of the same cell, as an independent witness."""
    program = stationary_program(find("lstm"))
    names = {f"field {gate}": index for index, gate in enumerate("figo")}
    for case in ("plain", "wide", "saturated"):
        parameters = {}
        for noise, members in program.noises.items():
            index = next(names[member] for member in members if member in names)
            parameters[f"mean {noise}"] = GATES[case][0][index]
            parameters[f"deviation {noise}"] = GATES[case][1][index]
        chains = CPUChains(program, [parameters], chains=1 << 20, seed=7)
        chains.advance(100)
        sums = chains.advance(1, measure=True) / (chains.chains / chains.blocks)
        sampled = observed(program, factors(program, parameters), sums)
        law = stationary_law(lstm(*GATES[case]))
        output = gaussian_rule(expit, GATES[case][0][3], GATES[case][1][3])
        predicted = {
            "mean c": law.expectation(np.positive)[0],
            "square c": law.expectation(np.square)[0],
            "square h": law.expectation(tanh_square)[0] * output.expectation(np.square),
        }
        for name, value in predicted.items():
            scatter = np.std(sampled[name]) / np.sqrt(len(sampled[name]))
            assert abs(np.mean(sampled[name]) - value) < 4.0 * scatter, (case, name)


KEEP = KeepRule(np.array([0.6]), np.array([0.4]), np.ones(1))


def trapezoid(mean: float, deviation: float) -> Rule:
    z = np.linspace(-9.0, 9.0, 1025)
    return Rule(mean + deviation * z, np.exp(-0.5 * z**2) / np.sum(np.exp(-0.5 * z**2)))


@pytest.mark.parametrize("deviation", [1e-6, 0.1, 1.0, 2.0])
def test_a_gaussian_law(deviation: float) -> None:
    law = stationary_law(IndependentCoefficients(KEEP, trapezoid(0.2 * deviation, 0.8 * deviation)))
    mean = 0.5 * deviation
    exact = trapezoid(mean, deviation)
    for function in FUNCTIONS:
        value, error = law.expectation(function)
        assert abs(value - exact.expectation(function)) <= error <= 1e-9 * abs(value)
    points = mean + deviation * np.linspace(-5.0, 5.0, 41)
    density, error = law.density(points)
    expected = np.exp(-0.5 * ((points - mean) / deviation) ** 2) / (np.sqrt(2.0 * np.pi) * deviation)
    assert np.max(np.abs(density - expected)) <= error < 1e-6 / deviation
    assert law.density(mean + 50.0 * deviation)[0] == 0.0


def test_a_negative_coefficient() -> None:
    law = stationary_law(
        IndependentCoefficients(KeepRule(np.array([-0.8]), np.array([1.8]), np.ones(1)), trapezoid(0.0, 0.6))
    )
    value, error = law.expectation(tanh_square)
    assert abs(value - trapezoid(0.0, 1.0).expectation(tanh_square)) <= error < 1e-9


def test_the_uniform_law() -> None:
    half = KeepRule(np.array([0.5]), np.array([0.5]), np.ones(1))
    law = stationary_law(IndependentCoefficients(half, Rule(np.array([-0.5, 0.5]), np.array([0.5, 0.5]))))
    for order in range(1, 9):
        moment, error = law.expectation(lambda c, n=order: c**n)
        assert abs(moment - (1 + (-1) ** order) / 2 / (order + 1)) <= error < 1e-12
    assert law.nodes[0] >= -1.0
    assert law.nodes[-1] <= 1.0
    value, error = law.expectation(tanh_square)
    assert abs(value - (1.0 - np.tanh(1.0))) <= error < 1e-12
    # A density with steps has a bound that says so.
    density, error = law.density(0.0)
    assert abs(density - 0.5) <= error


def test_no_memory() -> None:
    """f = 0: the law of the increment."""
    increment = gaussian_rule(np.tanh, 0.3, 4.0)
    law = stationary_law(IndependentCoefficients(KeepRule(np.zeros(1), np.ones(1), np.ones(1)), increment))
    for function in FUNCTIONS:
        value, error = law.expectation(function)
        assert abs(value - increment.expectation(function)) <= error < 1e-10


def test_coefficients_that_share_a_variable() -> None:
    """The joint law of f = σ(1 + z) and its increment, also as atoms in another order."""
    z = np.linspace(-9.0, 9.0, 129)
    weights = np.exp(-0.5 * z**2) / np.sum(np.exp(-0.5 * z**2))
    columns = np.array([expit(1.0 + z), expit(-1.0 - z), expit(-1.0 - z) * np.tanh(z + 0.3), weights])
    law = stationary_law(JointCoefficients(*columns))
    value, error = law.expectation(tanh_square)
    other = stationary_law(JointCoefficients(*columns[:, ::-1])).expectation(tanh_square)[0]
    assert abs(value - other) <= error <= 1e-11 * value
    finer, finer_weights = resolved(JointCoefficients(*columns), law.moments, 1.0, FINEST)
    assert abs(value - finer_weights @ tanh_square(finer.nodes)) <= error
    independent = lstm(*GATES["plain"])
    assert isinstance(independent, IndependentCoefficients)
    fewer = IndependentCoefficients(independent.keep.compressed(20), independent.increment)
    value, error = stationary_law(fewer.atoms()).expectation(tanh_square)
    assert abs(value - stationary_law(fewer).expectation(tanh_square)[0]) <= error


def test_a_law_without_spread() -> None:
    half = KeepRule(np.array([0.5]), np.array([0.5]), np.ones(1))
    one = np.ones(1)
    laws: list[tuple[Coefficients, float]] = [
        (IndependentCoefficients(half, Rule(np.array([0.3]), one)), 0.6),
        (lstm((1.0, 0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 0.0)), 0.5 * np.tanh(0.5) / expit(-1.0)),
        (IndependentCoefficients(sigmoid_keep_rule(2.0, 1.0), Rule(np.zeros(1), one)), 0.0),
        (BlendedCoefficients(sigmoid_keep_rule(2.0, 1.0), Rule(np.array([0.7]), one)), 0.7),
    ]
    for coefficients, point in laws:
        law = stationary_law(coefficients)
        np.testing.assert_allclose(law.nodes, [point], atol=1e-15)
        value, error = law.expectation(np.tanh)
        assert abs(value - np.tanh(point)) <= error + 1e-16
        np.testing.assert_allclose(law.operator.weighted(lambda keep, release: 2.0 * np.ones_like(keep)), [[2.0]])
        with pytest.raises(ArithmeticError, match="it has no density"):
            law.density(0.0)


@pytest.mark.parametrize("deviation", [1e-12, 1e-10, 1e-9, 1e-6])
def test_almost_no_spread(deviation: float) -> None:
    law = stationary_law(lstm((1.0, 0.0, 0.5, 0.0), (deviation,) * 4))
    value, error = law.expectation(tanh_square)
    point = 0.5 * np.tanh(0.5) / expit(-1.0)
    assert abs(value - np.tanh(point) ** 2) <= error + deviation**2
    assert error < 1e-12


def test_steps_that_a_function_can_tell_apart() -> None:
    """Increments of ± 10 smooth nothing: panels stay narrow everywhere, or the law is refused."""
    coin = Rule(np.array([-10.0, 10.0]), np.array([0.5, 0.5]))

    def law(keep: float) -> StationaryLaw:
        return stationary_law(
            IndependentCoefficients(KeepRule(np.array([keep]), np.array([1.0 - keep]), np.ones(1)), coin)
        )

    value, error = law(0.5).expectation(tanh_square)
    assert abs(value - (1.0 - np.tanh(20.0) / 20.0)) <= error < 1e-10
    with pytest.raises(ArithmeticError, match="the limit is 2500"):
        law(0.95)


def test_what_is_refused() -> None:
    increment = gaussian_rule(np.tanh, 0.0, 1.0)
    with pytest.raises(ArithmeticError, match="steps; rounding allows 1e\\+10"):
        stationary_law(IndependentCoefficients(sigmoid_keep_rule(40.0, 1.0), increment))
    with pytest.raises(ValueError, match="must add up to 1, got 2"):
        stationary_law(IndependentCoefficients(KEEP, Rule(increment.nodes, 2.0 * increment.weights)))
    with pytest.raises(ValueError, match="scale: must be positive"):
        stationary_law(IndependentCoefficients(KEEP, increment), scale=0.0)
    many = np.ones(20_000)
    with pytest.raises(ArithmeticError, match="20000 joint atoms"):
        stationary_law(JointCoefficients(0.5 * many, 0.5 * many, np.linspace(-1.0, 1.0, 20_000), many / 20_000))
