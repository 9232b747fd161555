"""A recipe beside initialisations that people use, on the recipe's own task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meanfield.analyses import Analysis, analyze
from meanfield.baselines import Baseline, named_baselines
from meanfield.comparison_verdict import verdict
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, Profile, as_json_or_absent
from meanfield.input_reach import FORGOTTEN, fading, reach
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.recipe_file import Task
from meanfield.recipes import Recipe
from meanfield.stack_layers import Direction, StackLayer, stack_layers
from meanfield.trajectory import arrange
from meanfield.weight_ensembles import as_ensemble

_NUMBERS = ("second_moment", "final_gradient", "isometry_defect", "eigenvalue_edge", "slow_fraction")


@dataclass(frozen=True)
class Initialisation:
    """One of the initialisations that are compared.

    Attributes:
        name: ``"recipe"``, or the name of a baseline.
        title: in tables and sentences.
        source: where its law is from.
        matrices: what its recurrent matrices are.
        network: what was analysed.
        analysis: what theory predicts; None where it failed.
        failure: why it failed, one sentence; None where it did not.
        reach: lag at which S falls below 1e-3 of S(0), interpolated between steps, with one standard error; None where
            S does not fall as far within the task, or the analysis failed.
    """

    name: str
    title: str
    source: str
    matrices: str
    network: Network
    analysis: Analysis | None
    failure: str | None
    reach: Estimate | None

    @property
    def fading(self) -> Profile:
        """S(τ)/S(0) over the lag.

        Raises:
            NotConverged: if the analysis failed.
        """
        if self.analysis is None:
            raise NotConverged(f"{self.title}: {self.failure}")
        return fading(self.analysis.gradients.sensitivity)

    def as_json(self) -> dict[str, Any]:
        """Its object in what ``meanfield compare --json`` prints; null where there is no number."""
        found, numbers = self.analysis, dict.fromkeys(_NUMBERS, as_json_or_absent(None))
        profiles: dict[str, Any] = {"input_sensitivity": [], "gradient_profile": []}
        first_input = None
        if found is not None:
            scalars = found.scalars()
            numbers = {name: as_json_or_absent(scalars[name]) for name in _NUMBERS}
            profiles = found.profiles_as_json()
            kept = self.fading
            (first_input,) = kept.as_json([int(kept.lags[-1])])
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "matrices": self.matrices,
            "failure": self.failure,
            "reach": as_json_or_absent(self.reach),
            "reaches_all": found is not None and self.reach is None,
            "first_input": first_input,
            **numbers,
            **profiles,
            "network": self.network.as_json(),
        }


@dataclass(frozen=True)
class Comparison:
    """A recipe, or one of its layers and directions, and baselines on one task, predicted with the same random numbers.

    Attributes:
        cell, length, hidden: the task: name of the cell, T, N.
        inputs: what all of them read, from the zero state.
        default: name of the baseline that is the framework's default; None where no framework has the cell.
        seed, units: of all populations.
        initialisations: the recipe first.
        layer, direction: which of the recipe's, 0 the lowest one.
        layers: of the first one of a recipe, its further layers and directions.
    """

    cell: str
    length: int
    hidden: int
    inputs: Inputs
    default: str | None
    seed: int
    units: int
    initialisations: tuple[Initialisation, ...]
    layer: int = 0
    direction: Direction = "forward"
    layers: tuple[Comparison, ...] = ()

    @property
    def recipe(self) -> Initialisation:
        """The recipe itself."""
        return self.initialisations[0]

    @property
    def verdict(self) -> str:
        """What the numbers say of learning over this length, in a sentence or two."""
        return verdict(self)

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield compare --json`` prints."""
        return {
            "cell": self.cell,
            "layer": self.layer,
            "direction": self.direction,
            "length": self.length,
            "hidden": self.hidden,
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            "seed": self.seed,
            "units": self.units,
            "forgotten_below": FORGOTTEN,
            "verdict": self.verdict,
            "initialisations": [each.as_json() for each in self.initialisations],
            "layers": [each.as_json() for each in self.layers],
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw S(τ)/S(0) of all initialisations, a panel a layer and direction, the format that of the file's name.

        Raises:
            InvalidInput: if Matplotlib is not installed, or does not know the format.
            OSError: if the file cannot be written.
        """
        from meanfield.comparison_pictures import draw_comparison

        draw_comparison(self, path)


def compare(
    recipe: Recipe,
    *,
    against: Iterable[str] | None = None,
    inputs: Inputs | None = None,
    units: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Predict a recipe and the initialisations that people use on the recipe's task, from the zero state.

    All populations have the recipe's seed, units and groups and tied weights, so that the recipe's numbers are those of
    its file, unless that is for untied ones. Every layer and direction of a recipe is compared on what it reads: above
    the first, states of the recipe's own layers below.

    Args:
        recipe: the recipe.
        against: names of baselines (:func:`meanfield.baselines.baseline_names`); all that its cell has by default.
        inputs: what the first layer reads; the recipe's own by default, white noise in place of measured data.
        units: units of the populations, in groups of their own number; by default the recipe's.
        progress: told (initialisations analysed, initialisations), of all layers.

    Returns:
        Predictions with one standard error. A baseline that cannot be predicted, since its states leave the range of
        numbers, is in it with the reason.

    Raises:
        InvalidInput: if an argument is out of its range, or the cell has no baseline of a name.
        NotConverged: if the recipe itself cannot be predicted.

    >>> import meanfield as mf
    >>> found = compare(mf.recipe("gru", length=30, hidden=64, inputs=8, units=512), against=["keras", "chrono"])
    >>> [each.name for each in found.initialisations if each.reach is None]  # reach back over all of the task
    ['recipe', 'chrono']
    """
    if not isinstance(recipe, Recipe):
        raise InvalidInput(f"recipe: must be a recipe, got {recipe!r}")
    content = recipe.content
    task = content.task
    given = recipe.inputs if inputs is None else inputs
    if given.size != task.input_size:
        raise InvalidInput(f"inputs: the recipe is for inputs of size {task.input_size}, got {given.size}")
    chosen = named_baselines(content.cell, against)
    stack = stack_layers(recipe, given)
    default = content.defaults.framework if content.defaults is not None else None
    found: list[Comparison] = []

    def told(done: int) -> None:
        if progress is not None:
            progress(len(found) * (len(chosen) + 1) + done, len(stack) * (len(chosen) + 1))

    for each in stack:
        found.append(_compared(each, task, chosen, default=default, units=units, told=told))
    return replace(found[0], layers=tuple(found[1:]))


def _compared(
    layer: StackLayer,
    task: Task,
    chosen: Sequence[Baseline],
    *,
    default: str | None,
    units: int | None,
    told: Callable[[int], None],
) -> Comparison:
    """One layer of a recipe beside baselines."""
    cell, population = layer.network.cell, layer.method.population
    groups = None if units is not None or not population["groups"] else population["groups"]
    if units is None:
        # As many as by default where the predictions of the file come without a population.
        layout = arrange(hidden=task.hidden, units=population["units"] or None, groups=groups)
        units = layout.groups * layout.units
    networks = [each.network(cell, task.hidden, layer.inputs.size, task.length) for each in chosen]
    # The random numbers, units and groups that the predictions of the file were made with.
    seed = layer.method.seed + 1

    def predicted(network: Network) -> Analysis:
        return analyze(
            network,
            layer.inputs,
            length=task.length,
            hidden=task.hidden,
            units=units,
            groups=groups,
            start="zero",
            seed=seed,
        )

    matrices = as_ensemble(layer.network.ensemble).name
    title, source = "the recipe", layer.method.objective
    rows = [_row("recipe", title, source, matrices, layer.network, predicted(layer.network))]
    for each, network in zip(chosen, networks, strict=True):
        told(len(rows))
        found: Analysis | str
        try:
            found = predicted(network)
        except NotConverged as failure:
            found = str(failure)
        rows.append(_row(each.name, each.title, each.source, each.matrices(cell), network, found))
    told(len(rows))
    return Comparison(
        cell=cell,
        length=task.length,
        hidden=task.hidden,
        inputs=layer.inputs,
        default=default,
        seed=seed,
        units=units,
        initialisations=tuple(rows),
        layer=layer.layer,
        direction=layer.direction,
    )


def _row(name: str, title: str, source: str, matrices: str, network: Network, found: Analysis | str) -> Initialisation:
    if isinstance(found, str):
        return Initialisation(name, title, source, matrices, network, None, found, None)
    lag = reach(found.gradients.sensitivity)
    return Initialisation(name, title, source, matrices, network, found, None, lag)
