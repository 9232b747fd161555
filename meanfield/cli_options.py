"""Options that commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.", min=0)]
Units = Annotated[
    int | None, typer.Option(help="Units of the population: more units, smaller errors. 2048 or more by default.")
]
Power = Annotated[float, typer.Option(help="Mean square of every input component.")]


class Regime(StrEnum):
    tied = "tied"
    untied = "untied"


class Start(StrEnum):
    stationary = "stationary"
    zero = "zero"


class Objective(StrEnum):
    learn = "learn"
    isometry = "isometry"


class EnsembleName(StrEnum):
    gaussian = "gaussian"
    orthogonal = "orthogonal"
    svd = "svd"


class Method(StrEnum):
    chains = "chains"
    array_rqmc = "array_rqmc"
    operator = "operator"


class DeviceOption(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
