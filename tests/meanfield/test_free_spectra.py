"""Free singular values against closed forms and against Jacobians of random and of simulated networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

import meanfield as mf
from meanfield.closed_moments import closed_law
from meanfield.diagonal_moments import diagonal_moments, preactivation_law
from meanfield.errors import InvalidInput, NotConverged
from meanfield.free_spectra import FreeSpectrum, free_singular_values
from meanfield.weight_ensembles import Ensemble, haar_columns

Float64 = NDArray[np.float64]

ENSEMBLES = [Ensemble(), Ensemble("orthogonal"), Ensemble("svd", centre=1.0, half_width=0.4)]
NAMES = [each.name for each in ENSEMBLES]
SIZE = 800


def vanilla(gain: float, cell: str = "vanilla", **law: float) -> mf.Network:
    return mf.Network(cell, {"h": mf.Gate(recurrent_gain=gain, **law)})


TYPICAL = vanilla(1.3, input_gain=0.4, bias_mean=0.1, bias_std=0.2)


def slopes(network: mf.Network, deviation: float) -> Float64:
    """φ'(u) of units whose pre-activations are at equally likely places."""
    u = network.gates["h"].bias_mean + deviation * ndtri((np.arange(SIZE) + 0.5) / SIZE)
    if network.cell == "vanilla":
        return np.asarray(1.0 / np.cosh(u) ** 2)
    return np.asarray(2.0 / math.sqrt(math.pi) * np.exp(-(u**2)) if network.cell == "vanilla_erf" else 1.0 * (u > 0.0))


def drawn(spectrum: FreeSpectrum, seed: int) -> Float64:
    """Singular values of Π D W with the law's own slopes in random order, ascending."""
    rng, J = np.random.default_rng(seed), np.eye(SIZE)
    _, deviation = preactivation_law(spectrum._law, "field h")
    gain, ensemble = spectrum.network.gates["h"].recurrent_gain, spectrum.ensemble
    for _ in range(spectrum.steps):
        if ensemble.name == "svd":  # at equally likely singular values too
            values = ensemble.centre + ensemble.half_width * np.linspace(-1.0, 1.0, SIZE)
            W = gain * (haar_columns(rng, SIZE, SIZE) * values) @ haar_columns(rng, SIZE, SIZE)
        else:
            W = ensemble.draw(rng, SIZE, SIZE, gain=gain)
        J = rng.permutation(slopes(spectrum.network, deviation))[:, None] * (W @ J)
    return np.sort(np.linalg.svd(J, compute_uv=False))


def distance(spectrum: FreeSpectrum, values: Float64) -> float:
    """Kolmogorov's distance of singular values above zero from the density."""
    zero = spectrum.zero_fraction.value
    values = values[round(zero * len(values)) :]
    logs, top = np.log(values), math.log(max(values[-1], spectrum.edges[1].value))
    grid = top - np.linspace(0.0, math.sqrt(top - logs[0] + 2.0), 300) ** 2  # descending, dense at the edge
    density = spectrum.log_density(grid).values
    above = np.concatenate(([0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * -np.diff(grid))))
    counted = 1.0 - (np.arange(len(values)) + 0.5) / len(values)
    return float(np.max(np.abs(np.interp(logs, grid[::-1], above[::-1]) - counted * (1.0 - zero))))


@pytest.mark.parametrize(
    ("cell", "ensemble", "steps"),
    [
        ("vanilla", ENSEMBLES[0], 1),
        ("vanilla", ENSEMBLES[2], 1),
        ("vanilla", ENSEMBLES[0], 3),
        ("vanilla", ENSEMBLES[1], 3),
        ("vanilla_erf", ENSEMBLES[1], 2),
        ("vanilla_relu", ENSEMBLES[0], 1),
    ],
)
def test_densities_are_those_of_random_matrices(cell: str, ensemble: Ensemble, steps: int) -> None:
    network = mf.Network(cell, TYPICAL.gates)
    spectrum = free_singular_values(network, steps=steps, ensemble=ensemble)
    assert distance(spectrum, drawn(spectrum, steps)) < 0.01


