"""Drawn matrices have the singular values and moments of their ensemble."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.solvers.free_laws import MarchenkoPastur, PointMass
from meanfield.weight_ensembles import Ensemble, as_ensemble, haar_columns
from meanfield.weights import sample_weights

BAND = Ensemble("svd", centre=0.8, half_width=0.5)
ALL = [Ensemble(), Ensemble("orthogonal"), BAND]


@pytest.mark.parametrize("shape", [(60, 60), (40, 70), (70, 40)])
def test_orthogonal_matrices_have_all_singular_values_at_the_gain(shape: tuple[int, int]) -> None:
    W = Ensemble("orthogonal").draw(np.random.default_rng(0), *shape, gain=1.7)
    assert W.shape == shape
    assert W.dtype == np.float64
    np.testing.assert_allclose(np.linalg.svd(W, compute_uv=False), 1.7, rtol=1e-13)


@pytest.mark.parametrize("shape", [(400, 400), (300, 500)])
@pytest.mark.parametrize("seed", range(3))
def test_svd_matrices_have_uniform_singular_values(shape: tuple[int, int], seed: int) -> None:
    values = np.sort(np.linalg.svd(BAND.draw(np.random.default_rng(seed), *shape, gain=2.0), compute_uv=False)) / 2.0
    assert values[0] >= 0.3 - 1e-12
    assert values[-1] <= 1.3 + 1e-12
    count = min(shape)
    distance = np.max(np.abs((values - 0.3) - (np.arange(count) + 0.5) / count))
    assert distance * math.sqrt(count) < 2.3  # Kolmogorov: exceeded once in 20000


@pytest.mark.parametrize("ensemble", ALL)
@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8)])
def test_entries_have_their_second_moments(ensemble: Ensemble, shape: tuple[int, int]) -> None:
    rng, gain = np.random.default_rng(1), 1.3
    squares = np.array([np.mean(ensemble.draw(rng, *shape, gain=gain) ** 2) for _ in range(400)])
    fan = shape[1] if ensemble.name == "gaussian" else max(shape)
    expected = gain**2 * ensemble.moments()[0] / fan
    error = np.std(squares) / 20.0
    assert abs(np.mean(squares) - expected) <= 4.0 * error + 1e-14


@pytest.mark.parametrize("ensemble", ALL)
def test_moments_are_those_of_large_matrices(ensemble: Ensemble) -> None:
    rng, size = np.random.default_rng(2), 150
    found = []
    for _ in range(20):
        gram = (W := ensemble.draw(rng, size, size)) @ W.T
        found.append((np.trace(gram) / size, np.sum(gram**2) / size))
    error = np.std(found, axis=0) / np.sqrt(20)
    expected = np.array(ensemble.moments())
    assert np.all(np.abs(np.mean(found, axis=0) - expected) <= 4.0 * error + 2.0 / size * expected)


def test_svd_moments_are_those_of_the_band() -> None:
    c, r = Fraction(4, 5), Fraction(1, 2)
    first, second = BAND.moments()
    assert first == pytest.approx(float(c**2 + r**2 / 3), rel=1e-14)
    assert second == pytest.approx(float(c**4 + 2 * c**2 * r**2 + r**4 / 5), rel=1e-14)


def test_haar_columns_are_turned_without_preference() -> None:
    """Without the signs of R, QR prefers one sign on the diagonal; entries of uniform columns have mean zero."""
    rng = np.random.default_rng(3)
    entries = np.array([np.diagonal(haar_columns(rng, 6, 3)) for _ in range(2000)])
    assert np.all(np.abs(np.mean(entries, axis=0)) < 4.0 * np.std(entries, axis=0) / math.sqrt(2000))
    fourth = entries[:, 0] ** 4  # E Q⁴ = 3/(n(n+2))
    assert abs(np.mean(fourth) - 3.0 / 48.0) < 4.0 * np.std(fourth) / math.sqrt(2000)


def test_the_same_generator_draws_the_same_matrix() -> None:
    for ensemble in ALL:
        one, other = (ensemble.draw(np.random.default_rng(7), 5, 5) for _ in range(2))
        np.testing.assert_array_equal(one, other)


def test_laws_of_squared_singular_values() -> None:
    assert Ensemble().law(2.0) == MarchenkoPastur(1.0, 4.0)
    assert Ensemble("orthogonal").law(2.0) == PointMass(4.0)
    assert Ensemble("svd", half_width=0.0).law(2.0) == PointMass(4.0)
    assert BAND.law(2.0).highest == pytest.approx(2.6**2)
    for ensemble in ALL:
        assert ensemble.law(0.0) == PointMass(0.0)
        np.testing.assert_array_equal(ensemble.draw(np.random.default_rng(0), 3, 3, gain=0.0), 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cauchy"}, "ensemble: must be one of 'gaussian', 'orthogonal', 'svd', got 'cauchy'"),
        ({"name": "svd", "half_width": 1.1}, "half_width: must be from 0 to 1, got 1.1"),
        ({"name": "svd", "centre": -1.0}, "centre: must be at least 0"),
        ({"name": "svd", "half_width": math.nan}, "half_width: must be a finite number"),
        ({"name": "orthogonal", "half_width": 0.5}, "half_width: is of ensemble 'svd' only, got 0.5"),
        ({"name": "gaussian", "centre": 2.0}, "centre: is of ensemble 'svd' only, got 2.0"),
    ],
)
def test_ensembles_that_make_no_sense_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Ensemble(**arguments)  # type: ignore[arg-type]


def test_what_is_no_ensemble_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ensemble: must be an Ensemble or its name, got 3"):
        as_ensemble(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "message"), [((0, 3, 1.0), "rows"), ((3, 0, 1.0), "columns"), ((3, 3, -1.0), "gain: must be at least 0")]
)
def test_matrices_that_make_no_sense_are_refused(sizes: tuple[int, int, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Ensemble().draw(np.random.default_rng(0), sizes[0], sizes[1], gain=sizes[2])


def test_layers_are_drawn_from_an_ensemble() -> None:
    gate = mf.Gate(recurrent_gain=1.5, input_gain=1.0)
    network = mf.Network("gru", dict.fromkeys("frh", gate))
    plain = sample_weights(network, hidden=20, inputs=3, seed=5)
    same = sample_weights(network, hidden=20, inputs=3, seed=5, ensemble="gaussian")
    turned = sample_weights(network, hidden=20, inputs=3, seed=5, ensemble="orthogonal")
    for name in "frh":
        np.testing.assert_array_equal(plain[name]["recurrent"], same[name]["recurrent"])
        np.testing.assert_allclose(np.linalg.svd(turned[name]["recurrent"], compute_uv=False), 1.5, rtol=1e-13)
        assert turned[name]["input"].shape == (20, 3)
    # Weights that were drawn before there were ensembles are still the same.
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(plain["f"]["recurrent"], generator.standard_normal((20, 20)) * (1.5 / np.sqrt(20)))
    with pytest.raises(InvalidInput, match="ensemble"):
        sample_weights(network, hidden=20, inputs=3, ensemble="cauchy")
