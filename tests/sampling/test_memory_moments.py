"""Exact moments of memories against quadrature with thirty digits, closed forms and plain sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import mpmath
import numpy as np
import pytest

from meanfield.cells import find
from meanfield.sampling.affine_memory import NotAffine, affine_memory
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.expressions import constant, symbol
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.programs import ChainProgram, pair_program, stationary_program

PROGRAMS = {name: stationary_program(find(name)) for name in ("lstm", "cifg_lstm", "janet", "gru", "leaky")}
LEAKY = {"mean drive h + field h": 0.3, "deviation drive h + field h": 1.5}


def laws(program: ChainProgram, **gates: tuple[float, float]) -> dict[str, float]:
    """Parameters of a program whose gates have these means and deviations; those of other gates do not matter."""
    return {name: gates.get(name[-1], (0.0, 1.0))[name.startswith("deviation")] for name in program.parameters}


Gate = Callable[[mpmath.mpf], mpmath.mpf]


def expectation(*powers: tuple[Gate, tuple[float, float], int]) -> mpmath.mpf:
    """E of a product of powers of gates that read the same deviate, by Gauss-Legendre quadrature in panels."""

    @cache
    def density(z: mpmath.mpf) -> mpmath.mpf:
        return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)

    def integrand(z: mpmath.mpf) -> mpmath.mpf:
        value = density(z)
        for gate, (mean, deviation), power in powers:
            value *= gate(mpmath.mpf(mean) + mpmath.mpf(deviation) * z) ** power
        return value

    # Steep gates turn within a fraction of a deviation of the zero of their argument.
    ends = {mpmath.mpf(k) for k in range(-12, 13, 2)}
    for _, (mean, deviation), _ in powers:
        for step in (-40, -20, -10, -5, 0, 5, 10, 20, 40):
            ends.add((step - mpmath.mpf(mean)) / mpmath.mpf(deviation))
    inside = sorted(end for end in ends if abs(end) <= 12)
    return mpmath.quad(integrand, inside, method="gauss-legendre", maxdegree=5)


@cache
def keep(u: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-u))


@cache
def rest(u: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(u))


@cache
def turn(u: mpmath.mpf) -> mpmath.mpf:
    return mpmath.tanh(u)


def reference(
    forget: tuple[float, float], new: tuple[float, float], enter: tuple[float, float] | None, highest: int
) -> list[mpmath.mpf]:
    """Moments of c ← σ(f) c + i tanh(g), i = σ(u_i) or, without ``enter``, 1 - σ(f), from order zero on."""
    moments = [mpmath.mpf(1)]
    of_new = [expectation((turn, new, power)) for power in range(highest + 1)]
    of_enter = [expectation((keep, enter, power)) for power in range(highest + 1)] if enter else []
    for n in range(1, highest + 1):
        total = mpmath.mpf(0)
        for k in range(n):
            if enter:
                gates = expectation((keep, forget, k)) * of_enter[n - k]
            else:
                gates = expectation((keep, forget, k), (rest, forget, n - k))
            total += mpmath.binomial(n, k) * gates * of_new[n - k] * moments[k]
        # Thirty digits bear the subtraction.
        moments.append(total / (1 - expectation((keep, forget, n))))
    return moments


@pytest.mark.parametrize(
    ("forget", "enter", "new", "highest"),
    [
        ((1.0, 0.6), (0.0, 0.6), (0.0, 0.9), 6),
        ((5.0, 0.5), (-4.0, 0.6), (0.4, 0.6), 4),
        ((1.0, 3.0), (2.0, 1e-3), (-0.7, 4.0), 3),
        ((12.0, 2.0), (-9.0, 3.0), (3.0, 25.0), 3),
    ],
)
def test_moments_of_gated_memories(
    forget: tuple[float, float], enter: tuple[float, float], new: tuple[float, float], highest: int
) -> None:
    orders = range(1, highest + 1)
    with mpmath.workdps(30):
        for name, entering in (("lstm", enter), ("janet", None)):
            program = PROGRAMS[name]
            expected = np.array([float(moment) for moment in reference(forget, new, entering, highest)[1:]])
            found, errors = exact_memory_moments(program, laws(program, f=forget, i=enter, g=new), orders)
            assert np.all(np.abs(found - expected) <= errors + 1e-15 * np.abs(expected))
            assert np.all(errors <= 1e-10 * expected[1] ** (np.array(orders) / 2))


def test_keep_gate_next_to_one_loses_no_digits() -> None:
    # 1 - f is 1e-13: in c ← f c + (1-f) g the mean is E g, whatever f.
    gates = {"f": (30.0, 0.5), "g": (0.4, 0.6)}
    (mean, square), errors = exact_memory_moments(PROGRAMS["janet"], laws(PROGRAMS["janet"], **gates), (1, 2))
    with mpmath.workdps(30):
        truth = float(expectation((turn, gates["g"], 1)))
        # E c² = (2 E[f(1-f)] (E g)² + E[(1-f)²] E[g²]) / E[(1-f)(1+f)]
        lost = expectation((rest, gates["f"], 1))
        squared = expectation((rest, gates["f"], 2))
        expected = 2 * (lost - squared) * truth**2 + squared * expectation((turn, gates["g"], 2))
        expected = float(expected / (2 * lost - squared))
    assert abs(mean - truth) <= errors[0] < 1e-11
    assert abs(square - expected) <= errors[1] < 1e-11


def test_averages_of_a_chain_from_zero() -> None:
    # A leaky state after t steps is the sum of 0.3 × 0.7^k x_k with independent x = tanh.
    with mpmath.workdps(30):
        law = (LEAKY["mean drive h + field h"], LEAKY["deviation drive h + field h"])
        first, second = (float(expectation((turn, law, power))) for power in (1, 2))
    squares = []
    for t in (4, 5, 6):
        mean = first * (1.0 - 0.7**t)
        squares.append(mean**2 + 0.09 * (second - first**2) * (1.0 - 0.49**t) / 0.51)
    found, errors = exact_memory_moments(PROGRAMS["leaky"], LEAKY, (1, 2), window=(3, 3))
    assert abs(found[0] - first * np.mean([1.0 - 0.7**t for t in (4, 5, 6)])) < 1e-14
    assert abs(found[1] - np.mean(squares)) <= errors[1] < 1e-13


def test_long_windows_are_stationary() -> None:
    parameters = laws(PROGRAMS["lstm"], f=(1.0, 0.6), g=(0.2, 0.9))
    stationary, errors = exact_memory_moments(PROGRAMS["lstm"], parameters)
    late, late_errors = exact_memory_moments(PROGRAMS["lstm"], parameters, window=(500, 3))
    assert np.all(np.abs(late - stationary) <= errors + late_errors)


@pytest.mark.parametrize("name", ["cifg_lstm", "gru", "lstm"])
def test_agrees_with_plain_sampling(name: str) -> None:
    program = PROGRAMS[name]
    parameters = {each: 0.4 if each.startswith("mean") else 1.3 for each in program.parameters}
    chains = CPUChains(program, [parameters], chains=2**16, seed=4)
    chains.advance(5)
    blocks = chains.advance(10, measure=True)[:, :2] / (512 * 10)
    found, _ = exact_memory_moments(program, parameters, (1, 2), window=(5, 10))
    assert np.all(np.abs(np.mean(blocks, axis=0) - found) < 4.0 * np.std(blocks, axis=0) / np.sqrt(len(blocks)))


def test_sums_of_deviates_are_merged() -> None:
    # With a reset gate that stands still, the candidate is tanh of a normal variable of known mean and variance.
    program = stationary_program(find("gru_reset_after"))
    reset = 1.0 / (1.0 + np.exp(-0.8))
    parameters = dict.fromkeys(program.parameters, 0.0) | {
        "mean drive f + field f": 1.0,
        "deviation drive f + field f": 0.7,
        "mean drive r + field r": 0.8,
        "mean drive h": 0.3,
        "deviation drive h": 0.6,
        "mean field h": -0.2,
        "deviation field h": 1.1,
    }
    assert max(len(factor.deviates) for factor in affine_memory(program).factors) == 2
    janet = laws(PROGRAMS["janet"], f=(1.0, 0.7), g=(0.3 - 0.2 * reset, float(np.hypot(0.6, 1.1 * reset))))
    found, errors = exact_memory_moments(program, parameters)
    expected, more_errors = exact_memory_moments(PROGRAMS["janet"], janet)
    assert np.all(np.abs(found - expected) <= errors + more_errors)


def with_update(update: object) -> ChainProgram:
    return replace(PROGRAMS["leaky"], updates=(update,))  # type: ignore[arg-type]


def test_what_is_not_affine_is_refused() -> None:
    s, z = symbol("s"), symbol("normal drive h + field h")
    for update in (np.tanh(s + z), s * s, z / s, np.maximum(s, z)):
        with pytest.raises(NotAffine, match="affine"):
            affine_memory(with_update(update))
    with pytest.raises(NotAffine, match="carries none"):
        affine_memory(stationary_program(find("vanilla")))
    with pytest.raises(NotAffine, match="carries c, other c"):
        affine_memory(pair_program(find("lstm")))


def test_affine_maps_are_recognised_in_any_form() -> None:
    s, z = symbol("s"), symbol("normal drive h + field h")
    kept = exact_memory_moments(with_update(0.5 * s + z), LEAKY)
    for update in (z - (-s) / 2.0, (s + 2.0 * z) * constant(0.5), s - (0.5 * s - z), -(-z - s * 0.5)):
        np.testing.assert_allclose(exact_memory_moments(with_update(update), LEAKY)[0], kept[0], rtol=1e-13, atol=1e-15)
    # An autoregression of normal variables is normal.
    variance = 1.0 / 0.75
    np.testing.assert_allclose(kept[0], [0.0, variance, 3.0 * variance**2, 15.0 * variance**3], rtol=1e-12, atol=1e-15)


def test_memories_without_moments_are_refused() -> None:
    s, z = symbol("s"), symbol("normal drive h + field h")
    with pytest.raises(ValueError, match="no stationary moment of order 1"):
        exact_memory_moments(with_update(s + z), LEAKY)
    # f = 0.8 z: E f² = 0.64 is below one, E f⁴ = 3 × 0.4096 is not.
    with pytest.raises(ValueError, match="no stationary moment of order 4"):
        exact_memory_moments(with_update((0.8 * z) * s + 1.0), LEAKY)


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="orders"):
        exact_memory_moments(PROGRAMS["leaky"], LEAKY, (0,))
    with pytest.raises(ValueError, match="window"):
        exact_memory_moments(PROGRAMS["leaky"], LEAKY, window=(3, 0))
    with pytest.raises(ValueError, match="must be finite"):
        exact_memory_moments(PROGRAMS["leaky"], LEAKY | {"mean drive h + field h": np.inf})
    three = symbol("normal a") * symbol("normal b") + np.tanh(symbol("normal c") * symbol("normal a"))
    with pytest.raises(NotImplementedError, match="2 deviates at most"):
        exact_memory_moments(with_update(0.5 * symbol("s") + three), LEAKY)
