"""Predictions of the untied regime without a population, beside those with one and simulated networks."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from wild_networks import wild_network

import meanfield as mf
from meanfield.cells import find
from meanfield.errors import MeanfieldError
from meanfield.exact_predictions import UntiedPredictions, untied_predictions
from meanfield.validation.recipe_check import validate_network

GATE = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
KEEP = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=1.0, bias_std=0.2)
WIDE = mf.Gate(recurrent_gain=4.0, input_gain=1.0, bias_std=0.2)
CELLS = ["vanilla", "leaky", "minimal", "gru", "gru_reset_after", "janet", "peephole_lstm"]
ONLY_SAMPLED = {"slow_fraction"}


def network(cell: str, ensemble: str = "gaussian") -> mf.Network:
    gates = {"f": KEEP, "z": mf.Gate(0.0, 1.0), "h": WIDE, "g": WIDE}
    if cell == "minimal":
        gates["f"] = mf.Gate(4.0, 0.5, 0.3, 0.2)
    return mf.Network(cell, {name: gates.get(name, GATE) for name in find(cell).gates}, ensemble)


@pytest.mark.parametrize(
    ("cell", "ensemble"), [*((cell, "gaussian") for cell in CELLS), ("vanilla", "orthogonal"), ("gru", "orthogonal")]
)
def test_numbers_are_those_of_a_population(cell: str, ensemble: str) -> None:
    inputs, length = mf.Inputs(overlap=0.5), 6
    exact = untied_predictions(network(cell, ensemble), inputs, length=length)
    sampled = mf.gradients(network(cell, ensemble), inputs, length=length, regime="untied", units=2**14, groups=32)
    numbers = exact.numbers()
    found = {
        "chi": sampled.chi,
        "final_gradient": sampled.first_moment,
        "isometry_defect": sampled.isometry_defect,
        "bias_response": sampled.bias_response,
    }
    if sampled.memory is not None:
        found |= {"memory_path": sampled.memory.at(length), "memory_spread": sampled.memory_spread}
    assert set(found) <= set(numbers)
    for name, number in found.items():
        known = numbers[name]
        assert known is not None
        assert number is not None
        # Groups of 512 units are off by a few parts in a thousand.
        off = 5e-3 * abs(number.value)
        assert abs(known.value - number.value) < 4.0 * number.error + off, name
        assert known.error < 1e-9 * (1.0 + abs(known.value)), name
    assert exact.theory.sensitivity is not None
    for lag in (0, 1, 3, 6):
        one, other = exact.theory.sensitivity.at(lag), sampled.sensitivity.at(lag)
        assert abs(one.value - other.value) < 4.0 * other.error + 5e-3 * other.value


@pytest.mark.parametrize("cell", ["vanilla", "gru", "lstm"])
def test_an_analysis_holds_the_same(cell: str) -> None:
    inputs, length = mf.Inputs(overlap=0.5), 5
    analysis = mf.analyze(network(cell), inputs, length=length, regime="untied", hidden=64, units=512)
    exact = untied_predictions(network(cell), inputs, length=length)
    whole, known = analysis.numbers(), exact.numbers()
    assert list(known) == [name for name in whole if name in known]  # the same order
    assert {name: whole[name] for name in known} == known
    missing = set(whole) - set(known)
    if cell == "lstm":
        assert {"isometry_defect", "memory_path", "eigenvalue_edge"} <= missing
        assert "input_sensitivity" not in exact.profiles_as_json()
    else:
        assert missing == ONLY_SAMPLED
        assert exact.profiles_as_json() == analysis.profiles_as_json()
    singular = {name for name in known if name.startswith("singular")}
    profiles = {"gradient_profile", "input_sensitivity"} & set(exact.profiles_as_json())
    named = set(analysis.without_sampling)
    assert named - {"singular_values"} == set(known) - singular | profiles
    assert ("singular_values" in named) == bool(singular)


def test_the_form_of_a_file() -> None:
    content = untied_predictions(network("gru"), length=7).as_json()
    assert set(content) == {"numbers", "gradient_profile", "input_sensitivity"}
    assert content["numbers"]["chi"].keys() == {"value", "error"}
    assert [row["lag"] for row in content["input_sensitivity"]] == [1, 2, 3, 5, 7]
    growing = untied_predictions(mf.Network("vanilla_relu", {"h": mf.Gate(1.4, 1.0, 0.5)}, "orthogonal"), length=2)
    assert growing.numbers()["timescale"] is not None


def test_the_simulation_of_a_network_agrees() -> None:
    found = validate_network(
        network("peephole_lstm"), length=12, hidden=128, networks=6, spectra=6, regime="untied", seed=1
    )
    names = {each.name for each in found.comparisons}
    assert {"bias_response", "memory_path", "eigenvalue_edge", "input_sensitivity"} <= names
    assert found.agrees


def test_what_no_input_reaches() -> None:
    silent = untied_predictions(network("gru"), mf.Inputs(power=0.0), length=4)
    assert silent.numbers()["second_moment"] is not None
    closed = mf.Network("janet", {"f": mf.Gate(bias_std=1.0), "g": mf.Gate(recurrent_gain=0.5)})
    rows = untied_predictions(closed, length=4).profiles_as_json()["input_sensitivity"]
    assert all(row["value"] == 0.0 and row["log10_value"] is None for row in rows)


def test_reasons_are_given() -> None:
    with pytest.raises(mf.InvalidInput, match="white"):
        untied_predictions(network("gru"), mf.Inputs.padded(signal=2, length=5), length=5)
    with pytest.raises(mf.InvalidInput, match="length: must be a whole number of at least 1, got 0"):
        untied_predictions(network("gru"), length=0)
    with pytest.raises(mf.NotConverged):
        untied_predictions(mf.Network("vanilla_relu", {"h": mf.Gate(2.0, 1.0)}), length=5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cell", [each for each in CELLS if each != "gru_reset_after"])
def test_wild_networks_give_numbers_or_say_why_not(cell: str) -> None:
    generator = np.random.default_rng(100 + CELLS.index(cell))
    for _ in range(6):
        try:
            found = untied_predictions(wild_network(cell, generator), length=20)
        except MeanfieldError:
            continue
        _make_sense(found)


def _make_sense(found: UntiedPredictions) -> None:
    numbers = found.numbers()
    for name in ("bias_response", "memory_path", "memory_spread", "eigenvalue_edge"):
        number = numbers.get(name)
        if number is not None and math.isfinite(number.value):
            assert 0.0 <= number.error <= 1e-5 * (1e-6 + number.value), name
    if found.theory.sensitivity is not None:
        assert np.max(found.theory.sensitivity.relative_errors) <= 0.2


def test_is_fast() -> None:
    def once() -> float:
        start = time.process_time()
        untied_predictions(network("gru"), length=100)
        return time.process_time() - start

    once()
    assert min(once() for _ in range(3)) < 0.25  # 0.05 s where nothing else runs
