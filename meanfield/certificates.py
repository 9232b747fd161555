"""Certificates: whether numbers of the closed maps are within their bounds of what mpmath finds with many digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meanfield.checks import check_count
from meanfield.errors import InvalidInput, MeanfieldError, NotConverged
from meanfield.estimate import Estimate
from meanfield.network import Network

if TYPE_CHECKING:
    from meanfield.closed_isometry import UntiedIsometry
    from meanfield.closed_maps import FixedPoints
    from meanfield.precise_solution import PreciseGrowth
    from meanfield.solvers.precise_numbers import Precise

_LEAST_DIGITS = 20
_EPSILON = 2.0**-52

Progress = Callable[[int, int], None]
"""Called as progress(parts made, parts in all)."""


@dataclass(frozen=True)
class CertifiedNumber:
    """A number in double precision beside its reference.

    Attributes:
        name: what it is: ``mean``, ``second_moment``, ``chi``, ``timescale``, the moments ``m1`` and ``m2`` of the
            squared singular values of one step's Jacobian, or ``overlap``, ``overlap_slope`` and
            ``overlap_timescale`` of a fixed point.
        point: index of the fixed point in :attr:`FixedPoints.overlaps`, None for what is of single copies.
        reference: the reference in decimals, as many as are certain.
        reference_error: a bound on its own error, before it was written in decimals.
        value: the number in double precision.
        bound: the bound that it is given with.
        distance: |value - reference|.
    """

    name: str
    point: int | None
    reference: str
    reference_error: float
    value: float
    bound: float
    distance: float

    @property
    def holds(self) -> bool:
        """Whether the number is within its bound, give or take the reference's own error."""
        return self.distance <= self.bound + self.reference_error

    def as_json(self) -> dict[str, Any]:
        """All of it, and whether the bound holds."""
        return {**vars(self), "bound": self.bound if self.bound != float("inf") else None, "holds": self.holds}


@dataclass(frozen=True)
class Certificate:
    """What a second evaluation says of the fixed points of a network.

    Attributes:
        network: of what.
        digits: of the integrals.
        numbers: moments, growth, m1 and m2, and overlaps in the order of :attr:`FixedPoints.overlaps`.
        unvaried: whether the state does not vary as far as the digits show, so that overlaps mean nothing.
    """

    network: Network
    digits: int
    numbers: tuple[CertifiedNumber, ...]
    unvaried: bool

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return all(each.holds for each in self.numbers)

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield fixed-points --certify --json`` adds as ``certificate``."""
        return {
            "digits": self.digits,
            "holds": self.holds,
            "state_varies": not self.unvaried,
            "numbers": [each.as_json() for each in self.numbers],
        }


def certify(
    found: FixedPoints,
    *,
    digits: int = 40,
    isometry: UntiedIsometry | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Check the numbers of :func:`meanfield.fixed_points` against a second evaluation in mpmath.

    The reference evaluates the cell's own formulas in mpmath, integrates them by other rules, takes derivatives along,
    and starts Newton's method from the fixed points that are to be checked. It shares no polynomial and no quadrature
    with the closed maps. That there are no other fixed points is not part of it. With them it checks m1 and m2 of one
    step, as :func:`meanfield.untied_isometry` has them, by a sum over non-crossing partitions.

    Args:
        found: of a cell whose functions read one Gaussian variable each: all with closed maps but gru_reset_after.
        digits: of the reference's integrals; more cost more time. Seconds for 40 where gates are not steep, a minute
            for overlaps of steep ones.
        isometry: whose first step's moments are to be checked; by default that of the law found. Where there is none,
            as without a fourth moment or of matrices that are not Gaussian, m1 and m2 are left out.
        progress: called with parts made and parts in all; every fixed point of the overlap is a part.

    Returns:
        References, distances, and whether bounds hold.

    Raises:
        InvalidInput: if mpmath is missing, there are fewer than 20 digits, or the cell is one of others.
        NotConverged: if Newton's method does not settle, as for critical networks, or integrals do not converge.

    >>> import meanfield as mf
    >>> from meanfield.certificates import certify
    >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.2, input_gain=0.5)})
    >>> certificate = certify(mf.fixed_points(network, mf.Inputs(overlap=1.0)), digits=20)
    >>> certificate.holds
    True
    >>> [(each.name, each.reference[:14]) for each in certificate.numbers][:2]
    [('mean', '0'), ('second_moment', '0.340267252900')]
    >>> [(each.name, each.reference[:14]) for each in certificate.numbers][4:6]
    [('m1', '0.747667747634'), ('m2', '1.365100539692')]
    """
    check_count("digits", digits, _LEAST_DIGITS)
    try:
        from mpmath import mp
    except ImportError:
        raise InvalidInput("certificates need the package mpmath: pip install mpmath") from None
    from meanfield.precise_cells import precise_cell
    from meanfield.precise_moments import precise_moments
    from meanfield.precise_solution import precise_overlap, resolved_law, working_digits

    law = found.law
    precise_cell(law.network.definition)  # which cells there are certificates for
    isometry = isometry if isometry is not None else _isometry(found)
    parts, made = 1 + len(found.overlaps), 0

    def tell() -> None:
        if progress is not None:
            progress(made, parts)

    tell()
    try:
        single, more = resolved_law(law.network, law.inputs, law.mean.value, law.second_moment.value, digits)
        unvaried = more is None
        with mp.workdps(working_digits(law.network, more or digits)):
            numbers = [
                _number("mean", None, single.mean, law.mean, digits),
                _number("second_moment", None, single.second_moment, law.second_moment, digits),
                *_growth("chi", "timescale", None, single.growth(), found.growth.chi, found.growth.timescale, digits),
            ]
            if isometry is not None:
                profiles = (isometry.first_moments, isometry.second_moments)
                for name, reference, profile in zip(("m1", "m2"), precise_moments(single), profiles, strict=True):
                    given = profile.at(1)
                    # Profiles bound their logarithm, which knows more than the number that is made of it.
                    rounded = Estimate(given.value, given.error + _EPSILON * given.value)
                    numbers.append(_number(name, None, reference, rounded, digits))
            for index, point in enumerate(found.overlaps):
                made += 1
                tell()
                if more is None:
                    continue
                precise = precise_overlap(single, point.overlap.value, more)
                numbers.append(_number("overlap", index, precise.overlap, point.overlap, digits))
                numbers += _growth(
                    "overlap_slope",
                    "overlap_timescale",
                    index,
                    precise.growth,
                    point.slope,
                    point.timescale,
                    digits,
                )
    except ArithmeticError as error:
        raise NotConverged(f"no certificate: {error}") from error
    made = parts
    tell()
    return Certificate(law.network, digits, tuple(numbers), unvaried)


