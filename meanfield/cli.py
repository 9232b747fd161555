"""The command line: ``meanfield recipe``, ``analyze``, ``sample``, ``fixed-points``, ``critical`` and ``schema``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from meanfield.errors import InvalidInput
from meanfield.terminal import (
    check_positive,
    errors_reported,
    inputs_for,
    print_table,
    read_network,
    search_progress,
    show_notes,
    steps_shown,
    white_inputs,
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


class Method(StrEnum):
    chains = "chains"
    array_rqmc = "array_rqmc"
    operator = "operator"


class DeviceOption(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


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
    "[bold]meanfield recipe gru_reset_after --length 200 --signal 20 --padding-power 0.1 --json[/bold]"
)
def recipe(
    cell: Annotated[str, typer.Argument(help="lstm, gru_reset_after (PyTorch's and Keras' GRU) or gru.")],
    length: Annotated[int, typer.Option(help="Steps of the task.")],
    hidden: Annotated[int, typer.Option(help="Width of the layer.")] = 256,
    inputs: Annotated[int, typer.Option(help="Input size of the layer.")] = 28,
    power: Power = 1.0,
    signal: Annotated[
        int | None, typer.Option(help="Steps that carry the signal; the rest is padding. All of them by default.")
    ] = None,
    padding_power: Annotated[float, typer.Option(help="Mean square of the padding; 0 for zeros.")] = 0.0,
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
        from meanfield.inputs import Inputs

        if output is not None:
            check_writable(output)
        if signal is None:
            task_inputs = Inputs(power=power, size=check_positive("inputs", inputs))
        else:
            check_positive("length", length)
            task_inputs = Inputs.padded(
                signal=signal,
                length=length,
                power=power,
                padding_power=padding_power,
                size=check_positive("inputs", inputs),
            )
        with search_progress("Searching") as progress:
            found = recipes.recipe(
                cell, length=length, hidden=hidden, inputs=task_inputs, seed=seed, units=units, progress=progress
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


@app.command(
    epilog="Examples:\n\n"
    "[bold]meanfield sample network.json[/bold]\n\n"
    "[bold]meanfield sample network.json --chains 4000000 --overlap 0.5 --json[/bold]\n\n"
    "[bold]meanfield sample network.json --histogram law[/bold] (writes law_c.csv and law_h.csv for an LSTM)"
)
def sample(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    chains: Annotated[int, typer.Option(help="Independent chains: more chains, smaller errors.")] = 1 << 18,
    steps: Annotated[int, typer.Option(help="Steps that every chain is averaged over.")] = 64,
    burn_in: Annotated[
        int | None, typer.Option(help="Steps before that; by default as many as the slowest gate needs.")
    ] = None,
    method: Annotated[
        Method,
        typer.Option(help="Independent chains, chains driven by quasi-random points, or moments by an operator."),
    ] = Method.chains,
    length: Annotated[int, typer.Option(help="Steps over which gradients are followed.")] = 64,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    device: Annotated[
        DeviceOption, typer.Option(help="Where chains run; auto takes a GPU if there is one.")
    ] = DeviceOption.auto,
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU; all cores by default.")] = None,
    histogram: Annotated[
        Path | None, typer.Option(help="Write the density of every state variable s to HISTOGRAM_s.csv.")
    ] = None,
    bins: Annotated[int, typer.Option(help="Bins of the histograms.")] = 100,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Sample the untied theory by brute force: stationary law, overlap, growth of gradients."""
    with errors_reported(debug):
        from meanfield import samples
        from meanfield.files import check_writable

        show_notes()
        network, inputs = white_inputs(file, power, overlap)
        tables = {}
        if histogram is not None:
            check_positive("bins", bins)
            tables = {name: Path(f"{histogram}_{name}.csv") for name in network.definition.states}
            for path in tables.values():
                check_writable(path)
        with steps_shown("Sampling") as progress:
            found = samples.sample(
                network,
                inputs,
                length=length,
                chains=chains,
                steps=steps,
                burn_in=burn_in,
                method=method.value,
                seed=seed,
                device=device.value,
                threads=threads,
                progress=progress,
            )
        for name, path in tables.items():
            found.law.histogram(name, bins=bins).save(path)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            from meanfield.report import samples_table

            print_table(samples_table(found))
            for path in tables.values():
                typer.echo(f"Written to {path}.")


@app.command(
    name="fixed-points",
    epilog="Examples:\n\n"
    "[bold]meanfield fixed-points network.json --overlap 0.5[/bold]\n\n"
    "[bold]meanfield fixed-points network.json --power 0 --json[/bold]",
)
def fixed_points(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Untied theory without sampling: moments, all fixed points of the overlap, time scales, with bounds."""
    with errors_reported(debug):
        from meanfield import closed_maps

        network, found_inputs = white_inputs(file, power, overlap)
        found = closed_maps.fixed_points(network, found_inputs)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            from meanfield.report import fixed_points_table

            print_table(fixed_points_table(found))


@app.command(
    epilog="Examples:\n\n"
    "[bold]meanfield critical network.json --parameter h.recurrent_gain --within 0 5[/bold]\n\n"
    "[bold]meanfield critical network.json --parameter h.recurrent_gain --within 0 5 "
    "--against f.bias_mean --values -2:4:13 -o line.csv[/bold]"
)
def critical(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    parameter: Annotated[
        str, typer.Option(help="A gate and a law, as h.recurrent_gain; * for all gates, as *.input_gain.")
    ],
    within: Annotated[tuple[float, float], typer.Option(help="Lowest and highest value to consider.")],
    against: Annotated[str | None, typer.Option(help="A second parameter, for a surface.")] = None,
    values: Annotated[
        str | None, typer.Option(help="Its values: FIRST:LAST:COUNT, or numbers with commas between them.")
    ] = None,
    target: Annotated[float, typer.Option(help="What χ is to be.")] = 1.0,
    points: Annotated[int, typer.Option(help="Values of the parameter that are looked at first.")] = 25,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a surface as a CSV file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a surface; needs Matplotlib.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Untied theory: where the growth χ of a perturbation is 1, in one parameter or two."""
    with errors_reported(debug):
        from meanfield import critical_points, critical_surfaces
        from meanfield.critical_report import critical_point_table, critical_surface_table, listed_values
        from meanfield.files import check_writable

        network, inputs = white_inputs(file, power, 0.0)
        if (against is None) != (values is None):
            raise InvalidInput("against and values: must be given together, or neither")
        if against is None and (output is not None or plot is not None):
            raise InvalidInput("output and plot: are for surfaces; give against and values too")
        for path in (output, plot):
            if path is not None:
                check_writable(path)
        with steps_shown("Following") as progress:
            if against is None or values is None:
                point = critical_points.critical_point(
                    network, parameter, inputs, within=within, target=target, points=points
                )
                content, table = point.as_json(), critical_point_table(point)
            else:
                surface = critical_surfaces.critical_surface(
                    network,
                    parameter,
                    against,
                    listed_values(values),
                    inputs,
                    within=within,
                    target=target,
                    points=points,
                    progress=progress,
                )
                content, table = surface.as_json(), critical_surface_table(surface)
                if output is not None:
                    surface.save(output)
                if plot is not None:
                    surface.plot(plot)
        if as_json:
            typer.echo(json.dumps(content, indent=2, allow_nan=False))
        else:
            print_table(table)
            for path in (output, plot):
                if path is not None:
                    typer.echo(f"Written to {path}.")


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


def main() -> None:
    """Entry point of the ``meanfield`` command."""
    app()
