"""Certificates: bounds that hold are certified, wrong numbers are not."""

from __future__ import annotations

import builtins
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp
from rich.console import Console

import meanfield as mf
from meanfield.cells import Cell, find, register, unregister
from meanfield.certificate_report import certificate_table
from meanfield.certificates import Certificate, CertifiedNumber, certify
from meanfield.precise_cells import precise_cell
from meanfield.precise_copies import Copies
from meanfield.precise_solution import precise_law, working_digits
from meanfield.sampling.expressions import Expression, UnknownOperation, erf, evaluate, relu, sigmoid, symbol, tanh
from meanfield.sampling.precise_formulas import changes, precise_function
from meanfield.sampling.separated import NotSeparable, separated

GATE = mf.Gate(recurrent_gain=1.2, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
GATES = {"vanilla": "h", "vanilla_erf": "h", "leaky": "h", "gru": "frh", "peephole_lstm": "ifg", "janet": "fg"}


def network(cell: str) -> mf.Network:
    if cell == "minimal":
        return mf.Network(cell, {"f": GATE, "z": mf.Gate(input_gain=1.0, bias_mean=0.2, bias_std=0.3)})
    if cell == "vanilla_relu":
        return mf.Network(cell, {"h": mf.Gate(recurrent_gain=0.8, input_gain=0.5, bias_mean=0.2, bias_std=0.3)})
    return mf.Network(cell, dict.fromkeys(GATES[cell], GATE))


def number(certificate: Certificate, name: str, point: int | None = None) -> CertifiedNumber:
    (found,) = (each for each in certificate.numbers if (each.name, each.point) == (name, point))
    return found


class TestFormulas:
    @pytest.mark.parametrize("place", [-30.0, -0.4, 0.7, 30.0])
    def test_values_are_those_of_numpy_and_slopes_those_of_mpmath(self, place: float) -> None:
        u = symbol("u")
        formulas = [
            sigmoid(u)[1] * tanh(u)[0],
            erf(u)[0] / (np.sqrt(u * u + 1.0) - 3.0),
            relu(2.0 * u - 1.0)[0] - np.minimum(u, -u * u),
            relu(u)[1] * tanh(u)[1],
        ]
        with mp.workdps(60):
            found = precise_function(formulas, "u", slopes=True)(mp.mpf(place))
            for plain, value in zip(evaluate(formulas, {"u": np.array(place)}), found, strict=False):
                assert float(value) == pytest.approx(float(plain), rel=1e-13)
            for index, slope in enumerate(found[4:]):
                one = precise_function([formulas[index]], "u")
                assert abs(mpmath.diff(lambda x, f=one: f(x)[0], place) - slope) <= 1e-15 * abs(slope)

    def test_slopes_of_saturated_functions_keep_their_digits(self) -> None:
        with mp.workdps(40):
            (_, slope) = precise_function([symbol("u") * 0.0 + tanh(symbol("u"))[0]], "u", slopes=True)(mp.mpf(90))
            assert abs(slope / mp.sech(90) ** 2 - 1) < 1e-35

    def test_unknown_operations_are_named(self) -> None:
        with pytest.raises(UnknownOperation, match="'cube'"):
            precise_function([Expression("cube", (symbol("u"),), "")], "u")
        with pytest.raises(UnknownOperation, match="read v"):
            precise_function([symbol("u") + symbol("v")], "u")

    def test_places(self) -> None:
        u = symbol("u")
        found = changes([tanh(3.0 * u - 1.5)[0], np.maximum(u, 2.0), u * u], "u")
        assert [(float(each.centre), each.kink) for each in found] == [(0.5, False), (2.0, True)]
        assert found[0].width == pytest.approx(math.pi / 6, rel=1e-3)

    def test_products(self) -> None:
        x, y, z = (symbol(name) for name in "xyz")
        formula = (np.tanh(x) + 2.0) * (y - z) / (3.0 * x) - (-z)
        values = {"x": np.array(0.3), "y": np.array(-0.8), "z": np.array(1.9)}
        total = sum(
            each.factor * math.prod(float(evaluate([part], values)[0]) for part in each.parts.values())
            for each in separated(formula)
        )
        assert total == pytest.approx(float(evaluate([formula], values)[0]), rel=1e-14)
        for mixed in (np.tanh(x + y), x / (y + z)):
            with pytest.raises(NotSeparable):
                separated(mixed)


class TestBoundsHold:
    @pytest.mark.parametrize("cell", [*GATES, "minimal", "vanilla_relu"])
    def test_every_cell(self, cell: str) -> None:
        # Copies that are the same need no second integral; test_overlaps has those.
        certificate = certify(mf.fixed_points(network(cell), mf.Inputs(overlap=1.0)), digits=22)
        assert certificate.holds
        assert {each.name for each in certificate.numbers} >= {"mean", "second_moment", "chi", "overlap"}
        assert all(each.reference_error < 1e-19 for each in certificate.numbers)
        growth, slope = number(certificate, "chi"), number(certificate, "overlap_slope", len(_points(certificate)) - 1)
        assert growth.reference[:18] == slope.reference[:18]

    @pytest.mark.parametrize("cell", ["vanilla", "gru"])
    def test_overlaps(self, cell: str) -> None:
        made: list[tuple[int, int]] = []
        found = mf.fixed_points(network(cell), mf.Inputs(overlap=0.5))
        certificate = certify(found, digits=20, progress=lambda *parts: made.append(parts))
        assert certificate.holds
        point = number(certificate, "overlap", 0)
        assert point.reference_error < 1e-16 < found.overlaps[0].overlap.error == point.bound
        assert made[0] == (0, 2)
        assert made[-1] == (2, 2)

    def test_chaos(self) -> None:
        chaotic = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=3.0)})
        certificate = certify(mf.fixed_points(chaotic, mf.Inputs(power=0.0)), digits=20)
        assert certificate.holds
        assert [round(float(number(certificate, "overlap", index).reference)) for index in range(3)] == [-1, 0, 1]

    def test_a_closed_form(self) -> None:
        """The error-function network: Q = 2/π asin(2v/(1+2v)), χ_1 = 4σ²/(π √(1+4v)), v = σ²Q + ν²."""
        plain = mf.Network("vanilla_erf", {"h": mf.Gate(recurrent_gain=1.25, input_gain=0.5)})
        certificate = certify(mf.fixed_points(plain, mf.Inputs(overlap=1.0)), digits=40)
        with mp.workdps(50):
            square = mpmath.findroot(
                lambda q: q - 2 / mp.pi * mp.asin(1 - 1 / (1 + 2 * (mp.mpf("1.5625") * q + mp.mpf("0.25")))), 0.5
            )
            growth = mp.mpf("6.25") / (mp.pi * mp.sqrt(2 + mp.mpf("6.25") * square))
            assert abs(mp.mpf(number(certificate, "second_moment").reference) - square) < 1e-39
            assert abs(mp.mpf(number(certificate, "chi").reference) - growth) < 1e-38

    def test_slopes_are_derivatives_of_the_map(self) -> None:
        digits = 16
        gru, inputs = network("gru"), mf.Inputs(overlap=0.3)
        law = mf.fixed_points(gru, inputs).law
        with mp.workdps(working_digits(gru, digits)):
            single = precise_law(gru, inputs, law.mean.value, law.second_moment.value, digits)
            mean, square = single.mean.value, single.second_moment.value
            step = square / 2**16
            ahead, here, behind = (
                Copies(gru, inputs, single.copies.cell, mean, square / 2 + sign * step, digits, single.copies)
                for sign in (1, 0, -1)
            )
            slope = 1 + (ahead.change().value - behind.change().value) / (2 * step)
            assert abs(slope - here.slope().value) < 1e-8
            assert abs(1 - here.lacking().value - here.slope().value) < 1e-15

    def test_zero_state(self) -> None:
        small = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)})
        certificate = certify(mf.fixed_points(small, mf.Inputs(power=0.0)))
        assert certificate.holds
        assert certificate.unvaried
        assert number(certificate, "chi").reference.startswith("0.25000")
        assert {each.point for each in certificate.numbers} == {None}

    def test_long_memory(self) -> None:
        gates = {"f": mf.Gate(bias_mean=60.0), "g": mf.Gate(input_gain=1.0)}
        certificate = certify(mf.fixed_points(mf.Network("janet", gates), mf.Inputs(overlap=1.0)), digits=30)
        assert certificate.holds
        with mp.workdps(60):
            exact = -1 / (2 * mp.log1p(-1 / (1 + mp.exp(60))))
            found = number(certificate, "timescale")
            assert abs(mp.mpf(found.reference) - exact) <= mp.mpf(10) ** -29 * exact


