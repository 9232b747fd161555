"""Slow modes of the GRU: eigenvalues pile up at one as the keep gate's recurrent gain grows."""

from __future__ import annotations

from typing import Any

import numpy as np

from meanfield.eigenvalue_plane import eigenvalues
from meanfield.inputs import Inputs
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import estimates, mean_of_networks, reference_gru
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.step_spectra import cloud_and_boundary, draw_cloud
from meanfield.validation.figures.style import curve, panels, points
from meanfield.validation.finite_width import jacobian_eigenvalues

_SHOWN = (0.0, 4.0, 16.0)
_RADIUS = 0.1
_SHARE = "share"


def compute(size: Size) -> FigureData:
    """Clouds and boundaries at three gains; shares of eigenvalues within 0.1 of one over the gain."""
    hidden, length = size.pick(300, 48), size.pick(64, 8)
    gains = np.array(size.pick((0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0), _SHOWN))
    shares, simulated, found = [], [], list[Series]()
    for gain in gains:
        network = reference_gru(keep_gain=float(gain))
        options: dict[str, Any] = {"hidden": hidden, "length": length, "seed": size.seed}
        plane = eigenvalues(network, Inputs(), start="zero", **options)
        clouds = jacobian_eigenvalues(network, Inputs(), networks=size.pick(4, 2), **options)
        shares.append(plane.slow_fraction(_RADIUS))
        simulated.append(mean_of_networks(np.mean(np.abs(clouds - 1.0) < _RADIUS, axis=1)))
        if gain in _SHOWN:
            found += cloud_and_boundary(f"σ_f = {gain:g}", plane, clouds, size)
    found.append(Series.of(_SHARE, "theory", gains, *estimates(shares)))
    found.append(Series.of(_SHARE, "simulated", gains, *np.array(simulated).T))
    return FigureData(tuple(found))


def draw(data: FigureData) -> Any:
    """Three clouds, and the share of slow modes."""
    figure, found = panels(1, 4, 10.0, 3.2, width_ratios=[1, 1, 1, 1.15])
    clouds = [name for name in data.panels if name != _SHARE]
    for axes, name in zip(found, clouds, strict=False):
        draw_cloud(axes, data, name)
        axes.set_title(name)
        axes.set_xlim(-1.25, 1.75)
        axes.set_ylim(-1.5, 1.5)
        axes.set_xlabel("Re λ")
    found[0].set_ylabel("Im λ")
    last = found[-1]
    curve(last, data.one(_SHARE, "theory"), 1, label="theory")
    points(last, data.one(_SHARE, "simulated"), 1, label="networks")
    last.set_xlabel("gain of the keep gate, σ_f")
    last.set_ylabel("share within 0.1 of one")
    last.set_title("slow modes")
    last.set_ylim(bottom=0.0)
    last.legend(loc="lower right")
    handles, labels = found[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


FIGURE = NamedFigure(
    "slow-modes",
    "A keep gate that listens to the state, with recurrent gain σ_f, piles eigenvalues of a GRU up at one: slow modes, "
    "the network's memory. Clouds are four networks of 300 units; the right panel counts eigenvalues within 0.1 of 1.",
    compute,
    draw,
)
