"""Moments of squared singular values against closed forms and dense random matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]


def ginibre(gain: float, units: int = 10) -> CircuitSample:
    one = np.ones((units, 1, 1))
    return CircuitSample(0.0 * one, one, one, 0.0 * one, np.array([gain]), np.array([0]))


def random_sample(seed: int, units: int, *, variables: int, fields: int) -> CircuitSample:
    """Dependent random coefficients, all fields reading one carrier."""
    g = np.random.default_rng(seed)
    common = g.standard_normal((units, 1, 1))
    D = 0.5 * g.standard_normal((units, variables, variables)) + 0.3 * common
    A = 0.6 * g.standard_normal((units, variables, fields)) + 0.4 * common
    P = 0.5 + 0.5 * g.standard_normal((units, 1, variables)) - 0.3 * common
    return CircuitSample(D, A, P, np.zeros((units, 1, fields)), g.uniform(0.5, 1.5, fields), np.zeros(fields, np.intp))


def gru_sample(seed: int, units: int) -> CircuitSample:
    """A gru's structure: gates f and r read the state, gate h reads the reset state."""
    g = np.random.default_rng(seed)
    s = g.standard_normal(units)
    f, r = (1.0 / (1.0 + np.exp(-g.standard_normal(units))) for _ in range(2))
    slope = 1.0 - np.tanh(g.standard_normal(units)) ** 2
    zero, one = np.zeros(units), np.ones(units)
    A = np.stack([f * (1 - f) * (s - np.tanh(s)), zero, (1 - f) * slope], axis=-1)[:, None, :]
    P = np.stack([one, r], axis=-1)[:, :, None]
    Q = np.stack([np.zeros((units, 3)), np.stack([zero, s * r * (1 - r), zero], axis=-1)], axis=1)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.5, 2.0, 2.5]), np.array([0, 0, 1]))


def nested_sample(seed: int, units: int) -> CircuitSample:
    """Three carriers in a chain, two inner fields that act on both later carriers."""
    g = np.random.default_rng(seed)
    D = g.uniform(0.2, 0.9, (units, 1, 1))
    A = np.zeros((units, 1, 4))
    A[:, 0, 2:] = g.uniform(0.3, 1.0, (units, 2))
    P = g.uniform(0.3, 1.0, (units, 3, 1))
    Q = np.zeros((units, 3, 4))
    Q[:, 1:, 0] = g.uniform(0.2, 0.8, (units, 2))
    Q[:, 2, 1] = g.uniform(0.2, 0.8, units)
    return CircuitSample(D, A, P, Q, np.array([1.2, 0.8, 1.0, 0.9]), np.array([0, 1, 1, 2]))


def assert_moments_match(sample: CircuitSample, seed: int, *, matrices: int = 6) -> None:
    units = sample.state_to_state.shape[0]
    traces = []
    for index in range(matrices):
        J = dense_jacobian(sample, np.random.default_rng([seed, index]))
        gram = J @ J.T
        traces.append((np.trace(gram) / len(J), np.sum(gram**2) / len(J)))
    found = np.array(traces)
    expected = np.array(jacobian_moments(sample))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(matrices)
    # Corrections of order 1/N: one part in N for every pair of matrices, of which there are up to a dozen.
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4.0 * error + 12.0 / units * expected)


@pytest.mark.parametrize("gain", [0.0, 0.3, 1.0, 2.0])
def test_a_single_gaussian_matrix_has_the_moments_of_the_quarter_circle(gain: float) -> None:
    m1, m2 = jacobian_moments(ginibre(gain))
    assert m1 == pytest.approx(gain**2, abs=1e-15)
    assert m2 == pytest.approx(2.0 * gain**4, abs=1e-15)


