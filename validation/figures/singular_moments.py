"""The first two moments of squared singular values over a parameter, beside simulated networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.singular_value_density import singular_values
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import estimates, mean_of_networks, reference_gru, reference_lstm
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import curve, panels, points
from meanfield.validation.finite_width import jacobian_singular_values

Float64 = NDArray[np.float64]


def _vanilla(gain: float) -> Network:
    return Network("vanilla", {"h": Gate(gain, 0.5, 0.0, 0.2)})


# By cell: the axis, its range, and the network at a place on it.
_CELLS: dict[str, tuple[str, tuple[float, float], Callable[[float], Network]]] = {
    "vanilla": ("recurrent gain, σ_h", (0.3, 3.0), _vanilla),
    "gru": ("recurrent gain, σ_h", (0.5, 5.0), reference_gru),
    "lstm": ("mean bias of the forget gate, μ_f", (-2.0, 4.0), reference_lstm),
}
_MOMENTS = {"m1": "m₁ = mean of λ²", "m2": "m₂ = mean of λ⁴"}


def compute(size: Size) -> FigureData:
    """m1 and m2 of the Jacobian of one step, tied weights, 64 steps from the zero state."""
    length = size.pick(64, 10)
    found = []
    for cell, (_, (low, high), network_at) in _CELLS.items():
        at = np.linspace(low, high, size.pick(13, 3))
        options: dict[str, Any] = {"length": length, "seed": size.seed}
        laws = [
            singular_values(network_at(float(x)), Inputs(), start="zero", hidden=size.pick(256, 64), **options)
            for x in at
        ]
        for name, moments in (
            ("m1", [law.first_moment for law in laws]),
            ("m2", [law.second_moment for law in laws]),
        ):
            found.append(Series.of(cell, name, at, *estimates(moments)))
        shown = at[:: size.pick(2, 1)]
        squares = [
            jacobian_singular_values(
                network_at(float(x)), Inputs(), hidden=size.pick(256, 32), networks=size.pick(4, 2), **options
            )
            ** 2
            for x in shown
        ]
        for name, power in (("m1", 1), ("m2", 2)):
            averages = [mean_of_networks(np.mean(each**power, axis=1)) for each in squares]
            values, errors = np.array(averages).T
            found.append(Series.of(cell, f"{name}, simulated", shown, values, errors))
    return FigureData(tuple(found))


def draw(data: FigureData) -> Any:
    """A panel for every cell."""
    figure, found = panels(1, 3, 8.6, 3.1)
    for axes, cell in zip(found, data.panels, strict=True):
        axes.set_yscale("log")
        for number, (name, label) in enumerate(_MOMENTS.items()):
            curve(axes, data.one(cell, name), number + 1, label=label)
            points(axes, data.one(cell, f"{name}, simulated"), number + 1)
        axes.set_xlabel(_CELLS[cell][0])
        axes.set_title(cell)
    found[0].set_ylabel("moments of singular values λ")
    handles, labels = found[0].get_legend_handles_labels()
    (mark,) = found[0].plot([], [], "o", color="#555555", markerfacecolor="white")
    figure.legend([*handles, mark], [*labels, "simulated networks"], loc="outside lower center", ncols=3)
    return figure


FIGURE = NamedFigure(
    "singular-moments",
    "Moments of the singular values of the Jacobian of one step over a gain or a bias, tied weights. Lines are theory, "
    "markers are networks of 256 units with the standard error over four of them.",
    compute,
    draw,
)