def _isometry(found: FixedPoints) -> UntiedIsometry | None:
    """One step's moments, None where there are none."""
    from meanfield.closed_isometry import closed_isometry
    from meanfield.closed_moments import ClosedLaw

    if not isinstance(found.law, ClosedLaw):
        return None
    try:
        return closed_isometry(found.law, length=1)
    except MeanfieldError:
        return None


def _growth(
    name: str,
    timescale_name: str,
    point: int | None,
    growth: PreciseGrowth,
    chi: Estimate,
    timescale: Estimate | None,
    digits: int,
) -> list[CertifiedNumber]:
    """χ and, where there is one, its time scale."""
    from mpmath import mp

    from meanfield.solvers.precise_numbers import Precise

    numbers = [_number(name, point, growth.chi, chi, digits)]
    value = growth.chi.value
    if timescale is not None and 0 < value < 1:
        scale = -1 / (mp.log(value) if 2 * value < 1 else mp.log1p(-growth.lacking.value))
        error = growth.chi.error if 2 * value < 1 else growth.lacking.error
        numbers.append(_number(timescale_name, point, Precise(scale, scale**2 * error / value), timescale, digits))
    return numbers


def _number(name: str, point: int | None, reference: Precise, given: Estimate, digits: int) -> CertifiedNumber:
    from mpmath import mp

    value, error = reference.value, reference.error
    # A bound of zero is judged with half of the digits.
    allowed = given.error or mp.mpf(10) ** (-digits // 2) * max(abs(value), abs(given.value))
    if error > max(allowed, mp.mpf(10) ** -digits):
        raise NotConverged(f"the reference of {name} is no sharper than what it is to judge; ask for more digits")
    text = "0"
    if abs(value) > error:
        certain = int(mp.floor(mp.log10(abs(value) / error))) if error else digits
        text = mp.nstr(value, min(digits, max(1, certain)), strip_zeros=False)
    return CertifiedNumber(
        name=name,
        point=point,
        reference=text,
        reference_error=float(error),
        value=given.value,
        bound=given.error,
        distance=float(abs(value - mp.mpf(given.value))),
    )
