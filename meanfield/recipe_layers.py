"""The design of one layer of a recipe, with its predictions, and the framework's default beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from meanfield import recipe_file
from meanfield.analyses import Analysis, analyze, analyze_from_zero
from meanfield.band_bounds import gradient_bound
from meanfield.defaults import default_framework, framework_default, frameworks_of
from meanfield.design import Design, Progress, check_sequences, require, search
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import as_json_or_absent
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.objective import evaluate_many, sequences_for, terms_of
from meanfield.objective_terms import Terms
from meanfield.recipe_file import GateLaws, Predictions, laws_of
from meanfield.sampling.population import Layout, Regime
from meanfield.search_spaces import search_space
from meanfield.trajectory import Start, arrange
from meanfield.weight_ensembles import Ensemble

ObjectiveName = Literal["learn", "isometry"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)
VERSIONS = {"learn": "learn/3", "isometry": "isometry/2"}

NARROW = 32  # units below which predictions of wide networks scatter visibly
REACHED = 1e-4  # share of the last state's variance that the oldest quarter of the inputs must reach


@dataclass(frozen=True)
class LayerRequest:
    """What every layer of a recipe is designed for; see :func:`meanfield.recipe`."""

    cell: str
    length: int
    hidden: int
    objective: ObjectiveName
    regime: Regime
    ensemble: Ensemble | str | None
    seed: int
    units: int | None
    budget: float | None

    @property
    def layout(self) -> Layout:
        """Groups and units of the population behind the predictions."""
        return arrange(hidden=self.hidden, units=self.units)

    @property
    def start(self) -> Start | None:
        """Where predicted steps begin: at the zero state, as a framework's layer does."""
        return "zero" if self.regime == "tied" else None


@dataclass(frozen=True)
class LayerDesign:
    """One layer and direction.

    Attributes:
        layer, direction: its place.
        request: what was asked for.
        inputs: what it reads.
        design: what the search found.
        terms: of the objective, with other random numbers than the search has seen; None of isometries.
        analysis: what theory predicts.
    """

    layer: int
    direction: Literal["forward", "reverse"]
    request: LayerRequest
    inputs: Inputs
    design: Design
    terms: Terms | None
    analysis: Analysis

    @property
    def network(self) -> Network:
        return self.design.network

    @property
    def predictions(self) -> Predictions:
        return _predictions(self.analysis)

    def laws(self, hidden: int) -> dict[str, GateLaws]:
        return laws_of(self.network, hidden=hidden, inputs=self.inputs.size)

    def method(self, default: DefaultBeside | None) -> recipe_file.Method:
        """How it was found; the value of the framework's default is beside that of a first layer."""
        request = self.request
        layout = request.layout
        value, terms = self._value()
        return recipe_file.Method(
            objective=VERSIONS[request.objective],
            regime=request.regime,
            seed=request.seed,
            search={"evaluations": self.design.evaluations},
            status=self.design.status,
            population={"units": layout.units * layout.groups, "groups": layout.groups},
            value=value,
            default_value=default.terms.value() if default is not None and default.terms is not None else None,
            terms=terms,
            binding=self.terms.binding() if self.terms is not None else [],
            parameters=self.design.parameters,
        )

    def entry(self, hidden: int) -> recipe_file.FurtherLayer:
        """Its entry in a file, beyond the first layer."""
        return recipe_file.FurtherLayer(
            layer=self.layer,
            direction=self.direction,
            gates=self.laws(hidden),
            input_size=self.inputs.size,
            inputs=recipe_file.InputsOfTask(**self.inputs.as_json()),
            predictions=self.predictions,
            method=self.method(None),
        )

    def _value(self) -> tuple[float, dict[str, float]]:
        if self.terms is not None:
            return self.terms.value(), self.terms.contributions()
        spread, defect = self.analysis.gradients.log_spread.value, self.analysis.gradients.isometry_defect.value
        if not math.isfinite(defect):
            raise NotConverged("the isometry defect of the design is not a number; shorten the length")
        return -defect, {"mean": spread - defect, "spread": -spread}


@dataclass(frozen=True)
class DefaultBeside:
    """The framework's default for the same layer.

    Attributes:
        framework: its name.
        network: its laws.
        terms: of the objective; None of isometries, or where its gradients leave the range of numbers.
        analysis: what theory predicts.
    """

    framework: str
    network: Network
    terms: Terms | None
    analysis: Analysis

    def entry(self, hidden: int, inputs: int) -> recipe_file.DefaultOfFramework:
        return recipe_file.DefaultOfFramework(
            framework=self.framework,
            gates=laws_of(self.network, hidden=hidden, inputs=inputs),
            predictions=_predictions(self.analysis),
        )


