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
from meanfield.checks import check_count
from meanfield.design import Progress
from meanfield.errors import InvalidInput
from meanfield.files import read_json, write_whole
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.recipe_file import RecipeFile, network_of
from meanfield.recipe_layers import OBJECTIVES, VERSIONS, LayerRequest, ObjectiveName, default_beside, notes
from meanfield.recipe_stacks import designed_stack
from meanfield.sampling.population import Regime
from meanfield.trajectory import check_request
from meanfield.weight_ensembles import Ensemble, as_ensemble
from meanfield.weights import Weights, sample_weights


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
    def networks(self) -> list[Network]:
        """The laws of every layer and direction, in PyTorch's order; one network where there is one layer."""
        further = [network_of(self.content.cell, layer.gates) for layer in self.content.layers]
        return [self.network, *further]

    @property
    def default_network(self) -> Network | None:
        """The framework's default for the same layer; None where no framework has one."""
        defaults = self.content.defaults
        return network_of(self.content.cell, defaults.gates) if defaults is not None else None

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
        """Draw the first layer's weights as NumPy arrays by gate; sizes are the task's by default.

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
    objective: ObjectiveName = "learn",
    regime: Regime = "tied",
    ensemble: Ensemble | str | None = None,
    layers: int = 1,
    bidirectional: bool = False,
    seed: int = 0,
    units: int | None = None,
    budget: float | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """Design an initialisation with which a network learns over ``length`` steps, and predict what it does.

    Args:
        cell: ``"lstm"``, ``"gru_reset_after"`` (the GRU of PyTorch, Keras and cuDNN), ``"gru"``, ``"cifg_lstm"``,
            ``"peephole_lstm"``, ``"janet"``, ``"minimal"``, ``"vanilla"`` or ``"leaky"``.
        length: T, the number of steps of the task.
        hidden: width N of the layer.
        inputs: input size M, read as white noise of power 1; or :class:`Inputs` with their size.
        objective: ``"learn"`` (docs/objective.md), or ``"isometry"``: χ = 1 and the smallest spread of singular values
            (docs/isometry.md).
        regime: of ``"isometry"``: ``"tied"`` weights, or ``"untied"`` ones as in the literature.
        ensemble: of the recurrent matrices: ``"gaussian"``, ``"orthogonal"``, or an :class:`Ensemble`; by default
            orthogonal for cells without gates, Gaussian for others.
        layers: number of layers; each is designed for the states of the one below.
        bidirectional: whether every layer reads the sequence in both directions.
        seed: of everything random; the same request gives the same recipe, unless a budget cuts the search short.
        units: units of the population behind the predictions; by default as :func:`meanfield.gradients` has.
        budget: seconds that the search of a layer may take.
        progress: told (evaluations made, evaluations at most, best objective) during every search.

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
    from meanfield.exact_recipes import UntiedRequest, in_closed_form, untied_recipe

    task_inputs = _task_inputs(inputs)
    if objective not in OBJECTIVES:
        raise InvalidInput(f"objective: must be one of {', '.join(map(repr, OBJECTIVES))}, got {objective!r}")
    if objective == "learn" and regime == "untied":
        raise InvalidInput("regime: learning is of tied weights, as real networks have; use objective='isometry'")
    check_request(task_inputs, length=length, regime=regime, start=None if regime == "untied" else "zero", seed=seed)
    check_count("layers", layers, 1)
    if task_inputs.overlap == 1.0:
        raise InvalidInput("overlap: must be below 1 for a recipe: identical sequences carry no signal")
    request = LayerRequest(
        cell=cell,
        length=length,
        hidden=hidden,
        objective=objective,
        regime=regime,
        ensemble=ensemble,
        seed=seed,
        units=units,
        budget=budget,
    )
    if layers == 1 and in_closed_form(request):
        found = untied_recipe(
            UntiedRequest(cell, length, hidden, task_inputs, ensemble, bidirectional=bidirectional, seed=seed)
        )
        if progress is not None:
            progress(1, 1, found.content.method.value)
        return found
    stack = designed_stack(request, task_inputs, layers=layers, bidirectional=bidirectional, progress=progress)
    first = stack[0]
    default = default_beside(request, task_inputs)
    task = recipe_file.Task(
        length=length,
        hidden=hidden,
        input_size=task_inputs.size,
        inputs=recipe_file.InputsOfTask(**task_inputs.as_json()),
    )
    content = RecipeFile(
        format=recipe_file.FORMAT,
        cell=cell,
        ensemble=recipe_file.entry_of(first.network.matrices),
        gates=first.laws(hidden),
        task=task,
        predictions=first.predictions,
        defaults=default.entry(hidden, task_inputs.size) if default is not None else None,
        method=first.method(default),
        layers=[each.entry(hidden) for each in stack[1:]],
        notes=notes(request, first, default),
        version=meanfield.__version__,
        request_hash=request_hash(request, task, layers, bidirectional, task_inputs),
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


def request_hash(
    request: LayerRequest, task: recipe_file.Task, layers: int, bidirectional: bool, inputs: Inputs
) -> str:
    """SHA-256 of the complete request."""
    content = {
        "format": recipe_file.FORMAT,
        "objective": VERSIONS[request.objective],
        "cell": request.cell,
        "task": task.model_dump(mode="json"),
        "seed": request.seed,
        "units": request.units,
        "data": inputs.digest(),
    }
    # Only what is asked for beyond the usual, so that usual requests keep their hash.
    unusual: dict[str, Any] = {
        "regime": request.regime if request.regime != "tied" else None,
        "ensemble": as_ensemble(request.ensemble).as_json() if request.ensemble is not None else None,
        "layers": layers if layers > 1 else None,
        "bidirectional": bidirectional or None,
        "budget": request.budget,
    }
    content |= {name: value for name, value in unusual.items() if value is not None}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
