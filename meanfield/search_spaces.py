"""What is searched for a recipe of each cell: parameters, their ranges, and the gates they make (docs/objective.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput
from meanfield.network import Gate

Values = Mapping[str, float]

# Held fixed: recurrent gains and input gains of gates that are not searched.
RECURRENT_GAIN = 0.02
OTHER_INPUT_GAIN = 0.1


@dataclass(frozen=True)
class Parameter:
    """One searched number: its range, which may depend on the length, and whether it is searched by its logarithm."""

    name: str
    lowest: Callable[[int], float]
    highest: Callable[[int], float]
    logarithmic: bool = False

    def value(self, share: float, length: int) -> float:
        """The value at a share between 0 and 1 of the range."""
        low, high = self.lowest(length), self.highest(length)
        if self.logarithmic:
            return float(low * (high / low) ** share)
        return float(low + share * (high - low))


@dataclass(frozen=True)
class SearchSpace:
    """What is searched for a cell, and how a point of it becomes a network.

    Attributes:
        parameters: the searched numbers.
        gates: laws of all gates at values of the parameters, for inputs of given root mean square.
        write_gate: the gate that writes inputs into the memory, whose drive κ the objective rewards.
        ensemble: of the recurrent matrices unless another one is asked for.
    """

    parameters: tuple[Parameter, ...]
    gates: Callable[[Values, float], dict[str, Gate]]
    write_gate: str
    ensemble: str = "gaussian"

    def values(self, point: NDArray[np.float64], length: int) -> dict[str, float]:
        return {p.name: p.value(float(share), length) for p, share in zip(self.parameters, point, strict=True)}


def search_space(cell: str) -> SearchSpace:
    """What is searched for a cell.

    Raises:
        InvalidInput: if recipes are not designed for it.

    >>> [parameter.name for parameter in search_space("janet").parameters]
    ['keep_bias', 'write_drive', 'content_drive', 'keep_bias_spread']
    """
    if cell not in SPACES:
        raise InvalidInput(f"cell: recipes are designed for {', '.join(SPACES)}; got {cell!r}")
    return SPACES[cell]


def _constant(value: float) -> Callable[[int], float]:
    return lambda length: value


def _gate(drive: float, root_power: float, bias: float = 0.0, spread: float = 0.0) -> Gate:
    return Gate(recurrent_gain=RECURRENT_GAIN, input_gain=drive / root_power, bias_mean=bias, bias_std=spread)


def _held(bias: float = 0.0) -> Gate:
    return Gate(recurrent_gain=RECURRENT_GAIN, input_gain=OTHER_INPUT_GAIN, bias_mean=bias)


def _with_write_gate(values: Values, root_power: float) -> dict[str, Gate]:
    """Cells that forget and write by gates of their own."""
    keep = values["keep_bias"]
    return {
        "i": _gate(values["write_drive"], root_power, -values["write_bias_share"] * keep),
        "f": _held(keep),
        "g": _gate(values["content_drive"], root_power),
    }


def _with_one_gate(values: Values, root_power: float, content: str) -> dict[str, Gate]:
    """Cells that write what they forget: the keep gate is the write gate too."""
    return {
        "f": _gate(values["write_drive"], root_power, values["keep_bias"], values["keep_bias_spread"]),
        content: _gate(values["content_drive"], root_power),
    }


def _minimal(values: Values, root_power: float) -> dict[str, Gate]:
    # The gate reads tanh of the content's drive, which is of size one at most.
    keep = Gate(RECURRENT_GAIN, values["write_drive"], values["keep_bias"], values["keep_bias_spread"])
    return {"f": keep, "z": Gate(0.0, values["content_drive"] / root_power)}


def _ungated(values: Values, root_power: float) -> dict[str, Gate]:
    return {"h": Gate(values["recurrent_gain"], values["content_drive"] / root_power)}


_CONTENT = Parameter("content_drive", _constant(0.3), _constant(3.0), logarithmic=True)
_WITH_WRITE_GATE = (
    Parameter("keep_bias", lambda length: math.log(length), lambda length: math.log(4 * length)),
    Parameter("write_bias_share", _constant(0.0), _constant(1.0)),
    Parameter("write_drive", _constant(0.1), _constant(3.0), logarithmic=True),
    _CONTENT,
)
_WITH_ONE_GATE = (
    # A gate that is never quite shut remembers two steps at least.
    Parameter("keep_bias", lambda length: math.log(max(length, 4) / 2), lambda length: math.log(4 * length)),
    Parameter("write_drive", _constant(0.3), _constant(6.0), logarithmic=True),
    _CONTENT,
    # Units of many time scales, where inputs matter at many. Cells with a write gate learn no better for it.
    Parameter("keep_bias_spread", _constant(0.0), _constant(3.0)),
)
# Without gates what was read is kept among all that is read later: the drive falls as the root of the length.
_UNGATED = (
    Parameter("recurrent_gain", _constant(0.8), _constant(1.6)),
    Parameter("content_drive", lambda length: 0.3 / math.sqrt(length), _constant(3.0), logarithmic=True),
)

SPACES = {
    "lstm": SearchSpace(_WITH_WRITE_GATE, lambda v, p: _with_write_gate(v, p) | {"o": _held()}, "i"),
    "cifg_lstm": SearchSpace(_WITH_ONE_GATE, lambda v, p: _with_one_gate(v, p, "g") | {"o": _held()}, "f"),
    "peephole_lstm": SearchSpace(_WITH_WRITE_GATE, _with_write_gate, "i"),
    "janet": SearchSpace(_WITH_ONE_GATE, lambda v, p: _with_one_gate(v, p, "g"), "f"),
    "gru_reset_after": SearchSpace(_WITH_ONE_GATE, lambda v, p: _with_one_gate(v, p, "h") | {"r": _held()}, "f"),
    "gru": SearchSpace(_WITH_ONE_GATE, lambda v, p: _with_one_gate(v, p, "h") | {"r": _held()}, "f"),
    "minimal": SearchSpace(_WITH_ONE_GATE, _minimal, "f"),
    "vanilla": SearchSpace(_UNGATED, _ungated, "h", "orthogonal"),
    "leaky": SearchSpace(_UNGATED, _ungated, "h", "orthogonal"),
}