def design_layer(
    request: LayerRequest,
    inputs: Inputs,
    *,
    layer: int = 0,
    direction: Literal["forward", "reverse"] = "forward",
    progress: Progress | None = None,
) -> LayerDesign:
    """Search a layer's gains and biases, and predict what it does.

    Raises:
        InvalidInput: if the cell or an argument is out of its range.
        Infeasible: if no parameters satisfy a constraint; the message names it.
    """
    search_space(request.cell)
    terms = None
    if request.objective == "isometry":
        from meanfield.isometry_design import search_isometry

        if request.budget is not None:
            raise InvalidInput("budget: is of the objective 'learn'; isometries are solved for, not searched")
        design = search_isometry(
            request.cell,
            inputs,
            length=request.length,
            hidden=request.hidden,
            regime=request.regime,
            seed=request.seed,
            ensemble=request.ensemble if request.ensemble is not None else search_space(request.cell).ensemble,
            progress=progress,
        )
    else:
        check_sequences(inputs)
        design = search(
            request.cell,
            inputs,
            length=request.length,
            seed=request.seed,
            ensemble=request.ensemble,
            budget=request.budget,
            progress=progress,
        )
        terms, analysis = _certificate(request, design.network, inputs)
        if terms is None:
            raise NotConverged(
                "the search's best network leaves the range of numbers with other random weights; scale the inputs "
                "down, or shorten the length"
            )
        require(terms)
        return LayerDesign(layer, direction, request, inputs, design, terms, analysis)
    return LayerDesign(layer, direction, request, inputs, design, terms, _analysis(request, design.network, inputs))


def default_beside(request: LayerRequest, inputs: Inputs) -> DefaultBeside | None:
    """The framework's default for the first layer; None where no framework has such a layer."""
    if not frameworks_of(request.cell):
        return None
    framework = default_framework(request.cell)
    network = framework_default(request.cell, hidden=request.hidden, inputs=inputs.size, framework=framework)
    if request.objective == "learn":
        return DefaultBeside(framework, network, *_certificate(request, network, inputs))
    return DefaultBeside(framework, network, None, _analysis(request, network, inputs))


def notes(request: LayerRequest, first: LayerDesign, default: DefaultBeside | None) -> list[str]:
    """What the user should know of the numbers, in sentences."""
    found = []
    if default is not None and default.terms is not None and _reaches_back(default.terms):
        found.append(
            f"At {request.length} steps the {default.framework} default lets all inputs reach the last state too: it "
            "can learn at this length, if more slowly."
        )
    found += bound_notes(first.network, request.length)
    if request.hidden < NARROW:
        # Groups answer for networks of their own width; scatter grows as the root of one over the width.
        layout = request.layout
        moment = first.analysis.gradients.second_moment
        scatter = moment.error * math.sqrt(layout.groups * layout.units / request.hidden) / moment.value
        found.append(
            f"Predictions are of wide networks: at {request.hidden} units E[h²] of one network scatters by about "
            f"{scatter:.0%} around them, and gradients by more."
        )
    return found


def bound_notes(network: Network, length: int) -> list[str]:
    """What the band of singular values of the recurrent matrix alone says of gradients, where it says something."""
    bound = gradient_bound(network, length=length)
    if bound is None:
        return []
    return [
        f"Whatever the inputs, no singular value of ∂h_T/∂h_0 over {length} steps exceeds "
        f"10^{bound.log10_largest:.3g}: a bound from the singular values of the recurrent matrix alone, not a "
        "prediction."
    ]


def _reaches_back(terms: Terms) -> bool:
    return min(terms.responses) >= REACHED * (terms.variance + 0.01)


def _certificate(request: LayerRequest, network: Network, inputs: Inputs) -> tuple[Terms | None, Analysis]:
    """The terms of the objective and all predictions, with other random numbers than the search has seen."""
    seed = request.seed + 1
    if isinstance(inputs, MeasuredInputs):
        layout = replace(request.layout, sequences=sequences_for(inputs))
        (terms,) = evaluate_many([network], inputs, length=request.length, layout=layout, seed=seed)
        return terms, _analysis(request, network, inputs)
    found = analyze_from_zero(
        network,
        inputs,
        length=request.length,
        hidden=request.hidden,
        layout=request.layout,
        regime=request.regime,
        seed=seed,
    )
    (terms,) = terms_of(found.trajectory, found.adjoint, inputs)
    return terms, found.analysis


def _analysis(request: LayerRequest, network: Network, inputs: Inputs) -> Analysis:
    return analyze(
        network,
        inputs,
        length=request.length,
        hidden=request.hidden,
        units=request.units,
        regime=request.regime,
        start=request.start,
        seed=request.seed + 1,
    )


def _predictions(analysis: Analysis) -> Predictions:
    numbers: dict[str, Any] = {name: as_json_or_absent(number) for name, number in analysis.numbers().items()}
    return Predictions.model_validate({"numbers": numbers, **analysis.profiles_as_json()})
