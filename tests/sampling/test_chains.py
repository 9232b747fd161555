"""Compiled chains against a plain simulation that is fed with the same deviates, and what they must not depend on."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.cells import find
from meanfield.sampling import chains as chains_module
from meanfield.sampling.chain_source import BLOCK, DRAWS, Precision, rows_of_normals
from meanfield.sampling.chains import CPUChains, fitting_precision
from meanfield.sampling.programs import ChainProgram, stationary_program

Float64 = NDArray[np.float64]
Gates = Mapping[str, tuple[float, float]]
Loops = Callable[..., Any]

LSTM_PROGRAM = stationary_program(find("lstm"))
GRU_PROGRAM = stationary_program(find("gru"))
# Means and deviations of every gate's pre-activation.
LSTM = {"i": (0.2, 0.7), "f": (1.0, 0.6), "g": (0.3, 0.9), "o": (-0.5, 1.3)}
GRU = {"f": (0.5, 0.8), "r": (-0.7, 1.4), "h": (0.4, 1.2)}
SEED = 0x1234_5678_9ABC


def law(program: ChainProgram, gates: Gates) -> dict[str, float]:
    found = {}
    for name, members in program.noises.items():
        found[f"mean {name}"], found[f"deviation {name}"] = gates[members[0].split(" ")[1]]
    return found


def started(gates: Gates, program: ChainProgram = LSTM_PROGRAM, **options: Any) -> CPUChains:
    return CPUChains(program, [law(program, gates)], **{"chains": BLOCK, "seed": SEED} | options)


def same(one: CPUChains, other: CPUChains) -> None:
    np.testing.assert_array_equal(one.states, other.states)


def sigmoid(u: Float64) -> Float64:
    # Half an argument of tanh: another formula than the kernels have.
    return 0.5 + 0.5 * np.tanh(0.5 * u)


def deviates(loops: Loops, program: ChainProgram, chains: int, steps: int) -> Float64:
    """Normal deviates by step and by name in the program's order, (steps, normals, chains)."""
    word, single = np.uint32, np.float32
    fixed = [np.full(chains, value, word) for value in (0, SEED & 0xFFFFFFFF, SEED >> 32)]
    state = loops("random_bits", "stream", *[word] * 4)(np.arange(chains, dtype=np.uint64), *fixed)
    rows: list[NDArray[np.float32]] = []
    while len(rows) < steps * len(program.normals):
        words = []
        for _ in range(4):
            drawn, *state = loops("random_bits", "next_word", *[word] * 5)(*state)
            words.append(drawn)
        rows += loops("normals", "normal_sextet", *[single] * DRAWS)(*words)
    count = len(program.normals)
    return np.array(rows[: steps * count], np.float64).reshape(steps, count, chains)


def gate_values(gates: Gates, normals: Sequence[str], z: Float64) -> dict[str, Float64]:
    """Pre-activations u = mean + deviation z by gate."""
    values = dict(zip((name.split(" ")[2] for name in normals), z, strict=True))
    return {gate: gates[gate][0] + gates[gate][1] * value for gate, value in values.items()}


def lstm_steps(gates: Gates, z: Float64) -> list[Float64]:
    """c ← σ(f) c + σ(i) tanh(g) from zero (theory, section 1)."""
    c, path = np.zeros(z.shape[2]), []
    for step in z:
        u = gate_values(gates, LSTM_PROGRAM.normals, step)
        c = sigmoid(u["f"]) * c + sigmoid(u["i"]) * np.tanh(u["g"])
        path.append(c)
    return path


def gru_steps(gates: Gates, z: Float64) -> list[Float64]:
    """s ← σ(f) s + (1 - σ(f)) tanh(h) from zero; the reset gate acts on the fields only."""
    s, path = np.zeros(z.shape[2]), []
    for step in z:
        u = gate_values(gates, GRU_PROGRAM.normals, step)
        s = sigmoid(u["f"]) * s + sigmoid(-u["f"]) * np.tanh(u["h"])
        path.append(s)
    return path


