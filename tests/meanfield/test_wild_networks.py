"""Networks far from anything sensible: right numbers, or an error that says what to do; never NaN, never a warning."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find, names
from meanfield.errors import NotConverged


def wild_network(cell: str, rng: np.random.Generator) -> mf.Network:
    definition = find(cell)
    used = {(field.gate, field.gain) for field in definition.fields} | {
        (gate, "input_gain") for gate in definition.input_gates
    }
    gates = {}
    for gate in definition.gates:
        laws = {"bias_mean": float(rng.choice([0, 1, -3, 5, 12, 50, -50])), "bias_std": float(rng.choice([0, 0.2, 3]))}
        for gain in ("recurrent_gain", "input_gain"):
            if (gate, gain) in used:
                laws[gain] = float(rng.choice([0, 1e-3, 0.5, 1, 3, 10]))
        if gate in definition.recurrent_bias_gates:
            laws["recurrent_bias_std"] = float(rng.choice([0, 0.5, 5]))
        gates[gate] = mf.Gate(**laws)
    return mf.Network(cell, gates)


@pytest.mark.parametrize("cell", names())
@pytest.mark.parametrize("regime", ["tied", "untied"])
def test_wild_parameters(cell: str, regime: str) -> None:
    rng = np.random.default_rng([7, *cell.encode(), len(regime)])
    analysed, reasons = 0, []
    for _ in range(12):
        network = wild_network(cell, rng)
        length = int(rng.choice([1, 2, 3, 20]))
        inputs = mf.Inputs(
            float(rng.choice([0, 1e-6, 1, 100])), float(rng.choice([-1, 0, 0.5, 1])), int(rng.choice([0, 1, 5, 40]))
        )
        hidden = int(rng.choice([1, 16, 64]))
        try:
            found = mf.analyze(
                network,
                inputs,
                length=length,
                hidden=hidden,
                units=128,
                regime=regime,
                start="zero",  # type: ignore[arg-type]
            )
        except NotConverged as error:
            reasons.append(str(error))
            continue
        analysed += 1
        assert json.loads(json.dumps(found.as_json(), allow_nan=False))["length"] == length
    assert all("finite numbers" in reason for reason in reasons), reasons
    assert analysed >= (4 if cell == "vanilla_relu" else 9)


@pytest.mark.parametrize("bias", [20.0, -20.0, 40.0])
def test_gradients_of_saturated_units_are_small_and_not_lost(bias: float) -> None:
    """G(τ) = (σ² φ'(b)²)^τ, with φ'(b) = 4 exp(-2|b|) up to its square: down to 1e-350 here."""
    network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1e-3, bias_mean=bias)})
    found = mf.gradients(network, mf.Inputs(power=0.0), length=5, units=2048, start="zero")
    slope = math.log10(4.0) - 2.0 * abs(bias) * math.log10(math.e)
    for lag in (1, 5):
        expected = lag * (-6.0 + 2.0 * slope)
        error = float(found.profile.relative_errors[lag]) / math.log(10.0)
        # Slopes below 1e-38 are held in single precision with a few digits.
        assert abs(found.profile.log10_at(lag) - expected) < 4 * error + 0.01 * lag


@pytest.mark.parametrize("keep_bias", [7.0, 12.0])
def test_memory_of_nearly_closed_gates(keep_bias: float) -> None:
    """f = σ(b) for every unit: E Π f² = f^(2T), 1 - f relative to what single precision would round away."""
    network = mf.Network("lstm", {"i": mf.Gate(), "f": mf.Gate(bias_mean=keep_bias), "g": mf.Gate(), "o": mf.Gate()})
    found = mf.gradients(network, mf.Inputs(power=0.0), length=100, units=128, start="zero")
    assert found.memory is not None
    lost = -math.expm1(float(found.memory.log_values[100]))
    exact = -math.expm1(-200.0 * math.log1p(math.exp(-keep_bias)))
    # f itself is held in single precision: an error of 6e-8 a step.
    assert abs(lost - exact) < 200 * 6e-8
