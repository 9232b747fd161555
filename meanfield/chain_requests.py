"""What the sampled analyses share: checks of their arguments, the programs of a network, errors in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from meanfield.cells.cell import Cell
from meanfield.checks import check_count
from meanfield.errors import InvalidInput, NotConverged
from meanfield.inputs import Inputs
from meanfield.sampling.burn_in import NotStationary
from meanfield.sampling.controlled_run import ControlledProgram, with_controls
from meanfield.sampling.expressions import UnknownOperation
from meanfield.sampling.gradient_program import GradientProgram, gradient_program
from meanfield.sampling.programs import ChainProgram, pair_program, stationary_program
from meanfield.solvers.sampled_fixed_point import NoFixedPoint


def check_sampling(
    inputs: Inputs, *, chains: int, steps: int, burn_in: int | None, seed: int, threads: int | None
) -> None:
    """Check what every sampled analysis takes.

    Raises:
        InvalidInput: naming the argument.

    >>> check_sampling(Inputs(), chains=0, steps=2, burn_in=None, seed=0, threads=None)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: chains: must be a whole number of at least 1, got 0
    """
    check_count("chains", chains, 1)
    check_count("steps", steps, 2)
    check_count("seed", seed, 0)
    if burn_in is not None:
        check_count("burn_in", burn_in, 0)
    if threads is not None:
        check_count("threads", threads, 1)
    if not inputs.endless:
        raise InvalidInput("inputs: chains have a stationary law under white inputs only, got padded or measured ones")


@lru_cache(maxsize=64)
def law_program(cell: Cell) -> ControlledProgram:
    """The chain of one unit of a cell, with its control variates."""
    with sampling_errors():
        return with_controls(stationary_program(cell))


@lru_cache(maxsize=64)
def overlap_program(cell: Cell) -> ChainProgram:
    """Two correlated chains of a unit of a cell."""
    with sampling_errors():
        return pair_program(cell)


@lru_cache(maxsize=64)
def growth_program(cell: Cell, copies: int) -> GradientProgram:
    """The chain of one unit, or of two, with the covariance of gradients."""
    with sampling_errors():
        return gradient_program(cell, copies=copies)


def observable_order(program: ChainProgram, word: str) -> list[str]:
    """Names of a program's observables, ``word`` of every carrier first."""
    first = [f"{word} {name}" for name in program.carriers]
    return [*first, *dict.fromkeys(each.name for each in program.observables if each.name not in first)]


@contextmanager
def sampling_errors() -> Iterator[None]:
    """Turn what sampling raises into errors of this package."""
    try:
        yield
    except (NotStationary, NoFixedPoint) as error:
        raise NotConverged(str(error)) from error
    except UnknownOperation as error:
        raise InvalidInput(str(error)) from error
