"""One step of two copies of a memory behind an output gate: the overlap of the output and its slopes.

Given p = E[h_a h_b], the gates of two copies have known correlations, and with the stationary pair of memories

    p ← E[o_a o_b] E[ψ(c_a) ψ(c_b)].

A perturbation of both copies is carried on as in output_growth, with products of two copies in place of squares.

Source: theory, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from meanfield.closed_pairs import MapSlope
from meanfield.errors import NotConverged
from meanfield.noise_laws import outer_covariances, squared_gains
from meanfield.output_perturbation import Perturbed
from meanfield.output_step import OutputStep
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.pair_laws import CorrelatedPair, PairGates, PairLaws

Float64 = NDArray[np.float64]

_QUICK = (12, 7.0)  # polynomials and digits
_LEVELS = ((14, 8.0), (20, 9.0), (28, 11.0), (40, 13.0), (64, 15.0), (96, 15.0))  # each compared with the one before
_ENOUGH = 1e-9  # of the second moment of the output, and of slopes
_IMPROVING = 0.5  # factor by which the next resolution has to lower the error
_ROUNDING = 1e-14
_ALONE = 1e-15  # share of what the memory forgets that rounding leaves
_NEARBY = 1e-4
_ALIKE = 1e-14  # distance of correlations from one that rounding makes


@dataclass(frozen=True, eq=False)
class OutputPairLaws:
    """Everything of the pair that does not depend on the overlap, at one resolution.

    Attributes:
        step: of one copy.
        count: polynomials of c.
        digits: for which gates are compressed.
    """

    step: OutputStep
    count: int
    digits: float

    @cached_property
    def memory(self) -> PairLaws:
        """The memory of two copies."""
        cell, parameters = self.step.cell, self.step.parameters
        gates = PairGates(
            lambda count: cell.release.law(parameters, count),
            [lambda count, gate=gate: gate.law(parameters, count) for gate in cell.gates],  # type: ignore[misc]
            cell.size,
            cell.blended,
        )
        return PairLaws(gates, self.step.memory, self.count, self.digits)

    @cached_property
    def squash(self) -> tuple[Float64, Float64, float]:
        """ψ in polynomials, the errors, and what they leave out."""
        return self.memory.projected(self.step.cell.squashed)

    @cached_property
    def squash_slope(self) -> tuple[Float64, Float64, float]:
        """ψ' in polynomials."""
        return self.memory.projected(self.step.cell.squash_slopes)

    @cached_property
    def monotone(self) -> bool:
        """Whether ψ' has one sign."""
        slopes = self.step.cell.squash_slopes(self.step.memory.nodes)
        return bool(np.all(slopes >= 0.0) or np.all(slopes <= 0.0))

    @cached_property
    def gains(self) -> dict[str, float]:
        """How much of E[h²] is in every variable's variance, by name."""
        noises = self.step.cell.program.noises
        return dict(zip(noises, squared_gains(self.step.network, noises, 1)[:, 0].tolist(), strict=True))

    def at(self, product: float, *, quick: bool) -> OutputPair:
        """The pair at E[h_a h_b]."""
        step = self.step
        noises = step.cell.program.noises
        outer = outer_covariances(step.network, noises, step.inputs, 1)
        correlations = {}
        for name, covariance in zip(noises, outer, strict=True):
            variance = step.parameters[f"deviation {name}"] ** 2
            shared = covariance + self.gains[name] * product
            alike = shared >= variance * (1.0 - _ALIKE)
            correlations[name] = 1.0 if alike else float(np.clip(shared / variance, -1.0, 1.0))
        return OutputPair(self, correlations, quick)


@lru_cache(maxsize=16)
def pair_laws(step: OutputStep, count: int, digits: float) -> OutputPairLaws:
    """:class:`OutputPairLaws`, kept for the next overlap."""
    return OutputPairLaws(step, count, digits)


