"""Fixed points of the overlap of two sequences: how many there are, which are stable, and which one is reached."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.closed_growth import closed_growth
from meanfield.closed_moments import closed_law
from meanfield.closed_overlap import OverlapMap, closed_overlap


def one_gate(cell: str, **laws: float) -> mf.Network:
    return mf.Network(cell, {"h": mf.Gate(**laws)})


class TestFixedPoints:
    def test_chaos(self) -> None:
        law = closed_law(one_gate("vanilla", recurrent_gain=3.0), mf.Inputs(power=0.0))
        opposite, apart, same = closed_overlap(law)
        assert (opposite.overlap.value, apart.overlap.value, same.overlap.value) == (-1.0, 0.0, 1.0)
        assert (opposite.stable, apart.stable, same.stable) == (False, True, False)
        assert (opposite.reached, apart.reached, same.reached) == (False, True, False)
        assert same.slope.value == pytest.approx(closed_growth(law).chi.value, rel=1e-13)
        assert same.timescale is None
        assert apart.timescale is not None

    def test_order(self) -> None:
        law = closed_law(one_gate("vanilla", recurrent_gain=0.9, bias_std=0.3), mf.Inputs(power=0.0))
        (same,) = closed_overlap(law)
        assert same.overlap == mf.Estimate(1.0, 0.0)
        assert same.stable
        assert same.reached

    def test_a_stable_point_next_to_an_unstable_one(self) -> None:
        # Just beyond the edge of chaos the stable overlap is close to one.
        law = closed_law(one_gate("vanilla_erf", recurrent_gain=1.3, bias_std=0.6), mf.Inputs(power=0.0))
        points = closed_overlap(law)
        if len(points) == 2:
            assert points[0].stable
            assert points[0].reached
            assert not points[1].stable
        for point in points:
            change = OverlapMap(law).change(np.array([point.overlap.value]))
            assert abs(change.value[0]) < 1e-13

    def test_opposite_inputs_without_biases(self) -> None:
        law = closed_law(one_gate("vanilla", recurrent_gain=0.8, input_gain=1.0), mf.Inputs(overlap=-1.0))
        (point,) = closed_overlap(law)
        assert point.overlap.value == -1.0

    def test_zero_state(self) -> None:
        law = closed_law(one_gate("vanilla", recurrent_gain=0.5), mf.Inputs(power=0.0))
        assert law.second_moment == mf.Estimate(0.0, 0.0)
        assert closed_growth(law).chi.value == 0.25
        (point,) = closed_overlap(law)
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert point.slope.value == 0.25
