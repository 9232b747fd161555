"""One request of a table of recipes: checked, written in one way only, and made in one place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from meanfield.errors import InvalidInput
from meanfield.recipe_file import FORMAT, Strict

if TYPE_CHECKING:
    from meanfield.inputs import Inputs

LARGEST_COUNT = 2**31 - 1
LARGEST_SEED = 2**63 - 1
TOGETHER = ("vanilla", "leaky", "minimal", "gru", "janet", "peephole_lstm")
"""Cells whose untied recipes are made many at once."""

Make = Callable[["Request"], Mapping[str, Any]]
"""What makes the recipe of a request, as the JSON object of its file."""
MakeMany = Callable[[Sequence["Request"]], Sequence[Mapping[str, Any] | Exception]]
"""What makes those of several requests at once: for each of them its recipe, or why there is none."""


def _known_cell(name: str) -> str:
    from meanfield.cells import find

    find(name)
    return name


def _without_sign_of_zero(value: float) -> float:
    return value + 0.0


Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
CellName = Annotated[str, AfterValidator(_known_cell)]
Power = Annotated[float, Field(ge=0.0, allow_inf_nan=False), AfterValidator(_without_sign_of_zero)]
Overlap = Annotated[float, Field(ge=-1.0, lt=1.0), AfterValidator(_without_sign_of_zero)]


class Request(Strict):
    """What one recipe is for: the arguments of :func:`meanfield.recipe`, white and padded inputs spelled out.

    Attributes:
        cell: name of the cell.
        length: T, steps of the task.
        hidden: width N of the layer.
        inputs: input size M.
        power: mean square of every input component.
        overlap: overlap of two input sequences.
        signal: steps that carry the signal, padding after them; None where all do.
        padding_power: mean square of the padding.
        seed: of everything random.
        units: units of the population; None for the default.
        objective, regime: see :func:`meanfield.recipe`.
        ensemble: of the recurrent matrices; "default" leaves the choice to the recipe.
        layers, bidirectional: of the stack that the recipe is for.

    >>> Request(cell="lstm", length=700, hidden=300, inputs=28).canonical()
    '{"cell":"lstm","hidden":300,"inputs":28,"length":700}'
    """

    cell: CellName
    length: Count
    hidden: Count
    inputs: Count
    power: Power = 1.0
    overlap: Overlap = 0.0
    signal: Count | None = None
    padding_power: Power = 0.0
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    units: Count | None = None
    objective: Literal["learn", "isometry"] = "learn"
    regime: Literal["tied", "untied"] = "tied"
    ensemble: Literal["default", "gaussian", "orthogonal"] = "default"
    layers: Count = 1
    bidirectional: bool = False

    @model_validator(mode="after")
    def _a_signal(self) -> Self:
        if self.signal is not None and self.signal > self.length:
            raise ValueError(f"signal must not exceed the length {self.length}, got {self.signal}")
        if self.signal is None and self.padding_power != 0.0:
            raise ValueError(f"padding_power is of the steps after the signal; set signal, got {self.padding_power}")
        return self

    def canonical(self) -> str:
        """The one JSON text of this request: sorted, and without what is at its default.

        A field that a later version adds therefore leaves the keys of older requests as they are.
        """
        chosen = {name: getattr(self, name) for name in FIELDS if getattr(self, name) != DEFAULTS.get(name, ...)}
        return json.dumps(chosen, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def key(self, method: str) -> str:
        """32 hexadecimal digits of the SHA-256 of the request and of the version of its method."""
        return hashlib.sha256(f"{method}\n{self.canonical()}".encode()).hexdigest()[:32]


FIELDS: tuple[str, ...] = tuple(Request.model_fields)
"""Names of all fields, in their order."""

DEFAULTS: dict[str, Any] = {
    name: field.default for name, field in Request.model_fields.items() if not field.is_required()
}
"""Defaults of the fields that have one."""


def alone(request: Request) -> str | None:
    """The group of a request that is made by itself: none."""
    return None


@dataclass(frozen=True)
class Method:
    """What makes recipes. Another version gives other rows.

    Attributes:
        version: its name and version.
        make: the recipe of a request; a function of a module, so that workers have it too.
        objectives: versions of the objectives by name, where these change on their own.
        make_many: the recipes of several requests of one group, each as by itself; None if there are no groups.
        group_of: the group of a request, with whose other requests it can be made; None for one made by itself.
    """

    version: str
    make: Make
    objectives: Mapping[str, str] = field(default_factory=dict)
    make_many: MakeMany | None = None
    group_of: Callable[[Request], str | None] = alone

    def version_for(self, request: Request) -> str:
        """The version of what makes this request."""
        return f"{self.version} {self.objectives.get(request.objective, '')}".rstrip()

    def key(self, request: Request) -> str:
        """The key of a request's row."""
        return request.key(self.version_for(request))