CASES = {"lstm": (LSTM_PROGRAM, LSTM, lstm_steps), "gru": (GRU_PROGRAM, GRU, gru_steps)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("precision", "tolerance"), [("single", 1e-6), ("clamped", 1e-6), ("double", 1e-13)])
def test_chains_follow_a_plain_simulation(name: str, precision: Precision, tolerance: float, loops: Loops) -> None:
    program, gates, simulate = CASES[name]
    chains = 2 * BLOCK
    path = simulate(gates, deviates(loops, program, chains, 10))
    run = started(gates, program, chains=chains, precision=precision)
    assert run.states.dtype == (np.float64 if precision == "double" else np.float32)
    # In one call, as the deviates of a draw that are left over at the end of a call are not used.
    sums = run.advance(10, measure=True)
    np.testing.assert_allclose(run.states[0], path[-1], atol=tolerance)
    blocks = np.array(path).reshape(10, 2, BLOCK)
    state = find(name).states[0]
    for power, word in ((1, "mean"), (2, "square")):
        (formula,) = (each.sampled for each in program.observables if each.name == f"{word} {state}")
        column = program.sampled.index(formula)
        np.testing.assert_allclose(sums[:, column], np.sum(blocks**power, axis=(0, 2)), rtol=2e-6, atol=2e-4)


def test_double_precision_keeps_the_digits_of_tiny_states(loops: Loops) -> None:
    """Relative to states of 1e-22, where an error of single precision, or of σ by a difference, would be everything."""
    gates = {"i": (-30.0, 2.0), "f": (6.0, 0.5), "g": (-1e-9, 1e-10), "o": (0.0, 1.0)}
    z = deviates(loops, LSTM_PROGRAM, BLOCK, 2)
    first, second = (gate_values(gates, LSTM_PROGRAM.normals, step) for step in z)
    written = [np.tanh(u["g"]) * np.exp(u["i"]) / (1.0 + np.exp(u["i"])) for u in (first, second)]
    run = started(gates, precision="double")
    run.advance(2)
    assert np.max(np.abs(run.states[0])) < 1e-18
    np.testing.assert_allclose(run.states[0], sigmoid(second["f"]) * written[0] + written[1], rtol=1e-13)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_threads_change_no_bit(precision: Precision) -> None:
    runs = [started(LSTM, chains=7 * BLOCK, threads=threads, precision=precision) for threads in (1, 2, 3)]
    sums = [run.advance(70, measure=True) for run in runs]
    for run, each in zip(runs[1:], sums[1:], strict=True):
        np.testing.assert_array_equal(each, sums[0])
        same(run, runs[0])


def test_a_chain_does_not_depend_on_how_many_there_are() -> None:
    few, many = started(LSTM, chains=BLOCK), started(LSTM, chains=5 * BLOCK)
    first, all_of_them = few.advance(12, measure=True), many.advance(12, measure=True)
    np.testing.assert_array_equal(first[0], all_of_them[0])
    np.testing.assert_array_equal(few.states[0], many.states[0, :BLOCK])
    assert len(np.unique(many.states)) > 4.9 * BLOCK


@pytest.mark.parametrize(("program", "gates"), [(LSTM_PROGRAM, LSTM), (GRU_PROGRAM, GRU)])
def test_calls_that_end_at_whole_draws_are_as_good_as_one(program: ChainProgram, gates: Gates) -> None:
    cycle = rows_of_normals(program.normals) // len(program.normals)
    one, several = started(gates, program), started(gates, program)
    total = one.advance(12 * cycle, measure=True)
    parts = [several.advance(count * cycle, measure=True) for count in (1, 4, 7)]
    same(one, several)
    np.testing.assert_allclose(sum(parts), total, rtol=1e-6)
    assert one.steps == several.steps == 12 * cycle


