"""The layers and directions of a recipe, each with what it reads: the task's inputs, or states of the layer below."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np

from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.recipe_file import FurtherLayer, Method, Predictions, RecipeFile
from meanfield.recipe_stacks import as_measured, sequences_read, states_of
from meanfield.recipes import Recipe

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class StackLayer:
    """One layer and direction of a recipe.

    Attributes:
        layer: 0 for the lowest one.
        direction: in which it reads the sequence.
        network: its laws.
        inputs: what its predictions are for.
        predictions, method: from its entry in the file.
    """

    layer: int
    direction: Direction
    network: Network
    inputs: Inputs
    predictions: Predictions
    method: Method


def stack_layers(recipe: Recipe, inputs: Inputs | None = None) -> list[StackLayer]:
    """All layers and directions of a recipe in PyTorch's order; one where there is one layer.

    A layer above the first reads sequences of states of populations of the layer below, the very ones that the recipe
    was designed and predicted on: they follow from the seeds in its file, and from the inputs.

    Args:
        recipe: the recipe.
        inputs: what the first layer reads; the recipe's own by default, white noise in place of measured data.

    Raises:
        InvalidInput: if measured inputs are shorter than the task.

    >>> import meanfield as mf
    >>> recipe = mf.recipe("gru", length=6, hidden=32, inputs=4, units=256, layers=2)
    >>> [(each.layer, each.direction, each.inputs.size) for each in stack_layers(recipe)]
    [(0, 'forward', 4), (1, 'forward', 32)]
    """
    content = recipe.content
    reading = recipe.inputs if inputs is None else inputs
    entries: list[tuple[int, Direction, RecipeFile | FurtherLayer]] = [(0, "forward", content)]
    entries += [(each.layer, each.direction, each) for each in content.layers]
    members = [
        StackLayer(layer, direction, network, reading, entry.predictions, entry.method)
        for (layer, direction, entry), network in zip(entries, recipe.networks, strict=True)
    ]
    if len(members) == 1:
        return members
    read, signal = sequences_read(reading, content.method.seed, content.task.length), reading.signal
    found: list[StackLayer] = []
    for layer, level in groupby(members, lambda each: each.layer):
        if layer > 0:
            reading = as_measured(read, signal)
        states = []
        for each in level:
            order = slice(None, None, -1 if each.direction == "reverse" else 1)
            # In reverse the signal is no longer at the beginning.
            straight = each.direction == "forward" or reading.endless
            found.append(replace(each, inputs=reading if straight else as_measured(read[:, order], None)))
            if layer < members[-1].layer:
                passed = states_of(each.network, read[:, order], hidden=content.task.hidden, seed=each.method.seed)
                states.append(passed[:, order])
        if states:
            read = np.concatenate(states, axis=2)
    return found
