"""The command ``meanfield compare``: a recipe beside the initialisations that people use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from meanfield.cli_options import Debug, Json
from meanfield.errors import InvalidInput
from meanfield.terminal import errors_reported, print_table, read_network, steps_shown

comparison = typer.Typer()


@comparison.command(
    epilog="Examples:\n\n"
    "[bold]meanfield compare lstm.json[/bold]\n\n"
    "[bold]meanfield compare lstm.json --against pytorch,chrono --plot compare.png[/bold]"
)
def compare(
    file: Annotated[Path, typer.Argument(help="A recipe.")],
    against: Annotated[
        str | None,
        typer.Option(help="pytorch, keras, flax, lecun, forget_one, chrono, orthogonal, as far as the cell has them."),
    ] = None,
    units: Annotated[
        int | None, typer.Option(help="Units of every population: fewer are faster. The recipe's by default.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw how marks of inputs fade; needs Matplotlib.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict a recipe beside the frameworks' defaults and other usual initialisations, on its own task."""
    with errors_reported(debug):
        from meanfield import comparison as comparisons
        from meanfield.files import check_writable

        if plot is not None:
            check_writable(plot)
        names = None if against is None else [name.strip() for name in against.split(",")]
        _, recipe = read_network(file)
        if recipe is None:
            raise InvalidInput(
                f"{file}: is a network, which has no task to be compared on; give a recipe, as 'meanfield recipe' "
                f"writes it, or see what the network does with 'meanfield analyze {file}'"
            )
        if recipe.content.task.inputs.kind == "data":
            note = f"{file}: designed on measured data, which are not in the file; white noise of their power is used"
            typer.echo(f"meanfield: {note}", err=True)
        with steps_shown("Initialisations") as progress:
            found = comparisons.compare(recipe, against=names, units=units, progress=progress)
        if plot is not None:
            found.plot(plot)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            from meanfield.comparison_report import comparison_table

            print_table(comparison_table(found))
            if plot is not None:
                typer.echo(f"Written to {plot}.")
