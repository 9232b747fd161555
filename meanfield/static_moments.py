"""Second moments over units at rest, given what their static Gaussian fields have (theory, section 5).

Nothing moves: the field y_k = W_k p_k of a unit is one draw from N(0, σ_k² E[p_k²]), independent of other gates', and
its bias and a constant input add one draw each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_formulas import transitions
from meanfield.errors import InvalidInput
from meanfield.network import Network
from meanfield.sampling.cell import RecurrentCell
from meanfield.sampling.expressions import Expression, UnknownOperation, bounds, evaluate, ordered, symbol
from meanfield.sampling.static_formulas import Factor, NoStaticState, Product, StaticFormulas, static_formulas
from meanfield.solvers.graded_expectations import graded_expectations
from meanfield.solvers.normal_rules import far_rule

Float64 = NDArray[np.float64]
Law = tuple[float, float]

_TOLERANCES = {1: 1e-14, 2: 1e-12, 3: 1e-7, 4: 1e-5}  # of integrals, by the number of variables
_SMALLEST_VARIANCE = 1e-24  # at steps, where the limit of small variances is not the value without variance
_KINKS = ("maximum", "minimum", "positive")
_ROUNDING = 2e-15


@dataclass(frozen=True)
class StaticMoments:
    """Averages over the units of an autonomous network at rest.

    Attributes:
        network: the network.
        power: R, the mean square of every component of an input that is the same at every step.

    Raises:
        InvalidInput: if the cell has no formula for its state at rest.

    >>> import meanfield as mf
    >>> moments = StaticMoments(mf.Network("vanilla_erf", {"h": mf.Gate(recurrent_gain=2.0)}), 0.0)
    >>> value, error = moments.carrier(0, [0.5])
    >>> abs(value - 2.0 / math.pi * math.asin(4.0 / 5.0)) <= error < 1e-13
    True
    """

    network: Network
    power: float
    _known: dict[object, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def formulas(self) -> StaticFormulas:
        """The cell at rest."""
        try:
            return _formulas(self.network.definition)
        except (NoStaticState, UnknownOperation) as failure:
            raise InvalidInput(f"network: {failure}") from failure

    @cached_property
    def gains(self) -> Float64:
        """σ_k of every field, (fields,)."""
        laws = self.network.laws
        return np.array([getattr(laws[each.gate], each.gain) for each in self.network.definition.fields], np.float64)

    @cached_property
    def carrier_of(self) -> NDArray[np.intp]:
        """Which carrier every field reads, (fields,)."""
        return np.array([each.carrier for each in self.network.definition.fields], dtype=np.intp)

    def carrier(self, which: int, moments: Sequence[float]) -> tuple[float, float]:
        """E[p²] of one carrier, given those that the fields have; and a bound on its error."""
        return self._second_moment(self.formulas.carriers[which], moments)

    def output(self, moments: Sequence[float]) -> tuple[float, float]:
        """E[h²], given the carriers' second moments; and a bound on its error."""
        return self._second_moment(self.formulas.output, moments)

    def responses(self, moments: Sequence[float]) -> tuple[Float64, Float64]:
        """M_kl(1) = σ_k² E[(∂p_k/∂y_l)²], (fields, fields), and bounds on the errors."""
        rows = self.formulas.responses
        both = np.array(
            [
                [(0.0, 0.0) if entry is None else self._second_moment(entry, moments) for entry in rows[carrier]]
                for carrier in self.carrier_of
            ]
        )
        scaled = self.gains[:, None, None] ** 2 * both
        return scaled[..., 0], scaled[..., 1]

    def largest(self, which: int) -> float:
        """A bound on E[p²] of a carrier; infinite where there is none."""
        size = 1.0
        for factor in self.formulas.carriers[which]:
            low, high = bounds([factor.formula], {})[factor.formula]
            size *= max(abs(low), abs(high))
        return size**2

    def law(self, member: str, moments: Sequence[float]) -> Law:
        """Mean and variance of a field or drive, by its name in the formulas."""
        kind, name = member.split(" ", 1)
        cell = self.network.definition
        if kind == "drive":
            gate = self.network.gates[name]
            gain = gate.input_gain if name in cell.input_gates else 0.0
            return gate.bias_mean, gate.bias_std**2 + gain**2 * self.power
        k = [each.name for each in cell.fields].index(name)
        variance = float(self.gains[k]) ** 2 * moments[int(self.carrier_of[k])]
        gate = self.network.gates[cell.fields[k].gate]
        if cell.fields[k].gate in cell.recurrent_bias_gates and cell.fields[k].gain == "recurrent_gain":
            return gate.recurrent_bias_mean, variance + gate.recurrent_bias_std**2
        return 0.0, variance

    def _second_moment(self, product: Product, moments: Sequence[float]) -> tuple[float, float]:
        value, error = 1.0, 0.0
        for factor in product:
            laws = tuple(self._total(variable, moments) for variable in factor.variables)
            key = (factor.formula, laws)
            if key not in self._known:
                self._known[key] = _factor_moment(factor, laws, self.network.cell)
            part, part_error = self._known[key]
            error = error * (part + part_error) + value * part_error
            value *= part
        return value, error

    def _total(self, variable: str, moments: Sequence[float]) -> Law:
        laws = [self.law(member, moments) for member in self.formulas.members[variable]]
        return sum(mean for mean, _ in laws), sum(variance for _, variance in laws)


