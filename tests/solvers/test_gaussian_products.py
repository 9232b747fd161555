"""Products of functions of one normal variable in two copies: closed forms, limits and two-dimensional sums."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.normal_rules import Transition

CORRELATIONS = np.array([-1.0, -1.0 + 1e-12, -0.99, -0.5, 0.0, 0.3, 0.9, 0.999, 1.0 - 1e-6, 1.0 - 1e-12, 1.0])


class TestPairs:
    @pytest.mark.parametrize("deviation", [0.01, 1.0, 30.0])
    def test_rectifiers_are_the_arc_cosine_kernel(self, deviation: float) -> None:
        functions = NormalFunctions(
            lambda u: np.stack([np.maximum(u, 0.0), (u > 0.0).astype(float)]),
            0.0,
            deviation,
            [Transition(0.0, 1.0, kink=True)],
        )
        found = functions.pairs(CORRELATIONS)
        angle = np.arccos(CORRELATIONS)
        ramps = (np.sin(angle) + (np.pi - angle) * CORRELATIONS) / (2 * np.pi)
        assert np.all(np.abs(found.value[0, 0] / deviation**2 - ramps) < 1e-13)
        assert np.all(np.abs(found.value[1, 1] - (np.pi - angle) / (2 * np.pi)) < 1e-13)
        assert np.all(found.error[1, 1] < 1e-11)

    @pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.3, 4.0), (-0.4, 9.0)])
    def test_shifted_kinks_are_that_of_a_single_copy_at_the_ends(self, mean: float, deviation: float) -> None:
        functions = NormalFunctions(
            lambda u: np.stack([np.maximum(u, 0.0), np.tanh(u)]),
            mean,
            deviation,
            [Transition(0.0, 1.0, kink=True), Transition(0.0, 1.0)],
        )
        near = functions.pairs(np.array([1.0 - 1e-13, 1.0]))
        scale = 1.0 + mean**2 + deviation**2
        assert np.all(np.abs(near.value[:, :, 0] - near.value[:, :, 1]) < 1e-11 * scale)

    @pytest.mark.parametrize("deviation", [0.5, 2.0, 6.0])
    @pytest.mark.parametrize("correlation", [-0.8, 0.2, 0.95])
    def test_against_a_two_dimensional_sum(self, deviation: float, correlation: float) -> None:
        functions = NormalFunctions(
            lambda u: np.stack([np.tanh(u), 1.0 / (1.0 + np.exp(-u))]), 0.4, deviation, [Transition(0.0, math.pi / 2)]
        )
        nodes = np.linspace(-10.0, 10.0, 1501)
        weights = np.exp(-(nodes**2) / 2)
        weights /= weights.sum()
        left = functions.on(nodes)
        right = functions.on(correlation * nodes[:, None] + math.sqrt(1 - correlation**2) * nodes)
        expected = (left * weights) @ (right @ weights).T
        found = functions.pairs(np.array([correlation]))
        assert np.all(np.abs(found.value[:, :, 0] - expected) < 1e-12)
