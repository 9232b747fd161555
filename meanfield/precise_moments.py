"""Moments m1 and m2 of the squared singular values of a one-step Jacobian, weights redrawn, in mpmath (theory, 5).

The coefficients of the linear circuit are derivatives of a cell's formulas, sums of products of functions of one
Gaussian variable each and of powers of the state. The Jacobian is a sum of words in them and in Gaussian matrices,

    J = D + Σ_k A_k W_k C_c(k),    C_c = P_c + Σ_m Q_cm W_m C_c(m),

whose moments are sums over non-crossing partitions. Neither the pairings of :mod:`meanfield.solvers.circuit_moments`
nor the recursion of :mod:`meanfield.closed_transfer` is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mpmath import mp

from meanfield.precise_cells import Factors
from meanfield.precise_copies import Copies
from meanfield.precise_solution import PreciseLaw
from meanfield.solvers.high_precision import normal_average
from meanfield.solvers.precise_numbers import HighPrecision, Precise
from meanfield.solvers.random_words import Word, moment, partitions

Monomial = tuple[int, tuple[tuple[str, tuple[int, ...]], ...]]
"""A power of the old state, and of every Gaussian variable the functions of it that are multiplied, by index."""
Form = dict[Monomial, HighPrecision]
"""A sum of monomials times numbers."""

_ONE: Form = {(0, ()): mp.one}


def precise_moments(law: PreciseLaw) -> tuple[Precise, Precise]:
    """m1 = tr J Jᵀ/N and m2 = tr (J Jᵀ)²/N of one step, N → ∞.

    Args:
        law: of the state, in the precision that is set.

    Returns:
        Both with bounds on their errors: of integrals, and of what the law's own errors make of it.

    Raises:
        ArithmeticError: if the state has no fourth moment, or integrals do not converge.

    >>> import meanfield as mf
    >>> from meanfield.precise_solution import precise_law, working_digits
    >>> linear = mf.Network("leaky", {"h": mf.Gate(recurrent_gain=0.5)})  # at rest: 0.7 + 0.15 W
    >>> with mp.workdps(working_digits(linear, 20)):
    ...     first, second = precise_moments(precise_law(linear, mf.Inputs(power=0.0), 0.0, 0.0, 20))
    ...     mp.nstr(first.value, 12), mp.nstr(second.value, 12)
    ('0.5125', '0.2852125')
    """
    own = law.copies
    found = _Step(own).moments
    square = own.product
    if not square:
        return found
    small = mp.mpf(10) ** (-own.digits // 3)
    # Half of the digits are more than the difference needs.
    near = replace(own, product=square * (1 + small), digits=own.digits // 2, _matrices={}, _covariances={})
    moved = _Step(near).moments
    covariances = [own.covariance(name)[0] for name in own.cell.variables]
    read = max((each.error / each.value for each in covariances if each.value), default=mp.zero)
    of_law = (law.second_moment.error + abs(law.mean.value) * law.mean.error) / square
    share = 2 * (of_law + read) / small
    first, second = (
        Precise(here.value, here.error + share * abs(there.value - here.value))
        for here, there in zip(found, moved, strict=True)
    )
    return first, second


@dataclass(frozen=True, eq=False)
class _Step:
    """One step's coefficients, the words of its Jacobian, and averages.

    Attributes:
        copies: of a unit that are the same.
    """

    copies: Copies

    @cached_property
    def moments(self) -> tuple[Precise, Precise]:
        """m1 and m2."""
        words = self._words()
        largest = 2 * max((len(each) for each in self._cumulants.values()), default=1)
        regions = {
            region
            for order in (1, 2)
            for partition in partitions(words, order, largest)
            for region in partition.regions
        }
        forms = {region: _product(self._coefficients[name] for name in region) for region in regions}
        table = self._averages(forms.values())
        averages = {region: self._average(form, table) for region, form in forms.items()}
        first, second = (moment(words, order, averages.__getitem__, self._cumulants) for order in (1, 2))
        # Without words there is nothing but the number zero.
        return Precise(mp.zero) + first, Precise(mp.zero) + second

    @cached_property
    def _fields(self) -> dict[str, tuple[str, int]]:
        """Variable and carrier of every recurrent field that has a gain."""
        variables = self.copies.cell.variables
        found = {}
        for each in self.copies.network.definition.fields:
            for name, variable in variables.items():
                if f"field {each.name}" in variable.members and self.copies.recurrent_field(each.name)[2]:
                    found[each.name] = (name, each.carrier)
        return found

    @cached_property
    def _cumulants(self) -> dict[str, list[HighPrecision]]:
        """κ_2 and, of matrices that are not Gaussian, κ_4 of every field's matrix."""
        network, found = self.copies.network, {}
        excess = mp.mpf(network.spread_of_matrices) - 1
        for each in network.definition.fields:
            if each.name in self._fields:
                variance = self.copies.recurrent_field(each.name)[2] ** 2
                found[each.name] = [variance]
                if each.gain == "recurrent_gain" and excess:
                    found[each.name].append(variance**2 * excess)
        return found

    @cached_property
    def _coefficients(self) -> dict[str, Form]:
        """D, A_k, P_c and Q_cm by name, without those that vanish."""
        cell = self.copies.cell
        found = {"D": _form(cell.kept)}
        for field, (variable, _) in self._fields.items():
            found[f"A {field}"] = self._derivative(cell.fed, cell.kept, variable)
        for index, (offset, slope) in enumerate(cell.carriers):
            found[f"P {index}"] = _form(slope)
            for field, (variable, _) in self._fields.items():
                found[f"Q {index} {field}"] = self._derivative(offset, slope, variable)
        return {name: form for name, form in found.items() if form}

    def _derivative(self, offset: Sequence[Factors], slope: Sequence[Factors], variable: str) -> Form:
        """∂(offset + slope s)/∂u of a Gaussian variable u."""
        count = self.copies.cell.variables[variable].count
        found: Form = {}
        for power, terms in enumerate((offset, slope)):
            reading = [each for each in terms if variable in each.functions]
            moved = [
                Factors(each.factor, {**each.functions, variable: count + each.functions[variable]}) for each in reading
            ]
            found = _sum(found, _form(moved, power))
        return found

    def _words(self) -> list[Word]:
        """The terms of J."""
        words = [Word((("D",),), ())] if "D" in self._coefficients else []
        for field, (_, carrier) in self._fields.items():
            if (name := f"A {field}") in self._coefficients:
                words += [Word(((name,), *tail.regions), (field, *tail.matrices)) for tail in self._tails(carrier)]
        return words

    def _tails(self, carrier: int) -> list[Word]:
        """The terms of C_c, which end a word."""
        found = [Word(((name,),), ())] if (name := f"P {carrier}") in self._coefficients else []
        for field, (_, read) in self._fields.items():
            if (name := f"Q {carrier} {field}") in self._coefficients:
                found += [Word(((name,), *tail.regions), (field, *tail.matrices)) for tail in self._tails(read)]
        return found

    def _averages(self, forms: Iterable[Form]) -> dict[tuple[str, tuple[int, ...]], Precise]:
        """E of all products of functions of one variable in these forms, and in those of the state's moments."""
        needed: dict[str, set[tuple[int, ...]]] = {name: set() for name in self.copies.cell.variables}
        forms = [*forms, *self._state_forms]
        for form in forms:
            for _, parts in form:
                for name, functions in parts:
                    needed[name].add(functions)
        found = {}
        for name, tuples in needed.items():
            variable, wanted = self.copies.cell.variables[name], sorted(tuples)
            if not wanted:
                continue
            mean, variance = self.copies.mean_of(name), self.copies.covariance(name)[0].value
            results = normal_average(
                _products_of(variable.function, wanted),
                mean,
                mp.sqrt(variance),
                variable.transitions,
                digits=self.copies.digits,
            )
            found.update({(name, each): value for each, value in zip(wanted, results, strict=True)})
        return found

    @cached_property
    def _state_forms(self) -> list[Form]:
        """D^j B^(p-j) and (1-D)^p up to the fourth power, from which the moments of the state follow."""
        cell = self.copies.cell
        kept, fed, lost = (_form(each) for each in (cell.kept, cell.fed, cell.lost))
        mixed = [_product([*[kept] * j, *[fed] * (power - j)]) for power in range(1, 5) for j in range(power)]
        return [*mixed, *(_product([lost] * power) for power in range(1, 5))]

    def _average(self, form: Form, table: dict[tuple[str, tuple[int, ...]], Precise]) -> Precise:
        powers = {power for power, _ in form}
        states = self._state_moments(max(powers, default=0), table)
        total = Precise(mp.zero)
        for (power, parts), factor in form.items():
            value = factor * states[power]
            for part in parts:
                value = value * table[part]
            total = total + value
        return total

    def _state_moments(self, highest: int, table: dict[tuple[str, tuple[int, ...]], Precise]) -> list[Precise]:
        """E s^p before the step, which the step keeps: E s^p E[1-D^p] = Σ_j<p binom(p, j) E[D^j B^(p-j)] E s^j."""
        states, forms = [Precise(mp.one)], iter(self._state_forms)
        lost = [self._plain(form, table) for form in self._state_forms[-4:]]
        for power in range(1, highest + 1):
            fed = sum(
                (math.comb(power, j) * self._plain(next(forms), table) * states[j] for j in range(power)),
                Precise(mp.zero),
            )
            # 1 - (1-L)^p, without cancellation where L is small.
            gone = sum(
                ((-1) ** (i + 1) * math.comb(power, i) * lost[i - 1] for i in range(1, power + 1)), Precise(mp.zero)
            )
            states.append(fed / gone)
        return states

    def _plain(self, form: Form, table: dict[tuple[str, tuple[int, ...]], Precise]) -> Precise:
        """E of a form that does not read the state."""
        total = Precise(mp.zero)
        for (_, parts), factor in form.items():
            value = Precise(factor)
            for part in parts:
                value = value * table[part]
            total = total + value
        return total


