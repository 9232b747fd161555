"""A recipe beside initialisations that people use, on the recipe's own task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from meanfield.analyses import Analysis, analyze
from meanfield.baselines import named_baselines
from meanfield.comparison_verdict import verdict
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, Profile, as_json_or_absent
from meanfield.input_reach import FORGOTTEN, fading, reach
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.recipes import Recipe
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
    """A recipe and baselines on one task, predicted with the same random numbers.

    Attributes:
        cell, length, hidden: the task: name of the cell, T, N.
        inputs: what all of them read, from the zero state.
        default: name of the baseline that is the framework's default; None where no framework has the cell.
        seed, units: of all populations.
        initialisations: the recipe first.
    """

    cell: str
    length: int
    hidden: int
    inputs: Inputs
    default: str | None
    seed: int
    units: int
    initialisations: tuple[Initialisation, ...]

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
            "length": self.length,
            "hidden": self.hidden,
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            "seed": self.seed,
            "units": self.units,
            "forgotten_below": FORGOTTEN,
            "verdict": self.verdict,
            "initialisations": [each.as_json() for each in self.initialisations],
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw S(τ)/S(0) of all initialisations, the format that of the file's name.

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
    its file, unless that is for untied ones.

    Args:
        recipe: the recipe; of several layers its first one.
        against: names of baselines (:func:`meanfield.baselines.baseline_names`); all that its cell has by default.
        inputs: what the networks read; the recipe's own by default, white noise in place of measured data.
        units: units of the populations, in groups of their own number; by default the recipe's.
        progress: told (initialisations analysed, initialisations).

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
    task, method = content.task, content.method
    given = recipe.inputs if inputs is None else inputs
    if given.size != task.input_size:
        raise InvalidInput(f"inputs: the recipe is for inputs of size {task.input_size}, got {given.size}")
    chosen = named_baselines(content.cell, against)
    networks = [each.network(content.cell, task.hidden, task.input_size, task.length) for each in chosen]
    # The random numbers, units and groups that the predictions of the file were made with.
    seed, population = method.seed + 1, method.population

    def predicted(network: Network) -> Analysis:
        return analyze(
            network,
            given,
            length=task.length,
            hidden=task.hidden,
            units=population["units"] if units is None else units,
            groups=population["groups"] if units is None else None,
            start="zero",
            seed=seed,
        )

    matrices = as_ensemble(recipe.network.ensemble).name
    rows = [_row("recipe", "the recipe", method.objective, matrices, recipe.network, predicted(recipe.network))]
    for each, network in zip(chosen, networks, strict=True):
        if progress is not None:
            progress(len(rows), len(chosen) + 1)
        found: Analysis | str
        try:
            found = predicted(network)
        except NotConverged as failure:
            found = str(failure)
        rows.append(_row(each.name, each.title, each.source, each.matrices(content.cell), network, found))
    if progress is not None:
        progress(len(rows), len(rows))
    return Comparison(
        cell=content.cell,
        length=task.length,
        hidden=task.hidden,
        inputs=given,
        default=content.defaults.framework if content.defaults is not None else None,
        seed=seed,
        units=population["units"] if units is None else units,
        initialisations=tuple(rows),
    )


def _row(name: str, title: str, source: str, matrices: str, network: Network, found: Analysis | str) -> Initialisation:
    if isinstance(found, str):
        return Initialisation(name, title, source, matrices, network, None, found, None)
    lag = reach(found.gradients.sensitivity)
    return Initialisation(name, title, source, matrices, network, found, None, lag)
