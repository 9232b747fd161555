"""Eigenvalues with orthogonal matrices and bands of singular values: rings, holes, dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.continuous_laws import UniformBand
from meanfield.solvers.dyson import DysonEquation
from meanfield.solvers.eigenvalue_boundary import SupportBoundary
from meanfield.solvers.eigenvalue_density import EigenvalueDensity
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential
from meanfield.solvers.eigenvalue_support import mass_near
from meanfield.solvers.free_laws import PointMass, PositiveLaw
from meanfield.solvers.inverted_laws import DiscreteLaw
from meanfield.solvers.transforms import s_transform
from meanfield.weight_ensembles import haar_columns

Float64 = NDArray[np.float64]

ORTHOGONAL, BAND, WIDEST = PointMass(1.0), UniformBand(0.3, 1.7), UniformBand(0.0, 2.0)


def single(D: float, A: Float64 | float, gain: float, units: int) -> CircuitSample:
    """J = D + σ A W of one matrix."""
    one = np.ones((units, 1, 1))
    A = np.broadcast_to(A, units).reshape(-1, 1, 1)
    return CircuitSample(D * one, A * one, one, 0.0 * one, np.array([gain]), np.array([0]))


def gru(seed: int, units: int, spread: float) -> CircuitSample:
    """With little spread of the keep gate there is a hole around it."""
    g = np.random.default_rng([41, seed])
    f = 1.0 / (1.0 + np.exp(-spread * g.standard_normal(units)))
    r = 1.0 / (1.0 + np.exp(-(2.0 + spread * g.standard_normal(units))))
    n, s = (np.tanh(spread * g.standard_normal(units)) for _ in range(2))
    A = np.stack([f * (1 - f) * (s - n), 0.0 * f, (1 - f) * (1 - n**2)], -1)[:, None, :]
    P, Q = np.stack([np.ones(units), r], -1)[:, :, None], np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.0, 1.0, 3.0]), np.array([0, 0, 1]))


def lstm(seed: int, units: int, spread: float) -> CircuitSample:
    g = np.random.default_rng([42, seed])
    f, i, o = (1.0 / (1.0 + np.exp(-(mean + spread * g.standard_normal(units)))) for mean in (0.0, 1.0, 1.0))
    n, c, zero = np.tanh(spread * g.standard_normal(units)), spread * g.standard_normal(units), np.zeros(units)
    e = o * (1.0 - np.tanh(c) ** 2)
    D = np.stack([np.stack([f, zero], -1), np.stack([e * f, zero], -1)], -2)
    cell = np.stack([f * (1 - f) * c, i * (1 - i) * n, i * (1 - n**2), zero], -1)
    output = e[:, None] * cell + np.stack([zero, zero, zero, o * (1 - o) * np.tanh(c)], -1)
    A, P = np.stack([cell, output], -2), np.tile([0.0, 1.0], (units, 1, 1))
    return CircuitSample(D, A, P, np.zeros((units, 1, 4)), np.array([1.0, 1.0, 2.0, 1.0]), np.zeros(4, np.intp))


def chain(seed: int, units: int) -> CircuitSample:
    """Three carriers in a chain; fields act on the state and on all later carriers."""
    g = np.random.default_rng([43, seed])
    read = np.array([0, 1, 1, 2])
    D, A = g.uniform(0.2, 0.9, (units, 2, 2)), g.uniform(-0.5, 1.0, (units, 2, 4))
    P, Q = g.uniform(-0.3, 1.0, (units, 3, 2)), g.uniform(-0.2, 0.6, (units, 3, 4))
    for c in range(3):
        Q[:, c, read >= c] = 0.0
    return CircuitSample(D, A, P, Q, np.array([1.2, 0.8, 1.0, 0.9]), read)


def dense(sample: CircuitSample, generator: np.random.Generator) -> Float64:
    """J = D + A W (1 - Q W)⁻¹ P with orthogonal matrices, from the definition; (S N, S N)."""

    def blocks(coefficients: Float64) -> Float64:
        rows, columns = coefficients.shape[1:]
        return np.block([[np.diag(coefficients[:, i, j]) for j in range(columns)] for i in range(rows)])

    units, K, C = len(sample.state_to_state), len(sample.gains), sample.state_to_carrier.shape[-2]
    W = np.zeros((K * units, C * units))
    for k, c in enumerate(sample.carrier_of):
        matrix = sample.gains[k] * haar_columns(generator, units, units)
        W[k * units : (k + 1) * units, c * units : (c + 1) * units] = matrix
    inner = np.eye(C * units) - blocks(sample.field_to_carrier) @ W
    through = np.linalg.solve(inner, blocks(sample.state_to_carrier))
    return blocks(sample.state_to_state) + blocks(sample.field_to_state) @ (W @ through)


CIRCUITS = [single(0.6, np.linspace(0.2, 0.8, 20), 1.3, 20), gru(1, 20, 0.5), lstm(1, 20, 1.0), chain(1, 20)]


@pytest.mark.parametrize("law", [ORTHOGONAL, BAND, WIDEST])
@pytest.mark.parametrize("sample", CIRCUITS)
def test_gradients_are_those_of_the_hermitisation(sample: CircuitSample, law: PositiveLaw) -> None:
    potential = EigenvaluePotential(sample, law)
    points = np.array([0.55 + 0.7j, 0.8 + 0.5j, 1.1 + 0.1j, 0.2 + 0.05j, 3.0 - 1.0j, -0.2 + 0.5j, 0.5 + 1.25j])
    found, radius = potential.at(points), potential.log_radius(points)
    hole = (radius < 0.0) & (potential.log_radius(points, outer=True) > 0.0)
    compared = 0
    for z, gradient in zip(points[~hole], found.gradient[~hole], strict=True):
        equation = DysonEquation(sample, z, law)
        # The Hermitisation is regularised by its height.
        low, lower = (-equation.cross_trace(equation.solve([1j * height]))[0] for height in (2e-6, 1e-6))
        assert abs(2.0 * lower - low - gradient) < 1e-6 + 4.0 * abs(lower - low)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("law", [ORTHOGONAL, BAND, WIDEST])
@pytest.mark.parametrize("sample", CIRCUITS)
def test_the_density_is_the_derivative_of_the_gradient(sample: CircuitSample, law: PositiveLaw) -> None:
    g = np.random.default_rng(8)
    points = g.uniform(-0.3, 1.4, 16) + 1j * g.uniform(0.0, 0.8, 16)
    potential, differences = EigenvaluePotential(sample, law), []
    radius = potential.log_radius(points)
    points = points[np.abs(radius) > 0.02]
    for h in (1e-4, 2e-4):
        moved = [potential.at(points + h * step).gradient for step in (1.0, -1.0, 1j, -1j)]
        differences.append(((moved[0] - moved[1]) + 1j * (moved[2] - moved[3])) / (4.0 * h * np.pi))
    expected = (4.0 * differences[0] - differences[1]) / 3.0
    found = potential.at(points)
    uncertain = np.abs(differences[0] - differences[1]) * 0.2 + 1e-9
    assert np.all(np.abs(found.density - expected) < uncertain + found.errors)
    assert np.median(uncertain) < 1e-5
    assert np.sum(found.density > 0.0) >= 1
    np.testing.assert_array_equal(found.density > 0.0, radius[np.abs(radius) > 0.02] > 0.0)


@pytest.mark.parametrize("law", [ORTHOGONAL, BAND, WIDEST])
def test_the_single_ring_theorem(law: PositiveLaw) -> None:
    """Haagerup and Larsen 2000: the share in |λ| < r is m with S(m - 1) = 1/r², S of the squared singular values."""
    slopes, gain = np.random.default_rng(9).uniform(0.4, 1.5, 50), 1.3
    found = EigenvalueDensity(single(0.0, slopes, gain, 50), law)
    mean = float(law.moments(1)[0])
    shares = np.array([0.02, 0.3, 0.7, 0.99])
    own = s_transform(DiscreteLaw(slopes**2), shares - 1.0)[0]
    matrices = s_transform(law, shares - 1.0)[0]
    radii = gain / np.sqrt(mean * own * matrices)
    for radius, share in zip(radii, shares, strict=True):
        mass = found.mass_in_disc(0.0, float(radius))
        assert abs(mass.value - share) < 1e-7 + mass.error
    boundary = SupportBoundary(found.potential)
    outer = gain * np.sqrt(np.mean(slopes**2))
    np.testing.assert_allclose(boundary.radii([0.0, 1.0, np.pi]).values, outer, rtol=1e-10)
    assert boundary.spectral_radius().value == pytest.approx(outer, rel=1e-9)
    if law is WIDEST:
        assert boundary.hole_radius().value == 0.0
    else:
        least = 1.0 if law is ORTHOGONAL else 0.3 * 1.7 / mean
        inner = gain * np.sqrt(least / np.mean(slopes**-2.0))
        assert boundary.hole_radius().value == pytest.approx(inner, rel=1e-9)
        assert [each.hole for each in boundary.outline(32).contours] == [False, True]


@pytest.mark.parametrize(("skip", "gain"), [(0.0, 1.3), (0.6, 0.4)])
def test_a_constant_and_an_orthogonal_matrix_fill_a_circle(skip: float, gain: float) -> None:
    found = EigenvalueDensity(single(skip, 1.0, gain, 3), ORTHOGONAL)
    boundary = SupportBoundary(found.potential)
    for extent in (*boundary.radii([0.0, 1.0, np.pi]).values, boundary.hole_radius().value):
        assert extent == pytest.approx(gain, rel=1e-9)
    assert boundary.spectral_radius().value == pytest.approx(skip + gain, rel=1e-9)
    assert found.mass_in_disc(skip, 0.999 * gain).value == pytest.approx(0.0, abs=1e-9)
    assert found.mass_in_disc(skip, 1.001 * gain).value == pytest.approx(1.0, abs=1e-9)
    assert np.all(found.density([skip, skip + 0.5 * gain, skip + 2.0 * gain]).values == 0.0)
    within = found.mass_in_disc(skip + gain, 0.5 * gain).value  # a chord of half the radius on both sides
    assert within == pytest.approx(2.0 * np.arcsin(0.25) / np.pi, abs=1e-5)


@pytest.mark.parametrize("sample", [gru(2, 500, 0.1), lstm(2, 300, 0.2), gru(2, 400, 1.0)])
def test_dense_matrices(sample: CircuitSample) -> None:
    found = EigenvalueDensity(sample, ORTHOGONAL)
    boundary = SupportBoundary(found.potential)
    values = np.linalg.eigvals(dense(sample, np.random.default_rng(10)))
    radius, outer = found.potential.log_radius(values), found.potential.log_radius(values, outer=True)
    # Some √N eigenvalues next to a boundary are beyond it.
    assert np.mean((radius < -0.1) & (outer > 0.0)) < 0.01
    assert np.mean(outer < -0.1) < 0.01
    hole = boundary.hole_radius().value
    if hole:
        assert np.sort(np.abs(values - boundary.centre))[3] == pytest.approx(hole, rel=0.1)
    centre, distances = boundary.centre + 0.05, np.abs(values - boundary.centre - 0.05)
    for share in (0.3, 0.6, 0.9):
        mass = found.mass_in_disc(centre, float(np.quantile(distances, share)), tolerance=1e-4)
        assert mass.value == pytest.approx(share, abs=0.04)


def test_cells_have_holes_where_singular_values_are_narrow() -> None:
    for sample in (gru(2, 100, 0.1), lstm(2, 100, 0.2)):
        holes = [
            SupportBoundary(EigenvaluePotential(sample, law)).hole_radius().value
            for law in (ORTHOGONAL, UniformBand(0.9, 1.1), UniformBand(0.5, 1.5), None)
        ]
        assert holes[0] > holes[1] > holes[2] > holes[3] == 0.0


@pytest.mark.parametrize("sample", CIRCUITS)
def test_at_most_one_phase_is_stable(sample: CircuitSample) -> None:
    g = np.random.default_rng(11)
    points = g.uniform(-1.0, 2.0, 300) + 1j * g.uniform(0.0, 1.5, 300)
    potential = EigenvaluePotential(sample, ORTHOGONAL)
    for part in potential._parts:
        squares = {
            j: sum(np.abs(np.polynomial.polynomial.polyval(points[:, None], each, tensor=False)) ** 2 for each in group)
            for j, group in enumerate(part._polynomials)
        }
        stable = np.array([part._phase_radius(phase, squares, 300) < 1.0 for phase in part._phases])
        assert np.max(np.sum(stable, axis=0)) == 1
        assert len(stable) > 1


def test_many_matrices_are_one_gaussian_matrix() -> None:
    slopes, points = np.linspace(0.3, 1.2, 8), 0.4 + np.array([0.1, 0.3j, 0.5 + 0.2j])
    gaussian = EigenvaluePotential(single(0.4, slopes, 1.0, 8)).at(points).density
    distances = []
    for count in (4, 16):
        sample = CircuitSample(
            np.full((8, 1, 1), 0.4),
            np.repeat(slopes[:, None, None], count, axis=2),
            np.ones((8, 1, 1)),
            np.zeros((8, 1, count)),
            np.full(count, count**-0.5),
            np.zeros(count, np.intp),
        )
        distances.append(np.max(np.abs(EigenvaluePotential(sample, ORTHOGONAL).at(points).density / gaussian - 1.0)))
    assert distances[1] < 0.1
    assert distances[0] / distances[1] == pytest.approx(4.0, rel=0.3)


def test_the_outer_boundary_knows_the_mean_square_only() -> None:
    for sample in CIRCUITS:
        gaussian = SupportBoundary(EigenvaluePotential(sample)).radii([0.0, 1.0, 2.0]).values
        for law in (ORTHOGONAL, BAND):
            found = SupportBoundary(EigenvaluePotential(sample, law)).radii([0.0, 1.0, 2.0]).values
            np.testing.assert_allclose(found, gaussian, rtol=1e-9)


def test_slow_modes_of_samples() -> None:
    sample = gru(3, 60, 1.0)
    stacked = CircuitSample(
        *(
            np.stack([block, block])
            for block in (
                sample.state_to_state,
                sample.field_to_state,
                sample.state_to_carrier,
                sample.field_to_carrier,
            )
        ),
        sample.gains,
        sample.carrier_of,
    )
    found = mass_near(stacked, centre=0.6, radius=0.3, points=256, matrices=BAND)
    expected = EigenvalueDensity(sample, BAND).mass_in_disc(0.6, 0.3)
    np.testing.assert_allclose(found, expected.value, atol=1e-4)
    assert abs(mass_near(sample, centre=0.6, radius=0.3, points=256) - expected.value) > 1e-3


def test_silent_units_leave_atoms() -> None:
    sample = single(0.3, np.repeat([0.0, 1.0], [3, 7]), 0.5, 10)
    found = EigenvalueDensity(sample, ORTHOGONAL)
    assert found.atom_share == pytest.approx(0.3)
    assert found.mass_in_box(-np.inf, np.inf).value == pytest.approx(1.0, abs=1e-6)
    assert SupportBoundary(found.potential).radii([0.5]).values == pytest.approx(0.5 * np.sqrt(0.7), rel=1e-9)
