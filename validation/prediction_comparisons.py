"""Single predictions beside the same numbers of simulated networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.growth import late_growth
from meanfield.recipe_file import EstimateEntry, ProfileEntry
from meanfield.validation.network_averages import Spread, jackknife, log_mean, mean, sigmas
from meanfield.validation.simulated_predictions import SimulatedPredictions
from meanfield.validation.width_allowance import WidthAllowance

Float64 = NDArray[np.float64]
Scale = Literal["linear", "logarithm"]

_REST = 1e-30  # a second moment below counts as none
_TINY = -690.0  # logarithm of what is about to leave the range of numbers
LIMIT = 5.0  # standard deviations, beyond the allowance, at which a prediction fails


@dataclass(frozen=True)
class Comparison:
    """One predicted number beside the simulated one.

    Attributes:
        name: of the number, as in a recipe.
        lag: of a profile; None of a single number.
        scale: what is compared, the numbers or their natural logarithms.
        predicted, simulated: on that scale.
        allowance: for the finite width, on that scale.
        deviation: beyond the allowance, in standard deviations; None where the two are not the same quantity.
    """

    name: str
    lag: int | None
    scale: Scale
    predicted: Spread
    simulated: Spread
    allowance: float
    deviation: float | None

    @property
    def agrees(self) -> bool:
        """Whether the deviation is at most five standard deviations."""
        return self.deviation is None or self.deviation <= LIMIT

    def as_json(self) -> dict[str, Any]:
        """One row: values and errors, null where they are infinite or beyond the range of numbers."""
        row: dict[str, Any] = {"name": self.name, "lag": self.lag}
        for side, spread in (("predicted", self.predicted), ("simulated", self.simulated)):
            value, error = numbers_of(spread, self.scale)
            row[side] = {
                key: each if math.isfinite(each) else None for key, each in (("value", value), ("error", error))
            }
            if self.scale == "logarithm":
                logarithm = spread.value / math.log(10.0)
                row[side]["log10_value"] = logarithm if math.isfinite(logarithm) else None
        return {
            **row,
            "scale": self.scale,
            "allowance": self.allowance,
            "deviation": self.deviation,
            "agrees": self.agrees,
        }


def numbers_of(spread: Spread, scale: Scale) -> tuple[float, float]:
    """A number and its error; of logarithms, those of what they are the logarithm of."""
    if scale == "linear":
        return spread.value, spread.error
    value = math.exp(spread.value) if spread.value < 709.0 else math.inf
    return value, value * spread.error if math.isfinite(value) else math.inf


def compare_numbers(
    predicted: Mapping[str, EstimateEntry],
    seen: SimulatedPredictions,
    length: int,
    allowed: WidthAllowance,
    freedom: float,
    *,
    same_width: bool,
) -> list[Comparison]:
    """Single numbers, those of a recipe's file.

    Args:
        predicted: by name.
        seen: the simulated networks.
        length: T.
        allowed: what their width may cost.
        freedom: degrees of freedom behind the errors of the predictions.
        same_width: whether the eigenvalue edge is predicted for the width that is simulated.

    Returns:
        One comparison for every number that both know and that is finite; χ stands for the time scale.
    """
    growth = late_growth(seen.log_gradient.T, length)
    networks = len(seen.second_moment)
    chi = Spread(_log(growth.value), growth.error / growth.value if growth.value else 0.0, networks - 1.0)
    last, squares = seen.log_gradient[:, length], np.maximum(seen.second_moment, _REST)
    simulated: dict[str, tuple[Scale, Spread, float]] = {
        "second_moment": (
            "logarithm",
            log_mean(np.log(squares)),
            allowed.share("second_moment"),
        ),
        "chi": ("logarithm", chi, allowed.growth("chi", length)),
        "final_gradient": ("logarithm", log_mean(last), allowed.share("final_gradient", length)),
        "isometry_defect": (
            "linear",
            jackknife(lambda first, second: first**2 + second - 2.0 * first, last, seen.log_spread_moment),
            (2.0 * min(abs(log_mean(last).value), -_TINY) + 2.0) * allowed.share("isometry_defect", length),
        ),
        "bias_response": ("logarithm", log_mean(seen.log_bias_response), allowed.share("bias_response", length)),
    }
    if len(seen.edge) > 1:
        first, second = (log_mean(np.log(each)) for each in (seen.first_of_step, seen.second_of_step))
        simulated["eigenvalue_edge"] = "linear", mean(seen.edge), allowed.edge(float(np.mean(seen.edge)))
        simulated["slow_fraction"] = "linear", mean(seen.slow), allowed.counted()
        simulated["singular_values_m1"] = "logarithm", first, allowed.share("singular_values")
        simulated["singular_values_m2"] = "logarithm", second, allowed.share("singular_values")
    if len(seen.overlap):
        simulated["overlap"] = "linear", mean(seen.overlap), allowed.share("overlap")
    if len(seen.log_memory):
        fourth = log_mean(seen.log_fourth_memory)
        spread = jackknife(lambda square, quartic: quartic - 2.0 * square, seen.log_memory, seen.log_fourth_memory)
        # Fourth powers live in the tail, whose scatter the jackknife of a few networks does not see.
        spread = Spread(spread.value, max(spread.error, fourth.error), spread.freedom)
        simulated["memory_path"] = "logarithm", log_mean(seen.log_memory), allowed.share("memory_path", length)
        simulated["memory_spread"] = "logarithm", spread, 2.0 * allowed.share("memory_spread", length)
    comparisons: list[Comparison] = []
    for name, entry in predicted.items():
        if name not in simulated or entry.value is None:
            continue
        scale, spread, allowance = simulated[name]
        value = max(entry.value, _REST) if name == "second_moment" else entry.value
        theory = _on_scale(value, entry.error or 0.0, scale, math.inf if allowed.is_exact(name) else freedom)
        if scale == "logarithm" and max(theory.value, spread.value) < _TINY:
            continue  # beyond the range of numbers; profiles keep the logarithm
        deviation = None if name == "eigenvalue_edge" and not same_width else sigmas(theory, spread, allowance)
        comparisons.append(Comparison(name, None, scale, theory, spread, allowance, deviation))
    return comparisons


def compare_profile(
    name: str, rows: list[ProfileEntry], log_samples: Float64, allowed: WidthAllowance, freedom: float
) -> list[Comparison]:
    """One profile at the lags of its rows.

    Args:
        name: of the profile.
        rows: its predictions.
        log_samples: natural logarithms of what simulated networks did at lags 0, 1, …, (networks, lags).
        allowed, freedom: as for :func:`compare_numbers`.
    """
    comparisons: list[Comparison] = []
    for row in rows:
        if row.value is None and row.log10_value is None:
            continue
        logarithm = -math.inf if row.log10_value is None else row.log10_value * math.log(10.0)
        # Beyond the range of numbers the file keeps the logarithm, not its error: that of the nearest lag stands in.
        relative = row.error / row.value if row.value and row.error is not None else None
        if relative is None:
            relative = comparisons[-1].predicted.error if comparisons and math.isfinite(logarithm) else 0.0
        theory = Spread(logarithm, relative, math.inf if allowed.is_exact(name) else freedom)
        spread, allowance = log_mean(log_samples[:, row.lag]), allowed.share(name, row.lag)
        deviation = sigmas(theory, spread, allowance)
        comparisons.append(Comparison(name, row.lag, "logarithm", theory, spread, allowance, deviation))
    return comparisons


def _on_scale(value: float, error: float, scale: Scale, freedom: float) -> Spread:
    if scale == "linear":
        return Spread(value, error, freedom)
    return Spread(_log(value), error / value if value else 0.0, freedom)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf
