"""The Dyson equation against closed forms, dense resolvents and the logarithmic potential of the eigenvalues."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers import dyson
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.dyson import DysonEquation
from meanfield.solvers.eigenvalue_support import mass_near
from meanfield.solvers.unit_pencils import UnitPencils
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]


def constant(skip: float, gain: float, units: int = 4) -> CircuitSample:
    """J = d + σ W."""
    one = np.ones((units, 1, 1))
    return CircuitSample(skip * one, one, one, 0 * one, np.array([gain]), np.array([0]))


def one_carrier(seed: int, units: int, *, variables: int, fields: int) -> CircuitSample:
    """Dependent random coefficients, all fields reading one carrier."""
    g = np.random.default_rng([21, seed])
    common = g.standard_normal((units, 1, 1))
    D = 0.5 * g.standard_normal((units, variables, variables)) + 0.3 * common
    A = 0.6 * g.standard_normal((units, variables, fields)) + 0.4 * common
    P = 0.5 + 0.5 * g.standard_normal((units, 1, variables)) - 0.3 * common
    return CircuitSample(D, A, P, np.zeros((units, 1, fields)), g.uniform(0.5, 1.5, fields), np.zeros(fields, np.intp))


def three_carriers(seed: int, units: int) -> CircuitSample:
    """Carriers in a chain; every field acts on the state and on all later carriers."""
    g = np.random.default_rng([22, seed])
    read = np.array([0, 1, 1, 2])
    D, A = g.uniform(0.2, 0.9, (units, 2, 2)), g.uniform(-0.5, 1.0, (units, 2, 4))
    P, Q = g.uniform(-0.3, 1.0, (units, 3, 2)), g.uniform(-0.2, 0.6, (units, 3, 4))
    for c in range(3):
        Q[:, c, read >= c] = 0.0
    return CircuitSample(D, A, P, Q, np.array([1.2, 0.8, 1.0, 0.9]), read)


def gru(seed: int, units: int) -> CircuitSample:
    g = np.random.default_rng([23, seed])
    f, r = (1.0 / (1.0 + np.exp(-g.standard_normal(units))) for _ in range(2))
    n, s, zero = np.tanh(g.standard_normal(units)), np.tanh(g.standard_normal(units)), np.zeros(units)
    A = np.stack([f * (1 - f) * (s - n), zero, (1 - f) * (1 - n**2)], -1)[:, None, :]
    P, Q = np.stack([np.ones(units), r], -1)[:, :, None], np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return CircuitSample(f[:, None, None], A, P, Q, np.array([1.0, 1.0, 3.0]), np.array([0, 0, 1]))


def semicircle(w: Complex128) -> Complex128:
    return np.asarray((-w + np.sqrt(w - 2) * np.sqrt(w + 2)) / 2)


def scaled(sample: CircuitSample, factor: float) -> CircuitSample:
    D, A = factor * sample.state_to_state, factor * sample.field_to_state
    return CircuitSample(D, A, sample.state_to_carrier, sample.field_to_carrier, sample.gains, sample.carrier_of)


@pytest.mark.parametrize("sample", [one_carrier(0, 5, variables=2, fields=3), gru(0, 5), three_carriers(0, 5)])
@pytest.mark.parametrize("shift", [0.0, 0.4, 0.3 - 0.6j])
def test_polynomials_are_determinants(sample: CircuitSample, shift: complex) -> None:
    pencils = UnitPencils.of(sample, shift)
    g = np.random.default_rng(3)
    w, *u = g.standard_normal((1 + 2 * pencils.carriers, 6)) + 1j * g.standard_normal((1 + 2 * pencils.carriers, 6))
    alpha, beta = np.array(u[: pencils.carriers]).T, np.array(u[pencils.carriers :]).T
    polynomials = pencils.determinants()
    products = np.prod(np.stack([w, *u], axis=-1)[:, None, :] ** polynomials.exponents, axis=-1)
    expected = np.linalg.det(pencils.matrices(w, alpha, beta)) * np.prod(-alpha, axis=1)[:, None]
    np.testing.assert_allclose(products @ polynomials.coefficients.T, expected, rtol=1e-9)


@pytest.mark.parametrize("gain", [1e-12, 0.3, 1.0, 1e12])
def test_a_gaussian_matrix_has_the_semicircle(gain: float) -> None:
    points = np.concatenate([np.linspace(1e-6, 5.0, 101), np.linspace(-3.0, 3.0, 13) + 0.1j, [1e-7j, 40j]])
    found = DysonEquation(constant(0.0, gain)).solve(gain * points)
    assert np.all(found.reached == found.points)
    difference = np.abs(gain * found.trace - semicircle(points.astype(np.complex128)))
    assert np.all(difference <= gain * found.errors + 1e-13)
    assert np.all(difference < 1e-9)
    np.testing.assert_array_equal(found.outside, (points.imag == 0) & (points.real > 2))


@pytest.mark.parametrize("skip", [0.3, 0.9, 1.0, 1.5])
def test_a_constant_and_a_gaussian_matrix_solve_their_cubic(skip: float) -> None:
    """Information plus noise: g ((w + g)² - d²) + w + g = 0 with Im g > 0."""
    points = np.array([0.05, 0.4, 1.0, 1.7, 3.0]) + 1e-3j
    found = DysonEquation(constant(skip, 1.0)).solve(points)
    mpmath.mp.dps = 40
    for w, trace, error in zip(points, found.trace, found.errors, strict=True):
        z = mpmath.mpc(w.real, w.imag)
        roots = mpmath.polyroots([1, 2 * z, z**2 - mpmath.mpf(skip) ** 2 + 1, z], maxsteps=200, extraprec=200)
        (root,) = [complex(r) for r in roots if r.imag > 0]
        assert abs(trace - root) <= error + 1e-13
    far = DysonEquation(constant(skip, 1.0)).solve([1e4j]).trace[0]
    assert far == pytest.approx(1e-4j * (1 - (skip**2 + 1) * 1e-8), rel=1e-13)


@pytest.mark.parametrize(
    ("sample", "shift"),
    [
        (one_carrier(1, 250, variables=1, fields=2), 0.0),
        (one_carrier(2, 250, variables=2, fields=3), 0.0),
        (one_carrier(2, 250, variables=2, fields=3), 0.5 + 0.5j),
        (gru(1, 500), 0.0),
        (gru(1, 500), 0.6 + 0.2j),
        (three_carriers(1, 250), 0.0),
    ],
)
def test_traces_are_those_of_dense_matrices(sample: CircuitSample, shift: complex) -> None:
    points, seen = np.array([0.1, 0.5, 1.0, 2.0]) + 0.2j, []
    for seed in range(4):
        J = dense_jacobian(sample, np.random.default_rng([24, seed]))
        values = np.linalg.svd(J - shift * np.eye(len(J)), compute_uv=False)
        seen.append([np.mean(w / (values**2 - w**2)) for w in points])
    found = DysonEquation(sample, shift).solve(points).trace
    # Traces of resolvents at this height scatter by a part in N or two, which is also their bias.
    assert np.all(np.abs(np.mean(seen, axis=0) - found) < 5.0 / len(sample.state_to_state))


@pytest.mark.parametrize("sample", [one_carrier(3, 60, variables=2, fields=3), gru(2, 60), three_carriers(2, 60)])
def test_the_trace_is_that_of_a_probability_law(sample: CircuitSample) -> None:
    g = np.random.default_rng(5)
    points = g.uniform(-3.0, 3.0, 40) + 1j * 10.0 ** g.uniform(-8, 1, 40)
    found = DysonEquation(sample).solve(points)
    assert np.all(found.trace.imag > 0)
    assert np.all(np.abs(found.trace) <= 1.0 / points.imag)
    mirrored = DysonEquation(sample).solve(-points.conj())
    np.testing.assert_allclose(mirrored.trace, -found.trace.conj(), rtol=1e-9)
    far = 1e7j
    assert DysonEquation(sample).solve([far]).trace[0] * far == pytest.approx(-1.0, rel=1e-12)


@pytest.mark.parametrize("sample", [one_carrier(4, 60, variables=2, fields=3), gru(3, 60), three_carriers(3, 60)])
def test_on_the_axis_it_is_the_limit_from_above(sample: CircuitSample) -> None:
    equation, points = DysonEquation(sample), np.linspace(0.2, 3.0, 40)
    on_axis = equation.solve(points)
    assert np.all(on_axis.reached == points)
    height = 1e-6
    above, higher = (equation.solve(points + 1j * k * height).trace for k in (1, 2))
    # Richardson: what is left is of the order of the second derivative times the height squared.
    smooth = np.abs(on_axis.derivative) < 100.0
    assert np.sum(smooth) > 20
    np.testing.assert_allclose((2 * above - higher)[smooth], on_axis.trace[smooth], atol=1e-5)
    np.testing.assert_allclose(((higher - above) / (1j * height))[smooth], on_axis.derivative[smooth], atol=1e-2)
    assert np.all(on_axis.trace.imag[on_axis.outside] == pytest.approx(0.0, abs=1e-12))


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_traces_scale_with_the_circuit(factor: float) -> None:
    points, sample = np.array([0.3, 1.0, 2.0 + 0.1j]), gru(4, 50)
    found, other = DysonEquation(sample).solve(points), DysonEquation(scaled(sample, factor)).solve(factor * points)
    np.testing.assert_allclose(factor * other.trace, found.trace, rtol=1e-9)


def test_eigenvalues_of_a_gaussian_matrix_fill_the_disc() -> None:
    """tr (J - z)⁻¹/N is -z̄ inside the unit circle and -1/z outside."""
    for z, expected in ((0.5 + 0.3j, -0.5 + 0.3j), (-0.2j, -0.2j), (1.5 + 1.0j, -1.0 / (1.5 + 1.0j))):
        equation = DysonEquation(constant(0.0, 1.0), z)
        assert equation.cross_trace(equation.solve([1e-9j]))[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("sample", [gru(5, 80), one_carrier(5, 80, variables=2, fields=2)])
def test_eigenvalues_in_a_circle_are_those_of_their_potential(sample: CircuitSample) -> None:
    centre, radius, points = 0.5, 0.4, 64
    offsets = radius * np.exp(2j * np.pi * (np.arange(points // 2) + 0.5) / points)
    share = 0.0
    for offset in offsets:
        equation = DysonEquation(sample, centre + offset)
        share -= float((offset * equation.cross_trace(equation.solve([1e-8j]))[0]).real) / len(offsets)
    blocks = (sample.state_to_state, sample.field_to_state, sample.state_to_carrier, sample.field_to_carrier)
    leading = CircuitSample(*(block[None] for block in blocks), sample.gains, sample.carrier_of)
    assert share == pytest.approx(float(mass_near(leading, centre=centre, radius=radius, points=points)[0]), abs=1e-5)


def test_what_cannot_be_solved_is_said() -> None:
    equation = DysonEquation(constant(0.5, 1.0))
    for wrong in (-0.1j, np.nan, np.inf):
        with pytest.raises(ValueError, match="spectral parameters"):
            equation.solve([wrong])
    with pytest.raises(ArithmeticError, match="not finite"):
        DysonEquation(constant(np.nan, 1.0)).solve([1.0])


def test_a_path_that_ends_too_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    equation = DysonEquation(gru(6, 20))
    with monkeypatch.context() as patch:
        patch.setattr(dyson, "_LAST_FACTOR", 0.0)
        with pytest.raises(ArithmeticError, match="not solved at w = 1"):
            equation.solve([1.0])
    with monkeypatch.context() as patch:
        patch.setattr(dyson, "_NEWTON", 0)
        with pytest.raises(ArithmeticError, match="far from the spectrum"):
            equation.solve([1.0])
