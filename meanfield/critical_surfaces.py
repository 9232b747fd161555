"""Critical surfaces of the untied theory: the critical value of one parameter for every value of another."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count
from meanfield.critical_points import POINTS, ChiJump, CriticalValue, check_range, check_target, solved
from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.files import write_whole
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.network_parameters import NetworkParameter

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceRow:
    """Critical values at one value of the other parameter.

    Attributes:
        against: that value.
        roots: ascending; empty where there is none.
        jumps: where χ_1 passes the target without being there.
        status: "found", or why there is no critical value, a sentence.
    """

    against: float
    roots: tuple[CriticalValue, ...]
    jumps: tuple[ChiJump, ...]
    status: str


@dataclass(frozen=True)
class CriticalSurface:
    """Where χ_1 is at the target in the plane of two parameters, everything else fixed; errors are bounds.

    Attributes:
        network, inputs: of what.
        parameter, against: names of both parameters.
        within: range of the first.
        target: what χ_1 is to be.
        rows: one for every value of the second, in the order given.
    """

    network: Network
    inputs: Inputs
    parameter: str
    against: str
    within: tuple[float, float]
    target: float
    rows: tuple[SurfaceRow, ...]

    @property
    def places(self) -> Float64:
        """Values of both parameters at all points of the surface, ``against`` first, (critical values, 2)."""
        found = [(row.against, root.value.value) for row in self.rows for root in row.roots]
        return np.array(found, dtype=np.float64).reshape(-1, 2)

    @property
    def errors(self) -> Float64:
        """Bounds on the critical values, in the order of :attr:`places`, (critical values,)."""
        return np.array([root.value.error for row in self.rows for root in row.roots], dtype=np.float64)

    @property
    def slopes(self) -> Float64:
        """dχ_1/dparameter, in the order of :attr:`places`, (critical values,)."""
        return np.array([root.slope.value for row in self.rows for root in row.roots], dtype=np.float64)

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield critical --against … --json`` prints."""
        return {
            "cell": self.network.cell,
            "regime": "untied",
            "network": self.network.as_json(),
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            "parameter": self.parameter,
            "against": self.against,
            "within": list(self.within),
            "target": self.target,
            "rows": [
                {
                    "against": row.against,
                    "roots": [root.as_json() for root in row.roots],
                    "jumps": [jump.as_json() for jump in row.jumps],
                    "status": row.status,
                }
                for row in self.rows
            ],
        }

    def text(self) -> str:
        """A table with commas: one line for every critical value; values without one have a line of their own."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        numbers = ("error", "slope", "slope_error", "chi", "chi_error", "direction")
        table.writerow([self.against, self.parameter, *numbers, "status"])
        for row in self.rows:
            for root in row.roots:
                values = (root.value, root.slope, root.chi)
                table.writerow(
                    [
                        row.against,
                        *(each for pair in values for each in vars(pair).values()),
                        root.direction,
                        row.status,
                    ]
                )
            if not row.roots:
                table.writerow([row.against, *[""] * (1 + len(numbers)), row.status])
        return stream.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`text` to a file, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        write_whole(path, self.text())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the surface into a picture, its format that of the file's name.

        Raises:
            InvalidInput: if Matplotlib is not installed, or does not know the format.
            OSError: if the file cannot be written.
        """
        from meanfield.critical_pictures import draw_surface

        draw_surface(self, path)


def critical_surface(
    network: Network,
    parameter: str,
    against: str,
    values: ArrayLike,
    inputs: Inputs | None = None,
    *,
    within: Sequence[float],
    target: float = 1.0,
    points: int = POINTS,
    progress: Callable[[int, int], None] | None = None,
) -> CriticalSurface:
    """The critical values of one parameter for every value of another (Gilboa et al. 2019; theory, section 3).

    Args:
        network, parameter, inputs, within, target, points: see :func:`meanfield.critical_point`.
        against: name of the other parameter.
        values: of the other parameter, (values,).
        progress: called with the number of values done and of all.

    Returns:
        All critical values with bounds; where there is none, a sentence says why.

    Raises:
        InvalidInput: if an argument makes no sense, or χ_1 is not known for the cell.

    >>> import meanfield as mf
    >>> from meanfield.critical_surfaces import critical_surface
    >>> network = mf.Network("vanilla", {"h": mf.Gate()})
    >>> line = critical_surface(
    ...     network, "h.recurrent_gain", "h.bias_std", [0.1, 0.3], mf.Inputs(power=0.0), within=(0.5, 3.0)
    ... )
    >>> line.places.round(6).tolist()
    [[0.1, 1.193401], [0.3, 1.395584]]
    """
    first, second = NetworkParameter.named(network, parameter), NetworkParameter.named(network, against, "against")
    if first.shares(second):
        raise InvalidInput(f"against: must not be the critical parameter {parameter!r} itself, got {against!r}")
    low, high = check_range(first, within)
    check_target(target)
    check_count("points", points, 3)
    places = second.checked(values, "values")
    given = inputs if inputs is not None else Inputs()
    rows = []
    for done, place in enumerate(places):
        if progress is not None:
            progress(done, len(places))
        rows.append(_row(second.applied(network, place), first, place, given, (low, high), target, points))
    if progress is not None:
        progress(len(places), len(places))
    return CriticalSurface(network, given, parameter, against, (low, high), target, tuple(rows))


def _row(
    network: Network,
    parameter: NetworkParameter,
    place: float,
    inputs: Inputs,
    within: tuple[float, float],
    target: float,
    points: int,
) -> SurfaceRow:
    try:
        found = solved(network, parameter, inputs, within, target, points)
    except (Infeasible, NotConverged) as failure:
        return SurfaceRow(place, (), (), str(failure))
    return SurfaceRow(place, found.roots, found.jumps, "found")
