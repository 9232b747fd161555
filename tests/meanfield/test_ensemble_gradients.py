"""States and gradients of networks with orthogonal matrices and matrices of prescribed singular values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.free_spectra import free_singular_values
from meanfield.untied_growth import untied_chi
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import jacobian, simulate

WIDE = mf.Ensemble("svd", centre=1.0, half_width=0.9)
ENSEMBLES = ["orthogonal", WIDE]


def _gate(recurrent: float, drive: float = 0.7, bias: float = 0.0) -> mf.Gate:
    return mf.Gate(recurrent, drive, bias, 0.1)


NETWORKS = {
    "vanilla": {"h": _gate(1.1)},
    "leaky": {"h": _gate(1.0)},
    "gru": {"f": _gate(1.0, 0.5, 1.0), "r": _gate(1.0), "h": _gate(1.5)},
    "lstm": {"i": _gate(1.0), "f": _gate(1.0, 0.5, 1.0), "g": _gate(1.5), "o": _gate(1.0)},
}


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["orthogonal", "svd"])
@pytest.mark.parametrize("cell", list(NETWORKS))
def test_moments_of_several_steps_are_those_of_simulated_networks(cell: str, ensemble: mf.Ensemble | str) -> None:
    network, width, steps = mf.Network(cell, NETWORKS[cell], ensemble), 192, 6
    found = mf.gradients(network, length=steps, hidden=width, units=8192, start="zero", seed=1)
    blocks = jacobian(network, mf.Inputs(), hidden=width, length=steps, steps=steps, networks=5, seed=2)
    output = network.definition.output * width
    firsts, spreads = [], []
    for block in blocks:
        squares = np.linalg.svd(block[output : output + width, output : output + width], compute_uv=False) ** 2
        firsts.append(np.mean(squares))
        spreads.append(math.log(np.mean(squares**2) / np.mean(squares) ** 2))
    assert deviation(found.first_moment, firsts, allowance=0.05) < 4
    assert deviation(found.log_spread, spreads, allowance=0.05) < 4


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["orthogonal", "svd"])
def test_states_and_gradients_are_those_of_simulated_networks(ensemble: mf.Ensemble | str) -> None:
    network = mf.Network("gru_reset_after", NETWORKS["gru"], ensemble)
    found = mf.gradients(network, length=8, hidden=256, units=8192, start="zero", seed=1)
    seen = simulate(network, mf.Inputs(), hidden=256, length=8, networks=6, seed=3)
    assert deviation(found.second_moment, seen.second_moment[:, -1], allowance=0.02) < 4
    assert deviation(found.profile.at(8), seen.gradient_profile[:, 8], allowance=0.04) < 4


@pytest.mark.parametrize("length", [10, 100])
def test_orthogonal_powers_are_isometries(length: int) -> None:
    linear = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)}, "orthogonal")
    found = mf.gradients(linear, mf.Inputs(power=0.0), length=length, hidden=64, units=512, start="zero")
    # Exact, however many steps a network of 64 units makes; Gaussian matrices would give log 11 after ten.
    assert abs(found.log_spread.value) < 1e-4
    np.testing.assert_allclose(found.profile.values, 1.0, rtol=1e-4)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["orthogonal", "svd"])
def test_fresh_matrices_multiply_as_free_ones(ensemble: mf.Ensemble | str) -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(1.2, 0.6)}, ensemble)
    exact = free_singular_values(network, mf.Inputs(), steps=4)
    found = mf.gradients(network, length=4, hidden=512, units=16384, regime="untied", seed=4)
    assert abs(found.log_spread.value - math.log(exact.spread.value)) < 4 * found.log_spread.error + 0.01
    untied = mf.analyze(network, length=4, hidden=128, units=2048, regime="untied", seed=4)
    assert untied.gradients.chi.value == pytest.approx(untied_chi(network).value, rel=1e-9)
    assert abs(untied.gradients.log_spread.value - math.log(exact.spread.value)) < (
        4 * untied.gradients.log_spread.error + 4 * 4 / 128
    )


def test_only_the_mean_square_of_matrices_matters_to_states() -> None:
    gates, scale = NETWORKS["gru"], math.sqrt(WIDE.moments()[0])
    scaled = {
        name: mf.Gate(scale * g.recurrent_gain, g.input_gain, g.bias_mean, g.bias_std) for name, g in gates.items()
    }
    one, other = mf.Network("gru", gates, WIDE), mf.Network("gru", scaled)
    assert mf.fixed_points(one).law.second_moment.value == pytest.approx(
        mf.fixed_points(other).law.second_moment.value, rel=1e-12
    )
    assert mf.stationary(one, units=512).second_moment == mf.stationary(other, units=512).second_moment


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["orthogonal", "svd"])
@pytest.mark.parametrize("steps", [1, 4])
def test_the_isometry_of_untied_weights_is_that_of_free_products(steps: int, ensemble: mf.Ensemble | str) -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(1.2, 0.6)}, ensemble)
    exact = free_singular_values(network, mf.Inputs(), steps=steps).spread
    found = mf.untied_isometry(network, length=steps).spreads.at(steps)
    assert abs(found.value - exact.value) <= found.error + exact.error < 1e-11


def test_orthogonal_matrices_do_not_scatter() -> None:
    """All that m2 has is of the diagonals: 1 + T (spread of φ'²), and nothing without slopes that differ."""
    linear = mf.untied_isometry(
        mf.Network("vanilla", {"h": mf.Gate(0.9)}, "orthogonal"), mf.Inputs(power=0.0), length=50
    )
    np.testing.assert_allclose(linear.spreads.values, 1.0, atol=1e-11)
    gaussian, orthogonal = (
        mf.untied_isometry(mf.Network("vanilla_relu", {"h": mf.Gate(0.8, 0.5)}, each), length=9).spreads.values
        for each in ("gaussian", "orthogonal")
    )
    np.testing.assert_allclose(orthogonal, 1.0 + np.arange(1, 10), rtol=1e-12)
    np.testing.assert_allclose(gaussian - orthogonal, np.arange(1, 10), rtol=1e-12)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["orthogonal", "svd"])
