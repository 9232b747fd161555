"""T-step Jacobians of the untied regime against closed forms, mpmath, populations and simulated networks."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from wild_networks import wild_network

import meanfield as mf
from meanfield.cells import find
from meanfield.closed_isometry import closed_isometry, untied_isometry
from meanfield.closed_moments import closed_law

Float64 = NDArray[np.float64]

SILENT = mf.Inputs(power=0.0)
GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
NETWORKS = {
    "vanilla": mf.Network("vanilla", {"h": GATE}),
    "vanilla_erf": mf.Network("vanilla_erf", {"h": GATE}),
    "vanilla_relu": mf.Network("vanilla_relu", {"h": mf.Gate(0.8, 0.5, 0.2, 0.3)}),
    "leaky": mf.Network("leaky", {"h": GATE}),
    "minimal": mf.Network("minimal", {"f": mf.Gate(4.0, 0.5, 0.2, 0.3), "z": mf.Gate(0.0, 1.0, 0.2, 0.3)}),
    # Means away from zero, so that gradients are correlated with the states.
    "gru": mf.Network(
        "gru", {"f": mf.Gate(5.0, 0.5, 0.5, 0.3), "r": mf.Gate(4.0, 0.5, 0.5), "h": mf.Gate(3.0, 0.3, 0.8)}
    ),
    "gru_reset_after": mf.Network("gru_reset_after", dict.fromkeys("frh", GATE)),
    "peephole_lstm": mf.Network(
        "peephole_lstm", {"i": mf.Gate(1.0, 0.5, 0.5), "f": mf.Gate(1.5, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)}
    ),
    "janet": mf.Network("janet", {"f": mf.Gate(3.0, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)}),
}


def one_gate(cell: str, **laws: float) -> mf.Network:
    return mf.Network(cell, {"h": mf.Gate(**laws)})


class TestClosedForms:
    @pytest.mark.parametrize("gain", [0.5, 1.0, 1.0 + 1e-9])
    def test_products_of_gaussian_matrices(self, gain: float) -> None:
        # The zero state is stable up to a gain of one; just above it the state is not quite zero.
        found = untied_isometry(one_gate("vanilla", recurrent_gain=gain), SILENT, length=40)
        steps = np.arange(1, 41)
        tolerance = 1e-11 if gain <= 1.0 else 1e-6
        assert np.allclose(found.spreads.values, steps + 1.0, rtol=tolerance, atol=0.0)
        assert np.allclose(found.first_moments.log_values, 2.0 * steps * math.log(gain), rtol=0.0, atol=tolerance)
        defect = (80.0 * math.log(gain)) ** 2 + math.log(41.0)
        assert found.isometry_defect.value == pytest.approx(defect, rel=tolerance)

    def test_rectifiers_pass_half_of_the_units(self) -> None:
        found = untied_isometry(one_gate("vanilla_relu", recurrent_gain=0.8, input_gain=1.0), length=30)
        steps = np.arange(1, 31)
        assert np.all(np.abs(found.first_moments.log_values - steps * math.log(0.32)) < 1e-12)
        assert np.all(np.abs(found.spreads.values - (1.0 + 2.0 * steps)) < 1e-11)

    def test_a_leak_beside_gaussian_matrices(self) -> None:
        """J = d + a W: m1 = d² + a²σ², m2/m1² grows by (2 d² a²σ² + a⁴σ⁴)/m1² a step."""
        found = untied_isometry(one_gate("leaky", recurrent_gain=0.9), SILENT, length=20)
        direct, through = 0.7**2, 0.3**2 * 0.9**2
        rate = (2.0 * direct * through + through**2) / (direct + through) ** 2
        assert np.all(np.abs(found.spreads.values - (1.0 + rate * np.arange(1, 21))) < 1e-12)
        assert found.first_moment.value == pytest.approx((direct + through) ** 20, rel=1e-13)

    @pytest.mark.parametrize(("spread", "length"), [(0.5, 10), (3.0, 5000)])
    def test_gates_without_recurrent_weights(self, spread: float, length: int) -> None:
        """J = Π f with f independent from step to step: moments of long products are kept by their logarithms."""
        found = untied_isometry(mf.Network("janet", {"f": mf.Gate(bias_std=spread), "g": mf.Gate()}), length=length)
        with mpmath.workdps(30):
            second, fourth = (
                mpmath.quad(
                    lambda z, power=power: mpmath.npdf(z) / (1 + mpmath.exp(-spread * z)) ** power,
                    [-14, -6, -3, -1, 0, 1, 3, 6, 14],
                )
                for power in (2, 4)
            )
            first, last = float(length * mpmath.log(second)), float(length * mpmath.log(fourth))
        assert abs(found.first_moments.log_values[-1] - first) < 1e-15 * length * 10
        assert abs(found.second_moments.log_values[-1] - last) < 1e-14 * length * 10
        assert abs(found.log_spread.value - (last - 2.0 * first)) < found.log_spread.error < 1e-13 * length
        assert found.isometry_defect.value == pytest.approx(first**2 + last - 2.0 * first, rel=1e-12)

    @pytest.mark.parametrize("cell", ["vanilla", "vanilla_erf"])
    def test_networks_without_skip_paths(self, cell: str) -> None:
        """J = Π φ' W: m2/m1² = 1 + T E φ'⁴/(E φ'²)²."""
        law = closed_law(NETWORKS[cell])
        mean, deviation = (law.parameters[f"{word} drive h + field h"] for word in ("mean", "deviation"))
        slope: Callable[[mpmath.mpf], mpmath.mpf] = (
            (lambda u: mpmath.sech(u) ** 2)
            if cell == "vanilla"
            else (lambda u: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-u * u))
        )
        with mpmath.workdps(30):
            second, fourth = (
                mpmath.quad(
                    lambda z, power=power: mpmath.npdf(z) * slope(mean + deviation * z) ** power,
                    [-13, -6, -3, -1, 0, 1, 3, 6, 13],
                )
                for power in (2, 4)
            )
            exact = np.array([float(1 + t * fourth / second**2) for t in range(1, 13)])
        found = closed_isometry(law, length=12)
        off = np.abs(found.spreads.values / exact - 1.0)
        assert np.all(off <= found.spreads.relative_errors + 1e-15)
        assert np.all(found.spreads.relative_errors < 1e-12)


