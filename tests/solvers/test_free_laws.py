"""Laws of squared singular values: moments, supports, S-transforms, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from meanfield.solvers.continuous_laws import ContourLaw, UniformBand
from meanfield.solvers.free_laws import ExplicitLaw, FussCatalan, MarchenkoPastur, PointMass
from meanfield.solvers.inverted_laws import DiscreteLaw
from meanfield.solvers.moment_series import s_series


@pytest.mark.parametrize(("ratio", "variance"), [(0.3, 2.0), (1.0, 1.0), (4.0, 0.5)])
def test_marchenko_pastur_moments_are_those_of_its_density(ratio: float, variance: float) -> None:
    law = MarchenkoPastur(ratio, variance)
    low, high = law.lowest, law.highest

    def moment(k: int) -> float:
        # x = middle - half cos t, where the density's roots become smooth.
        def integrand(t: float) -> float:
            x = 0.5 * (high + low) - 0.5 * (high - low) * math.cos(t)
            return x ** (k - 1) * (0.5 * (high - low) * math.sin(t)) ** 2 / (2.0 * math.pi * ratio * variance)

        return float(quad(integrand, 0.0, math.pi, epsabs=0.0, epsrel=1e-12)[0])

    np.testing.assert_allclose(np.array(law.moments(6), dtype=float), [moment(k) for k in range(1, 7)], rtol=1e-10)
    assert law.zero_mass == pytest.approx(1.0 - moment(0) if ratio != 1.0 else 0.0, abs=1e-9)


@pytest.mark.parametrize(
    "law",
    [
        MarchenkoPastur(Fraction(3, 7), Fraction(5, 2)),
        MarchenkoPastur(3, 1),
        FussCatalan(1, 2),
        FussCatalan(3, Fraction(1, 2)),
        PointMass(Fraction(9, 4)),
    ],
)
def test_formulas_of_s_are_those_of_the_moments(law: ExplicitLaw) -> None:
    """The Taylor series of S, by mpmath from the formula, against the exact one from the moments."""
    exact = s_series(law.moments(6))
    assert all(isinstance(each, Fraction) for each in exact)

    def formula(y: complex) -> complex:
        points = np.array([complex(y)])
        return complex(law.s_transform(points, 1.0 + points)[0][0])

    # Cauchy's integral over a circle on which all of them are analytic.
    angles = np.exp(2j * np.pi * np.arange(64) / 64)
    values = np.array([formula(0.1 * angle) for angle in angles])
    found = np.array([np.mean(values * (0.1 * angles) ** -k) for k in range(6)])
    np.testing.assert_allclose(found.real, [float(each) for each in exact], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("law", [MarchenkoPastur(2, 3), FussCatalan(4, 2), PointMass(5)])
def test_slopes_of_s_are_its_logarithmic_derivatives(law: ExplicitLaw) -> None:
    y = np.array([0.2 + 1e-30j, -0.1 + 1e-30j])
    value, slope = law.s_transform(y, 1.0 + y)
    np.testing.assert_allclose((value.imag / value.real) / 1e-30, slope.real, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("order", [1, 2, 7])
def test_where_fuss_catalan_laws_end(order: int) -> None:
    assert FussCatalan(order).highest == pytest.approx((order + 1) ** (order + 1) / order**order, rel=1e-14)


@pytest.mark.parametrize(("least", "largest"), [(0.5, 1.5), (0.0, 2.0), (0.999, 1.001), (1.0 - 1e-6, 1.0 + 1e-6)])
@pytest.mark.parametrize("z", [-3.0, -0.01, 1e-3, 0.2, 0.05 - 0.1j, 0.9 - 0.3j, 40.0 - 3.0j, -1e6, 1.3 - 1e-3j])
def test_psi_of_a_band_has_thirty_digits_behind_it(least: float, largest: float, z: complex) -> None:
    with mpmath.workdps(30):
        a, b, w = mpmath.mpf(least), mpmath.mpf(largest), mpmath.mpmathify(z)
        root = mpmath.sqrt(w)
        rest = (mpmath.atanh(b * root) - mpmath.atanh(a * root)) / ((b - a) * root)
        growth = (b / (1 - w * b**2) - a / (1 - w * a**2)) / (2 * (b - a)) - rest / 2
        expected = [complex(each) for each in (rest - 1, rest, growth)]
    points = np.array([z]) if isinstance(z, complex) else np.array([z], dtype=float)
    found = UniformBand(least, largest).psi(points)
    np.testing.assert_allclose([each[0] for each in found], expected, rtol=3e-14 * (1.0 + 1.0 / abs(1.0 - z)))


def test_moments_of_a_band_are_exact() -> None:
    low, high = Fraction(1, 3), Fraction(7, 5)
    expected = [(high ** (2 * k + 1) - low ** (2 * k + 1)) / ((2 * k + 1) * (high - low)) for k in range(1, 6)]
    assert UniformBand(low, high).moments(5) == expected


def test_a_discrete_law() -> None:
    law = DiscreteLaw([0.0, 3.0, 1.0, 3.0], [0.25, 0.25, 0.375, 0.125])
    assert (law.lowest, law.highest, law.zero_mass) == (1.0, 3.0, 0.25)
    assert law.atoms == ((1.0, 0.375), (3.0, 0.375))
    assert law.moments(2) == [1.5, 3.75]
    z = np.array([-0.7])
    psi, rest, growth = (float(each[0]) for each in law.psi(z))
    assert psi == pytest.approx(0.375 * (-0.7 / 1.7 - 2.1 / 3.1))
    assert rest == pytest.approx(0.75 + psi)
    assert growth == pytest.approx(0.375 * (-0.7 / 1.7**2 - 2.1 / 3.1**2))
    assert DiscreteLaw([0.0]).highest == 0.0
    assert DiscreteLaw([1.0, 2.0], meaning="samples").atoms == ()


@pytest.mark.parametrize(
    ("law", "arguments", "message"),
    [
        (PointMass, (-1.0,), "position: must be finite and not negative"),
        (PointMass, (math.nan,), "position"),
        (MarchenkoPastur, (0.0,), "ratio: must be positive"),
        (MarchenkoPastur, (-2.0,), "ratio: must be positive"),
        (MarchenkoPastur, (1.0, 0.0), "variance: must be positive"),
        (FussCatalan, (0,), "order: must be a whole number"),
        (FussCatalan, (1.5,), "order: must be a whole number"),
        (FussCatalan, (1, -1.0), "variance"),
        (UniformBand, (-0.1, 1.0), "least: must be from 0"),
        (UniformBand, (1.0, 1.0), "least: must be from 0"),
        (DiscreteLaw, ([-1.0, 2.0],), "nodes: must be finite and not negative"),
        (DiscreteLaw, ([],), "nodes"),
        (DiscreteLaw, ([1.0], [0.5, 0.5]), "weights: must be finite, not negative and as many"),
        (DiscreteLaw, ([1.0, 2.0], [0.5, 0.4]), "weights: must sum to 1"),
        (DiscreteLaw, ([1.0, 2.0], [1.5, -0.5]), "weights"),
        (DiscreteLaw, ([1.0], None, "guess"), "meaning"),
        (ContourLaw, (np.ones(1), np.ones(1), np.ones(1), np.ones(1), (2.0, 1.0)), "support"),
        (ContourLaw, (np.ones(1), np.ones(1), np.ones(1), np.zeros(1), (0.0, 1.0)), "weights: must sum to 1"),
    ],
)
def test_laws_that_make_no_sense_are_refused(law: type, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        law(*arguments)
