"""Pictures of a recipe beside the framework's default: marks of inputs, gradients, spectra of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from meanfield.comparison import Comparison, Initialisation, compare
from meanfield.eigenvalue_plane import eigenvalues
from meanfield.errors import NotConverged
from meanfield.html_report import Picture, html_report
from meanfield.recipes import Recipe
from meanfield.singular_value_density import singular_values
from meanfield.validation.figures.named_figure import Size
from meanfield.validation.figures.recipe_reach import draw as draw_reach
from meanfield.validation.figures.recipe_reach import reach_of
from meanfield.validation.figures.rendering import picture
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.step_spectra import cloud_and_boundary, draw_cloud
from meanfield.validation.figures.style import curve, panels, styled
from meanfield.validation.finite_width import jacobian_eigenvalues

_POINTS = 160


@dataclass(frozen=True)
class RecipeReport:
    """A page about a recipe.

    Attributes:
        page: the text of its HTML file.
        comparison: what its numbers are from.
        left_out: why pictures are missing, a sentence for each.
    """

    page: str
    comparison: Comparison
    left_out: tuple[str, ...]


def recipe_report(
    recipe: Recipe,
    *,
    units: int | None = None,
    kind: str = "svg",
    progress: Callable[[int, int], None] | None = None,
) -> RecipeReport:
    """A recipe as one HTML file with tables and pictures, from its own seed and with tied weights.

    Args:
        recipe: the recipe; of several layers the pictures are of the first one.
        units: units of the populations; the recipe's by default.
        kind: of the pictures, ``"svg"`` or ``"png"``.
        progress: told (initialisations analysed, initialisations).

    Raises:
        InvalidInput: if Matplotlib is not installed.
        NotConverged: if the recipe itself cannot be predicted.

    >>> import meanfield as mf
    >>> found = recipe_report(mf.recipe("vanilla", length=10, hidden=64, inputs=8, units=256), units=256)
    >>> found.page.count("<img"), found.left_out
    (4, ())
    """
    with styled():
        pass  # whether Matplotlib is there, before anything is computed
    first = Recipe(recipe.content.model_copy(update={"layers": []}))
    comparison = compare(first, units=units, progress=progress)
    shown = [comparison.recipe]
    shown += [each for each in comparison.initialisations if each.name == comparison.default and each.analysis]
    drawn: list[tuple[str, str, Callable[[], FigureData], Callable[[FigureData], Any]]] = [
        (
            "reach",
            "How the mark of an input on the last state fades with the lag.",
            lambda: reach_of(comparison),
            draw_reach,
        ),
        (
            "gradients",
            "The gradient profile: the mean square of ∂h(T)/∂h(T-τ).",
            lambda: _gradients(shown),
            _draw_profile,
        ),
        (
            "singular-values",
            "Singular values of the Jacobian of the last step: the share of them up to λ.",
            lambda: _singular_values(shown, recipe, comparison),
            _draw_distribution,
        ),
        (
            "eigenvalues",
            "Eigenvalues of the Jacobian of the last step, simulated, and their boundary where it is resolved.",
            lambda: _eigenvalues(shown, recipe, comparison),
            _draw_plane,
        ),
    ]
    pictures, left_out = [], []
    for name, caption, numbers, draw in drawn:
        try:
            data = numbers()
        except NotConverged as failure:
            left_out.append(f"{name}: not drawn: {failure}")
            continue
        with styled():
            pictures.append(Picture(name, caption, kind, picture(draw(data), kind)))
    page = html_report(recipe, pictures, verdict=" ".join([comparison.verdict, *left_out]))
    return RecipeReport(page, comparison, tuple(left_out))


def _gradients(shown: list[Initialisation]) -> FigureData:
    found = []
    for each in shown:
        assert each.analysis is not None  # they were chosen so
        profile = each.analysis.gradients.profile
        there = np.isfinite(profile.log_values) & (profile.log_values < 300.0)
        values = profile.values[there]
        errors = values * profile.relative_errors[there]
        found.append(Series.of("gradients", each.title, profile.lags[there], values, errors))
    return FigureData(tuple(found))


def _options(recipe: Recipe, comparison: Comparison) -> dict[str, Any]:
    population = recipe.content.method.population
    own = comparison.units == population["units"]
    return {
        "hidden": comparison.hidden,
        "length": comparison.length,
        "units": comparison.units,
        "groups": population["groups"] if own else None,
        "start": "zero",
        "seed": comparison.seed,
    }


def _singular_values(shown: list[Initialisation], recipe: Recipe, comparison: Comparison) -> FigureData:
    """The distribution, which exists where single units have singular values of their own and there is no density."""
    options = _options(recipe, comparison)
    laws = [singular_values(each.network, comparison.inputs, **options) for each in shown]
    at = np.linspace(0.0, 1.05 * max(law.outer_edge.value for law in laws), _POINTS)
    found = []
    for each, law in zip(shown, laws, strict=True):
        share = law.distribution(at)
        found.append(Series.of("distribution", each.title, at, share.values, share.errors))
    return FigureData(tuple(found))


def _eigenvalues(shown: list[Initialisation], recipe: Recipe, comparison: Comparison) -> FigureData:
    """Eigenvalues of a simulated network, and their boundary where it is wide enough to be resolved."""
    # Networks of the width are made of units of their own: as many as it takes, whatever the recipe had.
    options = {**_options(recipe, comparison), "units": None, "groups": None}
    found = []
    for each in shown:
        cloud = jacobian_eigenvalues(
            each.network,
            comparison.inputs,
            hidden=comparison.hidden,
            length=comparison.length,
            seed=comparison.seed,
        )
        plane = eigenvalues(each.network, comparison.inputs, **options)
        found += cloud_and_boundary(each.title, plane, cloud, Size())
    return FigureData(tuple(found))


def _draw_profile(data: FigureData) -> Any:
    figure, (axes,) = panels(1, 1, 6.0, 3.4)
    axes.set_yscale("log")
    for number, each in enumerate(data.series):
        curve(axes, each, number, label=each.name)
    lowest = min(1e-12, 1e-2 * float(np.min(data.series[0].y[data.series[0].y > 0.0])))
    highest = max(float(np.max(each.y)) for each in data.series)
    axes.set_ylim(max(lowest, 1e-200), 4.0 * highest)
    axes.set_xlabel("lag τ (steps)")
    axes.set_ylabel("gradient profile G(τ)")
    axes.legend()
    return figure


def _draw_distribution(data: FigureData) -> Any:
    figure, (axes,) = panels(1, 1, 6.0, 3.2)
    for number, each in enumerate(data.series):
        curve(axes, each, number, label=each.name)
    axes.set_ylim(0.0, 1.03)
    axes.set_xlim(0.0, float(data.series[0].x[-1]))
    axes.set_xlabel("singular value λ")
    axes.set_ylabel("share of singular values up to λ")
    axes.legend(loc="lower right")
    return figure


def _draw_plane(data: FigureData) -> Any:
    figure, found = panels(1, len(data.panels), 3.6 * len(data.panels), 4.0)
    for axes, name in zip(found, data.panels, strict=True):
        draw_cloud(axes, data, name)
        axes.set_title(name)
        places = np.concatenate([each.x for each in data.panel(name)])
        reach = 1.08 * max(1.0, float(np.max(np.abs(places))))
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("Re λ")
    found[0].set_ylabel("Im λ")
    handles = {label: handle for axes in found for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure
