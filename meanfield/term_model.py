"""A model of the objective between the networks that were evaluated.

J has kinks where its penalties set in, and its best point mostly lies on some of them. The numbers that it is made of
are smooth in gains and biases, nearly power laws, so it is their logarithms that are interpolated; J follows exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.stats import qmc

from meanfield.objective_terms import ManyTerms, Terms

Float64 = NDArray[np.float64]

_SCALES = (1.0, 0.3, 0.1)  # of the boxes around the best point in which proposals are looked for
_LOOKED_AT = 1024  # points of each
_APART = 2e-3  # least distance between points, as shares of their ranges
_SPREAD = 0.25  # distance of proposals made together, as a share of the reach


@dataclass(frozen=True, eq=False)
class TermModel:
    """Terms as functions of a point of the search space, through all points that were evaluated.

    Attributes:
        points: of the unit cube, (points, parameters), more than there are parameters.
        logarithms: interpolates the logarithms of the terms: a linear function and cubic radial ones.
    """

    points: Float64
    logarithms: RBFInterpolator

    @classmethod
    def through(cls, points: Float64, terms: Sequence[Terms]) -> TermModel:
        """The model through networks that were evaluated.

        >>> grid = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> terms = [Terms(0.1, 0.05, (1.0,) * 4, float(np.exp(x)), 0.5, 1.0, 5.0) for x, _ in grid]
        >>> TermModel.through(grid, terms).values(np.array([[0.5, 0.5]])).round(6)  # half of log κ = 0.5
        array([0.248809])
        """
        rows = np.array([each.logarithms() for each in terms])
        return cls(points, RBFInterpolator(points, rows, kernel="cubic", degree=1))

    def values(self, points: Float64) -> Float64:
        """J at points, (points,)."""
        return ManyTerms.of_logarithms(self.logarithms(points)).values()

    def proposals(
        self, best: Float64, reach: float, count: int, *, avoid: Float64, generator: np.random.Generator
    ) -> Float64:
        """Points around the best one at which J is largest by the model, not too close to each other.

        Args:
            best: the best point so far, (parameters,).
            reach: half the side of the largest box that is looked into.
            count: how many are wanted; fewer are returned where there is no room.
            avoid: points that are known, (known, parameters).
            generator: of the points that are looked at.

        Returns:
            (at most count, parameters), the most promising one first.
        """
        box = 2.0 * qmc.Sobol(len(best), seed=generator).random(_LOOKED_AT) - 1.0
        looked_at = np.concatenate([np.clip(best + reach * scale * box, 0.0, 1.0) for scale in _SCALES])
        promising = looked_at[np.argsort(-self.values(looked_at), kind="stable")]
        new = np.min(np.max(np.abs(promising[:, None] - avoid), axis=2), axis=1) > _APART
        promising = promising[new]
        chosen: list[Float64] = []
        apart = _SPREAD * reach
        while len(chosen) < count and apart > _APART:
            for point in promising:
                if len(chosen) < count and all(np.max(np.abs(point - other)) > apart for other in chosen):
                    chosen.append(point)
            apart *= 0.7
        return np.array(chosen).reshape(-1, len(best))
