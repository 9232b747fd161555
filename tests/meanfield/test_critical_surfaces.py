"""Critical points and surfaces are held to closed forms, to mpmath and to the growth of the networks they return."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import Cell, register, unregister
from meanfield.critical_points import CriticalPoint, critical_point
from meanfield.critical_report import critical_point_table, critical_surface_table
from meanfield.critical_surfaces import CriticalSurface, critical_surface
from meanfield.network_parameters import NetworkParameter
from meanfield.terminal import print_table
from meanfield.untied_growth import untied_chi

SILENT = mf.Inputs(power=0.0)
GATE = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
GRU = mf.Network("gru", dict.fromkeys("frh", GATE))


def plain(cell: str = "vanilla", **laws: float) -> mf.Network:
    return mf.Network(cell, {"h": mf.Gate(**laws)})


def check_roots(found: CriticalPoint) -> None:
    """χ_1 of all networks returned is the target, to within its bound and what the value's own makes up."""
    for root in found.roots:
        chi = mf.fixed_points(root.network, found.inputs).growth.chi
        assert chi == root.chi
        allowed = chi.error + (abs(root.slope.value) + root.slope.error) * root.value.error
        assert abs(chi.value - found.target) <= allowed < 1e-6


class TestCriticalPoint:
    @pytest.mark.parametrize("variance", [0.1, 1.0, 9.0])
    def test_line_of_tanh_against_mpmath(self, variance: float) -> None:
        with mpmath.workdps(32):
            root = mpmath.sqrt(mpmath.mpf(variance))
            ends = [0, 0.25, 0.5, 1, 2, 4, 8, 16]
            square, steepness = (
                2 * mpmath.quad(lambda z, f=f: mpmath.npdf(z) * f(root * z), ends)
                for f in (lambda u: mpmath.tanh(u) ** 2, lambda u: mpmath.sech(u) ** 4)
            )
            gain = 1 / mpmath.sqrt(steepness)
            spread = mpmath.sqrt(variance - gain**2 * square)
        found = critical_point(plain(bias_std=float(spread)), "h.recurrent_gain", SILENT, within=(0.5, 10.0))
        assert abs(found.value.value - gain) < 1e-12 * gain
        assert abs(found.value.value - gain) <= found.value.error + 1e-15 * gain
        check_roots(found)

    def test_error_function_has_a_closed_form(self) -> None:
        # σ² = π/4 √(1 + 4q), ρ² = q - σ² 2/π asin(2q/(1 + 2q)).
        q = 0.7
        gain = math.sqrt(math.pi / 4 * math.sqrt(1 + 4 * q))
        spread = math.sqrt(q - gain**2 * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)))
        found = critical_point(plain("vanilla_erf", bias_std=spread), "h.recurrent_gain", SILENT, within=(0.5, 3.0))
        assert abs(found.value.value - gain) <= found.value.error + 1e-14
        assert found.value.error < 1e-12
        check_roots(found)

    def test_any_target_of_rectifiers(self) -> None:
        # χ_1 = σ²/2, with a slope of σ.
        found = critical_point(
            plain("vanilla_relu", bias_std=0.4), "h.recurrent_gain", within=(0.1, 1.4), target=0.5, points=5
        )
        assert abs(found.value.value - 1.0) <= found.value.error < 1e-13
        assert abs(found.roots[0].slope.value - 1.0) <= found.roots[0].slope.error < 1e-6
        check_roots(found)

    def test_a_kink_at_the_edge_of_chaos(self) -> None:
        # Without biases χ_1 = σ² up to 1 and 1 + O((σ-1)²) beyond.
        found = critical_point(plain(), "h.recurrent_gain", SILENT, within=(0.6, 1.5), points=4)
        assert abs(found.value.value - 1.0) <= found.value.error < 1e-6
        slope = found.roots[0].slope
        assert slope.value - slope.error <= 0.0
        assert slope.value + slope.error >= 2.0

    def test_a_linear_network(self) -> None:
        class Linear(Cell):
            name, gates, keep_gate = "linear", ("h",), None

            def update(self, state, fields, drives):  # type: ignore[no-untyped-def]
                return (fields["h"] + drives["h"],)

            def circuit(self, state, fields, drives):  # type: ignore[no-untyped-def]
                return self.simple_circuit(((0.0,),), ((1.0,),))

        register(Linear())
        try:
            # χ_1 = σ² wherever there is a stationary state, which is below 1 only.
            network = plain("linear", input_gain=1.0)
            found = critical_point(network, "h.recurrent_gain", within=(0.0, 0.9), target=0.25, points=5)
            assert abs(found.value.value - 0.5) <= found.value.error < 1e-13
            with pytest.raises(mf.Infeasible, match=r"to 0\.99999.* to 2 no stationary state was found"):
                critical_point(network, "h.recurrent_gain", within=(0.0, 2.0), points=4)
        finally:
            unregister("linear")

    def test_keep_bias_and_gain_of_a_gru_say_the_same(self) -> None:
        strong = NetworkParameter.named(GRU, "h.recurrent_gain").applied(GRU, 5.0)
        by_bias = critical_point(strong, "f.bias_mean", within=(-2.0, 3.0), points=9)
        assert by_bias.roots[0].direction == "falls"
        by_gain = critical_point(by_bias.critical_network, "h.recurrent_gain", within=(1.0, 8.0), points=9)
        assert by_gain.roots[0].direction == "rises"
        assert abs(by_gain.value.value - 5.0) < 1e-11
        check_roots(by_bias)
        check_roots(by_gain)

    @pytest.mark.parametrize("cell", ["leaky", "janet", "peephole_lstm", "minimal"])
    def test_growth_of_the_networks_returned(self, cell: str) -> None:
        if cell == "minimal":
            keep = mf.Gate(bias_mean=4.0, bias_std=1.5)
            network, parameter = mf.Network(cell, {"f": keep, "z": mf.Gate(input_gain=1.0)}), "f.recurrent_gain"
        else:
            network = mf.Network(cell, dict.fromkeys({"leaky": "h", "janet": "fg"}.get(cell, "ifg"), GATE))
            parameter = "*.recurrent_gain"
        check_roots(critical_point(network, parameter, within=(0.0, 10.0), points=9))

    def test_the_slope_is_the_derivative(self) -> None:
        (root,) = critical_point(GRU, "h.recurrent_gain", within=(2.0, 8.0), points=7).roots
        parameter, step = NetworkParameter.named(GRU, "h.recurrent_gain"), 1e-3
        chi = {
            times: untied_chi(parameter.applied(GRU, root.value.value + times * step)).value for times in (-2, -1, 1, 2)
        }
        derivative = (8 * (chi[1] - chi[-1]) - (chi[2] - chi[-2])) / (12 * step)
        assert abs(root.slope.value - derivative) <= root.slope.error + 1e-10
        assert root.slope.error < 1e-6

    def test_several_roots(self) -> None:
        found = critical_point(plain(recurrent_gain=2.0), "h.bias_mean", SILENT, within=(-3.0, 3.1))
        low, high = found.roots
        assert (low.direction, high.direction) == ("rises", "falls")
        assert abs(low.value.value + high.value.value) <= low.value.error + high.value.error
        assert found.value == low.value
        assert found.critical_network == low.network
        check_roots(found)

    def test_states_that_jump(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A reset gate that opens as the state grows: below the jump the state is zero and χ_1 = (1 + (σ E r)²)/4.
        gates = {"f": mf.Gate(), "r": mf.Gate(recurrent_gain=10.0, bias_mean=-3.0), "h": mf.Gate()}
        network = mf.Network("gru", gates)
        found = critical_point(network, "h.recurrent_gain", SILENT, within=(6.0, 6.8), points=3, target=0.272)
        exact = math.sqrt(4 * 0.272 - 1) * (1 + math.exp(3.0))
        assert abs(found.value.value - exact) <= found.value.error + 1e-14
        parameter = NetworkParameter.named(network, "h.recurrent_gain")
        below, above = (untied_chi(parameter.applied(network, gain), SILENT) for gain in (36.52, 36.53))
        assert 0.9999 < below.value < 1.0  # where the zero state loses its stability, too
        assert above.value > 2.0
        # To follow it to the last digit takes seconds; a step in its place says the same.
        monkeypatch.setattr(
            "meanfield.critical_points.untied_chi",
            lambda moved, _: below if moved.gates["h"].recurrent_gain < 36.525 else above,
        )
        with pytest.raises(mf.Infeasible, match=r"at 36\.525 .* it goes from 0\.9999\d+ to 10\.1\d+ without"):
            critical_point(network, "h.recurrent_gain", SILENT, within=(36.0, 37.0))

    @pytest.mark.parametrize(
        ("parameter", "message"),
        [
            ("h.gain", r"parameter: must be one of f\.recurrent_gain, .*h\.bias_std, or \* for all"),
            ("o.bias_mean", "must be one of"),
            ("h", "must be one of"),
            ("*.recurrent_bias_mean", "must be one of"),
            (3, "must be one of"),
        ],
    )
    def test_unknown_parameters(self, parameter: str, message: str) -> None:
        with pytest.raises(mf.InvalidInput, match=message):
            critical_point(GRU, parameter, within=(0.0, 1.0))

    @pytest.mark.parametrize(
        "within", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (-1.0, 1.0), (1.0,), 3.0, "ab", None]
    )
    def test_ranges_that_make_no_sense(self, within: object) -> None:
        with pytest.raises(mf.InvalidInput, match="within"):
            critical_point(GRU, "h.recurrent_gain", within=within)  # type: ignore[arg-type]

    @pytest.mark.parametrize("target", [0.0, -1.0, math.nan, "one"])
    def test_targets_that_make_no_sense(self, target: float) -> None:
        with pytest.raises(mf.InvalidInput, match="target"):
            critical_point(GRU, "h.recurrent_gain", within=(0.0, 1.0), target=target)

    def test_cells_inputs_and_points_that_are_refused(self) -> None:
        with pytest.raises(mf.InvalidInput, match="white"):
            critical_point(GRU, "h.bias_std", mf.Inputs.padded(signal=3, length=9), within=(0.0, 1.0))
        with pytest.raises(mf.InvalidInput, match="points"):
            critical_point(GRU, "h.bias_std", within=(0.0, 1.0), points=2)

    def test_no_stationary_state_at_all(self) -> None:
        with pytest.raises(mf.NotConverged, match="no stationary state was found"):
            critical_point(plain("vanilla_relu", input_gain=1.0), "h.recurrent_gain", within=(1.5, 2.0), points=3)

    def test_a_parameter_that_does_nothing(self) -> None:
        # At the critical gain and the zero state an input gain without inputs leaves χ_1 at 1.
        with pytest.raises(mf.NotConverged, match="all the way"):
            critical_point(plain(recurrent_gain=1.0), "h.input_gain", SILENT, within=(0.0, 1.0), points=3)


