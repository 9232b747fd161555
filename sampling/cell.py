"""What a population needs to know of a recurrent cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.linear_circuit import LinearCircuit

Array = NDArray[Any]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Field:
    """One recurrent field y = W p: a Gaussian matrix applied to a carrier.

    Attributes:
        name: how the cell's functions find it in their ``fields`` argument.
        gate: the gate whose gain scales the matrix.
        carrier: index of the vector that the matrix reads.
        gain: which of the gate's gains is the matrix's (``"input_gain"`` where a gate reads an embedding of the input).
    """

    name: str
    gate: str
    carrier: int = 0
    gain: Literal["recurrent_gain", "input_gain"] = "recurrent_gain"


class GateLaw(Protocol):
    """Laws of one gate's weights and biases (theory, section 1).

    Numbers are arrays of shape (groups, 1, 1) where the groups of a population are of several networks.
    """

    @property
    def recurrent_gain(self) -> float | Array: ...
    @property
    def input_gain(self) -> float | Array: ...
    @property
    def bias_mean(self) -> float | Array: ...
    @property
    def bias_std(self) -> float | Array: ...
    @property
    def recurrent_bias_mean(self) -> float | Array: ...
    @property
    def recurrent_bias_std(self) -> float | Array: ...


class RecurrentCell(Protocol):
    """A cell: its variables, its update and the linear circuit of its update.

    Attributes:
        states: names of the state variables of a unit.
        output: index of the one that the network passes on.
        memory: index of the one that carries the memory.
        gates: names of the gates.
        fields: the recurrent fields, in the order in which they are evaluated.
        input_gates: gates that read the input.
        recurrent_bias_gates: gates with a second bias beside the recurrent field.
    """

    states: ClassVar[tuple[str, ...]]
    output: ClassVar[int]
    memory: ClassVar[int]
    gates: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[Field, ...]]
    input_gates: ClassVar[tuple[str, ...]]
    recurrent_bias_gates: ClassVar[tuple[str, ...]]

    def carrier(self, index: int, state: Sequence[Array], fields: Values, drives: Values) -> Array:
        """The vector that the fields of this carrier read, given the fields of earlier carriers."""
        ...

    def update(self, state: Sequence[Array], fields: Values, drives: Values) -> tuple[Array, ...]:
        """The new state."""
        ...

    def circuit(self, state: Sequence[Array], fields: Values, drives: Values) -> LinearCircuit:
        """The update's linear circuit at this point."""
        ...

    def __hash__(self) -> int:
        """Cells are looked up by identity or value."""
        ...


def field_gains(cell: RecurrentCell, laws: Mapping[str, GateLaw]) -> NDArray[np.float32]:
    """Gain of every field's matrix, (fields,); (fields, groups, 1, 1) for laws by group."""
    return np.array([getattr(laws[field.gate], field.gain) for field in cell.fields], np.float32)


def fields_of_carrier(cell: RecurrentCell) -> list[list[int]]:
    """Indices of the fields that read each carrier, carriers in order of evaluation."""
    count = 1 + max((field.carrier for field in cell.fields), default=-1)
    return [[k for k, field in enumerate(cell.fields) if field.carrier == c] for c in range(count)]
