"""The stationary law of a random-coefficient autoregression c ← f c + g, with error bounds.

The law is computed at two resolutions, which differ in everything: polynomial order, width of the panels, length of
the domain, nodes of the coefficients' rules. Every average is compared between the two, and the moments with the exact
ones.

Source: theory, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.chebyshev_panels import Panels
from meanfield.solvers.coefficient_laws import CentredMoments, Coefficients, centred_moments, fewer_nodes
from meanfield.solvers.law_resolution import PAIRS, TooManyNodes, jumps, resolved
from meanfield.solvers.transfer_operator import Grading, TransferOperator

Float64 = NDArray[np.float64]

_CHECKED = 4  # moments that a rule is compared with
_LONGEST = 1e10  # steps of memory: rounding is amplified by as much
_SETTLED = 1e-9  # disagreement of two resolutions above which a finer pair is tried
_USELESS = 1e-4  # and with which no law is returned
_ROUNDING = 5e-14  # relative, of an average
_ROUNDING_A_STEP = 4e-15  # of the moments, in their units; a memory adds them up
_FLOOR = 5e-15  # of the weight of any node
_SAFETY = 2.0


@dataclass(frozen=True, eq=False)
class StationaryLaw:
    """The stationary law of c as a quadrature rule, with a coarser one that tells its errors.

    Attributes:
        operator: the fine transfer operator; ``weights`` is its stationary law.
        weights: (N,), of sum 1; single ones may be negative, as interpolation weights are.
        coarser: another transfer operator, for estimates of the error of whatever is computed from ``operator``.
        coarser_weights: its stationary law.
        moments: exact ones.
        defect: largest disagreement of the first four moments with the exact ones, in their natural units; at least
            what rounding amounts to over the memory of c.
    """

    operator: TransferOperator
    weights: Float64
    coarser: TransferOperator
    coarser_weights: Float64
    moments: CentredMoments
    defect: float

    @property
    def nodes(self) -> Float64:
        """Values of c, ascending, (N,)."""
        return self.operator.nodes

    def expectation(self, function: Callable[[Float64], ArrayLike]) -> tuple[float, float]:
        """E[function(c)].

        Args:
            function: of an array of values of c; smooth on the scale for which the law was computed.

        Returns:
            The expectation and a bound on its error: twice the disagreement of two resolutions, and what the error of
            the moments and rounding amount to. Functions that are not smooth get large bounds, not always large enough.
        """
        values = np.broadcast_to(np.asarray(function(self.nodes), dtype=np.float64), self.weights.shape)
        others = np.broadcast_to(np.asarray(function(self.coarser.nodes), dtype=np.float64), self.coarser_weights.shape)
        value = float(self.weights @ values)
        difference = abs(value - float(self.coarser_weights @ others))
        size = np.abs(self.weights)
        spread = math.sqrt(float(size @ (values - value) ** 2))
        noise = _ROUNDING * math.sqrt(float(size @ values**2)) + _FLOOR * float(np.max(np.abs(values - value)))
        return value, float(_SAFETY * (difference + self.defect * spread) + noise)

    def density(self, points: ArrayLike) -> tuple[Float64, float]:
        """The probability density of c, from its Fourier series.

        Args:
            points: of any shape.

        Returns:
            The density and a bound on its error, the same for all points: what is cut off of the series, and the
            disagreement of two resolutions on the rest. It is small if the density is smooth on the scale of the law's
            deviation, and large if there are steps, peaks or atoms.

        Raises:
            ArithmeticError: if the law is a point.

        >>> from meanfield.solvers.coefficient_laws import IndependentCoefficients
        >>> from meanfield.solvers.gauss_compression import KeepRule
        >>> from meanfield.solvers.gaussian_rules import normal_rule
        >>> law = stationary_law(IndependentCoefficients(KeepRule([0.6], [0.4], [1.0]), normal_rule(0.0, 0.8)))
        >>> value, error = law.density(0.0)  # the standard normal law
        >>> bool(abs(value - 1.0 / np.sqrt(2.0 * np.pi)) <= error < 1e-6)
        True
        """
        if self.moments.deviation == 0.0:
            raise ArithmeticError(f"the law is a point at {self.moments.mean}: it has no density")
        edges, centre = self.operator.panels.edges, self.operator.centre
        period = 1.05 * float(edges[-1] - edges[0])
        # A panel of n nodes resolves waves up to 0.45 n radians from its middle to its end.
        highest = 0.9 * self.operator.panels.order / float(np.max(np.diff(edges)))
        waves = np.arange(max(8, int(highest * period / (2.0 * np.pi)))) * (2.0 * np.pi / period)
        fine = np.exp(1j * np.outer(waves, self.nodes - centre)) @ self.weights
        coarse = np.exp(1j * np.outer(waves, self.coarser.nodes - centre)) @ self.coarser_weights
        size, noise = np.abs(fine), np.cumsum(np.abs(fine - coarse))
        # Coefficients that are not computed count as if they fell off like the inverse square of the wave number.
        beyond = len(waves) * float(np.max(size[-(len(size) // 8) :]))
        left_out = np.append(np.cumsum(size[::-1])[::-1][1:], 0.0) + beyond
        last = int(np.argmin(noise + left_out))
        error = 2.0 / period * float(noise[last] + left_out[last]) + _ROUNDING / self.moments.deviation
        places = np.asarray(points, dtype=np.float64) - centre
        waves, fine = waves[: last + 1], np.where(waves > 0.0, 2.0, 1.0)[: last + 1] * fine[: last + 1]
        values = np.real(np.exp(-1j * places[..., None] * waves) @ fine) / period
        inside = (places >= edges[0]) & (places <= edges[-1])
        return np.where(inside, values, 0.0), error


def stationary_law(coefficients: Coefficients, *, scale: float = 1.0) -> StationaryLaw:
    """The stationary law of c ← f c + g.

    Args:
        coefficients: the law of f and g. Its rules are taken as exact.
        scale: over which the functions that will be averaged vary near c = 0: 1 for tanh(c). They should be analytic
            within about scale × π/2 of the real axis and vary no faster away from the origin.

    Returns:
        The law. For functions like tanh, averages usually have relative errors of 1e-13 and bounds of 1e-12 to 1e-10.
        A law without spread is a single node.

    Raises:
        ValueError: if weights do not add up to 1 or the scale is not positive.
        ArithmeticError: if c remembers more than 1e10 steps, or the law needs more than 2500 nodes or 16384 pairs of
            coefficients, or the finest resolutions disagree by 1e-4 of the spread of tanh(c/scale) or its square.

    >>> from meanfield.solvers.coefficient_laws import IndependentCoefficients
    >>> from meanfield.solvers.gaussian_rules import gaussian_rule, sigmoid_keep_rule
    >>> law = stationary_law(IndependentCoefficients(sigmoid_keep_rule(5.0, 0.5), gaussian_rule(np.tanh, 0.0, 0.9)))
    >>> value, error = law.expectation(lambda c: np.tanh(c) ** 2)
    >>> error < 1e-9 * value
    True
    """
    if not (scale > 0.0 and math.isfinite(scale)):
        raise ValueError(f"scale: must be positive, got {scale}")
    atoms = coefficients.atoms()
    mass = float(np.sum(atoms.weights))
    if abs(mass - 1.0) > 1e-10:
        raise ValueError(f"weights: must add up to 1, got {mass}")
    release = float(atoms.weights @ atoms.release)
    if release * _LONGEST < 1.0:
        raise ArithmeticError(f"c remembers {1.0 / release:.1e} steps; rounding allows {_LONGEST:.0e} at most")
    # Gauss rules of these laws have all the moments that are asked for.
    exact = centred_moments(fewer_nodes(coefficients, 2 * _CHECKED), 2 * _CHECKED)
    if exact.deviation == 0.0:
        point = TransferOperator(
            coefficients, Panels(np.array([-1.0, 1.0]), 1), Grading(1.0, 1.0, 0.0, 1.0), exact.mean
        )
        return StationaryLaw(point, np.ones(1), point, np.ones(1), exact, 0.0)
    rounding = _ROUNDING_A_STEP / release
    law, disagreement = None, math.inf
    try:
        for coarse, fine in PAIRS[-1:] if jumps(coefficients, scale) else PAIRS:
            coarser, coarser_weights = resolved(coefficients, exact, scale, coarse)
            operator, weights = resolved(coefficients, exact, scale, fine)
            defect = max(_defect(operator, weights, exact), rounding)
            law = StationaryLaw(operator, weights, coarser, coarser_weights, exact, defect)
            disagreement = _disagreement(law, scale)
            if disagreement <= max(_SETTLED, 4.0 * rounding):
                return law
    except TooManyNodes as limit:
        if disagreement > _USELESS:
            raise ArithmeticError(f"the stationary law is not resolved: {limit}") from None
    if law is None or disagreement > _USELESS:
        raise ArithmeticError(f"two resolutions of the stationary law differ by {disagreement:.1e} of its spread")
    return law


def _defect(operator: TransferOperator, weights: Float64, exact: CentredMoments) -> float:
    positions = (operator.nodes - exact.mean) / exact.deviation
    found = [
        abs(float(weights @ positions**n) - exact.normalised[n]) / math.sqrt(exact.normalised[2 * n])
        for n in range(1, _CHECKED + 1)
    ]
    return max(found)


def _disagreement(law: StationaryLaw, scale: float) -> float:
    """How far the two resolutions are apart on functions of the scale, in units of their spread."""
    worst = _defect(law.operator, law.weights, law.moments)
    for power in (1, 2):
        values, others = np.tanh(law.nodes / scale) ** power, np.tanh(law.coarser.nodes / scale) ** power
        value = float(law.weights @ values)
        spread = math.sqrt(float(np.abs(law.weights) @ (values - value) ** 2))
        difference = abs(value - float(law.coarser_weights @ others)) - _ROUNDING * abs(value)
        if difference > 0.0 and spread > 0.0:
            worst = max(worst, difference / spread)
    return worst