@dataclass(frozen=True, eq=False)
class OutputPair:
    """Averages over the pair at one overlap and one resolution.

    Attributes:
        laws: what does not depend on the overlap.
        correlations: of the Gaussian variables.
        quick: whether short series are enough, whatever their error.
    """

    laws: OutputPairLaws
    correlations: dict[str, float]
    quick: bool

    @property
    def same(self) -> bool:
        """Whether the copies are one and the same."""
        return all(correlation == 1.0 for correlation in self.correlations.values())

    @cached_property
    def _memory(self) -> CorrelatedPair:
        cell = self.laws.step.cell
        factors = [self.correlations[gate.noise] for gate in cell.gates]
        return self.laws.memory.at(self.correlations[cell.release.noise], factors, quick=self.quick)

    @cached_property
    def _open(self) -> Bounded:
        """E[o_a o_b]."""
        correlation = np.array([self.correlations[self.laws.step.cell.opening.noise]])
        return self.laws.step.opening.pairs(correlation, quick=self.quick)[1, 1, 0]

    @cached_property
    def image(self) -> Bounded:
        """E[h_a h_b] one step later."""
        if self.same:
            return self.laws.step.image
        shared = _average(self.laws.squash, self._memory.stationary)
        return self._open * (shared + Bounded(np.zeros(()), np.asarray(self._memory.unresolved * self._squared)))

    @property
    def _squared(self) -> float:
        """E[ψ(c)²]."""
        coefficients, _, left_out = self.laws.squash
        return float(coefficients @ coefficients) + left_out

    @cached_property
    def passed(self) -> float:
        """What the output gate alone passes on of a perturbation."""
        noise = self.laws.step.cell.opening.noise
        slopes = self.laws.step.opening_slope.pairs(np.array([self.correlations[noise]]), quick=self.quick)
        squashed = _average(self.laws.squash, self._memory.stationary)
        return self.laws.gains[noise] * float(slopes.value[0, 0, 0]) * float(squashed.value)

    @cached_property
    def _source(self) -> Float64:
        cell, gains = self.laws.step.cell, self.laws.gains
        return self._memory.source(gains[cell.release.noise], [gains[gate.noise] for gate in cell.gates])

    def returned(self, lacking: float) -> Bounded:
        """What comes back to the output through the memory, where everything grows by 1 - lacking a step."""
        if not np.any(self._source):
            return Bounded(np.zeros(()), np.zeros(()))
        return self._open * _average(self.laws.squash_slope, self._memory.kept.resolved(self._source, lacking))

    @cached_property
    def slope(self) -> Bounded:
        """Slope of the map of E[h_a h_b], with memories that have followed."""
        if self.same:
            found = [Perturbed(self.laws.step, coarse=coarse).static for coarse in (False, True)]
            return Bounded(np.asarray(found[0]), np.asarray(2.0 * abs(found[0] - found[1]) + _ROUNDING))
        return self.returned(0.0) + self.passed

    @cached_property
    def growth(self) -> Bounded:
        """Growth per step of E[δ_a δ_b] of a perturbation, and one minus that, (2,).

        Raises:
            NotConverged: if it is not found: the memory's own rates are those of many perturbations then.
        """
        rates = np.sort(self._memory.kept.forgotten, axis=None)
        forgotten, following = float(self._memory.kept.forgotten[0, 0]), float(rates[min(1, len(rates) - 1)])
        kept = 1.0 - forgotten
        if not np.any(self._source):
            return self._uncoupled(0.0)

        def excess(distance: float) -> float:
            chi = kept + distance
            return chi - self.passed - chi * float(self.returned(forgotten - distance).value)

        nearest = _ALONE * forgotten
        if abs(float(self.returned(forgotten - nearest).value)) < 1.0:
            return self._uncoupled(nearest)
        near = self._source[0, 0] if self.laws.monotone else self.returned(forgotten - 1e-6 * forgotten).value
        sign = 1.0 if near > 0.0 else -1.0
        # Near the memory's own rate the excess is negative, far from it positive. Fed with the wrong sign, the slowest
        # perturbation decays faster than the memory alone, but not faster than its next one.
        low, high = 1e-6 * forgotten, max(1.0, 2.0 * abs(self.passed)) if sign > 0.0 else following - forgotten
        while excess(sign * low) > 0.0:
            low *= 1e-3
            if low < nearest:
                return self._uncoupled(low)
        while sign > 0.0 and excess(high) < 0.0 and high < 1e30:
            high *= 4.0
        if not excess(0.999 * sign * high) > 0.0:
            raise NotConverged("the growth of the distance between two sequences was not found; change the overlap")
        root = sign * math.exp(
            brentq(lambda place: excess(sign * math.exp(place)), math.log(low), math.log(0.999 * high), xtol=1e-13)
        )
        opposite = -kept - abs(kept + root)
        if self.passed < 0.0 and excess(opposite) > 0.0:
            # What the output gate turns over at every step decays more slowly.
            farthest = opposite + 2.0 * self.passed
            while excess(farthest) > 0.0:
                farthest *= 2.0
            root = float(brentq(excess, farthest, opposite, xtol=1e-15))
        # What the readout is off by, through the slope of the equation that was solved.
        slope = (excess(root * (1.0 + _NEARBY)) - excess(root)) / (_NEARBY * root)
        off = abs(kept + root) * float(self.returned(forgotten - root).error) / max(abs(slope), 1e-300)
        return Bounded(np.array([kept + root, forgotten - root]), np.full(2, off))

    @property
    def least(self) -> float:
        """A bound of the growth from below: what the memory keeps, where it is fed with the right sign."""
        if np.any(self._source) and not (self.laws.monotone and self._source[0, 0] > 0.0):
            return -math.inf
        return 1.0 - float(self._memory.kept.forgotten[0, 0])

    def _uncoupled(self, error: float) -> Bounded:
        """The growth where the memory feeds the output too little to tell: what either of them keeps by itself."""
        forgotten = float(self._memory.kept.forgotten[0, 0])
        alone = [1.0 - forgotten, forgotten]
        if abs(self.passed) > alone[0]:
            alone = [self.passed, 1.0 - self.passed]
        return Bounded(np.array(alone), np.full(2, error))


