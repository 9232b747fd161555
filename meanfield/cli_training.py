"""Commands for training evidence: train run, train tasks, train table and train plot."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meanfield.cli_options import Debug, Json
from meanfield.errors import InvalidInput
from meanfield.terminal import errors_reported, print_table

if TYPE_CHECKING:
    from meanfield.validation.training.runs import Run
    from meanfield.validation.training.studies import Progress, Request

training = typer.Typer(
    name="train",
    help="Train small networks that are initialised differently, and compare.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

RunsFile = Annotated[Path, typer.Argument(help="A file of runs, from meanfield train run.")]


@training.command(
    name="run",
    epilog="Examples:\n\n"
    "[bold]meanfield train run adding --cell lstm --length 200 -o runs.jsonl[/bold]\n\n"
    "[bold]meanfield train run adding copy padded_digits --cell lstm,gru_reset_after --length 500 "
    "--initialisations recipe,default,keras,forget_bias,chrono,orthogonal -o runs.jsonl[/bold]\n\n"
    "[bold]meanfield train run adding copy sequential_pixels --cell lstm,vanilla "
    "--initialisations recipe,orthogonal,spectral,default -o runs.jsonl[/bold]\n\n"
    "The same command again goes on where it was stopped.",
)
def run(
    tasks: Annotated[list[str], typer.Argument(help="Names of tasks; meanfield train tasks lists them.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File of finished runs, which grows; recipes go beside it."),
    ],
    length: Annotated[int, typer.Option(help="Steps of the tasks.")] = 200,
    cell: Annotated[
        str, typer.Option(help="With commas: lstm, gru_reset_after (PyTorch's GRU), vanilla (its RNN, of tanh).")
    ] = "lstm",
    initialisations: Annotated[
        str,
        typer.Option(
            help="With commas: recipe, default, keras, forget_bias, chrono, orthogonal, spectral, spectral_recipe; "
            "those that a cell does not have are left out for it."
        ),
    ] = "recipe,default,forget_bias,chrono",
    band: Annotated[float, typer.Option(help="Of spectral: singular values stay within 1 ± this.")] = 0.01,
    reflectors: Annotated[
        int | None, typer.Option(help="Of spectral: reflectors of either orthogonal factor; hidden / 4 by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; all initialisations share them.")] = 3,
    hidden: Annotated[int, typer.Option(help="Width of the layer.")] = 64,
    iterations: Annotated[int, typer.Option(help="Iterations at most.")] = 1500,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    batch: Annotated[int, typer.Option(help="Sequences per iteration.")] = 64,
    evaluate_every: Annotated[int, typer.Option(help="Iterations between measurements.")] = 20,
    padding_power: Annotated[float, typer.Option(help="Mean square of the noise after padded images.")] = 0.1,
    mnist: Annotated[
        Path | None, typer.Option(help="Folder with MNIST's IDX files; scikit-learn's digits by default.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch; small networks gain little from more.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print finished runs as lines of JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Train networks until they have learnt, one line of the file for each; what is in the file is not done again."""
    with errors_reported(debug):
        _require_torch()
        from meanfield.validation.training.settings import Band, Settings
        from meanfield.validation.training.studies import Study, run_study
        from meanfield.validation.training.tasks import make_task

        study = Study(
            tasks=[make_task(name, length, padding_power=padding_power, mnist=mnist) for name in tasks],
            cells=_listed(cell),
            initialisations=_listed(initialisations),
            seeds=seeds,
            hidden=hidden,
            settings=Settings(
                learning_rate=learning_rate, batch=batch, iterations=iterations, evaluate_every=evaluate_every
            ),
            band=Band(half_width=band, reflectors=reflectors),
        )
        with _shown(as_json) as progress:
            found = run_study(study, output, threads=threads, progress=progress)
        if not as_json:
            from meanfield.validation.training.tables import rows_of, table_of_runs

            print_table(table_of_runs(rows_of(found)))


