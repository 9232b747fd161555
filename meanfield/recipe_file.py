"""The recipe file: one JSON object that a reader in any language can apply without this package."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network
from meanfield.weight_ensembles import Ensemble

FORMAT: Literal["meanfield.recipe/1"] = "meanfield.recipe/1"

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Unknown fields and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WeightLaw(Strict):
    """Law of a weight matrix: independent normal entries of mean zero."""

    law: Literal["normal"] = "normal"
    gain: Positive
    fan_in: Count
    std: Positive = Field(description="gain / sqrt(fan_in)")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = self.gain / self.fan_in**0.5
        if abs(self.std - expected) > 1e-9 * max(expected, 1e-300):
            raise ValueError(f"std must be gain / sqrt(fan_in) = {expected!r}, got {self.std!r}")
        return self


class OrthogonalLaw(Strict):
    """Law of a square recurrent matrix: ``gain`` times an orthogonal matrix of the uniform (Haar) law."""

    law: Literal["orthogonal"]
    gain: Positive


class SingularValueLaw(Strict):
    """Law of a square recurrent matrix: ``gain`` U diag(s) Vᵀ with U and V of the uniform law on orthogonal matrices.

    The s are independent and uniform from ``centre - half_width`` to ``centre + half_width``.
    """

    law: Literal["svd"]
    gain: Positive
    centre: Positive
    half_width: Positive

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        if self.half_width > self.centre:
            raise ValueError(f"half_width must not exceed centre = {self.centre!r}, got {self.half_width!r}")
        return self


def _law_of(value: Any) -> str:
    return str(value.get("law", "normal") if isinstance(value, dict) else getattr(value, "law", "normal"))


RecurrentLaw = Annotated[
    Annotated[WeightLaw, Tag("normal")]
    | Annotated[OrthogonalLaw, Tag("orthogonal")]
    | Annotated[SingularValueLaw, Tag("svd")],
    Discriminator(
        _law_of,
        custom_error_type="law",
        custom_error_message="must be 'normal', 'orthogonal' or 'svd'",
    ),
]


class BiasLaw(Strict):
    """Law of a bias: independent normal entries."""

    law: Literal["normal"] = "normal"
    mean: Number
    std: Positive


class GateLaws(Strict):
    """Laws of one gate. ``bias`` is the whole bias: a framework with two biases takes it in one of them.

    ``recurrent_bias`` is the second bias of gate h of gru_reset_after, inside the reset product.
    """

    recurrent: RecurrentLaw | None = None
    input: WeightLaw | None = None
    bias: BiasLaw
    recurrent_bias: BiasLaw | None = None


class InputsOfTask(Strict):
    """What the network reads during the task."""

    kind: Literal["white", "padded", "data"]
    power: Positive
    overlap: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    signal: Count | None = None
    padding_power: Positive | None = None
    sequences: Count | None = None


class Task(Strict):
    """What the recipe is for."""

    length: Count
    hidden: Count
    input_size: Count
    inputs: InputsOfTask


class EstimateEntry(Strict):
    """A predicted number with its error; null where the number does not exist or is infinite."""

    value: Number | None
    error: Number | None


class ProfileEntry(Strict):
    """A profile at one lag; ``log10_value`` keeps what is too small for ``value``, null where it is exactly zero."""

    lag: Annotated[int, Field(ge=0)]
    value: Number | None
    error: Number | None
    log10_value: Number | None


class Predictions(Strict):
    """What theory predicts: numbers by name, and profiles over the lag."""

    numbers: dict[str, EstimateEntry]
    gradient_profile: list[ProfileEntry]
    input_sensitivity: list[ProfileEntry]


class DefaultOfFramework(Strict):
    """The framework's own initialisation of the same layer, and the same predictions for it."""

    framework: str
    gates: dict[str, GateLaws]
    predictions: Predictions


