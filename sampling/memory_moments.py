"""Exact moments of a memory that is carried on by a random affine map, c ← f c + g.

The binomial expansion of (f c + g)^n gives, as f and g are independent of the old c,

    E[c'^n] = Σ_k binom(n, k) E[f^k g^(n-k)] E[c^k],

a triangular system for the stationary moments and a recursion for those of a chain that starts at zero.

Source: W. Vervaat, On a stochastic difference equation and a representation of non-negative infinitely divisible
random variables (Adv. Appl. Probab. 11, 1979), theorem 5.1; theory, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.affine_memory import AffineMemory, affine_memory
from meanfield.sampling.chains import named_parameters
from meanfield.sampling.expressions import Expression, evaluate
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.gaussian_expectations import normal_expectation

Float64 = NDArray[np.float64]

_ROUNDING = 1e-14  # of an integral: gates lose digits in proportion to their arguments
_MOST_TOGETHER = 2  # deviates over which gates are integrated together


def exact_memory_moments(
    program: ChainProgram,
    parameters: Mapping[str, float],
    orders: Sequence[int] = (1, 2, 4, 6),
    *,
    window: tuple[int, int] | None = None,
) -> tuple[Float64, Float64]:
    """E[c^n] of a program's memory c, by quadrature of its gates alone.

    Args:
        program: of one state variable, whose update is affine in it with coefficients that read deviates only.
        parameters: the program's parameters.
        orders: the powers n, at least 1.
        window: (burn_in, steps), for the average over ``steps`` steps after ``burn_in`` steps of a chain that starts
            at zero; by default the stationary law.

    Returns:
        The moments, (orders,), and bounds on their errors, from the convergence of the integrals and from rounding:
        usually 1e-13 of the moment.

    Raises:
        NotAffine: if the memory is not carried on by such a map.
        ValueError: if an order or the window is out of range, or the stationary law has no moment of this order.
        NotImplementedError: if coefficients read three deviates or more that cannot be integrated one by one.
        ArithmeticError: if an integral does not converge.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> laws = {"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}
    >>> (square,), (error,) = exact_memory_moments(stationary_program(find("leaky")), laws, [2])
    >>> round(float(square), 7), bool(error < 1e-12)  # leaky integration of tanh of a standard normal
    (0.0695814, True)
    """
    if not orders or min(orders) < 1:
        raise ValueError(f"orders: must be at least 1, got {list(orders)}")
    if window is not None and (window[0] < 0 or window[1] < 1):
        raise ValueError(f"window: must be (burn_in >= 0, steps >= 1), got {window}")
    memory = affine_memory(program)
    table = named_parameters(program.parameters, [parameters])[0]
    values = {name: np.asarray(value) for name, value in zip(program.parameters, table, strict=True)}
    step, step_errors, lost = _map_of_moments(memory, values, max(orders))
    if window is None:
        moments, errors = _stationary(step, step_errors, lost)
    else:
        moments, errors = _averaged(step, step_errors, *window)
    return moments[list(orders)], errors[list(orders)]


def _map_of_moments(
    memory: AffineMemory, values: Mapping[str, Float64], highest: int
) -> tuple[Float64, Float64, Float64]:
    """binom(n, k) E[f^k g^(n-k)], the errors, and 1 - E[f^n] without cancellation."""
    size = highest + 1
    table, errors, lost = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
    table[0, 0] = 1.0
    for n in range(1, size):
        for k in range(n):
            value, error = 1.0, 0.0
            for factor in memory.factors:
                roots = [factor.keep, factor.gain]
                part, its_error = _expectation(partial(_joint_power, k, n - k), roots, factor.deviates, values)
                value, error = value * part, abs(value) * its_error + abs(part) * error + error * its_error
            table[n, k], errors[n, k] = math.comb(n, k) * value, math.comb(n, k) * error
        roots = [memory.keep, memory.lost]
        lost[n], errors[n, n] = _expectation(partial(_lost_power, n), roots, memory.keep_deviates, values)
        table[n, n] = 1.0 - lost[n]
    return table, errors, lost


def _joint_power(k: int, rest: int, keep: Float64, gain: Float64) -> Float64:
    return keep**k * gain**rest


def _lost_power(n: int, keep: Float64, lost: Float64) -> Float64:
    """1 - f^n = (1 - f)(1 + f + … + f^(n-1)), which has all its digits where f is close to one."""
    return lost * np.sum([keep**power for power in range(n)], axis=0)


def _expectation(
    function: Callable[..., Float64],
    roots: Sequence[Expression],
    deviates: tuple[str, ...],
    values: Mapping[str, Float64],
) -> tuple[float, float]:
    """Expectation of a function of formulas over the deviates that they read, and a bound on its error."""
    if len(deviates) > _MOST_TOGETHER:
        raise NotImplementedError(f"gates are integrated over {_MOST_TOGETHER} deviates at most, not over {deviates}")
    if not deviates:
        value = float(function(*evaluate(roots, values)))
        return value, _ROUNDING * abs(value)

    def at(*nodes: Float64) -> Float64:
        return function(*evaluate(roots, {**values, **dict(zip(deviates, nodes, strict=True))}))

    value, error = normal_expectation(at, len(deviates))
    return value, 10.0 * error + _ROUNDING * abs(value)


def _stationary(table: Float64, table_errors: Float64, lost: Float64) -> tuple[Float64, Float64]:
    """Moments that the map leaves as they are: by substitution, as it is triangular."""
    moments, errors = np.zeros(len(table)), np.zeros(len(table))
    moments[0] = 1.0
    for n in range(1, len(table)):
        if lost[n] <= table_errors[n, n]:
            raise ValueError(f"the memory has no stationary moment of order {n}: E[f^{n}] is 1 or more")
        below = slice(0, n)
        error = table_errors[n, below] @ (np.abs(moments[below]) + errors[below])
        error += np.abs(table[n, below]) @ (errors[below] + 1e-15 * np.abs(moments[below]))
        moments[n] = table[n, below] @ moments[below] / lost[n]
        errors[n] = (error + abs(moments[n]) * table_errors[n, n]) / (lost[n] - table_errors[n, n])
    return moments, errors


def _averaged(table: Float64, table_errors: Float64, burn_in: int, steps: int) -> tuple[Float64, Float64]:
    """Averages of the moments over steps of a chain that starts at zero."""
    moments = np.zeros(len(table))
    moments[0] = 1.0
    errors, total, total_errors = (np.zeros(len(table)) for _ in range(3))
    size = np.abs(table) + table_errors
    for step in range(burn_in + steps):
        errors = size @ errors + (table_errors + 1e-15 * np.abs(table)) @ np.abs(moments)
        moments = table @ moments
        if step >= burn_in:
            total += moments
            total_errors += errors
    return total / steps, total_errors / steps
