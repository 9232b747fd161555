"""From sums over chains to averages of observables, block by block, so that their scatter gives the errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.expressions import Expression, evaluate, symbols_of
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.gaussian_expectations import normal_expectation

Float64 = NDArray[np.float64]


def integrated(factor: Expression, parameters: Mapping[str, float]) -> float:
    """Expectation of a formula over the one or two normal deviates that it reads.

    >>> from meanfield.sampling.expressions import symbol
    >>> z = symbol("normal z")
    >>> round(integrated(z * z + symbol("mean z"), {"mean z": 2.0}), 12)
    3.0
    """
    deviates = sorted(name for name in symbols_of([factor]) if "normal " in name)
    values: dict[str, NDArray[np.float64]] = {name: np.asarray(value) for name, value in parameters.items()}
    if not deviates:
        return float(evaluate([factor], values)[0])

    def function(*nodes: Float64) -> Float64:
        return evaluate([factor], values | dict(zip(deviates, nodes, strict=True)))[0]

    return normal_expectation(function, len(deviates))[0]


def factors(program: ChainProgram, parameters: Mapping[str, float]) -> Float64:
    """The exactly integrated factor of every observable, (observables,)."""
    known: dict[Expression, float] = {}
    for observable in program.observables:
        if observable.factor not in known:
            known[observable.factor] = integrated(observable.factor, parameters)
    return np.array([known[observable.factor] for observable in program.observables])


def observed(program: ChainProgram, exact: Float64, means: Float64) -> dict[str, Float64]:
    """Averages of all observables from those of what was sampled.

    Args:
        program: whose observables they are.
        exact: what :func:`factors` returned.
        means: averages of the program's sampled formulas, (…, sampled).

    Returns:
        By name, (…); observables of the same name are averaged.
    """
    column = {formula: index for index, formula in enumerate(program.sampled)}
    found: dict[str, list[Float64]] = {}
    for observable, factor in zip(program.observables, exact, strict=True):
        index = column.get(observable.sampled)
        sampled = np.full(means.shape[:-1], float(observable.sampled.label)) if index is None else means[..., index]
        found.setdefault(observable.name, []).append(factor * sampled)
    return {name: np.mean(values, axis=0) for name, values in found.items()}
