"""First two moments of the squared singular values of a one-step Jacobian (theory, section 5).

For J = D + Σ_k A_k W_k C_c(k) with Gaussian W_k only non-crossing pairings survive as N → ∞. The carriers' matrices
C_c = P_c + Σ_m Q_cm W_m C_c(m) may contain further Gaussian matrices (the reset gate of a GRU). Their contribution
follows from the same pairings, one such matrix after the other in the order of evaluation: what was there before is
independent of it, and it occurs at most once in every carrier's matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample

Float64 = NDArray[np.float64]


def jacobian_moments(sample: CircuitSample) -> tuple[Float64, Float64]:
    """m1 = tr J Jᵀ/(S N) and m2 = tr (J Jᵀ)²/(S N) of one step, each of the sample's leading shape.

    The matrices W are taken as independent of the coefficients, which holds as N → ∞.

    Raises:
        ValueError: if a field acts on the state and on a carrier both: then further pairings count.
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
    return first / sample.variables, second / sample.variables


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