@training.command(name="tasks", epilog="Example:\n\n[bold]meanfield train tasks --length 200[/bold]")
def list_tasks(
    length: Annotated[int, typer.Option(help="Steps of the tasks.")] = 200,
    mnist: Annotated[
        Path | None, typer.Option(help="Folder with MNIST's IDX files; scikit-learn's digits by default.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the tasks: sizes, loss, the metric of chance, the threshold from which on they count as learnt."""
    with errors_reported(debug):
        from rich.table import Table

        from meanfield.validation.training.tasks import TASKS, make_task

        columns = ("name", "input_size", "signal", "answers", "outputs", "metric", "chance", "threshold")
        listed = [make_task(name, length, mnist=mnist) for name in TASKS]
        rows = [{column: getattr(task, column) for column in columns} for task in listed]
        if as_json:
            typer.echo(json.dumps({"length": length, "tasks": rows}, indent=2))
            return
        table = Table(title=f"tasks of {length} steps", title_style="")
        for column in columns:
            table.add_column(column.replace("_", " "), no_wrap=column == "name")
        for row in rows:
            table.add_row(*(f"{each:.3g}" if isinstance(each, float) else str(each) for each in row.values()))
        print_table(table)


@training.command(
    name="table",
    epilog="Examples:\n\n"
    "[bold]meanfield train table runs.jsonl[/bold]\n\n"
    "[bold]meanfield train table runs.jsonl --into docs/training.md[/bold]",
)
def show_table(
    file: RunsFile,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    into: Annotated[Path | None, typer.Option(help="Put it into a page, where that marks its place.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Median iterations until a task is learnt, by initialisation, beside chrono's."""
    with errors_reported(debug):
        from meanfield.validation.training import tables
        from meanfield.validation.training.runs import read_runs

        if markdown and as_json:
            raise InvalidInput("markdown and json: only one of them can be asked for")
        rows = tables.rows_of(read_runs(file))
        if into is not None:
            tables.write_into(into, rows)
        if as_json:
            typer.echo(json.dumps(tables.as_json(rows), indent=2, allow_nan=False))
        elif markdown:
            typer.echo(tables.as_markdown(rows), nl=False)
        else:
            print_table(tables.table_of_runs(rows))
            if into is not None:
                typer.echo(f"Written to {into}.")


@training.command(name="plot", epilog="Example:\n\n[bold]meanfield train plot runs.jsonl -o curves.png[/bold]")
def plot(
    file: RunsFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write; whole or not at all.")],
    debug: Debug = False,
) -> None:
    """Draw learning curves, a panel for every task and cell; needs Matplotlib."""
    with errors_reported(debug):
        from meanfield.validation.training.pictures import draw_curves
        from meanfield.validation.training.runs import read_runs
        from meanfield.validation.training.tables import rows_of

        draw_curves(rows_of(read_runs(file)), output)
        typer.echo(f"Written to {output}.")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _require_torch() -> None:
    try:
        import meanfield.torch  # noqa: F401
    except ImportError as error:
        raise InvalidInput(str(error).replace("meanfield.torch", "train").replace("[torch]", "[training]")) from None


def _sentence(done: Run) -> str:
    """What came of a run, in one line."""
    which = f"{done.task} T={done.length} {done.cell} N={done.hidden} {done.initialisation} seed {done.seed}"
    if done.outcome == "infeasible":
        return f"{which}: infeasible: {done.reason}"
    after = f" after {done.iterations} iterations" if done.iterations is not None else ""
    text = f"{which}: {done.outcome}{after}, {done.metric} {done.final:.3g}, {done.seconds:.1f} s"
    if done.singular_values is None:
        return text
    return f"{text}, singular values from {done.singular_values[0]:.4g} to {done.singular_values[1]:.4g}"


@contextmanager
def _shown(as_json: bool) -> Iterator[Progress]:
    """Finished runs on standard output as they come; a progress bar on standard error, on a terminal only."""
    from meanfield.validation.training.studies import Progress

    def finished(done: Run) -> None:
        sys.stdout.write(done.line() if as_json else _sentence(done) + "\n")
        sys.stdout.flush()

    if not sys.stderr.isatty():
        yield Progress(finished=finished)
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    # Where both are the terminal, lines go above the bars; elsewhere standard output is left alone.
    with Bars(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
        studies, network = bars.add_task("Runs", total=None), bars.add_task("", total=None)

        def working(request: Request, done: int, runs: int, made: int, most: int) -> None:
            bars.update(studies, completed=done, total=runs)
            bars.update(network, completed=made, total=most, description=str(request))

        yield Progress(working=working, finished=finished)
