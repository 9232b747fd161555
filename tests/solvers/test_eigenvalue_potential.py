"""The potential of the eigenvalues against the Dyson equation, closed forms and 40 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers import field_variances
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.dyson import DysonEquation
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential
from meanfield.solvers.eigenvalue_support import variance_map_radius
from meanfield.solvers.field_variances import stationary_variances
from meanfield.solvers.transfer_minors import minors_of

Float64 = NDArray[np.float64]


def plain(skip: Float64 | float, response: Float64 | float, gain: float = 1.0, units: int = 8) -> CircuitSample:
    """J = D + A W."""
    D, A = (np.broadcast_to(np.asarray(each, dtype=np.float64), units).reshape(-1, 1, 1) for each in (skip, response))
    return CircuitSample(D, A, np.ones((units, 1, 1)), np.zeros((units, 1, 1)), np.array([gain]), np.array([0]))


def circuit(seed: int, units: int, *, variables: int, read: list[int]) -> CircuitSample:
    """Every field acts on the state and on all later carriers."""
    g = np.random.default_rng([42, seed])
    carriers, fields = max(read) + 1, len(read)
    Q = g.uniform(-0.2, 0.6, (units, carriers, fields))
    for c in range(carriers):
        Q[:, c, np.array(read) >= c] = 0.0
    return CircuitSample(
        g.uniform(0.2, 0.9, (units, variables, variables)),
        g.uniform(-0.5, 1.0, (units, variables, fields)),
        g.uniform(-0.3, 1.0, (units, carriers, variables)),
        Q,
        g.uniform(0.5, 1.2, fields),
        np.array(read),
    )


def gru(seed: int, units: int) -> CircuitSample:
    g = np.random.default_rng([43, seed])
    f, r = (1.0 / (1.0 + np.exp(-g.standard_normal(units))) for _ in range(2))
    n, s, zero = np.tanh(g.standard_normal(units)), np.tanh(g.standard_normal(units)), np.zeros(units)
    A = np.stack([f * (1 - f) * (s - n), zero, (1 - f) * (1 - n**2)], -1)[:, None, :]
    P, Q = np.stack([np.ones(units), r], -1)[:, :, None], np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.0, 1.5, 3.0]), np.array([0, 0, 1]))


SAMPLES = [
    gru(0, 40),
    circuit(0, 30, variables=1, read=[0, 0]),
    circuit(1, 30, variables=2, read=[0, 0, 0]),
    circuit(2, 20, variables=2, read=[0, 1, 1, 2]),
]
POINTS = np.array([0.3 + 0.2j, 0.6 + 0.1j, 0.9 - 0.05j, 0.45, 0.7 + 1e-3j, -0.4 + 0.3j, 3.0 - 1.0j])


@pytest.mark.parametrize("sample", SAMPLES)
def test_gradients_are_those_of_the_hermitisation(sample: CircuitSample) -> None:
    found = EigenvaluePotential(sample).at(POINTS).gradient
    for z, gradient in zip(POINTS, found, strict=True):
        equation = DysonEquation(sample, z)
        # The Hermitisation is regularised by its height.
        low, lower = (-equation.cross_trace(equation.solve([1j * height]))[0] for height in (2e-8, 1e-8))
        assert abs(2.0 * lower - low - gradient) < 1e-6 + 4.0 * abs(lower - low)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_density_is_the_derivative_of_the_gradient(sample: CircuitSample) -> None:
    potential, differences = EigenvaluePotential(sample), []
    for h in (1e-4, 2e-4):
        moved = [potential.at(POINTS + h * step).gradient for step in (1.0, -1.0, 1j, -1j)]
        differences.append(((moved[0] - moved[1]) + 1j * (moved[2] - moved[3])) / (4.0 * h * np.pi))
    expected = (4.0 * differences[0] - differences[1]) / 3.0
    found = potential.at(POINTS)
    uncertain = np.abs(differences[0] - differences[1]) * 0.2 + 1e-9
    assert np.all(np.abs(found.density - expected) < uncertain + found.errors)
    assert np.median(uncertain) < 1e-5
    assert np.all(found.density >= 0.0)
    assert np.sum(found.density > 0.0) >= 4


def precise_potential(sample: CircuitSample, z: mpmath.mpc, guess: list[float]) -> mpmath.mpf:
    """Φ(z) to the working precision, from the circuit itself."""
    (part,) = minors_of(sample).parts
    C = part.carriers
    values = []
    for group in part.polynomials:
        at = [
            [mpmath.polyval([mpmath.mpf(c) for c in each[::-1, u]], z) for u in range(each.shape[1])] for each in group
        ]
        values.append([mpmath.fsum(abs(row[u]) ** 2 for row in at) for u in range(len(at[0]))])
    E, units = part.exponents.tolist(), len(values[0])

    def full(free: tuple[mpmath.mpf, ...]) -> list[mpmath.mpf]:
        return [mpmath.mpf(guess[0]), *free]  # m and b may be scaled against each other

    def shares(u: list[mpmath.mpf], unit: int) -> tuple[list[mpmath.mpf], mpmath.mpf]:
        terms = [mpmath.exp(mpmath.fdot(e, u)) * values[j][unit] for j, e in enumerate(E)]
        return terms, mpmath.fsum(terms)

    def gradient(*free: mpmath.mpf) -> list[mpmath.mpf]:
        u, out = full(free), []
        parts = [shares(u, unit) for unit in range(units)]
        for i in range(1, 2 * C):
            mean = mpmath.fsum(mpmath.fdot(t, [e[i] for e in E]) / p for t, p in parts) / units
            out.append(mean * mpmath.exp(-u[i % C] - u[i % C + C]) - 1)
        return out

    root = mpmath.findroot(gradient, guess[1:], tol=1e-60)
    u = full(tuple(root))
    products = mpmath.fsum(mpmath.exp(u[c] + u[c + C]) for c in range(C))
    return mpmath.fsum(mpmath.log(shares(u, unit)[1]) for unit in range(units)) / units - products


@pytest.mark.parametrize(
    "sample", [gru(1, 3), circuit(3, 3, variables=1, read=[0, 0]), circuit(4, 3, variables=2, read=[0])]
)
def test_densities_to_forty_digits(sample: CircuitSample) -> None:
    potential = EigenvaluePotential(sample)
    points = potential.minors.poles[0] + np.array([0.003, 0.002 + 0.005j])
    found = potential.at(points)
    (part,) = potential._parts
    with mpmath.workdps(40):
        for z, density, error in zip(points, found.density, found.errors, strict=True):
            terms = np.stack(
                [
                    np.broadcast_to(
                        sum(np.abs(np.polynomial.polynomial.polyval(z, each)) ** 2 for each in group), (1, 3)
                    )
                    for group in part._polynomials
                ]
            )
            squares = dict(enumerate(terms))
            solved = stationary_variances(part._exponents, terms, part._variance_map(squares, 1))
            guess, h = solved.logarithms[0].tolist(), mpmath.mpf("1e-9")
            centre = mpmath.mpc(z)
            around = [precise_potential(sample, centre + h * step, guess) for step in (1, -1, 1j, -1j)]
            laplacian = (mpmath.fsum(around) - 4 * precise_potential(sample, centre, guess)) / h**2
            expected = laplacian / (4 * mpmath.pi * sample.variables)
            # Differences leave h² times fourth derivatives, of the order of the density over its scale squared.
            assert abs(float(expected) - density) < error + 1e-9 * density
            assert density > 0.0
            assert error < 1e-9 * density


@pytest.mark.parametrize("gain", [0.2, 1.0, 5.0])
def test_a_constant_and_a_gaussian_matrix_fill_a_disc(gain: float) -> None:
    points = 0.3 + gain * np.array([0.0, 0.5 + 0.2j, 0.999j, 1.001, -3.0])
    found = EigenvaluePotential(plain(0.3, 1.0, gain)).at(points)
    inside = np.abs(points - 0.3) < gain
    assert np.all(np.abs(found.density - inside / (np.pi * gain**2)) <= found.errors)
    assert np.all(found.errors < 1e-9)
    expected = np.where(inside, np.conj(points - 0.3) / gain**2, 1.0 / np.where(inside, 1.0, points - 0.3))
    np.testing.assert_allclose(found.gradient, expected, atol=1e-12)


@pytest.mark.parametrize("sample", SAMPLES)
def test_radii_are_those_of_the_map_of_variances(sample: CircuitSample) -> None:
    blocks = (sample.state_to_state, sample.field_to_state, sample.state_to_carrier, sample.field_to_carrier)
    leading = CircuitSample(*(block[None] for block in blocks), sample.gains, sample.carrier_of)
    points = POINTS[np.abs(POINTS.imag) > 0]
    expected = [np.log(variance_map_radius(leading, np.array([z]))[0]) for z in points]
    np.testing.assert_allclose(EigenvaluePotential(sample).log_radius(points), expected, rtol=1e-10)


@pytest.mark.parametrize("sample", SAMPLES)
def test_poles_are_inside_and_the_density_goes_through_them(sample: CircuitSample) -> None:
    potential = EigenvaluePotential(sample)
    poles = potential.minors.poles[:10]
    assert np.all(potential.log_radius(poles) > 50.0)  # infinite but for the rounding of eigenvalues of matrices
    at, beside = potential.at(poles), potential.at(poles + 1e-9)
    np.testing.assert_allclose(beside.density, at.density, rtol=1e-3)
    assert np.all(at.density > 0.0)
    assert np.all(at.errors < 1e-6 * at.density)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_lower_half_plane_mirrors_the_upper_one(sample: CircuitSample) -> None:
    potential = EigenvaluePotential(sample)
    upper, lower = potential.at(POINTS), potential.at(np.conj(POINTS))
    np.testing.assert_allclose(lower.gradient, np.conj(upper.gradient), rtol=1e-9)
    np.testing.assert_allclose(lower.density, upper.density, rtol=1e-7)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_densities_scale_with_the_circuit(factor: float) -> None:
    sample = gru(2, 30)
    blocks = factor * sample.state_to_state, factor * sample.field_to_state
    scaled = CircuitSample(*blocks, sample.state_to_carrier, sample.field_to_carrier, sample.gains, sample.carrier_of)
    found, other = EigenvaluePotential(sample).at(POINTS), EigenvaluePotential(scaled).at(factor * POINTS)
    np.testing.assert_allclose(other.density * factor**2, found.density, rtol=1e-8)
    np.testing.assert_allclose(other.gradient * factor, found.gradient, rtol=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_wild_coefficients_at_wild_points(seed: int) -> None:
    """Responses over eight decades, silent units, points next to poles: never a failure, never a bad error."""
    g = np.random.default_rng([44, seed])
    for sample in (gru(seed, 40), circuit(seed, 30, variables=2, read=[0, 1, 1, 2])):
        units = len(sample.state_to_state)
        sample.field_to_state[...] *= 10.0 ** g.uniform(-8, 0, (units, 1, 1))
        sample.field_to_state[::3] = 0.0
        sample.gains[...] *= 10.0 ** g.uniform(-1, 1)
        potential = EigenvaluePotential(sample)
        poles = potential.minors.poles
        near = g.choice(poles, 20) + 10.0 ** g.uniform(-9, 0, 20) * np.exp(2j * np.pi * g.random(20))
        found = potential.at(np.concatenate((g.choice(poles, 5), near)))
        assert np.all(found.density >= 0.0)
        assert np.all(found.errors <= 1e-3 * (found.density + 1e-6))


def test_without_matrices_there_is_no_support() -> None:
    potential = EigenvaluePotential(plain(np.linspace(0.0, 0.9, 8), 1.0, 0.0))
    assert np.all(potential.log_radius(POINTS) == -np.inf)
    assert len(potential.minors.atoms) == 8
    np.testing.assert_array_equal(potential.at(POINTS).density, 0.0)


def test_networks_side_by_side_have_the_mean_of_their_densities() -> None:
    """S = 2 variables that are networks of their own, and a feed from one to the other that changes nothing."""
    first, second = plain(0.2, 1.0, 0.5), plain(0.6, 1.0, 0.8)
    g = np.random.default_rng(6)
    D, A, P = np.zeros((8, 2, 2)), np.zeros((8, 2, 2)), np.zeros((8, 2, 2))
    D[:, 0, 0], D[:, 1, 1] = 0.2, 0.6
    A[:, 0, 0] = A[:, 1, 1] = P[:, 0, 0] = P[:, 1, 1] = 1.0
    D[:, 1, 0], A[:, 1, 0] = g.uniform(0.1, 1.0, (2, 8))
    both = CircuitSample(D, A, P, np.zeros((8, 2, 2)), np.array([0.5, 0.8]), np.array([0, 1]))
    found = EigenvaluePotential(both).at(POINTS)
    parts = [EigenvaluePotential(each).at(POINTS) for each in (first, second)]
    np.testing.assert_allclose(found.density, (parts[0].density + parts[1].density) / 2, atol=1e-12)
    np.testing.assert_allclose(found.gradient, (parts[0].gradient + parts[1].gradient) / 2, atol=1e-12)


def test_iterations_that_end_too_early_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(field_variances, "_AMPLITUDE", 0)
        with pytest.raises(ArithmeticError, match="did not converge"):
            EigenvaluePotential(plain(0.3, 1.0)).at([0.5])
    with monkeypatch.context() as patch:
        patch.setattr(field_variances, "_NEWTON", 1)
        patch.setattr(field_variances, "_STARTS", 1)
        with pytest.raises(ArithmeticError, match="did not converge"):
            EigenvaluePotential(gru(0, 20)).at([0.5])
