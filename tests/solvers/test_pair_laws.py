"""Two copies with correlated gates against bivariate normal laws, moments solved directly, and plain simulations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from meanfield.solvers.autoregression_law import stationary_law
from meanfield.solvers.coefficient_laws import BlendedCoefficients, IndependentCoefficients
from meanfield.solvers.gate_laws import GateLaw
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule
from meanfield.solvers.normal_rules import Transition
from meanfield.solvers.pair_laws import CorrelatedPair, PairGates, PairLaws

Float64 = NDArray[np.float64]
Gate = Callable[[int], GateLaw]
Multiplier = Literal["none", "keep", "release", "factor"]


def closing(mean: float, deviation: float) -> Gate:
    """1 - f of a keep gate with a logistic sigmoid."""
    step = [Transition(0.0, math.pi)]
    return lambda count: GateLaw(lambda u: expit(-u), lambda u: -expit(u) * expit(-u), mean, deviation, step, count)


def opening(mean: float, deviation: float) -> Gate:
    step = [Transition(0.0, math.pi)]
    return lambda count: GateLaw(expit, lambda u: expit(u) * expit(-u), mean, deviation, step, count)


def candidate(mean: float, deviation: float) -> Gate:
    step = [Transition(0.0, 0.5 * math.pi)]
    return lambda count: GateLaw(np.tanh, lambda u: 1.0 / np.cosh(u) ** 2, mean, deviation, step, count)


def constant(value: float) -> Gate:
    return lambda count: GateLaw(lambda u: np.full_like(u, value), np.zeros_like, 0.0, 0.0, (), count)


def linear(deviation: float) -> Gate:
    return lambda count: GateLaw(lambda u: u, np.ones_like, 0.0, deviation, (), count)


def laws(release: Gate, factors: list[Gate], *, blended: bool = False, most: int = 24, size: float = 1.0) -> PairLaws:
    """The pair's laws with the law of a single copy from its own rules."""
    points, weights = release(1).points
    lost = release(1).value(points)
    rule = Rule([size], [1.0])
    for factor in factors:
        gate = factor(1)
        law = gaussian_rule(gate.value, gate.mean, gate.deviation, count=40)
        rule = rule.times(law, 40)
    kind = BlendedCoefficients if blended else IndependentCoefficients
    memory = stationary_law(kind(KeepRule(1.0 - lost, lost, weights), rule))
    return PairLaws(PairGates(release, factors, size, blended), memory, most, 14.0)


LSTM = laws(closing(1.0, 0.8), [opening(-0.3, 0.9), candidate(0.4, 1.0)])
COUPLED = laws(closing(1.0, 0.8), [candidate(0.4, 1.0)], blended=True)
BOTH = pytest.mark.parametrize("law", [LSTM, COUPLED], ids=["independent", "blended"])
RELEASE, FACTORS = 0.6, (0.3, 0.8)  # correlations of the gates' variables


def factors_of(law: PairLaws) -> tuple[float, ...]:
    return FACTORS[-len(law.gates.factors) :]


def pair_of(law: PairLaws) -> CorrelatedPair:
    return law.at(RELEASE, factors_of(law))


