"""Tables for people: what the command line prints."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.analyses import Analysis
from meanfield.closed_maps import FixedPoints
from meanfield.estimate import Estimate
from meanfield.recipe_file import EstimateEntry, Predictions, RecurrentLaw, WeightLaw
from meanfield.recipes import Recipe
from meanfield.samples import Samples

MEANING = {
    "second_moment": "mean square of what the layer passes on, E[h²]",
    "overlap": "correlation of the outputs of two sequences",
    "chi": "growth of the gradient's mean square a step, late",
    "timescale": "steps in which it falls by e, -1/log χ",
    "final_gradient": "mean square of ∂h_T/∂h_0, G(T)",
    "isometry_defect": "distance of ∂h_T/∂h_0 from an isometry",
    "bias_response": "response of h_T to a unit kick of all biases",
    "memory_path": "mean square of the path through the keep gate",
    "memory_spread": "spread of that path over units",
    "eigenvalue_edge": "largest real part of an eigenvalue",
    "slow_fraction": "share of eigenvalues within 0.1 of 1",
    "singular_values_m1": "first moment of squared singular values",
    "singular_values_m2": "second moment of squared singular values",
}

_SAMPLEDMEANING = {
    "mean": "mean of a state variable",
    "second_moment": "mean square of a state variable",
    "overlap": "correlation of the outputs of two sequences",
    "chi": "growth of a perturbation's mean square a step",
    "timescale": "steps in which it falls by e, -1/log χ",
    "overlap_slope": "slope of the overlap map at its fixed point",
    "overlap_timescale": "steps in which overlaps settle by e",
}


def analysis_table(analysis: Analysis) -> RenderableType:
    """An analysis: numbers and profiles."""
    title = f"{analysis.network.cell}, {analysis.regime} weights, {analysis.length} steps"
    table = _quantities(title, analysis.numbers(), MEANING)
    started = f"after a transient of {analysis.gradients.transient} steps"
    if analysis.start == "zero":
        started = "from the zero state"
    note = Text(f"{started}; the edge is that of a network of {analysis.spectra.hidden} units", style="dim")
    if analysis.without_sampling:
        note.append(f"\nwithout sampling, errors are bounds: {', '.join(analysis.without_sampling)}")
    profiles = analysis.profiles_as_json()
    lags = Table(title="how far back", title_style="")
    for heading in ("lag", "gradient G", "± error", "input sensitivity S", "± error"):
        lags.add_column(heading, justify="right")
    sensitivity = {row["lag"]: row for row in profiles["input_sensitivity"]}
    for row in profiles["gradient_profile"]:
        other = sensitivity.get(row["lag"])
        cells = [_logged(row), _show(row["error"], digits=2)]
        cells += [_logged(other), _show(other["error"], digits=2)] if other else ["", ""]
        lags.add_row(str(row["lag"]), *cells)
    return Group(table, note, lags)


def _quantities(
    title: str,
    numbers: Mapping[str, Estimate | None],
    meanings: Mapping[str, str],
    *,
    digits: int = 4,
    error: str = "error",
) -> Table:
    """A table of numbers, their errors and what they mean."""
    table = Table(title=title, title_style="")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column(f"± {error}", justify="right")
    table.add_column("meaning", style="dim")
    for name, number in numbers.items():
        value, uncertainty = (number.value, number.error) if number else (None, None)
        table.add_row(name, _show(value, digits=digits), _show(uncertainty, digits=2), meanings[name])
    return table


def samples_table(samples: Samples) -> RenderableType:
    """What sampling says of a network with weights that are redrawn at every step."""
    law = samples.law
    numbers = samples.numbers()
    # Moments are named after their state variable too.
    known = {name: name if name in _SAMPLEDMEANING else name.rsplit("_", 1)[0] for name in numbers}
    meanings = {name: _SAMPLEDMEANING.get(kind, "") for name, kind in known.items()}
    table = _quantities(f"{law.network.cell}, untied weights, sampled", numbers, meanings, digits=6)
    note = Text(
        f"{law.chains:,} chains on the {'GPU' if law.device == 'cuda' else 'CPU'}, {law.precision} precision; "
        f"{law.burn_in} steps of burn-in, {law.steps} measured",
        style="dim",
    )
    return Group(table, note)


def fixed_points_table(found: FixedPoints) -> RenderableType:
    """The untied theory of a one-state cell: moments, growth, and every fixed point of the overlap map."""
    law = found.law
    numbers = {
        "mean": law.mean,
        "second_moment": law.second_moment,
        "chi": found.growth.chi,
        "timescale": found.growth.timescale,
    }
    title = f"{law.network.cell}, untied weights, closed maps"
    table = _quantities(title, numbers, _SAMPLEDMEANING, digits=12, error="bound")
    overlaps = Table(title="fixed points of the overlap of two sequences", title_style="")
    for heading in ("overlap", "± bound", "slope of the map", "time scale", ""):
        overlaps.add_column(heading, justify="right")
    for point in found.overlaps:
        kind = ("stable" if point.stable else "unstable") + (
            ", reached from uncorrelated states" if point.reached else ""
        )
        overlaps.add_row(
            _show(point.overlap.value, digits=12),
            _show(point.overlap.error, digits=2),
            _show(point.slope.value, digits=8),
            _show(point.timescale.value if point.timescale else None, digits=8),
            kind,
        )
    parts: list[RenderableType] = [table, overlaps]
    if found.ambiguous:
        parts.append(Text("Several overlaps are stable: where two sequences settle depends on where they start."))
    return Group(*parts)


def recipe_table(recipe: Recipe) -> RenderableType:
    """A recipe: its laws, and its predictions beside the framework's default."""
    content = recipe.content
    task = content.task
    gates = Table(
        title=f"{content.cell} for {task.length} steps, {task.hidden} units, {task.input_size} inputs", title_style=""
    )
    for heading in ("gate", "recurrent weights", "input std", "bias mean", "bias std"):
        gates.add_column(heading, justify="left" if heading == "gate" else "right")
    for name, laws in content.gates.items():
        gates.add_row(
            name,
            _recurrent(laws.recurrent),
            _show(laws.input.std if laws.input else None),
            _show(laws.bias.mean),
            _show(laws.bias.std),
        )
    defaults = content.defaults
    beside = Table(title="what theory predicts", title_style="")
    beside.add_column("quantity")
    beside.add_column("recipe", justify="right")
    if defaults is not None:
        beside.add_column(f"{defaults.framework} default", justify="right")
    beside.add_column("meaning", style="dim")
    for name, entry in content.predictions.numbers.items():
        other = [_with_error(defaults.predictions.numbers[name])] if defaults is not None else []
        beside.add_row(name, _with_error(entry), *other, MEANING.get(name, ""))
    reach = f"Inputs reach back {_reach(content.predictions)} steps with the recipe"
    if defaults is not None:
        reach += f", {_reach(defaults.predictions)} with {defaults.framework}'s default"
    reach += " (the lag where their mark on the last state falls below 1e-3 of that of the latest input)."
    parts: list[RenderableType] = [gates, beside, Text(reach)]
    parts += [Text(note) for note in content.notes]
    if content.layers:
        shown = ", ".join(f"layer {each.layer} {each.direction}" for each in content.layers)
        parts.append(Text(f"The file holds laws of their own for {shown}.", style="dim"))
    if content.method.binding:
        parts.append(Text(f"Active penalties of the objective: {', '.join(content.method.binding)}.", style="dim"))
    if "budget" in content.method.status:
        parts.append(Text(f"The search: {content.method.status}.", style="dim"))
    return Group(*parts)


def _recurrent(law: RecurrentLaw | None) -> str:
    if law is None:
        return _show(None)
    return f"std {_show(law.std)}" if isinstance(law, WeightLaw) else f"{_show(law.gain)} × {law.law}"


def _reach(predictions: Predictions) -> str:
    rows = predictions.input_sensitivity
    if not rows:
        return "all 0"
    first = rows[0].log10_value
    if first is None:
        return "no"
    for row in rows:
        if row.log10_value is None or row.log10_value < first - 3.0:
            return f"less than {row.lag}"
    return f"all {rows[-1].lag}"


def _with_error(entry: EstimateEntry) -> str:
    if entry.value is None:
        return "none"
    return f"{_show(entry.value)} ± {_show(entry.error, digits=2)}"


def _logged(row: dict[str, float | int | None]) -> str:
    """A value that may be too small for a number."""
    if row["value"] == 0.0 and row["log10_value"] is not None:
        exponent = math.floor(row["log10_value"])
        return f"{10 ** (row['log10_value'] - exponent):.2f}e{exponent}"
    return _show(row["value"])


def _show(value: float | None, digits: int = 4) -> str:
    return "none" if value is None else f"{value:.{digits}g}"
