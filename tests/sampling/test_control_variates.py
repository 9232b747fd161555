"""Control variates: unbiased, with honest errors, and far less variance than plain sampling."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from meanfield.cells import find
from meanfield.sampling.array_rqmc import array_rqmc
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.control_variates import (
    control_coefficients,
    controlled_means,
    memory_powers,
    with_memory_powers,
)
from meanfield.sampling.expressions import evaluate
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.programs import pair_program, stationary_program

Float64 = NDArray[np.float64]
PLAIN = stationary_program(find("lstm"))
PROGRAM = with_memory_powers(PLAIN)
CONTROLS = [PROGRAM.sampled.index(power) for power in memory_powers(PROGRAM)]
TARGET = PROGRAM.sampled.index(next(each.sampled for each in PLAIN.observables if each.name == "square h"))
BURN_IN, STEPS = 50, 50
# Means and deviations of f, i, g, o, and E tanh(c)² over these steps from the transfer operator of test_array_rqmc.py.
SETS = {
    "A": ((1.0, 0.0, 0.0, 0.0), (0.6, 0.6, 0.9, 0.6), 0.150286979183),
    "B": ((5.0, -4.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6), 0.00988998686846),
    "C": ((1.0, 0.0, 0.0, 0.0), (1e-3, 1e-3, 1e-3, 1e-3), 5.36993830285e-07),
    "D": ((1.0, 0.0, 0.0, 0.0), (3.0, 0.6, 0.9, 0.6), 0.14089012713),
}


def lstm_parameters(name: str) -> dict[str, float]:
    means, deviations, _ = SETS[name]
    laws = {"mean": dict(zip("figo", means, strict=True)), "deviation": dict(zip("figo", deviations, strict=True))}
    return {name: laws[name.split()[0]][name[-1]] for name in PROGRAM.parameters}


def expectations(name: str) -> Float64:
    return exact_memory_moments(PROGRAM, lstm_parameters(name), (2, 4, 6), window=(BURN_IN, STEPS))[0]


def blocks_of_chains(name: str, chains: int, seed: int) -> Float64:
    run = CPUChains(PROGRAM, [lstm_parameters(name)], chains=chains, seed=seed)
    run.advance(BURN_IN)
    return run.advance(STEPS, measure=True) / (512 * STEPS)


# In C what is left is rounding in single precision, which is not of mean zero: 1e-8 of the square.
@pytest.mark.parametrize(
    ("name", "gain", "bias"), [("A", 300, 0.0), ("B", 1e6, 4e-8), ("C", 1e6, 4e-8), ("D", 30, 0.0)]
)
def test_square_output_of_an_lstm(name: str, gain: float, bias: float) -> None:
    blocks = blocks_of_chains(name, chains=2**17, seed=6)
    found = controlled_means(blocks[:, [TARGET]], blocks[:, CONTROLS], expectations(name))
    truth = SETS[name][2]
    assert abs(found.means[0] - truth) < student.isf(5e-7, found.freedom) * found.errors[0] + bias * truth
    assert found.errors[0] ** 2 * gain < np.var(blocks[:, TARGET], ddof=1) / len(blocks)
    assert found.freedom == len(blocks) - 4


@pytest.mark.parametrize(("name", "gain"), [("A", 2), ("B", 1e4)])
def test_controls_serve_quasi_random_replicates_too(name: str, gain: float) -> None:
    replicates = array_rqmc(
        PROGRAM, lstm_parameters(name), chains=2**12, burn_in=BURN_IN, steps=STEPS, replicates=32, seed=8
    )
    found = controlled_means(replicates[:, [TARGET]], replicates[:, CONTROLS], expectations(name))
    truth = SETS[name][2]
    assert abs(found.means[0] - truth) < student.isf(5e-7, found.freedom) * found.errors[0] + 4e-8 * truth
    assert found.errors[0] ** 2 * gain < np.var(replicates[:, TARGET], ddof=1) / 32


def test_pilot_coefficients_serve_a_few_replicates() -> None:
    pilot = blocks_of_chains("B", chains=2**14, seed=1)
    coefficients = control_coefficients(pilot[:, [TARGET]], pilot[:, CONTROLS])
    few = array_rqmc(PROGRAM, lstm_parameters("B"), chains=2**12, burn_in=BURN_IN, steps=STEPS, replicates=2, seed=9)
    corrected = few[:, TARGET] - (few[:, CONTROLS] - expectations("B")) @ coefficients[:, 0]
    assert np.all(np.abs(corrected - SETS["B"][2]) < 0.01 * np.abs(few[:, TARGET] - SETS["B"][2]) + 1e-8)


def test_errors_cover_for_normal_blocks() -> None:
    # Few blocks, so that the degrees of freedom and the uncertainty of the coefficients count.
    random = np.random.default_rng(5)
    covered, experiments = 0, 2000
    for _ in range(experiments):
        controls = random.normal(size=(9, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.9], [0.0, 0.0, 0.3]])
        targets = controls @ np.array([[1.0], [-2.0], [0.5]]) + 0.1 * random.normal(size=(9, 1))
        found = controlled_means(targets, controls, np.zeros(3))
        covered += abs(found.means[0]) < student.isf(0.025, found.freedom) * found.errors[0]
    # Five binomial standard deviations.
    assert abs(covered / experiments - 0.95) < 5.0 * np.sqrt(0.95 * 0.05 / experiments)


def test_controls_that_say_nothing_cost_no_degree_of_freedom() -> None:
    random = np.random.default_rng(2)
    control = random.normal(size=(50, 1))
    targets = np.hstack([np.sin(control), control**2]) + 0.1 * random.normal(size=(50, 2))
    alone = controlled_means(targets, control, np.zeros(1))
    idle = controlled_means(targets, np.hstack([control, np.full((50, 1), 3.0), -2.0 * control]), np.array([0, 3.0, 0]))
    assert idle.freedom == alone.freedom == 48
    np.testing.assert_allclose(idle.means, alone.means, rtol=1e-12)
    np.testing.assert_allclose(idle.errors, alone.errors, rtol=1e-12)


def test_scales_of_controls_do_not_matter() -> None:
    random = np.random.default_rng(3)
    controls = random.normal(size=(40, 2))
    targets = controls[:, :1] + random.normal(size=(40, 1))
    scales = np.array([1e-12, 1e9])
    one = controlled_means(targets, controls, np.zeros(2))
    other = controlled_means(1e-9 * targets, scales * controls, np.zeros(2))
    np.testing.assert_allclose(other.means, 1e-9 * one.means, rtol=1e-10)
    np.testing.assert_allclose(other.errors, 1e-9 * one.errors, rtol=1e-10)


def test_powers_are_added_behind_what_is_sampled() -> None:
    assert PROGRAM.sampled[: len(PLAIN.sampled)] == PLAIN.sampled
    assert [each.name for each in PROGRAM.observables[len(PLAIN.observables) :]] == ["power 4 c", "power 6 c"]
    powers = memory_powers(PLAIN, (1, 2, 3, 5))
    values = {
        name: np.array(0.3 + 0.1 * k) for k, name in enumerate((*PLAIN.states, *PLAIN.normals, *PLAIN.parameters))
    }
    c, *found = evaluate([PLAIN.updates[0], *powers], values)
    np.testing.assert_allclose(found, [c, c**2, c**3, c**5], rtol=1e-14)


def test_what_cannot_be_controlled_is_refused() -> None:
    with pytest.raises(ValueError, match="carries c, other c"):
        with_memory_powers(pair_program(find("lstm")))
    with pytest.raises(ValueError, match="carries none"):
        memory_powers(stationary_program(find("vanilla")))
    with pytest.raises(ValueError, match="orders"):
        memory_powers(PLAIN, (0,))
    with pytest.raises(ValueError, match="do not fit"):
        controlled_means(np.zeros((9, 1)), np.zeros((8, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="do not fit"):
        controlled_means(np.zeros((9, 1)), np.zeros((9, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="need 5 blocks, got 4"):
        control_coefficients(np.zeros((4, 1)), np.zeros((4, 2)))