def test_no_step_and_unmeasured_steps_sum_to_nothing() -> None:
    run = started(LSTM)
    assert not run.states.any()
    np.testing.assert_array_equal(run.advance(0, measure=True), 0.0)
    assert not run.states.any()
    np.testing.assert_array_equal(run.advance(6), 0.0)
    other = started(LSTM)
    other.advance(6, measure=True)
    same(run, other)


def test_seeds_and_purposes_tell_streams_apart() -> None:
    runs = [
        started(LSTM, seed=seed, purpose=purpose)
        for seed, purpose in ((0, 0), (0, 0), (1, 0), (0, 1), (1 << 32, 0), ((1 << 64) - 1, 0))
    ]
    for run in runs:
        run.advance(4)
    same(runs[0], runs[1])
    for index, run in enumerate(runs[1:], start=1):
        for other in runs[index + 1 :]:
            assert np.mean(run.states == other.states) < 0.01


def test_sets_of_parameters_are_runs_of_their_own() -> None:
    """Each set has the chains that come after those of the sets before it, with the streams of their index."""
    wild = {"i": (1.0, 2.0), "f": (2.0, 0.5), "g": (-0.3, 2.0), "o": (0.0, 0.0)}
    parameters = [law(LSTM_PROGRAM, gates) for gates in (LSTM, wild)]
    both = CPUChains(LSTM_PROGRAM, parameters, chains=3 * BLOCK, seed=SEED, threads=2)
    # Rounded up to whole blocks for every set.
    assert (both.blocks, both.chains) == (4, 4 * BLOCK)
    sums = both.advance(10, measure=True)
    for index, gates in enumerate((LSTM, wild)):
        alone = started(gates, chains=4 * BLOCK, precision=both.precision)
        expected = alone.advance(10, measure=True)
        part = slice(2 * index, 2 * index + 2)
        np.testing.assert_array_equal(sums[part], expected[part])
        share = slice(2 * index * BLOCK, (2 * index + 2) * BLOCK)
        np.testing.assert_array_equal(both.states[:, share], alone.states[:, share])


def test_chains_are_whole_blocks() -> None:
    for asked, given in ((1, 1), (BLOCK, 1), (BLOCK + 1, 2)):
        run = started(LSTM, chains=asked)
        assert (run.blocks, run.chains, run.states.shape) == (given, given * BLOCK, (1, given * BLOCK))


