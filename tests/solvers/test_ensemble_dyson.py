"""Singular values with orthogonal matrices and bands of singular values: dense matrices and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.band_averages import BandAverages
from meanfield.solvers.circuit_moments import jacobian_moments
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.continuous_laws import UniformBand
from meanfield.solvers.dyson import DysonEquation
from meanfield.solvers.free_laws import FussCatalan, MarchenkoPastur, PointMass, PositiveLaw
from meanfield.solvers.free_products import FreeProduct
from meanfield.solvers.inverted_laws import DiscreteLaw
from meanfield.solvers.self_energies import BandEnergy, OrthogonalEnergy, SelfEnergy
from meanfield.solvers.singular_density import SingularDensity
from meanfield.weight_ensembles import haar_columns

Float64 = NDArray[np.float64]

ORTHOGONAL, BAND, WIDEST = PointMass(1.0), UniformBand(0.3, 1.7), UniformBand(0.0, 2.0)
LAWS = [ORTHOGONAL, BAND, WIDEST, UniformBand(0.99, 1.01)]


def single(D: Float64 | float, A: Float64 | float, P: Float64 | float, gain: float, units: int) -> CircuitSample:
    """J = D + σ A W P of one matrix."""
    D, A, P = (np.broadcast_to(each, units).reshape(-1, 1, 1).astype(float) for each in (D, A, P))
    return CircuitSample(D, A, P, np.zeros((units, 1, 1)), np.array([gain]), np.array([0]))


def gru(seed: int, units: int) -> CircuitSample:
    g = np.random.default_rng([31, seed])
    f, r = (1.0 / (1.0 + np.exp(-g.standard_normal(units))) for _ in range(2))
    n, s, zero = np.tanh(g.standard_normal(units)), np.tanh(g.standard_normal(units)), np.zeros(units)
    A = np.stack([f * (1 - f) * (s - n), zero, (1 - f) * (1 - n**2)], -1)[:, None, :]
    P, Q = np.stack([np.ones(units), r], -1)[:, :, None], np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.0, 1.0, 3.0]), np.array([0, 0, 1]))


def one_carrier(seed: int, units: int) -> CircuitSample:
    """Two variables and three fields that read one carrier."""
    g = np.random.default_rng([32, seed])
    common = g.standard_normal((units, 1, 1))
    D = 0.5 * g.standard_normal((units, 2, 2)) + 0.3 * common
    A = 0.6 * g.standard_normal((units, 2, 3)) + 0.4 * common
    P = 0.5 + 0.5 * g.standard_normal((units, 1, 2)) - 0.3 * common
    return CircuitSample(D, A, P, np.zeros((units, 1, 3)), g.uniform(0.5, 1.5, 3), np.zeros(3, np.intp))


def chain(seed: int, units: int) -> CircuitSample:
    """Three carriers in a chain; fields act on the state and on all later carriers."""
    g = np.random.default_rng([33, seed])
    read = np.array([0, 1, 1, 2])
    D, A = g.uniform(0.2, 0.9, (units, 1, 1)), g.uniform(-0.5, 1.0, (units, 1, 4))
    P, Q = g.uniform(-0.3, 1.0, (units, 3, 1)), g.uniform(-0.2, 0.6, (units, 3, 4))
    for c in range(3):
        Q[:, c, read >= c] = 0.0
    return CircuitSample(D, A, P, Q, np.array([1.2, 0.8, 1.0, 0.9]), read)


def drawn(law: PositiveLaw, units: int, generator: np.random.Generator) -> Float64:
    """A matrix of mean square singular value one, those of a band evenly spaced."""
    left, right = haar_columns(generator, units, units), haar_columns(generator, units, units)
    if isinstance(law, UniformBand):
        values = float(law.least) + (float(law.largest) - float(law.least)) * (np.arange(units) + 0.5) / units
        return (left * (values / np.sqrt(np.mean(values**2)))) @ right.T
    return left


def dense(sample: CircuitSample, law: PositiveLaw, generator: np.random.Generator) -> Float64:
    """J = D + A W (1 - Q W)⁻¹ P, from the definition; (S N, S N)."""

    def blocks(coefficients: Float64) -> Float64:
        rows, columns = coefficients.shape[1:]
        return np.block([[np.diag(coefficients[:, i, j]) for j in range(columns)] for i in range(rows)])

    units, K, C = len(sample.state_to_state), len(sample.gains), sample.state_to_carrier.shape[-2]
    W = np.zeros((K * units, C * units))
    for k, c in enumerate(sample.carrier_of):
        matrix = sample.gains[k] * drawn(law, units, generator)
        W[k * units : (k + 1) * units, c * units : (c + 1) * units] = matrix
    inner = np.eye(C * units) - blocks(sample.field_to_carrier) @ W
    through = np.linalg.solve(inner, blocks(sample.state_to_carrier))
    return blocks(sample.state_to_state) + blocks(sample.field_to_state) @ (W @ through)


@pytest.mark.parametrize("law", [ORTHOGONAL, BAND, WIDEST])
@pytest.mark.parametrize("sample", [gru(1, 400), one_carrier(1, 200), chain(1, 300)])
def test_dense_matrices(sample: CircuitSample, law: PositiveLaw) -> None:
    found = SingularDensity(sample, matrices=law)
    values = np.sort(np.linalg.svd(dense(sample, law, np.random.default_rng(4)), compute_uv=False))
    points = np.linspace(0.02, 1.05, 60) * found.outer_edge.value
    shares = np.searchsorted(values, points) / len(values)
    distribution = found.distribution(points)
    assert np.all(np.abs(distribution.values - shares) < 6.0 / len(sample.state_to_state))
    assert np.all(distribution.errors < 1e-9)
    if law is ORTHOGONAL:
        gaussian = SingularDensity(sample).distribution(points).values
        assert np.max(np.abs(gaussian - shares)) > 1.5 * np.max(np.abs(distribution.values - shares))
    assert np.all(np.diff(distribution.values) >= -1e-12)
    density = found.density(points)
    mass = np.trapezoid(density.values, points)
    assert mass == pytest.approx(distribution.values[-1] - distribution.values[0], abs=0.03)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sample", [gru(2, 50), one_carrier(2, 50)])
def test_second_moments_are_those_of_the_law(sample: CircuitSample, law: PositiveLaw) -> None:
    first, second = (float(each) for each in law.moments(2))
    m1, m2 = jacobian_moments(sample, second / first**2 - 2.0)
    found = SingularDensity(sample, matrices=law).moments()
    assert found == pytest.approx((float(m1), float(m2)), rel=1e-10)
    assert jacobian_moments(sample)[1] > m2 * 1.001


def test_the_fourth_cumulant_by_dense_matrices() -> None:
    sample = gru(3, 600)
    m1, m2 = jacobian_moments(sample, -1.0)
    squares = np.linalg.svd(dense(sample, ORTHOGONAL, np.random.default_rng(5)), compute_uv=False) ** 2
    assert np.mean(squares) == pytest.approx(float(m1), rel=0.02)
    assert np.mean(squares**2) == pytest.approx(float(m2), rel=0.03)


@pytest.mark.parametrize(("skip", "gain"), [(0.5, 0.3), (1.0, 2.5), (3.0, 1e-3)])
def test_a_constant_and_an_orthogonal_matrix(skip: float, gain: float) -> None:
    """|d + σ e^{iθ}| with θ uniform."""
    found = SingularDensity(single(skip, 1.0, 1.0, gain, 4), matrices=ORTHOGONAL)
    points = abs(skip - gain) + (skip + gain - abs(skip - gain)) * np.linspace(0.02, 0.98, 9)
    angles = np.arccos((points**2 - skip**2 - gain**2) / (2.0 * skip * gain))
    distribution, density = found.distribution(points), found.density(points)
    np.testing.assert_allclose(distribution.values, 1.0 - angles / np.pi, rtol=0.0, atol=1e-10 * skip / gain)
    expected = points / (skip * gain * np.pi * np.sin(angles))
    assert np.all(np.abs(density.values - expected) <= density.errors + 1e-9 * expected)
    for edge, value in ((found.inner_edge, abs(skip - gain)), (found.outer_edge, skip + gain)):
        assert abs(edge.value - value) <= edge.error <= 2e-7 * value


@pytest.mark.parametrize("law", [BAND, UniformBand(0.9, 1.1)])
def test_products_with_a_diagonal_are_free_products(law: UniformBand) -> None:
    slopes = np.random.default_rng(6).uniform(0.2, 1.5, 30)
    found = SingularDensity(single(0.0, slopes, 1.0, 1.3, 30), matrices=law)
    size = 1.3 / float(law.moments(1)[0]) ** 0.5
    product = FreeProduct([(DiscreteLaw(slopes**2), 1), (UniformBand(size * law.least, size * law.largest), 1)])
    ends = [np.exp(0.5 * each[0]) for each in product.log_ends()]
    assert found.inner_edge.value == pytest.approx(ends[0], abs=found.inner_edge.error + 1e-12)
    assert found.outer_edge.value == pytest.approx(ends[1], abs=found.outer_edge.error + 1e-12)
    points = np.linspace(ends[0], ends[1], 23)[1:-1]
    expected = product.found_log_density(2.0 * np.log(points))
    density = found.density(points)
    missed = np.abs(density.values - 2.0 * expected.values / points)
    assert np.all(missed <= density.errors + 2.0 * expected.errors / points)
    assert found.density([0.5 * ends[0], 1e-9]).values.tolist() == [0.0, 0.0]
    assert found.distribution([0.5 * ends[0], 1e-9, 2.0 * ends[1]]).values.round(9).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("gain", [1e-100, 1.0, 1e100])
def test_singular_values_of_one_matrix(gain: float) -> None:
    found = SingularDensity(single(0.0, 1.0, 1.0, gain, 3), matrices=BAND)
    size = gain / float(BAND.moments(1)[0]) ** 0.5
    for edge, value in ((found.inner_edge, 0.3 * size), (found.outer_edge, 1.7 * size)):
        assert abs(edge.value - value) <= edge.error <= 3e-7 * value
    np.testing.assert_allclose(found.density(size * np.array([0.4, 1.0, 1.6, 1.8])).values * size, [1 / 1.4] * 3 + [0])
    np.testing.assert_allclose(found.distribution(size * np.array([0.1, 0.65, 1.35, 2.0])).values, [0, 0.25, 0.75, 1])
    assert found.quantile([0.25]).values[0] == pytest.approx(0.65 * size, rel=3e-7)


def test_atoms_of_orthogonal_matrices() -> None:
    on = np.repeat([0.0, 1.0], [6, 4])
    found = SingularDensity(single(0.0, on, 1.0, 1.3, 10), matrices=ORTHOGONAL)
    assert found.atom == pytest.approx(0.6)
    points = np.array([1e-5, 0.5, 1.3 - 1e-5, 1.3, 1.3 + 1e-5, 2.0])
    np.testing.assert_allclose(found.distribution(points).values, [0.6, 0.6, 0.6, 1, 1, 1], rtol=0, atol=1e-9)
    for edge in (found.inner_edge, found.outer_edge):
        assert abs(edge.value - 1.3) <= edge.error <= 1e-6
    with pytest.raises(ArithmeticError, match=r"atom at 1\.3"):
        found.density([1.3])


def test_many_matrices_are_one_gaussian_matrix() -> None:
    slopes, points = np.linspace(0.3, 1.2, 8), np.linspace(0.1, 2.0, 20)
    gaussian = SingularDensity(single(0.4, slopes, 1.0, 1.0, 8)).distribution(points).values
    distances = []
    for count in (2, 8):
        A = np.repeat(slopes[:, None, None], count, axis=2)
        sample = CircuitSample(
            np.full((8, 1, 1), 0.4),
            A,
            np.ones((8, 1, 1)),
            np.zeros((8, 1, count)),
            np.full(count, count**-0.5),
            np.zeros(count, np.intp),
        )
        found = SingularDensity(sample, matrices=ORTHOGONAL).distribution(points).values
        distances.append(np.max(np.abs(found - gaussian)))
    assert distances[1] < 0.02
    assert distances[0] / distances[1] == pytest.approx(4.0, rel=0.3)


def test_narrow_bands_are_orthogonal() -> None:
    sample, points = gru(4, 40), np.linspace(0.1, 1.5, 12)
    orthogonal = SingularDensity(sample, matrices=ORTHOGONAL).distribution(points).values
    for half, allowed in ((1e-3, 1e-5), (1e-7, 1e-10)):
        found = SingularDensity(sample, matrices=UniformBand(1.0 - half, 1.0 + half)).distribution(points).values
        np.testing.assert_allclose(found, orthogonal, rtol=0.0, atol=allowed)


def test_gaussian_laws_and_others() -> None:
    sample, points = gru(5, 20), [0.5 + 0.1j]
    expected = DysonEquation(sample).solve(points).trace
    np.testing.assert_array_equal(DysonEquation(sample, matrices=MarchenkoPastur()).solve(points).trace, expected)
    with pytest.raises(ValueError, match="matrices: must be Gaussian"):
        DysonEquation(sample, matrices=FussCatalan(2))


@pytest.mark.parametrize(
    "energy",
    [
        OrthogonalEnergy(np.ones(2), np.ones(1), np.zeros(2, np.intp)),
        BandEnergy(BandAverages.of(0.3, 1.7), np.ones(2), np.ones(1), np.zeros(2, np.intp)),
        BandEnergy(BandAverages.of(0.0, 2.0), np.ones(2), np.ones(1), np.zeros(2, np.intp)),
    ],
)
def test_second_derivatives_of_self_energies(energy: SelfEnergy) -> None:
    g = np.random.default_rng(7)
    u = g.standard_normal((40, energy.size)) - 1j * g.uniform(0.05, 2.0, (40, energy.size))

    def gradient(at: NDArray[np.complex128]) -> NDArray[np.complex128]:
        out = np.zeros(at.shape, complex)
        energy.add_derivatives(at, out, np.zeros((*at.shape, energy.size), complex))
        return out

    hessian = np.zeros((40, energy.size, energy.size), complex)
    energy.add_derivatives(u, np.zeros(u.shape, complex), hessian)
    np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), rtol=1e-12)
    for i in range(energy.size):
        step = np.zeros(energy.size)
        step[i] = 1e-4
        near = (gradient(u + step) - gradient(u - step)) / 2e-4
        far = (gradient(u + 2 * step) - gradient(u - 2 * step)) / 4e-4
        expected = (4.0 * near - far) / 3.0
        size = np.max(np.abs(hessian), axis=(1, 2))[:, None]
        assert np.all(np.abs(hessian[:, :, i] - expected) < (1e-6 + np.abs(near - far)) * (1.0 + size))


@pytest.mark.parametrize(("least", "largest"), [(0.3, 1.7), (0.0, 2.0), (0.999, 1.001)])
def test_averages_over_a_band(least: float, largest: float) -> None:
    band = BandAverages.of(least, largest)
    p = np.array([0.01 - 0.02j, 0.5 - 0.5j, -2.0 - 0.1j, -0.7 - 1e-3j, 3.0 - 1.0j])
    q = np.array([0.03 - 0.01j, 0.4 - 0.9j, 0.3 - 2.0j, -0.9 - 1e-2j, 2.0 - 3.0j])
    value, slope = band.response(p, q)
    kappa = np.array([-40.0, -3.0, -0.5, 0.3, 4.0, 30.0])
    share, rest, fall, resolvent = band.imaginary(kappa)
    with mpmath.workdps(30):
        for i in range(len(p)):
            z = mpmath.mpc(p[i]) * mpmath.mpc(q[i])
            expected = complex(band_mean(band, lambda s, z: s**2 / (1 - s**2 * z), z, z))
            assert abs(expected - value[i]) < 1e-11 * (1 + abs(value[i]))
            expected = complex(band_mean(band, lambda s, z: s**4 / (1 - s**2 * z) ** 2, z, z))
            assert abs(expected - slope[i]) < 1e-9 * (1 + abs(slope[i]))
        for i in range(len(kappa)):
            eta = mpmath.exp(-mpmath.mpf(kappa[i]))
            R = band_mean(band, lambda s, eta: 1 / (eta + s**2), eta, -1 / eta)
            F = band_mean(band, lambda s, eta: s**2 / (eta + s**2), eta, -1 / eta)
            slope_of_F = eta * band_mean(band, lambda s, eta: s**2 / (eta + s**2) ** 2, eta, -1 / eta)
            assert resolvent[i] == pytest.approx(float(R), rel=1e-12)
            assert share[i] == pytest.approx(float(F), rel=1e-12)
            assert rest[i] == pytest.approx(float(eta * R), rel=1e-12, abs=1e-16)
            assert fall[i] == pytest.approx(float(slope_of_F), rel=1e-9, abs=1e-25)


def band_mean(
    band: BandAverages, of: Callable[[mpmath.mpf, mpmath.mpc], mpmath.mpc], z: mpmath.mpc, pole: mpmath.mpc
) -> mpmath.mpc:
    """The mean over the band of a function with poles at s² = 1/pole."""
    a, b = mpmath.mpf(band.least), mpmath.mpf(band.largest)
    near = abs(1 / mpmath.sqrt(pole))
    places = sorted({a, b, *(near * x for x in (0.01, 0.1, 0.5, 1, 2, 10, 100) if a < near * x < b)})
    return mpmath.quad(lambda s: of(s, z), places) / (b - a)
