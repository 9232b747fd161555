"""Predictions for networks whose weights are redrawn at every step, without a population.

Numbers and profiles have the names and the form of :class:`meanfield.analyses.Analysis`. Those that only a population
knows are absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meanfield.estimate import Estimate, as_json_or_absent, reported_lags
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.untied_analyses import UntiedTheory, resolved_theory

ProfileRows = list[dict[str, float | int | None]]


@dataclass(frozen=True)
class UntiedPredictions:
    """What is known exactly of a stationary network over T steps, N → ∞; errors are bounds.

    Attributes:
        network, inputs, length: of what.
        theory: where the numbers come from.
    """

    network: Network
    inputs: Inputs
    length: int
    theory: UntiedTheory

    def numbers(self) -> dict[str, Estimate | None]:
        """Single numbers by name, as :meth:`Analysis.numbers` has them; None where one does not exist."""
        return closed_numbers(self.theory)

    def profiles_as_json(self) -> dict[str, ProfileRows]:
        """The profiles that are known, as :meth:`Analysis.profiles_as_json` has them."""
        return closed_profiles(self.theory)

    def as_json(self) -> dict[str, Any]:
        """``numbers`` and profiles, as a recipe's file has them."""
        numbers = {name: as_json_or_absent(number) for name, number in self.numbers().items()}
        return {"numbers": numbers, **self.profiles_as_json()}


def untied_predictions(network: Network, inputs: Inputs | None = None, *, length: int) -> UntiedPredictions:
    """Predictions by quadrature, with weights that are redrawn at every step.

    Args:
        network: of a cell that :func:`meanfield.fixed_points` takes; all numbers but the share of slow modes are known
            if it has one state variable, moments and gradients of LSTMs.
        inputs: white inputs; power 1 by default.
        length: T, at least 1.

    Raises:
        InvalidInput: if the cell's moments do not close, the inputs are not white, or the length is below 1.
        NotConverged: if the law of the state, its overlaps or its Jacobian's moments are not resolved.

    >>> import meanfield as mf
    >>> found = untied_predictions(mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 0.6)}), length=4)
    >>> {name: round(number.value, 6) for name, number in found.numbers().items() if name in ("chi", "eigenvalue_edge")}
    {'chi': 0.5, 'eigenvalue_edge': 0.707107}
    >>> [round(row["value"], 6) for row in found.profiles_as_json()["input_sensitivity"]]  # lags 1, 2, 3, 4
    [0.09, 0.045, 0.0225, 0.01125]
    """
    inputs = inputs if inputs is not None else Inputs()
    return UntiedPredictions(network, inputs, length, resolved_theory(network, inputs, length))


def closed_numbers(theory: UntiedTheory) -> dict[str, Estimate | None]:
    """Single numbers by name, in the order of :meth:`Analysis.numbers`.

    A time scale is None where gradients do not decay; other numbers are there if they are known.
    """
    growth = theory.found.growth
    found: dict[str, Estimate | None] = {
        "second_moment": theory.found.law.second_moment,
        "overlap": theory.overlap,
        "chi": growth.chi,
        "timescale": growth.timescale,
        "final_gradient": theory.profile.at(theory.length),
    }
    known = {
        "isometry_defect": theory.isometry_defect,
        "bias_response": theory.bias_response,
        "memory_path": theory.memory.at(theory.length) if theory.memory is not None else None,
        "memory_spread": theory.memory_spread,
        "eigenvalue_edge": theory.eigenvalue_edge,
        "singular_values_m1": growth.chi if theory.second_moment_of_step is not None else None,
        "singular_values_m2": theory.second_moment_of_step,
    }
    found.update((name, number) for name, number in known.items() if number is not None)
    return found


def closed_profiles(theory: UntiedTheory) -> dict[str, ProfileRows]:
    """``gradient_profile`` and, where it is known, ``input_sensitivity`` at lags 1, 2, 3, 5, … and the length."""
    lags = reported_lags(theory.length)
    found = {"gradient_profile": theory.profile.as_json(lags)}
    if theory.sensitivity is not None:
        found["input_sensitivity"] = theory.sensitivity.as_json(lags)
    return found