@pytest.fixture
def right() -> mf.FixedPoints:
    return mf.fixed_points(network("janet"), mf.Inputs(overlap=1.0))


class TestWrongNumbers:
    @pytest.mark.parametrize("name", ["mean", "second_moment"])
    def test_moments(self, right: mf.FixedPoints, name: str) -> None:
        estimate = getattr(right.law, name)
        law = replace(right.law, **{name: replace(estimate, value=estimate.value + 3.0 * estimate.error)})
        certificate = certify(replace(right, law=law), digits=20)
        assert not certificate.holds
        assert [each.name for each in certificate.numbers if not each.holds] == [name]

    def test_growth(self, right: mf.FixedPoints) -> None:
        chi = mf.Estimate(right.growth.chi.value * (1.0 + 1e-9), 1e-12)
        certificate = certify(replace(right, growth=replace(right.growth, chi=chi)), digits=20)
        assert [each.name for each in certificate.numbers if not each.holds] == ["chi"]

    def test_bounds_that_are_too_small(self, right: mf.FixedPoints) -> None:
        mean = replace(right.law.mean, value=right.law.mean.value + 1e-13, error=1e-14)
        certificate = certify(replace(right, law=replace(right.law, mean=mean)), digits=20)
        found = number(certificate, "mean")
        assert not found.holds
        assert found.distance == pytest.approx(1e-13, rel=0.1)

    def test_overlaps(self) -> None:
        found = mf.fixed_points(network("vanilla"), mf.Inputs(overlap=0.5))
        (point,) = found.overlaps
        moved = replace(point, overlap=mf.Estimate(point.overlap.value + 1e-6, point.overlap.error))
        certificate = certify(replace(found, overlaps=(moved,)), digits=30)
        assert [each.name for each in certificate.numbers if not each.holds] == ["overlap"]
        assert number(certificate, "overlap", 0).distance == pytest.approx(1e-6, rel=1e-6)


