"""Recorded formulas against the functions they are recorded from, and what recording refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf as scipy_erf

from meanfield.cells import Cell, find, names, register, unregister
from meanfield.cells.cell import Array, State, Values, preactivation
from meanfield.sampling import expressions
from meanfield.sampling.expressions import (
    Expression,
    UnknownOperation,
    bounds,
    constant,
    evaluate,
    ordered,
    substitute,
    symbol,
    symbols_of,
)
from meanfield.sampling.formulas import merged_sums, record
from meanfield.sampling.programs import stationary_program
from meanfield.solvers.linear_circuit import LinearCircuit

UNITS = 500
BLOCKS = (
    "state_to_state",
    "field_to_state",
    "state_to_carrier",
    "field_to_carrier",
    "drive_to_state",
    "drive_to_carrier",
)


class Handmade(Cell):
    """s = f s_- + (1 - f) tanh(u_h) in a user's own words, with functions of NumPy only."""

    name = "handmade"
    gates = ("f", "h")

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        keep = 1.0 / (1.0 + np.exp(-preactivation("f", fields, drives)))
        return (keep * state[0] + (1.0 - keep) * np.tanh(preactivation("h", fields, drives)),)

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        keep = 1.0 / (1.0 + np.exp(-preactivation("f", fields, drives)))
        new = np.tanh(preactivation("h", fields, drives))
        return self.simple_circuit(
            ((keep,),), ((keep * (1.0 - keep) * (state[0] - new), (1.0 - keep) * (1.0 - new**2)),)
        )


@pytest.fixture
def handmade() -> Iterator[Cell]:
    cell = Handmade()
    register(cell)
    yield cell
    unregister("handmade")


def activated(function: Callable[[Any], Any]) -> Cell:
    """A plain network with this function in place of tanh."""

    class Activated(Cell):
        name, gates, keep_gate = "activated", ("h",), None

        def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
            return (function(preactivation("h", fields, drives)),)

        def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
            return self.simple_circuit(((0.0,),), ((1.0,),))

    return Activated()


def random_point(cell: Cell, seed: int, spread: float) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    """States, fields and drives whose sums reach up to twice the spread."""
    g = np.random.default_rng(seed)
    state = [g.uniform(-2.0, 2.0, UNITS) for _ in cell.states]
    fields = {field.name: g.uniform(-spread, spread, UNITS) for field in cell.fields}
    drives = {gate: g.uniform(-spread, spread, UNITS) for gate in cell.gates}
    return state, fields, drives


def named(cell: Cell, state: list[Array], fields: dict[str, Array], drives: dict[str, Array]) -> dict[str, Array]:
    values = dict(zip(cell.states, state, strict=True))
    values |= {f"field {name}": value for name, value in fields.items()}
    return values | {f"drive {name}": value for name, value in drives.items()}


def value_of(entry: object, values: dict[str, Array]) -> NDArray[np.float64]:
    found = evaluate([entry], values)[0] if isinstance(entry, Expression) else np.asarray(entry)
    return np.broadcast_to(found, (UNITS,))


def agree(found: NDArray[np.float64], expected: Any) -> None:
    """Equal to rounding, relative to the larger of a value and of what it may be a difference of."""
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-13, atol=2e-15)


@pytest.mark.parametrize("spread", [1.0, 20.0])
@pytest.mark.parametrize("name", names())
def test_recorded_formulas_are_the_cells_functions(name: str, spread: float) -> None:
    cell = find(name)
    point = random_point(cell, len(name), spread)
    values = named(cell, *point)
    formulas = record(cell)
    for found, expected in zip(formulas.updates, cell.update(*point), strict=True):
        agree(value_of(found, values), expected)
    for index, found in enumerate(formulas.carriers):
        agree(value_of(found, values), cell.carrier(index, *point))
    circuit = cell.circuit(*point)
    for block in BLOCKS:
        for found_row, row in zip(getattr(formulas.circuit, block), getattr(circuit, block), strict=True):
            for found, expected in zip(found_row, row, strict=True):
                agree(value_of(found, values), expected)


@pytest.mark.parametrize("name", names())
def test_formulas_read_what_the_cell_has_and_nothing_else(name: str) -> None:
    cell = find(name)
    formulas = record(cell)
    known = {*cell.states, *(f"field {field.name}" for field in cell.fields), *(f"drive {gate}" for gate in cell.gates)}
    assert symbols_of([*formulas.updates, *formulas.carriers]) <= known
    assert len(formulas.carriers) == 1 + max(field.carrier for field in cell.fields)


