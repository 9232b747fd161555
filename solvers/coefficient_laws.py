"""Laws of the coefficients (f, g) of a random-coefficient autoregression c ← f c + g, and the moments of c they imply.

Multiplying out (f c + g)^n gives, as f and g are independent of the old c,

    E[c^n] (1 - E[f^n]) = Σ_{k<n} binom(n, k) E[f^k g^(n-k)] E[c^k],

a triangular system. It is solved about the mean of c, where nothing cancels.

Source: W. Vervaat, On a stochastic difference equation and a representation of non-negative infinitely divisible random
variables (Adv. Appl. Probab. 11, 1979), theorem 5.1; theory, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.gauss_compression import KeepRule, Rule, as_columns, check_keep

Float64 = NDArray[np.float64]

_LARGEST_MOMENT = 1e250  # of normalised ones
_LARGEST_POWER = 300.0  # decimal exponent of powers of steps
_POINT = 1e-10  # deviation for its mean below which a law is a point: rounding makes steps of what is left


@dataclass(frozen=True, eq=False)
class IndependentCoefficients:
    """f and g are independent: c ← f c + g."""

    keep: KeepRule
    increment: Rule

    def atoms(self) -> JointCoefficients:
        return _product(self.keep, self.increment, blended=False)


@dataclass(frozen=True, eq=False)
class BlendedCoefficients:
    """The increment is what f releases of an independent target: c ← f c + (1 - f) target."""

    keep: KeepRule
    target: Rule

    def atoms(self) -> JointCoefficients:
        return _product(self.keep, self.target, blended=True)


@dataclass(frozen=True, eq=False)
class JointCoefficients:
    """f and g have a common law of any kind, given by its atoms.

    Attributes:
        keep: f, (n,).
        release: 1 - f, (n,), positive; given by itself as it keeps its digits where f is close to 1.
        increment: g, (n,).
        weights: (n,), not negative.

    Raises:
        ValueError: if they differ in length, or f is not between -1 and 1, or differs from 1 - release.
    """

    keep: Float64
    release: Float64
    increment: Float64
    weights: Float64

    def __post_init__(self) -> None:
        columns = as_columns(keep=self.keep, release=self.release, increment=self.increment, weights=self.weights)
        check_keep(columns[0], columns[1])
        for name, column in zip(("keep", "release", "increment", "weights"), columns, strict=True):
            object.__setattr__(self, name, column)

    def atoms(self) -> JointCoefficients:
        return self


Coefficients: TypeAlias = IndependentCoefficients | BlendedCoefficients | JointCoefficients


def fewer_nodes(coefficients: Coefficients, count: int) -> Coefficients:
    """Coefficients with Gauss rules of ``count`` nodes at most; atoms of a joint law stay as they are.

    >>> keep = KeepRule(np.linspace(0.1, 0.9, 9), np.linspace(0.9, 0.1, 9), np.full(9, 1 / 9))
    >>> len(fewer_nodes(IndependentCoefficients(keep, Rule([1.0], [1.0])), 3).atoms().weights)
    3
    """
    if isinstance(coefficients, BlendedCoefficients):
        return BlendedCoefficients(coefficients.keep.compressed(count), coefficients.target.compressed(count))
    if isinstance(coefficients, IndependentCoefficients):
        return IndependentCoefficients(coefficients.keep.compressed(count), coefficients.increment.compressed(count))
    return coefficients


def _product(keep: KeepRule, increment: Rule, *, blended: bool) -> JointCoefficients:
    shape = (len(keep.keep), len(increment.nodes))
    increments = increment.nodes * keep.release[:, None] if blended else np.broadcast_to(increment.nodes, shape)
    return JointCoefficients(
        np.broadcast_to(keep.keep[:, None], shape).ravel(),
        np.broadcast_to(keep.release[:, None], shape).ravel(),
        increments.ravel(),
        np.outer(keep.weights, increment.weights).ravel(),
    )


@dataclass(frozen=True, eq=False)
class CentredMoments:
    """Exact moments of the stationary law.

    Attributes:
        mean: E[c].
        deviation: standard deviation of c; 0 also where it is below 1e-10 of the mean.
        normalised: E[((c - mean)/deviation)^n] for n = 0, 1, … as far as they are numbers; empty if the law is a point.
        lowest: no value of c is below, -inf if that is not known.
        highest: no value of c is above.
    """

    mean: float
    deviation: float
    normalised: Float64
    lowest: float
    highest: float

    def raw(self, order: int) -> float:
        """E[c^order]."""
        if len(self.normalised) == 0:
            return self.mean**order
        terms = (
            math.comb(order, k) * self.mean ** (order - k) * self.deviation**k * self.normalised[k]
            for k in range(order + 1)
        )
        return math.fsum(terms)

    def reach(self, tail: float) -> tuple[float, float]:
        """Ends of an interval about the mean outside of which c has at most a mass ``tail``, by Markov's inequality."""
        if len(self.normalised) == 0:
            return self.mean, self.mean
        orders = np.arange(2, len(self.normalised), 2)
        distance = self.deviation * float(np.min((self.normalised[2::2] / tail) ** (1.0 / orders)))
        return max(self.mean - distance, self.lowest), min(self.mean + distance, self.highest)


