"""Closed maps are held to closed forms, to mpmath and to sampled chains."""

from __future__ import annotations

import math
import time
import warnings

import mpmath
import numpy as np
import pytest
from wild_networks import wild_network

import meanfield as mf
from meanfield.cells import find
from meanfield.closed_cells import NotClosed, closed_cell
from meanfield.closed_formulas import derivative
from meanfield.closed_growth import closed_growth
from meanfield.closed_moments import closed_law
from meanfield.closed_overlap import OverlapMap, closed_overlap
from meanfield.sampling.expressions import evaluate, sigmoid, symbol
from meanfield.solvers.gaussian_products import NormalFunctions

CORRELATIONS = np.array([-1.0, -1.0 + 1e-12, -0.99, -0.5, 0.0, 0.3, 0.9, 0.999, 1.0 - 1e-6, 1.0 - 1e-12, 1.0])
GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
GATES = {
    "vanilla": "h",
    "vanilla_erf": "h",
    "leaky": "h",
    "gru": "frh",
    "gru_reset_after": "frh",
    "peephole_lstm": "ifg",
    "janet": "fg",
}


def network(cell: str) -> mf.Network:
    if cell == "minimal":
        return mf.Network(cell, {"f": GATE, "z": mf.Gate(input_gain=1.0, bias_mean=0.2, bias_std=0.3)})
    if cell == "vanilla_relu":
        return mf.Network(cell, {"h": mf.Gate(recurrent_gain=0.8, input_gain=0.5, bias_mean=0.2, bias_std=0.3)})
    return mf.Network(cell, dict.fromkeys(GATES[cell], GATE))


CELLS = [*GATES, "minimal", "vanilla_relu"]


def one_gate(cell: str, **laws: float) -> mf.Network:
    return mf.Network(cell, {"h": mf.Gate(**laws)})


