"""Eigenvalues of one-step Jacobians against closed forms, simulated networks and PyTorch's cells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import meanfield as mf
from meanfield.cells import find, names
from meanfield.eigenvalue_plane import Eigenvalues, eigenvalues
from meanfield.errors import InvalidInput, NotConverged
from meanfield.sampling.population import Regime
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import jacobian

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

REST = mf.Inputs.padded(signal=1, length=2, power=0.0)  # a run that cannot leave the zero state
ANGLES = np.deg2rad([0.0, 60.0, 120.0, 180.0])


def network_of(name: str) -> mf.Network:
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    gains = {"h": 2.0, "g": 2.0, "f": 0.3 if name == "peephole_lstm" else 1.0}
    gates = {}
    for gate in cell.gates:
        keep = 1.0 if gate == "f" and name != "peephole_lstm" else 0.0
        gates[gate] = mf.Gate(gains.get(gate, 0.7) if gate in recurrent else 0.0, 0.7, keep, 0.2)
    return mf.Network(name, gates)


def assert_distributed(found: Eigenvalues, values: Complex128) -> None:
    """Distributions of networks, (networks, eigenvalues), by their real parts and by distance from the centre."""
    shares = np.linspace(0.08, 0.92, 6)
    for left_of in (True, False):
        measured = values.real if left_of else np.abs(values - found.centre)
        at = np.quantile(measured, shares)
        at = at[np.abs(at) > 1e-6]  # zeros up to rounding
        seen = np.mean(measured[:, None, :] <= at[:, None], axis=2)
        error = np.std(seen, axis=0, ddof=1) / np.sqrt(len(seen))
        predicted = [found.mass_in_box(-np.inf, x) if left_of else found.mass_in_disc(found.centre, x) for x in at]
        # Errors from few networks are uncertain themselves: the largest over all points; and a few parts in N for the
        # width.
        largest = np.hypot(np.max(error), max(each.error for each in predicted))
        difference = np.abs(seen.mean(axis=0) - [each.value for each in predicted])
        assert np.max(difference) < 4.0 * largest + 2.0 / values.shape[1]


def assert_bounded(found: Eigenvalues, values: Complex128) -> None:
    """The rightmost and the largest eigenvalue, and the shares of slow modes."""
    width = found.hidden
    assert deviation(found.edge, values.real.max(axis=1), allowance=1.0 / np.sqrt(width)) < 4.0
    assert deviation(found.radius, np.abs(values).max(axis=1), allowance=1.0 / np.sqrt(width)) < 4.0
    for radius in (0.1, 0.3):
        seen = np.mean(np.abs(values - 1.0) < radius, axis=1)
        predicted = found.slow_fraction(radius)
        error = np.hypot(np.std(seen, ddof=1) / np.sqrt(len(seen)), predicted.error)
        assert abs(np.mean(seen) - predicted.value) < 4.0 * error + 1.0 / values.shape[1]


@pytest.mark.parametrize("name", ["gru", "lstm", "minimal", "vanilla"])
def test_eigenvalues_are_those_of_simulated_networks(name: str) -> None:
    hidden, length, networks = 128, 20, 8
    regime: Regime = "untied" if name == "vanilla" else "tied"
    network = network_of(name)
    found = eigenvalues(network, hidden=hidden, length=length, start="zero", units=1024, seed=1, regime=regime)
    dense = jacobian(network, mf.Inputs(), hidden=hidden, length=length, networks=networks, seed=2, regime=regime)
    values = np.linalg.eigvals(dense)
    assert_distributed(found, values)
    assert_bounded(found, values)


def test_eigenvalues_are_those_of_pytorch_cells() -> None:
    """Cells drawn from a network's law, run by PyTorch, their Jacobian by its automatic differentiation."""
    hidden, inputs, networks = 200, 16, 5
    torch.manual_seed(0)
    network = network_of("gru_reset_after")
    found = eigenvalues(network, mf.Inputs(size=inputs), hidden=hidden, length=40, start="zero", units=1600, seed=3)
    values = []
    for seed in range(networks):
        cell = torch.nn.GRUCell(inputs, hidden, dtype=torch.float64)
        mf.torch.initialize(cell, network, seed=seed)
        state = torch.zeros(hidden, dtype=torch.float64)
        for x in torch.randn(40, inputs, dtype=torch.float64):
            before, read = state, x
            with torch.no_grad():
                state = cell(x, state)
        J = torch.autograd.functional.jacobian(lambda h, cell=cell, read=read: cell(read, h), before, vectorize=True)
        values.append(torch.linalg.eigvals(J).numpy())
    assert_distributed(found, np.array(values))
    assert_bounded(found, np.array(values))


