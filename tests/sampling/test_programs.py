"""Chain programs: which variables they draw, what they integrate, and what their chains average to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from numpy.typing import NDArray
from scipy.integrate import dblquad

from meanfield.cells import Cell, find, names
from meanfield.cells.cell import Array, State, Values, preactivation
from meanfield.sampling.averages import factors, integrated, observed
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.expressions import Expression, constant, ordered, symbol, symbols_of
from meanfield.sampling.programs import ChainProgram, live_variables, pair_program, stationary_program
from meanfield.solvers.linear_circuit import LinearCircuit

Float64 = NDArray[np.float64]

# The fields and drives behind every Gaussian variable of each cell.
NOISES = {
    "vanilla": {"drive h + field h"},
    "vanilla_erf": {"drive h + field h"},
    "vanilla_relu": {"drive h + field h"},
    "leaky": {"drive h + field h"},
    "minimal": {"drive f + field embedding + field state", "drive z"},
    "gru": {"drive f + field f", "drive r + field r", "drive h + field h"},
    "gru_reset_after": {"drive f + field f", "drive r + field r", "drive h", "field h"},
    "peephole_lstm": {"drive i + field i", "drive f + field f", "drive g + field g"},
    "lstm": {"drive i + field i", "drive f + field f", "drive g + field g", "drive o + field o"},
    "cifg_lstm": {"drive f + field f", "drive g + field g", "drive o + field o"},
    "janet": {"drive f + field f", "drive g + field g"},
}
# What a chain carries on, and how many deviates it draws for that and for what is averaged.
CARRIED = {
    "vanilla": ((), 0),
    "vanilla_erf": ((), 0),
    "vanilla_relu": ((), 0),
    "leaky": (("s",), 1),
    "minimal": (("s",), 2),
    "gru": (("s",), 2),
    "gru_reset_after": (("s",), 4),
    "peephole_lstm": (("c",), 3),
    "lstm": (("c",), 3),
    "cifg_lstm": (("c",), 2),
    "janet": (("c",), 2),
}
LSTM = {"i": (0.2, 0.7), "f": (1.0, 0.6), "g": (0.3, 0.9), "o": (-0.5, 1.3)}
GRU = {"f": (0.5, 0.8), "r": (-0.7, 1.4), "h": (0.4, 1.2)}


def law(
    program: ChainProgram, gates: Mapping[str, tuple[float, float]], correlation: float | None = None
) -> dict[str, float]:
    """Means and deviations by gate as parameters of a program, and the same correlation for all variables of a pair."""
    found = {}
    for name, members in program.noises.items():
        found[f"mean {name}"], found[f"deviation {name}"] = gates[members[0].split(" ")[1]]
        if correlation is not None:
            found[f"correlation {name}"] = correlation
            found[f"residue {name}"] = math.sqrt(1.0 - correlation**2)
    return found


def averages(
    program: ChainProgram, parameters: Mapping[str, float], *, seed: int, chains: int = 32768, burn_in: int = 40
) -> dict[str, Float64]:
    """Block averages of all observables over 20 steps after a burn-in."""
    run = CPUChains(program, [parameters], chains=chains, seed=seed)
    run.advance(burn_in)
    means = run.advance(20, measure=True) / (20 * 512)
    return observed(program, factors(program, parameters), means)


def distance(one: Float64, other: Float64 | float) -> float:
    """How far two averages of independent blocks are apart, in joint standard errors."""
    errors = [np.std(each, ddof=1) / np.sqrt(len(each)) for each in (one, other) if isinstance(each, np.ndarray)]
    return float(abs(np.mean(one) - np.mean(other)) / max(math.hypot(*errors), 1e-15))


def observable(program: ChainProgram, name: str) -> Any:
    (found,) = (each for each in program.observables if each.name == name)
    return found


def sigmoid(u: Any) -> Any:
    return 1 / (1 + mp.exp(-u))


def expected_power(mean: float, deviation: float, power: int) -> float:
    """E[σ(mean + deviation z)^power] to 20 digits."""
    with mp.workdps(30):
        pieces = [-12, -6, -3, -1, 0, 1, 3, 6, 12]
        value = mp.quad(lambda z: sigmoid(mean + deviation * z) ** power * mp.npdf(z), pieces)
    return float(value)


@pytest.mark.parametrize("name", names())
def test_fields_and_drives_that_are_read_as_a_sum_are_one_variable(name: str) -> None:
    cell = find(name)
    for program in (stationary_program(cell), pair_program(cell)):
        assert set(program.noises) == NOISES[name]
        for noise, members in program.noises.items():
            assert noise == " + ".join(members)
        assert sorted(each for members in program.noises.values() for each in members) == sorted(
            {f"drive {gate}" for gate in cell.gates} | {f"field {field.name}" for field in cell.fields}
        )


@pytest.mark.parametrize("name", names())
def test_chains_carry_and_draw_no_more_than_they_need(name: str) -> None:
    cell = find(name)
    states, normals = CARRIED[name]
    program, pair = stationary_program(cell), pair_program(cell)
    assert (program.states, len(program.normals)) == (states, normals)
    # What has a kink is not integrated over two deviates.
    drawn = 2 if name == "vanilla_relu" else 2 * normals
    assert (pair.states, len(pair.normals)) == ((*states, *(f"other {state}" for state in states)), drawn)
    for each in (program, pair):
        read = symbols_of([*each.updates, *each.sampled])
        assert read <= {*each.states, *each.normals, *each.parameters}
        assert set(each.normals) <= read
        assert {observed.name for observed in each.observables} >= {f"mean {state}" for state in cell.states}
        assert set(each.parameters) == {
            f"{word} {noise}"
            for noise in each.noises
            for word in (("mean", "deviation") if each is program else ("mean", "deviation", "correlation", "residue"))
        }


def test_observables_name_the_states_and_the_carriers_beside_them() -> None:
    assert stationary_program(find("lstm")).carriers == ("h",)
    assert stationary_program(find("gru")).carriers == ("s", "carrier 1")
    assert stationary_program(find("minimal")).carriers == ("s", "carrier 1")
    single = [each.name for each in stationary_program(find("gru")).observables]
    assert single == ["mean s", "square s", "square carrier 1", "keep square"]
    pair = {each.name for each in pair_program(find("gru")).observables}
    assert pair == {"mean s", "square s", "product s", "product carrier 1"}


def test_live_variables_are_those_that_later_steps_read() -> None:
    a, b, c = symbol("a"), symbol("b"), symbol("c")
    updates = {"a": a + b, "b": c, "c": constant(1.0) * c, "d": a * a, "e": symbol("e") + 1.0}
    assert live_variables(updates, [a]) == ["a", "b", "c"]
    assert live_variables(updates, [c]) == ["c"]
    assert live_variables(updates, [symbol("d")]) == ["a", "b", "c", "d"]
    assert live_variables(updates, []) == []


def test_without_integration_every_deviate_is_drawn() -> None:
    program = stationary_program(find("lstm"), integrate=False)
    assert len(program.normals) == 4
    assert all(each.factor is constant(1.0) for each in program.observables if each.name != "keep square")
    assert len(pair_program(find("gru"), integrate=False).normals) == 6


@pytest.mark.parametrize(("mean", "deviation"), [(-0.5, 1.3), (3.0, 0.0), (0.0, 12.0), (40.0, 15.0), (-20.0, 4.0)])
def test_factors_of_the_output_gate_are_its_exact_moments(mean: float, deviation: float) -> None:
    program = stationary_program(find("lstm"))
    parameters = law(program, LSTM | {"o": (mean, deviation), "f": (mean, deviation)})
    found = dict(zip((each.name for each in program.observables), factors(program, parameters), strict=True))
    assert found["mean c"] == found["square c"] == 1.0
    first, second = (expected_power(mean, deviation, power) for power in (1, 2))
    np.testing.assert_allclose(found["mean h"], first, rtol=1e-11)
    np.testing.assert_allclose(found["square h"], second, rtol=1e-11)
    np.testing.assert_allclose(found["keep square"], second, rtol=1e-11)


def test_factors_of_the_reset_gate_are_its_exact_moments() -> None:
    program = stationary_program(find("gru"))
    found = factors(program, law(program, GRU))
    index = [each.name for each in program.observables].index("square carrier 1")
    np.testing.assert_allclose(found[index], expected_power(*GRU["r"], 2), rtol=1e-12)
    assert program.observables[index].sampled is symbol("s") * symbol("s")


def test_moments_of_a_cell_without_memory_are_exact() -> None:
    program = stationary_program(find("vanilla"))
    parameters = law(program, {"h": (0.3, 1.7)})
    found = observed(program, factors(program, parameters), np.empty((4, 0)))
    with mp.workdps(25):
        for power, name in ((1, "mean s"), (2, "square s")):
            expected = mp.quad(lambda z, n=power: mp.tanh(0.3 + 1.7 * z) ** n * mp.npdf(z), [-12, -2, 0, 2, 12])
            np.testing.assert_allclose(found[name], np.full(4, float(expected)), rtol=1e-12)
    np.testing.assert_array_equal(found["keep square"], 0.0)


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.4, 0.999])
def test_factors_of_a_pair_are_integrals_over_two_deviates(correlation: float) -> None:
    """E[σ(u) σ(u')] of correlated u and u', by SciPy's adaptive quadrature."""
    program = pair_program(find("lstm"))
    parameters = law(program, LSTM, correlation)
    each = observable(program, "product h")
    mean, deviation = LSTM["o"]
    residue = math.sqrt(1.0 - correlation**2)

    def integrand(x: float, y: float) -> float:
        first = 1.0 / (1.0 + math.exp(-mean - deviation * x))
        second = 1.0 / (1.0 + math.exp(-mean - deviation * (correlation * x + residue * y)))
        return first * second * math.exp(-0.5 * (x * x + y * y)) / (2.0 * math.pi)

    expected = dblquad(integrand, -8.5, 8.5, -8.5, 8.5, epsabs=1e-12, epsrel=1e-10)[0]
    np.testing.assert_allclose(integrated(each.factor, parameters), expected, rtol=1e-9)


def test_formulas_without_deviates_are_their_values() -> None:
    assert integrated(constant(3.0), {}) == 3.0
    assert integrated(symbol("mean a") * 2.0, {"mean a": 4.0}) == 8.0


def test_what_the_chain_reads_is_not_integrated() -> None:
    """The keep gate's deviate acts on the memory, so no factor of an observable may read it."""
    for program in (stationary_program(find("lstm")), pair_program(find("lstm")), stationary_program(find("gru"))):
        for each in program.observables:
            if each.name == "keep square":
                continue
            own = {name for name in symbols_of([each.factor]) if "normal " in name}
            assert own.isdisjoint(symbols_of([*program.updates, each.sampled]))


@pytest.mark.parametrize(("name", "gates"), [("lstm", LSTM), ("gru", GRU)])
def test_integration_changes_no_average(name: str, gates: Mapping[str, tuple[float, float]]) -> None:
    cell = find(name)
    for make, correlation in ((stationary_program, None), (pair_program, 0.6)):
        exact, sampled = (
            averages(program, law(program, gates, correlation), seed=11 + index)
            for index, program in enumerate((make(cell, integrate=True), make(cell, integrate=False)))
        )
        assert exact.keys() == sampled.keys()
        for key in exact:
            assert distance(exact[key], sampled[key]) < 4.0, key
        if correlation is None and name == "lstm":
            assert np.std(exact["square h"]) < 0.8 * np.std(sampled["square h"])


@pytest.mark.parametrize(("name", "gates"), [("lstm", LSTM), ("gru", GRU)])
def test_pairs_of_identical_deviates_stay_together(name: str, gates: Mapping[str, tuple[float, float]]) -> None:
    program = pair_program(find(name))
    parameters = law(program, gates, 1.0)
    run = CPUChains(program, [parameters], chains=1024, seed=3)
    means = run.advance(20, measure=True) / (20 * 512)
    np.testing.assert_array_equal(run.states[0], run.states[1])
    found = observed(program, factors(program, parameters), means)
    for carrier in program.carriers:
        if f"square {carrier}" in found:
            np.testing.assert_allclose(found[f"product {carrier}"], found[f"square {carrier}"], rtol=1e-6)


@pytest.mark.parametrize(("name", "gates"), [("lstm", LSTM), ("gru", GRU)])
def test_pairs_of_independent_deviates_are_independent(name: str, gates: Mapping[str, tuple[float, float]]) -> None:
    program = pair_program(find(name))
    found = averages(program, law(program, gates, 0.0), seed=4)
    for state in find(name).states:
        # The mean's own error enters its square twice.
        assert distance(found[f"product {state}"] - 2.0 * np.mean(found[f"mean {state}"]) * found[f"mean {state}"],
                        -(float(np.mean(found[f"mean {state}"])) ** 2)) < 4.0  # fmt: skip
        assert np.mean(found[f"mean {state}"]) ** 2 < 0.5 * np.mean(found[f"square {state}"])


def test_either_chain_of_a_pair_has_the_law_of_a_single_one() -> None:
    cell = find("lstm")
    single, pair = stationary_program(cell), pair_program(cell)
    alone = averages(single, law(single, LSTM), seed=5)
    together = averages(pair, law(pair, LSTM, -0.5), seed=6)
    for key in ("mean c", "square c", "mean h", "square h"):
        assert distance(alone[key], together[key]) < 4.0, key


def test_a_keep_gate_that_reads_the_state_is_sampled() -> None:
    """A cell whose memory's direct path depends on the memory itself."""

    class Squashed(Cell):
        name, gates, keep_gate = "squashed", ("h",), None

        def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
            return (np.tanh(0.5 * state[0] + preactivation("h", fields, drives)),)

        def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
            slope = 1.0 - np.square(np.tanh(0.5 * state[0] + preactivation("h", fields, drives)))
            return self.simple_circuit(((0.5 * slope,),), ((slope,),))

    program = stationary_program(Squashed())
    each = observable(program, "keep square")
    assert each.factor is constant(0.25)
    assert "s" in symbols_of([each.sampled])
    assert any(node.operation == "tanh" for node in ordered([each.sampled]))
    assert isinstance(each.sampled, Expression)
