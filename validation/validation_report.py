"""What ``meanfield validate`` and ``meanfield lyapunov`` print."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.errors import NotConverged
from meanfield.estimate import Estimate, as_json_or_absent
from meanfield.network import Network
from meanfield.validation.network_averages import Spread
from meanfield.validation.network_lyapunov import NetworkLyapunov
from meanfield.validation.prediction_comparisons import LIMIT, Comparison, Scale, numbers_of
from meanfield.validation.recipe_check import Validation

_SHOWN = 12  # exponents in a table, spread evenly


def validation_table(found: Validation) -> RenderableType:
    """Predictions beside simulation, and whether they agree; one table for every layer and direction of a recipe."""
    if not found.layers:
        return _table_of(found, found.network.cell)
    return Group(
        *(
            _table_of(each, f"{each.network.cell}, layer {each.layer}, {each.direction}")
            for each in (found, *found.layers)
        )
    )


def _table_of(found: Validation, name: str) -> RenderableType:
    started = "from the zero state" if found.start == "zero" else "stationary"
    title = (
        f"{name}, {found.regime} weights, {found.length} steps {started}: predictions for "
        f"{found.width} units beside {found.networks} networks of {found.hidden}"
    )
    table = Table(title=title, title_style="")
    for heading in ("quantity", "lag", "predicted", "± error", "simulated", "± error", "allowance", "σ"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    previous = found.comparisons[0].name
    for row in found.comparisons:
        if row.lag is not None and row.name != previous:
            table.add_section()
        previous = row.name
        table.add_row(
            row.name,
            "" if row.lag is None else str(row.lag),
            *_shown(row.predicted, row.scale),
            *_shown(row.simulated, row.scale),
            f"{row.allowance:.2%}" if row.scale == "logarithm" else f"{row.allowance:.2g}",
            _deviation(row),
        )
    return Group(table, *(Text(sentence) for sentence in _notes(found)))


def _notes(found: Validation) -> list[str]:
    notes = [
        "σ: distance beyond the allowance for the finite width, in standard deviations; of logarithms where the "
        "allowance is a percentage."
    ]
    if any(row.deviation is None for row in found.comparisons):
        notes.append("The eigenvalue edge depends on the width and is predicted for another one; it is not judged.")
    if found.spectra < found.networks:
        notes.append(f"Eigenvalues and singular values are those of {found.spectra} networks.")
    failed = [row for row in found.comparisons if not row.agrees]
    if failed:
        named = ", ".join(row.name if row.lag is None else f"{row.name} at lag {row.lag}" for row in failed)
        notes.append(f"Beyond {LIMIT:g}σ: {named}.")
    else:
        notes.append(
            f"All {len(found.comparisons)} predictions agree; the largest deviation is {_deviation(found.worst)}σ."
        )
    return notes


def _deviation(row: Comparison) -> str:
    return "-" if row.deviation is None else f"{row.deviation:.1f}"


def _shown(spread: Spread, scale: Scale) -> tuple[str, str]:
    value, error = numbers_of(spread, scale)
    if scale == "logarithm" and math.isfinite(spread.value) and not 1e-300 < value < 1e300:
        decimal = spread.value / math.log(10.0)
        return f"{10 ** (decimal - math.floor(decimal)):.2f}e{math.floor(decimal)}", f"{spread.error:.1%}"
    return f"{value:.4g}", f"{error:.2g}"


@dataclass(frozen=True)
class LyapunovReport:
    """Lyapunov exponents of simulated networks beside the theory's growth of gradients.

    Attributes:
        network: which network.
        regime: of its weights.
        steps: that exponents are averages over.
        found: the exponents.
        predicted: half the late slope of log G, which the top exponent is predicted to be; None where it is not known.
    """

    network: Network
    regime: str
    steps: int
    found: NetworkLyapunov
    predicted: Estimate | None

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield lyapunov --json`` prints."""
        exponents = [self.found.exponent(index).as_json() for index in range(len(self.found.values))]
        return {
            "cell": self.network.cell,
            "regime": self.regime,
            "hidden": self.found.hidden,
            "networks": len(self.found.spectra),
            "steps": self.steps,
            "network": self.network.as_json(),
            **{name: as_json_or_absent(number) for name, (number, _) in self._numbers().items()},
            "exponents": exponents,
        }

    def table(self) -> RenderableType:
        """For people."""
        count, networks = len(self.found.values), len(self.found.spectra)
        several = "1 network" if networks == 1 else f"{networks} networks"
        title = (
            f"{self.network.cell}, {self.regime} weights, {several} of {self.found.hidden} units, {self.steps} steps"
        )
        table = Table(title=title, title_style="")
        for heading in ("quantity", "value", "± error", "meaning"):
            table.add_column(heading, justify="right" if heading in ("value", "± error") else "left")
        for name, (number, meaning) in self._numbers().items():
            table.add_row(name, *(("none", "") if number is None else _pair(number)), meaning)
        table.add_section()
        for index in sorted({round(k * (count - 1) / max(_SHOWN - 1, 1)) for k in range(_SHOWN)}):
            table.add_row(f"exponent {index + 1}", *_pair(self.found.exponent(index)), f"of {count}")
        return table

    def _numbers(self) -> dict[str, tuple[Estimate | None, str]]:
        return {
            "largest_exponent": (self.found.largest, "growth of small differences, natural logarithm a step"),
            "predicted_exponent": (self.predicted, "half the slope of log G at late lags, theory"),
            "attractor_dimension": (self._known("attractor_dimension"), "Kaplan-Yorke"),
            "entropy_rate": (self._known("entropy_rate"), "sum of the positive exponents, nats a step"),
        }

    def _known(self, name: str) -> Estimate | None:
        """A number that may need more exponents than there are."""
        try:
            number: Estimate = getattr(self.found, name)
        except NotConverged:
            return None
        return number


def _pair(number: Estimate) -> tuple[str, str]:
    return f"{number.value:.4g}", f"{number.error:.2g}"
