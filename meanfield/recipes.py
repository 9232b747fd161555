"""Recipes: initialisations designed for a task, with what theory predicts for them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

import meanfield
from meanfield import recipe_file
from meanfield.analyses import Analysis, analyze
from meanfield.defaults import default_framework, framework_default
from meanfield.design import Progress, check_sequences, require, search, search_space
from meanfield.errors import InvalidInput
from meanfield.estimate import as_json_or_absent
from meanfield.files import read_json, write_whole
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.objective import SEQUENCES, evaluate
from meanfield.recipe_file import Predictions, RecipeFile, laws_of, network_of
from meanfield.trajectory import arrange, check_request
from meanfield.weights import Weights, sample_weights

OBJECTIVE = "learn/1"


@dataclass(frozen=True)
class Recipe:
    """An initialisation of a recurrent layer.

    Attributes:
        content: the content of its file.
    """

    content: RecipeFile

    @property
    def network(self) -> Network:
        """The laws of all gates."""
        return network_of(self.content.cell, self.content.gates)

    @property
    def default_network(self) -> Network:
        """The framework's default for the same layer."""
        return network_of(self.content.cell, self.content.defaults.gates)

    @property
    def inputs(self) -> Inputs:
        """What the network reads during the task; measured data are not in the file and are replaced by white noise."""
        task = self.content.task
        described = task.inputs
        if described.kind == "padded":
            return Inputs.padded(
                signal=described.signal or task.length,
                length=task.length,
                power=described.power,
                padding_power=described.padding_power or 0.0,
                overlap=described.overlap,
                size=task.input_size,
            )
        return Inputs(described.power, described.overlap, task.input_size)

    def sample(self, *, hidden: int | None = None, inputs: int | None = None, seed: int = 0) -> Weights:
        """Draw one layer's weights as NumPy arrays by gate; sizes are the task's by default.

        >>> import meanfield as mf
        >>> weights = mf.load("lstm.json").sample(seed=0)  # doctest: +SKIP
        """
        task = self.content.task
        return sample_weights(
            self.network,
            hidden=task.hidden if hidden is None else hidden,
            inputs=task.input_size if inputs is None else inputs,
            seed=seed,
        )

    def as_json(self) -> dict[str, Any]:
        """The object of its file."""
        return self.content.model_dump(mode="json")

    def text(self) -> str:
        """The text of its file."""
        return json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write its file, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        write_whole(path, self.text())


def load(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe. Nothing is executed.

    Raises:
        InvalidInput: if the file is missing, truncated, of another version, or has a field that is wrong or unknown;
            the message names the field.
    """
    return Recipe(recipe_file.parse_recipe(read_json(path), str(path)))


def recipe(
    cell: str,
    *,
    length: int,
    hidden: int,
    inputs: int | Inputs,
    seed: int = 0,
    units: int | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """Design an initialisation with which a network learns over ``length`` steps, and predict what it does.

    Args:
        cell: ``"lstm"``, ``"gru"`` or ``"gru_reset_after"`` (the GRU of PyTorch, Keras and cuDNN).
        length: T, the number of steps of the task.
        hidden: width N of the layer.
        inputs: input size M, read as white noise of power 1; or :class:`Inputs` with their size.
        seed: of everything random; the same request gives the same recipe.
        units: units of the population behind the predictions; by default as :func:`meanfield.gradients` has.
        progress: told (evaluations made, evaluations at most, best objective) during the search.

    Returns:
        The recipe, its predictions with one standard error beside those for the framework's default.

    Raises:
        InvalidInput: if an argument is out of its range.
        Infeasible: if no parameters satisfy a constraint; the message names it.

    >>> import meanfield as mf
    >>> found = mf.recipe("gru", length=12, hidden=64, inputs=8)
    >>> found.network.gates["f"].bias_mean > 1.0
    True
    """
    search_space(cell)
    task_inputs = _task_inputs(inputs)
    check_request(task_inputs, length=length, regime="tied", start="zero", seed=seed)
    _quiet_signal(task_inputs)
    check_sequences(task_inputs)
    layout = arrange(hidden=hidden, units=units, sequences=SEQUENCES)
    design = search(cell, task_inputs, length=length, seed=seed, progress=progress)
    # Other random numbers than the search has seen, so that the certificate owes nothing to their accidents.
    terms = evaluate(design.network, task_inputs, length=length, layout=layout, seed=seed + 1)
    require(terms)
    framework = default_framework(cell)
    default = framework_default(cell, hidden=hidden, inputs=task_inputs.size, framework=framework)
    predicted, beside = (
        analyze(network, task_inputs, length=length, hidden=hidden, units=units, start="zero", seed=seed + 1)
        for network in (design.network, default)
    )
    task = recipe_file.Task(
        length=length,
        hidden=hidden,
        input_size=task_inputs.size,
        inputs=recipe_file.InputsOfTask(**task_inputs.as_json()),
    )
    content = RecipeFile(
        format=recipe_file.FORMAT,
        cell=cell,
        gates=laws_of(design.network, hidden=hidden, inputs=task_inputs.size),
        task=task,
        predictions=_predictions(predicted),
        defaults=recipe_file.DefaultOfFramework(
            framework=framework,
            gates=laws_of(default, hidden=hidden, inputs=task_inputs.size),
            predictions=_predictions(beside),
        ),
        method=recipe_file.Method(
            objective=OBJECTIVE,
            regime="tied",
            seed=seed,
            search={"evaluations": design.evaluations},
            population={"units": layout.units * layout.groups, "groups": layout.groups},
            value=terms.value(),
            terms=terms.contributions(),
            binding=terms.binding(),
            parameters=design.parameters,
        ),
        version=meanfield.__version__,
        request_hash=_request_hash(cell, task, seed=seed, units=units, inputs=task_inputs),
    )
    return Recipe(content)


def _task_inputs(inputs: int | Inputs) -> Inputs:
    if isinstance(inputs, Inputs):
        if inputs.size == 0:
            raise InvalidInput("inputs: a recipe is for a layer of given input size; set Inputs(size=...)")
        return inputs
    if isinstance(inputs, bool) or not isinstance(inputs, int | np.integer) or inputs < 1:
        raise InvalidInput(f"inputs: must be a whole number of at least 1, or Inputs, got {inputs!r}")
    return Inputs(size=int(inputs))


def _quiet_signal(inputs: Inputs) -> None:
    """Sequences that are the same everywhere have nothing to be told apart by."""
    if inputs.overlap == 1.0:
        raise InvalidInput("overlap: must be below 1 for a recipe: identical sequences carry no signal")


def _predictions(analysis: Analysis) -> Predictions:
    numbers = {name: as_json_or_absent(number) for name, number in analysis.numbers().items()}
    return Predictions.model_validate({"numbers": numbers, **analysis.profiles_as_json()})


def _request_hash(cell: str, task: recipe_file.Task, *, seed: int, units: int | None, inputs: Inputs) -> str:
    request = {
        "format": recipe_file.FORMAT,
        "objective": OBJECTIVE,
        "cell": cell,
        "task": task.model_dump(mode="json"),
        "seed": seed,
        "units": units,
        "data": inputs.digest(),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
