"""Chrono biases: keep gates whose time scales are spread uniformly up to the length of the task.

A unit's keep bias is log v with v uniform on [1, T - 1], and its write bias -log v where the cell has a write gate of
its own. Neither is normal, and the two belong to the same unit, so a :class:`meanfield.Gate` holds neither. The law is
therefore part of the cell: a gate more, which reads nothing, holds one standard normal number ξ a unit, and
v = 1 + (T - 2) Φ(ξ) is uniform. Populations and simulated networks draw ξ as they draw any bias.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from meanfield.cells.cell import Array, Cell, State, Values
from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network
from meanfield.solvers.linear_circuit import Block, LinearCircuit

QUANTILE = "quantile"
_PREFIX = "chrono_"


@dataclass(frozen=True)
class ChronoNetwork(Network):
    """A network with chrono biases on top of the biases of its gates; made by :func:`with_chrono_biases`.

    Attributes:
        cell: name of the plain cell after ``"chrono_"``. It is no registered cell: what takes a network's gates for
            all there is to know of its biases refuses it.
        gates: laws of all gates of the plain cell, and of ``"quantile"``, ξ.
        ensemble: as of any network.
        longest: T, which time scales are spread up to.

    Source: C. Tallec and Y. Ollivier, Can recurrent neural networks warp time? (ICLR 2018, 1804.11188).
    """

    longest: int = 2

    def __post_init__(self) -> None:
        check_count("longest", self.longest, 2)
        object.__setattr__(self, "gates", {**self.gates, QUANTILE: Gate(bias_std=1.0)})
        super().__post_init__()

    def __hash__(self) -> int:
        return hash((self.cell, tuple(self.gates.items()), self.ensemble, self.longest))

    def __reduce__(self) -> tuple[Any, ...]:
        return ChronoNetwork, (self.cell, dict(self.gates), self.ensemble, self.longest)

    @property
    def definition(self) -> Cell:
        """The cell itself, which adds the biases."""
        from meanfield.cells import find

        if not self.cell.startswith(_PREFIX):
            raise InvalidInput(f"cell: must start with {_PREFIX!r}, got {self.cell!r}; use with_chrono_biases")
        return _chrono_cell(find(self.cell.removeprefix(_PREFIX)), self.longest)

    def as_json(self) -> dict[str, Any]:
        """Its laws: those of a network file of the plain cell, and the chrono biases."""
        content = super().as_json()
        del content["gates"][QUANTILE]
        keep, write = chrono_gates(self.definition)
        return {
            **content,
            "cell": self.cell.removeprefix(_PREFIX),
            "chrono_biases": {"keep_gate": keep, "write_gate": write, "longest": self.longest},
        }


def with_chrono_biases(network: Network, longest: int) -> ChronoNetwork:
    """A network whose units have keep biases log v, v uniform on [1, T - 1], and write biases -log v.

    Args:
        network: the plain network; the biases of its gates are added to these.
        longest: T, at least 2.

    Raises:
        InvalidInput: if the cell has no keep gate, or T is too small.

    >>> gates = dict.fromkeys("ifgo", Gate(recurrent_gain=0.5, input_gain=0.5))
    >>> with_chrono_biases(Network("lstm", gates), 200).as_json()["chrono_biases"]
    {'keep_gate': 'f', 'write_gate': 'i', 'longest': 200}
    """
    chrono_gates(network.definition)
    return ChronoNetwork(_PREFIX + network.cell, network.gates, network.ensemble, longest)


def chrono_gates(cell: Cell) -> tuple[str, str | None]:
    """The gate that takes log v, and the one that takes -log v: a write gate i beside the keep gate, if there is one.

    Raises:
        InvalidInput: if the cell has no keep gate.
    """
    if cell.keep_gate is None:
        raise InvalidInput(f"cell: chrono biases need a keep gate, and cell {cell.name!r} has none")
    return cell.keep_gate, "i" if "i" in cell.gates else None


class ChronoCell(Cell):
    """A cell that adds chrono biases to its keep and write gates before it makes its step; see the module."""

    plain: Cell
    longest: int

    def carrier(self, index: int, state: State, fields: Values, drives: Values) -> Array:
        return self.plain.carrier(index, state, fields, self._biased(drives))

    def update(self, state: State, fields: Values, drives: Values) -> tuple[Array, ...]:
        return self.plain.update(state, fields, self._biased(drives))

    def circuit(self, state: State, fields: Values, drives: Values) -> LinearCircuit:
        found = self.plain.circuit(state, fields, self._biased(drives))
        # ξ is the law of a bias and no bias: kicks of all biases leave it alone.
        blocks = vars(found) | {
            name: _with_silent_column(getattr(found, name)) for name in ("drive_to_state", "drive_to_carrier")
        }
        return LinearCircuit(**blocks)

    def _biased(self, drives: Values) -> Mapping[str, Array]:
        keep, write = chrono_gates(self.plain)
        bias = np.log1p((self.longest - 2) * ndtr(drives[QUANTILE]))
        shifted = {**drives, keep: drives[keep] + bias}
        if write is not None:
            shifted[write] = drives[write] - bias
        return shifted


def _with_silent_column(block: Block) -> Block:
    return tuple((*row, 0.0) for row in block)


@functools.lru_cache(maxsize=64)
def _chrono_cell(plain: Cell, longest: int) -> Cell:
    """A class of its own, as what populations ask of a cell is asked of its class."""
    attributes = {
        "plain": plain,
        "longest": longest,
        "name": _PREFIX + plain.name,
        "states": plain.states,
        "output": plain.output,
        "memory": plain.memory,
        "gates": (*plain.gates, QUANTILE),
        "fields": plain.fields,
        "input_gates": plain.input_gates,
        "keep_gate": plain.keep_gate,
        "recurrent_bias_gates": plain.recurrent_bias_gates,
    }
    made: Cell = type("ChronoCell", (ChronoCell,), attributes)()
    return made
