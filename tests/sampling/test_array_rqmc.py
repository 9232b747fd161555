"""Array-RQMC against an independent deterministic solution, closed forms and plain sampling."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from meanfield.cells import find
from meanfield.sampling import array_rqmc as module
from meanfield.sampling.array_rqmc import array_rqmc
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.programs import ChainProgram, pair_program, stationary_program

Float64 = NDArray[np.float64]
LSTM = stationary_program(find("lstm"))
LEAKY = stationary_program(find("leaky"))
UNIT = {"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}
# Means and deviations of f, i, g, o; half the width of an interval that holds the memory; panels on it.
SETS = {
    "A": ((1.0, 0.0, 0.0, 0.0), (0.6, 0.6, 0.9, 0.6), 7.0, 16),
    "B": ((5.0, -4.0, 0.0, 0.0), (0.5, 0.6, 0.9, 0.6), 2.0, 16),
    "C": ((1.0, 0.0, 0.0, 0.0), (1e-3, 1e-3, 1e-3, 1e-3), 0.01, 8),
    "D": ((1.0, 0.0, 0.0, 0.0), (3.0, 0.6, 0.9, 0.6), 24.0, 40),
}
BURN_IN, STEPS = 50, 50


def lstm_parameters(name: str) -> dict[str, float]:
    means, deviations = SETS[name][:2]
    laws = {"mean": dict(zip("figo", means, strict=True)), "deviation": dict(zip("figo", deviations, strict=True))}
    return {name: laws[name.split()[0]][name[-1]] for name in LSTM.parameters}


def column(program: ChainProgram, name: str) -> int:
    sampled = {observable.name: observable.sampled for observable in program.observables}
    return program.sampled.index(sampled[name])


def panel_operator(points: Float64, weights: Float64, half: float, panels: int, degree: int) -> Float64:
    """Rows of values at Chebyshev nodes in panels on (-half, half): averages of the interpolant at weighted points."""
    nodes = np.cos(np.pi * (np.arange(degree) + 0.5) / degree)
    found = np.zeros((len(points), panels, degree))
    rows = np.arange(len(points))
    for column, weight in zip(points.T, weights, strict=True):
        place = np.clip((column / half + 1.0) / 2.0 * panels, 0.0, panels)
        panel = np.minimum(place.astype(int), panels - 1)
        found[rows, panel] += weight * chebvander(2.0 * (place - panel) - 1.0, degree - 1)
    return (found @ np.linalg.inv(chebvander(nodes, degree - 1))).reshape(len(points), panels * degree)


def square_of_tanh(name: str, *, degree: int = 12, keep_nodes: int = 256, gain_nodes: int = 80) -> float:
    """E tanh(c)² of the LSTM's memory over the measured steps, by its transfer operator on piecewise polynomials.

    (T φ)(c) = E φ(f c + g) is applied to tanh² as often as there are steps, and read off where chains start.
    """
    means, deviations, half, panels = SETS[name]
    nodes = np.cos(np.pi * (np.arange(degree) + 0.5) / degree)
    c = (half * ((2.0 * np.arange(panels)[:, None] + nodes + 1.0) / panels - 1.0)).ravel()

    def trapezoid(count: int) -> tuple[Float64, Float64]:
        z = np.linspace(-9.0, 9.0, count + 1)
        return z, np.exp(-0.5 * z**2) / np.sum(np.exp(-0.5 * z**2))

    z, weights = trapezoid(gain_nodes)
    gain = np.outer(expit(means[1] + deviations[1] * z), np.tanh(means[2] + deviations[2] * z)).ravel()
    shift = panel_operator(np.add.outer(c, gain), np.outer(weights, weights).ravel(), half, panels, degree)
    z, weights = trapezoid(keep_nodes)
    shrink = panel_operator(np.outer(c, expit(means[0] + deviations[0] * z)), weights, half, panels, degree)
    start = panel_operator(np.zeros((1, 1)), np.ones(1), half, panels, degree)[0]
    values, total = np.tanh(c) ** 2, 0.0
    for step in range(BURN_IN + STEPS):
        values = shrink @ (shift @ values)
        total += float(start @ values) if step >= BURN_IN else 0.0
    return total / STEPS


def within(replicates: Float64, truth: float, chance: float = 1e-6) -> bool:
    error = np.std(replicates, ddof=1) / np.sqrt(len(replicates))
    return bool(abs(np.mean(replicates) - truth) < student.isf(chance / 2, len(replicates) - 1) * error)


@pytest.mark.parametrize("name", ["A", "D"])
def test_reference_does_not_depend_on_its_resolution(name: str) -> None:
    finer = square_of_tanh(name, degree=14, keep_nodes=400, gain_nodes=96)
    assert abs(square_of_tanh(name) / finer - 1.0) < 1e-9


@pytest.mark.parametrize(("name", "gain"), [("A", 300.0), ("B", 10.0), ("C", 300.0), ("D", 300.0)])
def test_mean_square_output_of_an_lstm(name: str, gain: float) -> None:
    parameters, index = lstm_parameters(name), column(LSTM, "square h")
    found = array_rqmc(LSTM, parameters, chains=2**14, burn_in=BURN_IN, steps=STEPS, seed=7)[:, index]
    assert within(found, square_of_tanh(name))
    plain = CPUChains(LSTM, [parameters], chains=2**16, seed=7)
    plain.advance(BURN_IN)
    blocks = plain.advance(STEPS, measure=True)[:, index] / (512 * STEPS)
    assert np.var(found, ddof=1) * gain < np.var(blocks, ddof=1) * 512 / 2**14


def test_leaky_cell_has_the_closed_form() -> None:
    # s after t steps is the sum of 0.3 × 0.7^k tanh(z_k) over k < t; E tanh(z)² by quadrature.
    z = np.linspace(-9.0, 9.0, 401)
    weights = np.exp(-0.5 * z**2)
    unit = float(weights @ np.tanh(z) ** 2 / np.sum(weights))
    truth = float(np.mean([0.09 * unit * (1.0 - 0.49**t) / 0.51 for t in (3, 4)]))
    found = array_rqmc(LEAKY, UNIT, chains=2**12, burn_in=2, steps=2, replicates=16, seed=3)
    assert within(found[:, column(LEAKY, "square s")], truth)
    assert within(found[:, column(LEAKY, "mean s")], 0.0)
    assert abs(np.mean(found[:, column(LEAKY, "square s")]) / truth - 1.0) < 1e-3


def test_cells_without_state_are_plain_averages() -> None:
    # E erf(z)² = (2/π) arcsin(2/3) for standard normal z; a burn-in has nothing to do.
    erf = stationary_program(find("vanilla_erf"), integrate=False)
    found = array_rqmc(erf, UNIT, chains=2**12, burn_in=10**9, steps=20, seed=1)
    assert abs(np.mean(found[:, column(erf, "square s")]) - 2.0 / np.pi * np.arcsin(2.0 / 3.0)) < 1e-6


def test_agrees_with_plain_sampling_of_steep_gates() -> None:
    program = stationary_program(find("gru_reset_after"))
    parameters = {name: 0.2 + 0.1 * k if name.startswith("mean") else 30.0 for k, name in enumerate(program.parameters)}
    found = array_rqmc(program, parameters, chains=2**12, burn_in=20, steps=20, seed=5)
    plain = CPUChains(program, [parameters], chains=2**16, seed=5)
    plain.advance(20)
    blocks = plain.advance(20, measure=True) / (512 * 20)
    error = np.sqrt(np.var(found, axis=0, ddof=1) / len(found) + np.var(blocks, axis=0, ddof=1) / len(blocks))
    assert np.all(np.abs(np.mean(found, axis=0) - np.mean(blocks, axis=0)) < 4.0 * error)


def test_scatter_of_replicates_gives_the_error() -> None:
    # Of 60 intervals that hold the truth with 95 %, 48 or fewer do in one of 10⁵ experiments.
    found = array_rqmc(LSTM, lstm_parameters("A"), chains=512, burn_in=BURN_IN, steps=STEPS, replicates=60 * 8, seed=11)
    groups = found[:, column(LSTM, "square h")].reshape(60, 8)
    truth = square_of_tanh("A")
    assert sum(within(group, truth, chance=0.05) for group in groups) > 48


def test_equal_bits_for_any_number_of_threads() -> None:
    runs = [
        array_rqmc(LSTM, lstm_parameters("A"), chains=1024, burn_in=5, steps=5, replicates=5, seed=2, threads=threads)
        for threads in (1, 2, 5, None)
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])
    other = array_rqmc(LSTM, lstm_parameters("A"), chains=1024, burn_in=5, steps=5, replicates=5, seed=3)
    assert not np.any(np.isin(other, runs[0]))
    fewer = array_rqmc(LSTM, lstm_parameters("A"), chains=1024, burn_in=5, steps=5, replicates=2, seed=2)
    np.testing.assert_array_equal(fewer, runs[0][:2])


@pytest.mark.parametrize("name", sorted(SETS))
def test_precisions_differ_by_rounding(name: str) -> None:
    # Equal shifts: what is left is the bias of single precision, far below the estimator's own error.
    squares = [
        array_rqmc(
            LSTM, lstm_parameters(name), chains=2**13, burn_in=BURN_IN, steps=STEPS, replicates=4, precision=precision
        )[:, [column(LSTM, "square c"), column(LSTM, "square h")]]
        for precision in ("single", "double")
    ]
    assert 0.0 < np.max(np.abs(squares[0] / squares[1] - 1.0)) < 2e-7


def test_what_cannot_be_sorted_is_refused() -> None:
    pair = pair_program(find("lstm"))
    with pytest.raises(ValueError, match="one state variable, and this program has several: c, other c"):
        array_rqmc(pair, dict.fromkeys(pair.parameters, 0.5), burn_in=1, steps=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chains", 1000), ("chains", 256), ("burn_in", -1), ("steps", 0), ("replicates", 0), ("seed", -1)],
)
def test_arguments_out_of_range_are_named(name: str, value: int) -> None:
    arguments = {"chains": 512, "burn_in": 1, "steps": 1} | {name: value}
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        array_rqmc(LEAKY, UNIT, **arguments)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="deviation drive h"):
        array_rqmc(LEAKY, UNIT | {"deviation drive h + field h": -1.0}, burn_in=1, steps=1)


def test_too_many_chains_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_bytes", lambda: 10**9)
    with pytest.raises(MemoryError, match="take fewer"):
        array_rqmc(LEAKY, UNIT, chains=2**28, burn_in=1, steps=1)
