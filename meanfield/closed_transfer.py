"""How the first two moments of a product of one-step Jacobians change with one more step (theory, sections 1 and 5).

Let J = ∂s_t/∂s_0 with weights that are redrawn at every step, b the diagonal of J Jᵀ, and m1 = E b, m2 = tr (J Jᵀ)²/N.
As N → ∞ the entry b of a unit depends on the unit's own path only, and entries off the diagonal are Gaussian with
variances of order 1/N. The row of a vector x = P δ + Σ_k Q_k y_k (of a carrier, or of the new state, where P = D and
Q = A) then has the entry

    P² b + Σ_k Q_k² g_k,    g_k = σ_k² E[P_c² b + Σ_m Q_cm² g_m]  with c the carrier that field k reads,

on the diagonal. P and the coefficients of Q_k, which is affine in s, do not depend on the past, so that E b, E b s,
E b s², E b² and the part of m2 off the diagonal follow from each other, linearly if they are taken in units of m1 and
m1². For the last one let H_k[x] be the mean square of √N × (covariance of y_k in one unit and of x without y_k and
later fields in another one). Pairs of units give

    H_k[x] = σ_k² (E[(P P_c b + Σ_m Q_m Q_cm g_m)²]
                   + Σ_m<k E[Q_cm²] H_m[x] + E[Q_m²] (H_m[p_c] + E[Q_cm²] σ_m⁴ S_c(m))),
    S_x = E[(P² b + Σ_m Q_m² g_m)²] + Σ_m (2 E[Q_m²] H_m[x] + E[Q_m²]² σ_m⁴ S_c(m)),

and the off-diagonal part of the old step, which knows nothing of either unit's coefficients, is multiplied by χ_1².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import Polynomial, Term
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_products import Form, PairForm, StepForms, plus, times
from meanfield.errors import NotConverged
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

Product = tuple[int, int, int]

_MEAN, _FIRST, _SECOND, _SQUARE, _APART = range(5)  # places of E b, E b s, E b s², E b² and what is off the diagonal
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Transfer:
    """One step of the moments E b, E b s, E b s² in units of m1, E b² and m2 - E b² in units of m1².

    Attributes:
        matrix: what they are multiplied by, (5, 5).
        start: their values for J = 1, (5,).
        growth: of E b, in units of what it was taken to be: one.
    """

    matrix: Bounded
    start: Bounded
    growth: Bounded


def transfer(law: ClosedLaw, chi: float) -> Transfer:
    """The transfer matrix of one step.

    Args:
        law: of the state.
        chi: χ_1; coefficients are taken in units of its square root.

    Raises:
        NotConverged: if the state has no fourth moment, or products of four coefficients leave the range of numbers.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> linear = closed_law(mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)}), mf.Inputs(power=0.0))
    >>> transfer(linear, 0.25).matrix.value[3:].round(12)  # one Gaussian matrix more: E b² is 1, m2 - E b² grows by 1
    array([[1., 0., 0., 0., 0.],
           [0., 0., 0., 1., 1.]])
    """
    step = _Step(law, chi)
    once = step.growth
    twice = once * once
    first, second = (step.direct(power) + _place(_MEAN, step.fed(power)) for power in step.powers[1:])
    rows = [bounded(np.eye(5)[_MEAN]), first / once, second / once, step.diagonal(step.new, step.new) / twice]
    # What is off the diagonal grows by χ_1² whatever the unit: by one in units of m1².
    rows.append(step.apart(step.new) / twice + np.eye(5)[_APART])
    matrix = Bounded(np.stack([each.value for each in rows]), np.stack([each.error for each in rows]))
    start = step.state_moments[[0, 1, 2, 0]]
    return Transfer(matrix, Bounded(np.append(start.value, 0.0), np.append(start.error, 0.0)), once)


class _Step:
    """The coefficients of one step and averages of their products.

    Rows are the carriers and then the new state. Part 0 of a row is P, part k + 1 is Q_k. Products of two coefficients
    are polynomials of degree two in s, kept as the places of their three coefficients among all products.
    """

    def __init__(self, law: ClosedLaw, chi: float) -> None:
        cell, definition = law.step.cell, law.network.definition
        variables = {member: name for name, members in cell.noises.items() for member in members}
        self._law, self._forms = law, StepForms(law.step)
        self._products: list[PairForm] = [{}]
        self.gains, self.reads, noises = [], [], []
        for each in definition.fields:
            gain = getattr(law.network.laws[each.gate], each.gain)
            if gain > 0.0 and f"field {each.name}" in variables:
                self.gains.append(gain**2)
                self.reads.append(each.carrier)
                noises.append(variables[f"field {each.name}"])
        self.fields = range(len(noises))
        self.new = len(cell.carriers)
        rows = [self._row(carrier, noises, 1.0) for carrier in cell.carriers]
        rows.append(self._row(cell.update, noises, 1.0 / math.sqrt(chi)))
        self._parts = {
            (one, other): [self._multiplied(*pair) for pair in zip(rows[one], rows[other], strict=True)]
            for one in range(self.new + 1)
            for other in range(one + 1)
        }
        one, lost = (Term(1.0, (0,) * len(cell.groups)),), self._forms.form(cell.lost)
        unit = self._forms.form(one)
        offset, keep = (self._forms.form(each) for each in cell.update)
        moved = self._multiplied((offset, keep), (unit, {}))
        self.powers = [
            self._multiplied((unit, {}), (unit, {})),
            moved,
            self._multiplied((offset, keep), (offset, keep)),
        ]
        self._lost = [self._multiplied((lost, {}), (other, {})) for other in (unit, lost)]
        with np.errstate(over="ignore", invalid="ignore"):
            self._moments = self._forms.matrix(self._products)
        if not np.all(np.isfinite(self._moments.magnitude)):
            raise NotConverged("products of four coefficients of the linear circuit left the range of numbers")

    def _row(self, row: Polynomial, noises: Sequence[str], unit: float) -> list[tuple[Form, Form]]:
        offset, slope = row
        parts: list[tuple[Form, Form]] = [(self._forms.form(slope, None, unit), {})]
        for noise in noises:
            parts.append((self._forms.form(offset, noise, unit), self._forms.form(slope, noise, unit)))
        return parts

    def _multiplied(self, one: tuple[Form, Form], other: tuple[Form, Form]) -> Product:
        """The places of the coefficients of a product of two polynomials of degree one."""
        mixed = plus(times(one[0], other[1]), times(one[1], other[0]))
        first, second, third = (
            self._registered(each) for each in (times(one[0], other[0]), mixed, times(one[1], other[1]))
        )
        return first, second, third

    def _registered(self, product: PairForm) -> int:
        if not product:
            return 0
        self._products.append(product)
        return len(self._products) - 1

    def part(self, one: int, other: int, index: int) -> Product:
        """The product of the same part of two rows."""
        return self._parts[max(one, other), min(one, other)][index]

    def coefficients(self, one: Product, other: Product) -> Bounded:
        """E of a product of four coefficients as a polynomial in the state, (5,)."""
        parts = self._moments[np.ix_(one, other)]
        value, error = (
            np.array([np.trace(each[::-1], offset) for offset in range(-2, 3)]) for each in (parts.value, parts.error)
        )
        return Bounded(value, error)

    def average(self, one: Product, other: Product) -> Bounded:
        """The same, averaged over the state."""
        return _dot(self.coefficients(one, other), self.state_moments)

    @cached_property
    def state_moments(self) -> Bounded:
        """E s^j, j = 0 … 4."""
        law = self._law
        found = Bounded(
            np.array([1.0, law.mean.value, law.second_moment.value, 0.0, 0.0]),
            np.array([0.0, law.mean.error, law.second_moment.error, 0.0, 0.0]),
        )
        unit, (lost, lost_twice) = self.powers[0], self._lost
        once, twice = (self._moments[each[0], unit[0]] for each in (lost, lost_twice))
        thrice, four_times = (self._moments[each[0], lost_twice[0]] for each in (lost, lost_twice))
        gone = {3: 3.0 * once - 3.0 * twice + thrice, 4: 4.0 * once - 6.0 * twice + 4.0 * thrice - four_times}
        for power, half in ((3, self.powers[1]), (4, self.powers[2])):
            if gone[power].value <= gone[power].error:
                raise NotConverged("the state has no stationary fourth moment: its memory does not decay")
            fed = self.coefficients(half, self.powers[2])
            new = _dot(fed[:power], found[:power]) / gone[power]
            found.value[power], found.error[power] = new.value, new.error
        return found

    @cached_property
    def rises(self) -> list[Bounded]:
        """g_k for b = 1."""
        found: list[Bounded] = []
        for gain, carrier in zip(self.gains, self.reads, strict=True):
            total = self.square(carrier, 0)
            for k, rise in enumerate(found):
                total = total + self.square(carrier, k + 1) * rise
            found.append(gain * total)
        return found

    @cached_property
    def growth(self) -> Bounded:
        """χ_1 in units of what it was taken to be."""
        return self.square(self.new, 0) + self.fed(self.powers[0])

    def square(self, row: int, part: int) -> Bounded:
        """E P² or E Q_k² of a row."""
        if (row, part) not in self._squares:
            self._squares[row, part] = self.average(self.part(row, row, part), self.powers[0])
        return self._squares[row, part]

    @cached_property
    def _squares(self) -> dict[tuple[int, int], Bounded]:
        return {}

    def direct(self, power: Product) -> Bounded:
        """E D² b s'^j as a combination of the old moments, (5,)."""
        found = self.coefficients(self.part(self.new, self.new, 0), power)
        return Bounded(np.append(found.value[:3], (0.0, 0.0)), np.append(found.error[:3], (0.0, 0.0)))

    def fed(self, power: Product) -> Bounded:
        """E Σ_k A_k² g_k s'^j for b = 1."""
        total = bounded(0.0)
        for k, rise in enumerate(self.rises):
            total = total + rise * self.average(self.part(self.new, self.new, k + 1), power)
        return total

    def diagonal(self, one: int, other: int) -> Bounded:
        """E (P P_c b + Σ_k Q_k Q_ck g_k)² as a combination of the old moments, (5,)."""
        direct = self.part(one, other, 0)
        total = _place(_SQUARE, self.coefficients(direct, direct)[0])
        through = [(rise, self.part(one, other, k + 1)) for k, rise in enumerate(self.rises)]
        through = [(rise, part) for rise, part in through if any(part)]
        for k, (rise, part) in enumerate(through):
            if any(direct):
                mixed = self.coefficients(direct, part) * (2.0 * rise)
                total = total + Bounded(np.append(mixed.value[:3], (0.0, 0.0)), np.append(mixed.error[:3], (0.0, 0.0)))
            for j, (another, other_part) in enumerate(through[: k + 1]):
                twice = 1.0 if j == k else 2.0
                total = total + _place(_MEAN, twice * rise * another * self.average(part, other_part))
        return total

    def between(self, field: int, row: int) -> Bounded:
        """H_k of a row but for what is off the diagonal before, as a combination of the old moments, (5,)."""
        if (field, row) not in self._between:
            carrier = self.reads[field]
            total = self.diagonal(row, carrier)
            for m in range(field):
                inner, through = self.square(carrier, m + 1), self.square(row, m + 1)
                if inner.magnitude > 0.0:
                    total = total + self.between(m, row) * inner
                if through.magnitude > 0.0:
                    both = self.between(m, carrier)
                    if inner.magnitude > 0.0:
                        both = both + self.whole(self.reads[m]) * (inner * self.gains[m] ** 2)
                    total = total + both * through
            self._between[field, row] = total * self.gains[field]
        return self._between[field, row]

    @cached_property
    def _between(self) -> dict[tuple[int, int], Bounded]:
        return {}

    def apart(self, row: int) -> Bounded:
        """S of a row without the diagonal, and but for what is off the diagonal before, (5,)."""
        total = bounded(np.zeros(5))
        for k in self.fields:
            square = self.square(row, k + 1)
            if square.magnitude > 0.0:
                total = total + self.between(k, row) * (2.0 * square)
                total = total + self.whole(self.reads[k]) * (square * square * self.gains[k] ** 2)
        return total

    def whole(self, row: int) -> Bounded:
        """S of a row, but for what is off the diagonal before, (5,)."""
        return self.diagonal(row, row) + self.apart(row)


def _place(index: int, number: Bounded) -> Bounded:
    """A combination of the old moments that has one of them only."""
    return bounded(np.eye(5)[index]) * number


def _dot(left: Bounded, right: Bounded) -> Bounded:
    terms = left * right
    error = np.sum(terms.error) + _ROUNDING * np.sum(np.abs(terms.value))
    return Bounded(np.asarray(np.sum(terms.value)), np.asarray(error))
