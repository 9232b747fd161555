"""Commands that draw: figures of the theory beside simulated networks, and the report of a recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from meanfield.cli_options import Debug, Seed, Units
from meanfield.errors import InvalidInput
from meanfield.terminal import errors_reported, print_table, read_network, steps_shown

figures = typer.Typer()


class PictureFormat(StrEnum):
    png = "png"
    pdf = "pdf"
    svg = "svg"


class ReportPictures(StrEnum):
    svg = "svg"
    png = "png"


@figures.command(
    name="figures",
    epilog="Examples:\n\n"
    "[bold]meanfield figures --list[/bold]\n\n"
    "[bold]meanfield figures tied-untied eigenvalues -o figures --format pdf --format png[/bold]\n\n"
    "[bold]meanfield figures training-curves --runs runs.jsonl[/bold]",
)
def draw_figures(
    names: Annotated[list[str] | None, typer.Argument(help="Which figures; all by default.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the pictures, and their numbers as CSV.")
    ] = Path("figures"),
    formats: Annotated[
        list[PictureFormat] | None, typer.Option("--format", help="Of the pictures; may be given several times. png.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures and stop.")] = False,
    small: Annotated[bool, typer.Option("--small", help="Few, narrow networks: sketches in seconds.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute anew what was computed before.")] = False,
    runs: Annotated[Path | None, typer.Option(help="Runs of 'meanfield train run', for training-curves.")] = None,
    table: Annotated[Path | None, typer.Option(help="A table of 'meanfield table run', for recipe-table.")] = None,
    number: Annotated[str, typer.Option(help="Of the table: which number.")] = "chi",
    across: Annotated[str, typer.Option(help="Of the table: the field along the horizontal axis.")] = "length",
    up: Annotated[str, typer.Option(help="Of the table: the field along the vertical axis.")] = "hidden",
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Compute and draw the figures of the gallery; what was computed before is taken from the cache."""
    with errors_reported(debug):
        if listed:
            _list()
            return
        from meanfield.validation.figures.cache import Cache
        from meanfield.validation.figures.making import FileSources, make_figures
        from meanfield.validation.figures.named_figure import Size

        with _figures_shown() as progress:
            made = make_figures(
                names or [],
                output,
                formats=[each.value for each in formats or [PictureFormat.png]],
                size=Size(seed, small),
                sources=FileSources(runs, table, {"number": number, "across": across, "up": up}),
                cache=Cache.default(fresh=fresh),
                progress=progress,
            )
        for each in made:
            if each.skipped:
                typer.echo(f"meanfield: {each.name}: skipped; {each.skipped}", err=True)
            else:
                note = " (numbers from the cache)" if each.cached else ""
                typer.echo(f"Written to {', '.join(map(str, each.files))}{note}.")
        if names and all(each.skipped for each in made):
            raise typer.Exit(2)


@figures.command(epilog="Example:\n\n[bold]meanfield report lstm.json -o report.html[/bold]")
def report(
    file: Annotated[Path, typer.Argument(help="A recipe.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write; whole or not at all.")] = Path(
        "report.html"
    ),
    pictures: Annotated[ReportPictures, typer.Option(help="Format of the pictures inside.")] = ReportPictures.svg,
    units: Units = None,
    debug: Debug = False,
) -> None:
    """Write a recipe as one HTML file: laws, predictions beside usual initialisations, profiles, spectra."""
    with errors_reported(debug):
        from meanfield.files import check_writable, write_whole
        from meanfield.validation.figures.recipe_pictures import recipe_report

        check_writable(output)
        _, recipe = read_network(file)
        if recipe is None:
            raise InvalidInput(f"{file}: is a network; give a recipe, as 'meanfield recipe' writes it")
        with steps_shown("Initialisations") as progress:
            found = recipe_report(recipe, units=units, kind=pictures.value, progress=progress)
        write_whole(output, found.page)
        for sentence in found.left_out:
            typer.echo(f"meanfield: {sentence}", err=True)
        typer.echo(f"Written to {output}.")


def _list() -> None:
    from rich.table import Table

    from meanfield.validation.figures.file_figures import FILE_FIGURES
    from meanfield.validation.figures.registry import FIGURES

    shown = Table(title="figures", title_style="")
    shown.add_column("name", no_wrap=True)
    shown.add_column("what one sees")
    for figure in FIGURES.values():
        shown.add_row(figure.name, figure.caption)
    for other in FILE_FIGURES.values():
        shown.add_row(other.name, f"{other.caption} Needs {other.option}: a file of '{other.made_by}'.")
    print_table(shown)


@contextmanager
def _figures_shown() -> Iterator[Callable[[int, int, str], None] | None]:
    """A progress bar with the name of the figure on standard error, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("Figures", total=None)
        yield lambda made, most, name: bar.update(job, completed=made, total=most, description=name or "Figures")