def recipe_method() -> Method:
    """Recipes as :func:`meanfield.recipe` designs them.

    >>> recipe_method().version.split()[0]
    'meanfield.recipe/1'
    """
    import meanfield
    from meanfield.recipe_layers import VERSIONS

    return Method(
        f"{FORMAT} {meanfield.__version__}", make_recipe, VERSIONS, make_many=make_recipes, group_of=made_together
    )


def checked_request(content: Any, name: str) -> Request:
    """Check a request given as a mapping; ``name`` is what errors call it.

    Raises:
        InvalidInput: naming the first field that is wrong.

    >>> checked_request({"cell": "lstm", "length": 0, "hidden": 4, "inputs": 2}, "request 7")
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: request 7: length: input should be greater than or equal to 1, got 0
    """
    if isinstance(content, Request):
        return content
    try:
        return Request.model_validate(content)
    except ValidationError as error:
        raise InvalidInput(f"{name}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The first thing that a check found wrong: its field, what is allowed, what was given."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown field; there are {', '.join(FIELDS)}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("cell: ")
    shown = "" if isinstance(first["input"], dict | list) or first["type"] == "missing" else f", got {first['input']!r}"
    if first["type"] == "value_error":
        shown = ""
    return f"{path + ': ' if path else ''}{message[0].lower() + message[1:]}{shown}"


def make_recipe(request: Request) -> dict[str, Any]:
    """Design the recipe of a request, as the JSON object of its file.

    Raises:
        InvalidInput, Infeasible, NotConverged: as :func:`meanfield.recipe` does.

    >>> made = make_recipe(Request(cell="gru", length=8, hidden=32, inputs=4, units=256))
    >>> made["task"]["length"]
    8
    """
    from meanfield.recipes import recipe

    choices = ("objective", "regime", "ensemble", "layers", "bidirectional")
    options: dict[str, Any] = {
        name: getattr(request, name) for name in choices if getattr(request, name) != DEFAULTS[name]
    }
    return recipe(
        request.cell,
        length=request.length,
        hidden=request.hidden,
        inputs=inputs_of(request),
        seed=request.seed,
        units=request.units,
        **options,
    ).as_json()


def inputs_of(request: Request) -> Inputs:
    """What the network of a request reads."""
    from meanfield.inputs import Inputs

    if request.signal is None:
        return Inputs(request.power, request.overlap, request.inputs)
    return Inputs.padded(
        signal=request.signal,
        length=request.length,
        power=request.power,
        padding_power=request.padding_power,
        overlap=request.overlap,
        size=request.inputs,
    )


def made_together(request: Request) -> str | None:
    """The group of a request: its cell, if many recipes of it are made at once (docs/isometry.md)."""
    together = (
        request.objective == "isometry"
        and request.regime == "untied"
        and request.units is None
        and request.layers == 1
        and request.signal is None
        and request.cell in TOGETHER
    )
    return request.cell if together else None


def make_recipes(requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
    """The recipes of requests of one group, each as :func:`make_recipe` has it, or why there is none."""
    from meanfield.exact_recipes import UntiedRequest, untied_recipes

    found = untied_recipes(
        [
            UntiedRequest(
                cell=request.cell,
                length=request.length,
                hidden=request.hidden,
                inputs=inputs_of(request),
                ensemble=request.ensemble if request.ensemble != DEFAULTS["ensemble"] else None,
                bidirectional=request.bidirectional,
                seed=request.seed,
            )
            for request in requests
        ]
    )
    return [each if isinstance(each, Exception) else each.as_json() for each in found]
