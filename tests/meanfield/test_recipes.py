"""Designed recipes: reproducible, obeyed by simulated networks, and refused where they cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.errors import Infeasible, InvalidInput


@pytest.fixture(scope="module")
def recipe() -> mf.Recipe:
    return mf.recipe("lstm", length=60, hidden=128, inputs=10, units=1024)


def test_the_same_request_gives_the_same_recipe(recipe: mf.Recipe) -> None:
    again = mf.recipe("lstm", length=60, hidden=128, inputs=10, units=1024)
    assert again.text() == recipe.text()
    other = mf.recipe("lstm", length=60, hidden=128, inputs=10, units=1024, seed=1)
    assert other.content.request_hash != recipe.content.request_hash


def test_terms_add_up_and_binding_penalties_are_named(recipe: mf.Recipe) -> None:
    method = recipe.content.method
    assert math.fsum(method.terms.values()) == pytest.approx(method.value)
    assert set(method.binding) == {k for k, v in method.terms.items() if v < 0 and k not in ("signal", "drive")}


def test_the_search_improves_on_its_scan_and_stays_in_its_ranges() -> None:
    seen: list[float] = []
    found = mf.recipe(
        "gru_reset_after", length=40, hidden=64, inputs=8, units=256, progress=lambda k, n, b: seen.append(b)
    )
    assert seen == sorted(seen)
    assert seen[-1] > seen[1]  # the scan is over
    parameters = found.content.method.parameters
    assert math.log(20) <= parameters["keep_bias"] <= math.log(160)
    assert 0.3 <= parameters["write_drive"] <= 6.0 + 1e-12
    assert 0.3 <= parameters["content_drive"] <= 3.0 + 1e-12


def test_inputs_reach_farther_than_with_the_default(recipe: mf.Recipe) -> None:
    rows = recipe.content.predictions.input_sensitivity
    default = recipe.content.defaults.predictions.input_sensitivity
    assert rows[-1].lag == 59
    assert rows[-1].log10_value is not None
    assert default[-1].log10_value is not None
    assert rows[-1].log10_value > default[-1].log10_value + 10


def test_sampled_weights_have_the_laws_of_the_recipe(recipe: mf.Recipe) -> None:
    weights = recipe.sample(seed=3)
    assert list(weights) == ["i", "f", "g", "o"]
    for gate, laws in recipe.content.gates.items():
        for name, law in (("recurrent", laws.recurrent), ("input", laws.input)):
            assert law is not None
            matrix = weights[gate][name]
            assert matrix.shape == (128, 128 if name == "recurrent" else 10)
            assert abs(matrix.std() / law.std - 1) < 4 / math.sqrt(2 * matrix.size)
        assert np.all(weights[gate]["bias"] == laws.bias.mean)
    np.testing.assert_array_equal(weights["i"]["input"], recipe.sample(seed=3)["i"]["input"])
    assert not np.array_equal(weights["i"]["input"], recipe.sample(seed=4)["i"]["input"])


def test_measured_data_are_designed_for() -> None:
    data = np.random.default_rng(0).normal(size=(6, 30, 5))
    data[:, 8:] *= 0.1
    found = mf.recipe("gru", length=30, hidden=64, inputs=mf.Inputs.from_data(data), units=256)
    assert found.content.task.inputs.kind == "data"
    assert found.content.task.input_size == 5
    other = mf.recipe("gru", length=30, hidden=64, inputs=mf.Inputs.from_data(data + 1e-3), units=256)
    assert other.content.request_hash != found.content.request_hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "vanilla_erf"}, "cell: recipes are designed for lstm, .*, leaky; got 'vanilla_erf'"),
        ({"objective": "fame"}, "objective: must be one of 'learn', 'isometry', got 'fame'"),
        ({"regime": "untied"}, "regime: learning is of tied weights"),
        ({"ensemble": "goe"}, "ensemble: must be one of 'gaussian', 'orthogonal', 'svd', got 'goe'"),
        ({"budget": 0.0}, "budget: must be above 0 seconds, got 0"),
        ({"layers": 0}, "layers: must be a whole number of at least 1, got 0"),
        ({"inputs": mf.Inputs.from_data(np.ones((4, 10, 3)))}, "data: all sequences are the same over the 10 steps"),
        ({"length": 0}, "length: must be a whole number of at least 1, got 0"),
        ({"hidden": 0}, "hidden: must be a whole number of at least 1, got 0"),
        ({"inputs": 0}, "inputs: must be a whole number of at least 1"),
        ({"inputs": mf.Inputs()}, r"inputs: a recipe is for a layer of given input size"),
        ({"inputs": mf.Inputs(size=3, overlap=1.0)}, "overlap: must be below 1"),
        ({"inputs": mf.Inputs.padded(signal=2, length=5, size=3)}, "length: must not exceed the 5 steps"),
        ({"inputs": mf.Inputs.from_data(np.ones((2, 20, 3)))}, "data: a recipe needs at least 3 sequences, got 2"),
        ({"seed": -1}, "seed: must be a whole number of at least 0"),
        ({"units": 8}, "units: must be a whole number of at least 64"),
    ],
)
def test_bad_requests_are_refused(arguments: dict[str, object], message: str) -> None:
    request: dict[str, object] = {"cell": "lstm", "length": 10, "hidden": 32, "inputs": 4} | arguments
    with pytest.raises(InvalidInput, match=message):
        mf.recipe(request.pop("cell"), **request)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (mf.Inputs(power=0.0, size=4), "no initialisation can pass a signal on: the inputs' peak power is 0"),
        (
            mf.Inputs.padded(signal=2, length=120, power=1.0, padding_power=900.0, size=4),
            "no parameters satisfy the (memory|signal) constraint",
        ),
    ],
)
def test_requests_that_cannot_be_satisfied_name_the_constraint(inputs: mf.Inputs, message: str) -> None:
    with pytest.raises(Infeasible, match=message):
        mf.recipe("gru_reset_after", length=inputs.length or 40, hidden=32, inputs=inputs, units=256)
