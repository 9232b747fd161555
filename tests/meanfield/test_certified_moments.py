"""m1 and m2 in certificates: closed forms, exact fractions, wrong numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cells import Cell, register, unregister
from meanfield.certificates import Certificate, CertifiedNumber, certify
from meanfield.cli import app
from meanfield.precise_moments import precise_moments
from meanfield.precise_solution import precise_law, working_digits
from meanfield.sampling.cell import Field
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.solvers.random_words import Word, moment

GATE = mf.Gate(recurrent_gain=1.2, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
GATES = {"vanilla": "h", "vanilla_erf": "h", "leaky": "h", "gru": "frh", "peephole_lstm": "ifg", "janet": "fg"}
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)


def network(cell: str) -> mf.Network:
    if cell == "minimal":
        return mf.Network(cell, {"f": GATE, "z": mf.Gate(input_gain=1.0, bias_mean=0.2, bias_std=0.3)})
    if cell == "vanilla_relu":
        return mf.Network(cell, {"h": mf.Gate(recurrent_gain=0.8, input_gain=0.5, bias_mean=0.2, bias_std=0.3)})
    return mf.Network(cell, dict.fromkeys(GATES[cell], GATE))


def number(certificate: Certificate, name: str) -> CertifiedNumber:
    (found,) = (each for each in certificate.numbers if each.name == name)
    return found


def certified(given: mf.Network, inputs: mf.Inputs | None = None, digits: int = 30) -> Certificate:
    return certify(mf.fixed_points(given, inputs if inputs is not None else mf.Inputs(overlap=1.0)), digits=digits)


class TestBoundsHold:
    @pytest.mark.parametrize("cell", [*GATES, "minimal", "vanilla_relu"])
    def test_every_cell(self, cell: str) -> None:
        certificate = certified(network(cell), digits=22)
        first, second = number(certificate, "m1"), number(certificate, "m2")
        assert first.holds
        assert second.holds
        assert max(first.reference_error, second.reference_error) < 1e-20
        assert max(first.bound, second.bound) < 1e-12
        # Price's theorem and the sum over partitions agree on χ_1.
        assert abs(mp.mpf(first.reference) - mp.mpf(number(certificate, "chi").reference)) < 1e-20

    @pytest.mark.parametrize(("cell", "seed"), [("vanilla", 0), ("vanilla", 1), ("janet", 0), ("leaky", 0)])
    def test_random_networks(self, cell: str, seed: int) -> None:
        draw = np.random.default_rng([seed, len(cell)]).uniform
        gates = {gate: mf.Gate(draw(0.1, 2.0), draw(0.0, 1.5), draw(-1.0, 3.0), draw(0.0, 0.5)) for gate in GATES[cell]}
        assert certified(mf.Network(cell, gates), digits=20).holds

    def test_long_memory(self) -> None:
        bias = 20.0
        certificate = certified(mf.Network("janet", {"f": mf.Gate(0.3, 0.2, bias), "g": GATE}), digits=25)
        assert certificate.holds
        with mp.workdps(40):
            # m2 - m1² is of the order of what is lost, and positive.
            first, second = (mp.mpf(number(certificate, name).reference) for name in ("m1", "m2"))
            assert 0 < second - first**2 < 100 * mp.exp(-2 * bias)

    @pytest.mark.parametrize(("matrices", "spread"), [("orthogonal", 0), (mf.Ensemble("svd", 2.0, 0.5), None)])
    def test_matrices_that_are_not_gaussian(self, matrices: mf.Ensemble | str, spread: float | None) -> None:
        """No skip path: m1 = σ² E φ'², m2 = σ⁴ (E φ'⁴ + κ (E φ'²)²) with the spread κ of the matrices."""
        turned = mf.Network("vanilla_erf", {"h": mf.Gate(recurrent_gain=0.4, input_gain=0.5)}, matrices)
        found = mf.fixed_points(turned, mf.Inputs(overlap=1.0))
        certificate = certify(found, digits=20)
        assert certificate.holds
        assert {each.name for each in certificate.numbers} >= {"m1", "m2"}
        with mp.workdps(working_digits(turned, 30)):
            mean, square = found.law.mean.value, found.law.second_moment.value
            first, second = precise_moments(precise_law(turned, mf.Inputs(), mean, square, 30))
            slope4, slope2 = erf_law(turned)
            gain = mp.mpf(turned.laws["h"].recurrent_gain) ** 2
            spread = turned.spread_of_matrices if spread is None else spread
            assert abs(first.value - gain * slope2) <= first.error + mp.mpf(10) ** -30
            assert abs(second.value - gain**2 * (slope4 + spread * slope2**2)) <= second.error + mp.mpf(10) ** -30


def erf_law(given: mf.Network) -> tuple[Any, Any]:
    """E φ'⁴ and E φ'² of the error-function network."""
    gate = given.laws["h"]
    gain, drive = mp.mpf(gate.recurrent_gain) ** 2, mp.mpf(gate.input_gain) ** 2
    square = mpmath.findroot(lambda q: q - 2 / mp.pi * mp.asin(1 - 1 / (1 + 2 * (gain * q + drive))), 0.3)
    variance = gain * square + drive
    return 16 / mp.pi**2 / mp.sqrt(1 + 8 * variance), 4 / mp.pi / mp.sqrt(1 + 4 * variance)


class TestClosedForms:
    def test_error_functions(self) -> None:
        plain = mf.Network("vanilla_erf", {"h": mf.Gate(recurrent_gain=1.25, input_gain=0.5)})
        certificate = certified(plain, digits=40)
        with mp.workdps(50):
            slope4, slope2 = erf_law(plain)
            gain = mp.mpf("1.5625")
            exact = gain**2 * (slope4 + slope2**2)
            assert abs(mp.mpf(number(certificate, "m2").reference) - exact) < 1e-38
            assert abs(mp.mpf(number(certificate, "m1").reference) - gain * slope2) < 1e-38

    def test_rectified_units(self) -> None:
        """Without biases half of the units respond: σ²/2 and σ⁴ (1/2 + 1/4)."""
        certificate = certified(mf.Network("vanilla_relu", {"h": mf.Gate(recurrent_gain=0.75, input_gain=0.5)}))
        assert exactly(certificate, "m1", Fraction(9, 16) / 2)
        assert exactly(certificate, "m2", Fraction(9, 16) ** 2 * Fraction(3, 4))

    @pytest.mark.parametrize("gain", [Fraction(1, 2), Fraction(3, 4)])
    @pytest.mark.parametrize("cell", ["vanilla", "gru", "janet", "peephole_lstm"])
    def test_rest_in_fractions(self, cell: str, gain: Fraction) -> None:
        """At the zero state all coefficients are rational: sums over partitions in exact arithmetic."""
        certificate = certified_at_rest(cell, gain)
        skip, write, read = {
            "vanilla": (Fraction(0), Fraction(1), Fraction(1)),
            "gru": (HALF, HALF, HALF),
            "janet": (HALF, HALF, Fraction(1)),
            "peephole_lstm": (HALF, HALF, Fraction(1)),
        }[cell]
        words = [Word((("D",),), ()), Word((("A",), ("P",)), ("W",))]
        values = {"D": skip, "A": write, "P": read}
        for order, name in ((1, "m1"), (2, "m2")):
            exact = moment(words, order, lambda region: math.prod(values[each] for each in region), {"W": [gain**2]})
            assert exact == rest_formula(order, skip, gain * write * read)
            assert exactly(certificate, name, Fraction(exact))

    def test_linear_steps_are_fractions_too(self) -> None:
        """Linear maps with a carrier that is half of the state: three words, all rational."""
        register(_Linear())
        try:
            gates = {"h": mf.Gate(recurrent_gain=0.5, bias_std=1.0), "k": mf.Gate(recurrent_gain=0.25)}
            certificate = certified(mf.Network(_Linear.name, gates), mf.Inputs(power=0.0))
        finally:
            unregister(_Linear.name)
        words = [Word((("D",),), ()), Word(((), ()), ("h",)), Word(((), ("P",)), ("k",))]
        values = {"D": HALF, "P": HALF}
        cumulants = {"h": [QUARTER], "k": [Fraction(1, 16)]}
        for order, name in ((1, "m1"), (2, "m2")):
            exact = moment(words, order, lambda region: math.prod(values[each] for each in region), cumulants)
            assert exactly(certificate, name, Fraction(exact))


def rest_formula(order: int, skip: Fraction, gain: Fraction) -> Fraction:
    """m1 and m2 of d + g W."""
    return skip**2 + gain**2 if order == 1 else skip**4 + 4 * skip**2 * gain**2 + 2 * gain**4


def certified_at_rest(cell: str, gain: Fraction) -> Certificate:
    gates = {gate: mf.Gate(recurrent_gain=float(gain)) for gate in GATES[cell]}
    return certified(mf.Network(cell, gates), mf.Inputs(power=0.0))


def exactly(certificate: Certificate, name: str, value: Fraction) -> bool:
    """Whether a reference is this fraction to 28 digits."""
    with mp.workdps(40):
        reference = mp.mpf(number(certificate, name).reference)
        return abs(reference - mp.mpf(value.numerator) / value.denominator) <= mp.mpf(10) ** -28 * abs(reference)


class _Linear(Cell):
    """s = s_-/2 + u_h + u_k, where u_k reads s_-/2."""

    name, gates, keep_gate = "linear_for_certificates", ("h", "k"), None
    fields = (Field("h", "h"), Field("k", "k", carrier=1))

    def carrier(self, index: int, state: Any, fields: Any, drives: Any) -> Any:
        return state[0] if index == 0 else 0.5 * state[0]

    def update(self, state: Any, fields: Any, drives: Any) -> Any:
        return (0.5 * state[0] + fields["h"] + drives["h"] + fields["k"] + drives["k"],)

    def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
        return LinearCircuit(
            state_to_state=((0.5,),),
            field_to_state=((1.0, 1.0),),
            state_to_carrier=((1.0,), (0.5,)),
            field_to_carrier=((0.0, 0.0), (0.0, 0.0)),
            drive_to_state=((1.0, 1.0),),
            drive_to_carrier=((0.0, 0.0), (0.0, 0.0)),
        )


class TestWrongNumbers:
    @pytest.mark.parametrize(("name", "profile"), [("m1", "first_moments"), ("m2", "second_moments")])
    def test_numbers_that_are_off_are_found(self, name: str, profile: str) -> None:
        janet = network("janet")
        found, isometry = mf.fixed_points(janet, mf.Inputs(overlap=1.0)), mf.untied_isometry(janet)
        given, share = getattr(isometry, profile), 1e-11
        wrong = replace(isometry, **{profile: replace(given, log_values=given.log_values + share)})
        certificate = certify(found, digits=20, isometry=wrong)
        assert [each.name for each in certificate.numbers if not each.holds] == [name]
        assert number(certificate, name).distance == pytest.approx(share * number(certificate, name).value, rel=1e-3)

    def test_bounds_that_are_too_small_are_found(self) -> None:
        janet = network("janet")
        isometry = mf.untied_isometry(janet)
        second = isometry.second_moments
        moved = replace(second, log_values=second.log_values + 1e-12, relative_errors=second.relative_errors * 0.0)
        found = mf.fixed_points(janet, mf.Inputs(overlap=1.0))
        certificate = certify(found, digits=20, isometry=replace(isometry, second_moments=moved))
        assert [each.name for each in certificate.numbers if not each.holds] == ["m2"]


class TestErrors:
    def test_references_with_more_digits_are_within_their_errors(self) -> None:
        gru, inputs = network("gru"), mf.Inputs()
        law = mf.fixed_points(gru, inputs).law
        found = []
        for digits in (12, 26):
            with mp.workdps(working_digits(gru, 26)):
                precise = precise_law(gru, inputs, law.mean.value, law.second_moment.value, digits)
                found.append(precise_moments(precise))
        for coarse, fine in zip(*found, strict=True):
            assert abs(coarse.value - fine.value) <= coarse.error + fine.error
            assert fine.error < 1e-23 < coarse.error < 1e-15

    def test_errors_of_the_law_are_passed_on(self) -> None:
        """With E s² moved by its error, m1 and m2 move by less than their errors, and not by far less."""
        gru, inputs = network("gru"), mf.Inputs(overlap=1.0)
        law = mf.fixed_points(gru, inputs).law
        off = mp.mpf("1e-12")
        with mp.workdps(working_digits(gru, 25)):
            right = precise_law(gru, inputs, law.mean.value, law.second_moment.value, 25)
            square = right.second_moment
            told = replace(right, second_moment=replace(square, error=off))
            copies = replace(right.copies, product=square.value + off, _matrices={}, _covariances={})
            moved = replace(right, second_moment=replace(square, value=square.value + off), copies=copies)
            pairs = list(zip(precise_moments(told), precise_moments(moved), strict=True))
        for stated, seen in pairs:
            distance = abs(stated.value - seen.value)
            assert distance < stated.error < 100 * distance


class TestRefusals:
    def test_without_a_fourth_moment_there_are_no_rows(self) -> None:
        """A memory that is multiplied by a normal number: E D² = 0.6 and E D⁴ = 1.08."""
        register(_Multiplied())
        try:
            gates = {"f": mf.Gate(bias_std=math.sqrt(0.6)), "h": mf.Gate(recurrent_gain=0.1, bias_std=1.0)}
            heavy = mf.Network(_Multiplied.name, gates)
            with pytest.raises(mf.NotConverged):
                mf.untied_isometry(heavy)
            certificate = certified(heavy, digits=20)
        finally:
            unregister(_Multiplied.name)
        assert certificate.holds
        assert {each.name for each in certificate.numbers}.isdisjoint({"m1", "m2"})


class _Multiplied(Cell):
    """s = b_f s_- + tanh u_h."""

    name, gates, keep_gate = "multiplied_for_certificates", ("f", "h"), None
    fields = (Field("h", "h"),)

    def update(self, state: Any, fields: Any, drives: Any) -> Any:
        return (drives["f"] * state[0] + np.tanh(fields["h"] + drives["h"]),)

    def circuit(self, state: Any, fields: Any, drives: Any) -> Any:
        slope = 1.0 - np.tanh(fields["h"] + drives["h"]) ** 2
        return LinearCircuit(
            state_to_state=((drives["f"],),),
            field_to_state=((slope,),),
            state_to_carrier=((1.0,),),
            field_to_carrier=((0.0,),),
            drive_to_state=((state[0], slope),),
            drive_to_carrier=((0.0, 0.0),),
        )


def test_the_command_has_them(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(mf.Network("vanilla", {"h": mf.Gate(1.2, 0.5)}).as_json()))
    done = CliRunner().invoke(app, ["fixed-points", str(path), "--overlap", "1", "--certify", "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["certificate"]
    rows = {each["name"]: each for each in found["numbers"]}
    assert rows["m1"]["reference"].startswith("0.7476677476347643")
    assert rows["m2"]["holds"] is True