class Method(Strict):
    """How the recipe was found and its predictions were computed."""

    objective: str
    regime: Literal["tied", "untied"]
    seed: Annotated[int, Field(ge=0)]
    search: dict[str, int]
    status: str = Field(default="", description="how the search ended")
    population: dict[str, int]
    value: Number = Field(description="the objective")
    default_value: Number | None = Field(default=None, description="the objective of the framework's default")
    terms: dict[str, Number] = Field(description="what J is made of, by term")
    binding: list[str] = Field(description="penalties of J that are active")
    parameters: dict[str, Number] = Field(description="the searched parameters")


class SvdEnsemble(Strict):
    """Matrices U diag(s) Vᵀ with s uniform from ``centre - half_width`` to ``centre + half_width``."""

    name: Literal["svd"]
    centre: Positive = 1.0
    half_width: Positive = 0.01


EnsembleEntry = Annotated[
    Annotated[Literal["gaussian", "orthogonal", "svd"], Tag("named")] | Annotated[SvdEnsemble, Tag("svd")],
    Discriminator(lambda value: "svd" if isinstance(value, dict | SvdEnsemble) else "named"),
]
_TAGS = {"recurrent": ("normal", "orthogonal", "svd"), "ensemble": ("named", "svd")}


class FurtherLayer(Strict):
    """A layer or direction beyond the first: one above it, or one that reads the sequence backwards."""

    layer: Annotated[int, Field(ge=0)]
    direction: Literal["forward", "reverse"]
    gates: dict[str, GateLaws]
    input_size: Count
    inputs: InputsOfTask
    predictions: Predictions
    method: Method


class RecipeFile(Strict):
    """An initialisation of a recurrent layer with what theory predicts for it."""

    format: Literal["meanfield.recipe/1"]
    cell: str
    ensemble: EnsembleEntry = Field(
        default="gaussian", description="of all recurrent matrices, as their laws spell out"
    )
    gates: dict[str, GateLaws]
    task: Task
    predictions: Predictions
    defaults: DefaultOfFramework | None = Field(description="null where no framework has such a layer")
    method: Method
    layers: list[FurtherLayer] = Field(default=[], description="further layers and directions, in PyTorch's order")
    notes: list[str] = Field(default=[], description="what the user should know of the numbers, in sentences")
    version: str = Field(description="version of the package that wrote the file")
    request_hash: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the complete request")

    @model_validator(mode="after")
    def _a_network(self) -> Self:
        stated = ensemble_of(self.ensemble)
        for gates in (self.gates, *(layer.gates for layer in self.layers)):
            described = network_of(self.cell, gates).matrices
            if described != stated and any(laws.recurrent is not None for laws in gates.values()):
                raise ValueError(f"ensemble is {stated.name!r}, but the recurrent laws are {described.name!r}")
        return self


class GateEntry(Strict):
    """One gate of a network file."""

    recurrent_gain: Positive = 0.0
    input_gain: Positive = 0.0
    bias_mean: Number = 0.0
    bias_std: Positive = 0.0
    recurrent_bias_mean: Number = 0.0
    recurrent_bias_std: Positive = 0.0


class NetworkFile(Strict):
    """A network to analyse."""

    cell: str
    gates: dict[str, GateEntry]
    ensemble: EnsembleEntry = "gaussian"


def laws_of(network: Network, *, hidden: int, inputs: int) -> dict[str, GateLaws]:
    """A network's gates as laws of weights, their scaling spelled out."""
    definition = network.definition
    embedding = {each.gate for each in definition.fields if each.gain == "input_gain"}
    recurrent = {each.gate for each in definition.fields if each.gain == "recurrent_gain"}
    laws: dict[str, GateLaws] = {}
    for name, gate in network.gates.items():
        reads_input = name in definition.input_gates or name in embedding
        laws[name] = GateLaws(
            recurrent=_recurrent(network.matrices, gate.recurrent_gain, hidden) if name in recurrent else None,
            input=_weights(gate.input_gain, hidden if name in embedding else inputs) if reads_input else None,
            bias=BiasLaw(mean=gate.bias_mean, std=gate.bias_std),
            recurrent_bias=BiasLaw(mean=gate.recurrent_bias_mean, std=gate.recurrent_bias_std)
            if name in definition.recurrent_bias_gates
            else None,
        )
    return laws


