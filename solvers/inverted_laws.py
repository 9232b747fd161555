"""Laws of squared singular values that are known by ψ(z) = ∫ z t/(1 - z t) dμ(t); their S-transform inverts it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.free_laws import PositiveLaw
from meanfield.solvers.moment_series import Series

Float64 = NDArray[np.float64]
Array = NDArray[Any]
Meaning = Literal["atoms", "rule", "samples"]

_SMALLEST = 1e-300  # what is below has no reciprocal to compute with, and counts as zero
_BLOCK = 1 << 14  # entries of an array over points and nodes


class InvertedLaw(PositiveLaw):
    """A law that is known by its moment transform ψ."""

    @abstractmethod
    def psi(self, z: Array) -> tuple[Array, Array, Array]:
        """ψ(z), p + ψ(z) with p the mass outside zero, and z ψ'(z), all to relative rounding.

        Args:
            z: real and no reciprocal of a point of the support, or complex in the lower half plane, (n,).
        """

    def scatter(self, z: Float64) -> Float64:
        """Standard error of ψ(z) as that of the law which this one was sampled from; zero if it was not."""
        return np.zeros_like(z)


@dataclass(frozen=True, eq=False)
class DiscreteLaw(InvertedLaw):
    """Points with masses.

    Attributes:
        nodes: (n,), not negative; those below 1e-300 count as zero.
        weights: (n,), not negative, of sum 1; equal ones by default.
        meaning: ``"atoms"`` if the points are the law, ``"rule"`` if they are a quadrature rule of a law without atoms,
            ``"samples"`` if they are independent samples of one.

    Raises:
        ValueError: if a node or weight is negative or not finite, if there are none, if they differ in number, or if
            the weights do not sum to 1.

    >>> coin = DiscreteLaw([0.0, 2.0])
    >>> coin.zero_mass, coin.atoms
    (0.5, ((2.0, 0.5),))
    """

    nodes: Float64
    weights: Float64
    meaning: Meaning

    def __init__(self, nodes: ArrayLike, weights: ArrayLike | None = None, meaning: Meaning = "atoms") -> None:
        points = np.array(nodes, dtype=np.float64).ravel()
        if points.size == 0 or not np.all(np.isfinite(points)) or np.any(points < 0.0):
            raise ValueError("nodes: must be finite and not negative, and one at least")
        masses = np.full(points.size, 1.0 / points.size) if weights is None else np.array(weights, dtype=np.float64)
        if masses.shape != points.shape or not np.all(np.isfinite(masses)) or np.any(masses < 0.0):
            raise ValueError(f"weights: must be finite, not negative and as many as the nodes, {points.size}")
        if abs(np.sum(masses) - 1.0) > 1e-9:
            raise ValueError(f"weights: must sum to 1, got {np.sum(masses)}")
        if meaning not in ("atoms", "rule", "samples"):
            raise ValueError(f"meaning: must be 'atoms', 'rule' or 'samples', got {meaning!r}")
        object.__setattr__(self, "nodes", points)
        object.__setattr__(self, "weights", masses / np.sum(masses))
        object.__setattr__(self, "meaning", meaning)

    @cached_property
    def outside(self) -> tuple[Float64, Float64]:
        """Nodes that are not zero and their masses."""
        which = (self.nodes >= _SMALLEST) & (self.weights > 0.0)
        return self.nodes[which], self.weights[which]

    @property
    def lowest(self) -> float:
        return float(np.min(self.outside[0])) if self.outside[0].size else 0.0

    @property
    def highest(self) -> float:
        return float(np.max(self.outside[0], initial=0.0))

    @cached_property
    def zero_mass(self) -> float:
        return float(np.sum(self.weights[self.nodes < _SMALLEST]))

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        if self.meaning != "atoms":
            return ()
        positions, where = np.unique(self.outside[0], return_inverse=True)
        masses = np.bincount(where, self.outside[1])
        return tuple((float(position), float(mass)) for position, mass in zip(positions, masses, strict=True))

    def moments(self, count: int) -> Series:
        nodes, weights = self.outside
        return [float(weights @ nodes**k) for k in range(1, count + 1)]

    def psi(self, z: Array) -> tuple[Array, Array, Array]:
        return moment_sums(z, *self.outside)

    def scatter(self, z: Float64) -> Float64:
        if self.meaning != "samples" or self.nodes.size < 2:
            return np.zeros_like(z)
        found = np.empty_like(z)
        for index, each in enumerate(z):
            product = each * self.nodes
            values = product / (1.0 - product)
            mean = self.weights @ values
            # Weighted samples count as (Σ w)²/Σ w² of them.
            found[index] = np.sqrt(self.weights @ (values - mean) ** 2 * (self.weights @ self.weights))
        return found


def moment_sums(z: Array, nodes: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Σ w z t/(1 - z t), Σ w/(1 - z t) and Σ w z t/(1 - z t)² over nodes t with weights w, (n,) each.

    >>> [float(each[0]) for each in moment_sums(np.array([-1.0]), np.ones(1), np.ones(1))]
    [-0.5, 0.5, -0.25]
    """
    found = np.empty((3, *z.shape), dtype=z.dtype)
    step = max(1, _BLOCK // max(nodes.size, 1))
    for start in range(0, len(z), step):
        part = slice(start, start + step)
        product = z[part, None] * nodes
        share = 1.0 / (1.0 - product)
        grown = product * share
        found[0, part], found[1, part], found[2, part] = grown @ weights, share @ weights, (grown * share) @ weights
    return found[0], found[1], found[2]
