"""Spectra of networks with orthogonal matrices and bands of singular values."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.free_spectra import free_singular_values
from meanfield.weight_ensembles import Ensemble

GATE, KEEP = mf.Gate(1.3, 0.4, 0.0, 0.2), mf.Gate(1.0, 0.5, 1.0)
WIDE = Ensemble("svd", half_width=0.7)


def network(cell: str, ensemble: Ensemble | str) -> mf.Network:
    gates = {"vanilla": "h", "leaky": "h", "gru": "frh", "lstm": "ifgo"}[cell]
    return mf.Network(cell, {name: KEEP if name == "f" else GATE for name in gates}, ensemble)


def close(found: mf.Estimate, expected: mf.Estimate) -> bool:
    return abs(found.value - expected.value) < 4.0 * float(np.hypot(found.error, expected.error))


@pytest.mark.parametrize("ensemble", ["orthogonal", WIDE])
@pytest.mark.parametrize("cell", ["vanilla", "leaky"])
def test_moments_are_those_of_free_probability(cell: str, ensemble: Ensemble | str) -> None:
    of = network(cell, ensemble)
    expected = free_singular_values(of)
    found = mf.singular_values(of, units=4096, groups=16, regime="untied")
    assert close(found.first_moment, expected.first_moment)
    assert close(found.second_moment, expected.second_moment)
    gaussian = free_singular_values(network(cell, "gaussian"))
    if ensemble == "orthogonal":
        assert not close(found.second_moment, gaussian.second_moment)
    spectra = mf.spectra(of, hidden=64, units=4096, groups=16, regime="untied")
    assert close(spectra.second_moment, expected.second_moment)


def test_products_of_a_tied_vanilla_network() -> None:
    of = network("vanilla", WIDE)
    found, expected = mf.singular_values(of, steps=2, units=4096, groups=16), free_singular_values(of, steps=2)
    assert close(found.second_moment, expected.second_moment)
    assert found.laws[0].moments()[1] > 0.0


@pytest.mark.parametrize("ensemble", ["orthogonal", WIDE])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_numbers_of_one_network_agree(cell: str, ensemble: Ensemble | str) -> None:
    of = network(cell, ensemble)
    values = mf.singular_values(of, units=512, groups=2)
    for law, of_law in zip(values.laws, [law.moments() for law in values.laws], strict=True):
        assert of_law[1] > of_law[0] ** 2
        assert law.distribution([law.outer_edge.value * 1.01]).values[0] == pytest.approx(1.0, abs=1e-9)
    assert values.second_moment.value == pytest.approx(np.mean([law.moments()[1] for law in values.laws]), rel=1e-9)
    plane = mf.eigenvalues(of, hidden=128, units=512, groups=4)
    assert plane.mass_in_box(-np.inf, np.inf).value == pytest.approx(1.0, abs=1e-4)
    assert plane.edge.value <= plane.radius.value + 1e-9
    whole = plane.mass_in_box(-np.inf, 0.5).value + plane.mass_in_box(0.5, np.inf).value
    assert whole == pytest.approx(1.0, abs=1e-4)


def test_slow_modes_of_both_entry_points() -> None:
    of = network("leaky", "orthogonal")
    plane, spectra = mf.eigenvalues(of, hidden=128, units=2048), mf.spectra(of, hidden=128, units=2048)
    assert close(plane.slow_fraction(), spectra.slow_fraction)
    gaussian = mf.eigenvalues(network("leaky", "gaussian"), hidden=128, units=2048).slow_fraction()
    assert plane.slow_fraction().value > gaussian.value + 4.0 * gaussian.error


def test_an_orthogonal_vanilla_network_has_a_hole() -> None:
    still = mf.Inputs.padded(signal=1, length=2, power=0.0)
    for ensemble, hole in (("gaussian", 0.0), ("orthogonal", 0.75)):
        rest = mf.Network("vanilla", {"h": mf.Gate(0.75)}, ensemble)
        found = mf.eigenvalues(rest, still, length=2, hidden=64, units=128)
        assert found.hole_radius.value == pytest.approx(hole, abs=1e-9)
        assert found.radius.value == pytest.approx(0.75, abs=1e-9)


def test_several_tied_matrices_over_several_steps_are_refused() -> None:
    with pytest.raises(mf.InvalidInput, match=r"steps"):
        mf.singular_values(network("gru", "orthogonal"), steps=2, units=128)
    found = mf.singular_values(network("gru", "orthogonal"), steps=2, units=64, groups=2, regime="untied")
    assert found.second_moment.value == pytest.approx(np.mean([law.moments()[1] for law in found.laws]), rel=1e-8)
