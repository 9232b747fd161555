"""Runs to the stationary law: exact moments, errors that cover them, and no run that is silently too short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom, t

from meanfield.cells import Cell, find
from meanfield.cells.cell import Array, State, Values, preactivation
from meanfield.sampling.programs import ChainProgram, stationary_program
from meanfield.sampling.stationary_run import FEWEST_BLOCKS, NotStationary, StationaryRun, run_stationary
from meanfield.solvers.linear_circuit import LinearCircuit

Float64 = NDArray[np.float64]
Gates = Mapping[str, tuple[float, float]]

PROGRAM = stationary_program(find("lstm"))
LSTM = {"i": (0.0, 0.6), "f": (1.0, 0.6), "g": (0.0, 0.9), "o": (0.0, 0.6)}
FEWEST = FEWEST_BLOCKS * 512
BLOCKS_IN_TWO_ERRORS = float(t.cdf(2.0, FEWEST_BLOCKS - 1) - t.cdf(-2.0, FEWEST_BLOCKS - 1))


def law(gates: Gates, program: ChainProgram = PROGRAM) -> dict[str, float]:
    found = {}
    for name, members in program.noises.items():
        found[f"mean {name}"], found[f"deviation {name}"] = gates[members[0].split(" ")[1]]
    return found


def run(gates: Gates, **options: Any) -> StationaryRun:
    return run_stationary(PROGRAM, law(gates), **{"chains": FEWEST, "steps": 64} | options)


def expectation(function: Any, gate: tuple[float, float]) -> float:
    """Over the normal variable, by Gauss and Hermite's rule of 180 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    return float(weights @ function(gate[0] + gate[1] * nodes)) / math.sqrt(2.0 * math.pi)


def memory_moments(gates: Gates) -> tuple[float, float]:
    """E[c] and E[c²] of c = f c_- + g' with g' = i g: E[c²] = (2 E[f] E[g'] E[c] + E[g'²])/(1 - E[f²])."""
    keep, keep_square = expectation(expit, gates["f"]), expectation(lambda u: expit(u) ** 2, gates["f"])
    new = expectation(expit, gates["i"]) * expectation(np.tanh, gates["g"])
    new_square = expectation(lambda u: expit(u) ** 2, gates["i"]) * expectation(lambda u: np.tanh(u) ** 2, gates["g"])
    mean = new / (1.0 - keep)
    return mean, (2.0 * keep * new * mean + new_square) / (1.0 - keep_square)


def estimate(values: Float64) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def pull(values: Float64, exact: float) -> float:
    """Distance from the exact value in standard errors."""
    mean, error = estimate(values)
    return (mean - exact) / error


@pytest.mark.parametrize(
    "gates",
    [
        LSTM,
        LSTM | {"g": (0.5, 0.9)},
        LSTM | {"f": (4.0, 0.5)},
        LSTM | {"f": (-3.0, 2.0)},
        LSTM | {"f": (0.0, 4.0), "i": (0.0, 4.0)},
        LSTM | {"f": (2.0, 0.0), "i": (-3.0, 3.0), "g": (-1.0, 2.0)},
    ],
)
def test_the_memory_has_its_exact_moments(gates: Gates) -> None:
    done = run(gates, chains=1 << 17, seed=1)
    mean, square = memory_moments(gates)
    assert abs(pull(done.averages["mean c"], mean)) < 4.0
    assert abs(pull(done.averages["square c"], square)) < 4.0
    assert np.all(done.averages["square h"] < expectation(lambda u: expit(u) ** 2, gates["o"]))


def test_two_standard_errors_cover_as_often_as_they_say() -> None:
    """Over 1000 seeds; the law of the number of misses is binomial, and errors from 32 blocks are Student's."""
    seeds = 1000
    mean, square = memory_moments(LSTM)
    # Of 2²² chains, with an error that is a twentieth of those below.
    output = float(np.mean(run(LSTM, chains=1 << 22, steps=16, seed=10**9).averages["square h"]))
    exact = {"mean c": mean, "square c": square, "square h": output}
    pulls = np.array(
        [
            [pull(done.averages[name], value) for name, value in exact.items()]
            for done in (run(LSTM, steps=4, seed=seed) for seed in range(seeds))
        ]
    )
    covered = np.mean(np.abs(pulls) < 2.0, axis=0)
    print("covered by two standard errors:", dict(zip(exact, covered, strict=True)))
    low, high = (binom.ppf(level, seeds, BLOCKS_IN_TWO_ERRORS) / seeds for level in (1e-5, 1.0 - 1e-5))
    assert 0.9 < low < high < 0.98
    assert np.all((low <= covered) & (covered <= high)), covered
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 4.5 / math.sqrt(seeds) + 0.05)


