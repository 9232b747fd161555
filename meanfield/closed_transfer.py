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
                   + Σ_m<k E[Q_cm²] H_m[x] + E[Q_m²] (H_m[p_c] + E[Q_cm²] F_m)),
    S_x = E[(P² b + Σ_m Q_m² g_m)²] + Σ_m (2 E[Q_m²] H_m[x] + E[Q_m²]² F_m),
    F_m = σ_m⁴ S_c(m) + κ g_m²,

and the off-diagonal part of the old step, which knows nothing of either unit's coefficients, is multiplied by χ_1².
F_m is what W_m p pᵀ W_mᵀ has off the diagonal. Of all that is here it alone has a matrix four times, and depends on the
law of its singular values s beyond their mean square: κ = E s⁴/(E s²)² - 2 is its fourth free cumulant, 0 for Gaussian
and -1 for orthogonal matrices (Nica and Speicher, lecture 15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_cells import ClosedCell, Polynomial, Term
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_products import Form, PairForm, StepForms, plus, times
from meanfield.errors import NotConverged
from meanfield.matrix_laws import fourth_cumulant
from meanfield.network import Network
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

Product = tuple[int, int, int]

_MEAN, _FIRST, _SECOND, _SQUARE, _APART = range(5)  # places of E b, E b s, E b s², E b² and what is off the diagonal
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Transfer:
    """One step of the moments E b, E b s, E b s² in units of m1, E b² and m2 - E b² in units of m1².

    Attributes:
        matrix: what they are multiplied by, (5, 5); of many networks, (5, 5, networks).
        start: their values for J = 1, (5,) or (5, networks).
        growth: of E b, in units of what it was taken to be: one; () or (networks,).
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
    >>> turned = closed_law(mf.Network("vanilla", {"h": mf.Gate(0.5)}, "orthogonal"), mf.Inputs(power=0.0))
    >>> transfer(turned, 0.25).matrix.value[4].round(12)  # singular values of orthogonal matrices do not scatter
    array([-1.,  0.,  0.,  1.,  1.])
    """
    circuit = Circuit.of(law.step.cell, [law.network])
    mean, second = (Bounded(np.asarray(each.value), np.asarray(each.error)) for each in (law.mean, law.second_moment))
    step = _Step(circuit.of_one(), StepForms(law.step), mean, second, chi)
    if not np.all(np.isfinite(step.moments.magnitude)):
        raise NotConverged("products of four coefficients of the linear circuit left the range of numbers")
    if not np.all(np.isfinite(step.state_moments.error)):
        raise NotConverged("the state has no stationary fourth moment: its memory does not decay")
    return _transfer(step)


def transfer_of_many(circuit: Circuit, forms: Forms, mean: Bounded, second: Bounded, chi: Float64) -> Transfer:
    """The transfer matrices of one step of many networks of one cell.

    Args:
        circuit: their fields.
        forms: expectations of products of their coefficients.
        mean, second: E[s] and E[s²], (networks,).
        chi: χ_1, (networks,).

    Returns:
        Matrices; errors are infinite or not numbers where the state has no fourth moment.
    """
    return _transfer(_Step(circuit, forms, mean, second, chi))


def _transfer(step: _Step) -> Transfer:
    once = step.growth
    twice = once * once
    first, second = (step.direct(power) + step.place(_MEAN, step.fed(power)) for power in step.powers[1:])
    rows = [step.nothing + step.unit(_MEAN), first / once, second / once, step.diagonal(step.new, step.new) / twice]
    # What is off the diagonal grows by χ_1² whatever the unit: by one in units of m1².
    rows.append(step.apart(step.new) / twice + step.unit(_APART))
    matrix = Bounded(np.stack([each.value for each in rows]), np.stack([each.error for each in rows]))
    # Fancy indices copy.
    start = step.state_moments[[0, 1, 2, 0, 0]]
    start.value[_APART] = start.error[_APART] = 0.0
    return Transfer(matrix, start, once)


class Forms(Protocol):
    """Coefficients of a step as sums of products of functions, and expectations of products of four of them."""

    def form(self, terms: Iterable[Term], noise: str | None = None, factor: Any = 1.0) -> Form:
        """A sum of products of functions, or its derivative in a Gaussian variable, times a number."""
        ...

    def matrix(self, forms: Sequence[PairForm]) -> Bounded:
        """E of the products of all forms with each other, (forms, forms) or (forms, forms, networks)."""
        ...


@dataclass(frozen=True, eq=False)
class Circuit:
    """The recurrent fields of networks of one cell.

    Attributes:
        cell: of all of them.
        noises: the Gaussian variables that the fields are part of.
        reads: the carriers that they read.
        gains: σ², () or (networks,) each.
        cumulants: κ of their matrices, likewise.
    """

    cell: ClosedCell
    noises: tuple[str, ...]
    reads: tuple[int, ...]
    gains: tuple[Float64, ...]
    cumulants: tuple[Float64, ...]

    @classmethod
    def of(cls, cell: ClosedCell, networks: Sequence[Network]) -> Circuit:
        """Those of networks of one cell."""
        variables = {member: name for name, members in cell.noises.items() for member in members}
        fields = [each for each in networks[0].definition.fields if f"field {each.name}" in variables]
        laws = [network.laws for network in networks]
        kappa = np.array([fourth_cumulant(network) for network in networks])
        return cls(
            cell,
            tuple(variables[f"field {each.name}"] for each in fields),
            tuple(each.carrier for each in fields),
            tuple(np.array([getattr(law[each.gate], each.gain) ** 2 for law in laws]) for each in fields),
            # The ensemble is that of recurrent matrices: those of inputs are Gaussian.
            tuple(kappa if each.gain == "recurrent_gain" else 0.0 * kappa for each in fields),
        )

    def of_one(self) -> Circuit:
        """That of the first network, without the fields that it does not have."""
        kept = [k for k, gain in enumerate(self.gains) if gain[0] > 0.0]
        return Circuit(
            self.cell,
            tuple(self.noises[k] for k in kept),
            tuple(self.reads[k] for k in kept),
            tuple(self.gains[k][0] for k in kept),
            tuple(self.cumulants[k][0] for k in kept),
        )


class _Step:
    """The coefficients of one step and averages of their products.

    Rows are the carriers and then the new state. Part 0 of a row is P, part k + 1 is Q_k. Products of two coefficients
    are polynomials of degree two in s, kept as the places of their three coefficients among all products.
    """

    def __init__(self, circuit: Circuit, forms: Forms, mean: Bounded, second: Bounded, chi: Any) -> None:
        cell = circuit.cell
        self._mean, self._second, self._forms = mean, second, forms
        self._products: list[PairForm] = [{}]
        self.gains, self.reads, self._cumulants = circuit.gains, circuit.reads, circuit.cumulants
        self.fields = range(len(self.gains))
        self.new = len(cell.carriers)
        self.nothing = bounded(np.zeros((5, *np.shape(chi))))
        rows = [self._row(carrier, circuit.noises, 1.0) for carrier in cell.carriers]
        rows.append(self._row(cell.update, circuit.noises, 1.0 / np.sqrt(chi)))
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
            self.moments = self._forms.matrix(self._products)

    def _row(self, row: Polynomial, noises: Sequence[str], unit: Any) -> list[tuple[Form, Form]]:
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

    def unit(self, index: int) -> Float64:
        """The combination of the old moments that is one of them."""
        return np.eye(5)[index].reshape(self.nothing.value.shape[:1] + (1,) * (self.nothing.value.ndim - 1))

    def place(self, index: int, number: Bounded) -> Bounded:
        """A combination of the old moments that has one of them only."""
        return self.nothing + self.unit(index) * number

    def _registered(self, product: PairForm) -> int:
        if not product:
            return 0
        self._products.append(product)
        return len(self._products) - 1

    def part(self, one: int, other: int, index: int) -> Product:
        """The product of the same part of two rows."""
        return self._parts[max(one, other), min(one, other)][index]

    def coefficients(self, one: Product, other: Product) -> Bounded:
        """E of a product of four coefficients as a polynomial in the state, (5, …)."""
        parts = self.moments[np.ix_(one, other)]
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
        found = self.place(0, bounded(1.0)) + self.place(1, self._mean) + self.place(2, self._second)
        unit, (lost, lost_twice) = self.powers[0], self._lost
        once, twice = (self.moments[each[0], unit[0]] for each in (lost, lost_twice))
        thrice, four_times = (self.moments[each[0], lost_twice[0]] for each in (lost, lost_twice))
        gone = {3: 3.0 * once - 3.0 * twice + thrice, 4: 4.0 * once - 6.0 * twice + 4.0 * thrice - four_times}
        for power, half in ((3, self.powers[1]), (4, self.powers[2])):
            # Where that is not positive the error is infinite.
            sure = gone[power].value > gone[power].error
            lasting = Bounded(np.where(sure, gone[power].value, 0.0), gone[power].error)
            fed = self.coefficients(half, self.powers[2])
            new = _dot(fed[:power], found[:power]) / lasting
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
        return _of_old(found)

    def fed(self, power: Product) -> Bounded:
        """E Σ_k A_k² g_k s'^j for b = 1."""
        total = bounded(0.0)
        for k, rise in enumerate(self.rises):
            total = total + rise * self.average(self.part(self.new, self.new, k + 1), power)
        return total

    def diagonal(self, one: int, other: int) -> Bounded:
        """E (P P_c b + Σ_k Q_k Q_ck g_k)² as a combination of the old moments, (5,)."""
        direct = self.part(one, other, 0)
        total = self.place(_SQUARE, self.coefficients(direct, direct)[0])
        through = [(rise, self.part(one, other, k + 1)) for k, rise in enumerate(self.rises)]
        through = [(rise, part) for rise, part in through if any(part)]
        for k, (rise, part) in enumerate(through):
            if any(direct):
                mixed = self.coefficients(direct, part) * (2.0 * rise)
                total = total + _of_old(mixed)
            for j, (another, other_part) in enumerate(through[: k + 1]):
                twice = 1.0 if j == k else 2.0
                total = total + self.place(_MEAN, twice * rise * another * self.average(part, other_part))
        return total

    def between(self, field: int, row: int) -> Bounded:
        """H_k of a row but for what is off the diagonal before, as a combination of the old moments, (5,)."""
        if (field, row) not in self._between:
            carrier = self.reads[field]
            total = self.diagonal(row, carrier)
            for m in range(field):
                inner, through = self.square(carrier, m + 1), self.square(row, m + 1)
                if np.any(inner.magnitude > 0.0):
                    total = total + self.between(m, row) * inner
                if np.any(through.magnitude > 0.0):
                    both = self.between(m, carrier)
                    if np.any(inner.magnitude > 0.0):
                        both = both + self.image(m) * inner
                    total = total + both * through
            self._between[field, row] = total * self.gains[field]
        return self._between[field, row]

    @cached_property
    def _between(self) -> dict[tuple[int, int], Bounded]:
        return {}

    def apart(self, row: int) -> Bounded:
        """S of a row without the diagonal, and but for what is off the diagonal before, (5,)."""
        total = self.nothing
        for k in self.fields:
            square = self.square(row, k + 1)
            if np.any(square.magnitude > 0.0):
                total = total + self.between(k, row) * (2.0 * square)
                total = total + self.image(k) * (square * square)
        return total

    def image(self, field: int) -> Bounded:
        """F_k, but for what is off the diagonal before, (5,)."""
        total = self.whole(self.reads[field]) * self.gains[field] ** 2
        cumulant, rise = self._cumulants[field], self.rises[field]
        return total + self.place(_MEAN, rise * rise * cumulant) if np.any(cumulant) else total

    def whole(self, row: int) -> Bounded:
        """S of a row, but for what is off the diagonal before, (5,)."""
        return self.diagonal(row, row) + self.apart(row)


def _of_old(coefficients: Bounded) -> Bounded:
    """A polynomial of degree two in the state, times b, as a combination of the old moments."""
    empty = np.zeros_like(coefficients.value[:2])
    return Bounded(*(np.concatenate((each[:3], empty)) for each in (coefficients.value, coefficients.error)))


def _dot(left: Bounded, right: Bounded) -> Bounded:
    terms = left * right
    error = np.sum(terms.error, axis=0) + _ROUNDING * np.sum(np.abs(terms.value), axis=0)
    return Bounded(np.asarray(np.sum(terms.value, axis=0)), np.asarray(error))
