"""The discretised operator: measures move on as their moments say, with any weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    Coefficients,
    IndependentCoefficients,
    JointCoefficients,
)
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule, sigmoid_keep_rule
from meanfield.solvers.transfer_operator import Grading, TransferOperator

Float64 = NDArray[np.float64]

GRADING = Grading(narrowest=1.0, plateau=1.0, growth=0.3, widest=2.0)
KEEP, TARGET = sigmoid_keep_rule(0.5, 1.0).compressed(20), gaussian_rule(np.tanh, 0.3, 0.8, count=16)
LAWS: dict[str, Coefficients] = {
    "independent": IndependentCoefficients(KEEP, TARGET),
    "blended": BlendedCoefficients(KEEP, TARGET),
    "joint": JointCoefficients(KEEP.keep, KEEP.release, 0.5 * np.tanh(np.linspace(-2.0, 2.0, 20)), KEEP.weights),
}


def operator(law: Coefficients, centre: float = 0.0) -> TransferOperator:
    return TransferOperator(law, GRADING.panels(-8.0 - centre, 8.0 - centre, 14, -centre), GRADING, centre)


def squared(keep: Float64, release: Float64) -> Float64:
    return keep**2


@pytest.mark.parametrize("centre", [0.0, 0.8])
@pytest.mark.parametrize("kappa", [None, squared, lambda keep, release: (keep * release) ** 2])
@pytest.mark.parametrize("name", LAWS)
def test_measures_move_on(name: str, kappa: Callable[[Float64, Float64], Float64] | None, centre: float) -> None:
    """∫ c'^n of what T_κ makes of a measure is Σ binom E[κ f^k g^(n-k)] ∫ c^k."""
    transfer, atoms = operator(LAWS[name], centre), LAWS[name].atoms()
    rng = np.random.default_rng(1)
    measure = rng.uniform(0.0, 1.0, len(transfer.nodes)) * (np.abs(transfer.nodes) < 5.0)
    moved = measure @ transfer.weighted(kappa)
    weights = atoms.weights if kappa is None else atoms.weights * kappa(atoms.keep, atoms.release)
    for n in range(6):
        expected = sum(
            math.comb(n, k) * (weights @ (atoms.keep**k * atoms.increment ** (n - k))) * (measure @ transfer.nodes**k)
            for k in range(n + 1)
        )
        np.testing.assert_allclose(moved @ transfer.nodes**n, expected, rtol=1e-11)


@pytest.mark.parametrize("name", LAWS)
def test_smooth_functions(name: str) -> None:
    transfer, atoms = operator(LAWS[name]), LAWS[name].atoms()
    expected = np.cos(transfer.nodes[:, None] * atoms.keep + atoms.increment) @ atoms.weights
    inside = np.abs(transfer.nodes) < 5.0
    np.testing.assert_allclose((transfer.matrix @ np.cos(transfer.nodes))[inside], expected[inside], atol=1e-10)
    np.testing.assert_allclose(np.sum(transfer.matrix, axis=1), 1.0, atol=1e-13)


def test_another_measure_of_the_coefficients() -> None:
    """Weights that depend on what lies behind an increment, as those of a gate's derivative do."""
    transfer = operator(LAWS["independent"], centre=0.4)
    other = Rule(TARGET.nodes, TARGET.weights * np.exp(TARGET.nodes))
    moved = transfer.push(IndependentCoefficients(KEEP, other))
    joint = transfer.push(IndependentCoefficients(KEEP, other).atoms())
    row = transfer.stationary()
    for function in (np.ones_like, np.tanh, np.square):
        expected = row @ joint @ function(transfer.nodes)
        np.testing.assert_allclose(row @ moved @ function(transfer.nodes), expected, rtol=1e-10)
    np.testing.assert_allclose(np.sum(moved, axis=1), other.mass, rtol=1e-13)


def test_the_resolvent_of_a_perturbation() -> None:
    """v = z T_κ v + s: its mass and its first moment obey equations of their own."""
    transfer = operator(LAWS["independent"])
    matrix, law = transfer.weighted(squared), transfer.stationary()
    source = law * transfer.nodes**2
    squares, cubes, mean = (float(KEEP.weights @ KEEP.keep**power) for power in (2, 3)), KEEP.keep**3, TARGET.mean
    square, cube = squares
    assert cube == pytest.approx(float(KEEP.weights @ cubes))
    for z in (0.5, 1.0, 1.7):
        perturbation = np.linalg.solve(np.eye(len(law)) - z * matrix.T, source)
        mass = np.sum(source) / (1.0 - z * square)
        first = (source @ transfer.nodes + z * square * mean * mass) / (1.0 - z * cube)
        np.testing.assert_allclose(np.sum(perturbation), mass, rtol=1e-11)
        np.testing.assert_allclose(perturbation @ transfer.nodes, first, rtol=1e-11)


def test_a_constant_law_is_a_plain_average() -> None:
    nothing = KeepRule(np.zeros(1), np.ones(1), np.ones(1))
    transfer = operator(IndependentCoefficients(nothing, TARGET))
    np.testing.assert_allclose(transfer.stationary(), transfer.matrix[0], atol=1e-15)


def test_two_laws_at_once_are_refused() -> None:
    """f so close to 1 that panels do not move at all."""
    still = IndependentCoefficients(KeepRule(np.ones(1), np.full(1, 1e-30), np.ones(1)), Rule(np.zeros(1), np.ones(1)))
    with pytest.raises(ArithmeticError, match="more than one stationary law"):
        operator(still).stationary()
