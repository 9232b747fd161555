"""What ``meanfield critical`` reads and prints: lists of values, tables of critical points and surfaces."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.critical_points import CriticalPoint, CriticalValue
from meanfield.critical_surfaces import CriticalSurface
from meanfield.errors import InvalidInput

_HEADINGS = ("± bound", "slope of χ", "as it grows, χ")


def critical_point_table(found: CriticalPoint) -> RenderableType:
    """All critical values of one parameter."""
    table = Table(title=_title(found.network.cell, found.target), title_style="")
    for heading in (found.parameter, *_HEADINGS):
        table.add_column(heading, justify="right")
    for root in found.roots:
        table.add_row(*_cells(root))
    low, high = found.chi_range
    parts: list[RenderableType] = [
        table,
        Text(f"χ is from {low:.6g} to {high:.6g} for values from {found.within[0]:g} to {found.within[1]:g}", "dim"),
        *(Text(f"χ: {jump}") for jump in found.jumps),
        *(
            Text(f"From {gap.low:.6g} to {gap.high:.6g} no stationary state was found: {gap.reason}.")
            for gap in found.gaps
        ),
    ]
    return Group(*parts)


def critical_surface_table(found: CriticalSurface) -> RenderableType:
    """The critical values of one parameter for every value of another; sentences where there are none."""
    table = Table(title=_title(found.network.cell, found.target), title_style="")
    for heading in (found.against, found.parameter, *_HEADINGS):
        table.add_column(heading, justify="right")
    notes: list[RenderableType] = []
    for row in found.rows:
        for root in row.roots:
            table.add_row(f"{row.against:.6g}", *_cells(root))
        if not row.roots:
            table.add_row(f"{row.against:.6g}", "none", "", "", "")
            notes.append(Text(f"{found.against} {row.against:.6g}: {row.status}", "dim"))
    return Group(table, *notes)


def _title(cell: str, target: float) -> str:
    return f"{cell}, untied weights: where χ is {target:g}"


def _cells(root: CriticalValue) -> tuple[str, str, str, str]:
    return f"{root.value.value:.12g}", f"{root.value.error:.2g}", f"{root.slope.value:.6g}", root.direction


def listed_values(text: str) -> list[float]:
    """Numbers written as FIRST:LAST:COUNT, equidistant, or with commas between them.

    Raises:
        InvalidInput: if they are written in another way.

    >>> listed_values("-2:4:4"), listed_values("0.1,1")
    ([-2.0, 0.0, 2.0, 4.0], [0.1, 1.0])
    """
    try:
        if ":" not in text:
            return [float(each) for each in text.split(",")]
        first, last, count = text.split(":")
        if int(count) >= 1:
            return [float(each) for each in np.linspace(float(first), float(last), int(count))]
    except ValueError:
        pass
    raise InvalidInput(f"values: must be FIRST:LAST:COUNT or numbers with commas between them, got {text!r}")
