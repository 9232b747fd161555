"""Singular values and eigenvalues of the Jacobian of one step: theory beside simulated networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.eigenvalue_plane import Eigenvalues, eigenvalues
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.singular_value_density import singular_values
from meanfield.solvers.eigenvalue_boundary import RESOLUTION
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import reference_gru, reference_lstm
from meanfield.validation.figures.series import FigureData, Series
from meanfield.validation.figures.style import CLOUD, MUTED, THEORY, panels
from meanfield.validation.finite_width import jacobian_eigenvalues, jacobian_singular_values

_BINS = 60


def _networks() -> dict[str, Network]:
    return {"gru": reference_gru(), "lstm": reference_lstm(2.0)}


def _options(size: Size) -> dict[str, Any]:
    return {"hidden": size.pick(512, 48), "length": size.pick(64, 8), "seed": size.seed}


def compute_singular_values(size: Size) -> FigureData:
    """Histograms over all simulated networks, with the errors of counts, and the density."""
    found = []
    for name, network in _networks().items():
        options = _options(size)
        law = singular_values(network, Inputs(), start="zero", **options)
        values = jacobian_singular_values(network, Inputs(), networks=size.pick(8, 2), **options)
        counts, edges = np.histogram(values, bins=size.pick(_BINS, 12))
        width = float(edges[1] - edges[0])
        heights = np.array([counts, np.sqrt(counts)]) / (values.size * width)
        found.append(Series.of(name, "simulated", 0.5 * (edges[1:] + edges[:-1]), *heights))
        largest = max(float(values.max()), law.outer_edge.value)
        density = law.density(np.linspace(0.002, 1.05, size.pick(240, 20)) * largest)
        found.append(Series.of(name, "theory", density.points, density.values, density.errors))
    return FigureData(tuple(found))


def draw_singular_values(data: FigureData) -> Any:
    """A histogram and its density for every cell."""
    figure, found = panels(1, 2, 7.4, 3.0)
    for axes, name in zip(found, data.panels, strict=True):
        bars, law = data.one(name, "simulated"), data.one(name, "theory")
        width = float(bars.x[1] - bars.x[0])
        axes.bar(bars.x, bars.y, width=width, color=CLOUD, edgecolor="white", linewidth=0.3, label="networks")
        axes.plot(law.x, law.y, color=THEORY, linewidth=2.0, label="theory")
        axes.set_ylim(0.0, 1.18 * float(np.max(bars.y)))
        axes.set_xlim(0.0, float(law.x[-1]))
        axes.set_xlabel("singular value λ")
        axes.set_title(name)
        axes.legend(loc="upper right")
    found[0].set_ylabel("density")
    return figure


def compute_eigenvalues(size: Size) -> FigureData:
    """Eigenvalues of simulated networks, Re λ and Im λ, and the boundary with its errors across."""
    found = []
    for name, network in _networks().items():
        plane = eigenvalues(network, Inputs(), start="zero", **_options(size))
        cloud = jacobian_eigenvalues(network, Inputs(), networks=size.pick(3, 2), **_options(size))
        found += cloud_and_boundary(name, plane, cloud, size)
    return FigureData(tuple(found))


def cloud_and_boundary(panel: str, plane: Eigenvalues, cloud: NDArray[np.complex128], size: Size) -> list[Series]:
    """Eigenvalues of simulated networks, and the closed curves around them."""
    found = [Series.of(panel, "simulated", cloud.real.ravel(), cloud.imag.ravel())]
    for number, contour in enumerate(plane.contours(size.pick(RESOLUTION, 12)), start=1):
        closed = np.append(contour.points, contour.points[:1])
        errors = np.append(contour.errors, contour.errors[:1])
        found.append(Series.of(panel, f"boundary {number}", closed.real, closed.imag, errors))
    return found


def draw_eigenvalues(data: FigureData) -> Any:
    """A cloud and its boundary for every cell, with the unit circle."""
    figure, found = panels(1, 2, 7.4, 4.1)
    for axes, name in zip(found, data.panels, strict=True):
        draw_cloud(axes, data, name)
        axes.set_title(name)
        axes.set_xlim(-1.2, 1.3)
        axes.set_ylim(-1.2, 1.2)
        axes.set_xlabel("Re λ")
    found[0].set_ylabel("Im λ")
    handles, labels = found[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def draw_cloud(axes: Any, data: FigureData, name: str) -> None:
    """Eigenvalues and their boundary in a panel, with the unit circle."""
    cloud = data.one(name, "simulated")
    size = {"markersize": 2.2, "markeredgewidth": 0.0}
    axes.plot(cloud.x, cloud.y, "o", color=CLOUD, label="simulated eigenvalues", rasterized=True, **size)
    for number, each in enumerate(each for each in data.panel(name) if each.name.startswith("boundary")):
        label = "boundary, theory" if number == 0 else None
        axes.plot(each.x, each.y, color=THEORY, linewidth=1.6, label=label)
    angles = np.linspace(0.0, 2.0 * np.pi, 300)
    axes.plot(np.cos(angles), np.sin(angles), color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), label="unit circle")
    axes.set_aspect("equal", adjustable="box")


SINGULAR_VALUES = NamedFigure(
    "singular-values",
    "Singular values of the Jacobian of one step of a GRU and of an LSTM of 512 units, over all state variables: "
    "histograms of eight networks and the density that theory gives.",
    compute_singular_values,
    draw_singular_values,
)
EIGENVALUES = NamedFigure(
    "eigenvalues",
    "Eigenvalues of the same Jacobians in the complex plane, and the boundary of their support. What touches the unit "
    "circle at 1 is remembered for long.",
    compute_eigenvalues,
    draw_eigenvalues,
)
