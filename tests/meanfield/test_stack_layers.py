"""What the layers of a recipe read: the very sequences that they were designed and predicted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield as mf
from meanfield.comparison import Comparison, Initialisation, compare
from meanfield.recipe_file import Predictions
from meanfield.stack_layers import stack_layers
from meanfield.validation.recipe_check import validate_recipe

PADDED = mf.Inputs.padded(signal=4, length=12, size=3, padding_power=0.05)
DATA = mf.Inputs.from_data(np.random.default_rng(0).standard_normal((24, 12, 3)))
KINDS = {
    "one layer": {"inputs": 3},
    "three layers": {"inputs": 3, "layers": 3},
    "both directions": {"inputs": 3, "bidirectional": True},
    "both directions of padded inputs": {"inputs": PADDED, "bidirectional": True},
    "two layers in both directions": {"inputs": PADDED, "layers": 2, "bidirectional": True},
    "measured inputs": {"inputs": DATA, "layers": 2, "bidirectional": True},
}


def recipe_of(kind: str) -> mf.Recipe:
    return mf.recipe("gru", length=12, hidden=32, units=256, **KINDS[kind])  # type: ignore[arg-type]


def numbers_of(row: Initialisation) -> dict[str, tuple[float | None, float | None]]:
    assert row.analysis is not None
    return {
        name: (number.value, number.error) if number is not None else (None, None)
        for name, number in row.analysis.numbers().items()
    }


def written(predictions: Predictions) -> dict[str, tuple[float | None, float | None]]:
    return {name: (entry.value, entry.error) for name, entry in predictions.numbers.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_has_the_numbers_of_the_file(kind: str) -> None:
    """Predicted anew on what a layer is said to read, they are the same to the last digit."""
    recipe = recipe_of(kind)
    given = DATA if kind == "measured inputs" else None
    stack = stack_layers(recipe, given)
    assert [(each.layer, each.direction) for each in stack] == [
        (0, "forward"),
        *((each.layer, each.direction) for each in recipe.content.layers),
    ]
    told: list[tuple[int, int]] = []
    found = compare(recipe, against=["keras"], inputs=given, progress=lambda *made: told.append(made))
    rows: list[Comparison] = [found, *found.layers]
    for each, row in zip(stack, rows, strict=True):
        assert (row.layer, row.direction) == (each.layer, each.direction)
        assert numbers_of(row.recipe) == written(each.predictions)
        assert row.inputs.as_json() == each.inputs.as_json()
    assert told[-1] == (2 * len(stack), 2 * len(stack))
    assert [done for done, _ in told] == sorted(range(1, 2 * len(stack) + 1))


def test_measured_inputs_that_are_missing_are_white() -> None:
    stack = stack_layers(recipe_of("measured inputs"))
    assert stack[0].inputs == mf.Inputs(power=DATA.power, size=3)
    assert [each.inputs.size for each in stack] == [3, 3, 64, 64]


def test_layers_are_validated_with_random_numbers_of_their_own() -> None:
    told: list[tuple[int, int]] = []
    found = validate_recipe(recipe_of("three layers"), networks=4, progress=lambda *made: told.append(made))
    assert [(each.layer, each.inputs.size) for each in (found, *found.layers)] == [(0, 3), (1, 32), (2, 32)]
    assert told == [(done, 12) for done in range(1, 13)]
    seen = [each.comparisons[0].simulated.value for each in (found, *found.layers)]
    assert len(set(seen)) == 3


def test_a_layer_that_fails_fails_the_recipe() -> None:
    recipe = recipe_of("three layers")
    content: dict[str, Any] = recipe.as_json()
    content["layers"][1]["predictions"]["numbers"]["second_moment"]["value"] *= 9.0
    found = validate_recipe(mf.Recipe(type(recipe.content).model_validate(content)), networks=8)
    assert [all(row.agrees for row in each.comparisons) for each in (found, *found.layers)] == [True, True, False]
    assert not found.agrees
    assert found.layers[1].worst.name == "second_moment"


def test_predictions_without_a_population_are_held_to_their_bounds() -> None:
    """All degrees of freedom are those of the simulated networks."""
    recipe = mf.recipe("gru", length=12, hidden=64, inputs=16)
    method = recipe.content.method.model_copy(update={"population": {"units": 0, "groups": 0}})
    found = validate_recipe(mf.Recipe(recipe.content.model_copy(update={"method": method})), networks=6)
    assert found.agrees
    assert all(np.isinf(row.predicted.freedom) for row in found.comparisons)
    assert compare(mf.Recipe(recipe.content.model_copy(update={"method": method})), against=[]).units > 0