@pytest.mark.parametrize(("name", "gain"), [("gru", "h"), ("gru_reset_after", "h"), ("lstm", "g")])
@pytest.mark.parametrize("value", [1.0, 2.0, 3.0])
def test_cells_at_rest_fill_a_disc_about_one_half(name: str, gain: str, value: float) -> None:
    gates = {gate: mf.Gate(value if gate == gain else 1.0) for gate in find(name).gates}
    found = eigenvalues(mf.Network(name, gates), REST, length=2, units=512)
    radius, share = value / 4.0, 0.5 if name == "lstm" else 1.0
    assert found.edge.value == pytest.approx(0.5 + radius, rel=1e-6)
    assert found.radius.value == pytest.approx(0.5 + radius, rel=1e-6)
    assert (found.centre, found.atom_share.value) == (0.5, 1.0 - share)
    boundary = found.boundary(ANGLES)
    np.testing.assert_allclose(boundary.radii, radius, rtol=1e-6)
    np.testing.assert_allclose(boundary.points, 0.5 + radius * np.exp(1j * ANGLES), atol=1e-6)
    (contour,) = found.contours(40)
    np.testing.assert_allclose(np.abs(contour.points - 0.5), radius, rtol=1e-6)
    assert not contour.hole
    points = 0.5 + radius * np.array([0.0, 0.95j, -0.6 - 0.7j, 1.05])
    expected = share / (np.pi * radius**2) * np.array([1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(found.density(points).values, expected, rtol=1e-6, atol=1e-9)
    assert found.mass_in_disc(0.5, radius / 2.0).value == pytest.approx(share / 4.0, abs=1e-5)


@pytest.mark.parametrize("gain", [0.8, 1.5])
def test_plain_networks_at_rest_have_the_circular_law(gain: float) -> None:
    for name, centre, size in (("vanilla", 0.0, gain), ("leaky", 0.7, 0.3 * gain)):
        found = eigenvalues(mf.Network(name, {"h": mf.Gate(gain)}), REST, length=2, units=512)
        assert found.centre == pytest.approx(centre, abs=1e-6)
        np.testing.assert_allclose(found.boundary(ANGLES).radii, size, rtol=1e-5)
        at = found.density([centre, centre + 0.9j * size])
        np.testing.assert_allclose(at.values, 1.0 / (np.pi * size**2), rtol=1e-5)
        assert found.hole_radius.value == 0.0


def test_the_edge_is_that_of_the_spectra() -> None:
    for name in ("gru", "lstm"):
        network = network_of(name)
        found = eigenvalues(network, hidden=64, units=512, length=10, start="zero", seed=4)
        other = mf.spectra(network, hidden=64, units=512, length=10, start="zero", seed=4)
        assert found.edge == other.eigenvalue_edge
        assert found.edge_scatter == other.edge_scatter
        assert found.centre + found.boundary([0.0]).radii[0] == pytest.approx(found.edge.value, abs=1e-8)
        # The trapezoid rule of the spectra has an error of its own.
        assert found.slow_fraction().value == pytest.approx(other.slow_fraction.value, abs=0.01)


def test_contours_go_with_the_boundary() -> None:
    found = eigenvalues(network_of("gru"), hidden=64, units=512, length=10, start="zero", seed=5)
    contour = found.contours()[0]
    assert contour.errors.shape == contour.points.shape
    offsets = contour.points - found.centre
    radii = found.boundary(np.angle(offsets))
    # Means of log ρ on one hand, of radii on the other.
    off_axis = np.abs(offsets.imag) > 0.05
    difference = np.abs(np.abs(offsets) - radii.radii)[off_axis]
    assert np.all(difference < 4.0 * np.hypot(contour.errors, radii.errors)[off_axis])
    assert np.median(contour.errors / radii.errors) == pytest.approx(1.0, abs=0.5)
    np.testing.assert_allclose(found.density(contour.points[::9] * 0 + 10.0).values, 0.0)


def test_the_error_is_that_of_other_seeds() -> None:
    network, points = network_of("lstm"), np.array([0.6 + 0.1j, 0.8])
    numbers, errors = [], []
    for seed in range(10):
        found = eigenvalues(network, hidden=64, units=512, length=10, start="zero", seed=seed)
        density, boundary = found.density(points), found.boundary(ANGLES[1:], centre=0.6)
        slow = found.slow_fraction(0.3)
        numbers.append([found.edge.value, slow.value, *density.values, *boundary.radii])
        errors.append([found.edge.error, slow.error, *density.errors, *boundary.errors])
    scatter, stated = np.std(numbers, axis=0, ddof=1), np.sqrt(np.mean(np.square(errors), axis=0))
    # Ten seeds know a standard deviation within a factor of two.
    assert np.all(scatter < 2.5 * stated)
    assert np.all(scatter > stated / 2.5)


def gru(keep: mf.Gate, reset: mf.Gate, new: mf.Gate) -> mf.Network:
    return mf.Network("gru", {"f": keep, "r": reset, "h": new})


def test_a_biased_keep_gate_makes_slow_modes() -> None:
    found = [
        eigenvalues(gru(mf.Gate(1.0, 0.5, bias), mf.Gate(1.0, 0.5), mf.Gate(1.0, 0.5)), hidden=128, units=1024)
        for bias in (0.0, 2.0, 4.0)
    ]
    for weak, strong in pairwise(found):
        assert strong.slow_fraction().value > weak.slow_fraction().value + 0.2
        assert 1.0 > strong.edge.value > weak.edge.value
        assert strong.boundary([np.pi]).radii[0] < weak.boundary([np.pi]).radii[0]


def test_a_steep_keep_gate_is_marginally_stable() -> None:
    """Without inputs, in chaos: modes pile up at one, and the edge comes down to it."""
    found = [
        eigenvalues(
            gru(mf.Gate(gain), mf.Gate(1.0), mf.Gate(3.0, bias_std=0.5)), mf.Inputs(power=0.0), hidden=128, units=1024
        )
        for gain in (0.1, 3.0, 10.0)
    ]
    shares = [each.slow_fraction(0.05).value for each in found]
    assert shares[0] < 0.01 < 0.05 < shares[1] < 0.15 < 0.25 < shares[2]
    assert abs(found[2].edge.value - 1.0) < 0.01


@pytest.mark.parametrize(("cell", "gate"), [("gru", "r"), ("lstm", "i"), ("lstm", "o")])
def test_open_gates_widen_the_spectrum(cell: str, gate: str) -> None:
    found = []
    for bias in (-2.0, 0.0, 2.0):
        gates = {name: mf.Gate(1.0, 0.5) for name in find(cell).gates}
        gates["h" if cell == "gru" else "g"] = mf.Gate(3.0, 0.5)
        gates[gate] = mf.Gate(1.0, 0.5, bias)
        found.append(eigenvalues(mf.Network(cell, gates), hidden=128, units=1024).radius)
    for closed, open_ in pairwise(found):
        assert open_.value > closed.value + 2.0 * np.hypot(open_.error, closed.error)


def test_networks_without_weights_have_atoms_only() -> None:
    for name in names():
        cell = find(name)
        found = eigenvalues(mf.Network(name, {gate: mf.Gate() for gate in cell.gates}), REST, length=2, units=512)
        skip = 0.7 if name == "leaky" else 0.5 if cell.keep_gate else 0.0
        assert found.atom_share.value == 1.0
        assert found.radius.value == pytest.approx(skip, abs=1e-6)
        assert found.contours() == ()
        np.testing.assert_array_equal(found.density([skip, 0.3j]).values, 0.0)
        assert found.mass_in_disc(skip + 0.01, 0.1).value == pytest.approx(1.0 / len(cell.states))


def test_groups_are_dealt_into_networks() -> None:
    found = eigenvalues(mf.Network("vanilla", {"h": mf.Gate(1.0)}), REST, hidden=2500, length=2)
    assert (len(found.networks), found.per_group, found.hidden) == (2, 1, 2500)
    narrow = eigenvalues(mf.Network("vanilla", {"h": mf.Gate(1.0)}), REST, hidden=40, units=808, groups=8, length=2)
    assert (len(narrow.networks), narrow.per_group) == (16, 2)


def test_the_seed_decides_everything() -> None:
    network = network_of("lstm")
    first, again, other = (
        eigenvalues(network, mf.Inputs(size=4), length=10, hidden=128, units=512, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first.density([0.5, 0.9]).values, again.density([0.5, 0.9]).values)
    assert first == again
    assert first.edge != other.edge


def test_requests_that_make_no_sense_are_refused_by_name() -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(1.0)})
    with pytest.raises(InvalidInput, match="length"):
        eigenvalues(network, length=0)
    with pytest.raises(InvalidInput, match="hidden"):
        eigenvalues(network, hidden=0)
    for units, groups in ((300, None), (600, 3)):
        with pytest.raises(InvalidInput, match=r"units: .* two networks of 256 units that share none"):
            eigenvalues(network, REST, hidden=256, length=1, units=units, groups=groups)
    found = eigenvalues(network, REST, units=512, length=2)
    for wrong in ([np.nan], [[0.0]]):
        with pytest.raises(InvalidInput, match="points"):
            found.density(wrong)
        with pytest.raises(InvalidInput, match="angles"):
            found.boundary(wrong)
    with pytest.raises(InvalidInput, match="centre"):
        found.boundary([0.0], centre=np.inf)
    with pytest.raises(InvalidInput, match="resolution"):
        found.contours(4)
    for radius in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(InvalidInput, match="radius"):
            found.slow_fraction(radius)
    with pytest.raises(InvalidInput, match="ascending"):
        found.mass_in_box(1.0, 0.0)
    silent = eigenvalues(mf.Network("leaky", {"h": mf.Gate()}), REST, units=512, length=2)
    atom = float(silent.networks[0].atoms[0])
    with pytest.raises(NotConverged, match="which no matrix moves, lies on the circle"):
        silent.mass_in_disc(1.0, 1.0 - atom)
