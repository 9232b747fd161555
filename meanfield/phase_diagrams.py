"""Phase diagrams of autonomous networks with tied weights (Can, Krishnamurthy and Schwab 2020; theory, section 5)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import ArrayLike

from meanfield.autonomous_states import StaticState, constant_power, static_states
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.files import write_whole
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.network_parameters import NetworkParameter
from meanfield.phase_lines import LINES, PhaseLine, boundaries

Progress = Callable[[int, int], None]
Axis = tuple[str, ArrayLike]

_COLUMNS = ("phase", "state", "zero", "stable", "second_moment", "radius", "moment_slope")


class Phase(StrEnum):
    """What a network without inputs does."""

    zero = "zero stable"
    non_zero = "non-zero fixed point stable"
    both = "zero and non-zero stable"
    unstable = "fixed points, none stable"
    none = "no fixed point"


@dataclass(frozen=True)
class PhasePoint:
    """One point of the grid.

    Attributes:
        horizontal, vertical: values of both parameters.
        states: all fixed points, see :class:`meanfield.StaticState`.
    """

    horizontal: float
    vertical: float
    states: tuple[StaticState, ...]

    @property
    def phase(self) -> Phase:
        """The phase, by what is stable."""
        return phase_of(self.states)


@dataclass(frozen=True)
class PhaseDiagram:
    """The phases of an autonomous network in the plane of two parameters; errors are bounds.

    Attributes:
        network: everything that is not varied.
        power: mean square of a constant input.
        horizontal, vertical: names of the parameters.
        rows: the grid, one row for every vertical value, each with one point for every horizontal value.
        lines: where phases meet along rows, see :class:`PhaseLine`.
    """

    network: Network
    power: float
    horizontal: str
    vertical: str
    rows: tuple[tuple[PhasePoint, ...], ...]
    lines: tuple[PhaseLine, ...]

    def line(self, name: str) -> PhaseLine:
        """A line by its name.

        Raises:
            KeyError: if there is no such line; the message lists those there are.
        """
        found = {each.name: each for each in self.lines}
        if name not in found:
            raise KeyError(f"there is no line {name!r}; there are {', '.join(found)}")
        return found[name]

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield phase-diagram --json`` prints."""
        return {
            "cell": self.network.cell,
            "regime": "tied",
            "network": self.network.as_json(),
            "power": self.power,
            "horizontal": self.horizontal,
            "vertical": self.vertical,
            "rows": [
                [
                    {
                        "horizontal": point.horizontal,
                        "vertical": point.vertical,
                        "phase": str(point.phase),
                        "states": [state.as_json() for state in point.states],
                    }
                    for point in row
                ]
                for row in self.rows
            ],
            "lines": [line.as_json() for line in self.lines],
        }

    def text(self) -> str:
        """A table with commas: one line for every fixed point; places without one have a line of their own."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        errors = ("second_moment_error", "radius_error", "moment_slope_error")
        table.writerow([self.horizontal, self.vertical, *_COLUMNS, *errors])
        for point in (each for row in self.rows for each in row):
            place = [point.horizontal, point.vertical, str(point.phase)]
            for number, state in enumerate(point.states):
                numbers = (state.second_moment, state.radius, state.moment_slope)
                table.writerow(
                    [*place, number, state.zero, state.stable, *(e.value for e in numbers), *(e.error for e in numbers)]
                )
            if not point.states:
                table.writerow([*place, *[""] * (len(_COLUMNS) - 1 + len(errors))])
        return stream.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`text` to a file, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        write_whole(path, self.text())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw phases and lines into a picture, its format that of the file's name.

        Raises:
            InvalidInput: if Matplotlib is not installed, or does not know the format.
            OSError: if the file cannot be written.
        """
        from meanfield.phase_pictures import draw_phases

        draw_phases(self, path)


def phase_diagram(
    network: Network,
    *,
    horizontal: Axis,
    vertical: Axis,
    inputs: Inputs | None = None,
    progress: Progress | None = None,
) -> PhaseDiagram:
    """Which fixed points an autonomous network has and which are stable, in the plane of two of its parameters.

    Args:
        network: everything that is not varied.
        horizontal, vertical: each the name of a parameter, "h.recurrent_gain" say or "*.bias_std" for all gates, and
            its values, ascending.
        inputs: power of an input that is the same at every step; none by default.
        progress: called with the number of grid points done and of all; lines are refined row by row in between.

    Returns:
        All fixed points at all grid points, and the lines between phases along rows, with bounds.

    Raises:
        InvalidInput: if an argument makes no sense, or the cell has no formula for its state at rest.
        NotConverged: if an integral does not converge.

    >>> import meanfield as mf
    >>> from meanfield.phase_diagrams import phase_diagram
    >>> gru = mf.Network("gru", {gate: mf.Gate() for gate in "frh"})
    >>> diagram = phase_diagram(
    ...     gru, horizontal=("h.recurrent_gain", [1.0, 1.7, 2.5]), vertical=("r.recurrent_gain", [0.0, 20.0])
    ... )
    >>> [[str(point.phase) for point in row] for row in diagram.rows][0]
    ['zero stable', 'zero stable', 'fixed points, none stable']
    >>> [round(place.value, 6) for place, _ in diagram.line("non-zero fixed points appear").points]
    [2.0, 1.627833]
    """
    first, across = _axis(network, horizontal, "horizontal")
    second, up = _axis(network, vertical, "vertical")
    if first.shares(second):
        raise InvalidInput(f"vertical: must not be the horizontal parameter {first.name!r} itself, got {second.name!r}")
    power = constant_power(inputs)
    given = Inputs(power=power)
    count = len(across) * len(up)
    rows, lines = [], [list[tuple[Estimate, float]]() for _ in LINES]
    for level, height in enumerate(up):
        base = second.applied(network, height)
        row: list[PhasePoint] = []
        for place in across:
            if progress is not None:
                progress(level * len(across) + len(row), count)
            row.append(PhasePoint(place, height, static_states(first.applied(base, place), given)))
        for found, passed in zip(
            lines, boundaries(base, first, across, [each.states for each in row], power), strict=True
        ):
            found += [(each, height) for each in passed]
        rows.append(tuple(row))
    if progress is not None:
        progress(count, count)
    drawn = tuple(PhaseLine(name, tuple(points)) for name, points in zip(LINES, lines, strict=True))
    return PhaseDiagram(network, power, first.name, second.name, tuple(rows), drawn)


def phase_of(states: Sequence[StaticState]) -> Phase:
    """The phase of a network with these fixed points."""
    if not states:
        return Phase.none
    stable = {state.zero for state in states if state.stable}
    return {
        frozenset(): Phase.unstable,
        frozenset({True}): Phase.zero,
        frozenset({False}): Phase.non_zero,
        frozenset({True, False}): Phase.both,
    }[frozenset(stable)]


def _axis(network: Network, axis: Axis, argument: str) -> tuple[NetworkParameter, list[float]]:
    try:
        name, values = axis
    except (TypeError, ValueError):
        raise InvalidInput(f"{argument}: must be the name of a parameter and its values, got {axis!r}") from None
    parameter = NetworkParameter.named(network, name, argument)
    return parameter, parameter.checked(values, f"{argument} values", ascending=True)
