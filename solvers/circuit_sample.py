"""Linear circuits of a sample of units at one time, as arrays: what moments and spectra are averages over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.linear_circuit import LinearCircuit, dense

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class CircuitSample:
    """Coefficients of the one-step Jacobian J = D + A W (1 - Q W)⁻¹ P for a sample of units.

    Leading axes, written …, are independent samples.

    Attributes:
        state_to_state: D, (…, units, S, S).
        field_to_state: A, (…, units, S, K).
        state_to_carrier: P, (…, units, C, S).
        field_to_carrier: Q, (…, units, C, K).
        gains: σ_k, (K,).
        carrier_of: which carrier each field reads, (K,).
    """

    state_to_state: Float64
    field_to_state: Float64
    state_to_carrier: Float64
    field_to_carrier: Float64
    gains: Float64
    carrier_of: NDArray[np.intp]

    @classmethod
    def of(cls, circuit: LinearCircuit, shape: tuple[int, ...], gains: Float64, carrier_of: NDArray[np.intp]) -> Self:
        """From a circuit whose coefficients have this shape, its last axis the units."""
        return cls(
            dense(circuit.state_to_state, shape),
            dense(circuit.field_to_state, shape),
            dense(circuit.state_to_carrier, shape),
            dense(circuit.field_to_carrier, shape),
            np.asarray(gains, dtype=np.float64),
            np.asarray(carrier_of, dtype=np.intp),
        )

    @property
    def variables(self) -> int:
        """Number S of state variables a unit."""
        return int(self.state_to_state.shape[-1])

    def then(self, following: CircuitSample) -> CircuitSample:
        """This step and another one after it as one, with random matrices of their own each.

        >>> one = np.ones((1, 1, 1))
        >>> step = CircuitSample(0.5 * one, one, one, 0.0 * one, np.ones(1), np.array([0]))
        >>> both = step.then(step)
        >>> both.state_to_state.item(), both.field_to_state[0].tolist(), both.field_to_carrier[0].tolist()
        (0.25, [[0.5, 1.0]], [[0.0, 0.0], [1.0, 0.0]])
        """
        reading = following.state_to_carrier
        nothing = np.zeros((*self.field_to_carrier.shape[:-1], following.field_to_carrier.shape[-1]))
        first = np.concatenate((self.field_to_carrier, nothing), axis=-1)
        second = np.concatenate((reading @ self.field_to_state, following.field_to_carrier), axis=-1)
        return CircuitSample(
            following.state_to_state @ self.state_to_state,
            np.concatenate((following.state_to_state @ self.field_to_state, following.field_to_state), axis=-1),
            np.concatenate((self.state_to_carrier, reading @ self.state_to_state), axis=-2),
            np.concatenate((first, second), axis=-2),
            np.concatenate((self.gains, following.gains)),
            np.concatenate((self.carrier_of, following.carrier_of + self.state_to_carrier.shape[-2])),
        )

    def taken(self, which: NDArray[np.intp]) -> CircuitSample:
        """Some of the samples along the first axis."""
        return self._changed(lambda block: block[which])

    def at(self, index: tuple[int, ...]) -> CircuitSample:
        """One sample, at an index of all leading axes, without them."""
        return self._changed(lambda block: block[index])

    def first_of_second_axis(self) -> CircuitSample:
        """The first sample along the second leading axis, which is dropped."""
        return self._changed(lambda block: block[:, 0])

    def reached(self) -> CircuitSample:
        """Without the carriers that no perturbation of the state reaches (embeddings of the input, say), and without
        the fields through which none returns to it (of gates whose effect vanishes, say). One carrier stays at least.
        """
        carriers, fields = list(range(self.state_to_carrier.shape[-2])), np.flatnonzero(self.gains).tolist()
        before = len(carriers) + len(fields) + 1
        while len(carriers) + len(fields) < before:
            before = len(carriers) + len(fields)
            reading = {int(self.carrier_of[k]) for k in fields}
            carriers = [c for c in carriers if c in reading and self._reaches(c, fields)]
            fields = [k for k in fields if self.carrier_of[k] in carriers and self._returns(k, carriers)]
        if not fields:
            carriers, fields = [0], np.flatnonzero(self.carrier_of == 0).tolist()
        return CircuitSample(
            self.state_to_state,
            self.field_to_state[..., fields],
            self.state_to_carrier[..., carriers, :],
            self.field_to_carrier[..., carriers, :][..., fields],
            self.gains[fields],
            np.searchsorted(carriers, self.carrier_of[fields]),
        )

    def _reaches(self, carrier: int, fields: list[int]) -> bool:
        by_fields = self.field_to_carrier[..., carrier, fields]
        return bool(np.any(self.state_to_carrier[..., carrier, :]) or np.any(by_fields))

    def _returns(self, field: int, carriers: list[int]) -> bool:
        by_carriers = self.field_to_carrier[..., carriers, field]
        return bool(np.any(self.field_to_state[..., field]) or np.any(by_carriers))

    def regrouped(self, units: int) -> CircuitSample:
        """The same units dealt anew into samples of this many each, left-over units dropped: (samples, units, …).

        Raises:
            ValueError: if there are fewer units than that in all.
        """

        def deal(values: Float64) -> Float64:
            flat = values.reshape(-1, *values.shape[-2:])
            samples = len(flat) // units
            if samples == 0:
                raise ValueError(f"{len(flat)} units cannot make a sample of {units}")
            return flat[: samples * units].reshape(samples, units, *values.shape[-2:])

        return self._changed(deal)

    def _changed(self, change: Callable[[Float64], Float64]) -> CircuitSample:
        """The same change of leading axes made to all blocks."""
        return CircuitSample(
            change(self.state_to_state),
            change(self.field_to_state),
            change(self.state_to_carrier),
            change(self.field_to_carrier),
            self.gains,
            self.carrier_of,
        )
