"""Averages over a program's stationary law by the transfer operator of its memory: deterministic, with bounds.

Where the memory is carried on by a random affine map, c ← f c + g with f and g products of gates, its stationary law is
the fixed point of the operator (T φ)(c) = E[φ(f c + g)] (theory, section 3). Chains sample the same law.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.affine_memory import AffineMemory, CoefficientFactor, NotAffine, affine_memory
from meanfield.sampling.averages import factors
from meanfield.sampling.expressions import Expression, evaluate, substitute, symbol, symbols_of
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.autoregression_law import StationaryLaw, stationary_law
from meanfield.solvers.coefficient_laws import BlendedCoefficients, Coefficients, IndependentCoefficients
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.gaussian_rules import gaussian_rule

Float64 = NDArray[np.float64]
Values = Mapping[str, NDArray[np.float64]]

_REACH, _INTERVALS = 9.0, 256  # of the trapezoidal rule where two deviates are integrated together
_KEEP_INTERVALS = 512
_COUNT = 24


def memory_law(program: ChainProgram, parameters: Mapping[str, float]) -> StationaryLaw:
    """The stationary law of a program's memory.

    Args:
        program: of one state variable, carried on by a random affine map.
        parameters: of the program.

    Raises:
        NotAffine: if the memory is carried on in another way, or its coefficients share deviates in a way that the
            operator has no form for.
        ValueError: if the memory never fades.
        ArithmeticError: if the law needs more nodes than there may be.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> laws = {"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}
    >>> value, error = memory_law(stationary_program(find("leaky")), laws).expectation(np.square)
    >>> round(value, 7), error < 1e-12
    (0.0695814, True)
    """
    values = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    return stationary_law(_coefficients(affine_memory(program), values))


def operator_averages(program: ChainProgram, parameters: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Every observable of a program in the stationary law, with a bound on its error, by name.

    Raises:
        NotAffine, ValueError, ArithmeticError: as :func:`memory_law` does.
    """
    values = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    found: dict[str, tuple[float, float]] = {}
    law = memory_law(program, parameters) if program.states else None
    (variable,) = program.states or ("",)
    for observable, factor in zip(program.observables, factors(program, parameters), strict=True):
        if observable.sampled.operation == "constant":
            found[observable.name] = float(factor * float(observable.sampled.label)), 1e-13 * abs(float(factor))
            continue
        new = symbol(f"new {variable}")
        (formula,) = substitute([observable.sampled], {program.updates[0]: new, symbol(variable): new})
        if law is None or any("normal " in name for name in symbols_of([formula])):
            raise NotAffine(f"{observable.name} is not a function of the memory alone")

        def function(nodes: Float64, formula: Expression = formula) -> Float64:
            return evaluate([formula], {**values, f"new {variable}": nodes})[0]

        value, error = law.expectation(function)
        found[observable.name] = float(factor) * value, abs(float(factor)) * error + 1e-13 * abs(float(factor) * value)
    return found


def _coefficients(memory: AffineMemory, values: Values) -> Coefficients:
    keeping = [factor for factor in memory.factors if factor.keep.operation != "constant"]
    others = [factor.gain for factor in memory.factors if factor not in keeping]
    if len(keeping) > 1 or len(memory.keep_deviates) > 1:
        raise NotAffine("the operator needs a keep gate that reads a single normal deviate")
    increment = reduce(lambda left, right: left.times(right), (_rule(gain, values) for gain in others), _ONE)
    keep = _keep_rule(memory, values)
    if not keeping or keeping[0].gain.operation == "constant":
        size = float(keeping[0].gain.label) if keeping else 1.0
        return IndependentCoefficients(keep, Rule(size * increment.nodes, increment.weights))
    if _is_release(keeping[0], memory, values):
        return BlendedCoefficients(keep, increment)
    raise NotAffine("the operator needs an increment that is independent of the keep gate, or its complement times one")


_ONE = Rule(np.array([1.0]), np.array([1.0]))


def _deviates(formula: Expression) -> list[str]:
    return sorted(name for name in symbols_of([formula]) if "normal " in name)


def _rule(formula: Expression, values: Values) -> Rule:
    """The law of a formula in one or two normal deviates."""
    deviates = _deviates(formula)
    if not deviates:
        return Rule(np.array([float(evaluate([formula], values)[0])]), np.array([1.0]))
    if len(deviates) == 1:
        return gaussian_rule(
            lambda nodes: evaluate([formula], {**values, deviates[0]: nodes})[0], 0.0, 1.0, count=_COUNT
        )
    if len(deviates) > 2:
        raise NotAffine(f"the operator takes gates of two deviates at most, not of {', '.join(deviates)}")
    nodes = np.linspace(-_REACH, _REACH, _INTERVALS + 1)
    weights = np.exp(-0.5 * nodes**2)
    weights /= np.sum(weights)
    grid = {deviates[0]: nodes[:, None], deviates[1]: nodes[None, :]}
    images = np.broadcast_to(evaluate([formula], {**values, **grid})[0], (len(nodes), len(nodes)))
    return Rule(images.ravel(), np.outer(weights, weights).ravel()).compressed(_COUNT)


def _keep_rule(memory: AffineMemory, values: Values) -> KeepRule:
    """The law of the keep gate with its complement, at the nodes of the trapezoidal rule."""
    if not memory.keep_deviates:
        kept, lost = (float(part) for part in evaluate([memory.keep, memory.lost], values))
        return KeepRule(np.array([kept]), np.array([lost]), np.array([1.0]))
    nodes = np.linspace(-_REACH, _REACH, _KEEP_INTERVALS + 1)
    weights = np.exp(-0.5 * nodes**2)
    keep, release = evaluate([memory.keep, memory.lost], {**values, memory.keep_deviates[0]: nodes})
    keep, release = (np.broadcast_to(part, nodes.shape) for part in (keep, release))
    if np.ptp(release) == 0.0:
        return KeepRule(keep[:1], release[:1], np.array([1.0]))
    return KeepRule(np.array(keep), np.array(release), weights / np.sum(weights))


def _is_release(factor: CoefficientFactor, memory: AffineMemory, values: Values) -> bool:
    """Whether the part of g that shares the keep gate's deviate is 1 - f."""
    nodes = np.linspace(-5.0, 5.0, 41)
    given = {**values, **dict.fromkeys(memory.keep_deviates, nodes)}
    if set(_deviates(factor.gain)) - set(memory.keep_deviates):
        return False
    gain, release = evaluate([factor.gain, memory.lost], given)
    return bool(np.allclose(gain, release, rtol=1e-12, atol=0.0))