def _products_of(
    function: Callable[[HighPrecision], list[HighPrecision]], wanted: Sequence[tuple[int, ...]]
) -> Callable[[HighPrecision], list[HighPrecision]]:
    """Products of a variable's functions, which are numbered from 1, as a function of it."""

    def products(u: HighPrecision) -> list[HighPrecision]:
        values = function(u)
        return [mp.fprod(values[index - 1] for index in each) for each in wanted]

    return products


def _form(terms: Iterable[Factors], power: int = 0) -> Form:
    """A sum of products of functions times a power of the state."""
    found: Form = {}
    for each in terms:
        key = tuple(sorted((name, (index,)) for name, index in each.functions.items() if index))
        found = _sum(found, {(power, key): each.factor})
    return found


def _sum(left: Form, right: Form) -> Form:
    total = dict(left)
    for key, value in right.items():
        total[key] = total.get(key, mp.zero) + value
    return {key: value for key, value in total.items() if value}


def _product(forms: Iterable[Form]) -> Form:
    """The product of forms; of none the number one."""
    total = _ONE
    for form in forms:
        grown: Form = {}
        for (power, parts), value in total.items():
            for (other_power, other_parts), other in form.items():
                merged = dict(parts)
                for name, functions in other_parts:
                    merged[name] = tuple(sorted((*merged.get(name, ()), *functions)))
                key = (power + other_power, tuple(sorted(merged.items())))
                grown[key] = grown.get(key, mp.zero) + value * other
        total = grown
    return total
