"""Quadrature against the normal density that resolves steep gates and kinks, and expansions in Hermite polynomials.

Where functions are smooth on the scale of the deviate, one trapezoidal rule serves all. Elsewhere the line is cut into
panels that grow geometrically with the distance from where functions change, with Gauss-Legendre points in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_REACH = 12.5  # of the trapezoidal rule: Hermite functions times the square root of the density end at exp(-39)
_INTERVALS = 1024
_SMOOTH = 0.3  # distance of the nearest pole from the real axis above which the trapezoidal rule has all digits
_FARTHEST = 38.0  # where the normal density leaves the range of numbers
_ORDERS = (24, 18)  # points a panel; the second rule is there to say how good the first one is


@dataclass(frozen=True)
class Transition:
    """Where a function changes.

    Attributes:
        centre: around which point.
        width: over which distance.
        kink: whether it is not smooth there.
    """

    centre: float
    width: float
    kink: bool = False

    def scaled(self, mean: float, deviation: float) -> Transition:
        """The same place in z, where it was given in mean + deviation × z."""
        return Transition((self.centre - mean) / deviation, self.width / deviation, self.kink)


@dataclass(frozen=True, eq=False)
class NormalRule:
    """E f(z) = Σ weights f(nodes), and a coarser rule on the same nodes to compare with.

    Attributes:
        nodes: (nodes,).
        weights: (nodes,).
        coarse: weights of the coarser rule, (nodes,).
    """

    nodes: Float64
    weights: Float64
    coarse: Float64

    @cached_property
    def _series(self) -> dict[int, Float64]:
        return {}

    def hermite(self, count: int) -> Float64:
        """The orthonormal Hermite polynomials of degree 0 to count - 1, each times exp(-z²/4), (count, nodes)."""
        if count not in self._series:
            table = np.empty((count, len(self.nodes)))
            table[0] = np.exp(-0.25 * self.nodes**2)
            table[1:2] = self.nodes * table[0]
            for k in range(1, count - 1):
                table[k + 1] = (self.nodes * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
            self._series[count] = table
        return self._series[count]

    @cached_property
    def lifted(self) -> tuple[Float64, Float64]:
        """Both weights times exp(z²/4), which :meth:`hermite` takes back."""
        growth = np.exp(0.25 * self.nodes**2)
        return self.weights * growth, self.coarse * growth


def rule_for(transitions: Sequence[Transition]) -> NormalRule:
    """A rule for functions of one standard normal variable that change at these places.

    >>> rule = rule_for([Transition(0.3, 1e-3)])
    >>> step = np.tanh((rule.nodes - 0.3) / 1e-3)
    >>> bool(abs(rule.weights @ step**2 - rule.coarse @ step**2) < 1e-12)
    True
    """
    if all(each.width >= _SMOOTH and not each.kink for each in transitions):
        return trapezoidal_rule()
    return far_rule(transitions)


@lru_cache(maxsize=1)
def trapezoidal_rule() -> NormalRule:
    """Equidistant nodes for functions that are smooth on the deviate's scale; every second one is the coarse rule."""
    nodes = np.linspace(-_REACH, _REACH, _INTERVALS + 1)
    weights = np.exp(-0.5 * nodes**2)
    weights /= np.sum(weights)
    coarse = np.where(np.arange(len(nodes)) % 2 == 0, weights, 0.0)
    return NormalRule(nodes, weights, coarse / np.sum(coarse))


def far_rule(transitions: Sequence[Transition]) -> NormalRule:
    """Panels as far out as the density is a number, for what is made in its tails."""
    gaussian = np.concatenate((np.arange(-12.0, 12.1, 1.5), np.arange(16.0, _FARTHEST, 4.0), [_FARTHEST]))
    gaussian = np.unique(np.concatenate((-gaussian, gaussian)))
    edges = np.unique(panel_edges(transitions, gaussian))
    rules = [panel_nodes(edges, order) for order in _ORDERS]
    (nodes, weights), (other_nodes, other_weights) = rules
    return NormalRule(
        np.concatenate((nodes, other_nodes)),
        np.concatenate((weights, np.zeros_like(other_weights))),
        np.concatenate((np.zeros_like(weights), other_weights)),
    )


def panel_edges(transitions: Sequence[Transition], gaussian: Float64, shifts: Float64 | None = None) -> Float64:
    """Ends of panels: those of the density's own, and geometrically graded ones around every transition.

    Args:
        transitions: where functions change.
        gaussian: panels that resolve the density, ascending, (edges,).
        shifts: how far all transitions are shifted, (rows,); none by default.

    Returns:
        Ascending, (edges,) or (rows, edges); panels may be empty.
    """
    reach = gaussian[-1]
    parts = [gaussian if shifts is None else np.broadcast_to(gaussian, (len(shifts), len(gaussian)))]
    for each in transitions:
        width = max(each.width, 1e-12)
        count = max(0, int(np.ceil(np.log(reach / width) / np.log(3.0)))) + 1
        steps = 2.0 * width * 3.0 ** np.arange(min(count, 30))
        local = each.centre + np.concatenate((-steps, [0.0], steps))
        parts.append(local if shifts is None else shifts[:, None] + local)
    return np.sort(np.clip(np.concatenate(parts, axis=-1), gaussian[0], reach), axis=-1)


def panel_nodes(edges: Float64, order: int) -> tuple[Float64, Float64]:
    """Gauss-Legendre nodes of all panels and their weights against the normal density, (…, panels × order) both."""
    points, weights = _legendre(order)
    half = 0.5 * np.diff(edges, axis=-1)[..., None]
    middle = edges[..., :-1, None] + half
    nodes = (middle + half * points).reshape(*edges.shape[:-1], -1)
    density = np.exp(-0.5 * nodes**2) / np.sqrt(2.0 * np.pi)
    return nodes, (half * weights).reshape(nodes.shape) * density


@lru_cache(maxsize=8)
def _legendre(order: int) -> tuple[Float64, Float64]:
    points, weights = np.polynomial.legendre.leggauss(order)
    return points, weights