class TestGaussianMemories:
    @pytest.mark.parametrize("release", [1.0, 0.4, 1e-3, 1e-6])
    @pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.7, 0.999, 1.0])
    def test_a_bivariate_normal_law(self, release: float, correlation: float) -> None:
        """c ← f c + u with constant f: copies have the correlation r of u, and M_jk = r^j δ_jk (Mehler)."""
        found = laws(constant(release), [linear(0.5)], most=16).at(1.0, (correlation,)).stationary
        np.testing.assert_allclose(found, np.diag(correlation ** np.arange(len(found))), atol=1e-10)

    def test_perturbations_that_do_not_depend_on_the_memory(self) -> None:
        """v ← f² v + gain with constant f: E v p_j p_k = gain/(χ - f²) M_jk at a growth χ."""
        law = laws(constant(0.4), [linear(0.5)], most=10)
        pair = law.at(1.0, (0.7,))
        source = pair.source(0.0, [3.0])
        modes = np.diag(0.7 ** np.arange(len(source)))
        np.testing.assert_allclose(source, 3.0 * modes, atol=1e-10)
        for chi in (0.5, 0.9, 1.2):
            np.testing.assert_allclose(pair.kept.resolved(source, 1.0 - chi), 3.0 / (chi - 0.36) * modes, atol=1e-9)

    def test_size_is_a_factor_of_the_increment(self) -> None:
        one, other = (laws(closing(1.0, 0.8), [candidate(0.0, 1.0)], size=size) for size in (1.0, -0.3))
        assert abs(other.memory.moments.deviation / one.memory.moments.deviation - 0.3) < 1e-12
        pairs = [law.at(0.5, (0.5,)) for law in (one, other)]
        np.testing.assert_allclose(pairs[0].stationary[:6, :6], pairs[1].stationary[:6, :6], atol=1e-9)
        sources = [pair.source(0.0, [1.0])[0, 0] for pair in pairs]
        np.testing.assert_allclose(sources[1], 0.09 * sources[0], rtol=1e-9)


class TestAgainstMoments:
    """General gates against the closed equations of the mixed moments of two copies, in plain powers."""

    @BOTH
    def test_stationary_moments(self, law: PairLaws) -> None:
        expected = in_polynomials(law, stationary_powers(law, 4))
        found = pair_of(law).stationary
        np.testing.assert_allclose(found[:5, :5], expected, atol=1e-10)
        np.testing.assert_allclose(found, found.T, atol=1e-12)
        assert abs(found[1, 1]) > 0.1

    @BOTH
    @pytest.mark.parametrize("chi", [0.75, 0.999, 1.4])
    def test_perturbations(self, law: PairLaws, chi: float) -> None:
        """E v p_j p_k at a growth χ of v ← f_a f_b v + Σ gains (∂c/∂u)_a (∂c/∂u)_b."""
        pair, degree = pair_of(law), 2
        gains = (2.0, (0.7, 1.3)[-len(law.gates.factors) :])
        old = stationary_powers(law, degree + 1)
        source = gains[0] * np.einsum("iklm,lm->ik", step_of_powers(law, degree, "release"), old)
        for index, gain in enumerate(gains[1]):
            source = source + gain * np.einsum("iklm,lm->ik", step_of_powers(law, degree, "factor", index), old)
        found = pair.source(*gains)
        np.testing.assert_allclose(found[:3, :3], in_polynomials(law, source), rtol=1e-7, atol=1e-9)
        kept = step_of_powers(law, degree, "keep")[:, :, : degree + 1, : degree + 1].reshape(9, 9)
        expected = np.linalg.solve(chi * np.eye(9) - kept, source.ravel()).reshape(3, 3)
        resolved = pair.kept.resolved(found, 1.0 - chi)[:3, :3]
        np.testing.assert_allclose(resolved, in_polynomials(law, expected), rtol=1e-7, atol=1e-9)

    @BOTH
    def test_what_is_resolved_solves_its_equation(self, law: PairLaws) -> None:
        pair = pair_of(law)
        source = pair.source(1.0, (1.0, 1.0)[-len(law.gates.factors) :])
        found = pair.kept.resolved(source, 0.1)
        np.testing.assert_allclose(0.9 * found, source + pair.kept(found), atol=1e-9 * np.max(np.abs(found)))
        keep = step_of_powers(law, 0, "keep")[0, 0, 0, 0]
        np.testing.assert_allclose(1.0 - pair.kept.forgotten[0, 0], keep, rtol=1e-10)

    def test_only_a_step_is_resolved(self) -> None:
        pair = pair_of(LSTM)
        form = type(pair.kept)(pair.kept.strengths, pair.kept.matrices, about_one=False)
        with pytest.raises(ValueError, match="only the form of a step"):
            form.resolved(None)


