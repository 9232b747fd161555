"""Boundaries of the eigenvalues against closed forms, the edge's own solver and dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.cells import find
from meanfield.sampling.population import Layout
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_boundary import SupportBoundary
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential
from meanfield.solvers.eigenvalue_support import rightmost_eigenvalue
from meanfield.trajectory import run
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]

ANGLES = np.linspace(0.0, 2.0 * np.pi, 25)


def plain(skip: Float64 | float, response: Float64 | float, gain: float = 1.0, units: int = 8) -> CircuitSample:
    """J = D + A W."""
    D, A = (np.broadcast_to(np.asarray(each, dtype=np.float64), units).reshape(-1, 1, 1) for each in (skip, response))
    return CircuitSample(D, A, np.ones((units, 1, 1)), np.zeros((units, 1, 1)), np.array([gain]), np.array([0]))


def rotation(gain: float, units: int = 300) -> CircuitSample:
    """Two variables a unit, rotated by evenly spaced angles; the first one is read and written."""
    angles = np.pi * (np.arange(units) + 0.5) / units
    c, s = np.cos(angles), np.sin(angles)
    D = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], axis=1)
    A = np.tile(np.array([[1.0], [0.0]]), (units, 1, 1))
    return CircuitSample(D, A, A.transpose(0, 2, 1), np.zeros((units, 1, 1)), np.array([gain]), np.array([0]))


def of_cell(name: str, units: int, seed: int = 7) -> CircuitSample:
    """The coefficients of a population of random networks after some steps."""
    gains = {"h": 3.0, "g": 3.0, "f": 0.5 if name == "peephole_lstm" else 1.0}
    recurrent = {field.gate for field in find(name).fields if field.gain == "recurrent_gain"}
    gates = {
        gate: mf.Gate(gains.get(gate, 1.0) if gate in recurrent else 0.0, 0.7, 1.0 if gate == "f" else 0.0, 0.3)
        for gate in find(name).gates
    }
    layout = Layout(groups=2, units=units)
    trajectory = run(mf.Network(name, gates), mf.Inputs(), length=20, layout=layout, start="zero", seed=seed)
    return trajectory.snapshots()[-1].taken(np.array(0))


def boundary_of(sample: CircuitSample, centre: float | None = None) -> SupportBoundary:
    return SupportBoundary(EigenvaluePotential(sample), centre)


def with_leading_axis(sample: CircuitSample) -> CircuitSample:
    blocks = (sample.state_to_state, sample.field_to_state, sample.state_to_carrier, sample.field_to_carrier)
    return CircuitSample(*(block[None] for block in blocks), sample.gains, sample.carrier_of)


@pytest.mark.parametrize("gain", [0.01, 0.4, 3.0])
def test_discs(gain: float) -> None:
    """J = 1/2 + σ W; also seen from another point."""
    sample = plain(0.5, 1.0, gain)
    boundary = boundary_of(sample)
    found = boundary.radii(ANGLES)
    assert boundary.centre == 0.5
    assert np.all(np.abs(found.values - gain) <= found.errors)
    assert np.all(found.errors < 1e-9)
    assert [len(each) for each in boundary.crossings(ANGLES)] == [1] * len(ANGLES)
    radius = boundary.spectral_radius()
    assert radius.value == pytest.approx(0.5 + gain, abs=radius.error + 1e-12)
    assert boundary.hole_radius().value == 0.0
    beside = boundary_of(sample, 0.5 + 2.0 * gain)
    up, left = beside.radii([np.pi / 2, np.pi]).values
    assert up == 0.0
    assert left == pytest.approx(3.0 * gain, rel=1e-9)
    assert beside.crossings([np.pi])[0] == pytest.approx([gain, 3.0 * gain], rel=1e-9)
    assert beside.hole_radius().value == 0.0  # the disc does not surround the point


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.2])
def test_a_ring_has_a_hole(gain: float) -> None:
    """With eigenvalues of D all around the unit circle, σ²/(2(1 - r²)) = 1 inside of it and
    σ²/(2(r² - 1)) + σ²/(2r²) = 1 outside.
    """
    boundary = boundary_of(rotation(gain), 0.0)
    inner = math.sqrt(1.0 - gain**2 / 2.0)
    v = 1.0 + gain**2
    outer = math.sqrt((v + math.sqrt(v**2 - 2.0 * gain**2)) / 2.0)
    for angle, crossings in zip(ANGLES, boundary.crossings(ANGLES), strict=True):
        # On the real axis the parts of a conjugate pair of poles cancel at one: a slit of the width of their spacing.
        assert len(crossings) == (2 if abs(np.sin(angle)) > 1e-9 else 4)
        np.testing.assert_allclose(crossings[[0, -1]], [inner, outer], rtol=1e-8)
    hole, radius = boundary.hole_radius(), boundary.spectral_radius()
    assert hole.value == pytest.approx(inner, abs=hole.error + 1e-8)
    assert radius.value == pytest.approx(outer, abs=radius.error + 1e-8)
    outline = boundary.outline(60)
    assert [contour.hole for contour in outline.contours] == [False, True]
    for contour, expected in zip(outline.contours, (outer, inner), strict=True):
        np.testing.assert_allclose(np.abs(contour.points), expected, rtol=1e-8)
    assert len(outline.islands) == 0


def test_two_values_of_the_skip_are_one_region_or_two() -> None:
    """Half of the units keep d, half -d: σ²(|z|² + d²) = |z² - d²|², apart where σ < d."""
    for gain, count in ((0.6, 2), (1.0, 1)):
        boundary = boundary_of(plain(np.repeat([0.8, -0.8], 4), 1.0, gain), 0.0)
        contours = boundary.outline().contours
        assert len(contours) == count
        for contour in contours:
            z = contour.points
            np.testing.assert_allclose(gain**2 * (np.abs(z) ** 2 + 0.64), np.abs(z**2 - 0.64) ** 2, atol=1e-9)
        p = 2 * 0.64 + gain**2
        far = math.sqrt((p + math.sqrt(p**2 - 4 * (0.8**4 - gain**2 * 0.64))) / 2)
        assert boundary.radii([0.0, np.pi]).values == pytest.approx(far, rel=1e-10)
        assert boundary.spectral_radius().value == pytest.approx(far, rel=1e-10)
        assert boundary.hole_radius().value == 0.0
        near = boundary.crossings([0.0])[0]
        assert len(near) == (2 if count == 2 else 1)


def test_the_spectral_radius_may_be_off_the_axis() -> None:
    """D = ± i d: |z² + d²|² = σ²|z|² for the variable that is read and written."""
    D = np.tile(np.array([[0.0, -0.7], [0.7, 0.0]]), (6, 1, 1))
    A = np.tile(np.array([[1.0], [0.0]]), (6, 1, 1))
    sample = CircuitSample(D, A, A.transpose(0, 2, 1), np.zeros((6, 1, 1)), np.array([0.5]), np.array([0]))
    found = boundary_of(sample, 0.0).spectral_radius()
    # On the imaginary axis r² - d² = σ r.
    expected = 0.25 + math.sqrt(0.25**2 + 0.49)
    assert found.value == pytest.approx(expected, abs=found.error + 1e-10)
    assert found.angle == pytest.approx(np.pi / 2, abs=1e-4)


@pytest.mark.parametrize("name", ["gru", "lstm", "peephole_lstm", "minimal", "leaky", "cifg_lstm"])
@pytest.mark.parametrize("units", [2, 50, 400])
def test_the_ray_to_the_right_ends_at_the_edge(name: str, units: int) -> None:
    for seed in range(2):
        sample = of_cell(name, units, seed)
        boundary = boundary_of(sample)
        (edge,) = rightmost_eigenvalue(with_leading_axis(sample))
        found = boundary.radii([0.0])
        # The edge's own solver stops at 1e-10 of its logarithmic distance.
        assert boundary.centre + found.values[0] == pytest.approx(edge, abs=found.errors[0] + 1e-9)


@pytest.mark.parametrize("name", ["gru", "lstm", "peephole_lstm"])
def test_points_of_the_boundary_solve_their_equation(name: str) -> None:
    """From the map of variances as such; inside of the outermost point of a ray, and outside of it."""
    sample = of_cell(name, 200)
    boundary = boundary_of(sample)
    found = boundary.radii(ANGLES[1:12])
    for angle, radius in zip(ANGLES[1:12], found.values, strict=True):
        z = boundary.centre + radius * np.exp(1j * angle)
        B = sample.state_to_carrier @ np.linalg.inv(z * np.eye(sample.variables) - sample.state_to_state)
        B = B @ sample.field_to_state + sample.field_to_carrier
        M = sample.gains[:, None] ** 2 * np.mean(np.abs(B) ** 2, axis=0)[sample.carrier_of]
        assert np.max(np.abs(np.linalg.eigvals(M))) == pytest.approx(1.0, abs=1e-9)
        beyond = boundary.centre + radius * np.exp(1j * angle) * np.array([1.001, 1.1, 2.0, 10.0])
        assert np.all(boundary.potential.log_radius(beyond) < 0.0)


@pytest.mark.parametrize("name", ["gru", "lstm", "peephole_lstm", "minimal", "gru_reset_after"])
def test_dense_matrices_fill_the_support(name: str) -> None:
    """Share of the eigenvalues inside, largest real part, largest size, and how far they reach at four angles."""
    units, matrices = 200 if name == "lstm" else 400, 4
    sample = of_cell(name, units)
    boundary = boundary_of(sample)
    shares, edges, sizes, reached = [], [], [], []
    for seed in range(matrices):
        values = np.linalg.eigvals(dense_jacobian(sample, np.random.default_rng([61, seed])))
        shares.append(np.mean(boundary.potential.log_radius(values[np.abs(values) > 1e-9]) > 0.0))
        edges.append(values.real.max() - boundary.centre)
        sizes.append(np.abs(values).max())
        offsets = values - boundary.centre
        extents = []
        for angle in np.deg2rad([0.0, 60.0, 120.0, 180.0]):
            near = offsets[np.abs(np.angle(offsets * np.exp(-1j * angle))) < np.deg2rad(15.0)]
            near = near[np.argsort(-np.abs(near))[:10]]
            extents.append(np.max(np.abs(near) / boundary.radii(np.angle(near)).values))
        reached.append(extents)

    # As for a Gaussian matrix, of whose eigenvalues about √(N/2π) lie beyond the circle, by about N^(-1/2) of its size.
    assert 1.0 - np.mean(shares) < 2.5 / math.sqrt(2.0 * math.pi * units)
    right = boundary.radii([0.0]).values[0]
    largest = boundary.spectral_radius().value
    for found, expected in ((edges, right), (sizes, largest)):
        error = np.std(found, ddof=1) / math.sqrt(matrices)
        assert abs(np.mean(found) - expected) < 4.0 * error + 2.0 / math.sqrt(units) * expected
    error = np.std(reached, axis=0, ddof=1) / math.sqrt(matrices)
    assert np.all(np.abs(np.mean(reached, axis=0) - 1.0) < 4.0 * np.max(error) + 2.0 / math.sqrt(units))


def test_islands_around_single_units_and_atoms() -> None:
    """A unit far from the others is an island of radius σ/√n; one that does not respond is an atom."""
    skip = np.append(np.full(98, 0.3), [0.9, 0.7])
    response = np.append(np.full(99, 1.0), 0.0)
    boundary = boundary_of(plain(skip, response, 0.05, units=100))
    outline = boundary.outline(60)
    (disc,) = outline.contours
    assert not disc.hole
    np.testing.assert_array_equal(outline.islands, [0.9])
    (crossings,) = boundary.crossings([0.0])
    assert len(crossings) == 3
    # σ²/n (1/r² + 98/0.6²) = 1 to first order.
    island = 0.05 / 10.0 / math.sqrt(1.0 - 0.98 * 0.0025 / 0.36)
    assert (crossings[2] - crossings[1]) / 2.0 == pytest.approx(island, rel=1e-3)
    assert boundary.radii([0.0]).values[0] == pytest.approx(0.6 + island, rel=1e-3)
    assert boundary.radii([1e-3]).values[0] == pytest.approx(0.6 + island, rel=1e-2)  # a ray that meets the island
    assert boundary.radii([0.1]).values[0] < 0.06
    still = boundary_of(plain(skip, 0.0, 1.0, units=100))
    assert still.radii([0.0, 1.0, np.pi]).values == pytest.approx([0.0, 0.0, 0.0])
    assert still.spectral_radius().value == 0.9
    assert still.outline().contours == ()


def test_a_keep_gate_of_exactly_one() -> None:
    """λ = 1 is a pole of the map of variances: inside, and no obstacle."""
    boundary = boundary_of(plain(np.append(np.linspace(0.2, 0.8, 49), 1.0), 1.0, 0.2, units=50))
    assert boundary.potential.log_radius(1.0) == np.inf
    edge = boundary.centre + boundary.radii([0.0]).values[0]
    assert 1.0 < edge < 1.1
    assert boundary.potential.log_radius(edge) == pytest.approx(0.0, abs=1e-9)


def test_requests_that_make_no_sense_are_refused() -> None:
    boundary = boundary_of(plain(0.5, 1.0))
    for wrong in ([np.nan], [[0.0]]):
        with pytest.raises(ValueError, match="angles must be"):
            boundary.radii(wrong)
    with pytest.raises(ArithmeticError, match="beyond the range"):
        boundary_of(plain(0.5, 1.0, 1e120))
