"""Averages over a stationary run, corrected by the exact moments of the memory where those are to be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.affine_memory import NotAffine, affine_memory
from meanfield.sampling.control_variates import controlled_blocks, memory_powers, with_memory_powers
from meanfield.sampling.memory_moments import exact_memory_moments
from meanfield.sampling.programs import ChainProgram

Float64 = NDArray[np.float64]

_ORDERS = (2, 4, 6)


@dataclass(frozen=True, eq=False)
class ControlledProgram:
    """A program with what its control variates need.

    Attributes:
        program: samples powers of the memory beside its own observables, if it has controls.
        controls: names of the observables whose expectations are known, in the order of ``orders``; none where the
            memory is not carried on by a random affine map.
        orders: which moments of the memory they are.
    """

    program: ChainProgram
    controls: tuple[str, ...]
    orders: tuple[int, ...]


def with_controls(program: ChainProgram) -> ControlledProgram:
    """Add powers of the memory as controls where their exact moments can be had.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> with_controls(stationary_program(find("lstm"))).controls
    ('mean c', 'square c', 'power 4 c', 'power 6 c')
    """
    try:
        affine_memory(program)
    except NotAffine:
        return ControlledProgram(program, (), ())
    powered = with_memory_powers(program, _ORDERS)
    (state,) = program.states
    names = {formula: f"power {order} {state}" for order, formula in zip(_ORDERS, memory_powers(program), strict=True)}
    names[program.updates[0]] = f"mean {state}"
    for observable in program.observables:
        # An observable may be a power already, and a power be sampled under its name.
        if observable.sampled in names and observable.factor.label == 1.0:
            names[observable.sampled] = observable.name
    wanted = [program.updates[0], *memory_powers(program)]
    return ControlledProgram(powered, tuple(names[formula] for formula in wanted), (1, *_ORDERS))


def controlled(
    program: ControlledProgram, parameters: Mapping[str, float], averages: Mapping[str, Float64], wanted: Sequence[str]
) -> Float64:
    """Averages of blocks, corrected by the controls.

    Args:
        program: what was run.
        parameters: at which.
        averages: of every observable over each block, by name.
        wanted: names of observables.

    Returns:
        (blocks, wanted); uncorrected where there are no controls or their moments cannot be integrated.
    """
    targets = np.stack([averages[name] for name in wanted], axis=1)
    if not program.controls:
        return targets
    try:
        expectations, _ = exact_memory_moments(program.program, parameters, program.orders)
    except (ValueError, ArithmeticError, NotImplementedError):
        return targets
    return controlled_blocks(targets, np.stack([averages[name] for name in program.controls], axis=1), expectations)
