"""The linear pencil of a one-step Jacobian with its random blocks averaged out, unit by unit (theory, section 5).

With a the left and b the right argument of the Hermitisation of J - z, and p the carriers, what remains of a unit is

    K = [[-w, D - z, 0], [(D - z)*, -w, Pᵀ], [0, P, -1/α]] + Σ_c β_c U_c,    U_c = Σ_{k reads c} σ_k² u_k u_kᵀ,
    u_k = (A_k, 0, Q_k),

a matrix of 2S + C rows with two numbers α_c, β_c a carrier. Times Π(-α_c) its determinant is a polynomial in w and
those numbers with real coefficients: all that the Dyson equation needs of a unit. Matrices that are not Gaussian do not
add up as those of one carrier do; then every field has a U_k and a number b_k of its own (``by_field``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.circuit_moments import returned_power
from meanfield.solvers.circuit_sample import CircuitSample

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]
_Exponents = tuple[int, ...]
_Polynomial = dict[_Exponents, Complex128]  # one coefficient a unit for every product of powers of (w, α, β)


@dataclass(frozen=True)
class UnitDeterminants:
    """Polynomials in (w, α_1 … α_C, β_1 … β_G), one a unit.

    Attributes:
        exponents: of every term, (terms, 1 + C + G).
        coefficients: (units, terms).
    """

    exponents: NDArray[np.intp]
    coefficients: Float64


@dataclass(frozen=True)
class UnitPencils:
    """Coefficients of a sample of units, in units of ``scale`` = √m1, with m1 = tr J Jᵀ/(S N).

    Fields form G groups: those that read the same carrier, so that G = C, or every field by itself.

    Attributes:
        skip: D - z, (units, S, S), complex if z is.
        state_to_carrier: P, (units, C, S).
        of_fields: U of every group, (units, G, S + C, S + C), of the rows of a and of the carriers.
        scale: what singular values and spectral parameters are divided by; 1 if J and z vanish.
        returned: Σ_k σ_k² E|A_k|² of a group's fields, (G,): α is about returned/w far away. By field it counts ways
            back through later fields too.
        power: tr C_c C_cᵀ/N of every carrier, (C,): β is about power/w far away.
        reads: the carrier that a group reads, (G,).
    """

    skip: NDArray[np.inexact]
    state_to_carrier: Float64
    of_fields: Float64
    scale: float
    returned: Float64
    power: Float64
    reads: NDArray[np.intp]

    @classmethod
    def of(cls, sample: CircuitSample, shift: complex = 0.0, *, by_field: bool = False) -> UnitPencils:
        """From a sample without leading axes; carriers and fields that do not count are left out."""
        sample = sample.reached()
        # What has no way from the state to a carrier and back through a field is kept as one carrier at least.
        if sample.gains.any() and sample.field_to_state.any() and sample.state_to_carrier.any():
            D, A, P = sample.state_to_state, sample.field_to_state, sample.state_to_carrier
            Q, gains, read = sample.field_to_carrier, sample.gains, sample.carrier_of
        else:
            D, A, P = sample.state_to_state, sample.field_to_state[..., :0], sample.state_to_carrier[:, :0]
            Q, gains, read = sample.field_to_carrier[:, :0, :0], sample.gains[:0], sample.carrier_of[:0]
        units, variables, carriers = len(D), D.shape[-1], P.shape[-2]
        skip = D - shift * np.eye(variables) if shift else D
        if np.isrealobj(skip) or not np.any(np.imag(skip)):
            skip = np.real(skip)

        power = np.mean(np.sum(P**2, axis=-1), axis=0)
        for c in range(carriers):
            power[c] += np.sum(gains**2 * np.mean(Q[:, c] ** 2, axis=0) * power[read])
        returned = np.zeros(carriers)
        np.add.at(returned, read, gains**2 * np.mean(np.sum(A**2, axis=-2), axis=0))
        scale = math.sqrt((np.mean(np.sum(np.abs(skip) ** 2, axis=(-2, -1))) + returned @ power) / variables) or 1.0

        columns = np.concatenate((A / scale, Q), axis=-2) * gains  # u_k without the rows of b, (units, S + C, K)
        group_of, reads = (np.arange(len(read)), read) if by_field else (read, np.arange(carriers))
        of_fields = np.empty((units, len(reads), variables + carriers, variables + carriers))
        for g in range(len(reads)):
            of_fields[:, g] = columns[..., group_of == g] @ np.swapaxes(columns[..., group_of == g], -1, -2)
        if by_field:
            returned = returned_power(A, Q, gains, read) * gains**2
        return cls(skip / scale, P, of_fields, scale, returned / scale**2, power, reads)

    @property
    def variables(self) -> int:
        """Number S of state variables a unit."""
        return int(self.skip.shape[-1])

    @property
    def carriers(self) -> int:
        """Number C of carriers."""
        return int(self.state_to_carrier.shape[-2])

    @property
    def groups(self) -> int:
        """Number G of groups of fields."""
        return len(self.reads)

    def matrices(self, w: Complex128, alpha: Complex128, beta: Complex128) -> Complex128:
        """K of every unit, (points, units, 2S + C, 2S + C), at w (points,), α (points, C) and β (points, G)."""
        S, C = self.variables, self.carriers
        rows = np.r_[:S, 2 * S : 2 * S + C]
        K = np.zeros((len(w), len(self.skip), 2 * S + C, 2 * S + C), dtype=np.complex128)
        for i in range(2 * S):
            K[..., i, i] = -w[:, None]
        for c in range(C):
            K[..., 2 * S + c, 2 * S + c] -= 1.0 / alpha[:, None, c]
        for g in range(self.groups):
            K[..., rows[:, None], rows] += beta[:, None, g, None, None] * self.of_fields[:, g]
        K[..., :S, S : 2 * S] += self.skip
        K[..., S : 2 * S, :S] += np.conj(np.swapaxes(self.skip, -1, -2))
        K[..., 2 * S :, S : 2 * S] += self.state_to_carrier
        K[..., S : 2 * S, 2 * S :] += np.swapaxes(self.state_to_carrier, -1, -2)
        return K

    def determinants(self) -> UnitDeterminants:
        """det K Π(-α_c) as polynomials, from the minors of ever more rows."""
        size = 2 * self.variables + self.carriers
        constant = (0,) * (1 + self.carriers + self.groups)
        minors: dict[int, _Polynomial] = {0: {constant: np.ones(len(self.skip), dtype=np.complex128)}}
        for row in range(size):
            following: dict[int, _Polynomial] = {}
            for column in range(size):
                entry = self._entry(row, column)
                if not entry:
                    continue
                for taken, minor in minors.items():
                    if not taken >> column & 1:
                        sign = -1.0 if (taken >> column).bit_count() % 2 else 1.0
                        _add_product(following.setdefault(taken | 1 << column, {}), sign, entry, minor)
            minors = following
        whole = {powers: np.real(values) for powers, values in minors[2**size - 1].items() if np.any(np.real(values))}
        return UnitDeterminants(np.array(list(whole), dtype=np.intp), np.stack(list(whole.values()), axis=-1))

    def _entry(self, row: int, column: int) -> _Polynomial:
        """One entry of K, rows of carriers times -α_c."""
        S, C = self.variables, self.carriers
        found: _Polynomial = {}

        def add(values: NDArray[np.inexact], *variables: int) -> None:
            if np.any(values):
                powers = tuple(variables.count(v) for v in range(1 + C + self.groups))
                found[powers] = found.get(powers, 0.0) + np.asarray(values, dtype=np.complex128)

        ones = np.ones(len(self.skip))
        i, j = sorted((row, column))
        if row == column:
            add(*((-ones, 0) if row < 2 * S else (ones,)))
        elif i < S <= j < 2 * S:
            block = self.skip[:, i, j - S]
            add(block if row < column else np.conj(block))
        factor = (1 + row - 2 * S,) if row >= 2 * S else ()  # the number of α_c among the variables
        sign = -1.0 if factor else 1.0
        if S <= i < 2 * S <= j:
            add(sign * self.state_to_carrier[:, j - 2 * S, i - S], *factor)
        if not (S <= i < 2 * S or S <= j < 2 * S):
            i, j = (each if each < S else each - S for each in (i, j))
            for g in range(self.groups):
                add(sign * self.of_fields[:, g, i, j], *factor, 1 + C + g)
        return found


def _add_product(total: _Polynomial, sign: float, left: _Polynomial, right: _Polynomial) -> None:
    """Add a signed product of two polynomials to the total."""
    for first, a in left.items():
        for second, b in right.items():
            powers = tuple(x + y for x, y in zip(first, second, strict=True))
            product = sign * a * b
            total[powers] = total[powers] + product if powers in total else product
