"""Averages over one normal variable, and over two correlated copies of one, in mpmath with any number of digits.

Two copies x and y of a normal variable with correlation ρ are a p ± b q of independent deviates p and q, with
a² = (1+ρ)/2 and b² = (1-ρ)/2. Given q, functions that change at one place change at two in p, around which nodes are
gathered; what is left is smooth in q but where the two places meet. Copies that are nearly the same need few q, however
steep their functions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mpmath import mp

from meanfield.solvers.normal_rules import Transition
from meanfield.solvers.precise_meshes import Integrals, Mesh, PieceMesh, StepMesh, Terms, integrals
from meanfield.solvers.precise_numbers import HighPrecision, Precise

Values = Sequence[HighPrecision]

_GUARD = 15  # digits beyond those that are asked for
_WIDEST = 16.0  # width of a mesh whose functions are smooth all over the normal law
_FARTHEST = 60.0  # deviates beyond the normal law's own reach at which averages of tiny functions may be made


def normal_average(
    function: Callable[[HighPrecision], Values],
    mean: HighPrecision = 0,
    deviation: HighPrecision = 1,
    transitions: Sequence[Transition] = (),
    *,
    digits: int = 40,
) -> list[Precise]:
    """E f_i(u) of functions of one normal variable u.

    Args:
        function: values of all functions at u, numbers of mpmath.
        mean, deviation: of u; the deviation may be zero.
        transitions: where functions change, in u; functions must be analytic but for the kinks that are told.
        digits: relative to E|f_i|.

    Returns:
        The averages with bounds on their errors. Where two rules differ by a relative e, geometric convergence leaves
        e², and e^(3/2) is stated.

    Raises:
        ArithmeticError: if no mesh is fine enough, or the averages are made too far out.

    >>> from mpmath import mp
    >>> with mp.workdps(50):
    ...     (found,) = normal_average(lambda u: [mp.exp(u)], 0, 2)
    ...     bool(abs(found.value - mp.exp(2)) < found.error < mp.mpf("1e-38"))
    True
    """
    with mp.workdps(max(mp.dps, digits + _GUARD)):
        law = _Law(function, lambda left, right: left, mp.mpf(mean), mp.mpf(deviation), transitions, digits)
        if not law.deviation:
            return [Precise(value) for value in function(law.mean)]
        low, high = law.reach()
        mesh = _mesh(law.places, mp.zero, low, high)
        return _precise(integrals(lambda z: Terms(law.weighed(function(law.at(z)), z)), mesh, digits))


def pair_average(
    function: Callable[[HighPrecision], Values],
    products: Callable[[Values, Values], Values],
    mean: HighPrecision = 0,
    deviation: HighPrecision = 1,
    correlation: HighPrecision = 0,
    transitions: Sequence[Transition] = (),
    *,
    digits: int = 40,
) -> list[Precise]:
    """E g_i(f(x), f(y)) of two copies x and y of one normal variable.

    Args:
        function: values of all functions at one copy, numbers of mpmath.
        products: what is averaged, from the values at x and at y.
        mean, deviation: of the copies; the deviation may be zero.
        correlation: of the copies, from -1 to 1.
        transitions: where functions change.
        digits: relative to E|g_i|.

    Returns:
        The averages with bounds on their errors, as :func:`normal_average`.

    Raises:
        ValueError: if the correlation is not from -1 to 1.
        ArithmeticError: as :func:`normal_average`.

    >>> from mpmath import mp
    >>> with mp.workdps(50):
    ...     (found,) = pair_average(lambda u: [mp.erf(u)], lambda f, g: [f[0] * g[0]], correlation=0.5)
    ...     bool(abs(found.value - 2 / mp.pi * mp.asin(mp.one / 3)) < found.error < mp.mpf("1e-39"))
    True
    """
    with mp.workdps(max(mp.dps, digits + _GUARD)):
        rho = mp.mpf(correlation)
        if not -1 <= rho <= 1:
            raise ValueError(f"a correlation must be from -1 to 1, got {mp.nstr(rho, 20)}")
        law = _Law(function, products, mp.mpf(mean), mp.mpf(deviation), transitions, digits)
        if not law.deviation:
            values = function(law.mean)
            return [Precise(value) for value in products(values, values)]
        low, high = law.reach()
        a, b = mp.sqrt((1 + rho) / 2), mp.sqrt((1 - rho) / 2)
        if not b:
            mesh = _mesh(law.places, mp.zero, low, high)
            return _precise(integrals(lambda z: Terms(law.weighed(law.pair(z, z), z)), mesh, digits))
        far = max(abs(low), abs(high))
        if not a:
            mesh = _mirrored(_mesh(law.places, mp.zero, -far, far, opposite=True))
            return _precise(integrals(lambda z: Terms(law.weighed(law.pair(z, -z), z)), mesh, digits))
        return _precise(_nested(law, a, b, low, high))


@dataclass(frozen=True)
class _Law:
    """Functions of one normal variable and what is averaged of two copies of it."""

    function: Callable[[HighPrecision], Values]
    products: Callable[[Values, Values], Values]
    mean: HighPrecision
    deviation: HighPrecision
    transitions: Sequence[Transition]
    digits: int

    @property
    def places(self) -> list[Transition]:
        """Where functions change, in the deviate."""
        return [each.scaled(self.mean, self.deviation) for each in self.transitions]

    def at(self, z: HighPrecision) -> HighPrecision:
        return self.mean + self.deviation * z

    def pair(self, x: HighPrecision, y: HighPrecision) -> Values:
        """What is averaged, the same for x and y as for y and x."""
        left = self.function(self.at(x))
        if x == y:
            return self.products(left, left)
        right = self.function(self.at(y))
        both = zip(self.products(left, right), self.products(right, left), strict=True)
        return [(one + other) / 2 for one, other in both]

    def weighed(self, values: Values, z: HighPrecision) -> list[HighPrecision]:
        """Values times the normal density."""
        density = _density(z)
        return [density * value for value in values]

    def reach(self) -> tuple[HighPrecision, HighPrecision]:
        """Between which deviates averages are made, to within the digits: those of tiny functions, far out.

        Raises:
            ArithmeticError: if they are made farther out than is looked.
        """
        own = mp.sqrt(2 * mp.log(10) * (self.digits + 3))
        most = own + _FARTHEST
        points = [mp.mpf(k) / 2 for k in range(-int(2 * most), int(2 * most) + 1)]
        for each in self.places:
            points += [each.centre + k * each.width for k in (-3, -1, 0, 1, 3) if abs(each.centre) < most]
        points.sort()
        rows = [[abs(value) for value in self.weighed(self.pair(z, z), z)] for z in points]
        low, high = -own, own
        for column in zip(*rows, strict=True):
            least = max(column) * mp.mpf(10) ** -(self.digits + 3)
            seen = [z for z, value in zip(points, column, strict=True) if value > least]
            if seen:
                low, high = min(low, seen[0] - 1), max(high, seen[-1] + 1)
        if max(-low, high) > most:
            raise ArithmeticError("a Gaussian average is made too far out in the normal law's tail")
        return low, high


def _nested(law: _Law, a: HighPrecision, b: HighPrecision, low: HighPrecision, high: HighPrecision) -> Integrals:
    """Both deviates: the outer one is that of the smaller load, in which the inner average is smooth."""
    far = max(-low, high)
    close = a >= b
    load, outer_load = (a, b) if close else (b, a)
    places = law.places
    # Where both copies change at once, given the outer deviate.
    meetings = [
        Transition(
            (one.centre - other.centre if close else one.centre + other.centre) / (2 * outer_load),
            min(one.width, other.width) / outer_load,
            one.kink and other.kink,
        )
        for one in places
        for other in places
    ]
    outer = _mesh(meetings, mp.zero, -far, far) if close else _mesh(meetings, mp.zero, low, high)
    if close:
        outer = _mirrored(outer)
    sizes: list[HighPrecision] = []

    def average(v: HighPrecision) -> Terms:
        moved = outer_load * v
        start, end = (low, high) if close else (-far, far)
        if close:
            inner_places = [Transition(each.centre / load, each.width / load, each.kink) for each in places]
            mesh = _mesh(inner_places, moved / load, start, end)
        else:
            inner_places = [Transition((each.centre - moved) / load, each.width / load, each.kink) for each in places]
            mesh = _mirrored(_mesh(inner_places, mp.zero, start, end, opposite=True))
        density = _density(v)

        def terms(w: HighPrecision) -> Terms:
            plain = load * w
            x, y = (plain + moved, plain - moved) if close else (moved + plain, moved - plain)
            return Terms(law.weighed(law.pair(x, y), w))

        wholes = [size / density for size in sizes] if sizes else None
        found = integrals(terms, mesh, law.digits, wholes)
        values, errors, own = ([density * each for each in part] for part in (found.values, found.errors, found.sizes))
        # The largest contribution of one deviate so far stands for the whole.
        sizes[:] = own if not sizes else [max(pair) for pair in zip(sizes, own, strict=True)]
        return Terms(values, own, errors)

    return integrals(average, outer, law.digits)


def _mesh(
    places: Sequence[Transition],
    shift: HighPrecision,
    low: HighPrecision,
    high: HighPrecision,
    *,
    opposite: bool = False,
) -> list[Mesh]:
    """Nodes for functions that change at the places, at those moved by ± the shift, or at those and their opposites."""
    centres = sorted({each.centre for each in places})
    smooth = not any(each.kink for each in places)
    if smooth and len(centres) <= 1:
        width = min((mp.mpf(each.width) for each in places), default=mp.mpf(_WIDEST))
        centre = mp.mpf(centres[0]) if centres else mp.zero
        middle, apart = (mp.zero, abs(centre)) if opposite else (centre, abs(shift))
        outside = min(max(low - place, place - high) for place in (middle - apart, middle + apart))
        if outside > 0:
            # Steps out of reach are as smooth as they are far away.
            middle, apart, width = mp.zero, mp.zero, mp.hypot(outside, width)
        return [StepMesh(middle, apart, min(width, mp.mpf(_WIDEST)), low, high)]
    moved = [-each for each in centres] + centres if opposite else [c + d for c in centres for d in (shift, -shift)]
    edges = [low, *sorted({mp.mpf(each) for each in moved if low < each < high}), high]
    return [PieceMesh(*ends) for ends in pairwise(edges)]


def _mirrored(meshes: Sequence[Mesh]) -> list[Mesh]:
    """Half of meshes that are symmetric around zero, for functions that are even."""
    if isinstance(step := meshes[0], StepMesh):
        return [replace(step, low=mp.zero, mirrored=True)]
    # A piece around zero is cut there.
    pieces = [replace(each, low=max(each.low, mp.zero), factor=2) for each in meshes if isinstance(each, PieceMesh)]
    return [each for each in pieces if each.high > 0]


def _density(z: HighPrecision) -> HighPrecision:
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def _precise(found: Integrals) -> list[Precise]:
    return [Precise(value, error) for value, error in zip(found.values, found.errors, strict=True)]
