"""Averages over two variables for all outer deviates at once, against closed forms and the rules of one argument."""

from __future__ import annotations

import math
import time

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield as mf
from meanfield.closed_conditional import ManyConditional, TabulatedFunctions
from meanfield.closed_isometry import closed_isometry
from meanfield.closed_moments import closed_law
from meanfield.solvers.conditional_products import ConditionalFunctions
from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.normal_rules import Transition

Float64 = NDArray[np.float64]


def functions(
    deviation: float, transitions: tuple[Transition, ...] = (Transition(0.0, 0.5 * math.pi),)
) -> tuple[ConditionalFunctions, TabulatedFunctions]:
    """1, tanh(u) and u σ(t) with u = t/2 + deviation × σ(t) × z, one by one and all at once."""

    def opened(t: Float64) -> Float64:
        return 1.0 / (1.0 + np.exp(-t))

    def values(t: Float64, u: Float64) -> Float64:
        return np.stack([np.ones_like(u), np.tanh(u), u * opened(t)])

    def law(t: Float64) -> tuple[Float64, Float64]:
        return 0.5 * t, deviation * opened(t)

    def given(t: float) -> NormalFunctions:
        mean, spread = law(np.array(t))
        return NormalFunctions(lambda u: values(np.array(t), u), float(mean), float(spread), transitions)

    def loads(t: float) -> Float64:
        return np.array([deviation * float(opened(np.array(t)))])

    single = ConditionalFunctions(given, loads, lambda t: 1.0 + 0.1 * t)
    many = ManyConditional(values, law, transitions)
    return single, TabulatedFunctions(given, loads, lambda t: 1.0 + 0.1 * t, many=many, factors=lambda t: 1.0 + 0.1 * t)


@pytest.mark.parametrize("deviation", [0.0, 1e-9, 0.3, 1.0, 3.0, 9.0, 60.0])
def test_one_by_one_and_together(deviation: float) -> None:
    """Steep functions of deviation 60 go through panels, those without deviation through no rule."""
    single, many = functions(deviation)
    for found, other in (
        (many.moments, single.moments),
        *(
            (many.pair(np.array([inner]), outer), single.pair(np.array([inner]), outer))
            for inner, outer in ((0.5, 0.5), (0.999, 0.9), (-0.3, 0.0))
        ),
        (many.pair(np.array([0.7]), 0.8, slope=True), single.pair(np.array([0.7]), 0.8, slope=True)),
    ):
        assert np.all(np.abs(found.value - other.value) <= found.error + other.error)
        # Bounds are not much wider than those of the rules one by one.
        assert np.max(found.error) <= 50.0 * np.max(other.error) + 1e-13


@pytest.mark.parametrize("deviation", [0.5, 4.0])
def test_against_high_precision(deviation: float) -> None:
    found = functions(deviation)[1].moments
    with mpmath.workdps(20):
        # Equidistant sums: the nearest poles are at distances of π/2/4 in z and of 1.5 in t.
        fine, coarse = mpmath.mpf("0.07"), mpmath.mpf("0.2")

        def over_inner(t: mpmath.mpf) -> mpmath.mpf:
            size = deviation / (1 + mpmath.exp(-t))
            nodes = [fine * k for k in range(-130, 131)]
            return fine * mpmath.fsum(mpmath.npdf(z) * mpmath.tanh(t / 2 + size * z) ** 2 for z in nodes)

        nodes = [coarse * k for k in range(-46, 47)]
        exact = float(coarse * mpmath.fsum(mpmath.npdf(t) * (1 + t / 10) ** 2 * over_inner(t) for t in nodes))
    assert abs(found.value[1, 1] - exact) < found.error[1, 1] + 1e-14 < 1e-12
    assert abs(found.value[0, 0] - 1.01) < 1e-14  # E (1 + t/10)²


def test_kinks_go_through_panels() -> None:
    single, many = functions(1.0, (Transition(0.0, 1.0, kink=True),))
    assert not np.any(many.many.inner_counts(np.linspace(-3.0, 3.0, 7)))
    assert np.all(np.abs(many.moments.value - single.moments.value) <= many.moments.error + single.moments.error)


def test_steepness_decides_how_many_nodes_there_are() -> None:
    many = functions(3.0)[1].many
    counts = many.inner_counts(np.array([-9.0, 0.0, 9.0]))
    assert counts[0] < counts[1] < counts[2]
    assert functions(1e3)[1].many.inner_counts(np.array([9.0])).tolist() == [0]


def test_a_reset_gate_behind_the_matrix_is_fast() -> None:
    gate = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
    network = mf.Network("gru_reset_after", dict.fromkeys("frh", gate))

    def once() -> float:
        start = time.process_time()
        closed_isometry(closed_law(network), length=20)
        return time.process_time() - start

    once()
    assert min(once() for _ in range(3)) < 0.2  # 0.04 s where nothing else runs
