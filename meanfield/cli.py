"""The ``meanfield`` command: recipe, analyze and schema here, other commands in the ``cli_`` modules beside."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from meanfield.cli_comparison import comparison
from meanfield.cli_figures import figures
from meanfield.cli_options import Debug, DeviceOption, EnsembleName, Json, Objective, Regime, Seed, Start, Units
from meanfield.cli_tables import tables
from meanfield.cli_theory import theory
from meanfield.cli_training import training
from meanfield.cli_validation import validation
from meanfield.terminal import (
    ensemble_for,
    errors_reported,
    inputs_for,
    print_table,
    read_network,
    search_progress,
    task_inputs_for,
)

app = typer.Typer(
    name="meanfield",
    help="How to initialise a recurrent network, and how far it will remember.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    recipe = "recipe"
    network = "network"


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        import meanfield

        typer.echo(meanfield.__version__)
        raise typer.Exit


@app.command(
    epilog="Examples:\n\n"
    "[bold]meanfield recipe lstm --length 784 --hidden 256 --inputs 28 -o lstm.json[/bold]\n\n"
    "[bold]meanfield recipe gru_reset_after --length 200 --signal 20 --padding-power 0.1 --json[/bold]\n\n"
    "[bold]meanfield recipe lstm --data train.npy --hidden 128 -o lstm.json[/bold] (sequences × steps × inputs)\n\n"
    "[bold]meanfield recipe lstm --length 200 --layers 2 --bidirectional -o stack.json[/bold]\n\n"
    "[bold]meanfield recipe vanilla --length 100 --ensemble svd --band 0.01[/bold]"
)
def recipe(
    cell: Annotated[
        str,
        typer.Argument(
            help="lstm, gru_reset_after (PyTorch's and Keras' GRU), gru, cifg_lstm, peephole_lstm, janet, minimal, "
            "vanilla or leaky."
        ),
    ],
    length: Annotated[int | None, typer.Option(help="Steps of the task; those of the data by default.")] = None,
    hidden: Annotated[int, typer.Option(help="Width of the layer.")] = 256,
    inputs: Annotated[int | None, typer.Option(help="Input size of the layer; that of the data, else 28.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The task's inputs: a .npy file, sequences × steps × inputs. A few sequences are read."),
    ] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; 1 by default.")] = None,
    signal: Annotated[
        int | None, typer.Option(help="Steps that carry the signal; the rest is padding. All of them by default.")
    ] = None,
    padding_power: Annotated[
        float | None, typer.Option(help="Mean square of the padding; 0, for zeros, by default.")
    ] = None,
    objective: Annotated[
        Objective, typer.Option(help="What the recipe is for: to learn, or χ = 1 with the smallest spread.")
    ] = Objective.learn,
    regime: Annotated[Regime, typer.Option(help="Of isometry: weights that stay, or fresh ones at every step.")] = (
        Regime.tied
    ),
    ensemble: Annotated[
        EnsembleName | None,
        typer.Option(help="Recurrent matrices; by default orthogonal for cells without gates, else gaussian."),
    ] = None,
    band: Annotated[
        float | None, typer.Option(help="Of ensemble svd: singular values from 1 - band to 1 + band times the gain.")
    ] = None,
    layers: Annotated[int, typer.Option(help="Layers; each is designed for the states of the one below.")] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Layers read in both directions.")] = False,
    budget: Annotated[float | None, typer.Option(help="Seconds that the search of a layer may take.")] = None,
    seed: Seed = 0,
    units: Units = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; whole or not at all.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Design an initialisation for a task, and predict what it does beside the framework's default."""
    with errors_reported(debug):
        from meanfield import recipes
        from meanfield.files import check_writable

        if output is not None:
            check_writable(output)
        task_inputs, steps = task_inputs_for(
            data=data,
            length=length,
            inputs=inputs,
            power=power,
            signal=signal,
            padding_power=padding_power,
            seed=seed,
        )
        with search_progress("Searching") as progress:
            found = recipes.recipe(
                cell,
                length=steps,
                hidden=hidden,
                inputs=task_inputs,
                objective=objective.value,
                regime=regime.value,
                ensemble=ensemble_for(ensemble.value if ensemble is not None else None, band),
                layers=layers,
                bidirectional=bidirectional,
                seed=seed,
                units=units,
                budget=budget,
                progress=progress,
            )
        if output is not None:
            found.save(output)
        if as_json:
            typer.echo(found.text(), nl=False)
        else:
            from meanfield.report import recipe_table

            print_table(recipe_table(found))
            if output is not None:
                typer.echo(f"Written to {output}.")


@app.command(
    epilog="Examples:\n\n"
    "[bold]meanfield analyze network.json --length 200 --inputs 28[/bold]\n\n"
    "[bold]meanfield analyze network.json --length 50 --regime untied --json[/bold]\n\n"
    "[bold]meanfield analyze lstm.json[/bold] (a recipe: on its own task)"
)
def analyze(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    length: Annotated[int | None, typer.Option(help="Steps to follow; a recipe's own by default, else 100.")] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Width that the eigenvalue edge is for; a recipe's own by default, else 256.")
    ] = None,
    inputs: Annotated[
        int | None, typer.Option(help="Input size; 0 for the limit of many. A recipe's own by default, else 0.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    regime: Annotated[Regime, typer.Option(help="Weights that stay, or fresh ones at every step.")] = Regime.tied,
    start: Annotated[
        Start | None, typer.Option(help="Where the steps begin; a recipe's at zero, else in the stationary state.")
    ] = None,
    units: Units = None,
    device: Annotated[
        DeviceOption, typer.Option(help="Where recurrent matrices are applied; auto takes a GPU if there is one.")
    ] = DeviceOption.cpu,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict states, gradients and spectra of a network or a recipe."""
    with errors_reported(debug):
        from meanfield import analyses

        network, task = read_network(file)
        if task is not None and task.content.task.inputs.kind == "data" and inputs is None and power is None:
            note = f"{file}: designed on measured data, which are not in the file; white noise of their power is used"
            typer.echo(f"meanfield: {note}", err=True)
        given = inputs_for(task, length=length, inputs=inputs, power=power, overlap=overlap)
        beginning: Literal["stationary", "zero"] | None = "zero" if task else None
        if start is not None:
            beginning = "zero" if start is Start.zero else "stationary"
        found = analyses.analyze(
            network,
            given,
            length=length if length is not None else (task.content.task.length if task else 100),
            hidden=hidden if hidden is not None else (task.content.task.hidden if task else 256),
            units=units,
            regime=regime.value,
            start=beginning,
            seed=seed,
            device=device.value,
        )
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            from meanfield.report import analysis_table

            print_table(analysis_table(found))


@app.command(epilog="Example:\n\n[bold]meanfield schema recipe > recipe.schema.json[/bold]")
def schema(
    kind: Annotated[Format, typer.Argument(help="Which file format.")] = Format.recipe,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of a file format."""
    with errors_reported(debug):
        from meanfield.recipe_file import NetworkFile, RecipeFile

        model = RecipeFile if kind is Format.recipe else NetworkFile
        content = model.model_json_schema()
        content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        typer.echo(json.dumps(content, indent=2))


app.add_typer(comparison)
app.add_typer(figures)
app.add_typer(tables)
app.add_typer(theory)
app.add_typer(training)
app.add_typer(validation)


def main() -> None:
    """Entry point of the ``meanfield`` command."""
    app()