@pytest.mark.parametrize("cell", ["leaky", "gru"])
def test_the_isometry_of_untied_weights_by_non_crossing_partitions(cell: str, ensemble: mf.Ensemble | str) -> None:
    """m2 of one step in mpmath, by another route; the reset gate's matrix is read by another one."""
    network = mf.Network(cell, NETWORKS[cell], ensemble)
    found = mf.untied_isometry(network, length=1)
    certificate = mf.certify(mf.fixed_points(network, mf.Inputs(overlap=0.0)), digits=20, isometry=found)
    (second,) = (each for each in certificate.numbers if each.name == "m2")
    assert second.holds
    assert second.bound < 1e-11


@pytest.mark.parametrize("cell", ["leaky", "gru", "gru_reset_after"])
def test_the_isometry_of_untied_weights_is_that_of_simulated_networks(cell: str) -> None:
    network = mf.Network(cell, NETWORKS.get(cell, NETWORKS["gru"]), "orthogonal")
    found = mf.untied_isometry(network, length=3).log_spread
    options = {"length": 15, "steps": 3, "regime": "untied"}
    wide, narrow = (
        [_log_spread(each) for each in jacobian(network, mf.Inputs(), hidden=hidden, networks=24, seed=2, **options)]
        for hidden in (128, 64)
    )
    # Effects of order 1/N are taken off.
    error = math.hypot(2.0 * np.std(wide, ddof=1), np.std(narrow, ddof=1)) / math.sqrt(24)
    assert abs(2.0 * np.mean(wide) - np.mean(narrow) - found.value) < 4.0 * error


def _log_spread(block: NDArray[np.float64]) -> float:
    squares = np.linalg.svd(block, compute_uv=False) ** 2
    return math.log(np.mean(squares**2) / np.mean(squares) ** 2)
