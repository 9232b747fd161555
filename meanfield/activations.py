"""Activation functions with derivatives that stay accurate where gates saturate; complex arguments are allowed.

Gates close to one carry the memory of a network, so 1 - σ(u) is computed as σ(-u), never by subtraction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf as scipy_erf

from meanfield.sampling import expressions
from meanfield.sampling.expressions import Expression

Array = NDArray[Any]
Result = TypeVar("Result")


def _recorded_as(
    formula: Callable[[Expression], Any],
) -> Callable[[Callable[[Array], Result]], Callable[[Array], Result]]:
    """Let a function of arrays also take expressions, from which kernels are made, and give this formula for them."""

    def decorate(function: Callable[[Array], Result]) -> Callable[[Array], Result]:
        @functools.wraps(function)
        def either(u: Array) -> Result:
            return formula(u) if isinstance(u, Expression) else function(u)

        return either

    return decorate


def sigmoid(u: Array) -> Array:
    """Logistic function σ(u) = 1/(1 + exp(-u)), relatively accurate in both tails.

    >>> float(sigmoid(np.array(-800.0))), float(sigmoid(np.array(0.0)))
    (0.0, 0.5)
    """
    return gate(u)[0]


@_recorded_as(expressions.sigmoid)
def gate(u: Array) -> tuple[Array, Array, Array]:
    """A sigmoidal gate σ(u), its complement 1 - σ(u) and its slope σ'(u).

    >>> value, complement, slope = gate(np.array(50.0))
    >>> float(complement) == float(np.exp(-50.0))
    True
    """
    positive = u.real >= 0
    # exp of a non-positive number only: no overflow, and underflow goes quietly to zero.
    decay = np.exp(-_size(u))
    larger = 1.0 / (1.0 + decay)
    smaller = decay * larger
    return np.where(positive, larger, smaller), np.where(positive, smaller, larger), larger * smaller


@_recorded_as(expressions.tanh)
def tanh(u: Array) -> tuple[Array, Array]:
    """Hyperbolic tangent and its slope 1/cosh², accurate in the tails.

    >>> value, slope = tanh(np.array(0.0))
    >>> float(value), float(slope)
    (0.0, 1.0)
    """
    decay = np.exp(-2.0 * _size(u))
    ratio = 2.0 / (1.0 + decay)
    return np.tanh(u), decay * ratio * ratio


@_recorded_as(expressions.erf)
def erf(u: Array) -> tuple[Array, Array]:
    """Error function and its slope.

    >>> float(erf(np.array(0.0))[0])
    0.0
    """
    return scipy_erf(u), float(2.0 / np.sqrt(np.pi)) * np.exp(-u * u)


@_recorded_as(expressions.relu)
def relu(u: Array) -> tuple[Array, Array]:
    """Rectifier and its slope (0 at the kink).

    >>> [float(part) for part in relu(np.array(-1.0))]
    [0.0, 0.0]
    """
    negative = u.real <= 0  # so that what is not a number stays so
    return np.where(negative, 0, u), (~negative).astype(u.dtype)


def _size(u: Array) -> Array:
    """|u| of real arrays; of complex ones ±u with a real part that is not negative, which is analytic."""
    return np.where(u.real >= 0, u, -u) if np.iscomplexobj(u) else np.abs(u)


ACTIVATIONS = {"tanh": tanh, "erf": erf, "relu": relu}
