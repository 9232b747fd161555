"""What ``meanfield spectra`` prints: singular values and eigenvalues of one step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from meanfield.eigenvalue_plane import Eigenvalues
from meanfield.estimate import Estimate
from meanfield.network import Network
from meanfield.plane_curves import EigenvalueBoundary
from meanfield.singular_value_density import SingularValues

_QUANTILES = (0.05, 0.5, 0.95)
_SLOW = (0.02, 0.05, 0.1)
_ANGLES = np.arange(0.0, 181.0, 30.0)


@dataclass(frozen=True)
class SpectraReport:
    """Both laws of one network.

    Attributes:
        network: of which.
        regime: of its weights.
        law: of the singular values.
        plane: of the eigenvalues.
    """

    network: Network
    regime: str
    law: SingularValues
    plane: Eigenvalues

    @cached_property
    def numbers(self) -> dict[str, tuple[Estimate, str]]:
        """Single numbers by name, and what they mean."""
        law, plane = self.law, self.plane
        numbers = {
            "singular_values_m1": (law.first_moment, "mean square of the singular values"),
            "singular_values_m2": (law.second_moment, "mean of their fourth power"),
            "singular_value_least": (law.inner_edge, "smallest singular value but for zeros"),
            "singular_value_largest": (law.outer_edge, "largest singular value"),
            "singular_values_zero": (law.atom_at_zero, "share of singular values that are zero"),
        }
        for share in _QUANTILES:
            numbers[f"singular_value_{share:g}"] = (law.quantile(share), f"{share:.0%} are below")
        numbers["eigenvalue_edge"] = (plane.edge, "largest real part of an eigenvalue")
        numbers["spectral_radius"] = (plane.radius, "largest absolute value of an eigenvalue")
        numbers["hole_radius"] = (plane.hole_radius, "of a hole around the centre; 0 without one")
        for radius in _SLOW:
            numbers[f"slow_fraction_{radius:g}"] = (plane.slow_fraction(radius), f"share within {radius:g} of 1")
        return numbers

    @cached_property
    def boundary(self) -> EigenvalueBoundary:
        """How far eigenvalues reach from the centre, every 30 degrees."""
        return self.plane.boundary(np.radians(_ANGLES))

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield spectra --json`` prints."""
        rows = zip(_ANGLES.tolist(), self.boundary.radii.tolist(), self.boundary.errors.tolist(), strict=True)
        return {
            "cell": self.network.cell,
            "regime": self.regime,
            "hidden": self.plane.hidden,
            "network": self.network.as_json(),
            **{name: number.as_json() for name, (number, _) in self.numbers.items()},
            "eigenvalue_centre": self.plane.centre,
            "eigenvalue_boundary": [{"degrees": a, "value": value, "error": error} for a, value, error in rows],
        }

    def table(self) -> RenderableType:
        """For people."""
        title = f"{self.network.cell}, {self.regime} weights, {self.plane.hidden} units: Jacobian of one step"
        table = Table(title=title, title_style="")
        for heading in ("quantity", "value", "± error", "meaning"):
            table.add_column(heading, justify="right" if heading in ("value", "± error") else "left")
        for name, (number, meaning) in self.numbers.items():
            table.add_row(name, f"{number.value:.4g}", f"{number.error:.2g}", meaning)
        for angle, radius, error in zip(_ANGLES, self.boundary.radii, self.boundary.errors, strict=True):
            where = f"reach from {self.plane.centre:.3g} at {angle:.0f}°"
            table.add_row("eigenvalue_boundary", f"{radius:.4g}", f"{error:.2g}", where)
        return table
