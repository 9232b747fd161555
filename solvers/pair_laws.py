"""Two copies of c ← f c + g, or c ← f c + (1 - f) t, whose gates are correlated: their law in orthonormal polynomials.

f is one gate, g or t a product of gates, each a function of one Gaussian variable. What two copies of a gate share is a
form in its polynomials; from these follow the forms of a step (pair_forms), the stationary moments of the pair, and how
a perturbation of both memories is carried on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.affine_polynomials import AffinePolynomials, affine_polynomials
from meanfield.solvers.autoregression_law import StationaryLaw
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.coefficient_laws import BlendedCoefficients, IndependentCoefficients, fewer_nodes
from meanfield.solvers.gate_laws import GateLaw
from meanfield.solvers.gauss_compression import KeepRule, Rule
from meanfield.solvers.law_resolution import compressed
from meanfield.solvers.orthogonal_polynomials import OrthonormalPolynomials, polynomials_of
from meanfield.solvers.pair_forms import Modes, PairForm, law_form, modes_of, source_form

Float64 = NDArray[np.float64]

_GATE_NODES = 32  # of gates whose product is an increment
_NOISE = 5e-16  # of the weights of a stationary law
_ROUNDING = 1e-15
_NEAREST_POLE = 0.64  # one over the distance of the poles of tanh
_LAST = 1e-9  # coefficient, the square of which is lost in rounding


@dataclass(frozen=True, eq=False)
class PairGates:
    """The gates of a memory.

    Attributes:
        release: 1 - f, a function of its variable, with few or many polynomials: ``at`` chooses.
        factors: gates whose product, times ``size``, is g, or t where increments are blended in.
        size: see there.
        blended: whether c ← f c + (1 - f) t.
    """

    release: Callable[[int], GateLaw]
    factors: Sequence[Callable[[int], GateLaw]]
    size: float
    blended: bool


@dataclass(frozen=True, eq=False)
class PairLaws:
    """The memory of two copies, at one resolution.

    Attributes:
        gates: of the memory.
        memory: the stationary law of one copy.
        most: how many polynomials of c at most; where the law is narrow for the functions that are averaged, which vary
            on the scale 1, a few are enough.
        digits: for which the laws of gates are compressed.
    """

    gates: PairGates
    memory: StationaryLaw
    most: int
    digits: float

    @cached_property
    def count(self) -> int:
        """How many polynomials of c."""
        narrow, size = _NEAREST_POLE * self.memory.moments.deviation, 1.0
        for degree in range(1, self.most - 2):
            # About the coefficient of this degree: of a Taylor series, times the size of a Gaussian's polynomial.
            size *= narrow * math.sqrt(degree)
            if size < _LAST:
                return degree + 2
        return self.most

    @property
    def negligible(self) -> float:
        """Size of correlation modes that are left out."""
        return float(0.1 ** (self.digits + 1.0))

    @cached_property
    def _gate_laws(self) -> tuple[GateLaw, list[GateLaw], IndependentCoefficients | BlendedCoefficients]:
        """Gates with as many polynomials as they need, and the laws of f and of g or t at their nodes."""
        wide = self.gates.release(_GATE_NODES)
        points, weights = wide.points
        release = np.broadcast_to(wide.value(points), points.shape)
        keep, exact = KeepRule(1.0 - release, release, weights), self.memory.moments
        factors = [factor(_GATE_NODES) for factor in self.gates.factors]
        rule = Rule(np.array([self.gates.size]), np.ones(1))
        for factor in factors:
            rule = rule.times(Rule(*factor.polynomials.gauss), _GATE_NODES)
        law = (BlendedCoefficients if self.gates.blended else IndependentCoefficients)(keep, rule)
        reach = 8.0 * exact.deviation + (0.0 if self.gates.blended else abs(exact.mean))
        fewer = compressed(law, reach, min(1.0, exact.deviation) or 1.0, self.digits)
        # Averages of polynomials of c need no more nodes than that.
        fewer = fewer_nodes(fewer, self.count + 2)
        assert isinstance(fewer, (IndependentCoefficients, BlendedCoefficients))
        nodes = len(fewer.target.nodes if isinstance(fewer, BlendedCoefficients) else fewer.increment.nodes)
        few = [factor(min(nodes + 2, _GATE_NODES)) for factor in self.gates.factors]
        return self.gates.release(len(fewer.keep.keep)), few, fewer

    @cached_property
    def _product(self) -> tuple[OrthonormalPolynomials, Float64]:
        """Polynomials of the product of all factors, and the products at nodes of all, (nodes of the first, …)."""
        _, factors, law = self._gate_laws
        count = len(law.target.nodes if isinstance(law, BlendedCoefficients) else law.increment.nodes)
        products, weights = np.array(self.gates.size), np.array(1.0)
        for factor in factors:
            nodes, shares = factor.polynomials.gauss
            products, weights = np.multiply.outer(products, nodes), np.multiply.outer(weights, shares)
        return polynomials_of(products.ravel(), weights.ravel(), count), products

    @cached_property
    def steps(self) -> AffinePolynomials:
        """Polynomials of c and what a step makes of them."""
        release, _, _ = self._gate_laws
        nodes, weights = release.polynomials.gauss
        nodes = np.maximum(nodes, np.min(release.value(release.points[0])))
        keep, rule = KeepRule(1.0 - nodes, nodes, weights), Rule(*self._product[0].gauss)
        law = (BlendedCoefficients if self.gates.blended else IndependentCoefficients)(keep, rule)
        return affine_polynomials(law, self.memory.moments, self.count)

    def projected(self, function: Callable[[Float64], Float64]) -> tuple[Float64, Float64, float]:
        """Coefficients of a function of c, (n,), their errors, and what they leave of its mean square.

        Two rules give them: the transfer operator's, which follows functions that vary faster than the law, and the
        polynomials' own Gauss rule, which knows the tails that high polynomials live in. The better one is taken.
        """
        values, errors = self._by_operator(function)
        others, off = self._by_gauss(function)
        better = off < errors
        values, errors = np.where(better, others, values), np.where(better, off, errors)
        whole, error = self.memory.expectation(lambda c: function(c) ** 2)
        return values, errors, max(whole - float(values @ values), 0.0) + error

    def _by_operator(self, function: Callable[[Float64], Float64]) -> tuple[Float64, Float64]:
        found = []
        for nodes, weights in (
            (self.memory.nodes, self.memory.weights),
            (self.memory.coarser.nodes, self.memory.coarser_weights),
        ):
            terms = self.steps.polynomials.values(nodes) * function(nodes)
            # Where the law is less than rounding there are no weights, only noise; high polynomials are large there.
            known = np.abs(weights) > _NOISE * np.max(np.abs(weights))
            found.append((terms[:, known] @ weights[known], np.max(np.abs(terms[:, known]), axis=1)))
        (fine, largest), (coarse, _) = found
        return fine, np.abs(fine - coarse) + _NOISE * largest

    def _by_gauss(self, function: Callable[[Float64], Float64]) -> tuple[Float64, Float64]:
        polynomials = self.steps.polynomials
        fewer = polynomials.count - polynomials.count // 4
        found = []
        for some in (polynomials, polynomials.first(fewer)):
            nodes, weights = some.gauss
            found.append(some.values(nodes) @ (weights * function(nodes)))
        fine, coarse = found[0], np.zeros(polynomials.count)
        coarse[:fewer] = found[1]
        return fine, np.abs(fine - coarse) + _ROUNDING * float(np.max(np.abs(fine)))

    def at(self, release: float, factors: Sequence[float], *, quick: bool = False) -> CorrelatedPair:
        """The pair at correlations of the gates' variables.

        Args:
            release: that of f's variable.
            factors: those of the variables of g or t.
            quick: whether short series are enough, whatever their error.
        """
        return CorrelatedPair(self, release, tuple(factors), quick)


@dataclass(frozen=True, eq=False)
class CorrelatedPair:
    """The pair at given correlations; see :meth:`PairLaws.at`."""

    laws: PairLaws
    release: float
    factors: tuple[float, ...]
    quick: bool

    @cached_property
    def _forms(self) -> list[Bounded]:
        """What two copies of f, and of the factors, share."""
        release, factors, _ = self.laws._gate_laws
        gates, correlations = [release, *factors], [self.release, *self.factors]
        return [gate.form(each, quick=self.quick) for gate, each in zip(gates, correlations, strict=True)]

    @property
    def _factor_forms(self) -> list[Float64]:
        return [form.value for form in self._forms[1:]]

    @property
    def unresolved(self) -> float:
        """About how far the correlations of the gates, and so that of c, may be off: a bound for a single gate."""
        return float(sum(form.error[1, 1] for form in self._forms if len(form.error) > 1))

    @cached_property
    def _keeps(self) -> Modes:
        release, _, _ = self.laws._gate_laws
        return modes_of(self._forms[0].value, release.polynomials, constant=True)

    @cached_property
    def _increments(self) -> Modes:
        polynomials, products = self.laws._product
        return modes_of(self._product_form(self._factor_forms, np.ones_like(products)), polynomials, constant=True)

    def _product_form(self, forms: Sequence[Float64], multiplier: Float64) -> Float64:
        """What two copies of the product share, in its polynomials, with a multiplier at the nodes of all factors."""
        polynomials, products = self.laws._product
        _, factors, _ = self.laws._gate_laws
        table = polynomials.values(products) * multiplier
        for gate in factors:
            nodes, shares = gate.polynomials.gauss
            # The first axis of nodes is taken off, one of polynomials is put at the end.
            table = np.tensordot(table, (gate.polynomials.values(nodes) * shares).T, axes=([1], [0]))
        shared = table
        for axis, form in enumerate(forms):
            shared = np.moveaxis(np.tensordot(shared, form, axes=([1 + axis], [0])), -1, 1 + axis)
        flat = len(table)
        found: Float64 = shared.reshape(flat, -1) @ table.reshape(flat, -1).T
        return found

    @cached_property
    def stationary(self) -> Float64:
        """E p_j(c_a) p_k(c_b), (n, n)."""
        return law_form(self.laws.steps, self._keeps, self._increments, negligible=self.laws.negligible).resolved(None)

    @cached_property
    def kept(self) -> PairForm:
        """How E of a perturbation of both memories is carried on."""
        return law_form(self.laws.steps, self._keeps, self._increments, kept=True, negligible=self.laws.negligible)

    def source(self, release_gain: float, factor_gains: Sequence[float]) -> Float64:
        """What perturbations of the gates' variables add to that of both memories, (n, n).

        Args:
            release_gain: covariance of the perturbations of f's variable.
            factor_gains: those of the others.
        """
        steps, blended = self.laws.steps, self.laws.gates.blended
        release, factors, _ = self.laws._gate_laws
        found = np.zeros_like(self.stationary)
        if release_gain > 0.0:
            keeps = modes_of(release.slope_form(self.release, quick=self.quick), release.polynomials)
            distance: Literal["from target", "from zero"] = "from target" if blended else "from zero"
            form = source_form(steps, keeps, self._increments, distance=distance, negligible=self.laws.negligible)
            found += release_gain * form(self.stationary)
        if any(gain > 0.0 for gain in factor_gains):
            polynomials, _ = self.laws._product
            shared = np.zeros((polynomials.count, polynomials.count))
            for index, (gate, gain) in enumerate(zip(factors, factor_gains, strict=True)):
                if gain > 0.0:
                    slope = gate.slope_form(self.factors[index], quick=self.quick)
                    forms = [*self._factor_forms[:index], slope, *self._factor_forms[index + 1 :]]
                    shared += gain * self._product_form(forms, self._without(index))
            factor = steps.release if blended else None
            form = source_form(
                steps, self._keeps, modes_of(shared, polynomials), factor=factor, negligible=self.laws.negligible
            )
            found += form(self.stationary)
        return found

    def _without(self, index: int) -> Float64:
        """Products of all factors but one, at the nodes of all."""
        _, factors, _ = self.laws._gate_laws
        found = np.array(self.laws.gates.size)
        for other, gate in enumerate(factors):
            nodes, _ = gate.polynomials.gauss
            found = np.multiply.outer(found, np.ones_like(nodes) if other == index else nodes)
        return found
