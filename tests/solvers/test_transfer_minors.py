"""Minors of units' transfers against the transfers themselves, atoms against ranks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.transfer_minors import minors_of
from meanfield.validation.dense_circuits import dense_jacobian

Float64 = NDArray[np.float64]


def circuit(seed: int, units: int, *, variables: int, read: list[int]) -> CircuitSample:
    """Every field acts on the state and on all later carriers."""
    g = np.random.default_rng([41, seed])
    carriers, fields = max(read) + 1, len(read)
    Q = g.uniform(-0.2, 0.6, (units, carriers, fields))
    for c in range(carriers):
        Q[:, c, np.array(read) >= c] = 0.0
    return CircuitSample(
        g.uniform(0.2, 0.9, (units, variables, variables)),
        g.uniform(-0.5, 1.0, (units, variables, fields)),
        g.uniform(-0.3, 1.0, (units, carriers, variables)),
        Q,
        g.uniform(0.5, 1.2, fields),
        np.array(read),
    )


CIRCUITS = [
    circuit(0, 6, variables=1, read=[0]),
    circuit(1, 6, variables=1, read=[0, 0, 1]),
    circuit(2, 6, variables=2, read=[0, 0, 0]),
    circuit(3, 6, variables=2, read=[0, 1, 1, 2]),
    circuit(4, 6, variables=3, read=[0, 1]),
]


@pytest.mark.parametrize("sample", CIRCUITS)
@pytest.mark.parametrize("z", [0.3 - 0.8j, -2.0, 1.7 + 0.1j])
def test_polynomials_are_determinants_without_poles(sample: CircuitSample, z: complex) -> None:
    """|det(z - D)|² det(1 + b B a B†), unit by unit."""
    (part,) = minors_of(sample).parts
    C, S = part.carriers, sample.variables
    logarithms = np.random.default_rng(5).uniform(-1.0, 1.0, 2 * C)
    found = np.zeros(6)
    for exponents, group in zip(part.exponents, part.polynomials, strict=True):
        for polynomial in group:
            value = np.polynomial.polynomial.polyval(z, polynomial)
            found += np.exp(exponents @ logarithms) * np.abs(value) ** 2
    m, b = np.exp(logarithms[:C]), np.exp(logarithms[C:])
    shifted = z * np.eye(S) - sample.state_to_state
    B = sample.state_to_carrier @ np.linalg.inv(shifted) @ sample.field_to_state + sample.field_to_carrier
    kernel = np.eye(C) + b[:, None] * (B * sample.gains**2 * m[sample.carrier_of]) @ B.conj().transpose(0, 2, 1)
    expected = np.abs(np.linalg.det(shifted)) ** 2 * np.linalg.det(kernel).real
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("sample", CIRCUITS)
def test_eigenvalues_of_generic_units_are_poles(sample: CircuitSample) -> None:
    found = minors_of(sample)
    assert len(found.atoms) == 0
    own = np.linalg.eigvals(sample.state_to_state)
    np.testing.assert_allclose(np.sort_complex(found.poles), np.sort_complex(own.ravel()), atol=1e-12)
    np.testing.assert_allclose(found.largest, own.real.max(axis=1))
    assert (found.units, found.variables) == own.shape


def frozen(which: str) -> CircuitSample:
    """Circuits some of whose units' eigenvalues no matrix moves."""
    sample = circuit(6, 12, variables=2, read=[0, 0, 1])
    D, A, P, Q = sample.state_to_state, sample.field_to_state, sample.state_to_carrier, sample.field_to_carrier
    if which == "silent":
        A[:5] = 0.0
    elif which == "unread":
        P[:5] = 0.0
    elif which == "half seen":  # the second variable follows from the first and is not read
        D[:7, 0, 1] = 0.0
        P[:7, :, 1] = 0.0
    elif which == "memoryless outputs":  # as in an lstm whose output gate has no matrix
        D[:, 0, 1], D[:, 1, 1] = 0.0, 0.0
        D[:, 1, 0], A[:, 1] = 0.6 * D[:, 0, 0], 0.6 * A[:, 0]
        P[:, :, 0] = 0.0
        Q[...] = 0.0
    elif which == "without matrices":
        sample.gains[...] = 0.0
    return sample


@pytest.mark.parametrize("which", ["silent", "unread", "half seen", "memoryless outputs", "without matrices"])
def test_atoms_are_the_eigenvalues_that_all_matrices_share(which: str) -> None:
    sample = frozen(which)
    found = minors_of(sample)
    counts = {"silent": 10, "unread": 10, "half seen": 7, "memoryless outputs": 12, "without matrices": 24}
    assert len(found.atoms) == counts[which]
    assert len(found.atoms) + len(found.poles) == 24
    for seed in range(2):
        values = np.linalg.eigvals(dense_jacobian(sample, np.random.default_rng(seed)))
        distance = np.abs(values[:, None] - found.atoms).min(axis=0)
        # A multiple eigenvalue, such as zero of lost outputs, is found to a root of the rounding.
        assert np.all(distance < 1e-6)
        assert not len(found.poles) or np.abs(values[:, None] - found.poles).min() > 1e-8


def test_carriers_without_a_cycle_are_parts_of_their_own() -> None:
    """Two variables, each its own network, the first feeding the second."""
    sample = circuit(7, 5, variables=2, read=[0, 1])
    sample.state_to_state[:, 0, 1] = sample.field_to_state[:, 0, 1] = 0.0
    sample.state_to_carrier[:, 0, 1] = sample.field_to_carrier[...] = 0.0
    sample.state_to_carrier[:, 1, 0] = sample.state_to_state[:, 1, 0] = 0.0
    found = minors_of(sample)
    assert [part.carriers for part in found.parts] == [1, 1]
    own = np.diagonal(sample.state_to_state, axis1=1, axis2=2)
    for part in found.parts:
        ((poles,), _) = part.polynomials
        roots = -poles[0]
        assert any(np.allclose(roots, own[:, s]) for s in range(2))
    assert len(found.atoms) == 0


def test_a_chain_that_does_not_close_moves_nothing() -> None:
    sample = circuit(8, 5, variables=2, read=[0])
    sample.state_to_state[:, 0, 1] = sample.state_to_state[:, 1, 0] = 0.0
    sample.field_to_state[:, 0] = sample.state_to_carrier[:, :, 1] = 0.0
    found = minors_of(sample)
    assert found.parts == ()
    assert len(found.atoms) == 10


def test_coefficients_that_are_not_finite_are_refused() -> None:
    sample = circuit(9, 5, variables=1, read=[0])
    sample.field_to_state[2] = np.nan
    with pytest.raises(ArithmeticError, match="not finite"):
        minors_of(sample)
