"""First two moments of the squared singular values of a one-step Jacobian (theory, section 5).

For J = D + Σ_k A_k W_k C_c(k) with Gaussian W_k only non-crossing pairings survive as N → ∞. The carriers' matrices
C_c = P_c + Σ_m Q_cm W_m C_c(m) may contain further Gaussian matrices (the reset gate of a GRU); their contribution
follows from the same pairings, carrier after carrier.
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
    overlap = np.zeros((*D.shape[:-3], carriers, carriers))  # b_cd = tr C_cᵀ C_c C_dᵀ C_d/N
    for c in range(carriers):
        square[..., c, :, :] = P[..., c, :, None] * P[..., c, None, :]
        power[..., c] = np.mean(np.sum(P[..., c, :] ** 2, axis=-1), axis=-1)
        for m in inner:
            weight = variance[m] * np.mean(Q[..., c, m] ** 2, axis=-1)
            power[..., c] += weight * power[..., read[m]]
            square[..., c, :, :] += weight[..., None, None, None] * square[..., read[m], :, :]
    for c in range(carriers):
        for d in range(c + 1):
            value = _carrier_overlap(c, d, P, Q, inner, read, variance, power, square, overlap)
            overlap[..., c, d] = overlap[..., d, c] = value

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


def _carrier_overlap(
    c: int,
    d: int,
    P: Float64,
    Q: Float64,
    inner: list[int],
    read: NDArray[np.intp],
    variance: Float64,
    power: Float64,
    square: Float64,
    overlap: Float64,
) -> Float64:
    """b_cd = tr C_cᵀ C_c C_dᵀ C_d/N; carriers before c are known."""
    inner_product = np.sum(P[..., c, :] * P[..., d, :], axis=-1)
    value: Float64 = np.mean(inner_product**2, axis=-1)
    for m in inner:
        between = np.einsum("...us,...usr,...ur->...", P[..., c, :], square[..., read[m], :, :], P[..., c, :])
        value = value + variance[m] * np.mean(Q[..., d, m] ** 2, axis=-1) * between / P.shape[-3]
        if np.any(Q[..., c, m]):
            value = value + variance[m] * np.mean(Q[..., c, m] ** 2, axis=-1) * overlap[..., read[m], d]
        joint = Q[..., c, m] * Q[..., d, m]
        value = value + 2.0 * variance[m] * power[..., read[m]] * np.mean(joint * inner_product, axis=-1)
        for n in inner:
            quartic = np.mean(joint * Q[..., c, n] * Q[..., d, n], axis=-1)
            value = value + variance[m] * variance[n] * power[..., read[m]] * power[..., read[n]] * quartic
    return value
