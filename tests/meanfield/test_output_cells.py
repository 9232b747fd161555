"""Which cells are found to have a memory behind an output gate, and what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import meanfield as mf
from meanfield.activations import erf, gate, relu, tanh
from meanfield.cells import Cell, find, names, register, unregister
from meanfield.cells.cell import preactivation
from meanfield.closed_cells import NotClosed
from meanfield.output_cells import OutputCell, output_cell
from meanfield.output_law import output_law

POINTS = np.array([-40.0, -3.0, -0.2, 0.0, 0.7, 5.0, 40.0])
GATE = mf.Gate(recurrent_gain=0.8, input_gain=0.5, bias_mean=0.1, bias_std=0.2)


class Made(Cell):
    """A cell of the LSTM's kind with parts of one's own; what of them does not fit is refused."""

    states, output, memory = ("c", "h"), 1, 0
    gates = ("i", "f", "g", "o")

    def gate_values(self, fields, drives):  # type: ignore[no-untyped-def]
        return {name: gate(preactivation(name, fields, drives)) for name in "ifo"}

    def increment(self, gates, candidate):  # type: ignore[no-untyped-def]
        return gates["i"][0] * candidate

    def read(self, gates, memory):  # type: ignore[no-untyped-def]
        return gates["o"][0] * tanh(memory)[0]

    def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
        gates = self.gate_values(fields, drives)
        memory = gates["f"][0] * state[0] + self.increment(gates, tanh(preactivation("g", fields, drives))[0])
        return memory, self.read(gates, memory)

    def circuit(self, state, fields, drives):  # type: ignore[no-untyped-def]
        nothing = (0.0,) * len(self.gates)  # the untied theory of outputs reads the update alone
        return self.simple_circuit(((0.0, 0.0), (0.0, 0.0)), (nothing, nothing))


def made(name: str, **parts: Any) -> Cell:
    kind = type(name, (Made,), {"name": name, **parts})
    cell: Cell = kind()
    return cell


class TestBuiltIn:
    def test_lstm(self) -> None:
        cell = output_cell(find("lstm"))
        assert (cell.name, cell.memory, cell.output) == ("lstm", "c", "h")
        assert (cell.size, cell.blended) == (1.0, False)
        assert {part.noise for part in cell.gates} == {"drive i + field i", "drive g + field g"}
        check_parts(cell, {"i": sigmoid, "g": np.tanh})

    def test_coupled_gates(self) -> None:
        cell = output_cell(find("cifg_lstm"))
        assert (cell.size, cell.blended) == (1.0, True)
        assert [part.noise for part in cell.gates] == ["drive g + field g"]
        check_parts(cell, {"g": np.tanh})

    def test_it_is_found_once(self) -> None:
        assert output_cell(find("lstm")) is output_cell(find("lstm"))

    @pytest.mark.parametrize("name", [name for name in names() if len(find(name).states) == 1])
    def test_cells_with_one_state_variable_are_refused(self, name: str) -> None:
        with pytest.raises(NotClosed, match=f"cell {name} has no deterministic theory in the untied regime"):
            output_cell(find(name))

    def test_a_law_of_another_cell_is_refused(self) -> None:
        network = mf.Network("vanilla", {"h": GATE})
        with pytest.raises(mf.InvalidInput, match="cell vanilla"):
            output_law(network)


def sigmoid(u: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-u))


def check_parts(cell: OutputCell, factors: dict[str, Callable[[Any], Any]]) -> None:
    """Values and slopes of all parts, the slopes by complex steps."""
    parts = {part.noise[-1]: part for part in cell.gates}
    expected: list[tuple[Any, Callable[[Any], Any]]] = [(parts[name], formula) for name, formula in factors.items()]
    expected += [(cell.release, lambda u: sigmoid(-u)), (cell.opening, sigmoid)]
    for part, formula in expected:
        law = part.law({f"mean {part.noise}": 0.0, f"deviation {part.noise}": 1.0}, 3)
        np.testing.assert_allclose(law.value(POINTS), formula(POINTS), rtol=1e-14)
        slopes = np.imag(formula(POINTS + 1e-30j)) / 1e-30
        np.testing.assert_allclose(law.slope(POINTS), slopes, rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(cell.squashed(POINTS), np.tanh(POINTS), rtol=1e-15)
    small = POINTS[np.abs(POINTS) < 10.0]
    np.testing.assert_allclose(cell.squash_slopes(small), np.cosh(small) ** -2.0, rtol=1e-12)


class TestCellsOfOnesOwn:
    @pytest.fixture
    def another(self) -> Iterator[mf.Network]:
        register(made("erf_lstm", read=lambda self, gates, memory: gates["o"][0] * erf(memory)[0]))
        yield mf.Network("erf_lstm", dict.fromkeys("ifgo", GATE))
        unregister("erf_lstm")

    def test_another_squash(self, another: mf.Network) -> None:
        cell = output_cell(another.definition)
        np.testing.assert_allclose(cell.squash_slopes(np.array([0.0, 1.0])), 2 / np.sqrt(np.pi) * np.exp([0.0, -1.0]))
        found = mf.fixed_points(another, mf.Inputs(overlap=0.5))
        law = mf.sample_law(another, mf.Inputs(overlap=0.5), chains=1 << 15, device="cpu", threads=1)
        for exact, sampled in (
            (found.law.second_moment, law.second_moment["h"]),
            (found.law.mean, law.mean["h"]),
            (found.law.memory_second_moment, law.second_moment["c"]),
            (found.overlaps[0].product, mf.sample_overlap(law, device="cpu", threads=1).products[0]),
        ):
            assert abs(exact.value - sampled.value) < 4.0 * sampled.error + exact.error

    @pytest.mark.parametrize(
        ("parts", "size", "blended", "factors"),
        [
            # A number in front, and none of the gates' slopes changed by it.
            ({"increment": lambda self, gates, new: 0.5 * gates["i"][0] * new}, 0.5, False, 2),
            ({"increment": lambda self, gates, new: -2.0 * gates["i"][0] * new}, -2.0, False, 2),
            ({"increment": lambda self, gates, new: new}, 1.0, False, 1),
            ({"increment": lambda self, gates, new: gates["f"][1] * new}, 1.0, True, 1),
            ({"increment": lambda self, gates, new: gates["f"][1] * gates["i"][0] * new}, 1.0, True, 2),
        ],
    )
    def test_increments(self, parts: dict[str, Any], size: float, blended: bool, factors: int) -> None:
        cell = output_cell(made("made", **parts))
        gates = [part.law({f"mean {part.noise}": 0.3, f"deviation {part.noise}": 0.0}, 1) for part in cell.gates]
        assert (cell.blended, len(gates)) == (blended, factors)
        # However the sign and the number are shared out between size and gates.
        product = cell.size * np.prod([float(gate.value(np.array(0.3))) for gate in gates])
        expected = {1: np.tanh(0.3), 2: np.tanh(0.3) * sigmoid(0.3)}[factors]
        np.testing.assert_allclose(product, size * expected, rtol=1e-14)

    def test_an_output_without_a_squash(self) -> None:
        cell = output_cell(made("made", read=lambda self, gates, memory: gates["o"][0] * memory))
        np.testing.assert_array_equal(cell.squashed(POINTS), POINTS)
        np.testing.assert_array_equal(cell.squash_slopes(POINTS), np.ones(len(POINTS)))

    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            ({"read": lambda self, gates, memory: gates["o"][0] + tanh(memory)[0]}, "a gate times a function of c"),
            ({"read": lambda self, gates, memory: tanh(gates["o"][0] * memory)[0]}, "a gate times a function of c"),
            ({"read": lambda self, gates, memory: gates["o"][0] * gates["i"][0] * memory}, "must read one Gaussian"),
            ({"read": lambda self, gates, memory: tanh(memory)[0]}, "must read one Gaussian variable, not 0"),
            ({"increment": lambda self, gates, new: gates["f"][0] * new}, "complement"),
            ({"increment": lambda self, gates, new: gates["o"][0] * new}, "output gate must be independent of what c"),
            ({"read": lambda self, gates, memory: gates["f"][0] * memory}, "output gate must be independent of what c"),
            ({"carrier": lambda self, index, state, fields, drives: state[0]}, "must read an output behind a gate"),
            ({"carrier": lambda self, index, state, fields, drives: relu(state[1])[0]}, "carries c, h"),
        ],
    )  # fmt: skip
    def test_other_kinds_are_refused_by_name(self, parts: dict[str, Any], reason: str) -> None:
        with pytest.raises(NotClosed, match=f"cell made has no deterministic theory in the untied regime: .*{reason}"):
            output_cell(made("made", **parts))

    def test_a_memory_that_is_not_affine_is_refused(self) -> None:
        class Squared(Made):
            name = "squared"

            def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
                gates = self.gate_values(fields, drives)
                memory = gates["f"][0] * tanh(state[0])[0]
                return memory, self.read(gates, memory)

        with pytest.raises(NotClosed, match="cell squared"):
            output_cell(Squared())
