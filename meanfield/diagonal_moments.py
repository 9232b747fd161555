"""Moments of the diagonals of one-step Jacobians J = D + A W in the untied regime (theory, section 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.activations import gate, tanh
from meanfield.cells.leaky import Leaky
from meanfield.cells.minimal import Minimal
from meanfield.cells.vanilla import Vanilla
from meanfield.closed_moments import ClosedLaw
from meanfield.errors import InvalidInput
from meanfield.solvers.normal_rules import Transition, rule_for

Float64 = NDArray[np.float64]
Array = NDArray[Any]
Average = Callable[[Callable[[Array], Array]], float]

_WIDTHS = {"tanh": math.pi / 2.0, "gate": math.pi, "erf": 1.0, "relu": 1.0}
"""Distance of the nearest pole from the real axis, or about where a function changes."""


@dataclass(frozen=True)
class DiagonalMoments:
    """E[D²], E[D⁴], E[A²], E[A⁴] and E[D² A²] of one unit."""

    skip: float
    skip_fourth: float
    slope: float
    slope_fourth: float
    mixed: float

    def jacobian(self, first: float, second: float) -> tuple[float, float]:
        """m1 and m2 of J = D + A W from tr W Wᵀ/N and tr (W Wᵀ)²/N, W free from the diagonals.

        Among words in W and Wᵀ only those survive that alternate, so D W D W has no trace; what is left is
        tr A² W Wᵀ A² W Wᵀ of free factors.

        >>> DiagonalMoments(0.49, 0.2401, 1.0, 1.0, 0.49).jacobian(1.0, 2.0)  # 0.7 + W, Gaussian
        (1.49, 4.2001)
        """
        m1 = self.skip + first * self.slope
        crossed = 2.0 * first * (self.mixed + self.skip * self.slope)
        returned = first**2 * self.slope_fourth + (second - first**2) * self.slope**2
        return m1, self.skip_fourth + crossed + returned


def diagonal_moments(law: ClosedLaw, *, coarse: bool = False) -> DiagonalMoments:
    """The moments at a stationary law of a vanilla, leaky or minimal cell.

    Args:
        law: of the state.
        coarse: whether to use the coarser rule, from which the error is judged.

    Raises:
        InvalidInput: if the cell is another one.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> law = closed_law(mf.Network("vanilla_erf", {"h": mf.Gate(input_gain=1.0)}))
    >>> abs(diagonal_moments(law).slope - 4.0 / math.pi / math.sqrt(5.0)) < 1e-15  # E (2/√π)² exp(-2u²)
    True
    """
    cell = law.network.definition
    if isinstance(cell, Vanilla | Leaky):
        kind = cell.activation if isinstance(cell, Vanilla) else "tanh"
        average = _average(law, "field h", kind, coarse)

        def diagonals(u: Array) -> tuple[Array, Array]:
            circuit = cell.circuit((np.zeros_like(u),), {"h": u}, {"h": np.zeros_like(u)})
            return np.asarray(circuit.state_to_state[0][0]), np.asarray(circuit.field_to_state[0][0])

        return DiagonalMoments(
            average(lambda u: diagonals(u)[0] ** 2 + 0.0 * u),
            average(lambda u: diagonals(u)[0] ** 4 + 0.0 * u),
            average(lambda u: diagonals(u)[1] ** 2),
            average(lambda u: diagonals(u)[1] ** 4),
            average(lambda u: (diagonals(u)[0] * diagonals(u)[1]) ** 2),
        )
    if isinstance(cell, Minimal):
        keep = _average(law, "field state", "gate", coarse)
        square, fourth = _distances(keep, _average(law, "drive z", "tanh", coarse))
        return DiagonalMoments(
            keep(lambda u: gate(u)[0] ** 2),
            keep(lambda u: gate(u)[0] ** 4),
            keep(lambda u: gate(u)[2] ** 2) * square,
            keep(lambda u: gate(u)[2] ** 4) * fourth,
            keep(lambda u: (gate(u)[0] * gate(u)[2]) ** 2) * square,
        )
    raise InvalidInput(f"cell: must be a vanilla, leaky or minimal one, got {cell.name!r}")


def preactivation_law(law: ClosedLaw, member: str) -> tuple[float, float]:
    """Mean and deviation of the Gaussian variable that a field or drive is part of."""
    name = next(name for name, members in law.step.cell.noises.items() if member in members)
    return law.step.parameters[f"mean {name}"], law.step.parameters[f"deviation {name}"]


def _average(law: ClosedLaw, member: str, kind: str, coarse: bool) -> Average:
    """E of a function of the Gaussian variable u that a field or drive is part of."""
    mean, deviation = preactivation_law(law, member)
    if deviation == 0.0:
        return lambda function: float(function(np.array([mean]))[0])
    change = Transition(0.0, _WIDTHS.get(kind, 1.0), kink=kind == "relu").scaled(mean, deviation)
    rule = rule_for([change])
    weights = rule.coarse if coarse else rule.weights
    used = weights > 0.0
    points, weights = mean + deviation * rule.nodes[used], weights[used]
    return lambda function: float(weights @ function(points))


def _distances(keep: Average, embedding: Average) -> tuple[float, float]:
    """E (s - z)² and E (s - z)⁴ of minimal's old state s and its new embedding z, which is independent of it.

    From s = f s_- + (1-f) z the moments of s follow one after the other, as all three on the right are independent.
    """
    z = [embedding(lambda u, k=k: tanh(u)[0] ** k) for k in range(5)]  # type: ignore[misc]
    s = [1.0]
    for k in range(1, 5):
        gained = sum(
            math.comb(k, j) * keep(lambda u, j=j, k=k: gate(u)[0] ** j * gate(u)[1] ** (k - j)) * s[j] * z[k - j]  # type: ignore[misc]
            for j in range(k)
        )
        lost = keep(lambda u, k=k: gate(u)[1] * sum(gate(u)[0] ** i for i in range(k)))  # type: ignore[misc]
        s.append(gained / lost)
    second, fourth = (sum(math.comb(n, j) * s[j] * (-1) ** (n - j) * z[n - j] for j in range(n + 1)) for n in (2, 4))
    return second, fourth