def centred_moments(coefficients: Coefficients, order: int) -> CentredMoments:
    """Mean, deviation and higher moments of the stationary law, exact but for rounding.

    Args:
        coefficients: the law of f and g; its weights add up to 1.
        order: of the highest moment, at least 2 and at most 60, so that none overflows.

    Returns:
        The moments, with a relative error of rounding alone, about 1e-14.

    Raises:
        ArithmeticError: if deviations are beyond what a double can hold.

    >>> coin = IndependentCoefficients(KeepRule([0.5], [0.5], [1.0]), Rule([-0.5, 0.5], [0.5, 0.5]))
    >>> moments = centred_moments(coin, 4)  # c is uniform on [-1, 1]
    >>> moments.raw(2), moments.raw(4), moments.lowest, moments.highest
    (0.333..., 0.2, -1.0, 1.0)
    """
    atoms = coefficients.atoms()
    release_mean = float(atoms.weights @ atoms.release)
    mean = float(atoms.weights @ atoms.increment) / release_mean
    steps = atoms.increment - mean * atoms.release  # by how much c - mean moves in excess of its fading
    release_square = float(atoms.weights @ (atoms.release * (1.0 + atoms.keep)))  # 1 - E[f²]
    deviation = math.sqrt(float(atoms.weights @ steps**2) / release_square)
    lowest, highest = -math.inf, math.inf
    if np.all(atoms.keep >= 0.0):
        # An interval that holds all fixed points g/(1 - f) is mapped into itself.
        fixed = atoms.increment[atoms.weights > 0.0] / atoms.release[atoms.weights > 0.0]
        lowest, highest = float(np.min(fixed)), float(np.max(fixed))
    if deviation <= _POINT * abs(mean):
        return CentredMoments(mean, 0.0, np.empty(0), mean, mean)
    if not math.isfinite(deviation):
        raise ArithmeticError(f"the stationary law has a standard deviation of {deviation}")
    steps = steps / deviation
    # Powers that are numbers: of laws with a far tail, the lower moments say as much about it.
    order = min(order, int(_LARGEST_POWER / max(math.log10(float(np.max(np.abs(steps)))), 1e-300)))
    keep_powers = np.vander(atoms.keep, order + 1, increasing=True)
    step_powers = np.vander(steps, order + 1, increasing=True) * atoms.weights[:, None]
    mixed = keep_powers.T @ step_powers  # E[f^k step^l]
    fading = np.cumsum(atoms.weights @ (keep_powers * atoms.release[:, None]))  # 1 - E[f^n] is entry n - 1
    moments = np.zeros(order + 1)
    moments[0] = 1.0
    for n in range(2, order + 1):
        k = np.arange(n)
        binomials = np.array([math.comb(n, each) for each in range(n)], dtype=np.float64)
        moments[n] = np.sum(binomials * mixed[k, n - k] * moments[:n]) / fading[n - 1]
        if not moments[n] < _LARGEST_MOMENT:
            moments = moments[: n - n % 2]
            break
    return CentredMoments(mean, deviation, moments, lowest, highest)