def network_of(cell: str, gates: dict[str, GateLaws]) -> Network:
    """The network whose laws these are.

    Raises:
        InvalidInput: if the cell or a gate is unknown, or a gate is missing, or gates are of different ensembles.
    """
    ensembles = {_ensemble_of_law(laws.recurrent) for laws in gates.values() if laws.recurrent is not None}
    if len(ensembles) > 1:
        names = ", ".join(sorted(each.name for each in ensembles))
        raise InvalidInput(f"gates: the recurrent matrices of all gates must be of one ensemble, got {names}")
    return Network(
        cell,
        {
            name: Gate(
                recurrent_gain=laws.recurrent.gain if laws.recurrent else 0.0,
                input_gain=laws.input.gain if laws.input else 0.0,
                bias_mean=laws.bias.mean,
                bias_std=laws.bias.std,
                recurrent_bias_mean=laws.recurrent_bias.mean if laws.recurrent_bias else 0.0,
                recurrent_bias_std=laws.recurrent_bias.std if laws.recurrent_bias else 0.0,
            )
            for name, laws in gates.items()
        },
        *ensembles,
    )


def ensemble_of(entry: EnsembleEntry) -> Ensemble:
    """The ensemble that a file names."""
    return Ensemble(entry) if isinstance(entry, str) else Ensemble(entry.name, entry.centre, entry.half_width)


def entry_of(ensemble: Ensemble) -> EnsembleEntry:
    """What a file calls an ensemble."""
    if ensemble.name == "svd":
        return SvdEnsemble(name="svd", centre=ensemble.centre, half_width=ensemble.half_width)
    return "orthogonal" if ensemble.name == "orthogonal" else "gaussian"


def _ensemble_of_law(law: RecurrentLaw) -> Ensemble:
    if isinstance(law, SingularValueLaw):
        return Ensemble("svd", law.centre, law.half_width)
    return Ensemble("orthogonal" if isinstance(law, OrthogonalLaw) else "gaussian")


def _recurrent(ensemble: Ensemble, gain: float, hidden: int) -> RecurrentLaw:
    if ensemble.name == "svd":
        return SingularValueLaw(law="svd", gain=gain, centre=ensemble.centre, half_width=ensemble.half_width)
    return OrthogonalLaw(law="orthogonal", gain=gain) if ensemble.name == "orthogonal" else _weights(gain, hidden)


def parse_recipe(content: Any, name: str) -> RecipeFile:
    """Check a parsed recipe file; ``name`` is what errors call it.

    Raises:
        InvalidInput: naming the first field that is wrong.
    """
    if isinstance(content, dict) and content.get("format") != FORMAT:
        raise InvalidInput(f"{name}: format: must be {FORMAT!r}, got {content.get('format')!r}")
    return _parse(RecipeFile, content, name)


def parse_network(content: Any, name: str) -> Network:
    """Check a parsed network file.

    Raises:
        InvalidInput: naming the first field that is wrong.
    """
    parsed = _parse(NetworkFile, content, name)
    try:
        return Network(
            parsed.cell,
            {gate: Gate(**entry.model_dump()) for gate, entry in parsed.gates.items()},
            ensemble_of(parsed.ensemble),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error


def _parse(model: type[Model], content: Any, name: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        path = _path(first["loc"])
        got = first["input"]
        if first["type"] == "law":
            path, got = f"{path}.law", _law_of(got)
        shown = "" if isinstance(got, dict | list) or first["type"] == "missing" else f", got {got!r}"
        message = first["msg"].removeprefix("Value error, ")
        message = "unknown field" if first["type"] == "extra_forbidden" else message[0].lower() + message[1:]
        raise InvalidInput(f"{name}: {path + ': ' if path else ''}{message}{shown}") from error


def _path(place: tuple[int | str, ...]) -> str:
    """Where in a file a field is, without the alternatives that were tried for it."""
    shown = [part for index, part in enumerate(place) if not index or part not in _TAGS.get(str(place[index - 1]), ())]
    return ".".join(map(str, shown))


def _weights(gain: float, fan_in: int) -> WeightLaw:
    return WeightLaw(gain=gain, fan_in=fan_in, std=gain / fan_in**0.5)
