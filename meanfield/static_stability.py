"""Whether fixed points of tied networks are stable (Can et al. 2020; theory, section 5).

Two things can happen at λ = 1. The bulk of the Jacobian's eigenvalues reaches it where ρ(M(1)) = 1: constant
perturbations in random directions then grow in mean square. Gates come arbitrarily close to one as networks grow, and
with them the bulk from within; ρ(M(1)) does not depend on the width. And a single eigenvalue belongs to the size of the
state itself: it is at one where the map from second moments to second moments has slope one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.expressions import evaluate
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.static_moments import StaticMoments

Float64 = NDArray[np.float64]


def radius_at_one(moments: StaticMoments, carriers: Sequence[float]) -> tuple[float, float]:
    """ρ(M(1)) at given second moments of the carriers, (carriers,), and a bound on its error."""
    matrix, errors = moments.responses(carriers)
    # Entries are not negative: the radius grows with each of them.
    value, above = _largest_eigenvalue(matrix), _largest_eigenvalue(matrix + errors)
    return value, abs(above - value) + 1e-15 * value


def _largest_eigenvalue(matrix: Float64) -> float:
    # Fields that pass nothing on make rows or columns of zeros, whose eigenvalues lose half their digits.
    kept = np.flatnonzero(np.any(matrix > 0.0, axis=0) & np.any(matrix > 0.0, axis=1))
    if len(kept) < len(matrix):
        return _largest_eigenvalue(matrix[np.ix_(kept, kept)])
    return float(np.max(np.abs(np.linalg.eigvals(matrix)), initial=0.0))


def static_sample(
    moments: StaticMoments, carriers: Sequence[float], *, groups: int, hidden: int, seed: int
) -> CircuitSample:
    """Circuit coefficients of units at rest, drawn from the laws of their fields, (groups, hidden, …).

    Args:
        moments, carriers: see :func:`radius_at_one`.
        groups: independent networks.
        hidden: units a network.
        seed: of the fields.
    """
    generator = np.random.default_rng(seed)
    cell, formulas = moments.network.definition, moments.formulas
    shape = (groups, hidden)

    def drawn(member: str) -> Float64:
        mean, variance = moments.law(member, carriers)
        return np.asarray(mean + np.sqrt(variance) * generator.standard_normal(shape))

    fields = {each.name: drawn(f"field {each.name}") for each in cell.fields}
    drives = {gate: drawn(f"drive {gate}") for gate in cell.gates}
    members = {f"field {name}": each for name, each in fields.items()}
    members |= {f"drive {name}": each for name, each in drives.items()}
    totals = {name: np.sum([members[member] for member in parts], axis=0) for name, parts in formulas.members.items()}
    states = [np.broadcast_to(each, shape) for each in evaluate(formulas.states, totals)]
    circuit = cell.circuit(states, fields, drives)
    return CircuitSample.of(circuit, shape, moments.gains, moments.carrier_of)