def bias_of_the_mean(keep: float, mean: float, done: StationaryRun) -> float:
    """What the start at zero leaves in the average of E[s] = mean (1 - keep^t) over the measured steps."""
    steps = np.arange(done.burn_in + 1, done.burn_in + done.steps + 1)
    return float(mean * np.mean(np.exp(steps * math.log(keep))))


@pytest.mark.parametrize("steps", [4, 64])
@pytest.mark.parametrize("law_of_h", [(0.0, 1.0), (0.5, 1.0), (1.0, 0.5), (1.0, 0.05), (0.5, 0.01)])
def test_the_start_of_a_leaky_unit_is_forgotten(law_of_h: tuple[float, float], steps: int) -> None:
    """The transient is known in closed form; what is left of it must be below a tenth of the standard error."""
    program = stationary_program(find("leaky"))
    done = run_stationary(program, law({"h": law_of_h}, program), chains=FEWEST, steps=steps, seed=2)
    mean = expectation(np.tanh, law_of_h)
    assert abs(bias_of_the_mean(0.7, mean, done)) <= 0.1 * estimate(done.averages["mean s"])[1]


@pytest.mark.parametrize("law_of_g", [(0.0, 0.9), (0.5, 0.9), (1.0, 0.05)])
@pytest.mark.parametrize("keep_mean", [1.0, 4.0])
def test_the_start_of_a_memory_with_a_steady_keep_gate_is_forgotten(
    keep_mean: float, law_of_g: tuple[float, float]
) -> None:
    gates = {"i": (0.0, 0.1), "f": (keep_mean, 0.0), "g": law_of_g, "o": (0.0, 0.6)}
    done = run(gates, seed=3)
    assert (
        abs(bias_of_the_mean(float(expit(keep_mean)), memory_moments(gates)[0], done))
        <= 0.1 * estimate(done.averages["mean c"])[1]
    )


def test_the_burn_in_grows_with_the_memory_and_with_the_chains() -> None:
    burn_ins = [run(LSTM | {"f": (mean, 0.0)}, steps=2).burn_in for mean in (-5.0, 0.0, 2.0, 4.0)]
    assert sorted(set(burn_ins)) == burn_ins
    # In -1/log f steps it falls by e; it has to be below a tenth of 1/√chains.
    assert burn_ins[-1] >= -math.log(10.0 * 128.0) / math.log(expit(4.0))
    assert run(LSTM, chains=1 << 19).burn_in > run(LSTM).burn_in


def test_a_burn_in_that_is_too_short_is_found_out() -> None:
    gates = LSTM | {"f": (3.0, 0.3)}
    done = run(gates, burn_in=1, seed=4)
    assert done.burn_in >= 65
    assert done.steps >= 128
    for name, exact in zip(("mean c", "square c"), memory_moments(gates), strict=True):
        assert abs(pull(done.averages[name], exact)) < 4.5


def test_no_burn_in_at_all_is_a_burn_in_too() -> None:
    gates = LSTM | {"f": (3.0, 0.3)}
    done = run(gates, burn_in=0, seed=4)
    assert done.burn_in >= 64
    assert abs(pull(done.averages["square c"], memory_moments(gates)[1])) < 4.5


def test_a_burn_in_that_is_long_enough_is_kept() -> None:
    done = run(LSTM, burn_in=50, steps=10)
    assert (done.burn_in, done.steps) == (50, 10)


def test_chains_that_keep_moving_are_refused() -> None:
    with pytest.raises(NotStationary, match=r"moments still move after \d+ steps"):
        run(LSTM | {"f": (9.0, 0.0)}, burn_in=1, steps=4)


@pytest.mark.parametrize("gate", [(60.0, 0.0), (60.0, 1.0), (30.0, 0.5)])
def test_a_keep_gate_that_never_opens_is_refused(gate: tuple[float, float]) -> None:
    with pytest.raises(NotStationary, match="does not let go of anything, so there is no stationary law; lower its"):
        run(LSTM | {"f": gate})


def test_runs_of_hours_are_refused() -> None:
    with pytest.raises(NotStationary, match="takes too long; take fewer chains, or a smaller bias mean of the keep"):
        run(LSTM | {"f": (15.0, 0.1)}, chains=1 << 20)


