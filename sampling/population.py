"""Populations of units that solve the mean-field theory of a recurrent network in one forward pass (theory, section 2).

In the tied regime the recurrent fields of a wide network are, per unit, Gaussian processes whose covariance in time is
that of the vectors that the matrices read. It is causal: the fields of a step need the vectors up to that step only.
So a population of units carried forward in time, with lazily revealed Gaussian matrices giving their fields, solves
the theory without iteration. Independent groups of units, each with weights of its own, give the errors. Within a
group several input sequences share the weights. The untied regime is the same pass with matrices that forget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.cell import GateLaw, RecurrentCell, field_gains, fields_of_carrier
from meanfield.sampling.cell_kernels import cell_kernels
from meanfield.sampling.drives import InputDrives, InputSource
from meanfield.solvers.lazy_matrix import Device, LazyGaussianMatrix
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.solvers.orthonormal_rows import rows_of

Regime = Literal["tied", "untied"]
Float32 = NDArray[np.float32]
Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How many of what a population has, and where.

    Attributes:
        groups: independent sub-populations, of all networks together; their scatter gives the errors.
        sequences: input sequences that share a group's weights.
        units: units a group. A group answers for a network of this width up to corrections of order 1/units.
        device: where recurrent matrices are kept and applied; the cells' own arithmetic is done on the CPU.
        networks: how many networks share the groups evenly, in their order. Groups at the same place among those of
            their network have the same random numbers, up to the order in which they use the normals of their
            recurrent matrices: networks that span their space at different speeds differ by more than their laws,
            which is not seen where recurrent matrices are weak.
    """

    groups: int = 8
    sequences: int = 1
    units: int = 512
    device: Device = "cpu"
    networks: int = 1


