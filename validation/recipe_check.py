"""Predictions of a recipe or of an analysis beside simulated networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from meanfield.analyses import Analysis, analyze
from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.estimate import as_json_or_absent
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.recipe_file import Predictions
from meanfield.recipes import Recipe
from meanfield.sampling.population import Regime
from meanfield.stack_layers import Direction, StackLayer, stack_layers
from meanfield.trajectory import DEFAULT_GROUPS, DEFAULT_UNITS, Start, arrange, check_request, run
from meanfield.untied_analyses import untied_theory
from meanfield.validation.prediction_comparisons import LIMIT, Comparison, compare_numbers, compare_profile
from meanfield.validation.simulated_predictions import simulate_predictions
from meanfield.validation.width_allowance import WidthAllowance

Progress = Callable[[int, int], None]

NARROWEST = 8
_LARGEST_SPECTRUM = 1024  # rows of a Jacobian beyond which its eigenvalues are computed for some networks only
_SOME = 4
_SETTLING = 64  # width of the population that says how long a stationary recipe takes to settle


@dataclass(frozen=True)
class Validation:
    """All predictions of a network beside simulated ones, or of one layer and direction of a recipe.

    Attributes:
        network, inputs, regime, start, length: what was simulated.
        hidden: width N of the simulated networks.
        networks: how many there are; ``spectra`` of them have eigenvalues.
        width: units that predictions are for, those of a group of their population.
        comparisons: one a number, and one a lag of the profiles.
        layer, direction: which of a recipe's, 0 the lowest one.
        layers: of the first one of a recipe, its further layers and directions.
    """

    network: Network
    inputs: Inputs
    regime: Regime
    start: Start
    length: int
    hidden: int
    networks: int
    spectra: int
    width: int
    comparisons: tuple[Comparison, ...]
    layer: int = 0
    direction: Direction = "forward"
    layers: tuple[Validation, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether no prediction fails, of further layers neither."""
        return all(each.agrees for each in self.comparisons) and all(each.agrees for each in self.layers)

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest deviation, of this layer."""
        return max(self.comparisons, key=lambda each: each.deviation or 0.0)

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield validate --json`` prints."""
        return {
            "cell": self.network.cell,
            "layer": self.layer,
            "direction": self.direction,
            "regime": self.regime,
            "start": self.start,
            "length": self.length,
            "hidden": self.hidden,
            "networks": self.networks,
            "spectra": self.spectra,
            "width": self.width,
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            "limit": LIMIT,
            "agrees": self.agrees,
            "comparisons": [each.as_json() for each in self.comparisons],
            "layers": [each.as_json() for each in self.layers],
        }