def in_polynomials(law: PairLaws, powers: Float64) -> Float64:
    """E p_j p_k from moments of powers of z = (c - mean)/deviation."""
    count, moments = len(powers), law.memory.moments
    points = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    values = law.steps.polynomials.values(moments.mean + moments.deviation * points)[:count]
    table = np.linalg.solve(np.vander(points, count, increasing=True), values.T).T
    return np.asarray(table @ powers @ table.T)


def stationary_powers(law: PairLaws, degree: int) -> Float64:
    """E z_a^i z_b^k of the stationary pair, by one linear system."""
    count = (degree + 1) ** 2
    matrix = np.eye(count) - step_of_powers(law, degree, "none")[:, :, : degree + 1, : degree + 1].reshape(count, count)
    matrix[0, 0] = 1.0  # E 1 = 1 in place of an equation that says nothing
    return np.linalg.solve(matrix, np.eye(count)[0]).reshape(degree + 1, degree + 1)


def step_of_powers(law: PairLaws, degree: int, multiplier: Multiplier, index: int = -1) -> Float64:
    """E of m_a m_b z_a'^i z_b'^k given the old z_a and z_b, as a table over their powers, (i, k, l, m).

    The multiplier m is 1, f, or the derivative of c in the variable of f or of a factor.
    """
    terms = [monomials(law, power, multiplier) for power in range(degree + 1)]
    top = degree + 1
    release, factors = law.gates.release(1), [factor(1) for factor in law.gates.factors]

    def functions(gate: GateLaw, kind: str) -> list[Callable[[Float64], Float64]]:
        if kind == "value":
            return [lambda u, n=n: gate.value(u) ** n for n in range(top + 1)]  # type: ignore[misc]
        if kind == "times slope":
            return [lambda u, n=n: gate.value(u) ** n * gate.slope(u) for n in range(top + 1)]  # type: ignore[misc]
        # The derivative stands for one power of the value.
        return [lambda u, n=n: gate.value(u) ** max(n - 1, 0) * gate.slope(u) for n in range(top + 1)]  # type: ignore[misc]

    of_release = shared(release, RELEASE, functions(release, "times slope" if multiplier == "release" else "value"))
    of_product = np.ones((top + 1, top + 1))
    for position, (factor, correlation) in enumerate(zip(factors, factors_of(law), strict=True)):
        kind = "for a value" if position == index else "value"
        of_product = of_product * shared(factor, correlation, functions(factor, kind))
    found = np.zeros((degree + 1, degree + 1, degree + 2, degree + 2))
    for i, left in enumerate(terms):
        for k, right in enumerate(terms):
            for (r, x, z), one in left.items():
                for (s, y, w), other in right.items():
                    found[i, k, z, w] += one * other * of_release[r, s] * of_product[x, y]
    return found


def monomials(law: PairLaws, power: int, multiplier: Multiplier) -> dict[tuple[int, int, int], float]:
    """m × z'^power in powers of the release v, the product x of all factors, and z; slopes are left to averages."""
    blended, mean, deviation = law.gates.blended, law.memory.moments.mean, law.memory.moments.deviation
    step = {(0, 0, 1): 1.0, (1, 0, 1): -1.0, (1, 0, 0): -mean / deviation, (int(blended), 1, 0): 1.0 / deviation}
    found = {(0, 0, 0): 1.0}
    if multiplier == "keep":
        found = {(0, 0, 0): 1.0, (1, 0, 0): -1.0}
    elif multiplier == "release":
        found = {(0, 0, 1): deviation, (0, 0, 0): mean, (0, 1, 0): -float(blended)}  # c, or c - t
    elif multiplier == "factor":
        found = {(int(blended), 1, 0): 1.0}
    for _ in range(power):
        following: dict[tuple[int, int, int], float] = {}
        for (r, x, z), factor in found.items():
            for (s, y, w), other in step.items():
                key = (r + s, x + y, z + w)
                following[key] = following.get(key, 0.0) + factor * other
        found = following
    return found


