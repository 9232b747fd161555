"""Commands that simulate: validate and lyapunov."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from meanfield.cli_options import Debug, Json, Regime, Seed, Start
from meanfield.errors import NotConverged
from meanfield.terminal import errors_reported, inputs_for, print_table, read_network, steps_shown

validation = typer.Typer()

_THEORY_LENGTH = 200  # lags over which the theory's growth of gradients is read
_REST = 1e-20  # a second moment below is that of the zero state


@validation.command(
    epilog="Examples:\n\n"
    "[bold]meanfield validate lstm.json --hidden 512 --networks 8[/bold]\n\n"
    "[bold]meanfield validate network.json --length 50 --inputs 28 --json[/bold]"
)
def validate(
    file: Annotated[Path, typer.Argument(help="A recipe, for the predictions in it, or a network file.")],
    hidden: Annotated[
        int | None, typer.Option(help="Width of the simulated networks; a recipe's own by default, else 256.")
    ] = None,
    networks: Annotated[int, typer.Option(help="How many networks are simulated.")] = 8,
    length: Annotated[int | None, typer.Option(help="Steps to follow; a recipe's own by default, else 100.")] = None,
    inputs: Annotated[
        int | None, typer.Option(help="Input size; 0 for as many as units. A recipe's own by default, else 0.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    regime: Annotated[
        Regime | None, typer.Option(help="Weights that stay, or fresh ones at every step; tied by default.")
    ] = None,
    start: Annotated[
        Start | None, typer.Option(help="Where the steps begin; a recipe's at zero, else in the stationary state.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Set predictions beside simulated networks; exit code 1 if one of them fails at 5σ.

    A recipe is held to the numbers in its file, every layer to its own; with --length, --inputs, --power, --overlap,
    --regime or --start its first layer, and a network file, is predicted first, for the width that is simulated.
    """
    with errors_reported(debug):
        from meanfield.validation.recipe_check import validate_network, validate_recipe
        from meanfield.validation.validation_report import validation_table

        network, task = read_network(file)
        anew = (
            task is None or overlap != 0.0 or any(each is not None for each in (length, inputs, power, regime, start))
        )
        with steps_shown("Networks") as progress:
            if not anew:
                found = validate_recipe(task, hidden=hidden, networks=networks, seed=seed, progress=progress)
            else:
                found = validate_network(
                    network,
                    inputs_for(task, length=length, inputs=inputs, power=power, overlap=overlap),
                    length=length if length is not None else (task.content.task.length if task else 100),
                    hidden=hidden if hidden is not None else (task.content.task.hidden if task else 256),
                    networks=networks,
                    regime=regime.value if regime is not None else "tied",
                    start=_beginning(start, task),
                    seed=seed,
                    progress=progress,
                )
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            print_table(validation_table(found))
    if not found.agrees:
        raise typer.Exit(1)


@validation.command(
    epilog="Examples:\n\n"
    "[bold]meanfield lyapunov network.json --hidden 256 --steps 2000[/bold]\n\n"
    "[bold]meanfield lyapunov network.json --power 0 --exponents 50 --networks 4 --json[/bold]"
)
def lyapunov(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    hidden: Annotated[
        int | None, typer.Option(help="Width of the simulated networks; a recipe's own by default, else 256.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps that exponents are averaged over.")] = 1000,
    transient: Annotated[int, typer.Option(help="Steps before.")] = 200,
    exponents: Annotated[
        int | None, typer.Option(help="How many, the largest ones; by default all, one for every state variable.")
    ] = None,
    networks: Annotated[int, typer.Option(help="How many networks are simulated.")] = 1,
    inputs: Annotated[
        int | None, typer.Option(help="Input size; 0 for as many as units. A recipe's own by default, else 0.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    regime: Annotated[Regime, typer.Option(help="Weights that stay, or fresh ones at every step.")] = Regime.tied,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lyapunov exponents of simulated networks, attractor dimension and entropy rate."""
    with errors_reported(debug):
        from meanfield.inputs import Inputs
        from meanfield.validation.network_lyapunov import network_lyapunov
        from meanfield.validation.validation_report import LyapunovReport

        network, task = read_network(file)
        given = inputs_for(task, length=None, inputs=inputs, power=power, overlap=0.0)
        # Exponents need more steps than a task has: white inputs of its power.
        given = Inputs(given.power, 0.0, given.size)
        width = hidden if hidden is not None else (task.content.task.hidden if task else 256)
        with steps_shown("Steps") as progress:
            found = network_lyapunov(
                network,
                given,
                hidden=width,
                exponents=exponents,
                steps=steps,
                transient=transient,
                networks=networks,
                regime=regime.value,
                seed=seed,
                progress=progress,
            )
        predicted = _half_growth(network, given, hidden=width, regime=regime.value, seed=seed)
        report = LyapunovReport(network, regime.value, steps, found, predicted)
        if as_json:
            typer.echo(json.dumps(report.as_json(), indent=2, allow_nan=False))
        else:
            print_table(report.table())


def _beginning(start: Start | None, task: Any) -> Literal["stationary", "zero"] | None:
    if start is not None:
        return "zero" if start is Start.zero else "stationary"
    return "zero" if task is not None else None


def _half_growth(network: Any, inputs: Any, *, hidden: int, regime: Literal["tied", "untied"], seed: int) -> Any:
    """The top exponent that theory predicts, None where it has no prediction.

    States that explode have none, nor has a network without inputs and biases beyond its transition: populations start
    at the zero state and stay there, simulated networks leave it.
    """
    import numpy as np

    from meanfield.estimate import Estimate
    from meanfield.gradient_profiles import gradients

    options: dict[str, Any] = {"hidden": hidden, "regime": regime, "seed": seed}
    with np.errstate(over="ignore"):
        try:
            found = gradients(network, inputs, length=_THEORY_LENGTH, **options)
        except NotConverged:
            # Slower than the longest transient, or exploding.
            try:
                found = gradients(network, inputs, length=2 * _THEORY_LENGTH, start="zero", **options)
            except NotConverged:
                return None
    resting_unstably = found.second_moment.value < _REST and found.chi.value > 1.0
    if found.chi.value == 0.0 or resting_unstably:
        return None
    return Estimate(0.5 * math.log(found.chi.value), 0.5 * found.chi.error / found.chi.value)
