"""Critical recipes with untied weights for many tasks at once, without a population (docs/isometry.md)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import meanfield
from meanfield import recipe_file
from meanfield.cells import find
from meanfield.checks import check_count
from meanfield.closed_batch_isometry import SettledNetwork, settled_networks
from meanfield.closed_batch_step import shares_a_rule
from meanfield.closed_cells import closed_cell
from meanfield.defaults import default_framework, framework_default, frameworks_of
from meanfield.design import Design
from meanfield.errors import InvalidInput, MeanfieldError, NotConverged
from meanfield.exact_numbers import NAMES, ExactPredictions, predictions_alone, predictions_of_settled
from meanfield.inputs import Inputs
from meanfield.isometry_design import closed_design, critical_family, first_gain, search_isometry
from meanfield.isometry_family import Family
from meanfield.network import Network
from meanfield.recipe_file import Predictions, RecipeFile, laws_of
from meanfield.recipe_layers import NARROW, VERSIONS, LayerRequest, bound_notes
from meanfield.recipes import Recipe, request_hash
from meanfield.search_spaces import search_space
from meanfield.trajectory import check_request
from meanfield.weight_ensembles import Ensemble, as_ensemble

_AT_ONCE = 64
_REMEMBERED = 4096  # networks


@dataclass(frozen=True)
class UntiedRequest:
    """What one recipe is for: arguments of :func:`meanfield.recipe` with ``objective="isometry", regime="untied"``.

    Attributes:
        cell: one with a single state variable.
        length, hidden: T and N.
        inputs: white, with their size.
        ensemble: of the recurrent matrices; None for the cell's own.
        bidirectional: whether the layer reads the sequence in both directions.
        seed: is in the recipe, whose weights are drawn with it; its numbers do not depend on it.
    """

    cell: str
    length: int
    hidden: int
    inputs: Inputs
    ensemble: Ensemble | str | None = None
    bidirectional: bool = False
    seed: int = 0

    @property
    def layer(self) -> LayerRequest:
        """The request of its layer."""
        return LayerRequest(
            cell=self.cell,
            length=self.length,
            hidden=self.hidden,
            objective="isometry",
            regime="untied",
            ensemble=self.ensemble,
            seed=self.seed,
            units=None,
            budget=None,
        )


def in_closed_form(request: LayerRequest) -> bool:
    """Whether a recipe of one layer needs no population: untied weights, and a cell with one state variable."""
    return (
        request.objective == "isometry"
        and request.regime == "untied"
        and request.units is None
        and request.budget is None
        and closes(request.cell)
    )


def closes(cell: str) -> bool:
    """Whether untied recipes of a cell need no population: those of LSTMs do.

    Raises:
        InvalidInput: if recipes are not designed for the cell.

    >>> closes("gru"), closes("lstm")
    (True, False)
    """
    search_space(cell)
    return len(find(cell).states) == 1


def untied_recipes(requests: Sequence[UntiedRequest]) -> list[Recipe | MeanfieldError]:
    """Critical recipes with untied weights, and everything that is known of them without sampling.

    A recipe is the same, to the last byte, alone and with any others; :func:`meanfield.recipe` makes it of one request.
    Networks of one cell are integrated together, 64 at a time.

    Args:
        requests: what is wanted, of any cells with one state variable.

    Returns:
        For each request in order its recipe, or the error that :func:`meanfield.recipe` raises.

    >>> tasks = [UntiedRequest("gru", length, 64, Inputs(size=8)) for length in (50, 500)]
    >>> [round(each.network.gates["f"].bias_mean, 6) for each in untied_recipes(tasks)]
    [5.298317, 7.600902]
    >>> print(untied_recipes([UntiedRequest("lstm", 50, 64, Inputs(size=8))])[0])
    cell: untied recipes of cell lstm need a population; meanfield.recipe makes them
    """
    found: list[Recipe | MeanfieldError] = [NotConverged("not made")] * len(requests)
    for cell in dict.fromkeys(request.cell for request in requests):
        which = [index for index, request in enumerate(requests) if request.cell == cell]
        for start in range(0, len(which), _AT_ONCE):
            part = which[start : start + _AT_ONCE]
            for index, made in zip(part, _without_failures([requests[index] for index in part]), strict=True):
                found[index] = made
    return found


def untied_recipe(request: UntiedRequest) -> Recipe:
    """The same for one request.

    Raises:
        InvalidInput, Infeasible, NotConverged: as :func:`meanfield.recipe` does.
    """
    [found] = untied_recipes([request])
    if isinstance(found, MeanfieldError):
        raise found
    return found


def _without_failures(requests: Sequence[UntiedRequest]) -> list[Recipe | MeanfieldError]:
    """Recipes of one cell; numbers out of range are the error of the request that has them."""
    try:
        return _of_one_cell(requests)
    except MeanfieldError as error:
        failed = error
    except (ArithmeticError, ValueError) as error:
        failed = NotConverged(f"{type(error).__name__}: {error}")
    if len(requests) == 1:
        return [failed]
    return [_without_failures([request])[0] for request in requests]


def _of_one_cell(requests: Sequence[UntiedRequest]) -> list[Recipe | MeanfieldError]:
    designs = _designs(requests)
    defaults = [
        _default(request) if isinstance(design, Design) else None
        for request, design in zip(requests, designs, strict=True)
    ]
    tasks = [
        (network, request.inputs, request.length)
        for request, *networks in zip(requests, (_network(each) for each in designs), defaults, strict=True)
        for network in networks
        if network is not None
    ]
    predictions = iter(_predictions(tasks))
    found: list[Recipe | MeanfieldError] = []
    for request, design, default in zip(requests, designs, defaults, strict=True):
        if not isinstance(design, Design):
            found.append(design)
            continue
        own = next(predictions)
        beside = next(predictions) if default is not None else None
        if isinstance(own, MeanfieldError) or isinstance(beside, MeanfieldError):
            found.append(own if isinstance(own, MeanfieldError) else beside)  # type: ignore[arg-type]
        else:
            found.append(Recipe(_content(request, design, own, default, beside)))
    return found


def _network(design: Design | MeanfieldError) -> Network | None:
    return design.network if isinstance(design, Design) else None


def _default(request: UntiedRequest) -> Network | None:
    """What the framework's default is; None where no framework has such a layer."""
    if not frameworks_of(request.cell):
        return None
    return framework_default(request.cell, hidden=request.hidden, inputs=request.inputs.size)


