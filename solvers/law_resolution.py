"""How finely the stationary law of c ← f c + g is computed, and the law at a given resolution.

The domain reaches as far as the exact moments allow mass to be, panels follow the functions to be averaged, and the
coefficients' rules are compressed to what such functions can tell apart.

Source: theory, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.coefficient_laws import (
    BlendedCoefficients,
    CentredMoments,
    Coefficients,
    IndependentCoefficients,
    JointCoefficients,
    centred_moments,
)
from meanfield.solvers.transfer_operator import Grading, TransferOperator

Float64 = NDArray[np.float64]

_TAIL_ORDER = 48  # of the moments that bound the tails: the best for a tail of 1e-15 is near 50
_MOST_NODES = 2500
_MOST_PAIRS = 1 << 14  # of values of f and target, or atoms of a joint law
_FEW_PANELS = 24  # across the domain at least
_LARGEST_WAVE = 14.0  # 1/cosh²(c) has 1e-8 of its waves beyond


@dataclass(frozen=True)
class Resolution:
    """How finely a law is computed.

    Attributes:
        order: nodes a panel.
        narrowest: width of the panels at the origin, in units of the functions' scale.
        plateau: distance from the origin over which panels stay that narrow, in the same units; increments that are
            never larger do with less.
        growth: of panels with the distance from there.
        widest: width of panels at most, in deviations of the law.
        tail: mass that may be left out.
        digits: for which the coefficients' rules are compressed.
    """

    order: int
    narrowest: float
    plateau: float
    growth: float
    widest: float
    tail: float
    digits: float


# Growing panels rely on increments that smooth what lies far from the origin; the last pair does without.
PAIRS = (
    (Resolution(14, 1.2, 2.0, 0.6, 1.5, 1e-14, 11.5), Resolution(18, 1.1, 2.0, 0.55, 1.4, 1e-16, 15.0)),
    (Resolution(16, 0.8, 8.0, 0.4, 1.0, 1e-14, 20.0), Resolution(20, 0.7, 8.0, 0.35, 0.8, 1e-16, 30.0)),
    (Resolution(16, 1.0, 0.0, 0.0, 1.0, 1e-14, 60.0), Resolution(20, 0.9, 0.0, 0.0, 0.9, 1e-16, 90.0)),
)


class TooManyNodes(Exception):
    """A resolution is beyond what memory and time allow; says which limit it met."""


def jumps(coefficients: Coefficients, scale: float) -> bool:
    """Whether sums of increments stay on something like a lattice, so that they do not smooth functions of this scale.

    Their characteristic function, once it has fallen, then comes back at wave numbers that such functions still have.
    A step that keeps less than 0.95 of a wave leaves nothing of it at the distances where panels are wide.

    Raises:
        TooManyNodes: if a joint law has more than 16384 atoms.
    """
    waves = np.linspace(0.0, _LARGEST_WAVE / scale, 257)
    if isinstance(coefficients, BlendedCoefficients):
        nodes, weights = coefficients.target.nodes * coefficients.keep.mean_release, coefficients.target.weights
    elif isinstance(coefficients, IndependentCoefficients):
        nodes, weights = coefficients.increment.nodes, coefficients.increment.weights
    else:
        nodes, weights = coefficients.increment, coefficients.weights
        if len(nodes) > _MOST_PAIRS:
            raise TooManyNodes(f"its coefficients have {len(nodes)} joint atoms, and the limit is {_MOST_PAIRS}")
    size = np.abs(np.exp(1j * np.outer(waves, nodes)) @ weights)
    fallen = np.maximum.accumulate(size < 0.5)
    return bool(np.any(size[fallen] > 0.95))


def resolved(
    coefficients: Coefficients, exact: CentredMoments, scale: float, resolution: Resolution
) -> tuple[TransferOperator, Float64]:
    """The operator at a resolution and its stationary law.

    Args:
        coefficients: the law of f and g.
        exact: its moments.
        scale: over which the functions to be averaged vary.
        resolution: how finely.

    Returns:
        The operator and weights of the law at its N nodes.

    Raises:
        TooManyNodes: if it needs more than 2500 nodes, or 16384 pairs of coefficients.
        ArithmeticError: if the operator has more than one stationary law within rounding.
    """
    # Where increments are blended in, c fades towards its mean, else towards 0.
    reach = 8.0 * exact.deviation
    if not isinstance(coefficients, BlendedCoefficients):
        reach += abs(exact.mean)
    # Densities vary with the deviation of the law, if that is the smaller one.
    law = compressed(coefficients, reach, min(scale, exact.deviation), resolution.digits)
    moments = centred_moments(law, _TAIL_ORDER)
    low, high = moments.reach(resolution.tail)
    increments = law.increment.deviation if isinstance(law, IndependentCoefficients) else 0.0
    grading = Grading(
        narrowest=resolution.narrowest * scale,
        plateau=scale * (1.0 + min(4.0 * increments / scale, resolution.plateau)),
        growth=resolution.growth,
        # A law with long tails is too wide to follow its density everywhere.
        widest=max(resolution.widest * exact.deviation, (high - low) / _FEW_PANELS),
    )
    panels = grading.panels(low - moments.mean, high - moments.mean, resolution.order, -moments.mean)
    nodes = (resolution.order - 1) * (len(panels.edges) - 1) + 1
    if nodes > _MOST_NODES:
        raise TooManyNodes(f"it needs {nodes} nodes, and the limit is {_MOST_NODES}")
    if not isinstance(law, IndependentCoefficients) and (pairs := len(law.atoms().weights)) > _MOST_PAIRS:
        raise TooManyNodes(f"its coefficients have {pairs} joint atoms, and the limit is {_MOST_PAIRS}")
    operator = TransferOperator(law, panels, grading, moments.mean)
    return operator, operator.stationary()


def compressed(coefficients: Coefficients, reach: float, scale: float, digits: float) -> Coefficients:
    """Coefficients with as few nodes as averages of functions analytic within scale × π/2 of the real axis allow.

    Args:
        coefficients: with rules of any size; atoms of a joint law stay as they are.
        reach: by how much c may change with f.
        scale: over which functions of c vary.
        digits: of their averages.
    """
    if isinstance(coefficients, JointCoefficients):
        return coefficients
    keep = coefficients.keep
    # As a function of f, φ(f c) is singular at a distance of about 1/spread: each node is worth its root in digits.
    spread = reach * min(4.0 * keep.deviation, 1.0) / scale
    fewer = keep.compressed(math.ceil((0.55 * math.sqrt(spread) + 0.5) * digits))
    if isinstance(coefficients, BlendedCoefficients):
        released = min(1.0, keep.mean_release + 3.0 * keep.deviation)
        count = _increment_count(4.0 * coefficients.target.deviation * released / scale, digits)
        return BlendedCoefficients(fewer, coefficients.target.compressed(count))
    count = _increment_count(4.0 * coefficients.increment.deviation / scale, digits)
    return IndependentCoefficients(fewer, coefficients.increment.compressed(count))


def _increment_count(half: float, digits: float) -> int:
    """Gauss nodes on an interval of half-width ``half`` for functions with singularities at ± iπ/2.

    Source: L. N. Trefethen, Approximation Theory and Approximation Practice (SIAM, 2013), chapter 19.
    """
    return 4 + (math.ceil(0.5 * digits * math.log(10.0) / math.asinh(0.5 * math.pi / half)) if half > 0.0 else 0)
