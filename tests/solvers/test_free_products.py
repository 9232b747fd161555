"""Free products against closed forms and against singular values of random matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.continuous_laws import UniformBand
from meanfield.solvers.free_laws import FussCatalan, MarchenkoPastur, PointMass, PositiveLaw
from meanfield.solvers.free_products import FreeProduct
from meanfield.solvers.inverted_laws import DiscreteLaw

Float64 = NDArray[np.float64]

PROJECTION = DiscreteLaw([0.0, 1.0], [0.4, 0.6])


def integrals(product: FreeProduct, powers: list[int], reach: float = 60.0) -> list[float]:
    """∫ x^k ρ(x) dx without atoms; with log x = end - v² a square root at the end of the support is smooth."""
    end = product.log_ends()[1][0]
    places, weights = np.polynomial.legendre.leggauss(160)
    v = 0.5 * math.sqrt(reach) * (places + 1.0)
    log_x = end - v**2
    measure = 0.5 * math.sqrt(reach) * weights * 2.0 * v * product.log_density(log_x).values
    return [float(np.sum(measure * np.exp(k * log_x))) for k in powers]


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0, 4.0])
def test_marchenko_pastur_densities(ratio: float) -> None:
    law = MarchenkoPastur(ratio, 2.0)
    product = FreeProduct([(law, 1)])
    inside = np.linspace(0.01, 0.99, 60)
    x = np.concatenate((law.lowest + inside * (law.highest - law.lowest), [0.9 * law.lowest + 1e-9, 1.1 * law.highest]))
    found = product.log_density(np.log(x))
    expected = np.sqrt(np.maximum((law.highest - x) * (x - law.lowest), 0.0)) / (2.0 * np.pi * ratio * 2.0)
    assert np.all(np.abs(found.values - expected) <= found.errors + 1e-13 * expected)
    assert np.max(found.errors) < 1e-12
    (low, low_error), (high, high_error) = product.log_ends()
    assert abs(high - math.log(law.highest)) <= high_error + 1e-15
    if ratio != 1.0:
        assert abs(low - math.log(law.lowest)) <= low_error + 1e-15
    else:
        assert low == -math.inf


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_products_of_ginibre_matrices(order: int) -> None:
    product, single = FreeProduct([(MarchenkoPastur(), order)]), FussCatalan(order)
    assert product.moments(8) == single.moments(8)
    found = integrals(product, [0, 1, 2, 3], reach=35.0 * (order + 1))
    np.testing.assert_allclose(found, [1.0, 1.0, order + 1.0, (3 * order + 3) * (3 * order + 2) / 6.0], rtol=1e-10)
    log_x = np.linspace(-10.0, 3.0, 50)
    same = FreeProduct([(single, 1)]).log_density(log_x).values
    np.testing.assert_allclose(product.log_density(log_x).values, same, atol=1e-12)
    assert product.log_ends()[1][0] == pytest.approx(math.log(single.highest), abs=1e-13)


def test_the_density_of_two_ginibre_matrices_is_the_known_one() -> None:
    """Penson and Życzkowski, Product of Ginibre matrices: Fuss-Catalan and Raney distributions (2011), equation 14."""
    x = np.linspace(0.01, 6.74, 40)
    root = 27.0 + 3.0 * np.sqrt(81.0 - 12.0 * x)
    upper = 2.0 ** (1.0 / 3.0) * root ** (2.0 / 3.0) - 6.0 * x ** (1.0 / 3.0)
    expected = 2.0 ** (1.0 / 3.0) * np.sqrt(3.0) / (12.0 * np.pi) * upper / (x ** (2.0 / 3.0) * root ** (1.0 / 3.0))
    found = FreeProduct([(MarchenkoPastur(), 2)]).log_density(np.log(x))
    np.testing.assert_allclose(found.values / x, expected, rtol=1e-10)


@pytest.mark.parametrize(("one", "other"), [(0.6, 0.6), (0.3, 0.8), (0.3, 0.4)])
def test_two_projections(one: float, other: float) -> None:
    """Voiculescu 1987, example 2.8: the density is √((x-a)(b-x))/(2π x(1-x)), atoms at zero and one."""
    factors = [(DiscreteLaw([0.0, 1.0], [1.0 - rank, rank]), 1) for rank in (one, other)]
    product = FreeProduct(factors)
    spread = math.sqrt(4.0 * one * other * (1.0 - one) * (1.0 - other))
    low, high = one + other - 2.0 * one * other - spread, one + other - 2.0 * one * other + spread
    x = np.linspace(low, high, 32)[1:-1]
    found = product.log_density(np.log(x))
    expected = np.sqrt((x - low) * (high - x)) / (2.0 * np.pi * (1.0 - x))
    assert np.all(np.abs(found.values - expected) <= found.errors + 1e-13)
    assert product.zero_mass == pytest.approx(1.0 - min(one, other))
    ends = product.log_ends()
    if one + other > 1.0:
        ((position, mass),) = product.atoms
        assert (position, mass) == (1.0, pytest.approx(one + other - 1.0))
        assert ends[1][0] == 0.0  # the support ends in the atom
    else:
        assert product.atoms == ()
        assert ends[1][0] == pytest.approx(math.log(high), abs=1e-12)
    if one == other:
        assert product.reaches_zero
        assert ends[0] == (-math.inf, 0.0)
    else:
        assert ends[0][0] == pytest.approx(math.log(low), abs=1e-12)


def haar(rng: np.random.Generator, size: int) -> Float64:
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(q * np.copysign(1.0, np.diagonal(r)))


def quantiles(function: Callable[[Float64], Float64], size: int) -> Float64:
    return function((np.arange(size) + 0.5) / size)


def three(p: Float64) -> Float64:
    return np.where(p < 0.4, 0.04, np.where(p < 0.8, 1.0, 9.0))


THREE = DiscreteLaw([0.04, 1.0, 9.0], [0.4, 0.4, 0.2])
DRAWN: list[tuple[list[tuple[PositiveLaw, int]], list[Callable[[Float64], Float64]]]] = [
    ([(THREE, 2)], [three, three]),  # in pieces that are gaps apart
    ([(THREE, 1), (UniformBand(0.8, 1.2), 2)], [three, *[lambda p: (0.8 + 0.4 * p) ** 2] * 2]),
    # A band down to zero, which the projection keeps away from it.
    ([(UniformBand(0.0, 2.0), 1), (PROJECTION, 1)], [lambda p: (2.0 * p) ** 2, lambda p: np.where(p < 0.4, 0.0, 1.0)]),
]


@pytest.mark.parametrize(("factors", "functions"), DRAWN)
@pytest.mark.parametrize("seed", [0, 1])
def test_densities_are_those_of_random_matrices(
    factors: list[tuple[PositiveLaw, int]], functions: list[Callable[[Float64], Float64]], seed: int
) -> None:
    rng, size = np.random.default_rng(seed), 500
    J = np.eye(size)
    for function in functions:
        J = np.sqrt(quantiles(function, size))[:, None] * (haar(rng, size) @ J)
    product = FreeProduct(factors)
    values = np.sort(np.linalg.svd(J, compute_uv=False) ** 2)
    values = values[round(product.zero_mass * size) :]
    log_x = np.linspace(math.log(values[0]) - 1.0, math.log(values[-1]) + 0.1, 3000)
    density = product.log_density(log_x).values
    below = product.zero_mass + np.concatenate(([0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(log_x))))
    expected = np.interp(np.log(values), log_x, below)
    counted = (np.arange(size - len(values), size) + 0.5) / size
    assert np.max(np.abs(expected - counted)) < 0.01
    (low, _), (high, _) = product.log_ends()
    inside, outside = (product.log_density([low + step, high - step]).values for step in (1e-3, -1e-3))
    assert np.min(inside) > 1e-3
    assert np.max(outside) < 1e-12


def test_a_band_alone_keeps_its_density() -> None:
    x = np.linspace(0.3, 1.7, 20) ** 2
    found = FreeProduct([(UniformBand(0.5, 1.5), 1), (PointMass(1.0), 3)]).log_density(np.log(x))
    expected = np.where((x > 0.25) & (x < 2.25), 0.5 * np.sqrt(x), 0.0)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_products_of_points_are_points() -> None:
    product = FreeProduct([(PointMass(4.0), 2), (PointMass(0.25), 1)])
    assert product.atoms == ((4.0, 1.0),)
    np.testing.assert_array_equal(product.log_density([0.0, 1.0, math.log(4.0)]).values, 0.0)
    assert product.log_ends() == ((pytest.approx(math.log(4.0)), pytest.approx(0.0, abs=1e-14)),) * 2


def test_discrete_laws_alone_have_atoms_and_no_density() -> None:
    product = FreeProduct([(THREE, 1), (PointMass(2.0), 1)])
    np.testing.assert_allclose(product.atoms, [(0.08, 0.4), (2.0, 0.4), (18.0, 0.2)], rtol=1e-14)
    assert np.max(product.log_density(np.linspace(-4.0, 3.0, 50)).values) < 1e-12
    assert product.log_ends()[1][0] == pytest.approx(math.log(18.0))


def test_a_point_at_zero_takes_everything_to_zero() -> None:
    product = FreeProduct([(MarchenkoPastur(), 1), (PointMass(0.0), 1)])
    assert (product.vanishes, product.zero_mass, product.atoms) == (True, 1.0, ())
    assert product.moments(2) == [0.0, 0.0]
    assert product.log_density([0.0]).values == [0.0]
    with pytest.raises(ValueError, match="all mass is at zero"):
        product.log_ends()


def test_powers_are_repeated_factors_in_any_order() -> None:
    band, ginibre = UniformBand(0.5, 1.5), MarchenkoPastur(0.5)
    log_x = np.linspace(-6.0, 2.0, 30)
    one = FreeProduct([(band, 2), (ginibre, 1)]).log_density(log_x).values
    other = FreeProduct([(band, 1), (ginibre, 1), (band, 1)]).log_density(log_x).values
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_hundreds_of_factors() -> None:
    """The logarithm of the density of T Ginibre matrices; x itself leaves the range of numbers."""
    product = FreeProduct([(MarchenkoPastur(1.0, 0.1), 500)])
    assert product.log_ends()[1][0] == pytest.approx(500 * math.log(0.1) + math.log(501.0) + 500 * math.log(501 / 500))
    assert integrals(product, [0], reach=35.0 * 501)[0] == pytest.approx(1.0, abs=1e-6)


def test_moments_stay_exact() -> None:
    from fractions import Fraction

    product = FreeProduct([(MarchenkoPastur(Fraction(1, 2), 1), 2), (UniformBand(0, 2), 1)])
    first, second = product.moments(2)
    assert first == Fraction(4, 3)
    assert second / first**2 - 1 == Fraction(1, 2) + Fraction(1, 2) + (Fraction(16, 5) / Fraction(16, 9) - 1)
    assert product.relative_variance == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([], "one at least"),
        ([(PROJECTION, 0)], "whole number of times"),
        ([(PROJECTION, 1.5)], "whole number of times"),
    ],
)
def test_products_that_make_no_sense_are_refused(factors: list[tuple[PositiveLaw, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FreeProduct(factors)


def test_places_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="log_x: must be finite"):
        FreeProduct([(PROJECTION, 1)]).log_density([math.nan])