class TestMaps:
    @pytest.mark.parametrize("variance", [1e-6, 0.1, 1.0, 10.0, 900.0])
    def test_error_functions_are_an_arcsine(self, variance: float) -> None:
        cell = closed_cell(find("vanilla_erf"))
        (group,) = cell.groups
        functions = NormalFunctions(
            lambda u: np.stack([np.ones_like(u), evaluate(group.functions[1:], {group.argument: u})[0]]),
            0.0,
            math.sqrt(variance),
            group.transitions,
        )
        found = functions.pairs(CORRELATIONS)[1, 1]
        exact = 2 / np.pi * np.arcsin(2 * variance * CORRELATIONS / (1 + 2 * variance))
        assert np.all(np.abs(found.value - exact) < 1e-13)
        assert np.all(np.abs(found.value - exact) <= found.error)
        assert np.all(found.error < 1e-11)

    def test_error_function_network(self) -> None:
        law = closed_law(
            one_gate("vanilla_erf", recurrent_gain=1.4, input_gain=0.7, bias_std=0.2), mf.Inputs(overlap=0.3)
        )
        q = law.second_moment.value
        variance = 1.4**2 * q + 0.49 + 0.04
        assert abs(q - 2 / np.pi * np.arcsin(2 * variance / (1 + 2 * variance))) < 1e-13
        overlaps = np.linspace(-1.0, 1.0, 41)
        covariance = 1.4**2 * q * overlaps + 0.3 * 0.49 + 0.04
        image = 2 / np.pi * np.arcsin(2 * covariance / (1 + 2 * variance))
        slope = 1.4**2 * 4 / np.pi / np.sqrt((1 + 2 * variance) ** 2 - 4 * covariance**2)
        overlap_map = OverlapMap(law)
        assert np.all(np.abs(overlap_map.change(overlaps).value - (image - q * overlaps)) < 1e-13)
        assert np.all(np.abs(overlap_map.slope(overlaps).slope.value - slope) < 1e-13)
        growth = 1.4**2 * 4 / np.pi / math.sqrt(1 + 4 * variance)
        assert abs(closed_growth(law).chi.value - growth) < 1e-13

    @pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
    def test_critical_line_of_tanh(self, variance: float) -> None:
        with mpmath.workdps(30):
            mean = {
                name: 2
                * mpmath.quad(lambda z, f=f: mpmath.npdf(z) * f(mpmath.sqrt(variance) * z), [0, 0.5, 1, 2, 4, 8, 13])
                for name, f in (("q", lambda u: mpmath.tanh(u) ** 2), ("slope", lambda u: mpmath.sech(u) ** 4))
            }
            gain = 1 / mpmath.sqrt(mean["slope"])
            spread = mpmath.sqrt(variance - gain**2 * mean["q"])
            law = closed_law(
                one_gate("vanilla", recurrent_gain=float(gain), bias_std=float(spread)), mf.Inputs(power=0.0)
            )
            assert abs(law.second_moment.value - mean["q"]) < 1e-12
        assert abs(closed_growth(law).chi.value - 1.0) < 1e-12

    @pytest.mark.parametrize("cell", ["gru", "janet", "leaky", "minimal", "gru_reset_after"])
    def test_moments_and_growth_against_mpmath(self, cell: str) -> None:
        law = closed_law(network(cell))
        mean, square, growth = with_mpmath(cell, law)
        assert abs(law.mean.value - mean) < 1e-13
        assert abs(law.second_moment.value - square) < 1e-13
        assert law.second_moment.error < 1e-13
        assert abs(closed_growth(law).chi.value - growth) < 1e-12

    @pytest.mark.parametrize("cell", CELLS)
    def test_slope_is_the_derivative_of_the_map(self, cell: str) -> None:
        overlap_map = OverlapMap(closed_law(network(cell), mf.Inputs(overlap=0.5)))
        overlaps = np.array([-0.4, 0.3, 0.9])
        step = 1e-4
        rise = overlap_map.change(overlaps + step).value - overlap_map.change(overlaps - step).value
        run = overlap_map.products(overlaps + step) - overlap_map.products(overlaps - step)
        found = overlap_map.slope(overlaps)
        assert np.all(np.abs(rise / run + 1.0 - found.slope.value) < 1e-7)
        assert np.all(np.abs(1.0 - found.lacking.value - found.slope.value) < 1e-13)

    @pytest.mark.parametrize("cell", CELLS)
    def test_growth_is_the_slope_for_copies_that_are_the_same(self, cell: str) -> None:
        law = closed_law(network(cell), mf.Inputs(overlap=1.0))
        point = closed_overlap(law)[-1]
        assert point.overlap == mf.Estimate(1.0, 0.0)
        assert abs(point.slope.value - closed_growth(law).chi.value) < 1e-12

    def test_a_critical_network_is_at_zero_to_within_its_error(self) -> None:
        law = closed_law(one_gate("vanilla", recurrent_gain=1.0), mf.Inputs(power=0.0))
        assert law.second_moment.value == 0.0
        assert 0.0 < law.second_moment.error < 1e-10
        assert abs(closed_growth(law).chi.value - 1.0) < 1e-13

    def test_long_memory_keeps_its_digits(self) -> None:
        # χ_1 = E f² with f = 1/(1 + exp(-60)) rounds to one; ξ = exp(60)/2.
        gates = {"f": mf.Gate(bias_mean=60.0), "g": mf.Gate(input_gain=1.0)}
        law = closed_law(mf.Network("janet", gates))
        timescale = closed_growth(law).timescale
        assert timescale is not None
        assert timescale.value == pytest.approx(math.exp(60.0) / 2, rel=1e-12)