def validate_recipe(
    recipe: Recipe,
    *,
    hidden: int | None = None,
    networks: int = 8,
    spectra: int | None = None,
    inputs: Inputs | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Validation:
    """The predictions in a recipe's file beside networks drawn from it, on its own task.

    Every layer and direction is simulated on what its predictions are for (:mod:`meanfield.stack_layers`).

    Args:
        recipe: the recipe.
        hidden: width N of the networks; the recipe's own by default.
        networks: how many of every layer, at least 2.
        spectra: how many of them have eigenvalues computed, which are not compared below 2; by default all, or 4 where
            the Jacobian has more than 1024 rows.
        inputs: the data of a recipe that was designed on measured data, which are not in its file.
        seed: of everything random.
        progress: told (networks done, networks in all).

    Raises:
        InvalidInput: if a number is out of its range, or the recipe was designed on measured data that are not given.

    >>> import meanfield as mf
    >>> found = validate_recipe(mf.recipe("gru", length=12, hidden=64, inputs=8), networks=4)
    >>> found.agrees, found.worst.deviation < 5.0
    (True, True)
    """
    content = recipe.content
    if content.task.inputs.kind == "data" and inputs is None:
        raise InvalidInput(
            "inputs: this recipe was designed on measured data, which are not in its file; give them from Python, or "
            "ask for white inputs with --power on the command line"
        )
    hidden = content.task.hidden if hidden is None else hidden
    _check(hidden, networks, seed)
    stack = stack_layers(recipe, inputs)
    found = []
    for place, each in enumerate(stack):
        beside = _layer_beside(
            each,
            length=content.task.length,
            hidden=hidden,
            designed_for=content.task.hidden,
            networks=networks,
            spectra=spectra,
            seed=seed + place,
            progress=_of_all(progress, place * networks, len(stack) * networks),
        )
        found.append(replace(beside, layer=each.layer, direction=each.direction))
    return replace(found[0], layers=tuple(found[1:]))


def validate_network(
    network: Network,
    inputs: Inputs | None = None,
    *,
    length: int = 100,
    hidden: int = 256,
    networks: int = 8,
    spectra: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Validation:
    """Predictions for a network, made for the width that is simulated, beside simulated networks.

    Args:
        network: any cell.
        inputs: what it reads; white inputs of power 1 by default.
        length: T.
        hidden: width N of the networks, at least 8.
        networks: how many, at least 2.
        spectra: how many of them have eigenvalues computed, which are not compared below 2; by default all, or 4 where
            the Jacobian has more than 1024 rows.
        regime, start: see :func:`meanfield.analyze`.
        seed: of everything random.
        progress: told (networks done, networks in all).

    Raises:
        InvalidInput: if a number is out of its range.
        NotConverged: if the states do not become stationary, or leave the range of numbers.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=0.5, input_gain=0.5)
    >>> network = mf.Network("janet", {"f": gate, "g": gate})
    >>> found = validate_network(network, mf.Inputs(size=8), length=5, hidden=64, networks=4)
    >>> found.agrees, found.as_json()["comparisons"][0]["name"]
    (True, 'second_moment')
    """
    inputs = inputs if inputs is not None else Inputs()
    _check(hidden, networks, seed)
    check_request(inputs, length=length, regime=regime, start=start, seed=seed)
    groups = max(DEFAULT_GROUPS, math.ceil(DEFAULT_UNITS / hidden))
    units = groups * max(hidden, 16)
    found = analyze(
        network, inputs, length=length, hidden=hidden, units=units, groups=groups, regime=regime, start=start, seed=seed
    )
    return _beside(
        _predictions(found),
        network,
        inputs,
        length=length,
        transient=found.gradients.transient if found.start == "stationary" else None,
        hidden=hidden,
        networks=networks,
        spectra=spectra,
        regime=regime,
        groups=groups,
        width=arrange(hidden=hidden, units=units, groups=groups).units,
        edge_width=hidden,
        bounds=found.without_sampling,
        seed=seed,
        progress=progress,
    )


def _layer_beside(
    layer: StackLayer,
    *,
    length: int,
    hidden: int,
    designed_for: int,
    networks: int,
    spectra: int | None,
    seed: int,
    progress: Progress | None,
) -> Validation:
    """The predictions of one layer of a recipe beside networks of it."""
    regime, groups = layer.method.regime, layer.method.population["groups"]
    transient: int | None = None
    bounds: tuple[str, ...] = ()
    if regime == "untied" and layer.inputs.endless:
        transient, bounds = _stationary(layer.network, layer.inputs, length)
    if not groups:
        # No population behind it: everything that is predicted comes without sampling.
        bounds = (*layer.predictions.numbers, "gradient_profile", "input_sensitivity")
    return _beside(
        layer.predictions,
        layer.network,
        layer.inputs,
        length=length,
        transient=transient,
        hidden=hidden,
        networks=networks,
        spectra=spectra,
        regime=regime,
        groups=groups,
        width=layer.method.population["units"] // groups if groups else hidden,
        edge_width=designed_for,
        bounds=bounds,
        seed=seed,
        progress=progress,
    )


def _of_all(progress: Progress | None, done: int, count: int) -> Progress | None:
    """Progress through one layer told as that through all."""
    return None if progress is None else lambda made, _: progress(done + made, count)


def _check(hidden: int, networks: int, seed: int) -> None:
    check_count("hidden", hidden, NARROWEST)
    check_count("networks", networks, 2)
    check_count("seed", seed, 0)


def _stationary(network: Network, inputs: Inputs, length: int) -> tuple[int, tuple[str, ...]]:
    """Steps in which a network with fresh weights settles, and names of predictions whose errors are bounds."""
    settled = run(network, inputs, length=1, layout=arrange(hidden=_SETTLING), regime="untied", linearise=False)
    theory = untied_theory(network, inputs, length)
    return settled.transient, theory.names if theory is not None else ()


def _predictions(analysis: Analysis) -> Predictions:
    numbers = {name: as_json_or_absent(number) for name, number in analysis.numbers().items()}
    return Predictions.model_validate({"numbers": numbers, **analysis.profiles_as_json()})


def _beside(
    predictions: Predictions,
    network: Network,
    inputs: Inputs,
    *,
    length: int,
    transient: int | None,
    hidden: int,
    networks: int,
    spectra: int | None,
    regime: Regime,
    groups: int,
    width: int,
    edge_width: int,
    bounds: tuple[str, ...],
    seed: int,
    progress: Progress | None,
) -> Validation:
    if spectra is None:
        large = hidden * len(network.definition.states) > _LARGEST_SPECTRUM
        spectra = min(networks, _SOME) if large else networks
    seen = simulate_predictions(
        network,
        inputs,
        hidden=hidden,
        length=length,
        transient=transient,
        networks=networks,
        spectra=spectra,
        regime=regime,
        seed=seed,
        progress=progress,
    )
    allowed = WidthAllowance(hidden=hidden, width=width, many_inputs=inputs.size == 0, exact=bounds)
    freedom = groups - 1.0 if groups else math.inf
    comparisons = compare_numbers(predictions.numbers, seen, length, allowed, freedom, same_width=edge_width == hidden)
    for name, profile, samples in (
        ("gradient_profile", predictions.gradient_profile, seen.log_gradient),
        ("input_sensitivity", predictions.input_sensitivity, seen.log_sensitivity),
    ):
        comparisons += compare_profile(name, profile, samples, allowed, freedom)
    return Validation(
        network=network,
        inputs=inputs,
        regime=regime,
        start="zero" if transient is None else "stationary",
        length=length,
        hidden=hidden,
        networks=networks,
        spectra=spectra,
        width=width,
        comparisons=tuple(comparisons),
    )
