"""What eigenvalues see of a unit: minors of its transfer from fields to carriers, without poles (theory, section 5).

The per-unit transfer B(z) = P (z - D)⁻¹ A + Q has poles at the eigenvalues of D. Its minors times det(z - D) do not:

    N_ΓΛ(z) = det [[z - D, A_Λ], [-P_Γ, Q_ΓΛ]] = det(z - D) det B_ΓΛ(z),

with Γ some carriers and Λ as many fields, are polynomials in z. By the formula of Cauchy and Binet the determinant in
the potential of the eigenvalues is a polynomial without negative terms,

    |det(z - D)|² det(1 + b B a B†) = Σ_ΓΛ Π_Γ b_c Π_Λ a_k |N_ΓΛ(z)|²,    a_k = σ_k² m_c(k).

Carriers that do not act on each other in a cycle belong to different *parts*, over which the potential is a sum. A root
that all polynomials of a unit share is an eigenvalue of J for any matrices: an atom. For matrices that are not Gaussian
(``by_field``) every field has a variable of its own instead of m_c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from meanfield.solvers.circuit_sample import CircuitSample

Float64 = NDArray[np.float64]
Inexact = NDArray[np.inexact]

_CANCELLED = 4e-15  # of a coefficient that vanishes, relative to the sum of its terms
_ROUNDING = 1e-13  # the same of a polynomial at a root
_NOTHING = 1e-140  # coefficients whose squares would not be numbers


@dataclass(frozen=True)
class Minors:
    """The polynomials of one part, those with the same powers of m and b together.

    Attributes:
        exponents: powers of (m, b) that a monomial has, (monomials, 2C), or by field, (monomials, G + C); the first is
            the constant.
        polynomials: of every monomial, its N times Π_Λ σ_k; each (degree + 1, units), constant terms first. The first
            monomial has one, with roots at the eigenvalues of D that belong to this part.
        reads: the carrier of every variable but the last C, (C,) or (G,).
    """

    exponents: NDArray[np.intp]
    polynomials: tuple[tuple[Inexact, ...], ...]
    reads: NDArray[np.intp]

    @property
    def carriers(self) -> int:
        """Number C of carriers."""
        return int(self.exponents.shape[1] - len(self.reads))


@dataclass(frozen=True)
class TransferMinors:
    """All parts of a sample of units.

    Attributes:
        parts: one for every set of carriers in a cycle.
        poles: eigenvalues of D that matrices move, of any unit.
        atoms: eigenvalues of D that stay whatever the matrices are, of any unit.
        largest: real part of the rightmost eigenvalue of every unit's D, (units,).
        variables: number S of state variables.

    >>> one = np.ones((3, 1, 1))
    >>> response = np.array([0.0, 1.0, 2.0])[:, None, None]  # the first unit does not respond
    >>> found = minors_of(CircuitSample(0.5 * one, response, one, 0.0 * one, np.array([2.0]), np.array([0])))
    >>> found.atoms, found.poles
    (array([0.5]), array([0.5, 0.5]))
    >>> constant, linear = found.parts[0].polynomials
    >>> linear[0]  # A P σ of every unit, no power of z
    array([[0., 2., 4.]])
    """

    parts: tuple[Minors, ...]
    poles: Inexact
    atoms: Inexact
    largest: Float64
    variables: int

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.largest)


def minors_of(sample: CircuitSample, *, by_field: bool = False) -> TransferMinors:
    """The minors of a sample without leading axes.

    Args:
        sample: the circuit.
        by_field: whether fields that read the same carrier are told apart.

    Raises:
        ArithmeticError: if coefficients are not finite.
    """
    blocks = (sample.state_to_state, sample.field_to_state, sample.state_to_carrier, sample.field_to_carrier)
    if not all(np.all(np.isfinite(block)) for block in (*blocks, sample.gains)):
        raise ArithmeticError("the circuit's coefficients are not finite")
    own = _own_eigenvalues(sample.state_to_state)  # (units, S)
    moved = np.zeros(own.shape, dtype=np.bool_)
    parts = []
    for carriers in _cycles(sample):
        part, owned = _part(sample, carriers, own, by_field=by_field)
        parts.append(part)
        moved |= owned
    return TransferMinors(tuple(parts), own[moved], own[~moved], np.max(own.real, axis=1), sample.variables)


def _own_eigenvalues(D: Float64) -> Inexact:
    """Eigenvalues of every unit's D, exact where it is triangular, (units, S)."""
    diagonal = np.diagonal(D, axis1=-2, axis2=-1)
    below, above = np.tril(D, -1), np.triu(D, 1)
    if not np.any(below) or not np.any(above):
        return diagonal.copy()
    found = np.linalg.eigvals(D)
    return found if np.any(np.imag(found)) else np.real(found)