@pytest.mark.parametrize("ensemble", ENSEMBLES[:2], ids=NAMES[:2])
def test_one_matrix_for_all_steps_has_the_same_limit(ensemble: Ensemble) -> None:
    """A simulated vanilla network that keeps its weights: over three steps nothing is seen of that."""
    spectrum = free_singular_values(TYPICAL, steps=3, ensemble=ensemble)
    gate, rng = TYPICAL.gates["h"], np.random.default_rng(0)
    W = ensemble.draw(rng, SIZE, SIZE, gain=gate.recurrent_gain)
    bias = gate.bias_mean + gate.bias_std * rng.standard_normal(SIZE)
    s, J = np.zeros(SIZE), np.eye(SIZE)
    for step in range(30):
        s = np.tanh(W @ s + bias + gate.input_gain * rng.standard_normal(SIZE))
        if step >= 27:
            J = (1.0 - s**2)[:, None] * (W @ J)
    # Here slopes are drawn, and off by themselves: Kolmogorov's distance of 800 samples is below 0.06 in 99 % of cases.
    assert distance(spectrum, np.sort(np.linalg.svd(J, compute_uv=False))) < 0.06


@pytest.mark.parametrize(
    ("ensemble", "steps"),
    [(ENSEMBLES[0], 1), (ENSEMBLES[2], 1), (ENSEMBLES[1], 4), (ENSEMBLES[0], 300), (ENSEMBLES[1], 300)],
)
def test_the_density_integrates_to_the_moments(ensemble: Ensemble, steps: int) -> None:
    spectrum = free_singular_values(TYPICAL, steps=steps, ensemble=ensemble)
    top = math.log(spectrum.edges[1].value)
    places, weights = np.polynomial.legendre.leggauss(220)
    v = 0.5 * math.sqrt(60.0 * (1.0 + steps / 10.0)) * (places + 1.0)
    # From the edge down as -v², where its square root is smooth.
    density = spectrum.log_density(top - v**2).values
    measure = 0.5 * math.sqrt(60.0 * (1.0 + steps / 10.0)) * weights * 2.0 * v * density
    squares = 2.0 * (top - v**2)
    log_mean = math.log(spectrum.first_moment.value)
    assert np.sum(measure * np.exp(squares - log_mean)) == pytest.approx(1.0, abs=1e-7)
    assert np.sum(measure * np.exp(2.0 * (squares - log_mean))) == pytest.approx(spectrum.spread.value, rel=1e-7)


def test_a_single_orthogonal_factor_has_the_density_of_the_slopes() -> None:
    spectrum = free_singular_values(TYPICAL, ensemble="orthogonal")
    mean, deviation = preactivation_law(spectrum._law, "field h")
    s = np.linspace(0.01, 1.299, 40)
    u = np.arccosh((s / 1.3) ** -0.5)
    total = sum(np.exp(-0.5 * ((sign * u - mean) / deviation) ** 2) for sign in (1.0, -1.0))
    expected = total / math.sqrt(2.0 * math.pi) / deviation / (2.0 * s * np.tanh(u))
    found = spectrum.density(s)
    np.testing.assert_array_equal(found.places, s)
    assert np.all(np.abs(found.values - expected) <= found.errors + 1e-13 * expected)
    assert np.max(found.errors / expected) < 1e-8
    assert spectrum.edges[1].value == pytest.approx(1.3, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_linear_networks_are_products_of_the_matrices_alone(steps: int) -> None:
    """At the zero state φ' = 1: Ginibre products, and isometries."""
    quiet, network = mf.Inputs(power=0.0), vanilla(1.0)
    ginibre = free_singular_values(network, quiet, steps=steps)
    assert ginibre.spread.value == pytest.approx(steps + 1.0, abs=1e-10)
    assert ginibre.edges[1].value ** 2 == pytest.approx((steps + 1.0) ** (steps + 1) / steps**steps, rel=1e-6)
    assert ginibre.isometry_defect.value == pytest.approx(math.log(steps + 1.0), abs=1e-9)
    isometry = free_singular_values(network, quiet, steps=steps, ensemble="orthogonal")
    assert isometry.isometry_defect.value == pytest.approx(0.0, abs=1e-9)
    ((place, share),) = isometry.atoms
    assert (place.value, share.value) == (pytest.approx(1.0, abs=1e-6), pytest.approx(1.0))


def test_vanishing_bias_makes_orthogonal_networks_isometries_and_no_others() -> None:
    """On the critical line χ = 1 the spread over T steps falls to 1 for orthogonal matrices, and stays above T+1."""
    defects = {name: [] for name in NAMES[:2]}
    for spread in (0.1, 0.01, 0.001):

        def excess(gain: float, spread: float = spread) -> float:
            return free_singular_values(vanilla(gain, bias_std=spread), mf.Inputs(power=0.0)).first_moment.value - 1.0

        network = vanilla(brentq(excess, 1.0, 3.0, xtol=1e-12), bias_std=spread)
        for name in NAMES[:2]:
            defects[name].append(free_singular_values(network, mf.Inputs(power=0.0), steps=10, ensemble=name))
    assert all(each.spread.value > 11.0 for each in defects["gaussian"])
    orthogonal = [each.isometry_defect.value for each in defects["orthogonal"]]
    assert orthogonal[0] > 3.0 * orthogonal[1] > 9.0 * orthogonal[2] > 0.0
    assert orthogonal[2] < 0.05


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=NAMES)
def test_the_spread_is_that_of_the_closed_form(ensemble: Ensemble) -> None:
    network = mf.Network("vanilla_erf", TYPICAL.gates)
    found = free_singular_values(network, steps=5, ensemble=ensemble)
    # E φ'^(2k) of erf in closed form, at the variance of u that the ensemble makes.
    first, second = ensemble.moments()
    scaled = vanilla(1.3 * math.sqrt(first), "vanilla_erf", input_gain=0.4, bias_mean=0.1, bias_std=0.2)
    variance = 1.69 * first * mf.fixed_points(scaled).law.second_moment.value + 0.16 + 0.04
    one, two = (
        (4.0 / math.pi) ** k * math.exp(-2.0 * k * 0.01 / (1.0 + 4.0 * k * variance)) / math.sqrt(1 + 4 * k * variance)
        for k in (1, 2)
    )
    assert found.first_moment.value == pytest.approx((1.69 * first * one) ** 5, rel=1e-12)
    expected = 1.0 + 5.0 * (two / one**2 - 1.0 + second / first**2 - 1.0)
    assert abs(found.spread.value - expected) <= found.spread.error
    assert found.spread.error < 1e-11