def with_mpmath(cell: str, law: object) -> tuple[float, float, float]:
    """Moments and growth from one-dimensional integrals in 25 digits, at the variances of the law."""
    q = law.second_moment.value  # type: ignore[attr-defined]
    sigma, tanh = (lambda u: 1 / (1 + mpmath.exp(-u))), mpmath.tanh
    mean, drive, gain = mpmath.mpf("0.2"), mpmath.mpf("0.25") + mpmath.mpf("0.09"), mpmath.mpf("2.25")

    def average(f: object, variance: object = None) -> mpmath.mpf:
        deviation = mpmath.sqrt(gain * q + drive if variance is None else variance)
        ends = [-13, -6, -3, -1, 0, 1, 3, 6, 13]
        return mpmath.quad(lambda z: mpmath.npdf(z) * f(mean + deviation * z), ends)  # type: ignore[operator]

    with mpmath.workdps(25):
        f2, g2 = average(lambda u: sigma(u) ** 2), average(lambda u: sigma(-u) ** 2)
        fg, fp2 = average(lambda u: sigma(u) * sigma(-u)), average(lambda u: (sigma(u) * sigma(-u)) ** 2)
        rest = mpmath.mpf(0)
        if cell == "leaky":
            a = mpmath.mpf("0.3")
            n, n2, np2 = average(tanh), average(lambda u: tanh(u) ** 2), average(lambda u: mpmath.sech(u) ** 4)
            square = (2 * (1 - a) * a * n * n + a**2 * n2) / (1 - (1 - a) ** 2)
            return float(n), float(square), float((1 - a) ** 2 + gain * a**2 * np2)
        if cell == "minimal":
            drive_z = mpmath.mpf(1) + mpmath.mpf("0.09")
            n2 = average(lambda u: tanh(u) ** 2, drive_z)
            n = average(tanh, drive_z)
            variance = gain * q + mpmath.mpf("0.25") * n2 + mpmath.mpf("0.09")
            f2, g2, fg, fp2 = (
                average(each, variance)
                for each in (
                    lambda u: sigma(u) ** 2,
                    lambda u: sigma(-u) ** 2,
                    lambda u: sigma(u) * sigma(-u),
                    lambda u: (sigma(u) * sigma(-u)) ** 2,
                )
            )
        elif cell == "gru_reset_after":
            # Given r, the candidate's argument is one Gaussian variable.
            def given(function: object) -> mpmath.mpf:
                nodes, weights = np.polynomial.hermite_e.hermegauss(40)
                variance = gain * q + drive
                reset = [sigma(mean + mpmath.sqrt(variance) * mpmath.mpf(z)) for z in nodes]
                return sum(mpmath.mpf(w) * function(r) for w, r in zip(weights / weights.sum(), reset, strict=True))  # type: ignore[operator]

            def size(r: mpmath.mpf) -> mpmath.mpf:
                return drive + gain * q * r**2

            n = given(lambda r: average(tanh, size(r)))
            n2 = given(lambda r: average(lambda u: tanh(u) ** 2, size(r)))
            np2 = given(lambda r: r**2 * average(lambda u: mpmath.sech(u) ** 4, size(r)))

            def through_reset(r: mpmath.mpf) -> mpmath.mpf:
                # m given u = w + r m has the mean r v (u - mean)/size and the variance v drive/size.
                v, total = gain * q, size(r)
                known = average(lambda u: mpmath.sech(u) ** 4 * (r * v * (u - mean) / total) ** 2, total)
                unknown = average(lambda u: mpmath.sech(u) ** 4, total) * v * drive / total
                return (r * (1 - r)) ** 2 * (known + unknown)

            np2 = np2 + given(through_reset)
        else:
            n_variance = None
            if cell == "gru":
                r2, rp2 = average(lambda u: sigma(u) ** 2), average(lambda u: (sigma(u) * sigma(-u)) ** 2)
                n_variance = gain * q * r2 + drive
                n, n2, np2 = (
                    average(each, n_variance) for each in (tanh, lambda u: tanh(u) ** 2, lambda u: mpmath.sech(u) ** 4)
                )
                np2 = np2 * (r2 + gain * rp2 * q)
            else:
                n, n2, np2 = average(tanh), average(lambda u: tanh(u) ** 2), average(lambda u: mpmath.sech(u) ** 4)
        if cell == "minimal":
            np2 = rest
        mean_state = n
        square = (2 * fg * n * mean_state + g2 * n2) / (1 - f2)
        growth = f2 + gain * fp2 * (square - 2 * n * mean_state + n2) + gain * g2 * np2
        return float(mean_state), float(square), float(growth)