def test_a_program_without_memory_has_nothing_to_carry() -> None:
    run = CPUChains(
        stationary_program(find("vanilla")), [{"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}],
        chains=10, seed=0,
    )  # fmt: skip
    assert run.states.shape == (0, BLOCK)
    assert run.advance(5, measure=True).shape == (1, 0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean drive f + field f", math.nan, "mean drive f [+] field f: must be finite, got nan"),
        ("deviation drive o + field o", math.inf, "deviation drive o [+] field o: must be finite, got inf"),
        ("deviation drive g + field g", -1e-9, "deviation drive g [+] field g: must not be negative, got -1e-09"),
    ],
)
def test_parameters_out_of_range_are_named(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CPUChains(LSTM_PROGRAM, [law(LSTM_PROGRAM, LSTM) | {name: value}], chains=1, seed=0)


@pytest.mark.parametrize("chains", [0, -5])
def test_there_must_be_chains(chains: int) -> None:
    with pytest.raises(ValueError, match=f"chains: must be at least 1, got {chains}"):
        started(LSTM, chains=chains)
    with pytest.raises(ValueError, match="parameters: at least one set is needed"):
        CPUChains(LSTM_PROGRAM, [], chains=1, seed=0)


@pytest.mark.parametrize("chains", [10**11, 10**15, 10**18])
def test_chains_beyond_memory_are_refused_before_anything_is_allocated(chains: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=r"chains need [0-9.]+ GB of memory, and [0-9.]+ GB are available"):
            started(LSTM, chains=chains)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_the_memory_that_is_available_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains_module, "available_bytes", lambda: 20 * BLOCK)
    started(LSTM, precision="single")
    with pytest.raises(MemoryError):
        started(LSTM, precision="double")
    with pytest.raises(MemoryError, match=f"{2 * BLOCK:,} chains need"):
        started(LSTM, chains=2 * BLOCK)
    # Where the machine does not say, there is nothing to compare with.
    monkeypatch.setattr(chains_module, "available_bytes", lambda: None)
    started(LSTM, chains=2 * BLOCK)


def test_the_precision_fits_the_parameters() -> None:
    for gates, precision in (
        (LSTM, "single"),
        (LSTM | {"f": (-20.0, 9.0)}, "single"),
        (LSTM | {"f": (-20.0, 9.5)}, "clamped"),
        (LSTM | {"i": (90.0, 0.0)}, "clamped"),
        (LSTM | {"i": (-90.0, 0.0)}, "clamped"),
        (LSTM | {"g": (0.0, 2.5)}, "single"),
        # The output gate is not sampled, so its arguments do not matter.
        (LSTM | {"o": (500.0, 100.0)}, "single"),
    ):
        parameters = law(LSTM_PROGRAM, gates)
        assert fitting_precision(LSTM_PROGRAM, [parameters]) == precision, gates
        assert started(gates).precision == precision
        assert fitting_precision(LSTM_PROGRAM, [law(LSTM_PROGRAM, LSTM), parameters]) == precision


def wild_gates(random: np.random.Generator) -> dict[str, tuple[float, float]]:
    return {gate: (random.uniform(-60.0, 60.0), random.uniform(0.0, 30.0)) for gate in "ifgo"}


def second_moments(gates: Gates, steps: int, **options: Any) -> Float64:
    """Averages over chains of everything that is sampled, at the last of so many steps, by block."""
    run = started(gates, **options)
    run.advance(steps - 2)
    return run.advance(2, measure=True) / (2 * BLOCK)


@pytest.mark.parametrize("seed", range(36))
def test_wild_parameters_do_not_need_double_precision(seed: int) -> None:
    gates = wild_gates(np.random.default_rng([41, seed]))
    options = {"chains": 4 * BLOCK, "seed": seed}
    automatic, exact = (second_moments(gates, 42, precision=precision, **options) for precision in (None, "double"))
    assert np.all(np.isfinite(automatic))
    squares = [index for index, formula in enumerate(LSTM_PROGRAM.sampled) if formula.operation == "multiply"]
    assert len(squares) == 2
    one, other = np.mean(automatic, axis=0), np.mean(exact, axis=0)
    np.testing.assert_allclose(one[squares], other[squares], rtol=2e-5, atol=1e-30)
    # Means may cancel; what they may be off by is rounding of what is averaged.
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5 * float(np.sqrt(np.max(other[squares]))) + 1e-30)


@pytest.mark.parametrize("seed", range(5))
def test_wild_parameters_agree_with_an_independent_simulation(seed: int) -> None:
    random = np.random.default_rng([43, seed])
    # Gates that are open for some of the chains at least, so that averages are not those of a few rare ones.
    gates = {gate: (random.uniform(-1.0, 1.0) * deviation, deviation) for gate, deviation in
             ((gate, random.uniform(1.0, 30.0)) for gate in "ifgo")}  # fmt: skip
    chains, steps = 32 * BLOCK, 12
    z = random.standard_normal((steps, len(LSTM_PROGRAM.normals), chains))
    path = lstm_steps(gates, z)
    found = second_moments(gates, steps, chains=chains, seed=seed)
    for formula, column in zip(LSTM_PROGRAM.sampled, found.T, strict=True):
        outer = formula.operands[0] if formula.operation == "multiply" else formula
        squared = formula.operation == "multiply"
        samples = np.mean([(np.tanh(c) if outer.operation == "tanh" else c) ** (2 if squared else 1)
                           for c in path[-2:]], axis=0).reshape(32, BLOCK).mean(axis=1)  # fmt: skip
        error = math.hypot(*(float(np.std(each, ddof=1)) / math.sqrt(32) for each in (column, samples)))
        assert abs(np.mean(column) - np.mean(samples)) < 4.5 * error