def test_the_first_moment_is_the_growth_of_the_closed_maps() -> None:
    for network in (TYPICAL, mf.Network("leaky", TYPICAL.gates), mf.Network("vanilla_relu", TYPICAL.gates), minimal()):
        found, expected = free_singular_values(network).first_moment, mf.fixed_points(network).growth.chi
        assert abs(found.value - expected.value) <= found.error + expected.error


def minimal() -> mf.Network:
    return mf.Network("minimal", {"f": mf.Gate(2.0, 1.0, 1.0, 0.3), "z": mf.Gate(0.0, 1.0, 0.2, 0.1)})


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=NAMES)
@pytest.mark.parametrize("network", [mf.Network("leaky", TYPICAL.gates), minimal()], ids=["leaky", "minimal"])
def test_moments_of_cells_with_a_skip_path_are_those_of_jacobians(network: mf.Network, ensemble: Ensemble) -> None:
    """J = D + A W with diagonals from a population of units with fresh fields, long enough to be stationary."""
    found = free_singular_values(network, ensemble=ensemble)
    rng, size = np.random.default_rng(0), 300
    cell, law = network.definition, found._law
    ones = np.ones(size * 100)

    def normal(member: str) -> Float64:
        mean, deviation = preactivation_law(law, member)
        return mean + deviation * rng.standard_normal(len(ones))

    state = (0.0 * ones,)
    for _ in range(60):
        if network.cell == "leaky":
            fields, drives = {"h": normal("field h")}, {"h": 0.0 * ones}
        else:
            fields = {"state": normal("field state"), "embedding": 0.0 * ones}
            drives = {"f": 0.0 * ones, "z": normal("drive z")}
        before, state = state, cell.update(state, fields, drives)
    circuit = cell.circuit(before, fields, drives)
    D, A = (np.broadcast_to(each[0][0], ones.shape) for each in (circuit.state_to_state, circuit.field_to_state))
    gain = network.gates["h" if network.cell == "leaky" else "f"].recurrent_gain
    traces = []
    for units in np.arange(len(ones)).reshape(-1, size)[:12]:
        J = np.diag(D[units]) + A[units, None] * ensemble.draw(rng, size, size, gain=gain)
        gram = J @ J.T
        traces.append((np.trace(gram) / size, np.sum(gram**2) / size))
    error = np.std(traces, axis=0, ddof=1) / math.sqrt(len(traces))
    expected = np.array([found.first_moment.value, found.second_moment.value])
    assert np.all(np.abs(np.mean(traces, axis=0) - expected) < 4.5 * error + 5.0 / size * expected)


