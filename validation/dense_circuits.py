"""Dense Jacobians of linear circuits with random matrices, the witness of the spectra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample

Float64 = NDArray[np.float64]


def dense_jacobian(sample: CircuitSample, generator: np.random.Generator) -> Float64:
    """J = D + A W (1 - Q W)⁻¹ P with Gaussian matrices independent of the coefficients.

    Args:
        sample: coefficients without leading axes, of N units with S state variables each.
        generator: of the matrices, entries N(0, σ²/N).

    Returns:
        (S N, S N), the units of the first state variable first.

    >>> one = np.ones((2, 1, 1))
    >>> decay = CircuitSample(0.5 * one, one, one, 0.0 * one, np.zeros(1), np.array([0]))
    >>> dense_jacobian(decay, np.random.default_rng(0))
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    units, variables = sample.state_to_state.shape[0], sample.variables
    carriers: list[Float64] = []  # ∂p/∂(old state) of every carrier, (N, S N)
    fields: dict[int, Float64] = {}
    for carrier in range(sample.state_to_carrier.shape[1]):
        P = sample.state_to_carrier[:, carrier]
        response = np.concatenate([np.diag(P[:, s]) for s in range(variables)], axis=1)
        for k, field in fields.items():
            response = response + sample.field_to_carrier[:, carrier, k, None] * field
        carriers.append(response)
        for k in map(int, np.flatnonzero(sample.carrier_of == carrier)):
            matrix = generator.standard_normal((units, units)) * (sample.gains[k] / np.sqrt(units))
            fields[k] = matrix @ response
    rows = []
    for s in range(variables):
        row = np.concatenate([np.diag(sample.state_to_state[:, s, r]) for r in range(variables)], axis=1)
        for k, field in fields.items():
            row = row + sample.field_to_state[:, s, k, None] * field
        rows.append(row)
    return np.concatenate(rows)