def test_without_matrices_moments_are_those_of_the_skip_path() -> None:
    g = np.random.default_rng(0)
    D = g.standard_normal((100, 2, 2))
    sample = CircuitSample(
        D, np.ones((100, 2, 1)), np.ones((100, 1, 2)), np.zeros((100, 1, 1)), np.zeros(1), np.zeros(1, np.intp)
    )
    m1, m2 = jacobian_moments(sample)
    squares = np.linalg.svd(D, compute_uv=False) ** 2
    assert m1 == pytest.approx(squares.mean())
    assert m2 == pytest.approx((squares**2).mean())


def test_a_sum_of_scalar_skip_and_gaussian_matrix() -> None:
    """J = d + a W: m1 = d² + a²σ², m2 = d⁴ + 4 d² a²σ² + 2 a⁴σ⁴."""
    one, d, v = np.ones((10, 1, 1)), 0.7, 1.3**2
    m1, m2 = jacobian_moments(CircuitSample(d * one, one, one, 0.0 * one, np.array([1.3]), np.array([0])))
    assert m1 == pytest.approx(d**2 + v)
    assert m2 == pytest.approx(d**4 + 4.0 * d**2 * v + 2.0 * v**2)


@pytest.mark.parametrize(("variables", "fields", "seed"), [(1, 1, 0), (1, 3, 1), (2, 1, 2), (2, 4, 3), (3, 2, 4)])
def test_random_circuits_agree_with_dense_matrices(variables: int, fields: int, seed: int) -> None:
    units = 900 // variables
    assert_moments_match(random_sample(seed, units, variables=variables, fields=fields), seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gru_with_its_reset_gate_agrees_with_dense_matrices(seed: int) -> None:
    assert_moments_match(gru_sample(seed, 800), seed)


def test_nested_carriers_agree_with_dense_matrices() -> None:
    assert_moments_match(nested_sample(0, 700), 0)


def deep_sample(seed: int, units: int) -> CircuitSample:
    """Four carriers of two variables in a chain, inner fields that act on all later carriers, one read by two."""
    g = np.random.default_rng([1, seed])
    read = np.array([0, 0, 1, 2, 3])
    A = np.zeros((units, 2, 5))
    A[..., 4] = g.uniform(-0.5, 1.0, (units, 2))
    Q = g.uniform(-0.4, 0.8, (units, 4, 5))
    for c in range(4):
        Q[:, c, read >= c] = 0.0
    Q[..., 4] = 0.0
    D, P = g.uniform(-0.5, 0.9, (units, 2, 2)), g.uniform(-0.5, 1.0, (units, 4, 2))
    return CircuitSample(D, A, P, Q, np.array([1.2, 0.5, 0.8, 1.0, 0.9]), read)


@pytest.mark.parametrize(
    "sample",
    [
        *(nested_sample(seed, 20) for seed in range(3)),
        *(deep_sample(seed, 20) for seed in range(3)),
        gru_sample(2, 20),
        random_sample(5, 20, variables=2, fields=3),
    ],
)
def test_moments_are_those_of_the_dyson_equation(sample: CircuitSample) -> None:
    np.testing.assert_allclose(jacobian_moments(sample), SingularDensity(sample).moments(), rtol=1e-10)


def test_leading_axes_are_independent_samples() -> None:
    parts = [gru_sample(seed, 50) for seed in range(3)]
    blocks = ("state_to_state", "field_to_state", "state_to_carrier", "field_to_carrier")
    stacked = CircuitSample(
        *(np.stack([getattr(part, name) for part in parts]) for name in blocks), parts[0].gains, parts[0].carrier_of
    )
    together = np.array(jacobian_moments(stacked))
    np.testing.assert_allclose(together.T, [jacobian_moments(part) for part in parts], rtol=1e-12)


def test_a_field_on_the_state_and_on_a_carrier_both_is_refused() -> None:
    sample = gru_sample(0, 20)
    sample.field_to_state[:, 0, 1] = 1.0
    with pytest.raises(ValueError, match="not on both"):
        jacobian_moments(sample)