def test_gaussian_moments_are_those_of_populations() -> None:
    """The untied population's m1 and m2, by other formulas."""
    for network in (TYPICAL, mf.Network("leaky", TYPICAL.gates), minimal()):
        sampled = mf.spectra(network, regime="untied", units=8192, seed=1)
        found = free_singular_values(network)
        for one, other in (
            (found.first_moment, sampled.first_moment),
            (found.second_moment, sampled.second_moment),
        ):
            assert abs(one.value - other.value) < 4.5 * other.error + 0.005 * other.value


def test_projections_of_relu() -> None:
    """J = P W: singular values of a Gaussian matrix with a share p of its rows, σ(1 ± √p)."""
    found = free_singular_values(vanilla(1.2, "vanilla_relu", bias_mean=0.3, input_gain=0.5))
    share = 1.0 - found.zero_fraction.value
    assert 0.5 < share < 0.9
    for edge, sign in zip(found.edges, (-1.0, 1.0), strict=True):
        assert abs(edge.value - 1.2 * (1.0 + sign * math.sqrt(share))) <= edge.error + 1e-14
    turned = free_singular_values(vanilla(1.2, "vanilla_relu", bias_mean=0.3, input_gain=0.5), ensemble="orthogonal")
    ((place, mass),) = turned.atoms
    assert (place.value, mass.value) == (pytest.approx(1.2), pytest.approx(share))
    np.testing.assert_array_equal(turned.density([0.5, 1.0]).values, 0.0)


def test_without_gain_all_singular_values_are_zero() -> None:
    found = free_singular_values(vanilla(0.0, input_gain=1.0), steps=2)
    assert (found.first_moment, found.second_moment) == (mf.Estimate(0.0, 0.0), mf.Estimate(0.0, 0.0))
    assert found.isometry_defect.value == found.spread.value == math.inf
    assert found.zero_fraction.value == 1.0
    assert found.atoms == ()
    assert found.density([0.5]).values == [0.0]
    with pytest.raises(InvalidInput, match="all singular values are zero"):
        _ = found.edges


def test_long_products_leave_the_range_of_numbers_in_their_moments_only() -> None:
    found = free_singular_values(vanilla(0.3, input_gain=1.0), steps=2000)
    assert found.first_moment.value == 0.0
    assert 1000.0 < found.spread.value < math.inf
    assert 0.0 < found.isometry_defect.value < math.inf
    mean = 0.5 * 2000 * math.log(free_singular_values(vanilla(0.3, input_gain=1.0)).first_moment.value)
    assert np.all(found.log_density([mean - 50.0, mean - 500.0]).values > 0.0)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (TYPICAL, {"steps": 0}, "steps: must be a whole number of at least 1, got 0"),
        (TYPICAL, {"ensemble": "cauchy"}, "ensemble: must be one of"),
        (mf.Network("leaky", TYPICAL.gates), {"steps": 2}, "steps: must be 1 for cell 'leaky'"),
        (mf.Network("janet", {"f": mf.Gate(1.0), "g": mf.Gate(1.0)}), {}, "cell: must be a vanilla, leaky or minimal"),
        (mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1.0))), {}, "cell"),
        (TYPICAL, {"inputs": mf.Inputs.padded(signal=2, length=4)}, "inputs"),
        ("vanilla", {}, "network: must be a Network"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    network: mf.Network, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        free_singular_values(network, **arguments)  # type: ignore[arg-type]


def test_cells_with_a_skip_path_have_moments_only() -> None:
    found = free_singular_values(mf.Network("leaky", TYPICAL.gates))
    for request in (
        lambda: found.density([1.0]),
        lambda: found.edges,
        lambda: found.atoms,
        lambda: found.zero_fraction,
    ):
        with pytest.raises(InvalidInput, match="only vanilla cells have a free density"):
            request()


@pytest.mark.parametrize("values", [[0.0], [-1.0], [math.nan], [math.inf]])
def test_singular_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(InvalidInput, match="singular_values: must be positive and finite"):
        free_singular_values(TYPICAL).density(values)


def test_where_the_density_is_infinite_is_an_error() -> None:
    with pytest.raises(NotConverged, match="not resolved"):
        free_singular_values(TYPICAL, ensemble="orthogonal").density([1.3])


def test_diagonals_are_those_of_one_cell() -> None:
    law = closed_law(TYPICAL)
    fine, coarse = diagonal_moments(law), diagonal_moments(law, coarse=True)
    assert fine.skip == fine.mixed == 0.0
    assert fine.slope == pytest.approx(coarse.slope, rel=1e-13)
    with pytest.raises(InvalidInput, match="cell"):
        diagonal_moments(closed_law(mf.Network("janet", {"f": mf.Gate(1.0), "g": mf.Gate(1.0)})))
