"""Densities, distributions, edges and quantiles of singular values against closed forms and dense matrices."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]


def sigmoid(u: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-u)))


def circuit(D: Float64, A: Float64, P: Float64, gains: list[float]) -> CircuitSample:
    """Fields that all read one carrier; D (units,) or (units, S, S), A (units, S, K), P (units, S)."""
    D = D[:, None, None] if D.ndim == 1 else D
    Q = np.zeros((len(D), 1, A.shape[2]))
    return CircuitSample(D, A, P[:, None, :], Q, np.array(gains), np.zeros(len(gains), np.intp))


def gate_values(seed: int, units: int) -> dict[str, Float64]:
    g = np.random.default_rng([31, seed])
    gates = {name: sigmoid(mean + g.standard_normal(units)) for name, mean in (("i", 0.0), ("f", 1.0), ("r", 0.0))}
    return gates | {
        "o": sigmoid(g.standard_normal(units)),
        "n": np.tanh(g.standard_normal(units)),
        "s": np.tanh(g.standard_normal(units)),
        "c": g.standard_normal(units),
        "m": g.standard_normal(units),
        "one": np.ones(units),
        "zero": np.zeros(units),
    }


def gru(seed: int, units: int) -> CircuitSample:
    v = gate_values(seed, units)
    f, r, n, s = v["f"], v["r"], v["n"], v["s"]
    A = np.stack([f * (1 - f) * (s - n), v["zero"], (1 - f) * (1 - n**2)], -1)[:, None, :]
    P, Q = np.stack([v["one"], r], -1)[:, :, None], np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.0, 1.5, 3.0]), np.array([0, 0, 1]))


def gru_reset_after(seed: int, units: int) -> CircuitSample:
    v = gate_values(seed, units)
    f, r, n, s = v["f"], v["r"], v["n"], v["s"]
    write = (1 - f) * (1 - n**2)
    A = np.stack([f * (1 - f) * (s - n), write * v["m"] * r * (1 - r), write * r], -1)[:, None, :]
    return circuit(f, A, np.ones((units, 1)), [1.0, 1.5, 3.0])


def lstm(seed: int, units: int) -> CircuitSample:
    v = gate_values(seed, units)
    i, f, o, n, c, zero = v["i"], v["f"], v["o"], v["n"], v["c"], v["zero"]
    e = o * (1 - np.tanh(c) ** 2)
    D = np.stack([np.stack([f, zero], -1), np.stack([e * f, zero], -1)], axis=1)
    to_c = np.stack([i * (1 - i) * n, f * (1 - f) * c, i * (1 - n**2), zero], -1)
    to_h = e[:, None] * to_c + np.stack([zero, zero, zero, o * (1 - o) * np.tanh(c)], -1)
    return circuit(D, np.stack([to_c, to_h], axis=1), np.tile([0.0, 1.0], (units, 1)), [1.0, 1.0, 3.0, 1.0])


def peephole_lstm(seed: int, units: int) -> CircuitSample:
    v = gate_values(seed, units)
    i, f, n, c = v["i"], v["f"], v["n"], v["c"]
    A = np.stack([i * (1 - i) * n, f * (1 - f) * c, i * (1 - n**2)], -1)[:, None, :]
    return circuit(f, A, np.ones((units, 1)), [1.0, 1.0, 2.0])


def minimal(seed: int, units: int) -> CircuitSample:
    v = gate_values(seed, units)
    A = (v["f"] * (1 - v["f"]) * (v["s"] - v["n"]))[:, None, None]
    return circuit(v["f"], A, np.ones((units, 1)), [2.0])


def plain(skip: Float64 | float, response: Float64 | float, gain: float = 1.0, units: int = 8) -> CircuitSample:
    """J = D + A W."""
    D, A = (np.broadcast_to(np.asarray(each, dtype=np.float64), units).copy() for each in (skip, response))
    return circuit(D, A[:, None, None], np.ones((units, 1)), [gain])


@pytest.mark.parametrize("gain", [1e-9, 0.5, 1.0, 1e9])
def test_the_quarter_circle(gain: float) -> None:
    law = SingularDensity(plain(0.0, 1.0, gain))
    x = np.linspace(0.0, 2.5, 101)
    inside = np.sqrt(np.maximum(4.0 - x**2, 0.0))
    density, distribution = law.density(gain * x), law.distribution(gain * x)
    assert np.all(np.abs(gain * density.values - inside / np.pi) <= gain * density.errors + 1e-12)
    assert np.all(gain * density.errors < 1e-6)
    expected = np.where(x < 2.0, (x * inside / 2 + 2 * np.arcsin(np.minimum(x / 2, 1.0))) / np.pi, 1.0)
    assert np.all(np.abs(distribution.values - expected) <= distribution.errors + 1e-12)
    assert np.all(distribution.errors < 1e-6)
    assert law.atom == 0.0
    assert law.outer_edge.value / gain == pytest.approx(2.0, abs=law.outer_edge.error / gain + 1e-15)
    assert law.inner_edge.value == 0.0
    assert law.outer_edge.error < 1e-11 * gain
    quantile = law.quantile([0.0, expected[40], 1.0])
    np.testing.assert_allclose(quantile.values / gain, [0.0, x[40], 2.0], atol=1e-8)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.875])
def test_units_without_response_leave_marchenko_pastur_and_an_atom(share: float) -> None:
    """A matrix of c N rows and N columns: edges 1 ± √c, density √((λ²-λ₋²)(λ₊²-λ²))/(π λ)."""
    law = SingularDensity(plain(0.0, (np.arange(8) < 8 * share).astype(np.float64)))
    low, high = 1.0 - math.sqrt(share), 1.0 + math.sqrt(share)
    assert law.atom == 1.0 - share
    assert law.inner_edge.value == pytest.approx(low, abs=law.inner_edge.error + 1e-15)
    assert law.outer_edge.value == pytest.approx(high, abs=law.outer_edge.error + 1e-15)
    assert law.inner_edge.error + law.outer_edge.error < 1e-11
    x = np.linspace(0.0, 2.2, 90)
    expected = np.sqrt(np.maximum((x**2 - low**2) * (high**2 - x**2), 0.0)) / (np.pi * np.maximum(x, 1e-3))
    found = law.density(x)
    assert np.all(np.abs(found.values - expected) <= found.errors + 1e-11)
    assert np.all(found.errors < 1e-6)
    outside = law.distribution([0.0, 0.5 * low, 1.1 * high])
    np.testing.assert_allclose(outside.values, [1.0 - share, 1.0 - share, 1.0], atol=1e-12)
    assert law.quantile(1.0 - share).values[0] == 0.0


@pytest.mark.parametrize("skip", [0.4, 1.0, 1.3, 3.0])
def test_edges_of_a_constant_and_a_gaussian_matrix(skip: float) -> None:
    """Where the discriminant of g ((w + g)² - d²) + w + g vanishes."""
    mpmath.mp.dps = 40
    d = mpmath.mpf(skip)
    # Of g³ + 2w g² + (w² + 1 - d²) g + w, as a polynomial in w²: 4d² w⁴ - (8d⁴ + 20d² - 1) w² + 4(d² - 1)³.
    squares = mpmath.polyroots([4 * d**2, -(8 * d**4 + 20 * d**2 - 1), 4 * (d**2 - 1) ** 3])
    edges = sorted(float(mpmath.sqrt(x.real)) for x in squares if x.real > 1e-30)
    law = SingularDensity(plain(skip, 1.0))
    assert law.outer_edge.value == pytest.approx(edges[-1], abs=law.outer_edge.error + 1e-15)
    assert law.outer_edge.error < 1e-11
    if skip > 1.0:
        assert law.inner_edge.value == pytest.approx(edges[0], abs=law.inner_edge.error + 1e-15)
        assert law.inner_edge.error < 1e-11
    else:
        assert law.inner_edge.value == 0.0


CELLS = [gru, gru_reset_after, lstm, peephole_lstm, minimal]


@pytest.mark.parametrize("make", CELLS)
def test_random_cells_have_the_distribution_of_dense_matrices(make: object) -> None:
    sample: CircuitSample = make(0, 400 if make is lstm else 800)  # type: ignore[operator]
    law, jacobians = SingularDensity(sample), []
    for seed in range(4):
        jacobians.append(dense_jacobian(sample, np.random.default_rng([32, seed])))
    values = np.sort([np.linalg.svd(J, compute_uv=False) for J in jacobians], axis=1)
    at = np.quantile(values, (np.arange(256) + 0.5) / 256)
    distribution = law.distribution(at).values
    assert np.all(np.diff(distribution) >= -1e-10)
    for row in values:
        assert np.max(np.abs(np.searchsorted(row, at) / len(row) - distribution)) < 0.01
    # Largest values of finite matrices scatter around the edge by a few N^(-2/3).
    assert np.all(np.abs(values[:, -1] / law.outer_edge.value - 1.0) < 6.0 * len(sample.state_to_state) ** (-2 / 3))


@pytest.mark.parametrize("make", CELLS)
def test_moments_are_those_of_the_pairings(make: object) -> None:
    sample: CircuitSample = make(1, 200)  # type: ignore[operator]
    np.testing.assert_allclose(SingularDensity(sample).moments(), jacobian_moments(sample), rtol=1e-10)


@pytest.mark.parametrize("make", CELLS)
def test_the_distribution_is_the_integral_of_the_density(make: object) -> None:
    """At gains that leave no narrow bands of single units; Gauss-Legendre rules of two orders tell their own error."""
    sample: CircuitSample = make(2, 100)  # type: ignore[operator]
    sample.gains[...] *= 4.0
    law = SingularDensity(sample)
    ends = np.linspace(*law.quantile([0.3, 0.8]).values, 13)
    half, masses = np.diff(ends)[:, None] / 2, []
    for order in (12, 30):
        nodes, weights = np.polynomial.legendre.leggauss(order)
        x = ends[:-1, None] + half * (1.0 + nodes)
        masses.append(np.sum(half * weights * law.density(x.ravel()).values.reshape(x.shape), axis=1))
    difference = np.abs(masses[1] - np.diff(law.distribution(ends).values))
    assert np.all(difference <= 2.0 * np.abs(masses[1] - masses[0]) + 1e-9)
    assert np.min(difference) < 1e-9
    h = 1e-4 * law.outer_edge.value
    slopes = (law.distribution(ends + h).values - law.distribution(ends - h).values) / (2 * h)
    density = law.density(np.concatenate([ends - h, ends, ends + h])).values.reshape(3, -1)
    # Simpson's rule; edges of narrow bands may lie in between.
    expected = (density[0] + 4 * density[1] + density[2]) / 6
    assert np.median(np.abs(slopes - expected)) < 1e-6 * (1.0 + np.max(density))


def test_mass_and_moments_of_a_density_on_one_interval() -> None:
    """Square roots at both edges: Gauss-Chebyshev integrates the rest to rounding."""
    g = np.random.default_rng(4)
    sample = plain(0.5 + 0.1 * g.random(50), 0.5 + 0.3 * g.random(50), 0.5, units=50)
    law = SingularDensity(sample)
    low, high = law.inner_edge.value, law.outer_edge.value
    assert low > 0.1
    angles = np.pi * (np.arange(200) + 0.5) / 200
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    found = law.density(x)
    weights = (high - low) / 2 * np.sin(angles) * np.pi / 200
    m1, m2 = jacobian_moments(sample)
    for power, expected in ((0, 1.0), (2, m1), (4, m2)):
        bound = np.sum(found.errors * x**power * weights)
        assert np.sum(found.values * x**power * weights) == pytest.approx(expected, abs=bound + 1e-9)
        assert bound < 1e-6


def test_fields_on_the_state_and_on_a_carrier_both() -> None:
    """Beyond the pairings of the second moment."""
    sample = gru(3, 500)
    sample.field_to_state[:, 0, 1] = 0.5 * sample.field_to_state[:, 0, 2]
    seen = []
    for seed in range(6):
        J = dense_jacobian(sample, np.random.default_rng([33, seed]))
        gram = J @ J.T
        seen.append((np.trace(gram) / 500, np.sum(gram**2) / 500))
    error = np.std(seen, axis=0, ddof=1) / math.sqrt(6)
    found = np.array(SingularDensity(sample).moments())
    assert np.all(np.abs(np.mean(seen, axis=0) - found) < 4.0 * error + 5.0 / 500 * found)


def test_without_matrices_there_are_only_atoms() -> None:
    D = np.array([0.0, 0.25, 0.25, 0.5])
    law = SingularDensity(plain(D, 1.0, 0.0, units=4))
    assert law.atom == 0.25
    np.testing.assert_allclose([law.inner_edge.value, law.outer_edge.value], [0.25, 0.5], rtol=1e-10)
    found = law.distribution([0.0, 0.1, 0.25, 0.3, 0.4999, 0.5, 0.6])
    np.testing.assert_allclose(found.values, [0.25, 0.25, 0.75, 0.75, 0.75, 1.0, 1.0], atol=1e-10)
    np.testing.assert_array_equal(law.density([0.1, 0.3]).values, 0.0)
    with pytest.raises(ArithmeticError, match=r"atom at 0\.5"):
        law.density([0.5])
    np.testing.assert_allclose(law.quantile([0.2, 0.5, 0.9]).values, [0.0, 0.25, 0.5], rtol=1e-8)


def test_no_jacobian_at_all() -> None:
    law = SingularDensity(plain(0.0, 0.0))
    assert (law.atom, law.inner_edge.value, law.outer_edge.value) == (1.0, 0.0, 0.0)
    np.testing.assert_array_equal(law.distribution([0.0, 1.0]).values, 1.0)
    np.testing.assert_array_equal(law.quantile([0.0, 0.5, 1.0]).values, 0.0)


def test_frozen_units_in_the_majority_leave_an_atom_away_from_zero() -> None:
    """Three quarters of the units keep 0.7 and do not respond: a half of all singular values is 0.7."""
    law = SingularDensity(plain(0.7, (np.arange(8) < 2).astype(np.float64)))
    below, above = law.distribution([0.7 - 1e-6, 0.7 + 1e-6]).values
    assert above - below == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("seed", range(3))
def test_saturated_units_and_tiny_gains(make: object, seed: int) -> None:
    """Coefficients over eight decades; the distribution stays that of dense matrices."""
    sample: CircuitSample = make(seed, 60)  # type: ignore[operator]
    g = np.random.default_rng([34, seed])
    sample.field_to_state[...] *= 10.0 ** g.uniform(-8, 0, (60, 1, 1))
    sample.field_to_state[::7] = 0.0
    law = SingularDensity(sample)
    J = dense_jacobian(sample, g)
    values = np.sort(np.linalg.svd(J, compute_uv=False))
    assert law.atom == pytest.approx(np.mean(values < 1e-12), abs=0.02)
    at = np.linspace(0.0, 1.2 * values[-1], 50)
    found = law.distribution(at)
    assert np.all(np.abs(found.values - np.searchsorted(values, at, side="right") / len(values)) < 0.1)
    assert np.all(np.diff(found.values) >= -1e-10)
    assert np.all(law.density(at).values >= 0.0)
    assert abs(law.outer_edge.value / values[-1] - 1.0) < 0.3


def test_points_and_shares_out_of_range_are_refused() -> None:
    law = SingularDensity(plain(0.5, 1.0))
    for wrong in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="singular values must"):
            law.density([wrong])
        with pytest.raises(ValueError, match="singular values must"):
            law.distribution([wrong])
        with pytest.raises(ValueError, match="shares must"):
            law.quantile([wrong])
