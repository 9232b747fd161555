"""What commands share: reading files, tables, progress bars, errors as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from meanfield.errors import InvalidInput, MeanfieldError


def show_notes() -> None:
    """Notes of the package, such as the device that was chosen, go to standard error."""
    import logging

    logger = logging.getLogger("meanfield")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("meanfield: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def read_network(file: Path) -> tuple[Any, Any]:
    """The network of a file, and the recipe it is from if it is one."""
    from meanfield.files import read_json
    from meanfield.recipe_file import parse_network, parse_recipe

    content = read_json(file)
    if isinstance(content, dict) and "format" in content:
        from meanfield import recipes

        found = recipes.Recipe(parse_recipe(content, str(file)))
        return found.network, found
    return parse_network(content, str(file)), None


def white_inputs(file: Path, power: float | None, overlap: float) -> tuple[Any, Any]:
    """The network of a file, and white inputs of this power, else of its recipe's, else of power 1."""
    from meanfield.inputs import Inputs

    network, task = read_network(file)
    if power is None:
        power = task.inputs.power if task is not None else 1.0
    return network, Inputs(power=power, overlap=overlap)


def inputs_for(task: Any, *, length: int | None, inputs: int | None, power: float | None, overlap: float) -> Any:
    """A recipe's own inputs unless other ones are asked for."""
    from meanfield.inputs import Inputs, PaddedInputs

    if task is None:
        return Inputs(1.0 if power is None else power, overlap, 0 if inputs is None else inputs)
    own = task.inputs
    if inputs is None and power is None and overlap == 0.0:
        if length is not None and isinstance(own, PaddedInputs):
            return Inputs.padded(
                signal=min(own.signal, length),
                length=length,
                power=own.power,
                padding_power=own.padding_power,
                overlap=own.overlap,
                size=own.size,
            )
        return own
    return Inputs(own.power if power is None else power, overlap, own.size if inputs is None else inputs)


def check_positive(name: str, value: int) -> int:
    if value < 1:
        raise InvalidInput(f"{name}: must be at least 1, got {value}")
    return value


def print_table(renderable: Any) -> None:
    from rich.console import Console

    # A pipe has no width; 100 columns hold the tables.
    Console(width=None if sys.stdout.isatty() else 110, highlight=False, markup=False).print(renderable)


@contextmanager
def search_progress(title: str) -> Iterator[Callable[[int, int, float], None] | None]:
    """A progress bar on standard error, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("best {task.fields[best]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task(title, total=None, best=float("-inf"))
        yield lambda made, most, best: bar.update(job, completed=made, total=most, best=best)


@contextmanager
def steps_shown(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar of steps on standard error, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task(title, total=None)
        yield lambda made, most: bar.update(job, completed=made, total=most)


@contextmanager
def errors_reported(debug: bool) -> Iterator[None]:
    """Errors become one sentence and an exit code: 2 for bad input, 1 for what failed."""
    try:
        yield
    except MeanfieldError as error:
        if debug:
            raise
        typer.echo(f"meanfield: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InvalidInput) else 1) from None
    except MemoryError as error:
        if debug:
            raise
        typer.echo(f"meanfield: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"meanfield: {where}cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
