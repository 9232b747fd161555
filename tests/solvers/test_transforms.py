"""Numerical S-transforms against thirty digits, identities between them, and their bounds."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from meanfield.solvers.continuous_laws import UniformBand
from meanfield.solvers.free_laws import MarchenkoPastur, PointMass
from meanfield.solvers.inverted_laws import DiscreteLaw
from meanfield.solvers.transforms import inverse_psi, s_transform

NODES, MASSES = [0.0, 0.01, 0.5, 3.0], [0.1, 0.3, 0.4, 0.2]


@pytest.mark.parametrize("y", [-0.89999, -0.85, -0.5, -0.1, -1e-9, 1e-9, 0.3, 5.0, 1e4, -0.91, -0.95, -1.5, -40.0])
def test_a_discrete_law_has_thirty_digits_behind_it(y: float) -> None:
    law = DiscreteLaw(NODES, MASSES)
    value, error = s_transform(law, y)
    with mpmath.workdps(40):
        nodes, masses = [mpmath.mpf(each) for each in law.nodes], [mpmath.mpf(each) for each in law.weights]
        masses = [each / sum(masses) for each in masses]

        def psi(z: mpmath.mpf) -> mpmath.mpf:
            return sum(m * z * t / (1 - z * t) for m, t in zip(masses, nodes, strict=True))

        start = mpmath.mpf(float(value)) * y / (1 + mpmath.mpf(y))
        z = mpmath.findroot(lambda z: psi(z) - mpmath.mpf(y), start)
        assert psi(z) == pytest.approx(mpmath.mpf(y), rel=1e-30)
        expected = z * (1 + mpmath.mpf(y)) / mpmath.mpf(y)
        assert abs(mpmath.mpf(float(value)) - expected) <= float(error)
    # Close to the pole at -p, S is known no better than p + y.
    assert error <= 1e-13 * abs(value) / min(abs(y + 0.9), 1.0)


@pytest.mark.parametrize(("least", "largest"), [(0.5, 1.5), (0.0, 1.0), (0.99, 1.01)])
@pytest.mark.parametrize("y", [-0.99, -0.5, -1e-4, 1e-4, 0.5, 3.0])
def test_a_band_has_thirty_digits_behind_it(least: float, largest: float, y: float) -> None:
    value, error = s_transform(UniformBand(least, largest), y)
    with mpmath.workdps(40):
        a, b = mpmath.mpf(least), mpmath.mpf(largest)

        def psi(z: mpmath.mpf) -> mpmath.mpf:
            root = mpmath.sqrt(z)
            return mpmath.re((mpmath.atanh(b * root) - mpmath.atanh(a * root)) / ((b - a) * root)) - 1

        z = mpmath.findroot(lambda z: psi(z) - mpmath.mpf(y), mpmath.mpf(float(value)) * y / (1 + mpmath.mpf(y)))
        expected = z * (1 + mpmath.mpf(y)) / mpmath.mpf(y)
        assert abs(mpmath.mpf(float(value)) - expected) <= float(error)
    assert error <= 1e-11 * value


def test_at_zero_it_is_the_reciprocal_of_the_mean() -> None:
    law = DiscreteLaw(NODES, MASSES)
    (value, near), (error, _) = s_transform(law, [0.0, 1e-12])
    assert abs(value * 0.803 - 1.0) < 1e-14
    assert abs(near - value) < 1e-10
    assert 0.0 < error < 1e-14


def test_the_reciprocal_law_has_the_reciprocal_transform() -> None:
    """S of 1/t at y is 1/S at -1-y: both sides come from different branches."""
    nodes, masses = np.array([0.1, 0.7, 2.0]), np.array([0.5, 0.2, 0.3])
    y = np.array([-0.999, -0.4, -0.001, 0.01, 1.0, 30.0])
    one, bound = s_transform(DiscreteLaw(nodes, masses), y)
    other, other_bound = s_transform(DiscreteLaw(1.0 / nodes, masses), -1.0 - y)
    assert np.all(np.abs(one * other - 1.0) <= bound * other + other_bound * one + 1e-14)


def test_formulas_are_used_where_there_are_some() -> None:
    y = np.array([[-0.5, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(s_transform(MarchenkoPastur(0.5, 2.0), y)[0], 0.5 / (1.0 + 0.5 * y), rtol=1e-15)
    np.testing.assert_array_equal(s_transform(PointMass(4.0), y)[0], 0.25)


def test_samples_have_a_standard_error() -> None:
    """Squares of uniform variables, whose S is that of a band: within four errors, which fall with the root of n."""
    y = np.array([-0.7, -0.3, 0.4])
    expected = s_transform(UniformBand(0.5, 1.5), y)[0]
    deviations, sizes = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        few, many = (
            s_transform(DiscreteLaw(rng.uniform(0.5, 1.5, n) ** 2, meaning="samples"), y) for n in (500, 50000)
        )
        deviations.append((few[0] - expected) / few[1])
        deviations.append((many[0] - expected) / many[1])
        sizes.append(few[1] / many[1])
    assert np.max(np.abs(deviations)) < 4.5  # of 120 deviations
    assert 0.6 < np.std(deviations) < 1.4
    np.testing.assert_allclose(np.mean(sizes, axis=0), 10.0, rtol=0.1)


def test_closer_to_the_end_than_numbers_are_z_is_the_end() -> None:
    z, error, _ = inverse_psi(UniformBand(0.9, 1.1), np.array([300.0]))
    assert abs(z[0] * 1.21 - 1.0) <= error[0] < 1e-14


@pytest.mark.parametrize(
    ("law", "y", "message"),
    [
        (DiscreteLaw(NODES, MASSES), -0.9, "anything but -0.9"),
        (UniformBand(0.0, 1.0), -1.0, "above -1.0"),
        (UniformBand(0.0, 1.0), -2.0, "above -1.0"),
        (DiscreteLaw([1.0]), np.nan, "finite"),
        (DiscreteLaw([0.0]), -0.5, "all mass is at zero"),
        (PointMass(0.0), -0.5, "all mass is at zero"),
    ],
)
def test_values_outside_the_range_are_refused(law: DiscreteLaw, y: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        s_transform(law, y)