class TestWitnesses:
    @pytest.mark.parametrize("cell", CELLS)
    def test_sampled_chains(self, cell: str) -> None:
        inputs = mf.Inputs(overlap=0.5)
        law = closed_law(network(cell), inputs)
        sampled = mf.sample_law(network(cell), inputs, chains=2**15, device="cpu", threads=1)
        name = find(cell).states[0]
        agree(law.mean, sampled.mean[name])
        agree(law.second_moment, sampled.second_moment[name])
        for one, other in zip(law.carriers, sampled.carriers, strict=True):
            agree(one, other)
        agree(closed_growth(law).chi, mf.sample_growth(sampled, chains=2**14, threads=1).chi)
        if cell == "vanilla_relu":
            return  # pairs of rectifiers are held to their closed form
        pair = mf.sample_overlap(sampled, device="cpu", threads=1)
        (point,) = [each for each in closed_overlap(law) if each.reached]
        agree(point.overlap, pair.overlap)
        agree(point.slope, mf.sample_growth(pair, chains=2**14, threads=1).chi)


def agree(closed: mf.Estimate, sampled: mf.Estimate) -> None:
    assert closed.error < 1e-10
    assert abs(closed.value - sampled.value) <= 4.0 * sampled.error + 1e-9


class TestLimits:
    @pytest.mark.parametrize("cell", ["lstm", "cifg_lstm"])
    def test_cells_that_do_not_close(self, cell: str) -> None:
        gates = dict.fromkeys(find(cell).gates, GATE)
        with pytest.raises(NotClosed, match="2 state variables"):
            closed_law(mf.Network(cell, gates))

    def test_a_memory_that_is_not_affine(self) -> None:
        class Squashed(type(find("janet"))):  # type: ignore[misc]
            name = "squashed"

            def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
                return (np.tanh(super().update(state, fields, drives)[0]),)

        with pytest.raises(NotClosed, match="tanh"):
            closed_cell(Squashed())

    def test_inputs_must_be_white(self) -> None:
        with pytest.raises(mf.InvalidInput, match="white"):
            closed_law(network("vanilla"), mf.Inputs.padded(signal=3, length=9))

    @pytest.mark.parametrize("cell", [each for each in CELLS if each != "gru_reset_after"])
    def test_wild_networks_give_numbers_or_say_why_not(self, cell: str) -> None:
        generator = np.random.default_rng(CELLS.index(cell))
        for _ in range(6):
            wild = wild_network(cell, generator)
            inputs = mf.Inputs(overlap=float(generator.choice([-1.0, 0.5, 1.0])))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    law = closed_law(wild, inputs)
                    growth, points = closed_growth(law), closed_overlap(law)
                except mf.NotConverged:
                    assert cell in ("vanilla_relu", "peephole_lstm")  # the others are bounded
                    continue
            assert law.second_moment.value >= 0.0
            assert law.second_moment.error <= 1e-9 * max(law.second_moment.value, 1e-3)
            assert growth.chi.error <= 1e-8 * max(growth.chi.value, 1.0)
            assert sum(point.reached for point in points) == 1
            assert all(-1.0 <= point.overlap.value <= 1.0 for point in points)

    def test_exploding_rectifiers(self) -> None:
        with pytest.raises(mf.NotConverged, match="without limit"):
            closed_law(one_gate("vanilla_relu", recurrent_gain=2.0, input_gain=1.0))

    @pytest.mark.parametrize("u", [-60.0, -2.0, 0.0, 3.0, 60.0])
    def test_slopes_of_saturated_gates_keep_their_digits(self, u: float) -> None:
        x = symbol("x")
        value, complement, slope = sigmoid(x)
        roots = [derivative(value, x), derivative(complement, x), slope]
        found, lost, exact = (float(each) for each in evaluate(roots, {"x": np.array(u)}))
        assert found == pytest.approx(exact, rel=1e-14)
        assert lost == pytest.approx(-exact, rel=1e-14)

    @pytest.mark.parametrize("cell", ["vanilla", "leaky", "janet", "gru"])
    def test_is_fast(self, cell: str) -> None:
        def once() -> float:
            start = time.perf_counter()
            law = closed_law(network(cell))
            closed_growth(law)
            closed_overlap(law)
            return time.perf_counter() - start

        once()
        assert min(once() for _ in range(5)) < 0.1  # 6 to 15 ms where nothing else runs