def _designs(requests: Sequence[UntiedRequest]) -> list[Design | MeanfieldError]:
    """Critical networks: where the closed form has them, checked together, or by a search."""
    guesses: list[tuple[Family, float, Ensemble] | MeanfieldError] = []
    for request in requests:
        try:
            guesses.append(_guess(request))
        except MeanfieldError as error:
            guesses.append(error)
    networks = [
        (Network(request.cell, guess[0].gates(guess[1]), guess[2]), request.inputs)
        for request, guess in zip(requests, guesses, strict=True)
        if not isinstance(guess, MeanfieldError)
    ]
    settled = iter(_settled(networks))
    found: list[Design | MeanfieldError] = []
    for request, guess in zip(requests, guesses, strict=True):
        if isinstance(guess, MeanfieldError):
            found.append(guess)
            continue
        known = next(settled)
        design = closed_design(*guess, known.chi) if known is not None else None
        try:
            found.append(design if design is not None else _searched(request, guess[2]))
        except MeanfieldError as error:
            found.append(error)
    return found


def _guess(request: UntiedRequest) -> tuple[Family, float, Ensemble]:
    """The family of a request, where it is critical by its closed form, and the ensemble.

    Raises:
        InvalidInput, Infeasible: as :func:`meanfield.recipe` does.
    """
    if not closes(request.cell):
        raise InvalidInput(
            f"cell: untied recipes of cell {request.cell} need a population; meanfield.recipe makes them"
        )
    if request.inputs.size == 0:
        raise InvalidInput("inputs: a recipe is for a layer of given input size; set Inputs(size=...)")
    check_request(request.inputs, length=request.length, regime="untied", start=None, seed=request.seed)
    check_count("hidden", request.hidden, 1)
    if request.inputs.overlap == 1.0:
        raise InvalidInput("overlap: must be below 1 for a recipe: identical sequences carry no signal")
    wanted = request.ensemble if request.ensemble is not None else search_space(request.cell).ensemble
    ensemble = as_ensemble(wanted)
    found = critical_family(request.cell, request.inputs, length=request.length, regime="untied")
    return found, first_gain(found, ensemble), ensemble


def _searched(request: UntiedRequest, ensemble: Ensemble) -> Design:
    return search_isometry(
        request.cell,
        request.inputs,
        length=request.length,
        hidden=request.hidden,
        regime="untied",
        seed=request.seed,
        ensemble=ensemble,
    )


def _predictions(tasks: Sequence[tuple[Network, Inputs, int]]) -> list[ExactPredictions | MeanfieldError]:
    """Predictions for networks of one cell over their numbers of steps."""
    settled = _settled([(network, inputs) for network, inputs, _ in tasks])
    together = [index for index, each in enumerate(settled) if each is not None]
    made = predictions_of_settled(
        [each for each in settled if each is not None], [tasks[index][2] for index in together]
    )
    found: list[ExactPredictions | MeanfieldError] = [NotConverged("not made")] * len(tasks)
    for index, each in zip(together, made, strict=True):
        found[index] = each
    for index in set(range(len(tasks))) - set(together):
        try:
            found[index] = _alone(*tasks[index])
        except MeanfieldError as error:
            found[index] = error
    return found