def generators(seed: int, purpose: int, groups: int, networks: int = 1) -> list[np.random.Generator]:
    """One generator a group for one purpose; the same seed gives the same streams in any order of use.

    Of several networks that share the groups, each has the same streams.
    """
    return [
        np.random.default_rng([seed, purpose, group]) for _ in range(networks) for group in range(groups // networks)
    ]


class Population:
    """A population of units under way.

    Attributes:
        state: the state variables, each (groups, sequences, units), float32.
        step: how many steps have been made.
        drives: the input drives, which know the inputs.
    """

    def __init__(
        self,
        cell: RecurrentCell,
        laws: Mapping[str, GateLaw],
        source: InputSource,
        *,
        layout: Layout,
        steps: int,
        regime: Regime = "tied",
        seed: int = 0,
        orthogonal: bool = False,
    ) -> None:
        """Start from the zero state.

        Args:
            cell: the cell.
            laws: laws of every gate of the cell; by group for several networks side by side.
            source: the inputs.
            layout: groups, sequences, units.
            steps: how many steps will be made at most. Memory grows with it: about 4 bytes × groups × units ×
                min(steps × sequences, units) × (1 + fields) for the recurrent matrices.
            regime: ``"tied"`` weights or ``"untied"`` ones, redrawn at every step.
            seed: the one integer that everything random follows from.
            orthogonal: whether the matrices are orthogonal rather than Gaussian, which is seen at finite width only.
        """
        self.cell, self.laws, self.layout, self.regime, self.seed = cell, laws, layout, regime, seed
        self.step = 0
        tied = regime == "tied"
        shape = (layout.groups, layout.sequences, layout.units)
        self.state: tuple[Float32, ...] = tuple(np.zeros(shape, np.float32) for _ in cell.states)
        self.drives = InputDrives(
            source,
            generators(seed, 0, layout.groups // layout.networks),
            copies=layout.networks,
            sequences=layout.sequences,
            steps=steps,
            gates=len(cell.input_gates),
            units=layout.units,
            tied=tied,
        )
        self.gains = field_gains(cell, laws)
        self._kernels = cell_kernels(cell)
        self._recurrent_biases = {f.name for f in cell.fields if f.gate in cell.recurrent_bias_gates}
        self._bias_generators = generators(seed, 1, layout.groups, layout.networks)
        self._bias = self._draw_biases() if tied else None
        self._constants = self._constant_drives(self._bias) if self._bias is not None else None
        self._by_carrier = fields_of_carrier(cell)
        self._matrices = [
            LazyGaussianMatrix(
                rows_of(
                    generators(seed, 2 + carrier, layout.groups, layout.networks),
                    units=layout.units,
                    blocks=len(fields),
                    orthogonal=orthogonal,
                    remember=tied,
                ),
                rows=len(fields) * layout.units,
                columns=layout.units,
                units=layout.units,
                most_vectors=(steps if tied else 1) * layout.sequences,
                remember=tied,
                device=layout.device,
            )
            if np.any(self.gains[fields] != 0.0)
            else None
            for carrier, fields in enumerate(self._by_carrier)
        ]

    def advance(self, linearise: bool = False, sequences: int | None = None) -> LinearCircuit | None:
        """Make one step; returns its linear circuit if asked for, of so many of the sequences, or of all."""
        bias = self._bias if self._bias is not None else self._draw_biases()
        drives = self._drives(bias)
        fields: dict[str, Array] = {}
        for carrier, members in enumerate(self._by_carrier):
            fields.update(self._fields(carrier, members, fields, drives, bias))
        if self._kernels is not None:
            self.state, circuit = self._kernels.step(self.state, fields, drives, linearise, sequences)
        else:
            circuit = self.cell.circuit(self.state, fields, drives) if linearise else None
            if circuit is not None and sequences is not None:
                circuit = circuit.mapped(lambda coefficients: coefficients[:, :sequences])
            self.state = self.cell.update(self.state, fields, drives)
        self.step += 1
        return circuit

    def _drives(self, bias: dict[str, Float32]) -> dict[str, Array]:
        raw = self.drives.at(self.step)
        drives: dict[str, Array] = {}
        constants = self._constants if self._constants is not None else self._constant_drives(bias)
        for gate, constant in constants.items():
            if gate in self.cell.input_gates:
                scaled = _single(self.laws[gate].input_gain) * raw[:, :, self.cell.input_gates.index(gate)]
                drives[gate] = np.add(constant, scaled, out=scaled)
            else:
                drives[gate] = np.broadcast_to(constant, self.state[0].shape)
        return drives

    def _constant_drives(self, bias: dict[str, Float32]) -> dict[str, Array]:
        """The biases of all gates, each (groups, 1, units)."""
        laws = self.laws
        return {
            gate: _single(laws[gate].bias_mean) + _single(laws[gate].bias_std) * bias[gate] for gate in self.cell.gates
        }

    def _fields(
        self,
        carrier: int,
        members: list[int],
        earlier: dict[str, Array],
        drives: dict[str, Array],
        bias: dict[str, Float32],
    ) -> dict[str, Array]:
        """The fields that read one carrier, each (groups, sequences, units)."""
        groups, sequences, units = shape = self.state[0].shape
        matrix = self._matrices[carrier]
        images = None
        if matrix is not None:
            vectors = self.cell.carrier(carrier, self.state, earlier, drives)
            images = matrix.apply(vectors).reshape(groups, sequences, len(members), units)
        values: dict[str, Array] = {}
        for position, index in enumerate(members):
            field = self.cell.fields[index]
            value: Array = np.zeros(shape, np.float32) if images is None else self.gains[index] * images[:, :, position]
            if field.name in self._recurrent_biases:
                law = self.laws[field.gate]
                value = value + _single(law.recurrent_bias_mean)
                value = value + _single(law.recurrent_bias_std) * bias["recurrent " + field.gate]
            values[field.name] = value
        return values

    def _draw_biases(self) -> dict[str, Float32]:
        """Standard normal deviates of all biases, each (groups, 1, units): sequences share them."""
        names = list(self.cell.gates) + ["recurrent " + gate for gate in self.cell.recurrent_bias_gates]
        draws = [g.standard_normal((len(names), self.layout.units), dtype=np.float32) for g in self._bias_generators]
        return {name: np.stack([draw[index] for draw in draws])[:, None] for index, name in enumerate(names)}


def _single(number: float | Array) -> Array:
    return np.asarray(number, np.float32)
