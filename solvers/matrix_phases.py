"""Where rotation-invariant matrices that can be inverted leave holes between eigenvalues (theory, sections 5 and 6).

Outside the support perturbations die out. Either those that go forward through all matrices do, which is so far away,
or those that go backward through some of them: with T a set of fields that read different carriers Γ, a *phase*, solve
y_T for p_Γ and let W_k⁻¹ take y_k back to its carrier. With singular values s the mean square of W_k⁻¹ is E s⁻²/σ_k²
against σ_k² E s² forward. The responses of a unit, turned around, are ratios of minors,

    ∂y_k/∂p_c = N(Γ-c, T-k)/N(Γ, T),          ∂y_k/∂y_l = N(Γ, T-k+l)/N(Γ, T),
    ∂p_d/∂p_c = N(Γ-c+d, T)/N(Γ, T),          ∂p_d/∂y_l = N(Γ+d, T+l)/N(Γ, T),

up to signs, and z is outside where the map of variances of one phase has a spectral radius below one. For a matrix W
times a diagonal A these are the two circles of the single ring theorem (Guionnet, Krishnapur and Zeitouni 2011).
Gaussian matrices have E s⁻² = ∞ and no phase but the empty one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.transfer_minors import Minors


@dataclass(frozen=True)
class Phase:
    """A set T of fields to go back through.

    Attributes:
        dominant: the monomial with N_ΓT.
        entries: (row, column, monomial, factor) of every contribution to the map of variances, the mean over units of
            |N/N_ΓT|² times the factor.
    """

    dominant: int
    entries: tuple[tuple[int, int, int, float], ...]


def phases_of(minors: Minors, inverse_square: float) -> tuple[Phase, ...]:
    """All phases of one part, by field, the empty one first.

    Args:
        minors: of the part.
        inverse_square: E s⁻² of singular values of mean square one; infinite if there is only the empty phase.

    >>> exponents = np.array([[0, 0], [1, 1]])  # one matrix and one carrier
    >>> [phase.entries for phase in phases_of(Minors(exponents, ((), ()), np.array([0])), 2.0)]
    [((0, 0, 1, 1.0),), ((0, 0, 0, 2.0),)]
    """
    fields = len(minors.reads)
    monomials: dict[tuple[frozenset[int], frozenset[int]], int] = {}
    for j, row in enumerate(minors.exponents):
        carriers = frozenset(np.flatnonzero(row[fields:]).tolist())
        monomials[carriers, frozenset(np.flatnonzero(row[:fields]).tolist())] = j
    found = []
    for (carriers, through), j in monomials.items():
        read = {int(minors.reads[k]) for k in through}
        if read == carriers and (not through or np.isfinite(inverse_square)):
            found.append(Phase(j, tuple(_entries(monomials, minors.reads, carriers, through, inverse_square))))
    return tuple(found)


def _entries(
    monomials: dict[tuple[frozenset[int], frozenset[int]], int],
    reads: NDArray[np.intp],
    carriers: frozenset[int],
    through: frozenset[int],
    inverse_square: float,
) -> list[tuple[int, int, int, float]]:
    """Contributions to the map between what comes out of units: y_k of the phase in the place of their carriers, and p
    of the other carriers.
    """
    # What goes into units, what is added to and taken from the rows and columns of N, and where it comes from.
    into = [(frozenset[int](), {c}, c, inverse_square) for c in carriers]
    sources = [(k, int(reads[k])) for k in range(len(reads)) if k not in through]
    into_fields = [(k, source, inverse_square if source in carriers else 1.0) for k, source in sources]
    out: list[tuple[int, int, int, float]] = []
    all_carriers = frozenset(int(c) for rows, _ in monomials for c in rows) | carriers
    for place in sorted(all_carriers):
        leaving = {k for k in through if int(reads[k]) == place}  # the field that comes out in this place
        added: set[int] = set() if leaving else {place}
        for _, removed, source, factor in into:
            key = ((carriers - removed) | added, through - leaving)
            if key in monomials:
                out.append((place, source, monomials[key], factor))
        for field, source, factor in into_fields:
            key = (carriers | added, (through - leaving) | {field})
            if key in monomials:
                out.append((place, source, monomials[key], factor))
    return out
