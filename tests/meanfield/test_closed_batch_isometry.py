"""Many untied networks at once beside the theory of one, networks that are not critical included."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import meanfield as mf
from meanfield.closed_batch_isometry import SettledNetwork, settled_networks
from meanfield.closed_batch_lengths import log_spreads
from meanfield.closed_isometry import closed_isometry
from meanfield.closed_memory import closed_memory
from meanfield.closed_moments import closed_law
from meanfield.closed_sensitivity import closed_sensitivity
from meanfield.closed_transfer import Transfer, transfer
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded

GATES = {"vanilla": "h", "leaky": "h", "minimal": "fz", "gru": "frh", "janet": "fg", "peephole_lstm": "ifg"}


def at_random(cell: str, count: int) -> list[mf.Network]:
    generator = np.random.default_rng(5)

    def gate(name: str) -> mf.Gate:
        recurrent, reads, mean, spread = generator.uniform((0.1, 0.1, -1.0, 0.0), (1.2, 1.0, 2.0, 0.5))
        return mf.Gate(0.0 if name == "z" else recurrent, reads, mean, spread)

    ensembles = ["gaussian", "orthogonal"]
    return [
        mf.Network(cell, {name: gate(name) for name in GATES[cell]}, ensembles[index % 2]) for index in range(count)
    ]


def near(found: Estimate, expected: Estimate) -> bool:
    return abs(found.value - expected.value) <= found.error + expected.error


def number(bounded: Bounded, index: int) -> Estimate:
    return Estimate(float(bounded.value[index]), float(bounded.error[index]))


@pytest.mark.parametrize("cell", GATES)
def test_many_networks_have_the_numbers_of_one(cell: str) -> None:
    networks, inputs = at_random(cell, 11), mf.Inputs(power=1.3, overlap=0.4)
    found = settled_networks(networks, [inputs] * len(networks))
    assert sum(each is not None for each in found) >= 9
    settled = [(network, each) for network, each in zip(networks, found, strict=True) if each is not None]
    lengths = [3 + 7 * k for k in range(len(settled))]
    spreads = log_spreads([each.transfer for _, each in settled], lengths)
    for k, ((network, each), length) in enumerate(zip(settled, lengths, strict=True)):
        theory = mf.fixed_points(network, inputs)
        law = closed_law(network, inputs)
        isometry = closed_isometry(law, length=length)
        assert near(each.second_moment, theory.law.second_moment)
        assert near(each.overlap, next(point.overlap for point in theory.overlaps if point.reached))
        assert near(each.chi, theory.growth.chi)
        assert abs(each.log_chi.value - math.log(theory.growth.chi.value)) <= each.log_chi.error + 1e-13
        assert near(number(spreads, k), isometry.log_spread)
        assert near(each.response, closed_sensitivity(law))
        memory = closed_memory(law)
        assert (memory is None) == (each.memory is None)
        if memory is not None and each.memory is not None:
            assert near(each.memory.log_square, memory.log_square)
            assert near(each.memory.log_spread, memory.log_spread)


def fingerprint(found: SettledNetwork | None) -> object:
    if found is None:
        return None
    step = found.transfer
    arrays = (getattr(each, side).tobytes() for each in (step.matrix, step.start) for side in ("value", "error"))
    numbers = found.second_moment, found.overlap, found.chi, found.log_chi, found.timescale, found.response
    return (*numbers, found.memory, found.eigenvalue_edge, *arrays)


@pytest.mark.parametrize("cell", GATES)
def test_company_does_not_change_a_bit(cell: str) -> None:
    networks, inputs = at_random(cell, 40), mf.Inputs(power=1.3, overlap=-0.3)
    networks += [mf.Network(cell, {name: mf.Gate(0.0 if name == "z" else 9.0, 30.0) for name in GATES[cell]})]  # steep
    together = [fingerprint(each) for each in settled_networks(networks, [inputs] * len(networks))]
    generator = np.random.default_rng(6)
    for count in (1, 2, 7, 8, 9, 23, 41):
        some = generator.permutation(len(networks))[:count]
        found = settled_networks([networks[index] for index in some], [inputs] * count)
        assert [fingerprint(each) for each in found] == [together[index] for index in some]


@pytest.mark.parametrize("length", [1, 2, 77, 1000, 10**6])
def test_powers_of_a_transfer_matrix_at_fifty_digits(length: int) -> None:
    step = transfer(closed_law(at_random("gru", 1)[0], mf.Inputs()), 0.3)
    found = log_spreads([step], [length])
    with mpmath.workdps(50):
        state = mpmath.matrix(step.matrix.value.tolist()) ** length * mpmath.matrix(step.start.value.tolist())
        expected = mpmath.log(state[3] + state[4])
        assert abs(mpmath.mpf(float(found.value[0])) - expected) <= float(found.error[0])
    assert float(found.error[0]) <= 1e-11 * length


def test_what_is_not_known_has_an_infinite_error() -> None:
    unknown = Bounded(np.eye(5), np.full((5, 5), 10.0))
    step = Transfer(unknown, Bounded(np.ones(5), np.zeros(5)), Bounded(np.array(1.0), np.array(0.0)))
    assert log_spreads([step], [3]).error[0] == math.inf