def test_slopes_are_accurate_in_the_tails() -> None:
    """σ' and 1/cosh² where 1 - σ and 1 - tanh² have no digits left."""
    u = symbol("u")
    points = np.array([-300.0, -40.0, -1.0, 0.0, 1.0, 40.0, 300.0])
    value, complement, slope = evaluate(expressions.sigmoid(u), {"u": points})
    size = np.exp(-np.abs(points))
    np.testing.assert_allclose(slope, size / (1.0 + size) ** 2, rtol=1e-14)
    np.testing.assert_allclose(complement, value[::-1], rtol=1e-14)
    np.testing.assert_allclose(
        evaluate(expressions.tanh(u), {"u": points})[1], 4 * size**2 / (1 + size**2) ** 2, rtol=1e-14
    )
    error_function, density = evaluate(expressions.erf(u), {"u": points / 20.0})
    np.testing.assert_array_equal(error_function, scipy_erf(points / 20.0))
    np.testing.assert_allclose(density, 2.0 / math.sqrt(math.pi) * np.exp(-((points / 20.0) ** 2)), rtol=1e-14)


def test_relu_and_its_slope() -> None:
    points = np.array([-2.0, -0.0, 0.0, 3.0])
    value, slope = evaluate(expressions.relu(symbol("u")), {"u": points})
    np.testing.assert_array_equal(value, [0.0, 0.0, 0.0, 3.0])
    np.testing.assert_array_equal(slope, [0.0, 0.0, 0.0, 1.0])


def test_equal_formulas_are_one_object() -> None:
    x, y = symbol("x"), symbol("y")
    assert symbol("x") is x
    assert constant(2) is constant(2.0)
    assert np.tanh(x + y) * 2.0 is np.tanh(symbol("x") + symbol("y")) * constant(2.0)
    assert x + y is not y + x
    assert x - y is not y - x


def test_numbers_are_folded() -> None:
    x = symbol("x")
    for folded in (x + 0.0, 0.0 + x, x * 1.0, 1.0 * x, x - 0.0, np.float64(1.0) * x, np.array(0.0) + x):
        assert folded is x
    assert x * 0.0 is constant(0.0)
    assert constant(2.0) * constant(3.0) + constant(1.0) is constant(7.0)
    assert np.exp(constant(0.0)) is constant(1.0)
    assert (1.0 / constant(4.0)).label == 0.25
    assert x**2 is x * x is np.square(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda u: 2.0 - u / 3.0 + (1.0 + u) * u,
        lambda u: np.exp(-u) / np.sqrt(1.0 + np.square(u)),
        lambda u: np.maximum(u, 0.5) - np.minimum(np.float32(0.25), u),
        lambda u: np.array([1.0, 2.0])[1] * u**2 - 3,
        lambda u: scipy_erf(np.divide(np.add(u, 1), np.subtract(np.multiply(u, u), -4))),
        lambda u: np.negative(np.tanh(-u)),
    ],
)
def test_arithmetic_of_arrays_and_of_expressions_is_the_same(function: Callable[[Any], Any]) -> None:
    points = np.linspace(-3.0, 3.0, 41)
    np.testing.assert_allclose(evaluate([function(symbol("u"))], {"u": points})[0], function(points), rtol=1e-15)


def test_nodes_come_after_their_operands_and_once() -> None:
    program = stationary_program(find("gru_reset_after"))
    nodes = ordered([*program.updates, *program.sampled])
    assert len(set(nodes)) == len(nodes)
    seen: set[Expression] = set()
    for node in nodes:
        assert seen.issuperset(node.operands)
        seen.add(node)


def test_deep_formulas_need_no_recursion() -> None:
    x = symbol("x")
    deep = x
    for _ in range(20_000):
        deep = deep + x
    assert evaluate([deep], {"x": np.array(1.0)})[0] == 20_001.0
    assert substitute([deep], {x: symbol("y")})[0].operands[1] is symbol("y")


def test_substitution_replaces_every_occurrence_and_folds() -> None:
    x, y, z = symbol("x"), symbol("y"), symbol("z")
    formula = np.tanh(x + y) * x - np.exp(x + y)
    moved, kept = substitute([formula, y], {x + y: z})
    assert moved is np.tanh(z) * x - np.exp(z)
    assert kept is y
    assert substitute([x * y + z], {x: constant(0.0)})[0] is z
    # Replacements are not looked into, so that variables may be exchanged.
    assert substitute([x - y], {x: y, y: x})[0] is y - x
    assert substitute([x], {})[0] is x


