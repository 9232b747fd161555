"""Measures on the line as nodes and weights, and their compression to Gauss rules of a few nodes.

A Gauss rule of n nodes has the measure's moments up to order 2n - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.orthogonal_polynomials import polynomials_of

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rule:
    """A positive measure on the line: Σ weights × δ(nodes).

    Attributes:
        nodes: (n,).
        weights: (n,), not negative. Their sum is 1 for a law, and anything for other measures.

    Raises:
        ValueError: if the two differ in length, are empty or not finite, or if a weight is negative.

    >>> coin = Rule([-1.0, 1.0], [0.5, 0.5])
    >>> float(coin.mean), float(coin.expectation(np.square))
    (0.0, 1.0)
    """

    nodes: Float64
    weights: Float64

    def __post_init__(self) -> None:
        nodes, weights = as_columns(nodes=self.nodes, weights=self.weights)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "weights", weights)

    @property
    def mass(self) -> float:
        return float(np.sum(self.weights))

    @property
    def mean(self) -> float:
        return float(self.weights @ self.nodes) / self.mass

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.weights @ (self.nodes - self.mean) ** 2 / self.mass))

    def expectation(self, function: Callable[[Float64], Float64]) -> float:
        return float(self.weights @ function(self.nodes))

    def compressed(self, count: int) -> Rule:
        """The Gauss rule of ``count`` nodes, or the rule itself if it has no more than that.

        The moments up to order 2 count - 1 agree to rounding.

        >>> fine = Rule(np.linspace(-1.0, 1.0, 2001), np.full(2001, 1 / 2001))
        >>> fine.compressed(2).nodes.round(3)  # ± 1/√3
        array([-0.578,  0.578])
        """
        if len(self.nodes) <= count:
            return self
        return Rule(*gauss_rule(self.nodes, self.weights, count))

    def times(self, other: Rule, count: int = 24) -> Rule:
        """The law of the product of two independent variables, each compressed to ``count`` nodes, and so its result.

        >>> coin = Rule([-1.0, 1.0], [0.5, 0.5])
        >>> np.sort(coin.times(Rule([1.0, 3.0], [0.5, 0.5])).nodes)
        array([-3., -1.,  1.,  3.])
        """
        one, two = self.compressed(count), other.compressed(count)
        nodes, weights = np.outer(one.nodes, two.nodes).ravel(), np.outer(one.weights, two.weights).ravel()
        return Rule(nodes, weights).compressed(count)


@dataclass(frozen=True, eq=False)
class KeepRule:
    """The law of a coefficient f with |f| < 1, together with 1 - f, which keeps its digits where f is close to 1.

    Attributes:
        keep: f, (n,).
        release: 1 - f, (n,), positive.
        weights: (n,), not negative.

    Raises:
        ValueError: if the three differ in length, or f is not between -1 and 1, or differs from 1 - release.

    >>> KeepRule([0.5, 0.9], [0.5, 0.1], [0.25, 0.75]).mean_release
    0.2
    """

    keep: Float64
    release: Float64
    weights: Float64

    def __post_init__(self) -> None:
        keep, release, weights = as_columns(keep=self.keep, release=self.release, weights=self.weights)
        check_keep(keep, release)
        for name, column in (("keep", keep), ("release", release), ("weights", weights)):
            object.__setattr__(self, name, column)

    @property
    def mass(self) -> float:
        return float(np.sum(self.weights))

    @property
    def mean_release(self) -> float:
        return float(self.weights @ self.release) / self.mass

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.weights @ (self.release - self.mean_release) ** 2 / self.mass))

    def compressed(self, count: int) -> KeepRule:
        """The Gauss rule of ``count`` nodes, or the rule itself if it has no more; see :meth:`Rule.compressed`."""
        if len(self.keep) <= count:
            return self
        if self.mean_release < 0.5:
            release, weights = gauss_rule(self.release, self.weights, count)
            # Nodes lie between the measure's ends but for rounding, which must not carry them past 0.
            release = np.clip(release, self.release.min(), self.release.max())
            return KeepRule(1.0 - release, release, weights)
        keep, weights = gauss_rule(self.keep, self.weights, count)
        return KeepRule(keep, 1.0 - keep, weights)


def as_columns(**columns: ArrayLike) -> list[Float64]:
    """Columns of a rule as arrays; the last one is the weights.

    Raises:
        ValueError: if they differ in length, are empty, not finite, or a weight is negative.
    """
    arrays = [np.asarray(column, dtype=np.float64) for column in columns.values()]
    for name, array in zip(columns, arrays, strict=True):
        if array.ndim != 1 or len(array) == 0 or array.shape != arrays[0].shape:
            raise ValueError(f"{name}: must be as many numbers as the other columns, at least one, got {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: must be finite")
    if np.any(arrays[-1] < 0.0):
        raise ValueError(f"weights: must not be negative, got {arrays[-1].min()}")
    return arrays


def check_keep(keep: Float64, release: Float64) -> None:
    """Whether a coefficient fades what it multiplies.

    Raises:
        ValueError: unless keep lies between -1 and 1, which it may reach by rounding only, and release is 1 - keep.
    """
    if not np.all(release > 0.0):
        raise ValueError(f"keep: must be below 1, got 1 - {release.min()}; its memory would never fade")
    if not np.all(release < 2.0):
        raise ValueError(f"keep: must be above -1, got 1 - {release.max()}")
    if not np.allclose(keep, 1.0 - release, rtol=0.0, atol=1e-12):
        raise ValueError("release: must be 1 - keep")


def gauss_rule(nodes: Float64, weights: Float64, count: int) -> tuple[Float64, Float64]:
    """Nodes and weights of the Gauss rule of a discrete measure.

    Args:
        nodes: (n,).
        weights: (n,), not negative.
        count: at least 1; fewer nodes come back if the measure has fewer points.

    Returns:
        Nodes and weights, (count,) each; moments up to 2 count - 1 are those of the measure to rounding.

    >>> gauss_rule(np.array([0.0, 1.0, 2.0]), np.ones(3), 1)
    (array([1.]), array([3.]))
    """
    nodes, shares = polynomials_of(nodes, weights, count).gauss
    return nodes, np.sum(weights) * shares