class TestCriticalSurface:
    def surface(self) -> CriticalSurface:
        return critical_surface(GRU, "h.recurrent_gain", "f.bias_mean", [-1.0, 4.0], within=(0.0, 10.0), points=9)

    def test_rows_are_critical_points(self) -> None:
        seen: list[tuple[int, int]] = []
        line = critical_surface(
            plain(),
            "h.recurrent_gain",
            "h.bias_std",
            np.array([0.3, 0.1]),
            SILENT,
            within=(0.5, 3.0),
            progress=lambda made, most: seen.append((made, most)),
        )
        assert seen == [(0, 2), (1, 2), (2, 2)]
        for row, spread in zip(line.rows, (0.3, 0.1), strict=True):
            alone = critical_point(plain(bias_std=spread), "h.recurrent_gain", SILENT, within=(0.5, 3.0))
            assert row.roots == alone.roots
        assert line.places[:, 0].tolist() == [0.3, 0.1]
        assert line.errors.shape == line.slopes.shape == (2,)

    def test_rows_without_a_root_say_why(self, tmp_path: Path) -> None:
        line = self.surface()
        assert [len(row.roots) for row in line.rows] == [1, 0]
        assert "never 1" in line.rows[1].status
        assert line.places.shape == (1, 2)
        line.save(tmp_path / "line.csv")
        with (tmp_path / "line.csv").open(newline="") as stream:
            first, second = csv.DictReader(stream)
        assert float(first["h.recurrent_gain"]) == line.places[0, 1]
        assert float(first["error"]) == line.errors[0]
        assert first["status"] == "found"
        assert second["h.recurrent_gain"] == ""
        assert second["status"] == line.rows[1].status

    def test_json_and_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.surface()
        found = json.loads(json.dumps(line.as_json(), allow_nan=False))
        assert found["rows"][0]["roots"][0]["value"]["value"] == line.places[0, 1]
        print_table(critical_surface_table(line))
        shown = capsys.readouterr().out
        assert f"{line.places[0, 1]:.12g}" in shown
        assert "never 1" in shown
        point = critical_point(GRU, "h.recurrent_gain", within=(0.0, 10.0), points=9)
        assert json.loads(json.dumps(point.as_json(), allow_nan=False))["roots"][0]["direction"] == "rises"
        print_table(critical_point_table(point))
        assert f"{point.value.value:.12g}" in capsys.readouterr().out

    def test_nothing_critical_makes_empty_arrays(self) -> None:
        line = critical_surface(GRU, "f.bias_std", "h.bias_std", [0.0], within=(0.0, 1.0), points=3)
        assert line.places.shape == (0, 2)
        assert line.errors.shape == (0,)

    @pytest.mark.parametrize(
        ("against", "values", "message"),
        [
            ("h.recurrent_gain", [1.0], "against: must not be the critical parameter"),
            ("*.recurrent_gain", [1.0], "against: must not be the critical parameter"),
            ("h.what", [1.0], "against: must be one of"),
            ("f.bias_mean", [], "values: must be a list"),
            ("f.bias_mean", 1.0, "values: must be a list"),
            ("f.bias_mean", [math.nan], r"values \(f\.bias_mean\): must be a finite number"),
            ("f.bias_std", [-1.0], r"values \(f\.bias_std\): must be at least 0"),
            ("f.bias_mean", ["a"], "values: must be numbers"),
        ],
    )
    def test_bad_requests(self, against: str, values: object, message: str) -> None:
        with pytest.raises(mf.InvalidInput, match=message):
            critical_surface(GRU, "h.recurrent_gain", against, values, within=(0.0, 5.0))  # type: ignore[arg-type]

    def test_a_picture(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        line = self.surface()
        line.plot(tmp_path / "line.svg")
        assert "<svg" in (tmp_path / "line.svg").read_text()
        with pytest.raises(mf.InvalidInput, match="plot"):
            line.plot(tmp_path / "line.nothing")
        with pytest.raises(FileNotFoundError):
            line.plot(tmp_path / "missing" / "line.svg")
        assert [each.name for each in tmp_path.iterdir()] == ["line.svg"]

    def test_a_picture_without_matplotlib(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(mf.InvalidInput, match="pip install matplotlib"):
            self.surface().plot(tmp_path / "line.svg")
