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


def task_inputs_for(
    *,
    data: Path | None,
    length: int | None,
    inputs: int | None,
    power: float | None,
    signal: int | None,
    padding_power: float | None,
    seed: int,
) -> tuple[Any, int]:
    """The inputs of a task to design for, and its length."""
    from meanfield.inputs import Inputs

    if data is not None:
        if power is not None:
            raise InvalidInput("power: the data have a power of their own; scale them instead")
        measured = Inputs.from_data(data, signal=signal, seed=seed)
        if inputs is not None and inputs != measured.size:
            raise InvalidInput(f"inputs: the data have {measured.size} inputs, got {inputs}")
        steps = measured.length if length is None else length
        if steps > measured.length and padding_power is None:
            raise InvalidInput(
                f"length: the data have {measured.length} steps, got {length}; say with --padding-power how to pad "
                "them (0 for zeros), or shorten the length"
            )
        if steps > measured.length:
            measured = Inputs.from_data(data, signal=signal, length=steps, padding_power=padding_power, seed=seed)
        elif padding_power is not None:
            raise InvalidInput(f"padding_power: the data fill the {steps} steps; give a --length beyond them")
        return measured, steps
    if length is None:
        raise InvalidInput("length: is needed, unless --data gives the inputs")
    check_positive("length", length)
    size = check_positive("inputs", 28 if inputs is None else inputs)
    if signal is None:
        if padding_power is not None:
            raise InvalidInput("padding_power: needs --signal, the steps before the padding")
        return Inputs(power=1.0 if power is None else power, size=size), length
    padded = Inputs.padded(
        signal=signal,
        length=length,
        power=1.0 if power is None else power,
        padding_power=padding_power or 0.0,
        size=size,
    )
    return padded, length


def ensemble_for(name: str | None, band: float | None) -> Any:
    """The ensemble that the options ask for; None for the cell's own."""
    from meanfield.weight_ensembles import Ensemble

    if band is None:
        return name
    if name != "svd":
        raise InvalidInput(f"band: is of --ensemble svd only, got {band!r}")
    return Ensemble("svd", half_width=band)


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
