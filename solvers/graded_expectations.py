"""Expectations over a few independent standard normal variables, on grids graded towards where functions change.

Every variable is written as z = centre + width × sinh(t), and the trapezoidal rule is used in t. For functions that are
analytic near the real axis it converges geometrically: twice the nodes, twice the digits. The rule on every other node
of an axis says how good the axis is, without further evaluations, and only axes that need it are refined.

Source of the rule's convergence: L. N. Trefethen and J. A. C. Weideman, The exponentially convergent trapezoidal rule
(SIAM Review 56, 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Function = Callable[[Sequence[Float64]], Sequence[Float64]]

_REACHES = (9.0, 14.0, 22.0, 37.0)  # beyond 9 lie 2e-19 of the normal mass; beyond 37 its density is no number
_NEGLIGIBLE = 1e-16  # share of a result that the outermost nodes may have
_STEPS = {1: 0.0625, 2: 0.25}  # to begin with, by the number of variables; where nodes are cheap, as many as it takes
_STEP = 0.5
_LARGEST = 1 << 24  # nodes in all
_AT_ONCE = 1 << 16  # nodes whose values are kept in memory together
_LADDER = 10.0 ** -np.arange(8.0)
_SMOOTH = np.array([0.35] + [0.15] * 6)  # share of a change left at a tenth of the distance; the first can do with more
_LINEAR = 0.12
_SAFETY = 2.0  # where convergence has not set in, differences fall a little short of errors
_MUCH = 0.05  # share of the largest difference below which an axis is left as it is for now
_ROUNDING = 1e-14  # of the density and the nodes, for the smallest reach and one variable
_WORST = 1e-4  # relative error above which there is no result


class OutOfRange(ArithmeticError):
    """An expectation that is beyond the range of numbers."""


def graded_expectations(
    function: Function, centres: Sequence[float], *, tolerance: float = 1e-13
) -> tuple[Float64, Float64]:
    """E f_i(z_1, …, z_d) of functions that are not negative.

    Args:
        function: takes the nodes of all axes, arrays that broadcast with each other to (n_1, …, n_d), and returns the
            values of all functions, arrays that broadcast with them.
        centres: for every variable, the value near which functions change, if they do so within a short distance.
        tolerance: relative error to refine to.

    Returns:
        The expectations and bounds on their errors, (functions,) both: twice the difference from rules with half
        the nodes on some or all axes, which are as a rule much worse.

    Raises:
        OutOfRange: if the expectations, or where they are made, leave the range of numbers.
        ArithmeticError: if the finest grid leaves a relative error above 1e-4.

    >>> value, error = graded_expectations(lambda z: [z[0] ** 2 * np.exp(z[1])], [0.0, 0.0])
    >>> bool(abs(value[0] - np.exp(0.5)) < error[0] < 1e-12)
    True
    """
    for reach in _REACHES[:-1]:
        found = _refined(function, centres, reach, tolerance)
        if found is not None:
            return found
        # What is rare where most of the mass is may be all that counts: E exp(s z) is made around z = s.
    found = _refined(function, centres, _REACHES[-1], tolerance)
    if found is None:
        raise OutOfRange("a Gaussian expectation is made beyond the range of numbers; lower the gains or biases")
    return found


def _refined(
    function: Function, centres: Sequence[float], reach: float, tolerance: float
) -> tuple[Float64, Float64] | None:
    """Expectations from nodes within a reach and their errors; None if what lies beyond matters."""
    step = _STEPS.get(len(centres), _STEP)
    axes = [_Axis(float(np.clip(centre, -reach, reach)), reach, step) for centre in centres]
    every = range(len(axes))
    subsets = [chosen for count in every for chosen in combinations(every, count + 1)]
    widths = [_width(function, axes, k, tolerance) for k in every]
    # Without grading the nodes are best around zero, where the mass is.
    centred = _Axis(0.0, reach, step)
    axes = [replace(axis, width=widths[k]) if widths[k] < 1.0 else centred for k, axis in enumerate(axes)]
    while True:
        rules = [axis.rule() for axis in axes]
        shape = tuple(len(nodes) for nodes, _ in rules)
        tables = _tables(function, rules)
        value = np.array([table[(0,) * len(axes)] for table in tables])
        if not np.all(np.isfinite(value)):
            raise OutOfRange("a Gaussian expectation left the range of numbers; lower the gains or biases")
        size = np.where(value > 0.0, value, 1.0)
        if any(_off(tables, 0.0, size, (axis,), len(axes), rule=2) > _NEGLIGIBLE for axis in every):
            return None
        off = {chosen: _off(tables, value, size, chosen, len(axes)) for chosen in subsets}
        relative = max(off.values(), default=0.0)
        if relative <= tolerance:
            break
        split = _to_refine(off, tolerance)
        finer = [2 * n - 1 if k in split else n for k, n in enumerate(shape)]
        if np.prod(np.array(finer, dtype=np.float64)) > _LARGEST:
            break
        axes = [replace(axis, step=0.5 * axis.step) if k in split else axis for k, axis in enumerate(axes)]
    if relative > _WORST:
        nodes = " × ".join(map(str, shape))
        raise ArithmeticError(f"a Gaussian expectation has a relative error of {relative:.1e} on {nodes} nodes")
    rounding = _ROUNDING * len(axes) * (reach / _REACHES[0]) ** 2
    return value, (_SAFETY * relative + rounding) * value


@dataclass(frozen=True)
class _Axis:
    """The grid of one variable: z = centre + width × sinh(t), equidistant in t."""

    centre: float
    reach: float
    step: float
    width: float = 1.0

    def rule(self) -> tuple[Float64, Float64]:
        """Nodes, (nodes,), and weights, (3, nodes): of the rule, of that on every other node, of the two end nodes."""
        low, high = np.arcsinh((np.array([-self.reach, self.reach]) - self.centre) / self.width)
        t = np.linspace(low, high, 2 * max(2, int(np.ceil(0.5 * (high - low) / self.step))) + 1)
        nodes = self.centre + self.width * np.sinh(t)
        weights = np.zeros((3, len(t)))
        weights[0] = (t[1] - t[0]) * self.width * np.cosh(t) * np.exp(-0.5 * nodes**2) / np.sqrt(2.0 * np.pi)
        weights[1, ::2] = 2.0 * weights[0, ::2]
        weights[2, [0, -1]] = weights[0, [0, -1]]
        return nodes, weights


def _width(function: Function, axes: Sequence[_Axis], which: int, tolerance: float) -> float:
    """How finely an axis is to be graded.

    Averages over the other variables are compared at distances from the centre that shrink tenfold: smooth ones change
    at least linearly. What is not smooth at a distance is resolved down to where too little mass is left.
    """
    rules = [axis.rule() for axis in axes]
    away = np.concatenate(([0.0], _LADDER, -_LADDER))
    rules[which] = (axes[which].centre + away, np.eye(len(away)))
    width = 1.0
    for each in _tables(function, rules):
        table = np.moveaxis(each, which, -1)[(0,) * (len(axes) - 1)]
        size = float(np.max(np.abs(table)))
        for side in (table[1 : 1 + len(_LADDER)], table[1 + len(_LADDER) :]):
            change = np.abs(side - table[0])
            matters = _LADDER * change > tolerance * size
            left = np.divide(change[1:], change[:-1], out=np.zeros(len(change) - 1), where=matters[:-1])
            rough = np.flatnonzero(left > _SMOOTH)
            if len(rough):
                last = int(rough[-1])
                # What fades slowly from scale to scale goes on below the last one at which it is seen.
                fades = last + 1 < len(left) and left[last + 1] > _LINEAR
                width = min(width, float(_LADDER[last + 1]) * (0.1 if fades else 1.0))
    return width


def _tables(function: Function, rules: Sequence[tuple[Float64, Float64]]) -> list[Float64]:
    """Sums of every function with all combinations of the axes' weights, (weights of axis 1, weights of axis 2, …)."""
    (first, first_weights), *others = rules
    inner = tuple(len(nodes) for nodes, _ in others)
    grids = [nodes.reshape(tuple(-1 if d == k else 1 for d in range(len(rules)))) for k, (nodes, _) in enumerate(rules)]
    rows = max(1, _AT_ONCE // int(np.prod(inner)))
    tables: list[Float64] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(first), rows):
            part = slice(start, start + rows)
            for k, values in enumerate(function([grids[0][part], *grids[1:]])):
                table = np.broadcast_to(values, (len(first[part]), *inner))
                for weights in (first_weights[:, part], *(each for _, each in others)):
                    table = np.tensordot(table, weights, axes=(0, 1))  # the axis goes to the end, the next one is first
                if start == 0:
                    tables.append(table)
                else:
                    tables[k] += table
    return tables


def _off(
    tables: Sequence[Float64],
    value: Float64 | float,
    size: Float64,
    chosen: tuple[int, ...],
    dimensions: int,
    rule: int = 1,
) -> float:
    """Largest relative distance of the results from ``value`` with another rule on the chosen axes."""
    index = tuple(rule if axis in chosen else 0 for axis in range(dimensions))
    other = np.array([table[index] for table in tables])
    return float(np.max(np.abs(other - value) / size, initial=0.0))


def _to_refine(off: Mapping[tuple[int, ...], float], tolerance: float) -> set[int]:
    """Axes of the smallest sets that are too coarse. Ridges along diagonals show in no single axis."""
    # One axis that is far too coarse makes the others look coarse.
    limit = max(tolerance, _MUCH * max(off.values()))
    found: set[int] = set()
    for chosen, each in off.items():
        if each > limit and found.isdisjoint(chosen):
            found.update(chosen)
    return found
