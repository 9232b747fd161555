"""Initialisations that people use, by name: what a recipe is compared with."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from meanfield.cells import find
from meanfield.cells.cell import Cell
from meanfield.checks import check_count
from meanfield.chrono_biases import with_chrono_biases
from meanfield.defaults import default_framework, framework_default, frameworks_of
from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network

FUSED: Literal["orthogonal, one for all gates"] = "orthogonal, one for all gates"
Matrices = Literal["gaussian", "uniform", "orthogonal", "orthogonal, one for all gates"]
"""What recurrent matrices are. As N → ∞ states, G and S depend on their variance only. Uniform ones then are as good as
Gaussian. Of one orthogonal matrix that all gates share, Gaussian ones of the same variance do not have the spread of
singular values."""


@dataclass(frozen=True)
class Baseline:
    """An initialisation that people use.

    Attributes:
        name: on the command line.
        title: in tables and sentences.
        source: where its law is from.
        suits: whether a cell can be initialised in this way.
        laws: the gains and biases of a layer, from cell, hidden, inputs, length.
        matrices: of which kind the recurrent matrices of a layer of that cell are.
    """

    name: str
    title: str
    source: str
    suits: Callable[[Cell], bool]
    laws: Callable[[str, int, int, int], Network]
    matrices: Callable[[str], Matrices]

    def network(self, cell: str, hidden: int, inputs: int, length: int) -> Network:
        """A layer of this law, its matrices of the ensemble that is nearest to them."""
        ensemble = "orthogonal" if self.matrices(cell) == "orthogonal" else "gaussian"
        return replace(self.laws(cell, hidden, inputs, length), ensemble=ensemble)


def baseline(name: str, cell: str, *, hidden: int, inputs: int, length: int) -> Network:
    """A layer as an initialisation that people use makes it.

    Args:
        name: one of :func:`baseline_names` of this cell.
        cell: name of the cell.
        hidden: width N.
        inputs: input size M.
        length: T, the steps of the task, which chrono's biases depend on.

    Returns:
        The laws as gains; uniform matrices, and the one of Keras that serves all gates, by their variance.

    Raises:
        InvalidInput: if a number is out of its range, or the cell has no such baseline; the message lists those it has.

    >>> baseline("forget_one", "lstm", hidden=256, inputs=28, length=200).gates["f"].bias_mean
    1.0
    >>> baseline("forget_one", "vanilla", hidden=256, inputs=28, length=200)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: baseline: cell vanilla has pytorch, keras, flax, orthogonal, got 'forget_one'
    """
    for argument, value in (("hidden", hidden), ("inputs", inputs), ("length", length)):
        check_count(argument, value, 1)
    (found,) = named_baselines(cell, (name,), "baseline")
    return found.network(cell, hidden, inputs, length)


def baseline_names(cell: str) -> tuple[str, ...]:
    """Names of the initialisations that make sense for a cell.

    >>> baseline_names("lstm")
    ('pytorch', 'keras', 'flax', 'forget_one', 'chrono', 'orthogonal')
    >>> baseline_names("janet")
    ('lecun', 'forget_one', 'chrono', 'orthogonal')
    """
    definition = find(cell)
    return tuple(each.name for each in _BASELINES if each.suits(definition))


def named_baselines(cell: str, names: Iterable[str] | None = None, argument: str = "against") -> tuple[Baseline, ...]:
    """Baselines of a cell by their names, each once; all of them by default.

    Raises:
        InvalidInput: if the cell has no baseline of a name; the message suggests one or lists them all.
    """
    possible = {each.name: each for each in _BASELINES if each.suits(find(cell))}
    if names is None:
        return tuple(possible.values())
    chosen = dict.fromkeys(names)
    for name in chosen:
        if name not in possible:
            close = difflib.get_close_matches(str(name), possible, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InvalidInput(f"{argument}: cell {cell} has {', '.join(possible)}, got {name!r}{hint}")
    return tuple(possible[name] for name in chosen)


def pytorch(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """All weights and biases uniform on ±1/√N (torch.nn.RNNBase.reset_parameters)."""
    return framework_default(cell, hidden=hidden, inputs=inputs, framework="pytorch")


def keras(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """One orthogonal matrix for all gates, Glorot uniform inputs, forget bias 1 in the LSTM (keras.layers)."""
    return framework_default(cell, hidden=hidden, inputs=inputs, framework="keras")


def flax(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """An orthogonal matrix a gate, LeCun normal inputs, no biases (flax.linen)."""
    return framework_default(cell, hidden=hidden, inputs=inputs, framework="flax")


def lecun(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """All weights of variance one over their fan-in, no biases (LeCun, Bottou, Orr and Müller 1998, section 4.6)."""
    definition = find(cell)
    recurrent = {each.gate for each in definition.fields if each.gain == "recurrent_gain"}
    driven = {each.gate for each in definition.fields if each.gain == "input_gain"} | set(definition.input_gates)
    return Network(cell, {name: Gate(float(name in recurrent), float(name in driven)) for name in definition.gates})


def forget_one(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """The usual weights with a bias of 1 in the keep gate (Jozefowicz, Zaremba and Sutskever 2015)."""
    usual = _usual(cell, hidden, inputs, length)
    keep = str(usual.definition.keep_gate)
    return replace(usual, gates={**usual.gates, keep: replace(usual.gates[keep], bias_mean=1.0, bias_std=0.0)})


def chrono(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """The usual weights, keep biases log U[1, T - 1], write biases minus that, no others (Tallec and Ollivier 2018)."""
    usual = _usual(cell, hidden, inputs, length)
    unbiased = {
        name: Gate(recurrent_gain=gate.recurrent_gain, input_gain=gate.input_gain) for name, gate in usual.gates.items()
    }
    # Below three steps all of U[1, T - 1] is 1.
    return with_chrono_biases(replace(usual, gates=unbiased), max(length, 2))


def orthogonal(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """The usual inputs and biases, an orthogonal recurrent matrix in every gate (Saxe, McClelland and Ganguli 2014)."""
    usual = _usual(cell, hidden, inputs, length)
    reading = {each.gate for each in usual.definition.fields if each.gain == "recurrent_gain"}
    gates = {name: replace(gate, recurrent_gain=1.0) if name in reading else gate for name, gate in usual.gates.items()}
    return replace(usual, gates=gates)


def _usual(cell: str, hidden: int, inputs: int, length: int) -> Network:
    """What the other choices of people start from: the framework's default, or LeCun's where no framework has it."""
    if not frameworks_of(cell):
        return lecun(cell, hidden, inputs, length)
    return framework_default(cell, hidden=hidden, inputs=inputs)


def _usual_matrices(cell: str) -> Matrices:
    if not frameworks_of(cell):
        return "gaussian"
    return "uniform" if default_framework(cell) == "pytorch" else _keras_matrices(cell)


def _keras_matrices(cell: str) -> Matrices:
    return FUSED if len(find(cell).gates) > 1 else "orthogonal"


def _has_layer(framework: str) -> Callable[[Cell], bool]:
    return lambda cell: framework in frameworks_of(cell.name)


def _keeps(cell: Cell) -> bool:
    return cell.keep_gate is not None


_BASELINES = (
    Baseline("pytorch", "PyTorch's default", "torch.nn", _has_layer("pytorch"), pytorch, lambda cell: "uniform"),
    Baseline("keras", "Keras' default", "keras.layers", _has_layer("keras"), keras, _keras_matrices),
    Baseline("flax", "Flax's default", "flax.linen", _has_layer("flax"), flax, lambda cell: "orthogonal"),
    Baseline(
        "lecun",
        "LeCun normal",
        "LeCun, Bottou, Orr and Müller 1998",
        lambda cell: not frameworks_of(cell.name),
        lecun,
        lambda cell: "gaussian",
    ),
    Baseline(
        "forget_one",
        "forget bias 1",
        "Jozefowicz, Zaremba and Sutskever 2015",
        _keeps,
        forget_one,
        _usual_matrices,
    ),
    Baseline("chrono", "chrono", "Tallec and Ollivier 2018, 1804.11188", _keeps, chrono, _usual_matrices),
    Baseline(
        "orthogonal",
        "orthogonal",
        "Saxe, McClelland and Ganguli 2014, 1312.6120",
        lambda cell: any(each.gain == "recurrent_gain" for each in cell.fields),
        orthogonal,
        lambda cell: "orthogonal",
    ),
)