def _cycles(sample: CircuitSample) -> Iterator[list[int]]:
    """Sets of carriers that act on each other through units and matrices, in a cycle."""
    D, A = sample.state_to_state, sample.field_to_state
    P, Q = sample.state_to_carrier, sample.field_to_carrier
    carriers, S = P.shape[-2], sample.variables
    acts = np.any(Q != 0.0, axis=0)  # of a field on a carrier, by any unit
    state = A  # powers of D applied to A: by Cayley and Hamilton S of them
    for _ in range(S):
        acts |= np.any(P @ state != 0.0, axis=0)
        state = D @ state
    acts &= sample.gains != 0.0
    graph = np.zeros((carriers, carriers), dtype=np.bool_)
    for k, read in enumerate(sample.carrier_of):
        graph[:, read] |= acts[:, k]
    count, labels = connected_components(graph, directed=True, connection="strong")
    for label in range(count):
        members = np.flatnonzero(labels == label).tolist()
        if np.any(graph[np.ix_(members, members)]):
            yield members


def _part(
    sample: CircuitSample, carriers: list[int], own: Inexact, *, by_field: bool
) -> tuple[Minors, NDArray[np.bool_]]:
    """The polynomials of some carriers, and which eigenvalues of D they move, (units, S)."""
    S, C = sample.variables, len(carriers)
    fields = [k for k in range(len(sample.gains)) if sample.gains[k] and sample.carrier_of[k] in carriers]
    determinants, sizes = (_Determinants(sample, carriers, fields, absolute=each) for each in (False, True))
    rows, place = frozenset(range(S)), {c: i for i, c in enumerate(carriers)}
    reads = np.array([place[int(sample.carrier_of[k])] for k in fields]) if by_field else np.arange(C)
    grouped: dict[tuple[int, ...], list[_Sized]] = {}
    grouped[(0,) * (len(reads) + C)] = [_Sized(determinants.of(rows, rows), sizes.of(rows, rows))]
    for size in range(1, min(C, len(fields)) + 1):
        for chosen in combinations(range(C), size):
            for through in combinations(range(len(fields)), size):
                block = rows | {S + c for c in chosen}, rows | {S + k for k in through}
                factor = np.prod(sample.gains[[fields[k] for k in through]])
                value, size_of_terms = factor * determinants.of(*block), np.abs(factor) * sizes.of(*block)
                value[np.abs(value) <= _CANCELLED * size_of_terms] = 0.0
                if not np.any(np.abs(value) > _NOTHING):
                    continue
                powers = [0] * (len(reads) + C)
                for c, k in zip(chosen, through, strict=True):
                    powers[k if by_field else place[int(sample.carrier_of[fields[k]])]] += 1
                    powers[len(reads) + c] += 1
                grouped.setdefault(tuple(powers), []).append(_Sized(value, size_of_terms))
    moved = _without_common_roots(grouped, own)
    polynomials = tuple(tuple(_trimmed(each.polynomial) for each in group) for group in grouped.values())
    exponents = np.array(list(grouped), dtype=np.intp)
    if by_field:  # fields without a way back into the part do not count in it
        used = np.any(exponents[:, : len(reads)], axis=0)
        exponents, reads = exponents[:, np.append(used, np.full(C, True))], reads[used]
    return Minors(exponents, polynomials, reads), moved


