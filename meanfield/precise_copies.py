"""Averages over one step of two copies of a unit in mpmath: the closed maps once more (theory, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mpmath import mp

from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.precise_cells import Factors, PreciseCell
from meanfield.solvers.high_precision import Values, normal_average, pair_average
from meanfield.solvers.precise_numbers import HighPrecision, Precise

Matrix = dict[tuple[int, int], tuple[Precise, Precise]]
"""E F_i F_j of pairs of functions i ≤ j, and E F_i' F_j'."""


@dataclass(frozen=True, eq=False)
class Copies:
    """Two copies of a unit before and after a step; without ``single`` they are the same.

    Attributes:
        network, inputs: of what.
        cell: its formulas.
        mean: E[s] of both.
        product: E[s_a s_b], which is E[s²] for copies that are the same.
        digits: of the integrals.
        single: the same unit beside itself, which has the variances.
    """

    network: Network
    inputs: Inputs
    cell: PreciseCell
    mean: HighPrecision
    product: HighPrecision
    digits: int
    single: Copies | None = None
    _matrices: dict[str, Matrix] = field(default_factory=dict, repr=False)
    _covariances: dict[str, tuple[Precise, Precise]] = field(default_factory=dict, repr=False)

    @property
    def stay_the_same(self) -> bool:
        """Whether copies that are the same read the same, so that they stay so."""
        return all(self._drive(gate) == (self.single or self)._drive(gate) for gate in self.network.gates)

    def moments(self) -> tuple[Precise, Precise]:
        """E[s] and E[s²] that a step keeps, for copies that are the same."""
        fed, lost = self.cell.fed, self.cell.lost
        kept = self.average(fed) - self.pair(lost, fed)[0]
        mean = self.average(fed) / self.average(lost)
        return mean, (2 * kept * mean + self.pair(fed, fed)[0]) / self._lost

    def change(self) -> Precise:
        """How far a step moves E[s_a s_b]."""
        fed, lost = self.cell.fed, self.cell.lost
        kept = self._average_fed - self.pair(lost, fed)[0]
        return 2 * kept * self.mean + self.pair(fed, fed)[0] - self._lost * self.product

    def slope(self) -> Precise:
        """Slope of the map of E[s_a s_b]; for copies that are the same, χ_1."""
        return self.pair(self.cell.kept, self.cell.kept)[0] + self._through

    def lacking(self) -> Precise:
        """One minus the slope, without cancellation where memory is long."""
        return self._lost - self._through

    def response(self, mean_error: HighPrecision, square_error: HighPrecision) -> HighPrecision:
        """About how much errors of E[s] and E[s²] change :meth:`change`, rather more than less."""
        kept = self._average_fed - self.pair(self.cell.lost, self.cell.fed)[0]
        by_mean = abs(kept.value) + kept.error + abs(self.mean * self._through.value)
        return 10 * (by_mean * mean_error + self.reacting() * square_error)

    def reacting(self) -> HighPrecision:
        """The parts of one minus the slope, which may cancel."""
        return abs(self._lost.value) + abs(self._through.value)

    @cached_property
    def _through(self) -> Precise:
        """The part of the slope that goes through the Gaussian variables."""
        fed, lost = self.cell.fed, self.cell.lost
        return (
            self.pair(lost, lost)[1] * self.product - 2 * self.pair(lost, fed)[1] * self.mean + self.pair(fed, fed)[1]
        )

    @cached_property
    def _lost(self) -> Precise:
        """1 - E[D_a D_b]."""
        one = (self.single or self).average(self.cell.lost)
        return 2 * one - self.pair(self.cell.lost, self.cell.lost)[0]

    @cached_property
    def _average_fed(self) -> Precise:
        return (self.single or self).average(self.cell.fed)

    def average(self, terms: Sequence[Factors]) -> Precise:
        """E of a sum."""
        return self.pair(terms, [Factors(mp.one, {})])[0]

    def pair(self, left: Sequence[Factors], right: Sequence[Factors]) -> tuple[Precise, Precise]:
        """E of the product of a sum in one copy and a sum in the other, and its derivative in E[s_a s_b]."""
        total, total_rise = Precise(mp.zero), Precise(mp.zero)
        for one in left:
            for other in right:
                value, rise = Precise(one.factor * other.factor), Precise(mp.zero)
                for name in {**one.functions, **other.functions}:
                    entry, slope = self._entry(name, one.functions.get(name, 0), other.functions.get(name, 0))
                    value, rise = value * entry, rise * entry + value * slope
                total, total_rise = total + value, total_rise + rise
        return total, total_rise

    def _entry(self, name: str, i: int, j: int) -> tuple[Precise, Precise]:
        """E of a product of functions of one variable in both copies, and its derivative in E[s_a s_b]."""
        if self.single is not None and not (i and j):
            return self.single._entry(name, i, j)[0], Precise(mp.zero)
        if name not in self._matrices:
            self._matrices[name] = self._matrix(name)
        value, slope = self._matrices[name][min(i, j), max(i, j)]
        if not slope.value:
            return value, slope
        covariance, rise = self.covariance(name)
        return Precise(value.value, value.error + abs(slope.value) * covariance.error), slope * rise

    def _matrix(self, name: str) -> Matrix:
        variable = self.cell.variables[name]
        count = variable.count
        pairs = [(i, j) for i, j in self.cell.pairs(name) if i or self.single is None]

        def products(left: Values, right: Values) -> list[HighPrecision]:
            values = [left[i - 1] * right[j - 1] if i else right[j - 1] for i, j in pairs]
            return values + [left[count + i - 1] * right[count + j - 1] for i, j in pairs if i]

        mean, variance = self.mean_of(name), (self.single or self).covariance(name)[0].value
        deviation = mp.sqrt(variance)
        places = variable.transitions
        if self.single is None or not variance:
            found = normal_average(
                lambda u: products(values := variable.function(u), values), mean, deviation, places, digits=self.digits
            )
        else:
            correlation = self._correlation(self.covariance(name)[0].value / variance)
            found = pair_average(variable.function, products, mean, deviation, correlation, places, digits=self.digits)
        slopes = iter(found[len(pairs) :])
        zero = Precise(mp.zero)
        return {pair: (value, next(slopes) if pair[0] else zero) for pair, value in zip(pairs, found, strict=False)}

    def _correlation(self, correlation: HighPrecision) -> HighPrecision:
        """A correlation, which rounding may have moved from ±1, and Newton's method beyond."""
        room = 1 - abs(correlation)
        digits = self.digits + 5 if room > 0 else self.digits // 2
        return mp.sign(correlation) if abs(room) < mp.mpf(10) ** -digits else correlation

    def covariance(self, name: str) -> tuple[Precise, Precise]:
        """Covariance of a Gaussian variable between the copies, and its derivative in E[s_a s_b]."""
        if name not in self._covariances:
            value, rise = Precise(mp.zero), Precise(mp.zero)
            for member in self.cell.variables[name].members:
                kind, which = member.split(" ", 1)
                if kind == "drive":
                    value = value + self._drive(which)
                    continue
                gate, carrier, gain = self.recurrent_field(which)
                law = self.network.gates[gate]
                if gate in self.network.definition.recurrent_bias_gates:
                    value = value + mp.mpf(law.recurrent_bias_std) ** 2
                if gain:
                    product, product_rise = self._carrier(carrier)
                    value, rise = value + gain**2 * product, rise + gain**2 * product_rise
            self._covariances[name] = value, rise
        return self._covariances[name]

    def _drive(self, gate: str) -> HighPrecision:
        law = self.network.gates[gate]
        power = mp.zero
        if gate in self.network.definition.input_gates:
            overlap = self.inputs.overlap if self.single is not None else 1.0
            power = mp.mpf(law.input_gain) ** 2 * mp.mpf(self.inputs.power) * mp.mpf(overlap)
        return power + mp.mpf(law.bias_std) ** 2

    def mean_of(self, name: str) -> HighPrecision:
        """Mean of a Gaussian variable."""
        total = mp.zero
        for member in self.cell.variables[name].members:
            kind, which = member.split(" ", 1)
            if kind == "drive":
                total += mp.mpf(self.network.gates[which].bias_mean)
            else:
                gate, _, _ = self.recurrent_field(which)
                if gate in self.network.definition.recurrent_bias_gates:
                    total += mp.mpf(self.network.gates[gate].recurrent_bias_mean)
        return total

    def recurrent_field(self, name: str) -> tuple[str, int, HighPrecision]:
        """Gate, carrier and gain of a recurrent field."""
        found = next(each for each in self.network.definition.fields if each.name == name)
        return found.gate, found.carrier, mp.mpf(getattr(self.network.laws[found.gate], found.gain))

    def _carrier(self, index: int) -> tuple[Precise, Precise]:
        """E[p_a p_b] of a carrier, and its derivative in E[s_a s_b]."""
        offset, slope = self.cell.carriers[index]
        squares, mixed, plain = self.pair(slope, slope), self.pair(offset, slope), self.pair(offset, offset)
        value, rise = (squares[part] * self.product + 2 * mixed[part] * self.mean + plain[part] for part in (0, 1))
        return value, rise + squares[0]