def shared(gate: GateLaw, correlation: float, functions: list[Callable[[Float64], Float64]]) -> Float64:
    """E φ_i(u_a) φ_k(u_b) on a grid of both deviates."""
    nodes = np.linspace(-9.0, 9.0, 181)
    weights = np.exp(-0.5 * nodes**2)
    weights /= np.sum(weights)
    other = correlation * nodes[:, None] + math.sqrt(1.0 - correlation**2) * nodes
    inner = np.array([each(gate.mean + gate.deviation * other) @ weights for each in functions])
    outer = np.array([each(gate.mean + gate.deviation * nodes) * weights for each in functions])
    return np.asarray(outer @ inner.T)


class TestAgainstChains:
    @BOTH
    def test_averages_of_functions(self, law: PairLaws) -> None:
        """E tanh(c_a) tanh(c_b), and the growth of what is fed, in two correlated chains in plain NumPy."""
        memory, perturbation = simulated(law, chains=1 << 14, burn_in=60, steps=60)
        pair = pair_of(law)
        readout, errors, left_out = law.projected(np.tanh)
        value = readout @ pair.stationary @ readout
        agrees(memory, value, 2.0 * np.sum(errors) + left_out)
        slopes, errors, left_out = law.projected(lambda c: 1.0 / np.cosh(c) ** 2)
        gains = (1.0, (1.0, 1.0)[-len(law.gates.factors) :])
        fed = slopes @ pair.kept.resolved(pair.source(*gains), 0.0) @ slopes
        agrees(perturbation, fed, 1e-5 * fed)


def agrees(samples: Float64, value: float, allowance: float) -> None:
    """Within four standard errors of the mean of independent groups."""
    error = np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert abs(np.mean(samples) - value) < 4.0 * error + allowance, (np.mean(samples), error, value)
    assert error < 0.02 * abs(value)