def _average(parts: tuple[Float64, Float64, float], moments: Float64) -> Bounded:
    """The sum over polynomials in both copies, with the error of their coefficients and of what is left out."""
    coefficients, errors, left_out = parts
    value = float(coefficients @ moments @ coefficients)
    late = float(np.max(np.abs(np.diag(moments)[-(len(moments) // 4) - 1 :])))
    error = 2.0 * float(errors @ np.abs(moments) @ np.abs(coefficients)) + 2.0 * left_out * late
    return Bounded(np.asarray(value), np.asarray(error))


class OutputPairs:
    """Averages over two copies of a step at several overlaps.

    Args:
        step: of a single copy, at its stationary law.
        products: E[h_a h_b], (products,).
        quick: whether one low resolution is enough, whatever its error.
    """

    def __init__(self, step: OutputStep, products: Float64, *, quick: bool = False) -> None:
        self._step, self._products, self._quick = step, products, quick

    def change(self) -> Bounded:
        """How far the map moves E[h_a h_b], (products,)."""
        size = max(self._step.square, 1e-300)
        return self._each(lambda pair: pair.image, size=size) - self._products

    def slope(self) -> MapSlope:
        """Slope of the map, (products,)."""
        slope = self._each(lambda pair: pair.slope, size=1.0)
        return MapSlope(slope, 1.0 - slope, np.full(len(self._products), _ROUNDING * self._step.square))

    @property
    def same(self) -> bool:
        """Whether all copies are one and the same."""
        return all(pair_laws(self._step, *_QUICK).at(float(product), quick=True).same for product in self._products)

    def growth(self) -> tuple[Bounded, Bounded]:
        """Growth per step of E[δ_a δ_b] of a perturbation, and one minus that."""
        both = self._each(lambda pair: pair.growth, size=1.0)
        return both[:, 0], both[:, 1]

    def least(self) -> Float64:
        """A bound of that growth from below, (products,)."""
        pairs = [pair_laws(self._step, *_LEVELS[0]).at(float(each), quick=False) for each in self._products]
        return np.array([pair.least for pair in pairs])

    def _each(self, average: Callable[[OutputPair], Bounded], size: float) -> Bounded:
        found = [self._one(float(product), average, size) for product in self._products]
        return Bounded(np.array([each.value for each in found]), np.array([each.error for each in found]))

    def _one(self, product: float, average: Callable[[OutputPair], Bounded], size: float) -> Bounded:
        """An average at the first resolution that agrees with the one before, or the best there is."""
        if self._quick:
            return average(pair_laws(self._step, *_QUICK).at(product, quick=True))
        best: Bounded | None = None
        before: Bounded | None = None
        for level in _LEVELS:
            found = average(pair_laws(self._step, *level).at(product, quick=False))
            if before is not None:
                error = 2.0 * np.abs(found.value - before.value) + found.error + _ROUNDING * np.abs(found.value)
                improving = best is None or bool(np.max(error) < _IMPROVING * np.max(best.error))
                if best is None or np.max(error) < np.max(best.error):
                    best = Bounded(found.value, error)
                if not improving or np.all(error <= _ENOUGH * size):
                    break
            before = found
        assert best is not None
        return best
