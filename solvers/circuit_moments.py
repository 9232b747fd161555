"""First two moments of the squared singular values of a one-step Jacobian (theory, section 5).

For J = D + Σ_k A_k W_k C_c(k) with Gaussian W_k only non-crossing pairings survive as N → ∞. The carriers' matrices
C_c = P_c + Σ_m Q_cm W_m C_c(m) may contain further Gaussian matrices (the reset gate of a GRU). Their contribution
follows from the same pairings, one such matrix after the other in the order of evaluation: what was there before is
independent of it, and it occurs at most once in every carrier's matrix.

Other matrices that are unchanged in law by rotations from both sides are R-diagonal: of their free cumulants only those
of alternating W and Wᵀ differ from zero. In m2 every W_k occurs in each of J Jᵀ J Jᵀ at most once, and beside pairings
there is one block more, all four, whose complement consists of single factors (Nica and Speicher, lecture 15):

    m2 = m2 of Gaussian matrices + Σ_k κ (σ_k² l_k r_k)²/S,    κ = E s⁴/(E s²)² - 2,

with r_k = tr C Cᵀ/N of the carrier that W_k reads, l_k the same of what leads from its field to the state, and σ_k² the
mean square of its singular values. κ is 0 for Gaussian matrices and -1 for orthogonal ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample

Float64 = NDArray[np.float64]


def jacobian_moments(sample: CircuitSample, fourth_cumulant: float = 0.0) -> tuple[Float64, Float64]:
    """m1 = tr J Jᵀ/(S N) and m2 = tr (J Jᵀ)²/(S N) of one step, each of the sample's leading shape.

    The matrices W are taken as independent of the coefficients, which holds as N → ∞.

    Args:
        sample: the circuit; its gains are root mean squares of the matrices' singular values.
        fourth_cumulant: κ = E s⁴/(E s²)² - 2 of the singular values s.

    Raises:
        ValueError: if a field acts on the state and on a carrier both: then further pairings count.

    >>> one = np.ones((4, 1, 1))
    >>> orthogonal = CircuitSample(0.0 * one, one, one, 0.0 * one, np.array([2.0]), np.array([0]))
    >>> float(jacobian_moments(orthogonal)[1]), float(jacobian_moments(orthogonal, -1.0)[1])
    (32.0, 16.0)
    """
    D, A = sample.state_to_state, sample.field_to_state
    P, Q = sample.state_to_carrier, sample.field_to_carrier
    read, variance = sample.carrier_of, sample.gains**2
    fields, carriers = len(variance), P.shape[-2]
    inner = [m for m in range(fields) if np.any(Q[..., m])]
    if any(np.any(A[..., m]) for m in inner):
        raise ValueError("the second moment needs fields that act either on the state or on a carrier, not on both")

    power = np.zeros((*D.shape[:-3], carriers))  # a_c = tr C_c C_cᵀ/N
    square = np.zeros((*D.shape[:-2], carriers, D.shape[-1], D.shape[-1]))  # unit-diagonal blocks of C_cᵀ C_c
    for c in range(carriers):
        square[..., c, :, :] = P[..., c, :, None] * P[..., c, None, :]
        power[..., c] = np.mean(np.sum(P[..., c, :] ** 2, axis=-1), axis=-1)
        for m in inner:
            weight = variance[m] * np.mean(Q[..., c, m] ** 2, axis=-1)
            power[..., c] += weight * power[..., read[m]]
            square[..., c, :, :] += weight[..., None, None, None] * square[..., read[m], :, :]
    overlap = _carrier_overlaps(P, Q, sorted(inner, key=lambda m: int(read[m])), read, variance, power)

    gain = variance * power[..., read]  # variance of y_k for a unit white perturbation
    norms = np.sum(A**2, axis=-2)  # |A_k|², (…, units, K)
    mean_norms = np.mean(norms, axis=-2)
    gram = np.einsum("...sk,...sl->...kl", A, A)
    first = np.mean(np.sum(D**2, axis=(-2, -1)), axis=-1) + np.sum(gain * mean_norms, axis=-1)

    DDt = D @ np.swapaxes(D, -1, -2)
    second = np.mean(np.sum(DDt**2, axis=(-2, -1)), axis=-1)
    through = np.swapaxes(D, -1, -2) @ A
    second = second + 2.0 * np.sum(gain * np.mean(np.sum(through**2, axis=-2), axis=-2), axis=-1)
    returning = np.einsum("...usr,...ucrq,...usq->...c", D, square, D) / D.shape[-3]
    second = second + 2.0 * np.sum(variance * mean_norms * returning[..., read], axis=-1)
    second = second + np.einsum("...k,...l,...kl->...", gain, gain, np.mean(gram**2, axis=-3))
    weighted = variance * mean_norms
    second = second + np.einsum("...k,...l,...kl->...", weighted, weighted, overlap[..., read, :][..., read])
    if fourth_cumulant:
        round_trip = gain * returned_power(A, Q, sample.gains, read)
        second = second + fourth_cumulant * np.sum(round_trip**2, axis=-1)
    return first / sample.variables, second / sample.variables


def returned_power(A: Float64, Q: Float64, gains: Float64, read: NDArray[np.intp]) -> Float64:
    """l_k = tr L_kᵀ L_k/N with L_k what leads from field k to the state, through later fields too; (…, K).

    Args:
        A, Q: of a sample, see :class:`~meanfield.solvers.circuit_sample.CircuitSample`.
        gains, read: σ_k and the carrier that each field reads, (K,).
    """
    found = np.mean(np.sum(A**2, axis=-2), axis=-2)
    through = gains**2 * np.mean(Q**2, axis=-3)[..., read, :].swapaxes(-1, -2)  # from k to l, (…, K, K)
    # Q is strictly triangular in the order of evaluation: later fields first.
    for k in np.argsort(-read, kind="stable"):
        found[..., k] += np.sum(through[..., k, :] * found, axis=-1)
    return found


def _carrier_overlaps(
    P: Float64, Q: Float64, inner: list[int], read: NDArray[np.intp], variance: Float64, power: Float64
) -> Float64:
    """b_cd = tr C_cᵀ C_c C_dᵀ C_d/N, (…, C, C); inner fields in the order of their evaluation.

    With C_c = C⁰_c + Q_cm W_m C_r, where C⁰ and C_r are without W_m, the pairings of none, two and four W_m give

        b_cd = b⁰_cd + σ_m² (E Q_cm² b⁰_rd + E Q_dm² b⁰_rc + 2 a_r E[Q_cm Q_dm V⁰_cd])
                     + σ_m⁴ (E Q_cm² E Q_dm² b⁰_rr + a_r² E[Q_cm² Q_dm²]),

    with a_r = tr C_r C_rᵀ/N and V⁰_cd the unit-diagonal of C⁰_c C⁰_dᵀ.
    """
    joint = P @ np.swapaxes(P, -1, -2)  # V, (…, units, C, C)
    overlap: Float64 = np.mean(joint**2, axis=-3)
    for m in inner:
        r = read[m]
        strength = variance[m] * np.mean(Q[..., m] ** 2, axis=-2)  # (…, C)
        products = Q[..., m][..., :, None] * Q[..., m][..., None, :]
        through = (variance[m] * power[..., r])[..., None, None]  # σ_m² a_r
        cross = strength[..., :, None] * overlap[..., None, r, :]
        both = strength[..., :, None] * strength[..., None, :] * overlap[..., r, r][..., None, None]
        overlap = overlap + cross + np.swapaxes(cross, -1, -2) + both
        overlap = overlap + 2.0 * through * np.mean(products * joint, axis=-3)
        overlap = overlap + through**2 * np.mean(products**2, axis=-3)
        joint = joint + through[..., None, :, :] * products
    return overlap
