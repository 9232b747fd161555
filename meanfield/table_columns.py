"""Recipes as rows: the numbers of a recipe file, flattened into columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

PROFILES = ("gradient_profile", "input_sensitivity")
"""Lists of the predictions; a column has their farthest lag, and Parquet files all of them."""


def flat_numbers(recipe: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of a recipe file by column; None where a number does not exist.

    Columns are ``predicted_NAME`` and ``predicted_NAME_error``, the same with ``default_`` for the framework's own
    initialisation, ``PROFILE_log10`` for a profile at its farthest lag, ``gate_GATE_LAW``,
    ``layer_LAYER_DIRECTION_gate_GATE_LAW``
    for further layers, and ``objective_value``.

    >>> gates = {"f": {"recurrent": {"gain": 0.02, "std": 0.001}, "bias": {"mean": 2.0, "std": 0.0}}}
    >>> flat_numbers({"gates": gates, "predictions": {"numbers": {"chi": {"value": 0.9, "error": 0.1}}}})
    {'gate_f_recurrent_gain': 0.02, 'gate_f_bias_mean': 2.0, 'gate_f_bias_std': 0.0, 'predicted_chi': 0.9, \
'predicted_chi_error': 0.1}
    """
    found: dict[str, float | None] = {}
    for gate, laws in recipe["gates"].items():
        found |= {f"gate_{gate}_{name}": value for name, value in _laws(laws)}
    for further in recipe.get("layers", []):
        place = f"layer_{further['layer']}_{further['direction']}"
        for gate, laws in further["gates"].items():
            found |= {f"{place}_gate_{gate}_{name}": value for name, value in _laws(laws)}
    found |= dict(_predictions("predicted", recipe["predictions"]))
    if recipe.get("defaults"):
        found |= dict(_predictions("default", recipe["defaults"]["predictions"]))
    if "method" in recipe:
        found["objective_value"] = recipe["method"]["value"]
    return found


def profile_columns(recipe: Mapping[str, Any]) -> dict[str, list[float | int | None]]:
    """Profiles of a recipe's predictions as lists over the lag: lags, decimal logarithms, and errors of these."""
    found: dict[str, list[float | int | None]] = {}
    for profile in PROFILES:
        rows = recipe["predictions"].get(profile, [])
        found[f"{profile}_lags"] = [row["lag"] for row in rows]
        found[f"{profile}_log10s"] = [row["log10_value"] for row in rows]
        found[f"{profile}_log10_errors"] = [_logarithmic_error(row) for row in rows]
    return found


def is_error(column: str) -> bool:
    """Whether a column holds the errors of another one."""
    return column.endswith("_error")


def _laws(laws: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for part, law in laws.items():
        if isinstance(law, Mapping):
            names = ("gain",) if "gain" in law else ("mean", "std")
            yield from ((f"{part}_{name}", law[name]) for name in names)


def _predictions(prefix: str, predictions: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name, entry in predictions["numbers"].items():
        yield f"{prefix}_{name}", entry["value"]
        yield f"{prefix}_{name}_error", entry["error"]
    for profile in PROFILES:
        if predictions.get(profile):
            last = predictions[profile][-1]
            yield f"{prefix}_{profile}_log10", last["log10_value"]
            yield f"{prefix}_{profile}_log10_error", _logarithmic_error(last)


def _logarithmic_error(row: Mapping[str, Any]) -> float | None:
    """Error of the decimal logarithm; None where the value itself is outside the range of numbers."""
    value, error = row["value"], row["error"]
    if not value or error is None:
        return None
    return float(error / (value * math.log(10.0)))
