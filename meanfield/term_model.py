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
_LOOKED_AT = 1024  # points of each box, and of the whole range
_APART = 2e-3  # least distance between points, as shares of their ranges
_SPREAD = 0.25  # distance of proposals made together around a point, as a share of the reach
_BROAD = 0.35  # distance of proposals from the whole range
_FAR = 0.3  # from the best point


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
        array([0.25])
        """
        rows = np.array([each.logarithms() for each in terms])
        return cls(points, RBFInterpolator(points, rows, kernel="cubic", degree=1))

    def values(self, points: Float64) -> Float64:
        """J at points, (points,)."""
        return ManyTerms.of_logarithms(self.logarithms(points)).values()

    def anywhere(self, count: int, *, avoid: Float64, generator: np.random.Generator) -> Float64:
        """Points of the whole range at which J is largest by the model, far from each other.

        Args:
            count: how many are wanted; fewer are returned where there is no room.
            avoid: points that are known, (known, parameters).
            generator: of the points that are looked at.

        Returns:
            (at most count, parameters), the most promising one first.
        """
        return self._best_of(_spread_out(self.points.shape[1], generator), count, _BROAD, avoid)

    def around(
        self, best: Float64, reach: float, count: int, *, avoid: Float64, generator: np.random.Generator
    ) -> Float64:
        """Points around the best one at which J is largest by the model, and as the last one a point far from it.

        Args:
            best: the best point so far, (parameters,).
            reach: half the side of the largest box that is looked into.
            count, avoid, generator: as for :meth:`anywhere`.
        """
        places = _spread_out(len(best), generator)
        boxes = [np.clip(best + reach * scale * (2.0 * places - 1.0), 0.0, 1.0) for scale in _SCALES]
        near = self._best_of(np.concatenate(boxes), count - 1, _SPREAD * reach, avoid)
        far = places[np.max(np.abs(places - best), axis=1) > max(reach, _FAR)]
        return np.concatenate((near, self._best_of(far, 1, _BROAD, np.concatenate((avoid, near)))))

    def _best_of(self, places: Float64, count: int, apart: float, avoid: Float64) -> Float64:
        """The best of some places that are new and apart from each other; closer where there is no room."""
        new = places[np.min(np.max(np.abs(places[:, None] - avoid), axis=2), axis=1) > _APART]
        chosen: list[Float64] = []
        if len(new):
            promising = new[np.argsort(-self.values(new), kind="stable")]
            while len(chosen) < count and apart > _APART:
                for point in promising:
                    if len(chosen) < count and all(np.max(np.abs(point - other)) > apart for other in chosen):
                        chosen.append(point)
                apart *= 0.7
        return np.array(chosen).reshape(-1, places.shape[1])


def _spread_out(parameters: int, generator: np.random.Generator) -> Float64:
    return np.asarray(qmc.Sobol(parameters, seed=generator).random(_LOOKED_AT))
