"""The spectra of one step, theory beside simulated networks: a histogram and its density, a cloud and its boundary."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.eigenvalue_plane import eigenvalues
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.pictures import new_figure, save_figure
from meanfield.plane_curves import EigenvalueContour
from meanfield.sampling.population import Regime
from meanfield.singular_value_density import Curve, singular_values
from meanfield.validation.finite_width import jacobian

Float64 = NDArray[np.float64]

_THEORY, _SIMULATED, _CIRCLE = "#0b3c5d", "#d9a441", "#8a8a8a"  # told apart in grey, too


@dataclass(frozen=True)
class SimulatedSpectra:
    """What a picture shows.

    Attributes:
        network: whose Jacobian it is.
        hidden: its width N.
        singular_values: of the simulated networks, (networks × S N,).
        eigenvalues: of the simulated networks, complex, (networks × S N,).
        density: of the singular values, theory.
        contours: boundary of the eigenvalues, theory.
    """

    network: Network
    hidden: int
    singular_values: Float64
    eigenvalues: NDArray[np.complex128]
    density: Curve
    contours: tuple[EigenvalueContour, ...]

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Draw both into a picture, its format that of the file's name.

        Raises:
            InvalidInput: if Matplotlib is not installed, or does not know the format.
            OSError: if the file cannot be written.
        """
        figure = new_figure(9.0, 4.0)
        left, right = figure.subplots(1, 2)
        left.hist(self.singular_values, bins=60, density=True, color=_SIMULATED, label=f"simulated, N = {self.hidden}")
        left.plot(self.density.points, self.density.values, color=_THEORY, linewidth=1.8, label="theory")
        left.set_xlabel("singular value λ")
        left.set_ylabel("density")
        left.set_ylim(0.0, 1.15 * float(np.max(np.histogram(self.singular_values, bins=60, density=True)[0])))
        left.legend(frameon=False)
        right.plot(self.eigenvalues.real, self.eigenvalues.imag, ".", color=_SIMULATED, markersize=2.5)
        for contour in self.contours:
            closed = np.append(contour.points, contour.points[:1])
            right.plot(closed.real, closed.imag, color=_THEORY, linewidth=1.8)
        angles = np.linspace(0.0, 2.0 * np.pi, 200)
        right.plot(np.cos(angles), np.sin(angles), color=_CIRCLE, linewidth=0.8, linestyle="--")
        right.set_aspect("equal")
        right.set_xlabel("Re λ")
        right.set_ylabel("Im λ")
        figure.suptitle(f"{self.network.cell}: Jacobian of one step")
        save_figure(figure, path)


def simulated_spectra(
    network: Network,
    inputs: Inputs | None = None,
    *,
    hidden: int = 256,
    length: int = 64,
    networks: int = 2,
    points: int = 240,
    regime: Regime = "tied",
    seed: int = 0,
) -> SimulatedSpectra:
    """Singular values and eigenvalues of simulated networks, and what theory says of them.

    Args:
        network, inputs: what to look at; white inputs of power 1 by default.
        hidden: width N of the networks.
        length: steps from the zero state; the Jacobian is that of the last one.
        networks: how many are simulated.
        points: at which the density is computed, up to just beyond the largest singular value.
        regime, seed: see :func:`meanfield.gradients`.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the theory's equations were not solved.

    >>> import meanfield as mf
    >>> network = mf.Network("vanilla", {"h": mf.Gate(1.0, 0.5)})
    >>> found = simulated_spectra(network, hidden=64, length=8, networks=1, points=20)
    >>> found.singular_values.shape, bool(found.density.points[-1] > found.singular_values.max())
    ((64,), True)
    """
    inputs = inputs if inputs is not None else Inputs()
    law = singular_values(network, inputs, hidden=hidden, length=length, regime=regime, start="zero", seed=seed)
    plane = eigenvalues(network, inputs, hidden=hidden, length=length, regime=regime, start="zero", seed=seed)
    drawn = jacobian(network, inputs, hidden=hidden, length=length, networks=networks, seed=seed, regime=regime)
    values: Float64 = np.asarray(np.linalg.svd(drawn, compute_uv=False).ravel(), dtype=np.float64)
    largest = max(float(values.max()), law.outer_edge.value)
    return SimulatedSpectra(
        network=network,
        hidden=hidden,
        singular_values=values,
        eigenvalues=np.asarray(np.linalg.eigvals(drawn).ravel(), dtype=np.complex128),
        density=law.density(np.linspace(0.002, 1.05, points) * largest),
        contours=plane.contours(),
    )
