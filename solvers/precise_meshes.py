"""Meshes for integrals over the line in mpmath, refined by halving, with nodes gathered where functions change.

Both kinds turn the integral into one over τ for which the trapezoidal rule converges geometrically: z = W sinh τ around
a smooth step of width W, and z = tanh(π/2 sinh τ) between kinks.

Source: H. Takahasi and M. Mori, Double exponential formulas for numerical integration (Publ. RIMS 9, 1974);
L. N. Trefethen and J. A. C. Weideman, The exponentially convergent trapezoidal rule (SIAM Review 56, 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from mpmath import mp

from meanfield.solvers.precise_numbers import HighPrecision

_FIRST_NODES = 12
_HALVINGS = 11
_TRUSTED = 1.5  # geometric convergence squares the difference of two rules; this power of it is taken for the error


class Mesh(Protocol):
    """Nodes on a line.

    Attributes:
        first: exponent of the first mesh width in τ, 2^-first.
    """

    @property
    def first(self) -> int: ...

    def nodes(self, level: int, *, every: bool) -> Iterator[tuple[HighPrecision, HighPrecision]]:
        """Nodes z and dz/dτ at width 2^-level, the middle first: all, or those that twice the width has not."""
        ...


@dataclass(frozen=True)
class StepMesh:
    """A line around two smooth steps of the same width, which may be one.

    Attributes:
        middle: between the steps.
        apart: distance of both from the middle.
        width: of the steps.
        low, high: where the line ends.
        mirrored: whether functions are even around the middle 0, so that one half of the line does for both.
    """

    middle: HighPrecision
    apart: HighPrecision
    width: HighPrecision
    low: HighPrecision
    high: HighPrecision
    mirrored: bool = False

    @property
    def _range(self) -> tuple[float, float]:
        """The line in τ."""
        low, high = (self._inverse(float(end - self.middle)) for end in (self.low, self.high))
        return (0.0 if self.mirrored else low), high

    @property
    def first(self) -> int:
        low, high = self._range
        return math.ceil(math.log2(_FIRST_NODES / max(high - low, 1e-300)))

    def nodes(self, level: int, *, every: bool) -> Iterator[tuple[HighPrecision, HighPrecision]]:
        low, high = (end * 2.0**level for end in self._range)
        offset = self.apart / self.width
        square = offset * offset
        for index in _outwards(math.ceil(low), math.floor(high), 1 if every else 2):
            sinh, cosh = _hyperbolic(index, level, mp.prec)
            if square:
                both = cosh * cosh + square
                root = mp.sqrt(both)
                z = self.middle + self.width * sinh * root / cosh
                slope = self.width * (both + sinh * sinh * cosh * cosh) / (cosh * cosh * root)
            else:
                z, slope = self.middle + self.width * sinh, self.width * cosh
            if self.mirrored and index:
                slope = 2 * slope
            yield z, slope

    def _inverse(self, z: float) -> float:
        """τ of a distance from the middle, roughly beyond the steps and exactly where there is one."""
        width, apart = float(self.width), float(self.apart)
        return 0.5 * (math.asinh((z - apart) / width) + math.asinh((z + apart) / width))


@dataclass(frozen=True)
class PieceMesh:
    """A piece of a line, at the ends of which functions may have kinks.

    Attributes:
        low, high: its ends.
        factor: by how much all weights are multiplied.
    """

    low: HighPrecision
    high: HighPrecision
    factor: int = 1

    @property
    def first(self) -> int:
        return 1

    def nodes(self, level: int, *, every: bool) -> Iterator[tuple[HighPrecision, HighPrecision]]:
        # Ends where weights are below the working precision, relative to those in the middle.
        last = math.floor(math.asinh(math.log(2.0) * mp.prec / math.pi) * 2.0**level)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        for index in _outwards(-last, last, 1 if every else 2):
            place, slope = _tanh_sinh(index, level, mp.prec)
            yield middle + half * place, self.factor * half * slope


def _outwards(low: int, high: int, step: int) -> list[int]:
    """Whole numbers of a range, those near zero first; only odd ones if the step is 2."""
    start = low if step == 1 or low % 2 else low + 1
    return sorted(range(start, high + 1, step), key=abs)


@lru_cache(maxsize=1 << 15)
def _hyperbolic(index: int, level: int, precision: int) -> tuple[HighPrecision, HighPrecision]:
    """sinh and cosh of index × 2^-level."""
    growth = mp.exp(mp.ldexp(index, -level))
    if abs(index) < 2.0 ** (level - 1):
        return mp.sinh(mp.ldexp(index, -level)), (growth + 1 / growth) / 2
    return (growth - 1 / growth) / 2, (growth + 1 / growth) / 2


@lru_cache(maxsize=1 << 15)
def _tanh_sinh(index: int, level: int, precision: int) -> tuple[HighPrecision, HighPrecision]:
    """tanh(π/2 sinh τ) and its slope at τ = index × 2^-level."""
    sinh, cosh = _hyperbolic(index, level, precision)
    inner = mp.pi / 2 * sinh
    return mp.tanh(inner), mp.pi / 2 * cosh * mp.sech(inner) ** 2


@dataclass(frozen=True)
class Terms:
    """Integrands at a node.

    Attributes:
        values: of all functions.
        sizes: integrals of absolute values where the values are integrals themselves; None for those of the values.
        errors: of the values, None where there are none.
    """

    values: Sequence[HighPrecision]
    sizes: Sequence[HighPrecision] | None = None
    errors: Sequence[HighPrecision] | None = None


@dataclass(frozen=True)
class Integrals:
    """Integrals of several functions, bounds on their errors and the integrals of their absolute values."""

    values: list[HighPrecision]
    errors: list[HighPrecision]
    sizes: list[HighPrecision]


def integrals(
    terms: Callable[[HighPrecision], Terms],
    meshes: Sequence[Mesh],
    digits: int,
    wholes: Sequence[HighPrecision] | None = None,
) -> Integrals:
    """Integrals of several functions over a line.

    Args:
        terms: all functions at a point.
        meshes: nodes for them, one mesh for every piece of the line.
        digits: relative to the integrals of absolute values.
        wholes: sizes of larger integrals that these are parts of; parts need no digits beyond theirs.

    Raises:
        ArithmeticError: if the finest mesh has not converged.
    """
    total: Integrals | None = None
    for mesh in meshes:
        found = _over(terms, mesh, digits, wholes)
        if total is not None:
            parts = ((getattr(total, part), getattr(found, part)) for part in ("values", "errors", "sizes"))
            found = Integrals(*([a + b for a, b in zip(*pair, strict=True)] for pair in parts))
        total = found
        wholes = found.sizes if wholes is None else [max(pair) for pair in zip(found.sizes, wholes, strict=True)]
    assert total is not None
    return total


def _over(
    terms: Callable[[HighPrecision], Terms], mesh: Mesh, digits: int, wholes: Sequence[HighPrecision] | None
) -> Integrals:
    """Integrals over one piece."""
    level = mesh.first
    found = _summed(terms, mesh.nodes(level, every=True), level)
    wanted = mp.mpf(10) ** -digits
    for _ in range(_HALVINGS):
        level += 1
        new = _summed(terms, mesh.nodes(level, every=False), level)
        values, errors, sizes = (
            [old / 2 + fresh for old, fresh in zip(getattr(found, part), getattr(new, part), strict=True)]
            if getattr(new, part)
            else [old / 2 for old in getattr(found, part)]
            for part in ("values", "errors", "sizes")
        )
        off = [abs(fine - coarse) for fine, coarse in zip(values, found.values, strict=True)]
        found = Integrals(values, errors, sizes)
        scales = sizes if wholes is None else [max(pair) for pair in zip(sizes, wholes, strict=True)]
        missed = [
            size * min(each / size, 1) ** _TRUSTED if size else mp.zero for each, size in zip(off, sizes, strict=True)
        ]
        if all(each <= wanted * scale for each, scale in zip(missed, scales, strict=True)):
            bounds = [sum(parts) for parts in zip(missed, errors, (wanted * size for size in sizes), strict=True)]
            return Integrals(values, bounds, sizes)
    raise ArithmeticError(f"a Gaussian integral did not converge to {digits} digits: its functions change elsewhere")


def _summed(
    terms: Callable[[HighPrecision], Terms], nodes: Iterator[tuple[HighPrecision, HighPrecision]], level: int
) -> Integrals:
    """Sums over nodes times the mesh width."""
    sums: tuple[list[HighPrecision], list[HighPrecision], list[HighPrecision]] = ([], [], [])
    for z, slope in nodes:
        at = terms(z)
        if not sums[0]:
            sums = tuple([mp.zero] * len(at.values) for _ in range(3))  # type: ignore[assignment]
        values, errors, sizes = sums
        for index, value in enumerate(at.values):
            part = slope * value
            values[index] += part
            sizes[index] += abs(part) if at.sizes is None else slope * at.sizes[index]
            if at.errors is not None:
                errors[index] += slope * at.errors[index]
    width = mp.ldexp(1, -level)
    return Integrals(*([width * each for each in part] for part in sums))