def simulated(law: PairLaws, *, chains: int, burn_in: int, steps: int) -> tuple[Float64, Float64]:
    """tanh(c_a) tanh(c_b), and v_ab/(cosh c_a cosh c_b)², for 32 independent groups of chains."""
    generator = np.random.default_rng(7)
    gates = [law.gates.release(1), *(factor(1) for factor in law.gates.factors)]
    memories, perturbation = np.zeros((2, 32, chains // 32)), np.zeros((32, chains // 32))
    found = []
    for step in range(burn_in + steps):
        values, slopes = [], []
        for gate, correlation in zip(gates, (RELEASE, *factors_of(law)), strict=True):
            deviates = generator.standard_normal(memories.shape)
            deviates[1] = correlation * deviates[0] + math.sqrt(1.0 - correlation**2) * deviates[1]
            variable = gate.mean + gate.deviation * deviates
            values.append(gate.value(variable))
            slopes.append(gate.slope(variable))
        release, product = values[0], np.prod(values[1:], axis=0)
        scale = release if law.gates.blended else np.ones_like(release)
        fed = np.prod(slopes[0] * (memories - product if law.gates.blended else memories), axis=0)
        for index in range(1, len(gates)):
            others = np.prod([value for place, value in enumerate(values[1:], 1) if place != index], axis=0)
            fed = fed + np.prod(scale * slopes[index] * others, axis=0)
        perturbation = np.prod(1.0 - release, axis=0) * perturbation + fed
        memories = (1.0 - release) * memories + scale * product
        if step >= burn_in:
            readout = perturbation / np.cosh(memories[0]) ** 2 / np.cosh(memories[1]) ** 2
            found.append([np.mean(np.prod(np.tanh(memories), axis=0), axis=1), np.mean(readout, axis=1)])
    both = np.mean(found, axis=0)
    return both[0], both[1]


class TestProjections:
    @BOTH
    @pytest.mark.parametrize("function", [np.tanh, lambda c: 1.0 / np.cosh(c) ** 2, np.cos])
    def test_coefficients_are_averages_in_the_law(self, law: PairLaws, function: Callable[[Float64], Float64]) -> None:
        values, errors, left_out = law.projected(function)
        density = law.memory
        for degree in (0, 1, 2, 5):
            exact, bound = density.expectation(lambda c, d=degree: function(c) * law.steps.polynomials.values(c)[d])
            assert abs(values[degree] - exact) <= errors[degree] + bound
            assert errors[degree] < 1e-8
        whole, bound = density.expectation(lambda c: function(c) ** 2)
        assert 0.0 <= left_out < 1e-4
        assert abs(values @ values + left_out - whole) <= 2.0 * left_out + 4.0 * bound + 1e-12

    def test_polynomials_have_one_coefficient(self) -> None:
        polynomials = LSTM.steps.polynomials
        for degree in (0, 3, 8):
            values, errors, _ = LSTM.projected(lambda c, d=degree: polynomials.values(c)[d])
            np.testing.assert_allclose(values, np.eye(len(values))[degree], atol=1e-9)
            assert np.all(np.abs(values - np.eye(len(values))[degree]) <= errors + 1e-13)

    def test_narrow_laws_need_few_polynomials(self) -> None:
        assert laws(closing(1.0, 0.1), [opening(-8.0, 0.1), candidate(0.0, 1.0)]).count < 8 < LSTM.count


class TestLimits:
    @BOTH
    def test_independent_copies(self, law: PairLaws) -> None:
        found = law.at(0.0, (0.0,) * len(law.gates.factors)).stationary
        expected = np.zeros_like(found)
        expected[0, 0] = 1.0
        np.testing.assert_allclose(found, expected, atol=1e-12)

    @BOTH
    def test_copies_that_are_the_same(self, law: PairLaws) -> None:
        """M = 1 up to a degree at which the gates' rules are exact for squares."""
        found = law.at(1.0, (1.0,) * len(law.gates.factors)).stationary
        np.testing.assert_allclose(found[:8, :8], np.eye(8), atol=1e-7)

    @BOTH
    def test_a_quick_pair_is_close(self, law: PairLaws) -> None:
        quick = law.at(RELEASE, factors_of(law), quick=True)
        np.testing.assert_allclose(quick.stationary, pair_of(law).stationary, atol=1e-10)
        assert quick.unresolved < 1e-10

    def test_short_series_for_steep_gates_say_what_they_leave_out(self) -> None:
        law = laws(closing(2.0, 6.0), [candidate(8.0, 6.0)])
        quick, full = (law.at(0.9999, (0.9999,), quick=quick) for quick in (True, False))
        off = abs(quick.stationary[1, 1] - full.stationary[1, 1])
        assert 1e-6 < off <= quick.unresolved
        assert full.unresolved < 1e-9

    def test_opposite_copies(self) -> None:
        """g is odd and f the same in both copies: c_b = -c_a."""
        law = laws(constant(0.3), [constant(0.5), candidate(0.0, 1.0)])
        found = law.at(1.0, (1.0, -1.0)).stationary
        np.testing.assert_allclose(found[:8, :8], np.diag((-1.0) ** np.arange(8)), atol=1e-7)

    def test_a_memory_without_spread(self) -> None:
        law = laws(closing(1.0, 0.5), [constant(0.4)], blended=True)
        found = law.at(0.5, (1.0,))
        assert found.stationary.tolist() == [[1.0]]
        assert found.source(1.0, [0.0])[0, 0] == pytest.approx(0.0, abs=1e-15)

    def test_long_memories(self) -> None:
        """Correlated keep gates within 1e-5 of one: E (c_a - m)(c_b - m) from its own equation, digits and all."""
        law = laws(closing(12.0, 0.4), [candidate(0.3, 1.0)])
        pair = law.at(0.5, (0.7,))
        release, product = (
            shared(gate, correlation, [np.ones_like, gate.value])
            for gate, correlation in ((law.gates.release(1), 0.5), (law.gates.factors[0](1), 0.7))
        )
        mean = product[0, 1] / release[0, 1]
        # E y_a y_b of y = x - m v, which have no mean, by 1 - E f_a f_b.
        added = product[1, 1] - 2.0 * mean * product[0, 1] * release[0, 1] + mean**2 * release[1, 1]
        expected = added / (2.0 * release[0, 1] - release[1, 1])
        found = pair.stationary[1, 1] * law.memory.moments.deviation**2
        np.testing.assert_allclose(found, expected, rtol=1e-7)