@pytest.mark.parametrize("name", names())
def test_bounds_contain_what_formulas_are_found_to_be(name: str) -> None:
    program = stationary_program(find(name), integrate=False)
    nodes = ordered([*program.updates, *program.sampled])
    g = np.random.default_rng(len(name))
    ranges: dict[str, tuple[float, float]] = {}
    values: dict[str, NDArray[np.float64]] = {}
    for label in sorted(symbols_of(nodes)):
        low, high = np.sort(g.uniform(-7.0, 7.0, 2)) if label.startswith("normal") else (-3.0, 5.0)
        if label.startswith(("mean", "deviation")):
            low = high = g.uniform(0.0, 4.0)
        ranges[label] = (float(low), float(high))
        values[label] = np.concatenate([g.uniform(low, high, 2000), [low, high]])
    found = bounds(nodes, ranges)
    for node, value in zip(nodes, evaluate(nodes, values), strict=True):
        low, high = found[node]
        slack = 1e-12 * max(abs(value).max(), 1e-300)
        assert low - slack <= value.min() <= value.max() <= high + slack, node
    # The arguments of all exponentials are bounded, or nothing could be said of their range.
    for node in nodes:
        if node.operation in ("exp", "tanh"):
            assert np.all(np.isfinite(found[node.operands[0]]))


def test_bounds_of_what_has_none() -> None:
    x, y = symbol("x"), symbol("y")
    formulas = [1.0 / x, x * y, y - y, np.exp(y), np.tanh(y), 0.0 * y, np.maximum(x, y), expressions.relu(x)[1]]
    found = bounds(formulas, {"x": (-1.0, 2.0)})
    assert found[formulas[0]] == found[formulas[1]] == found[formulas[2]] == (-math.inf, math.inf)
    assert found[formulas[3]][0] >= 0.0
    assert found[formulas[4]] == (-1.0, 1.0)
    assert found[formulas[5]] == (0.0, 0.0)
    assert found[formulas[6]] == (-1.0, math.inf)
    assert found[formulas[7]] == (0.0, 1.0)
    zero_times_unbounded = bounds([x * y], {"x": (0.0, 0.0)})
    assert zero_times_unbounded[x * y] == (0.0, 0.0)


def test_sums_that_are_read_together_become_one_variable() -> None:
    a, b, c, d = (symbol(name) for name in "abcd")
    roots, groups = merged_sums([np.tanh(a + b + c) * d + d], {"a", "b", "c", "d"})
    assert groups == {"a + b + c": ["a", "b", "c"], "d": ["d"]}
    assert roots[0] is np.tanh(symbol("a + b + c")) * d + d


def test_sums_whose_members_are_read_elsewhere_stay_apart() -> None:
    a, b, c = symbol("a"), symbol("b"), symbol("c")
    roots, groups = merged_sums([np.tanh(a + b), a * c], {"a", "b"})
    assert groups == {"a": ["a"], "b": ["b"]}
    assert roots == [np.tanh(a + b), a * c]
    # A sum with a state, or with itself, is none of Gaussian variables that could be drawn at once.
    assert merged_sums([a + c], {"a"})[1] == {"a": ["a"]}
    assert merged_sums([np.tanh(a + a)], {"a"})[1] == {"a": ["a"]}


def test_a_cell_of_ones_own_in_numpy_is_recorded(handmade: Cell) -> None:
    point = random_point(handmade, 5, 2.0)
    formulas = record(handmade)
    agree(value_of(formulas.updates[0], named(handmade, *point)), handmade.update(*point)[0])
    program = stationary_program(handmade)
    assert program.states == ("s",)
    assert program.normals == ("normal drive f + field f", "normal drive h + field h")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.sin, "do not know sin; they know add, divide, erf, exp"),
        (np.abs, "do not know absolute"),
        (lambda u: np.tanh(u, out=np.empty(3)), "do not know tanh"),
        (lambda u: u**3, "not its power 3"),
        (lambda u: u if u else 0.0, "no branches"),
        (lambda u: np.where(u, 1.0, 0.0), "no branches"),
        (lambda u: u + np.zeros(3), "not ndarray"),
        (lambda u: u * 1j, "not complex"),
        (lambda u: u * "2", "not str"),
        (lambda u: u - None, "not NoneType"),
        (lambda u: u.real, "no attribute 'real'"),
    ],
)
def test_what_kernels_do_not_know_is_refused_by_the_cells_name(function: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UnknownOperation, match="cell 'activated' cannot be made into a kernel: ") as caught:
        record(activated(function))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda u: np.where(u > 0.0, u, 0.0),
        lambda u: np.clip(u, -1.0, 1.0),
        lambda u: abs(u),
        lambda u: 2.0**u,
        lambda u: math.exp(u),
    ],
)
def test_comparisons_and_functions_of_python_are_refused_by_the_cells_name(function: Callable[[Any], Any]) -> None:
    with pytest.raises(UnknownOperation, match="cell 'activated' cannot be made into a kernel: "):
        record(activated(function))


def test_equality_is_no_formula() -> None:
    """Comparing a value with a number must not quietly give the same answer for every unit."""
    with pytest.raises(UnknownOperation):
        record(activated(lambda u: (u == 0.0) * 1.0))