@lru_cache(maxsize=32)
def _formulas(cell: RecurrentCell) -> StaticFormulas:
    return static_formulas(cell)


def _factor_moment(factor: Factor, laws: Sequence[Law], cell: str) -> tuple[float, float]:
    """E[f²] of a formula of independent normal variables with these laws, and a bound on its error."""
    operations = {node.operation for node in ordered([factor.formula])}
    if "positive" in operations:
        laws = [(mean, max(variance, _SMALLEST_VARIANCE)) for mean, variance in laws]
    moving = [k for k, (_, variance) in enumerate(laws) if variance > 0.0]
    if moving and not operations.isdisjoint(_KINKS):
        return _with_kinks(factor, laws, cell)
    deviations = [math.sqrt(variance) for _, variance in laws]
    fixed = {factor.variables[k]: np.asarray(mean) for k, (mean, _) in enumerate(laws)}
    if not moving:
        value = float(_squares(factor.formula, fixed))
        return value, _ROUNDING * value
    if len(moving) > max(_TOLERANCES):
        names = ", ".join(factor.variables)
        raise InvalidInput(f"network: cell {cell!r} needs integrals over more than four variables: {names}")

    def function(nodes: Sequence[Float64]) -> list[Float64]:
        values = {factor.variables[k]: laws[k][0] + deviations[k] * z for k, z in zip(moving, nodes, strict=True)}
        return [_squares(factor.formula, {**fixed, **values})]

    centres = [-laws[k][0] / deviations[k] for k in moving]
    found, bound = graded_expectations(function, centres, tolerance=_TOLERANCES[len(moving)])
    return float(found[0]), float(bound[0])


def _with_kinks(factor: Factor, laws: Sequence[Law], cell: str) -> tuple[float, float]:
    if len(laws) > 1:
        names = ", ".join(factor.variables)
        raise InvalidInput(f"network: cell {cell!r} has kinks in functions of more than one variable: {names}")
    (name,), ((mean, variance),) = factor.variables, laws
    deviation = math.sqrt(variance)
    places = [each.scaled(mean, deviation) for each in transitions([factor.formula], symbol(name))]
    rule = far_rule(places)
    values = _squares(factor.formula, {name: mean + deviation * rule.nodes})
    value, coarse = float(rule.weights @ values), float(rule.coarse @ values)
    return value, abs(value - coarse) + _ROUNDING * abs(value)


def _squares(formula: Expression, values: dict[str, Float64]) -> Float64:
    return np.square(evaluate([formula], values)[0])
