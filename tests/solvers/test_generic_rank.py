"""Ranks of Jacobians from small matrices against ranks of dense ones."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.generic_rank import null_share
from meanfield.validation.dense_circuits import dense_jacobian


def sparse_sample(seed: int, units: int = 12) -> CircuitSample:
    """Any numbers of variables, carriers and fields, with entries that vanish at random."""
    g = np.random.default_rng([11, seed])
    S, C = int(g.integers(1, 3)), int(g.integers(1, 4))
    read = np.sort(np.concatenate([np.arange(C), g.integers(0, C, int(g.integers(0, 3)))]))
    K = len(read)
    D, A, P, Q = (
        g.standard_normal(shape) * (g.random(shape) < g.uniform(0.1, 0.9))
        for shape in ((units, S, S), (units, S, K), (units, C, S), (units, C, K))
    )
    for c in range(C):
        Q[:, c, read >= c] = 0.0
    return CircuitSample(D, A, P, Q, np.where(g.random(K) < 0.9, 1.0, 0.0), read)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_null_shares_are_those_of_dense_jacobians(shift: float) -> None:
    for seed in range(100):
        sample = sparse_sample(seed)
        if shift:
            sample.state_to_state[::2] = shift * np.eye(sample.variables)
        J = dense_jacobian(sample, np.random.default_rng([12, seed])) - shift * np.eye(12 * sample.variables)
        share = 1.0 - np.linalg.matrix_rank(J, tol=1e-10) / len(J)
        assert null_share(sample, shift) == pytest.approx(share, abs=1e-12)


def test_zeros_and_full_matrices() -> None:
    one = np.ones((6, 1, 1))
    assert null_share(CircuitSample(0 * one, 0 * one, one, 0 * one, np.ones(1), np.zeros(1, np.intp))) == 1.0
    assert null_share(CircuitSample(0 * one, one, one, 0 * one, np.zeros(1), np.zeros(1, np.intp))) == 1.0
    assert null_share(CircuitSample(0 * one, one, one, 0 * one, np.ones(1), np.zeros(1, np.intp))) == 0.0


@pytest.mark.parametrize("exponent", [-9, 9])
def test_units_of_measurement_do_not_count(exponent: int) -> None:
    factor = 10.0**exponent
    for seed in range(20):
        sample = sparse_sample(seed)
        other = CircuitSample(
            sample.state_to_state,
            sample.field_to_state * factor,
            sample.state_to_carrier / factor,
            sample.field_to_carrier,
            sample.gains,
            sample.carrier_of,
        )
        assert null_share(other) == null_share(sample)
