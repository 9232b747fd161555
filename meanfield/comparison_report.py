"""What ``meanfield compare`` prints: a table of initialisations, and a sentence that says what it means."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.baselines import FUSED
from meanfield.comparison import Comparison, Initialisation
from meanfield.estimate import Estimate, Profile

_HEADINGS = ("reach", "first input", "G(T)", "E[h²]", "edge", "isometry defect")
_MARK = "*"


def comparison_table(found: Comparison) -> RenderableType:
    """All initialisations, the recipe first, and what they mean for learning; a table a layer and direction."""
    if not found.layers:
        return _table_of(found, found.cell)
    return Group(
        *(_table_of(each, f"{each.cell}, layer {each.layer}, {each.direction},") for each in (found, *found.layers))
    )


def _table_of(found: Comparison, name: str) -> RenderableType:
    title = f"{name} over {found.length} steps, {found.hidden} units, {found.inputs.size} inputs"
    table = Table(title=title, title_style="")
    table.add_column("initialisation")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for each in found.initialisations:
        table.add_row(each.title, *_cells(each, found.length), style="bold" if each is found.recipe else None)
    notes = Text(
        "reach: the lag at which S falls below 1e-3 of its start; first input: what S has left of its start at the "
        "last lag; digits in brackets: one standard error of the last digits",
        style="dim",
    )
    if any(each.matrices == FUSED for each in found.initialisations):
        notes.append(
            f"\n{_MARK} one orthogonal matrix for all gates, its singular values' spread taken to be Gaussian matrices'"
        )
    failures = [Text(f"{each.title}: {each.failure}") for each in found.initialisations if each.failure]
    return Group(table, notes, *failures, Text(found.verdict))


def concise(number: Estimate) -> str:
    """A number whose last digits' error is in brackets.

    >>> concise(Estimate(0.0703, 0.0008)), concise(Estimate(33880.0, 200.0)), concise(Estimate(12.6, 3.0))
    ('0.0703(8)', '3.39(2)e+04', '13(3)')
    >>> concise(Estimate(9.6e-33, 3e-33)), concise(Estimate(-0.5, 0.0996)), concise(Estimate(1234.0, 98.0))
    ('1.0(3)e-32', '-0.5(1)', '1200(100)')
    >>> concise(Estimate(0.5, 0.0)), concise(Estimate(1.0, 2.0)), concise(Estimate(math.inf, 0.0))
    ('0.5', '1(2)', 'infinite')
    """
    if not math.isfinite(number.value):
        return "infinite"
    if number.value == 0.0 or number.error == 0.0 or not math.isfinite(number.error):
        return f"{number.value:.4g}"
    return _with_error(math.log10(abs(number.value)), number.error / abs(number.value), "-" if number.value < 0 else "")


def concise_at(profile: Profile, lag: int) -> str:
    """The value of a profile at one lag, beyond the range of numbers too.

    >>> import numpy as np
    >>> concise_at(Profile(np.arange(1), np.array([-1000.0]), np.array([0.05])), 0)
    '5.1(3)e-435'
    """
    logarithm = profile.log10_at(lag)
    if not math.isfinite(logarithm):
        return "0"
    return _with_error(logarithm, float(profile.relative_errors[lag - int(profile.lags[0])]))


def _with_error(logarithm: float, relative: float, sign: str = "") -> str:
    """A number given by its decimal logarithm, rounded at the first digit of its error; up to two digits before it."""
    power = math.floor(logarithm)
    shown = power if power < -3 or power >= 4 else 0
    value = 10.0 ** (logarithm - shown)
    if shown and relative > 0.0 and float(f"{value:.{_places(value * relative)}f}") >= 10.0:
        # As 9.96 with an error of 0.1.
        shown, value = shown + 1, value / 10.0
    return f"{sign}{_rounded(value, value * relative)}" + (f"e{shown:+03d}" if shown else "")


def _places(error: float) -> int:
    """Decimal places that an error leaves to a number."""
    place = math.floor(math.log10(error))
    return max(0, -(place + 1 if round(error / 10.0**place) == 10 else place))


def _rounded(value: float, error: float) -> str:
    if error <= 0.0:
        return f"{value:.3g}"
    places = _places(error)
    if places > 0:
        return f"{value:.{places}f}({round(error * 10.0**places)})"
    unit = 10 ** math.floor(math.log10(float(f"{error:.0e}")))
    return f"{round(value / unit) * unit}({round(error / unit) * unit})"


def _cells(each: Initialisation, length: int) -> list[str]:
    if each.analysis is None:
        return ["no prediction", *[""] * (len(_HEADINGS) - 1)]
    gradients = each.analysis.gradients
    faded = each.fading
    return [
        concise(each.reach) if each.reach is not None else f"all {length}",
        concise_at(faded, int(faded.lags[-1])),
        concise_at(gradients.profile, length),
        concise(gradients.second_moment),
        concise(each.analysis.spectra.eigenvalue_edge),
        concise(gradients.isometry_defect) + (_MARK if each.matrices == FUSED else ""),
    ]