class TestLimits:
    def test_nothing_is_passed_on(self) -> None:
        found = untied_isometry(one_gate("vanilla", input_gain=1.0), length=3)
        assert found.first_moment == mf.Estimate(0.0, 0.0)
        assert np.all(found.second_moments.values == 0.0)
        assert found.isometry_defect == mf.Estimate(math.inf, 0.0)

    @pytest.mark.parametrize("cell", ["janet", "gru", "gru_reset_after", "minimal"])
    @pytest.mark.parametrize("bias", [-150.0, -40.0, 40.0])
    def test_saturated_gates(self, cell: str, bias: float) -> None:
        """With f = exp(-150) the skip path is gone, with 1 - f = exp(-40) nothing else is there."""
        recurrent = {each.gate for each in find(cell).fields if each.gain == "recurrent_gain"}
        gates = {
            name: mf.Gate(recurrent_gain=0.5 if name in recurrent else 0.0, input_gain=0.5, bias_mean=0.3)
            for name in find(cell).gates
        }
        gates["f"] = mf.Gate(bias_mean=bias, recurrent_gain=0.5)
        length = 5
        found = untied_isometry(mf.Network(cell, gates), length=length)
        defect = found.isometry_defect
        if bias > 0.0:
            assert 0.0 <= defect.value <= defect.error < 1e-11
        elif cell == "janet":
            # s = tanh(u_g) but for f: a network without skip paths.
            plain = untied_isometry(mf.Network("vanilla", {"h": gates["g"]}), length=length)
            assert defect.value == pytest.approx(plain.isometry_defect.value, rel=1e-10)
        elif cell == "minimal":
            # What is left is f itself and the gate's slope, which is as small: both of order exp(bias).
            assert found.first_moments.log_values[0] == pytest.approx(2.0 * bias, abs=2.0)
            shallow = dict(gates, f=mf.Gate(bias_mean=-40.0, recurrent_gain=0.5))
            other = untied_isometry(mf.Network(cell, shallow), length=length)
            assert found.log_spread.value == pytest.approx(other.log_spread.value, abs=1e-10)
        else:
            assert np.all(found.spreads.values > 1.0)
            assert defect.error < 1e-9 * defect.value

    @pytest.mark.parametrize("cell", [each for each in NETWORKS if each != "gru_reset_after"])
    def test_wild_networks_give_numbers_or_say_why_not(self, cell: str) -> None:
        generator = np.random.default_rng(list(NETWORKS).index(cell))
        for _ in range(6):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found = untied_isometry(wild_network(cell, generator), length=20)
                except mf.NotConverged:
                    assert cell in ("vanilla_relu", "peephole_lstm")  # the others are bounded
                    continue
            assert np.all(found.spreads.log_values >= 0.0)
            assert found.log_spread.error < 1e-6
            if math.isfinite(found.isometry_defect.value):
                assert found.isometry_defect.error < 1e-6 * (1.0 + found.isometry_defect.value)

    def test_profiles_are_those_of_shorter_products(self) -> None:
        law = closed_law(NETWORKS["gru"])
        long = closed_isometry(law, length=9)
        short = closed_isometry(law, length=4)
        assert long.defect_at(4) == short.isometry_defect
        assert long.second_moments.at(4) == short.second_moments.at(4)
        with pytest.raises(KeyError, match="lag 10"):
            long.defect_at(10)

    @pytest.mark.parametrize("cell", ["lstm", "cifg_lstm"])
    def test_cells_that_do_not_close(self, cell: str) -> None:
        with pytest.raises(mf.InvalidInput, match=rf"cell {cell} has 2 state variables"):
            untied_isometry(mf.Network(cell, dict.fromkeys(find(cell).gates, GATE)))

    def test_requests_that_make_no_sense(self) -> None:
        with pytest.raises(mf.InvalidInput, match="length: must be a whole number of at least 1, got 0"):
            untied_isometry(NETWORKS["gru"], length=0)
        with pytest.raises(mf.InvalidInput, match="white"):
            untied_isometry(NETWORKS["gru"], mf.Inputs.padded(signal=3, length=9))

    def test_is_fast(self) -> None:
        law = closed_law(NETWORKS["gru"])

        def once() -> float:
            start = time.process_time()
            closed_isometry(law, length=100)
            return time.process_time() - start

        once()
        assert min(once() for _ in range(5)) < 0.05  # 12 ms where nothing else runs