class TestReport:
    def test_json_and_table(self) -> None:
        certificate = certify(mf.fixed_points(network("leaky"), mf.Inputs(overlap=1.0)), digits=40)
        content = json.loads(json.dumps(certificate.as_json(), allow_nan=False))
        assert content["holds"] is True
        assert content["digits"] == 40
        assert content["numbers"][0]["name"] == "mean"
        assert len(content["numbers"][0]["reference"]) >= 40
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(certificate_table(certificate))
        text = console.export_text()
        assert "Every bound holds." in text
        assert "overlap, point 1" in text
        wrong = replace(certificate, numbers=(replace(certificate.numbers[0], distance=1.0), *certificate.numbers[1:]))
        console.print(certificate_table(wrong))
        assert f"1 of {len(wrong.numbers)} bounds do not hold." in console.export_text()


class TestRefusals:
    def test_cells(self) -> None:
        after = mf.Network("gru_reset_after", dict.fromkeys("frh", GATE))
        with pytest.raises(mf.InvalidInput, match=r"gru_reset_after.*'tanh' mixes"):
            certify(mf.fixed_points(after))
        with pytest.raises(mf.InvalidInput, match="one state variable"):
            precise_cell(find("lstm"))

    def test_states_that_are_not_affine(self, squared: str) -> None:
        with pytest.raises(mf.InvalidInput, match="not affine"):
            precise_cell(find(squared))

    @pytest.fixture
    def squared(self) -> Iterator[str]:
        class Squared(Cell):
            name, gates, keep_gate = "squared_for_certificates", ("h",), None

            def update(self, state: Any, fields: Any, drives: Any) -> Any:
                return (state[0] * state[0] + np.tanh(fields["h"] + drives["h"]),)

            def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
                return self.simple_circuit(((2.0 * state[0],),), ((1.0,),))

        register(Squared())
        yield Squared.name
        unregister(Squared.name)

    def test_digits(self) -> None:
        with pytest.raises(mf.InvalidInput, match="digits"):
            certify(mf.fixed_points(network("vanilla")), digits=10)

    def test_without_mpmath(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found, plain = mf.fixed_points(network("vanilla")), builtins.__import__

        def missing(name: str, *arguments: Any, **options: Any) -> Any:
            if name.split(".")[0] == "mpmath":
                raise ImportError(name)
            return plain(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(mf.InvalidInput, match="pip install mpmath"):
            certify(found)


def _points(certificate: Certificate) -> set[int]:
    return {each.point for each in certificate.numbers if each.point is not None}
