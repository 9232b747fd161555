"""The objective J and what it is made of (docs/objective.md).

With [x]₊ = max(0, x), computed by the tied population from the zero state on the task's inputs,

    J = ¼ mean_w log(1e-6 + min(1, A_w/(V + .01))) + ½ log κ - [log(.03/V)]₊ - [log(E/.15)]₊
        - ½ [log(.05/m1)]₊ - [log(spread/2)]₊ - [log(D/50)]₊ - [log(1/D)]₊
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

_TINY = 1e-300  # what stands for numbers that are zero in logarithms


@dataclass(frozen=True)
class Terms:
    """What J is made of.

    Attributes:
        second_moment: E = E[h_T²].
        variance: V, variance of h_T across input sequences.
        responses: A_w, mean-square linear response of h_T to replacing the inputs in quarter w of the signal by
            another sequence's. Quarters in which all sequences are the same are left out.
        drive: κ = ν √P, the write gate's drive at the inputs' peak.
        memory: m1 = E Π f² over all steps; of cells without a keep gate the mean square m1(T) of the singular values of
            the Jacobian of all steps.
        memory_spread: E Π f⁴/(E Π f²)²; of cells without a keep gate m2(T)/m1(T)².
        bias_response: D = E|δh_T|² for a constant unit Gaussian kick of all biases.
    """

    second_moment: float
    variance: float
    responses: tuple[float, ...]
    drive: float
    memory: float
    memory_spread: float
    bias_response: float

    def contributions(self) -> dict[str, float]:
        """Every term of J by name; they add up to J."""
        return {name: float(value) for name, value in contributions(*astuple(self)).items()}

    def value(self) -> float:
        """J itself; larger is better."""
        return float(sum(self.contributions().values()))

    def binding(self) -> list[str]:
        """Names of the penalties that are active."""
        return [name for name, value in self.contributions().items() if name not in ("signal", "drive") and value < 0]

    def logarithms(self) -> Float64:
        """The logarithms of all numbers, (6 + quarters,): smooth functions of gains and biases, which J is not."""
        numbers = [self.second_moment, self.variance, self.drive, self.memory, self.memory_spread, self.bias_response]
        return np.log(np.maximum([*numbers, *self.responses], _TINY))


@dataclass(frozen=True, eq=False)
class ManyTerms:
    """The same for many networks, all (networks,); ``responses`` is (networks, quarters)."""

    second_moment: Float64
    variance: Float64
    responses: Float64
    drive: Float64
    memory: Float64
    memory_spread: Float64
    bias_response: Float64

    @classmethod
    def of_logarithms(cls, logarithms: Float64) -> Self:
        """From rows as :meth:`Terms.logarithms` gives them, (networks, 6 + quarters)."""
        numbers = np.exp(np.minimum(logarithms, 700.0))
        second, variance, drive, memory, spread, response = numbers[:, :6].T
        return cls(second, variance, numbers[:, 6:], drive, memory, spread, response)

    def values(self) -> Float64:
        """J of every network."""
        return np.asarray(sum(contributions(*vars(self).values()).values()))


def contributions(
    second_moment: ArrayLike,
    variance: ArrayLike,
    responses: ArrayLike,
    drive: ArrayLike,
    memory: ArrayLike,
    memory_spread: ArrayLike,
    bias_response: ArrayLike,
) -> dict[str, Float64]:
    """Every term of J by name, for numbers or arrays of them; ``responses`` has the quarters in its last axis.

    >>> terms = contributions(0.1, 0.05, [1.0, 1.0], 1.0, 0.5, 1.0, [0.5, 2.0])
    >>> terms["step_too_small"].round(3).tolist()
    [-0.693, 0.0]
    """
    with np.errstate(invalid="ignore"):  # of numbers that are infinite
        shares = np.minimum(1.0, np.asarray(responses) / (np.asarray(variance)[..., None] + 0.01))
        return {
            "signal": 0.25 * np.mean(np.log(1e-6 + shares), axis=-1),
            "drive": 0.5 * np.log(np.maximum(drive, 1e-12)),
            "variance": 0.0 - _excess(0.03, variance),
            "state_size": 0.0 - _excess(second_moment, 0.15),
            "memory": 0.0 - 0.5 * _excess(0.05, memory),
            "memory_spread": 0.0 - _excess(memory_spread, 2.0),
            "step_too_large": 0.0 - _excess(bias_response, 50.0),
            "step_too_small": 0.0 - _excess(1.0, bias_response),
        }


def _excess(value: ArrayLike, limit: ArrayLike) -> Float64:
    """[log(value/limit)]₊, kept finite where either is zero."""
    difference = np.log(np.maximum(value, _TINY)) - np.log(np.maximum(limit, _TINY))
    return np.asarray(np.maximum(0.0, difference))
