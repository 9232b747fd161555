"""Commands for tables of recipes: table run, show, merge, query, export, plot, and lookup."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from meanfield.cli_options import Debug, Json, Regime
from meanfield.errors import InvalidInput
from meanfield.terminal import errors_reported, print_table

_INTERRUPTED = 130  # what shells give a command that Ctrl-C stopped


class _RunsByDefault(TyperGroup):
    """``meanfield table grid.toml`` is short for ``meanfield table run grid.toml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


tables = typer.Typer()
table = typer.Typer(
    cls=_RunsByDefault,
    name="table",
    no_args_is_help=True,
    help="Recipes by the thousand: make a table of them, grow it, read it.",
    epilog="Examples:\n\n[bold]meanfield table grid.toml -o recipes.sqlite[/bold]\n\n"
    "[bold]meanfield table export recipes.sqlite --to recipes.parquet[/bold]",
)
tables.add_typer(table)

TableFile = Annotated[Path, typer.Argument(help="The table.")]


@table.command(
    epilog="Examples:\n\n"
    "[bold]meanfield table run grid.toml -o recipes.sqlite --workers 8[/bold]\n\n"
    "[bold]meanfield table run grid.toml -o recipes.sqlite --scheduler tcp://host:8786[/bold]\n\n"
    "[bold]meanfield table run grid.toml -o part3.sqlite --part 3/16[/bold]"
)
def run(
    design: Annotated[Path, typer.Argument(help="A design: TOML with a grid, random draws, or requests.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table; one that is there grows.")],
    workers: Annotated[int | None, typer.Option(help="Processes; by default one for each core.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, as tcp://host:8786.")] = None,
    local_cluster: Annotated[
        bool, typer.Option("--local-cluster", help="A Dask cluster on this machine rather than a process pool.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make requests again that are in the table as failed.")
    ] = False,
    part: Annotated[str, typer.Option(help="K/N: the K-th of N parts of the design only.")] = "1/1",
    limit: Annotated[int, typer.Option(help="Requests at most.")] = 100_000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the recipes of a design that the table does not have yet. Stop it at any time: run again, it goes on."""
    with errors_reported(debug):
        from meanfield import table_runs
        from meanfield.table_designs import load_design
        from meanfield.table_report import failure_lines, run_report

        wanted = load_design(design).within(limit)
        if scheduler is not None or local_cluster:
            from meanfield.table_cluster import silence_dask

            silence_dask()
        chosen = _part(part)
        try:
            with _progress("Recipes") as progress:
                done = table_runs.table(
                    wanted,
                    output,
                    workers=workers,
                    scheduler=scheduler,
                    local_cluster=local_cluster,
                    retry_failed=retry_failed,
                    part=chosen,
                    limit=limit,
                    progress=progress,
                )
        except KeyboardInterrupt:
            typer.echo(f"meanfield: stopped; {output} keeps what was made, run it again to go on", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        if as_json:
            content = {**vars(done), "failures": [line.strip() for line in failure_lines(done.failures)]}
            typer.echo(json.dumps(content, indent=2))
        else:
            typer.echo(run_report(done))


@table.command()
def show(
    file: TableFile,
    failed: Annotated[bool, typer.Option("--failed", help="List requests that failed, and why.")] = False,
    columns: Annotated[bool, typer.Option("--columns", help="List the columns of numbers.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a table holds."""
    with errors_reported(debug):
        from meanfield.table_report import failure_lines, summary, summary_table
        from meanfield.table_store import Store

        with Store(file) as store:
            content = summary(store)
            failures = [line.strip() for line in failure_lines(store.failures())] if failed else []
        if as_json:
            typer.echo(json.dumps(content | ({"failures": failures} if failed else {}), indent=2))
        elif failed or columns:
            for line in failures if failed else content["columns"]:
                typer.echo(line)
        else:
            print_table(summary_table(content))


@table.command(epilog="Example:\n\n[bold]meanfield table merge part*.sqlite -o all.sqlite[/bold]")
def merge(
    files: Annotated[
        list[Path], typer.Argument(help="Tables, which are only read; of other versions, the newest last.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The merged table; one that is there grows.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Merge tables into one, each request once. Stop it at any time: run again, it goes on."""
    with errors_reported(debug):
        from meanfield.table_merge import merge_tables
        from meanfield.table_report import merge_report

        try:
            with _progress("Rows") as progress:
                merged = merge_tables(files, output, progress=progress)
        except KeyboardInterrupt:
            typer.echo(f"meanfield: stopped; {output} keeps what was merged, run it again to go on", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        typer.echo(json.dumps(vars(merged), indent=2) if as_json else merge_report(merged))


@table.command(
    epilog="Example:\n\n[bold]meanfield table query recipes.sqlite "
    '"SELECT length, avg(predicted_chi) FROM recipes GROUP BY length"[/bold]'
)
def query(
    file: TableFile,
    statement: Annotated[str, typer.Argument(help="SQL that reads the table recipes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each row, a line each.")] = False,
    debug: Debug = False,
) -> None:
    """Ask a table in SQL. Nothing can be changed."""
    with errors_reported(debug):
        from meanfield.table_queries import query_table
        from meanfield.table_report import rows_table

        names, rows = query_table(file, statement)
        if as_json:
            for row in rows:
                typer.echo(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))
        else:
            print_table(rows_table(names, rows))


@table.command(epilog="Example:\n\n[bold]meanfield table export recipes.sqlite --to recipes.parquet[/bold]")
def export(
    file: TableFile,
    to: Annotated[Path, typer.Option(help="File to write: .parquet, .csv or .jsonl.")],
    debug: Debug = False,
) -> None:
    """Write a table for pandas, polars, DuckDB or a spreadsheet."""
    with errors_reported(debug):
        from meanfield.table_export import export_table

        count = export_table(file, to)
        typer.echo(f"{count:,} rows written to {to}.")


@table.command(
    epilog="Example:\n\n[bold]meanfield table plot recipes.sqlite chi --across length --up hidden "
    "--where cell=lstm -o chi.png[/bold]"
)
def plot(
    file: TableFile,
    number: Annotated[str, typer.Argument(help="A column of numbers, as chi or gate_f_bias_mean.")],
    across: Annotated[str, typer.Option(help="Field of the horizontal axis.")],
    up: Annotated[str, typer.Option(help="Field of the vertical axis.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")],
    where: Annotated[list[str] | None, typer.Option(help="FIELD=VALUE: only these rows; again for more.")] = None,
    debug: Debug = False,
) -> None:
    """Draw a heat map of a number over two axes of a table; needs Matplotlib."""
    with errors_reported(debug):
        from meanfield.table_pictures import heat_map

        heat_map(file, number, across=across, up=up, where=_conditions(where or [])).plot(output)
        typer.echo(f"Written to {output}.")


@tables.command(
    epilog="Examples:\n\n"
    "[bold]meanfield lookup recipes.sqlite lstm --length 700 --hidden 300[/bold]\n\n"
    "[bold]meanfield lookup recipes.sqlite lstm --length 700 --hidden 300 --nearest -o lstm.json[/bold]"
)
def lookup(
    file: TableFile,
    cell: Annotated[str, typer.Argument(help="The cell.")],
    length: Annotated[int, typer.Option(help="Steps of the task.")],
    hidden: Annotated[int, typer.Option(help="Width of the layer.")],
    inputs: Annotated[int | None, typer.Option(help="Input size; needed where the table has several.")] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component.")] = None,
    overlap: Annotated[float | None, typer.Option(help="Overlap of two input sequences.")] = None,
    signal: Annotated[int | None, typer.Option(help="Steps that carry the signal.")] = None,
    padding_power: Annotated[float | None, typer.Option(help="Mean square of the padding.")] = None,
    objective: Annotated[str, typer.Option(help="What recipes were designed for.")] = "learn",
    regime: Annotated[Regime, typer.Option(help="Weights that stay, or fresh ones.")] = Regime.tied,
    ensemble: Annotated[str, typer.Option(help="Law of the recurrent matrices that was asked for.")] = "default",
    layers: Annotated[int, typer.Option(help="Layers of the stack.")] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Layers in both directions.")] = False,
    nearest: Annotated[bool, typer.Option("--nearest", help="The nearest recipe as it is.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the recipe; of an interpolation, a network file of its gates."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a table says of a layer: its recipe, an interpolation between neighbours, or the nearest one."""
    with errors_reported(debug):
        from meanfield import table_lookup
        from meanfield.files import write_whole
        from meanfield.table_report import found_table
        from meanfield.table_store import Store

        found = table_lookup.lookup(
            file,
            cell,
            length=length,
            hidden=hidden,
            inputs=inputs,
            power=power,
            overlap=overlap,
            signal=signal,
            padding_power=padding_power,
            objective=objective,
            regime=regime.value,
            ensemble=ensemble,
            layers=layers,
            bidirectional=bidirectional,
            nearest=nearest,
        )
        if output is not None and found.how == "interpolated":
            write_whole(output, json.dumps(found.network_as_json(), indent=2, allow_nan=False) + "\n")
        elif output is not None:
            with Store(file) as store:
                store.recipe(found.neighbours[0].key).save(output)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            print_table(found_table(found))
            if output is not None:
                kind = "Network" if found.how == "interpolated" else "Recipe"
                typer.echo(f"{kind} written to {output}.")


def _part(given: str) -> tuple[int, int]:
    index, slash, parts = given.partition("/")
    if not (slash and index.isdecimal() and parts.isdecimal()):
        raise InvalidInput(f"part: must be K/N, as 3/16, got {given!r}")
    return int(index), int(parts)


def _conditions(given: list[str]) -> dict[str, str | float]:
    found: dict[str, str | float] = {}
    for condition in given:
        field, sign, value = condition.partition("=")
        if not sign:
            raise InvalidInput(f"where: must be FIELD=VALUE, got {condition!r}")
        try:
            found[field] = float(value)
        except ValueError:
            found[field] = value
    return found


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """A progress bar with the rate of this run and the time left, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        # Of the last minutes: requests that were there already pass quickly.
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=300.0) as bar:
        job = bar.add_task(title, total=None, rate="")

        def show_progress(dealt: int, requests: int, made: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{made / elapsed:.2f} a second" if made and elapsed > 0.0 else ""
            bar.update(job, completed=dealt, total=requests, rate=rate)

        yield show_progress
