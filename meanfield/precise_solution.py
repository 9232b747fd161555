"""Fixed points of the closed maps in mpmath, by Newton's method from those in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from mpmath import mp

from meanfield.errors import NotConverged
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.precise_cells import precise_cell
from meanfield.precise_copies import Copies
from meanfield.solvers.precise_numbers import HighPrecision, Precise

_ITERATIONS = 12
_GUARD = 15  # digits of the working precision beyond those of integrals
_MORE = 10  # digits that single copies have beyond pairs, so that pairs need not ask for their errors
_FOR_VARIANCE = (0, 30)  # digits more, one after the other, for states that hardly vary
_STEEPEST = 1e4  # relative change of a slope with that of the second moment, where gates are shut
_FIRST_STEP = 6  # digits beyond half of them
_SLOPE = 4  # the same, which slopes have at least


@dataclass(frozen=True, eq=False)
class PreciseLaw:
    """Moments of the state, and two copies that are the same at these moments.

    Attributes:
        mean, second_moment: E[s] and E[s²].
        copies: of one step.
    """

    mean: Precise
    second_moment: Precise
    copies: Copies

    @property
    def variance(self) -> Precise:
        """Of the state."""
        return self.second_moment - self.mean * self.mean

    def growth(self) -> PreciseGrowth:
        """χ_1, with what the errors of the moments make of it."""
        own = self.copies
        square = self.second_moment.value
        small = mp.mpf(10) ** (-own.digits // 3)
        moved = replace(own, product=square * (1 + small), _matrices={}, _covariances={})
        errors = self.second_moment.error + abs(self.mean.value) * self.mean.error
        share = 2 * errors / (small * square) if square else mp.zero
        slope, lacking = (
            Precise(found.value, found.error + share * abs(other.value - found.value))
            for found, other in ((own.slope(), moved.slope()), (own.lacking(), moved.lacking()))
        )
        return PreciseGrowth(slope, lacking)


@dataclass(frozen=True)
class PreciseGrowth:
    """χ, and 1 - χ without cancellation."""

    chi: Precise
    lacking: Precise


def working_digits(network: Network, digits: int) -> int:
    """Digits to work with: gates that a bias holds shut or open cost as many as they leave of one."""
    biases = [abs(gate.bias_mean) + abs(gate.recurrent_bias_mean) for gate in network.gates.values()]
    return digits + _MORE + _GUARD + math.ceil(max(biases) / math.log(10.0))


def resolved_law(
    network: Network, inputs: Inputs, mean: float, square: float, digits: int
) -> tuple[PreciseLaw, int | None]:
    """The moments, and the digits that overlaps need: as many more as the variance loses to the second moment.

    None stands for a variance that is lost altogether.
    """
    for more in _FOR_VARIANCE:
        with mp.workdps(working_digits(network, digits + more)):
            law = precise_law(network, inputs, mean, square, digits + more)
            variance = law.variance
            if variance.value > 100 * variance.error:
                lost = math.ceil(mp.log10(law.second_moment.value / variance.value))
                if lost <= more + 1:
                    return law, digits + min(lost, more)
    return law, None


def precise_law(network: Network, inputs: Inputs, mean: float, square: float, digits: int) -> PreciseLaw:
    """The moments that a step keeps, near given ones.

    Args:
        network, inputs: of what; cells as for :func:`meanfield.precise_cells.precise_cell`.
        mean, square: E[s] and E[s²], nearly.
        digits: of everything that follows from the law; the law itself has more.

    Raises:
        NotConverged: if Newton's method does not settle near the given moments.
    """
    cell = precise_cell(network.definition)
    more = digits + _MORE

    def off(point: tuple[HighPrecision, HighPrecision]) -> tuple[Precise, Precise, Copies]:
        copies = Copies(network, inputs, cell, point[0], point[1], more)
        try:
            first, second = copies.moments()
        except ZeroDivisionError:
            raise NotConverged("the state's memory does not decay to within the digits; ask for more") from None
        return first - point[0], second - point[1], copies

    point = (mp.mpf(mean), mp.mpf(square))
    inverse, last = None, mp.inf
    for _ in range(_ITERATIONS):
        first, second, copies = off(point)
        if not first.value and not second.value and not first.error + second.error:
            return PreciseLaw(Precise(point[0]), Precise(point[1]), copies)
        size = abs(first.value) + abs(second.value)
        if inverse is None or size > last / 1000:
            inverse = _inverse(lambda at: tuple(each.value for each in off(at)[:2]), point, (first, second), more)
        errors = mp.matrix([first.error + abs(first.value), second.error + abs(second.value)])
        bound = inverse.apply(abs) * errors
        step = inverse * mp.matrix([first.value, second.value])
        if size <= 10 * (first.error + second.error):
            return PreciseLaw(Precise(point[0], bound[0]), Precise(point[1], bound[1]), copies)
        point, last = (point[0] + step[0], point[1] + step[1]), size
        if point[1] < 0:
            raise NotConverged("Newton's method left the second moments that are possible")
    raise NotConverged(f"the moments did not settle in {_ITERATIONS} steps of Newton's method; ask for more digits")


def _inverse(
    off: Callable[[tuple[HighPrecision, HighPrecision]], tuple[HighPrecision, ...]],
    point: tuple[HighPrecision, HighPrecision],
    found: tuple[Precise, Precise],
    digits: int,
) -> HighPrecision:
    """Inverse of minus the derivative of the distance to the fixed point."""
    small = mp.mpf(10) ** (-digits // 2)
    sizes = (mp.sqrt(point[1]) or mp.one, point[1] or mp.one)
    matrix = mp.matrix(2, 2)
    for column in range(2):
        change = small * sizes[column]
        moved = list(point)
        moved[column] += change
        for row, value in enumerate(off((moved[0], moved[1]))):
            matrix[row, column] = -(value - found[row].value) / change
    try:
        return mp.inverse(matrix)
    except ZeroDivisionError:
        raise NotConverged(
            "the map of second moments has slope one where it settles; the network is critical"
        ) from None


@dataclass(frozen=True)
class PrecisePoint:
    """A fixed point of the overlap.

    Attributes:
        overlap: correlation coefficient of the state between two copies.
        growth: χ_C.
    """

    overlap: Precise
    growth: PreciseGrowth


def precise_overlap(law: PreciseLaw, overlap: float, digits: int) -> PrecisePoint:
    """The overlap that a step keeps, near a given one.

    Raises:
        NotConverged: if Newton's method does not settle near the given overlap.
    """
    same = law.copies
    mean, square, variance = law.mean.value, law.second_moment.value, law.variance
    product = square - (1 - mp.mpf(overlap)) * variance.value
    if overlap == 1.0 and Copies(same.network, same.inputs, same.cell, mean, square, digits, same).stay_the_same:
        return PrecisePoint(Precise(mp.one), law.growth())
    before: tuple[HighPrecision, HighPrecision, HighPrecision] | None = None
    for iteration in range(_ITERATIONS):
        # The first step starts from double precision, and half the digits are as many as it can find.
        asked = digits if iteration else digits // 2 + _FIRST_STEP
        copies = Copies(same.network, same.inputs, same.cell, mean, product, asked, same)
        try:
            change, slope, lacking = copies.change(), copies.slope(), copies.lacking()
            step = change / lacking
        except ValueError:
            raise NotConverged("Newton's method left the overlaps that are possible") from None
        except ZeroDivisionError:
            raise NotConverged("the overlap map has slope one at its fixed point; the network is critical") from None
        curvature = mp.zero
        if before is not None and product != before[0]:
            # Both differences are the same; the smaller one has less rounding, of slopes near zero or near one.
            bend = min(abs(slope.value - before[1]), abs(lacking.value - before[2]))
            curvature = bend / abs(product - before[0])
        left = curvature * step.value**2 / abs(lacking.value)
        # Where memory is long the slope is one but for what is lost, and changes no more than that.
        size = min(abs(slope.value), copies.reacting())
        near = left <= step.error and curvature * abs(step.value) <= size * mp.mpf(10) ** (-digits // 2 - _SLOPE)
        if asked == digits and (before is not None or not step.value) and near:
            # What E[s] and E[s²] are off by moves the fixed point by about as much, over 1 - slope.
            of_law = copies.response(law.mean.error, law.second_moment.error) / abs(lacking.value)
            share = _STEEPEST * of_law / variance.value
            error = step.error + left + of_law
            value = (product + step.value - mean**2) / variance.value
            off = curvature * (abs(step.value) + error) + share * size
            return PrecisePoint(
                Precise(value, (error + variance.error) / variance.value),
                PreciseGrowth(Precise(slope.value, slope.error + off), Precise(lacking.value, lacking.error + off)),
            )
        before = (product, slope.value, lacking.value)
        product += step.value
    raise NotConverged(f"the overlap did not settle in {_ITERATIONS} steps of Newton's method; ask for more digits")
