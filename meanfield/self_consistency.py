"""The map of second moments whose fixed points are the states of an autonomous network (theory, section 5).

Fields are as large as what recurrent matrices read makes them, and what these read follows from the fields. Given the
second moment Q of one carrier, those of the others follow one after the other, and F(Q) is that of the first again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from meanfield.errors import InvalidInput
from meanfield.solvers.graded_expectations import OutOfRange
from meanfield.solvers.level_crossings import LevelCrossings, level_crossings
from meanfield.solvers.secant_slopes import Slope, secant_slope
from meanfield.static_moments import StaticMoments

_SMALLEST = 1e-12  # second moment of a state that is told from zero
_LARGEST = 1e12  # and of one that is looked for where nothing bounds it
_BEYOND = 700.0  # logarithm of F/Q where F leaves the range of numbers
_SCALE = 10.0  # over which F changes, in the logarithm of Q


@dataclass(frozen=True)
class SelfConsistency:
    """F(Q) of one carrier.

    Attributes:
        moments: averages over units at rest.

    Raises:
        InvalidInput: if the moments of no single carrier determine those of all others.
    """

    moments: StaticMoments

    @cached_property
    def carrier(self) -> int | None:
        """The carrier given which all others follow; None where no carrier depends on the fields that it feeds."""
        reads = self._reads
        for candidate in (None, *range(len(reads))):
            if len(self._order(candidate)) == len(reads) - (candidate is not None):
                return candidate
        name = self.moments.network.cell
        raise InvalidInput(f"network: the carriers of cell {name!r} feed back on each other in more than one way")

    @cached_property
    def zero_is_fixed(self) -> bool:
        """Whether units stay at zero."""
        nothing = [0.0] * len(self.moments.formulas.carriers)
        carriers = range(len(nothing))
        return self.moments.output(nothing)[0] == 0.0 == max(self.moments.carrier(c, nothing)[0] for c in carriers)

    def all_moments(self, moment: float) -> list[float]:
        """E[p²] of all carriers if that of the first is this."""
        found = [moment if c == self.carrier else 0.0 for c in range(len(self.moments.formulas.carriers))]
        for c in self._order(self.carrier):
            found[c] = self.moments.carrier(c, found)[0]
        return found

    def mapped(self, moment: float) -> tuple[float, float]:
        """F(Q) and a bound on its error."""
        assert self.carrier is not None
        return self.moments.carrier(self.carrier, self.all_moments(moment))

    def excess(self, logarithm: float) -> tuple[float, float]:
        """log(F(Q)/Q) at log Q, and a bound on its error."""
        try:
            value, error = self.mapped(math.exp(logarithm))
        except OutOfRange:
            return _BEYOND, 0.0
        if value <= 0.0:
            return -_BEYOND, 0.0
        return math.log(value) - logarithm, error / value + 1e-15

    @cached_property
    def range(self) -> tuple[float, float]:
        """Logarithms of the second moments between which all fixed points but zero are looked for."""
        assert self.carrier is not None
        return math.log(_SMALLEST), math.log(min(2.0 * self.moments.largest(self.carrier), _LARGEST))

    def crossings(self, points: int) -> LevelCrossings:
        """All Q with F(Q) = Q, as places of log Q at which 1 + log(F/Q) passes one."""

        def shifted(logarithm: float) -> tuple[float, float]:
            value, error = self.excess(logarithm)
            return 1.0 + value, error

        return level_crossings(shifted, 1.0, *self.range, points=points)

    def slope(self, logarithm: float) -> Slope:
        """d log F/d log Q."""
        low, high = self.range
        found = secant_slope(self.excess, logarithm, low, high, scale=_SCALE)
        return Slope(1.0 + found.value, found.error)

    @cached_property
    def _reads(self) -> list[set[int]]:
        """The carriers of the fields that every carrier depends on."""
        formulas = self.moments.formulas
        feeding = {f"field {each.name}": each.carrier for each in self.moments.network.definition.fields}
        return [{feeding[name] for name in formulas.read_by(each) if name in feeding} for each in formulas.carriers]

    def _order(self, given: int | None) -> Sequence[int]:
        """Carriers in an order in which each depends on earlier ones and the given one only, as far as there is one."""
        known, order = {given}, list[int]()
        while True:
            following = [c for c in range(len(self._reads)) if c not in known and self._reads[c] <= known]
            if not following:
                return order
            order += following
            known.update(following)
