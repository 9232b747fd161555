"""The linear response of one step of a recurrent network, unit by unit (theory, section 1, equation 2).

Everything about gradients and spectra follows from this object. A perturbation δ of the state enters a step through
the *carriers* p_c, the vectors that recurrent matrices read, and leaves it through the *fields* y_k = W_k p_c(k):

    p_c = Σ_s P[c][s] δ_-[s] + Σ_k Q[c][k] y_k + Σ_g R[c][g] d_g
    δ_s = Σ_r D[s][r] δ_-[r] + Σ_k A[s][k] y_k + Σ_g B[s][g] d_g

where d_g perturbs the input drive of gate g. Q is strictly triangular: a carrier reads only fields that were
evaluated before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Entry = float | Array
"""One coefficient: a per-unit array, or a plain float where it is the same for every unit (0.0: no connection)."""
Block = tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True)
class LinearCircuit:
    """Per-unit coefficients of one linearised step.

    Every block is a tuple of rows; an entry is an array of the population's shape (…, units) or a plain float.
    With S state variables, K fields, C carriers and G gates the blocks are

    Attributes:
        state_to_state: D, S × S.
        field_to_state: A, S × K.
        state_to_carrier: P, C × S.
        field_to_carrier: Q, C × K.
        drive_to_state: B, S × G.
        drive_to_carrier: R, C × G.

    >>> import numpy as np
    >>> slope = np.array([1.0, 0.5])
    >>> vanilla = LinearCircuit(((0.0,),), ((slope,),), ((1.0,),), ((0.0,),), ((slope,),), ((0.0,),))
    >>> vanilla.to_state((np.array([2.0, 2.0]),), fields=(np.array([1.0, 4.0]),))[0]
    array([1., 2.])
    """

    state_to_state: Block
    field_to_state: Block
    state_to_carrier: Block
    field_to_carrier: Block
    drive_to_state: Block
    drive_to_carrier: Block

    def mapped(self, function: Callable[[Array], Array]) -> LinearCircuit:
        """A function applied to every coefficient that is an array."""
        blocks = (
            tuple(tuple(entry if isinstance(entry, float) else function(entry) for entry in row) for row in block)
            for block in vars(self).values()
        )
        return LinearCircuit(*blocks)

    def to_state(self, state: Sequence[Entry], fields: Sequence[Entry], drives: Sequence[Entry] = ()) -> list[Entry]:
        """Perturbation of the new state, from those of the old state, the fields and the drives."""
        return [
            add(weighted_sum(D, state), weighted_sum(A, fields), weighted_sum(B, drives))
            for D, A, B in zip(self.state_to_state, self.field_to_state, self.drive_to_state, strict=True)
        ]

    def to_carrier(
        self, carrier: int, state: Sequence[Entry], fields: Sequence[Entry], drives: Sequence[Entry] = ()
    ) -> Entry:
        """Perturbation of one carrier; fields that come after it are not read (Q is strictly triangular)."""
        return add(
            weighted_sum(self.state_to_carrier[carrier], state),
            weighted_sum(self.field_to_carrier[carrier], fields),
            weighted_sum(self.drive_to_carrier[carrier], drives),
        )

    def adjoint_of_field(self, field: int, state: Sequence[Entry], carriers: Sequence[Entry]) -> Entry:
        """Transpose of the response to a field: from the adjoints of the new state and of the later carriers."""
        return add(
            weighted_sum(column(self.field_to_state, field), state),
            weighted_sum(column(self.field_to_carrier, field), carriers),
        )

    def adjoint_of_drive(self, gate: int, state: Sequence[Entry], carriers: Sequence[Entry]) -> Entry:
        """Transpose of the response to a gate's input drive."""
        return add(
            weighted_sum(column(self.drive_to_state, gate), state),
            weighted_sum(column(self.drive_to_carrier, gate), carriers),
        )

    def adjoint_of_state(self, variable: int, state: Sequence[Entry], carriers: Sequence[Entry]) -> Entry:
        """Transpose of the response to one variable of the old state."""
        return add(
            weighted_sum(column(self.state_to_state, variable), state),
            weighted_sum(column(self.state_to_carrier, variable), carriers),
        )


def column(block: Block, index: int) -> tuple[Entry, ...]:
    """One column of a block."""
    return tuple(row[index] for row in block)


def weighted_sum(coefficients: Sequence[Entry], values: Sequence[Entry]) -> Entry:
    """Σ_j coefficients[j] values[j]; absent connections cost nothing and stay the plain float 0.0."""
    total: Entry = 0.0
    for coefficient, value in zip(coefficients, values, strict=False):
        # Most are absent, and this runs for every entry at every step.
        plain = type(coefficient) is float
        if (plain and coefficient == 0.0) or (type(value) is float and value == 0.0):
            continue
        term = value if plain and coefficient == 1.0 else coefficient * value
        total = term if is_absent(total) else total + term
    return total


def add(*terms: Entry) -> Entry:
    """The sum of the terms that are present."""
    total: Entry = 0.0
    for term in terms:
        if not is_absent(term):
            total = term if is_absent(total) else total + term
    return total


def is_absent(entry: Entry) -> bool:
    """Whether an entry is the plain float 0.0, which stands for no connection at all."""
    return type(entry) is float and entry == 0.0


def dense(block: Block, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A block as one float64 array of shape (*shape, rows, columns)."""
    out = np.empty((*shape, len(block), len(block[0])))
    for i, row in enumerate(block):
        for j, entry in enumerate(row):
            out[..., i, j] = entry
    return out
