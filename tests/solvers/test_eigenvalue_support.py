"""Eigenvalue edges and masses against closed forms and dense random matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_support import mass_near, rightmost_eigenvalue, variance_map_radius
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]


def sigmoid(u: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-u)))


def circuit(
    D: Float64,
    A: Float64,
    P: Float64,
    gains: list[float],
    *,
    Q: Float64 | None = None,
    carrier_of: list[int] | None = None,
) -> CircuitSample:
    """Blocks of one sample, with the leading axis that the solvers take."""
    Q = np.zeros((len(D), P.shape[1], A.shape[2])) if Q is None else Q
    read = [0] * len(gains) if carrier_of is None else carrier_of
    return CircuitSample(D[None], A[None], P[None], Q[None], np.array(gains), np.array(read))


def one_variable(D: Float64, A: Float64, gain: float) -> CircuitSample:
    return circuit(D[:, None, None], A[:, None, None], np.ones((len(D), 1, 1)), [gain])


def alone(sample: CircuitSample) -> CircuitSample:
    """Without the leading axis."""
    return CircuitSample(
        sample.state_to_state[0],
        sample.field_to_state[0],
        sample.state_to_carrier[0],
        sample.field_to_carrier[0],
        sample.gains,
        sample.carrier_of,
    )


def lstm(seed: int, units: int, *, gain: float = 1.5) -> CircuitSample:
    g = np.random.default_rng(seed)
    u = g.standard_normal((4, units))
    i, f, o, n = sigmoid(u[0]), sigmoid(1.0 + u[1]), sigmoid(u[2]), np.tanh(u[3])
    c = g.standard_normal(units)
    e, zero = o * (1 - np.tanh(c) ** 2), np.zeros(units)
    D = np.stack([np.stack([f, zero], -1), np.stack([e * f, zero], -1)], axis=1)
    to_c = np.stack([i * (1 - i) * n, f * (1 - f) * c, i * (1 - n**2), zero], -1)
    to_h = e[:, None] * to_c + np.stack([zero, zero, zero, o * (1 - o) * np.tanh(c)], -1)
    P = np.broadcast_to(np.array([[0.0, 1.0]]), (units, 1, 2)).copy()
    return circuit(D, np.stack([to_c, to_h], axis=1), P, [1.0, 1.0, 2.0 * gain, 1.0])


def gru(seed: int, units: int, *, gain: float = 1.5) -> CircuitSample:
    g = np.random.default_rng(seed)
    u = g.standard_normal((3, units))
    f, r, n = sigmoid(u[0]), sigmoid(u[1]), np.tanh(u[2])
    s, zero = np.tanh(g.standard_normal(units)), np.zeros(units)
    A = np.stack([f * (1 - f) * (s - n), zero, (1 - f) * (1 - n**2)], -1)[:, None, :]
    P = np.stack([np.ones(units), r], -1)[:, :, None]
    Q = np.zeros((units, 2, 3))
    Q[:, 1, 1] = s * r * (1 - r)
    return circuit(f[:, None, None], A, P, [1.0, 1.0, 2.0 * gain], Q=Q, carrier_of=[0, 0, 1])


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_edges_of_gated_cells_at_the_zero_state(gain: float) -> None:
    """Keep and write gates at one half: gru and lstm have their edge at 1/2 + σ/4, the plain network at σ."""
    half, one, zero = np.full(8, 0.5), np.ones(8), np.zeros(8)
    assert rightmost_eigenvalue(one_variable(zero, one, gain))[0] == pytest.approx(gain, rel=1e-9)
    # gru_reset_after at zero: A = (0, 0, (1-f) r) = 1/4.
    assert rightmost_eigenvalue(one_variable(half, 0.25 * one, gain))[0] == pytest.approx(0.5 + gain / 4, rel=1e-9)
    # gru at zero: the reset gate is in the carrier.
    P = np.stack([one, half], -1)[:, :, None]
    A = np.stack([zero, zero, half], -1)[:, None, :]
    reset = circuit(half[:, None, None], A, P, [3.0, 3.0, gain], carrier_of=[0, 0, 1])
    assert rightmost_eigenvalue(reset)[0] == pytest.approx(0.5 + gain / 4, rel=1e-9)
    # lstm at zero: e = o = 1/2, c responds to u_g by i = 1/2, and h by a quarter.
    D = np.tile(np.array([[0.5, 0.0], [0.25, 0.0]]), (8, 1, 1))
    to_state = np.tile(np.array([[0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.25, 0.0]]), (8, 1, 1))
    read = np.tile(np.array([[0.0, 1.0]]), (8, 1, 1))
    edge = rightmost_eigenvalue(circuit(D, to_state, read, [3.0, 3.0, gain, 3.0]))[0]
    assert edge == pytest.approx(0.5 + gain / 4, rel=1e-9)


def test_without_recurrence_the_edge_is_the_largest_skip() -> None:
    D = np.random.default_rng(0).uniform(-2.0, 0.9, 50)
    assert rightmost_eigenvalue(one_variable(D, np.ones(50), 0.0))[0] == D.max()
    assert rightmost_eigenvalue(one_variable(D, np.zeros(50), 2.0))[0] == D.max()
    assert rightmost_eigenvalue(one_variable(np.zeros(50), np.ones(50), 0.0))[0] == 0.0


def test_two_values_of_the_skip_have_their_edge_in_closed_form() -> None:
    """Half the units with D = d, half with -d: σ²(λ²+d²)/(λ²-d²)² = 1."""
    d, gain = 0.8, 0.9
    D = np.repeat([d, -d], 20)
    p = 2 * d**2 + gain**2
    expected = math.sqrt((p + math.sqrt(p**2 - 4 * (d**4 - gain**2 * d**2))) / 2)
    assert rightmost_eigenvalue(one_variable(D, np.ones(40), gain))[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("exponent", [-40, -12, 12, 40])
def test_edges_scale_with_the_circuit(exponent: int) -> None:
    """Also far from one; a tiny gain beside the skip path leaves the largest skip as the edge."""
    gain = 10.0**exponent
    edge = rightmost_eigenvalue(one_variable(np.zeros(4), np.ones(4), gain))[0]
    assert edge == pytest.approx(gain, rel=1e-9, abs=1e-10)
    D = np.linspace(0.0, 0.9, 4)
    assert rightmost_eigenvalue(one_variable(D, np.ones(4), gain))[0] == pytest.approx(max(0.9, gain), rel=1e-9)


def test_an_edge_beyond_all_numbers_is_reported() -> None:
    with pytest.raises(ArithmeticError, match="beyond the range"):
        rightmost_eigenvalue(one_variable(np.zeros(4), np.ones(4), 1e140))


@pytest.mark.parametrize("make", [gru, lstm])
@pytest.mark.parametrize("seed", [0, 1])
def test_edges_agree_with_dense_matrices(make: object, seed: int) -> None:
    sample = make(seed, 800)  # type: ignore[operator]
    edge = rightmost_eigenvalue(sample)[0]
    assert edge > sample.state_to_state.max()  # a bulk edge, not a single unit's
    reached = [
        np.linalg.eigvals(dense_jacobian(alone(sample), np.random.default_rng([seed, k]))).real.max() for k in range(3)
    ]
    # The largest eigenvalue of a width-N matrix scatters about the edge by about its size over the root of N.
    assert abs(np.mean(reached) - edge) < edge / math.sqrt(800.0)


@pytest.mark.parametrize("gain", [0.7, 1.6])
@pytest.mark.parametrize("fields", [1, 2])
def test_masses_in_a_uniform_disc(gain: float, fields: int) -> None:
    """A + σW has its eigenvalues spread evenly over the disc of radius σ about the skip path."""
    units = 4
    one = np.ones((units, 1, 1))
    A = np.concatenate([one] * fields, axis=2) / math.sqrt(fields)
    sample = circuit(0.3 * one, A, one, [gain] * fields)
    for radius in (0.1, 0.25, 0.5):
        assert mass_near(sample, centre=0.3, radius=radius)[0] == pytest.approx((radius / gain) ** 2, rel=1e-6)
    assert mass_near(sample, centre=0.4, radius=0.2)[0] == pytest.approx((0.2 / gain) ** 2, rel=1e-6)
    assert mass_near(sample, centre=0.3, radius=1.5 * gain)[0] == pytest.approx(1.0, rel=1e-9)
    assert mass_near(sample, centre=0.3 + 2.0 * gain, radius=0.5 * gain)[0] == pytest.approx(0.0, abs=1e-9)


def test_masses_in_a_lens() -> None:
    """A circle that cuts the edge of the disc: the area of the lens, to the accuracy of the trapezoid rule there."""
    one, distance, radius = np.ones((4, 1, 1)), 0.9, 0.4
    first = math.acos((distance**2 + radius**2 - 1) / (2 * distance * radius))
    second = math.acos((distance**2 + 1 - radius**2) / (2 * distance))
    s = (distance + radius + 1) / 2
    area = radius**2 * first + second - 2 * math.sqrt(s * (s - distance) * (s - radius) * (s - 1))
    found = mass_near(circuit(0 * one, one, one, [1.0]), centre=distance, radius=radius, points=256)[0]
    assert found == pytest.approx(area / math.pi, rel=2e-3)


def test_masses_of_the_skip_path_alone() -> None:
    D = np.random.default_rng(1).uniform(0.0, 1.0, 40)
    sample = one_variable(D, np.zeros(40), 1.0)
    # A circle that passes within 1e-3 of an eigenvalue needs more points than the gap is parts of it.
    inside = np.mean(np.abs(D - 1.0) < 0.2)
    gap = np.min(np.abs(np.abs(D - 1.0) - 0.2))
    points = 2 * int(0.2 * 40 / gap)
    assert mass_near(sample, radius=0.2, points=points)[0] == pytest.approx(inside, abs=1e-6)


@pytest.mark.parametrize("make", [gru, lstm])
@pytest.mark.parametrize(("centre", "radius"), [(1.0, 0.3), (0.6, 0.3), (0.0, 0.3)])
def test_masses_agree_with_dense_matrices(make: object, centre: float, radius: float) -> None:
    units, matrices = 400, 5
    shares, predicted = [], []
    for seed in range(matrices):
        sample = make(seed, units)  # type: ignore[operator]
        values = np.linalg.eigvals(dense_jacobian(alone(sample), np.random.default_rng([7, seed])))
        shares.append(np.mean(np.abs(values - centre) < radius))
        predicted.append(mass_near(sample, centre=centre, radius=radius)[0])
    difference = np.array(shares) - np.array(predicted)
    error = np.std(difference, ddof=1) / math.sqrt(matrices)
    # Eigenvalues near the circle count wholly or not at all: one part in N for each of a few of them.
    assert abs(difference.mean()) < 4.0 * error + 2.0 / units


@pytest.mark.parametrize("make", [gru, lstm])
def test_leading_axes_are_independent_samples(make: object) -> None:
    parts = [make(seed, 60) for seed in range(3)]  # type: ignore[operator]
    blocks = ("state_to_state", "field_to_state", "state_to_carrier", "field_to_carrier")
    stacked = CircuitSample(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in blocks),
        parts[0].gains,
        parts[0].carrier_of,
    )
    np.testing.assert_allclose(rightmost_eigenvalue(stacked), [rightmost_eigenvalue(p)[0] for p in parts], rtol=1e-9)
    np.testing.assert_allclose(mass_near(stacked), [mass_near(p)[0] for p in parts], rtol=1e-6, atol=1e-9)
    radii = variance_map_radius(stacked, np.full(3, 1.3 + 0.2j))
    np.testing.assert_allclose(radii, [variance_map_radius(p, np.full(1, 1.3 + 0.2j))[0] for p in parts], rtol=1e-12)


def test_carriers_that_no_perturbation_reaches_change_nothing() -> None:
    """A field that reads only the input is noise to the spectrum."""
    sample, units = gru(0, 60), 60
    A = np.concatenate([sample.field_to_state, np.ones((1, units, 1, 1))], axis=3)
    P = np.concatenate([sample.state_to_carrier, np.zeros((1, units, 1, 1))], axis=2)
    Q = np.pad(sample.field_to_carrier, ((0, 0), (0, 0), (0, 1), (0, 1)))
    more = CircuitSample(sample.state_to_state, A, P, Q, np.append(sample.gains, 2.0), np.append(sample.carrier_of, 2))
    assert mass_near(more)[0] == pytest.approx(mass_near(sample)[0], rel=1e-9)
    assert rightmost_eigenvalue(more)[0] == pytest.approx(rightmost_eigenvalue(sample)[0], rel=1e-9)