@dataclass(frozen=True)
class _Sized:
    """A polynomial of every unit, and one with the sizes of the terms that its coefficients are sums of."""

    polynomial: Inexact
    sizes: Float64


def _without_common_roots(grouped: dict[tuple[int, ...], list[_Sized]], own: Inexact) -> NDArray[np.bool_]:
    """Divide every unit's polynomials by the eigenvalues of its D that all of them share; the others, (units, S)."""
    moved = np.ones(own.shape, dtype=np.bool_)
    for s in range(own.shape[1]):
        root = own[:, s]
        shared = np.ones(len(own), dtype=np.bool_)
        for group in list(grouped.values())[1:]:
            for each in group:
                at_root = np.abs(polyval(root, each.polynomial, tensor=False))
                shared &= at_root <= _ROUNDING * polyval(np.abs(root), each.sizes, tensor=False) + _NOTHING
        if not np.any(shared):
            continue
        moved[shared, s] = False
        for group in grouped.values():
            group[:] = [
                _Sized(_divided(each.polynomial, root, shared), np.real(_divided(each.sizes, np.abs(root), shared)))
                for each in group
            ]
    return moved


def _divided(polynomial: Inexact, root: Inexact, where: NDArray[np.bool_]) -> Inexact:
    """Divided by (z - root) for some units, remainders dropped."""
    out = polynomial.astype(np.result_type(polynomial, root))
    carry = np.zeros_like(root[where])
    for degree in range(len(polynomial) - 1, -1, -1):
        out[degree, where] = carry
        carry = polynomial[degree, where] + root[where] * carry
    return out


def _trimmed(polynomial: Inexact) -> Inexact:
    """Without leading powers that no unit has."""
    used = np.flatnonzero(np.any(polynomial != 0.0, axis=1))
    return polynomial[: used[-1] + 1 if len(used) else 1]


class _Determinants:
    """Determinants of [[z - D, A], [-P, Q]] with some rows and columns, polynomials in z of every unit.

    Or the same sums with the absolute values of all their terms.
    """

    def __init__(self, sample: CircuitSample, carriers: list[int], fields: list[int], *, absolute: bool) -> None:
        self._S = S = sample.variables
        D, A = sample.state_to_state, sample.field_to_state[..., fields]
        P, Q = sample.state_to_carrier[:, carriers], sample.field_to_carrier[:, carriers][..., fields]
        self._units = len(D)
        self._absolute = absolute
        self._matrix = np.block([[-D, A], [-P, Q]]).transpose(1, 2, 0)  # without z
        if absolute:
            self._matrix = np.abs(self._matrix)
        self._known: dict[tuple[frozenset[int], frozenset[int]], Float64] = {}
        self._degree = S

    def of(self, rows: frozenset[int], columns: frozenset[int]) -> Float64:
        """Coefficients, (S + 1, units)."""
        if not rows:
            one = np.zeros((self._degree + 1, self._units))
            one[0] = 1.0
            return one
        if (rows, columns) not in self._known:
            row, total = max(rows), np.zeros((self._degree + 1, self._units))
            for place, column in enumerate(sorted(columns)):
                entry, diagonal = self._matrix[row, column], row == column < self._S
                if not diagonal and not np.any(entry):
                    continue
                minor = self.of(rows - {row}, columns - {column})
                term = entry * minor
                if diagonal:
                    term[1:] += minor[:-1]
                total += -term if (len(rows) - 1 + place) % 2 and not self._absolute else term
            self._known[rows, columns] = total
        return self._known[rows, columns]
