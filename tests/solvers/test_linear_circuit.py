"""Linear circuits: sums over connections, transposes, dense blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.linear_circuit import LinearCircuit, add, column, dense, is_absent, weighted_sum

Float64 = NDArray[np.float64]

S, K, C, G, UNITS = 2, 3, 2, 2, 5


def random_block(generator: np.random.Generator, rows: int, columns: int) -> tuple[tuple[Float64 | float, ...], ...]:
    """Arrays, plain numbers and absent connections mixed."""

    def entry() -> Float64 | float:
        kind = generator.integers(4)
        return (0.0, 1.0, float(generator.normal()), generator.standard_normal(UNITS))[kind]

    return tuple(tuple(entry() for _ in range(columns)) for _ in range(rows))


def random_circuit(seed: int) -> LinearCircuit:
    generator = np.random.default_rng(seed)
    shapes = ((S, S), (S, K), (C, S), (C, K), (S, G), (C, G))
    return LinearCircuit(*(random_block(generator, *shape) for shape in shapes))


def full(entry: Float64 | float) -> Float64:
    return np.broadcast_to(np.asarray(entry, dtype=np.float64), (UNITS,))


@pytest.mark.parametrize("seed", range(10))
def test_responses_are_the_blocks_applied(seed: int) -> None:
    circuit, generator = random_circuit(seed), np.random.default_rng(seed + 100)
    state, fields, drives = (generator.standard_normal((n, UNITS)) for n in (S, K, G))
    D, A, B = (dense(b, (UNITS,)) for b in (circuit.state_to_state, circuit.field_to_state, circuit.drive_to_state))
    expected = sum(np.einsum("usj,ju->su", block, values) for block, values in ((D, state), (A, fields), (B, drives)))
    found = circuit.to_state(list(state), list(fields), list(drives))
    np.testing.assert_allclose([full(each) for each in found], expected, atol=1e-14)
    P, Q, R = (
        dense(b, (UNITS,)) for b in (circuit.state_to_carrier, circuit.field_to_carrier, circuit.drive_to_carrier)
    )
    expected = sum(np.einsum("usj,ju->su", block, values) for block, values in ((P, state), (Q, fields), (R, drives)))
    found = [circuit.to_carrier(c, list(state), list(fields), list(drives)) for c in range(C)]
    np.testing.assert_allclose([full(each) for each in found], expected, atol=1e-14)


@pytest.mark.parametrize("seed", range(10))
def test_adjoints_are_transposes(seed: int) -> None:
    circuit, generator = random_circuit(seed), np.random.default_rng(seed + 200)
    state, fields, drives = (list(generator.standard_normal((n, UNITS))) for n in (S, K, G))
    left_state, left_carriers = (list(generator.standard_normal((n, UNITS))) for n in (S, C))
    after = circuit.to_state(state, fields, drives)
    carriers = [circuit.to_carrier(c, state, fields, drives) for c in range(C)]
    forward = sum(np.sum(a * full(b)) for a, b in zip(left_state + left_carriers, after + carriers, strict=True))
    backward = 0.0
    for values, adjoint in (
        (state, circuit.adjoint_of_state),
        (fields, circuit.adjoint_of_field),
        (drives, circuit.adjoint_of_drive),
    ):
        backward += sum(np.sum(v * full(adjoint(n, left_state, left_carriers))) for n, v in enumerate(values))
    assert forward == pytest.approx(backward, rel=1e-12)


def test_absent_connections_stay_absent() -> None:
    values = np.ones(UNITS)
    assert is_absent(weighted_sum((0.0, 0.0), (values, values)))
    assert is_absent(weighted_sum((values,), (0.0,)))
    assert is_absent(add(0.0, 0.0))
    assert not is_absent(np.zeros(UNITS))
    assert weighted_sum((1.0, 0.0), (values, values)) is values
    assert column(((1.0, 2.0), (3.0, 4.0)), 1) == (2.0, 4.0)


def test_samples_are_dealt_anew_without_loss() -> None:
    generator = np.random.default_rng(0)
    blocks = [generator.standard_normal((2, 50, *shape)) for shape in ((S, S), (S, K), (C, S), (C, K))]
    sample = CircuitSample(*blocks, np.ones(K), np.array([0, 0, 1]))
    dealt = sample.regrouped(30)
    assert dealt.state_to_state.shape == (3, 30, S, S)
    np.testing.assert_array_equal(dealt.field_to_state.reshape(90, S, K), sample.field_to_state.reshape(100, S, K)[:90])
    np.testing.assert_array_equal(sample.taken(np.array([1])).state_to_carrier[0], blocks[2][1])
    with pytest.raises(ValueError, match="100 units cannot make a sample of 101"):
        sample.regrouped(101)


def test_carriers_that_the_state_does_not_reach_are_left_out() -> None:
    generator = np.random.default_rng(0)
    blocks = [generator.standard_normal((1, 50, *shape)) for shape in ((S, S), (S, K), (C, S), (C, K))]
    blocks[2][..., 0, :] = 0.0
    blocks[3][..., 0, :] = 0.0
    kept = CircuitSample(*blocks, np.array([1.0, 2.0, 3.0]), np.array([0, 1, 1])).reached()
    assert kept.gains.tolist() == [2.0, 3.0]
    assert kept.carrier_of.tolist() == [0, 0]
    assert kept.field_to_carrier.shape == (1, 50, 1, 2)
