"""Sampled averages corrected by powers of the memory, whose averages are known exactly.

A block of chains in which c² happens to be large has a large tanh(c)² too. Regression over blocks says by how much, and
the exact moments say how large c² should have been.

Source: S. S. Lavenberg, P. D. Welch, A perspective on the use of control variables to increase the efficiency of Monte
Carlo simulations (Management Science 27, 1981), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.expressions import Expression, constant
from meanfield.sampling.programs import ChainProgram, Observable

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class ControlledMeans:
    """Means with control variates.

    Attributes:
        means: (targets,).
        errors: their standard errors, (targets,).
        freedom: degrees of freedom of Student's distribution that the errors belong to.
    """

    means: Float64
    errors: Float64
    freedom: int


def memory_powers(program: ChainProgram, orders: Sequence[int] = (2, 4, 6)) -> tuple[Expression, ...]:
    """Powers of the new value of a program's only state variable, (orders,).

    Raises:
        ValueError: if the program has no state variable or several, or an order is below 1.
    """
    if len(program.states) != 1:
        names = ", ".join(program.states) or "none"
        raise ValueError(f"powers are those of one state variable; the program carries {names}")
    if min(orders, default=1) < 1:
        raise ValueError(f"orders: must be at least 1, got {list(orders)}")
    # Even powers are powers of the square, which a program observes in any case.
    square = program.updates[0] * program.updates[0]
    powers = []
    for order in orders:
        power = program.updates[0] if order % 2 else constant(1.0)
        for _ in range(order // 2):
            power = power * square
        powers.append(power)
    return tuple(powers)


def with_memory_powers(program: ChainProgram, orders: Sequence[int] = (2, 4, 6)) -> ChainProgram:
    """The program with powers of its memory among what is sampled, where :func:`memory_powers` says which they are.

    Raises:
        ValueError: as :func:`memory_powers` does.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> program = with_memory_powers(stationary_program(find("lstm")))
    >>> [program.sampled.index(power) for power in memory_powers(program)]
    [1, 4, 5]
    """
    powers = memory_powers(program, orders)
    added = [
        Observable(f"power {order} {program.states[0]}", power, constant(1.0))
        for order, power in zip(orders, powers, strict=True)
        if power not in program.sampled
    ]
    return replace(program, observables=(*program.observables, *added))


def controlled_means(targets: Float64, controls: Float64, expectations: Float64) -> ControlledMeans:
    """Means over independent blocks, corrected by controls of known expectation.

    The coefficients are fitted to the same blocks. A block's averages over its chains are nearly normal, and for
    normal ones that is unbiased and the errors are exact, with one degree of freedom less for every control; halves
    fitted on each other would lose accuracy to guard against what hardly exists. A few replicates of
    :func:`meanfield.sampling.array_rqmc.array_rqmc` are not that normal: of intervals of 95 % from 24 of them, 82 to
    98 % hold the truth. Coefficients from other replicates, by :func:`control_coefficients`, leave no bias there.

    Args:
        targets: averages of every block, (blocks, targets).
        controls: averages of every block, (blocks, controls).
        expectations: of the controls, (controls,).

    Raises:
        ValueError: if shapes do not fit, or there are fewer than three blocks more than controls.

    >>> z = np.random.default_rng(0).normal(size=(1000, 1))
    >>> found = controlled_means(np.exp(0.1 * z), np.hstack([z, z**2]), np.array([0.0, 1.0]))
    >>> bool(abs(found.means[0] - np.exp(0.005)) < 5 * found.errors[0] < 1e-4)
    True
    """
    blocks = _checked(targets, controls, expectations)
    coefficients, leverage, rank = _regression(targets, controls, np.mean(controls, axis=0) - expectations)
    residuals = targets - controls @ coefficients
    # Subtracted before it is squared: controls may be large beside what is left.
    residuals -= np.mean(residuals, axis=0)
    freedom = blocks - 1 - rank
    variances = np.sum(residuals**2, axis=0) / freedom * (1.0 / blocks + leverage)
    means = np.mean(targets, axis=0) - (np.mean(controls, axis=0) - expectations) @ coefficients
    return ControlledMeans(means, np.sqrt(variances), freedom)


def controlled_blocks(targets: Float64, controls: Float64, expectations: Float64) -> Float64:
    """What :func:`controlled_means` averages: every block corrected by its controls, (blocks, targets).

    Scatter is widened by the degrees of freedom that the coefficients have taken and by their own errors (Lavenberg and
    Welch's factor, for normal blocks), so that the usual standard error of the mean holds.

    Raises:
        ValueError: as :func:`controlled_means` does.
    """
    blocks = _checked(targets, controls, expectations)
    coefficients, _, rank = _regression(targets, controls, np.zeros(controls.shape[1]))
    corrected = targets - (controls - expectations) @ coefficients
    means = np.mean(corrected, axis=0)
    widening = (blocks - 1) / (blocks - 1 - rank) * (blocks - 2) / max(blocks - 2 - rank, 1)
    widened: Float64 = means + (corrected - means) * np.sqrt(widening)
    return widened


def control_coefficients(targets: Float64, controls: Float64) -> Float64:
    """What :func:`controlled_means` multiplies deviations of the controls with, (controls, targets).

    From a pilot run they leave any other estimate unbiased, of few replicates too: subtract
    ``(controls - expectations) @ coefficients``.

    Raises:
        ValueError: as :func:`controlled_means` does.
    """
    _checked(targets, controls, np.zeros(controls.shape[1]))
    return _regression(targets, controls, np.zeros(controls.shape[1]))[0]


def _checked(targets: Float64, controls: Float64, expectations: Float64) -> int:
    blocks = len(targets)
    if len(controls) != blocks or expectations.shape != controls.shape[1:]:
        raise ValueError(
            f"controls: {controls.shape} do not fit targets {targets.shape} and expectations {expectations.shape}"
        )
    if blocks < controls.shape[1] + 3:
        raise ValueError(f"targets: {controls.shape[1]} controls need {controls.shape[1] + 3} blocks, got {blocks}")
    return blocks


def _regression(targets: Float64, controls: Float64, deviations: Float64) -> tuple[Float64, float, int]:
    """Least-squares coefficients, deviations' squared length in the controls' scatter, and that scatter's rank."""
    centred = controls - np.mean(controls, axis=0)
    # What only rounding scatters is a constant, and says nothing.
    centred[:, np.max(np.abs(centred), axis=0) <= 1e-13 * np.max(np.abs(controls), axis=0)] = 0.0
    sizes = np.sqrt(np.sum(centred**2, axis=0))
    scales = np.where(sizes > 0.0, sizes, 1.0)
    left, singular, right = np.linalg.svd(centred / scales, full_matrices=False)
    # Directions in which the controls do not differ from each other say nothing.
    rank = int(np.sum(singular > len(controls) * np.finfo(np.float64).eps))
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    coefficients = right.T @ ((left.T @ (targets - np.mean(targets, axis=0))) / singular[:, None]) / scales[:, None]
    leverage = float(np.sum((right @ (deviations / scales) / singular) ** 2))
    return coefficients, leverage, rank
