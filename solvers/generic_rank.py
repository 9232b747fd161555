"""The rank of a one-step Jacobian, exactly, from the ranks of small matrices: the atom of its singular values at zero.

J - z is the Schur complement of a pencil of constant per-unit blocks and Gaussian matrices, which are generic: no
relation holds between their entries. The rank of such a mixed matrix is a maximum over its minors (Murota 2000, theorem
4.2.8). Matrices that connect all units turn it into a minimum over the sets Λ of carriers,

    rank(J - z) = min over Λ of Σ_units rank [[D - z, A_k with c(k) ∈ Λ], [P_c with c ∉ Λ, Q_ck with c ∉ Λ, c(k) ∈ Λ]].

The empty set counts what reaches any carrier or skips it, the full set what fields and the skip path can produce.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample

_NEGLIGIBLE = 1e-12  # of the largest coefficient: below it a unit's singular value counts as zero

Float64 = NDArray[np.float64]


def null_share(sample: CircuitSample, shift: complex = 0.0) -> float:
    """Share of the singular values of J - z that vanish for almost all matrices W.

    Args:
        sample: coefficients without leading axes, of N units with S state variables each.
        shift: z.

    Returns:
        A multiple of 1/(S N), exact for units whose coefficients are exact to 1e-12 of the largest ones.

    >>> half, one = np.repeat([0.0, 1.0], 5)[:, None, None], np.ones((10, 1, 1))
    >>> null_share(CircuitSample(0.0 * one, half, one, 0.0 * one, np.array([1.0]), np.array([0])))
    0.5
    """
    alive = np.flatnonzero(sample.gains)
    read, gains = sample.carrier_of[alive], sample.gains[alive]
    D = sample.state_to_state - shift * np.eye(sample.variables)
    A, Q = sample.field_to_state[..., alive] * gains, sample.field_to_carrier[..., alive] * gains
    units, carriers = len(D), sample.state_to_carrier.shape[-2]
    ranks = []
    for chosen in product((False, True), repeat=carriers):
        inside = np.array(chosen)
        fields, others = inside[read], ~inside
        above = np.concatenate((D, A[..., fields]), axis=-1)
        below = np.concatenate((sample.state_to_carrier[:, others], Q[:, others][..., fields]), axis=-1)
        block = np.concatenate((above, below), axis=-2)
        # Rows and columns of different kinds have different units; only their zeros count.
        block = _balanced(block)
        ranks.append(int(np.sum(np.linalg.matrix_rank(block, tol=_NEGLIGIBLE))))
    return 1.0 - min(ranks) / (units * sample.variables)


def _balanced(block: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """Rows and columns divided by their largest entry in any unit."""
    for axis in ((0, 2), (0, 1)):
        largest = np.max(np.abs(block), axis=axis, keepdims=True, initial=0.0)
        block = block / np.where(largest > 0.0, largest, 1.0)
    return block
