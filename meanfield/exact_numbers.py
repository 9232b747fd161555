"""Predictions of untied networks over T steps from what one step says, in the form of a recipe's file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meanfield.closed_batch_isometry import SettledNetwork
from meanfield.closed_batch_lengths import log_spreads
from meanfield.closed_batch_step import shares_a_rule
from meanfield.closed_cells import closed_cell
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate, as_json_or_absent, reported_lags
from meanfield.exact_predictions import untied_predictions
from meanfield.inputs import Inputs
from meanfield.network import Network

Number = float | int | None
ProfileRows = list[dict[str, Number]]

NAMES = (
    "second_moment",
    "overlap",
    "chi",
    "timescale",
    "final_gradient",
    "isometry_defect",
    "bias_response",
    "memory_path",
    "memory_spread",
    "eigenvalue_edge",
    "singular_values_m1",
    "singular_values_m2",
)
"""Numbers that may be known without sampling, in the order of :meth:`meanfield.analyses.Analysis.numbers`."""

_ROUNDING = 2.0**-52
_LARGEST = 709.0  # logarithm of the largest number


@dataclass(frozen=True)
class ExactPredictions:
    """Predictions for one network, N → ∞, without sampling.

    Attributes:
        numbers: by name, as :meth:`meanfield.analyses.Analysis.numbers` has them; None where one does not exist.
        profiles: rows of the gradient profile and of the input sensitivity.
        log_spread: log m2(T)/m1(T)².
        defect: Δ(T).
    """

    numbers: dict[str, Estimate | None]
    profiles: dict[str, ProfileRows]
    log_spread: Estimate
    defect: Estimate

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Predictions as a recipe's file has them, null for names of which nothing is known."""
        return {"numbers": {name: as_json_or_absent(self.numbers.get(name)) for name in names}, **self.profiles}


def predictions_of_settled(networks: Sequence[SettledNetwork], lengths: Sequence[int]) -> list[ExactPredictions]:
    """Predictions over T steps each, for networks that shared rules have settled."""
    if not networks:
        return []
    transfers = [each.transfer for each in networks]
    spreads, first = (log_spreads(transfers, each) for each in (lengths, [1] * len(networks)))
    return [
        _predictions(
            network,
            length,
            Estimate(float(spreads.value[k]), float(spreads.error[k])),
            Estimate(float(first.value[k]), float(first.error[k])),
        )
        for k, (network, length) in enumerate(zip(networks, lengths, strict=True))
    ]


def predictions_alone(network: Network, inputs: Inputs, length: int) -> ExactPredictions:
    """Predictions for a network that shared rules do not settle.

    Raises:
        NotConverged: if its moments are not resolved.
    """
    found = untied_predictions(network, inputs, length=length)
    spread, defect = found.theory.log_spread, found.theory.isometry_defect
    profiles = found.profiles_as_json()
    if spread is None or defect is None or "input_sensitivity" not in profiles:
        raise NotConverged(f"the moments of Jacobians of cell {network.cell} are not known without a population")
    numbers = found.numbers()
    if shares_a_rule(closed_cell(network.definition)):
        # Recipes of one cell have the same numbers, whoever settles them.
        apart = {"bias_response", "eigenvalue_edge" if network.definition.keep_gate is not None else ""}
        numbers = {name: number for name, number in numbers.items() if name not in apart}
    return ExactPredictions(numbers, profiles, spread, defect)


def _predictions(network: SettledNetwork, length: int, spread: Estimate, first_spread: Estimate) -> ExactPredictions:
    growth, memory = network.log_chi, network.memory
    last = _times(growth, length)
    defect = Estimate(last.value**2 + spread.value, (2.0 * abs(last.value) + last.error) * last.error + spread.error)
    numbers: dict[str, Estimate | None] = {
        "second_moment": network.second_moment,
        "overlap": network.overlap,
        "chi": network.chi,
        "timescale": network.timescale,
        "final_gradient": exponential(last),
        "isometry_defect": defect,
    }
    if memory is not None:
        numbers["memory_path"] = exponential(_times(memory.log_square, length))
        numbers["memory_spread"] = memory.spread(length)
    if network.eigenvalue_edge is not None:
        numbers["eigenvalue_edge"] = network.eigenvalue_edge
    numbers["singular_values_m1"] = network.chi
    twice = _times(growth, 2)
    numbers["singular_values_m2"] = exponential(
        Estimate(twice.value + first_spread.value, twice.error + first_spread.error)
    )
    lags = reported_lags(length)
    response = Estimate(math.log(network.response.value), network.response.error / network.response.value)
    profiles = {
        "gradient_profile": _rows(growth, Estimate(0.0, 0.0), lags),
        "input_sensitivity": _rows(growth, response, lags),
    }
    return ExactPredictions(numbers, profiles, spread, defect)


def _times(logarithm: Estimate, count: int) -> Estimate:
    """The logarithm of a power."""
    return Estimate(logarithm.value * count, (logarithm.error + _ROUNDING * abs(logarithm.value)) * count)


def exponential(logarithm: Estimate) -> Estimate:
    """A positive number from its logarithm; infinite or zero where it is beyond the range of numbers.

    >>> exponential(Estimate(-1000.0, 1e-15)), exponential(Estimate(1000.0, 1e-15))
    (Estimate(value=0.0, error=0.0), Estimate(value=inf, error=inf))
    """
    if logarithm.value > _LARGEST:
        return Estimate(math.inf, math.inf)
    value = math.exp(logarithm.value)
    rounding = _ROUNDING * max(1.0, abs(logarithm.value))
    return Estimate(value, value * (math.expm1(min(logarithm.error, _LARGEST)) + rounding) if value > 0.0 else 0.0)


def _rows(growth: Estimate, start: Estimate, lags: Sequence[int]) -> ProfileRows:
    """start × χ^τ at some lags, as :meth:`meanfield.estimate.Profile.as_json` has profiles."""
    rows: ProfileRows = []
    for lag in lags:
        step = _times(growth, lag)
        logarithm = Estimate(start.value + step.value, start.error + step.error)
        entry = exponential(logarithm).as_json()
        rows.append({"lag": lag, **entry, "log10_value": logarithm.value / math.log(10.0)})
    return rows
