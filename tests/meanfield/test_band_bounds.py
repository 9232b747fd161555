"""Bounds on gradients from the singular values of the recurrent matrix, against simulated networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.band_bounds import gradient_bound
from meanfield.validation.finite_width import jacobian


@pytest.mark.parametrize("cell", ["vanilla", "vanilla_relu", "vanilla_erf", "leaky"])
@pytest.mark.parametrize("ensemble", ["orthogonal", mf.Ensemble("svd", half_width=0.3)], ids=["orthogonal", "svd"])
@pytest.mark.parametrize("gain", [0.2, 1.1])
def test_no_simulated_gradient_exceeds_the_bound(cell: str, ensemble: mf.Ensemble | str, gain: float) -> None:
    network = mf.Network(cell, {"h": mf.Gate(gain, 0.7, 0.0, 0.1)}, ensemble)
    bound = gradient_bound(network, length=5)
    assert bound is not None
    blocks = jacobian(network, mf.Inputs(size=3), hidden=40, length=9, steps=5, networks=4, seed=1)
    largest = max(float(np.linalg.norm(block, 2)) for block in blocks)
    assert math.log10(largest) <= bound.log10_largest + 1e-9


@pytest.mark.parametrize("cell", ["vanilla", "leaky"])
@pytest.mark.parametrize("gain", [0.2, 4.0])
def test_at_the_zero_state_both_bounds_hold_and_are_nearly_reached(cell: str, gain: float) -> None:
    network = mf.Network(cell, {"h": mf.Gate(gain)}, mf.Ensemble("svd", half_width=0.1))
    bound = gradient_bound(network, length=1)
    assert bound is not None
    (block,) = jacobian(network, mf.Inputs(power=0.0), hidden=200, length=1, steps=1, seed=2)
    values = np.log10(np.linalg.svd(block, compute_uv=False))
    assert bound.log10_smallest - 1e-9 <= values[-1]
    assert values[0] <= bound.log10_largest + 1e-9
    assert values[0] > bound.log10_largest - 0.1


def test_a_band_that_reaches_zero_has_no_lower_bound() -> None:
    network = mf.Network("vanilla", {"h": mf.Gate(1.0)}, mf.Ensemble("svd", half_width=1.0))
    bound = gradient_bound(network, length=3)
    assert bound is not None
    assert bound.log10_smallest == -math.inf


def test_cells_and_matrices_without_a_bound_have_none() -> None:
    assert gradient_bound(mf.Network("vanilla", {"h": mf.Gate(1.0)}), length=3) is None
    gates = dict.fromkeys("frh", mf.Gate(1.0))
    assert gradient_bound(mf.Network("gru", gates, "orthogonal"), length=3) is None


def test_recipes_report_the_bound_as_one() -> None:
    found = mf.recipe(
        "vanilla", length=12, hidden=64, inputs=4, units=256, ensemble=mf.Ensemble("svd", half_width=0.02)
    )
    assert any("no singular value of ∂h_T/∂h_0 over 12 steps exceeds" in note for note in found.content.notes)
