"""What ``meanfield phase-diagram`` reads and prints: an axis as NAME=VALUES, the lines of a diagram as a table."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.critical_report import listed_values
from meanfield.errors import InvalidInput
from meanfield.phase_diagrams import PhaseDiagram


def parsed_axis(text: str, option: str) -> tuple[str, list[float]]:
    """The name of a parameter and its values.

    Raises:
        InvalidInput: if the text is not NAME=VALUES.

    >>> parsed_axis("h.recurrent_gain=0:5:3", "horizontal")
    ('h.recurrent_gain', [0.0, 2.5, 5.0])
    """
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{option}: must be NAME=FIRST:LAST:COUNT or NAME=VALUE,VALUE,..., got {text!r}")
    return name, listed_values(values)


def phase_diagram_table(diagram: PhaseDiagram) -> RenderableType:
    """Where every row meets the lines, and how many grid points are in each phase."""
    table = Table(title=f"{diagram.network.cell}, tied weights: {diagram.horizontal} at which", title_style="")
    for heading in (diagram.vertical, *(line.name for line in diagram.lines)):
        table.add_column(heading, justify="right")
    for height in (row[0].vertical for row in diagram.rows):
        places = [[f"{place.value:.6g}" for place, at in line.points if at == height] for line in diagram.lines]
        table.add_row(f"{height:.6g}", *(", ".join(each) or "-" for each in places))
    phases = Counter(str(point.phase) for row in diagram.rows for point in row)
    return Group(table, *(Text(f"{count} grid points: {phase}", "dim") for phase, count in phases.most_common()))