@lru_cache(maxsize=_REMEMBERED)
def _alone(network: Network, inputs: Inputs, length: int) -> ExactPredictions:
    try:
        return predictions_alone(network, inputs, length)
    except NotConverged:
        if inputs.overlap == 0.0:
            raise
        # Of opposite sequences the overlap of a critical network may be marginal; nothing else depends on it.
        found = predictions_alone(network, replace(inputs, overlap=0.0), length)
        return replace(found, numbers={**found.numbers, "overlap": None})


_known: OrderedDict[tuple[Network, float, float], SettledNetwork | None] = OrderedDict()
"""Networks met before, by what closed maps depend on: most requests of a table share their framework's default."""


def _settled(networks: Sequence[tuple[Network, Inputs]]) -> list[SettledNetwork | None]:
    """What shared rules say of networks of one cell; None where they do not settle one."""
    if not networks or not shares_a_rule(closed_cell(networks[0][0].definition)):
        return [None] * len(networks)
    keys = [(network, inputs.power, inputs.overlap) for network, inputs in networks]
    met = {key: _known[key] for key in keys if key in _known}
    new = {key: pair for key, pair in zip(keys, networks, strict=True) if key not in met}
    for start in range(0, len(new), _AT_ONCE):
        part = list(new.items())[start : start + _AT_ONCE]
        made = settled_networks([network for _, (network, _) in part], [inputs for _, (_, inputs) in part])
        met |= {key: each for (key, _), each in zip(part, made, strict=True)}
    for key, each in met.items():
        _known[key] = each
        _known.move_to_end(key)
    while len(_known) > _REMEMBERED:
        _known.popitem(last=False)
    return [met[key] for key in keys]


def _content(
    request: UntiedRequest,
    design: Design,
    own: ExactPredictions,
    default: Network | None,
    beside: ExactPredictions | None,
) -> RecipeFile:
    """The recipe's file."""
    layer, inputs = request.layer, request.inputs
    # What is known of one of the two is null in the other where that is not known.
    known = own.numbers.keys() | (beside.numbers.keys() if beside is not None else set())
    names = [name for name in NAMES if name in known]
    task = recipe_file.Task(
        length=request.length,
        hidden=request.hidden,
        input_size=inputs.size,
        inputs=recipe_file.InputsOfTask(**inputs.as_json()),
    )
    spread, defect = own.log_spread.value, own.defect.value
    if not math.isfinite(defect):
        raise NotConverged("the isometry defect of the design is not a number; shorten the length")
    predictions = Predictions.model_validate(own.as_json(names))
    gates = laws_of(design.network, hidden=request.hidden, inputs=inputs.size)
    method = recipe_file.Method(
        objective=VERSIONS["isometry"],
        regime="untied",
        seed=request.seed,
        search={"evaluations": design.evaluations},
        status=design.status,
        population={"units": 0, "groups": 0},
        value=-defect,
        terms={"mean": spread - defect, "spread": -spread},
        binding=[],
        parameters=design.parameters,
    )
    reverse = recipe_file.FurtherLayer(
        layer=0,
        direction="reverse",
        gates=gates,
        input_size=inputs.size,
        inputs=task.inputs,
        predictions=predictions,
        method=method,
    )
    return RecipeFile(
        format=recipe_file.FORMAT,
        cell=request.cell,
        ensemble=recipe_file.entry_of(design.network.matrices),
        gates=gates,
        task=task,
        predictions=predictions,
        defaults=_beside(request, default, beside, names),
        method=method,
        layers=[reverse] if request.bidirectional else [],
        notes=_notes(request, design.network),
        version=meanfield.__version__,
        request_hash=request_hash(layer, task, 1, request.bidirectional, inputs),
    )


def _beside(
    request: UntiedRequest, default: Network | None, predictions: ExactPredictions | None, names: Sequence[str]
) -> recipe_file.DefaultOfFramework | None:
    if default is None or predictions is None:
        return None
    return recipe_file.DefaultOfFramework(
        framework=default_framework(request.cell),
        gates=laws_of(default, hidden=request.hidden, inputs=request.inputs.size),
        predictions=Predictions.model_validate(predictions.as_json(names)),
    )


def _notes(request: UntiedRequest, network: Network) -> list[str]:
    found = bound_notes(network, request.length)
    if request.hidden < NARROW:
        found.append(
            f"Predictions are of networks of very many units: at {request.hidden} units single networks scatter around "
            "them."
        )
    return found
