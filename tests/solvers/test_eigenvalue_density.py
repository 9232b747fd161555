"""Masses and densities of eigenvalues against closed forms and dense matrices."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import cubature

import meanfield as mf
from meanfield.cells import find
from meanfield.sampling.population import Layout
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_boundary import SupportBoundary
from meanfield.solvers.eigenvalue_density import EigenvalueDensity
from meanfield.trajectory import run
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]

CELLS = ["gru", "lstm", "peephole_lstm", "minimal", "gru_reset_after"]
MATRICES = 4


def plain(skip: Float64 | float, response: Float64 | float, gain: float = 1.0, units: int = 8) -> CircuitSample:
    """J = D + A W."""
    D, A = (np.broadcast_to(np.asarray(each, dtype=np.float64), units).reshape(-1, 1, 1) for each in (skip, response))
    return CircuitSample(D, A, np.ones((units, 1, 1)), np.zeros((units, 1, 1)), np.array([gain]), np.array([0]))


@cache
def of_cell(name: str, units: int) -> CircuitSample:
    """The coefficients of a population of random networks after some steps."""
    gains = {"h": 3.0, "g": 3.0, "f": 0.5 if name == "peephole_lstm" else 1.0}
    recurrent = {field.gate for field in find(name).fields if field.gain == "recurrent_gain"}
    gates = {
        gate: mf.Gate(gains.get(gate, 1.0) if gate in recurrent else 0.0, 0.7, 1.0 if gate == "f" else 0.0, 0.3)
        for gate in find(name).gates
    }
    layout = Layout(groups=2, units=units)
    trajectory = run(mf.Network(name, gates), mf.Inputs(), length=20, layout=layout, start="zero", seed=7)
    return trajectory.snapshots()[-1].taken(np.array(0))


def width(name: str) -> int:
    """Units of the dense matrices, which have S N rows."""
    return 300 if name == "lstm" else 600


@cache
def seen(name: str) -> NDArray[np.complex128]:
    """Eigenvalues of dense matrices, (matrices, S N)."""
    sample = of_cell(name, width(name))
    return np.array(
        [np.linalg.eigvals(dense_jacobian(sample, np.random.default_rng([51, seed]))) for seed in range(MATRICES)]
    )


@pytest.mark.parametrize("name", CELLS)
def test_distributions_are_those_of_dense_matrices(name: str) -> None:
    """Of the real part and of the distance from the centre, at twelve quantiles each."""
    values = seen(name)
    law = EigenvalueDensity(of_cell(name, width(name)))
    centre = SupportBoundary(law.potential).centre
    for kind, measured in (("left of", values.real), ("in a disc", np.abs(values - centre))):
        at = np.quantile(measured, (np.arange(12) + 0.5) / 12)
        at = at[np.abs(at) > 1e-6]  # zeros up to rounding
        found = [law.mass_in_box(-np.inf, x) if kind == "left of" else law.mass_in_disc(centre, x) for x in at]
        empirical = np.mean(measured[:, None, :] <= at[:, None], axis=2)
        difference = np.abs(empirical.mean(axis=0) - [mass.value for mass in found])
        error = np.std(empirical, axis=0, ddof=1) / math.sqrt(MATRICES)
        # Errors from few matrices are uncertain themselves: the largest of all; and a few eigenvalues for the width.
        assert np.all(difference < 4.0 * np.max(error) + 2.0 / values.shape[1])
        assert np.max(difference) < 0.02
        assert max(mass.error for mass in found) < 1e-5


@pytest.mark.parametrize("name", CELLS)
def test_slow_modes_are_those_of_dense_matrices(name: str) -> None:
    law = EigenvalueDensity(of_cell(name, width(name)))
    for radius, mass in zip((0.05, 0.1, 0.2, 0.4), law.slow_masses([0.05, 0.1, 0.2, 0.4]), strict=True):
        assert abs(np.mean(np.abs(seen(name) - 1.0) < radius) - mass.value) < 0.01
        assert mass.error < 1e-5


@pytest.mark.parametrize("name", CELLS)
def test_masses_are_integrals_of_the_density(name: str) -> None:
    """Adaptive cubature over boxes, and over everything; it tells its own error."""
    law = EigenvalueDensity(of_cell(name, 100))
    x, y = SupportBoundary(law.potential).grid(20)

    def integral(left: float, right: float, bottom: float, top: float, tolerance: float) -> tuple[float, float]:
        found = cubature(
            lambda at: law.density(at[:, 0] + 1j * at[:, 1]).values,
            [left, bottom],
            [right, top],
            rule="genz-malik",
            rtol=0.0,
            atol=tolerance,
            max_subdivisions=150,
        )
        return float(found.estimate), float(found.error)

    for box in ((0.55, 0.75, 0.02, 0.08), (0.6, 0.7, -0.1, -0.03)):
        value, error = integral(*box, 1e-5)
        assert value == pytest.approx(law.mass_in_box(*box).value, abs=3.0 * error + 1e-6)
        assert error < 1e-3
    value, error = integral(x[0], x[-1], 0.0, y[-1], 5e-3)
    assert 2.0 * value + law.atom_share == pytest.approx(1.0, abs=2.0 * error)
    assert error < 0.05


@pytest.mark.parametrize("gain", [0.3, 1.0, 4.0])
def test_masses_in_a_uniform_disc(gain: float) -> None:
    law = EigenvalueDensity(plain(0.3, 1.0, gain))
    for radius in (0.1, 0.5, 0.9):
        assert law.mass_in_disc(0.3, radius * gain).value == pytest.approx(radius**2, abs=1e-6)
        assert law.mass_in_disc(0.3 + 0.05j * gain, radius * gain).value == pytest.approx(radius**2, abs=1e-6)
    assert law.mass_in_disc(0.3, 1.5 * gain).value == pytest.approx(1.0, abs=1e-6)
    assert law.mass_in_disc(0.3 + 3.0 * gain, gain).value == pytest.approx(0.0, abs=1e-6)
    assert law.mass_in_box(-math.inf, 0.3).value == pytest.approx(0.5, abs=2e-6)
    assert law.mass_in_box(-math.inf, math.inf, 0.0).value == pytest.approx(0.5, abs=2e-6)
    half = gain / 2.0
    assert law.mass_in_box(0.3 - half, 0.3 + half, -half, half).value == pytest.approx(1.0 / math.pi, abs=2e-6)
    # Left of the centre by half a radius: a segment of the disc.
    segment = (math.acos(0.5) - 0.5 * math.sqrt(0.75)) / math.pi
    assert law.mass_in_box(-1e9, 0.3 - half).value == pytest.approx(segment, abs=2e-6)


def test_masses_in_a_lens() -> None:
    """A circle that cuts the edge of the disc, to the tolerance of adaptive integration."""
    distance, radius = 0.9, 0.4
    first = math.acos((distance**2 + radius**2 - 1) / (2 * distance * radius))
    second = math.acos((distance**2 + 1 - radius**2) / (2 * distance))
    s = (distance + radius + 1) / 2
    area = radius**2 * first + second - 2 * math.sqrt(s * (s - distance) * (s - radius) * (s - 1))
    found = EigenvalueDensity(plain(0.0, 1.0)).mass_in_disc(distance, radius)
    assert found.value == pytest.approx(area / math.pi, abs=found.error + 1e-12)
    assert found.error < 1e-6


def test_atoms_are_counted_in_masses_and_not_in_the_density() -> None:
    """Three of eight units neither respond nor are smeared: J has the eigenvalues 0.2, 0.5 and 0.5 exactly."""
    skip = np.array([0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    law = EigenvalueDensity(plain(skip, np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 0.1))
    np.testing.assert_allclose(np.sort(law.atoms), [0.2, 0.5, 0.5])
    assert law.atom_share == 3 / 8
    edge = 0.1 * math.sqrt(5 / 8)
    assert law.mass_in_disc(0.5, 2.0 * edge).value == pytest.approx(7 / 8, abs=1e-6)
    assert law.mass_in_disc(0.2, 0.01).value == 1 / 8
    assert law.mass_in_box(-math.inf, math.inf).value == pytest.approx(1.0, abs=2e-6)
    # At an atom the density is that of the others: 5/8 over the disc's area.
    inside = law.density([0.5, 0.5 + 0.9j * edge, 0.5 + 1.1j * edge, 0.2]).values
    np.testing.assert_allclose(inside, np.array([1.0, 1.0, 0.0, 0.0]) * (5 / 8) / (math.pi * edge**2), atol=1e-9)
    with pytest.raises(ArithmeticError, match=r"0\.2, which no matrix moves, lies on the circle"):
        law.mass_in_disc(0.1, 0.1)
    with pytest.raises(ArithmeticError, match="lies on a side of the box"):
        law.mass_in_box(0.5, 1.0)
    # Beside the box, not on it.
    assert law.mass_in_box(0.2, 0.4, 1.0, 2.0).value == 0.0


def test_a_closed_output_gate_loses_a_half_of_all_eigenvalues() -> None:
    """An lstm at rest: h follows from c, so N eigenvalues vanish; the others fill a disc about the keep gate."""
    units = 8
    D = np.tile(np.array([[0.5, 0.0], [0.25, 0.0]]), (units, 1, 1))
    A = np.tile(np.array([[0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.25, 0.0]]), (units, 1, 1))
    P = np.tile(np.array([[0.0, 1.0]]), (units, 1, 1))
    law = EigenvalueDensity(
        CircuitSample(D, A, P, np.zeros((units, 1, 4)), np.array([3.0, 3.0, 1.2, 3.0]), np.zeros(4, np.intp))
    )
    assert law.atom_share == 0.5
    np.testing.assert_array_equal(law.atoms, 0.0)
    radius = 1.2 / 4.0
    points = 0.5 + radius * np.array([0.0, 0.99j, 1.01])
    np.testing.assert_allclose(law.density(points).values, np.array([0.5, 0.5, 0.0]) / (math.pi * radius**2), atol=1e-9)
    assert law.mass_in_disc(0.0, 0.1).value == pytest.approx(0.5, abs=1e-6)
    assert law.mass_in_disc(0.5, 0.15).value == pytest.approx(0.125, abs=1e-6)


def test_without_matrices_all_eigenvalues_are_atoms() -> None:
    D = np.linspace(0.0, 0.9, 10)
    law = EigenvalueDensity(plain(D, 1.0, 0.0, units=10))
    assert law.atom_share == 1.0
    assert law.mass_in_disc(1.0, 0.25).value == pytest.approx(np.mean(np.abs(D - 1.0) < 0.25))
    np.testing.assert_array_equal(law.density([0.3, 0.5 + 0.1j]).values, 0.0)


def test_a_keep_gate_of_exactly_one() -> None:
    """Half of the units keep everything and respond: the support reaches beyond one, and one is an ordinary point."""
    law = EigenvalueDensity(plain(np.repeat([0.4, 1.0], 20), 1.0, 0.3, units=40))
    at, beside = law.density([1.0]), law.density([1.0 + 1e-8])
    assert at.values[0] == pytest.approx(beside.values[0], rel=1e-6)
    assert at.values[0] > 0.0
    (mass,) = law.slow_masses([0.3])
    assert mass.value == pytest.approx(0.5, abs=0.01)


def test_requests_that_make_no_sense_are_refused() -> None:
    law = EigenvalueDensity(plain(0.5, 1.0))
    for wrong in ([np.nan], [np.inf], [[0.5]]):
        with pytest.raises(ValueError, match="points of the plane"):
            law.density(wrong)
    for centre, radius in ((0.5, 0.0), (0.5, -1.0), (np.nan, 1.0), (0.5, np.inf)):
        with pytest.raises(ValueError, match="a disc needs"):
            law.mass_in_disc(centre, radius)
    for sides in ((1.0, 0.0), (0.0, 1.0, 0.5, 0.5), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="a box needs"):
            law.mass_in_box(*sides)
    with pytest.raises(ArithmeticError, match="beyond the range"):
        EigenvalueDensity(plain(0.5, 1.0, 1e120)).mass_in_box(-np.inf, 0.0)