@pytest.mark.parametrize("mean", [-40.0, -100.0])
def test_tiny_moments_are_sampled_in_double_precision(mean: float) -> None:
    gates = LSTM | {"i": (mean, 0.6)}
    done = run(gates, seed=6)
    assert done.precision == "double"
    assert 0.0 < np.mean(done.averages["square c"]) < 1e-30
    assert abs(pull(done.averages["square c"], memory_moments(gates)[1])) < 4.0
    assert abs(pull(done.averages["mean c"], 0.0)) < 4.0


def test_moments_of_zero_are_zero() -> None:
    done = run(LSTM | {"g": (0.0, 0.0)})
    for name in ("mean c", "square c", "mean h", "square h"):
        np.testing.assert_array_equal(done.averages[name], 0.0)


def test_long_memories_are_sampled_in_double_precision() -> None:
    gates = LSTM | {"f": (7.0, 0.0)}
    done = run(gates, seed=7)
    assert done.precision == "double"
    assert done.rounding < 1e-11
    assert abs(pull(done.averages["square c"], memory_moments(gates)[1])) < 4.0
    assert run(LSTM).precision == "single"
    assert 1e-7 <= run(LSTM).rounding < 1e-6


def test_the_precision_may_be_chosen() -> None:
    one, other = (run(LSTM, precision=precision, seed=8) for precision in ("single", "double"))
    assert (one.precision, other.precision) == ("single", "double")
    for name, values in one.averages.items():
        np.testing.assert_allclose(values, other.averages[name], rtol=1e-5, atol=1e-7)


def test_results_do_not_depend_on_threads() -> None:
    runs = [run(LSTM, threads=threads, seed=9) for threads in (1, 2, 3)]
    for other in runs[1:]:
        np.testing.assert_array_equal(other.states, runs[0].states)
        for name, values in runs[0].averages.items():
            np.testing.assert_array_equal(other.averages[name], values)


def test_errors_come_from_no_fewer_than_32_blocks() -> None:
    done = run(LSTM, chains=1, steps=2)
    assert done.states.shape == (1, FEWEST)
    assert all(values.shape == (FEWEST_BLOCKS,) for values in done.averages.values())
    assert run(LSTM, chains=FEWEST + 1, steps=2).states.shape == (1, FEWEST + 512)


def test_progress_is_told_in_steps_up_to_the_last_one() -> None:
    told: list[tuple[int, int]] = []
    done = run(LSTM | {"f": (4.0, 0.0)}, progress=lambda made, most: told.append((made, most)))
    made, most = zip(*told, strict=True)
    assert list(made) == sorted(made)
    assert made[-1] == most[-1] == done.burn_in + done.steps
    assert all(each <= total for each, total in told)
    # It goes on to the end where the run turns out to be longer.
    told.clear()
    longer = run(LSTM | {"f": (3.0, 0.3)}, burn_in=1, progress=lambda made, most: told.append((made, most)))
    assert told[-1] == (longer.burn_in + longer.steps,) * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"chains": 0}, "chains: must be at least 1"), ({"steps": 1}, "steps: must be at least 2")],
)
def test_arguments_out_of_range_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(LSTM, **options)
    with pytest.raises(ValueError, match=r"deviation drive f [+] field f: must not be negative"):
        run(LSTM | {"f": (0.0, -1.0)})


class Squashed(Cell):
    """s = tanh(s_-/2 + u), whose memory's path to itself depends on the state."""

    name, gates, keep_gate = "squashed", ("h",), None

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        return (np.tanh(0.5 * state[0] + preactivation("h", fields, drives)),)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        slope = 1.0 - np.square(np.tanh(0.5 * state[0] + preactivation("h", fields, drives)))
        return self.simple_circuit(((0.5 * slope,),), ((slope,),))


def test_a_pilot_run_finds_the_memory_where_it_depends_on_the_state() -> None:
    program = stationary_program(Squashed())
    done = run_stationary(program, law({"h": (0.2, 0.5)}, program), chains=FEWEST, steps=32, seed=10)
    # The path is at most one half a step, so that even 1e-9 of the start is gone within 30 steps.
    assert 4 < done.burn_in <= 34
    random = np.random.default_rng(11)
    s, squares = np.zeros((16, 4096)), []
    for step in range(60):
        s = np.tanh(0.5 * s + 0.2 + 0.5 * random.standard_normal(s.shape))
        if step >= 28:
            squares.append(np.mean(s**2, axis=1))
    mean, error = estimate(np.mean(squares, axis=0))
    found, own = estimate(done.averages["square s"])
    assert abs(found - mean) < 4.0 * math.hypot(error, own)
