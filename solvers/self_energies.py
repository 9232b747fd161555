"""What random matrices add to the potential of the Dyson equation, for Gaussian, orthogonal and band matrices.

A matrix Ŵ_k of mean square singular value one answers η on its rows by y = b η, and p on its columns by π = a p. With
x = ⟨∂η/∂y⟩ and v = ⟨∂p/∂π⟩ of the units, the potential of the Dyson equation is

    Φ = E log det(K Π(-α)) + Σ_k Ψ(a_k, b_k),    α_c = Σ_{k reads c} a_k,    x = ∂Ψ/∂b,    v = ∂Ψ/∂a.

Matrices that are unchanged in law by rotations from both sides are R-diagonal and free from the units (Nica and
Speicher, Lectures on the combinatorics of free probability, lecture 15), and so a v = b x depends on x v alone:

- Gaussian: Ψ = a b. Matrices that read the same carrier are as one, with α_c and β_c = v_c as unknowns.
- orthogonal: a v = (√(1 + 4 x v) - 1)/2, in terms of a and b the single-valued x = a/(1 - a b), v = b/(1 - a b), and
  Ψ = -log(1 - a b).
- singular values s of any law, by subordination: Ψ is stationary in two more unknowns p and q,

      Ψ = E log(1 - s² p q) - log(1 - a p) - log(1 - b q).

For orthogonal matrices p = b and q = a. All unknowns have Im ≤ 0 in the upper half plane.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.band_averages import BandAverages
from meanfield.solvers.continuous_laws import UniformBand
from meanfield.solvers.free_laws import MarchenkoPastur, PointMass, PositiveLaw

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_RESOLUTION = 1e-7


class SelfEnergy(ABC):
    """Ψ for all matrices of a circuit.

    Attributes:
        size: number of unknowns.
        far: the unknowns times w far from the spectrum, (size,).
        to_units: which unknowns add up to which variables of the units' determinants, the α of every carrier and the b
            of every matrix, (size, variables); None if they are the same.
        resolution: relative distance from an atom at which rounding hides it; 0 if there are none but those of units.
    """

    size: int
    far: Float64
    to_units: Float64 | None = None
    resolution: float = 0.0

    def of_units(self, unknowns: Complex128) -> Complex128:
        """The variables of the units' determinants, (points, variables)."""
        return unknowns if self.to_units is None else unknowns @ self.to_units

    @abstractmethod
    def add_derivatives(self, unknowns: Complex128, gradient: Complex128, hessian: Complex128) -> None:
        """Add those of ΣΨ to the gradient (points, size) and the Hessian (points, size, size)."""

    @abstractmethod
    def iterated(self, unknowns: Complex128, gradient: Complex128) -> Complex128:
        """A step of the fixed-point iteration from the whole gradient of Φ, (points, size)."""

    @abstractmethod
    def phase(self, unknowns: Complex128) -> Float64:
        """Im ΣΨ, continuous in the upper half plane, (points,)."""


class GaussianEnergy(SelfEnergy):
    """Of Gaussian matrices, unknowns (α, β).

    Args:
        returned, power: α w and β w far away, (C,) each.
    """

    def __init__(self, returned: Float64, power: Float64) -> None:
        self.size, self.far = 2 * len(power), np.concatenate((returned, power))
        self._partner = np.roll(np.arange(self.size), len(power))

    def add_derivatives(self, unknowns: Complex128, gradient: Complex128, hessian: Complex128) -> None:
        gradient += unknowns[:, self._partner]
        hessian[:, np.arange(self.size), self._partner] += 1.0

    def iterated(self, unknowns: Complex128, gradient: Complex128) -> Complex128:
        # The gradient is E[∂ log det] plus the partner; a fixed point of the partner is where it vanishes.
        return np.asarray(unknowns - gradient[:, self._partner])

    def phase(self, unknowns: Complex128) -> Float64:
        half = self.size // 2
        return np.asarray(np.sum((unknowns[:, :half] * unknowns[:, half:]).imag, axis=1))


class OrthogonalEnergy(SelfEnergy):
    """Of orthogonal matrices, unknowns (a, b), one of each a matrix.

    Args:
        returned: a w far away, (G,).
        power: the same of v, (C,).
        reads: which carrier every matrix reads, (G,).
    """

    resolution = _RESOLUTION

    def __init__(self, returned: Float64, power: Float64, reads: NDArray[np.intp]) -> None:
        self.size, self.far = 2 * len(reads), np.concatenate((returned, power[reads]))
        self.to_units = _to_units(reads, len(power), self.size)

    def add_derivatives(self, unknowns: Complex128, gradient: Complex128, hessian: Complex128) -> None:
        a, b = np.split(unknowns, 2, axis=1)
        share = 1.0 / (1.0 - a * b)
        gradient += np.concatenate((b * share, a * share), axis=1)
        i, j = np.split(np.arange(self.size), 2)
        hessian[:, i, i] += (b * share) ** 2
        hessian[:, j, j] += (a * share) ** 2
        hessian[:, i, j] += share**2
        hessian[:, j, i] += share**2

    def iterated(self, unknowns: Complex128, gradient: Complex128) -> Complex128:
        a, b = np.split(unknowns, 2, axis=1)
        rest_a, rest_b = np.split(gradient, 2, axis=1)
        v, x = b / (1.0 - a * b) - rest_a, a / (1.0 - a * b) - rest_b
        return np.concatenate((x / (1.0 + b * x), v / (1.0 + a * v)), axis=1)

    def phase(self, unknowns: Complex128) -> Float64:
        a, b = np.split(unknowns, 2, axis=1)
        # 1 - a b = b/v, with b and v both in the lower half plane.
        return np.asarray(np.sum(np.abs(np.angle(b)) - np.abs(np.angle(b / (1.0 - a * b))), axis=1))


class BandEnergy(SelfEnergy):
    """Of matrices with singular values in a band, unknowns (a, b, p, q), one of each a matrix.

    Args:
        band: of singular values with mean square one.
        returned, power, reads: see :class:`OrthogonalEnergy`.
    """

    resolution = _RESOLUTION

    def __init__(self, band: BandAverages, returned: Float64, power: Float64, reads: NDArray[np.intp]) -> None:
        self._band = band
        self.size = 4 * len(reads)
        self.far = np.concatenate((returned, power[reads], power[reads], returned))
        self.to_units = _to_units(reads, len(power), self.size)

    def add_derivatives(self, unknowns: Complex128, gradient: Complex128, hessian: Complex128) -> None:
        a, b, p, q = np.split(unknowns, 4, axis=1)
        column, row = 1.0 / (1.0 - a * p), 1.0 / (1.0 - b * q)
        h, slope = self._band.response(p, q)
        gradient += np.concatenate((p * column, q * row, a * column - q * h, b * row - p * h), axis=1)
        i, j, k, m = np.split(np.arange(self.size), 4)
        hessian[:, i, i] += (p * column) ** 2
        hessian[:, j, j] += (q * row) ** 2
        hessian[:, k, k] += (a * column) ** 2 - q**2 * slope
        hessian[:, m, m] += (b * row) ** 2 - p**2 * slope
        for first, second, value in ((i, k, column**2), (j, m, row**2), (k, m, -(h + p * q * slope))):
            hessian[:, first, second] += value
            hessian[:, second, first] += value

    def iterated(self, unknowns: Complex128, gradient: Complex128) -> Complex128:
        a, b, p, q = np.split(unknowns, 4, axis=1)
        rest_a, rest_b = np.split(gradient, 4, axis=1)[:2]
        v, x = p / (1.0 - a * p) - rest_a, q / (1.0 - b * q) - rest_b
        p, q = v / (1.0 + a * v), x / (1.0 + b * x)
        h = self._band.response(p, q)[0]
        share = h / (1.0 + p * q * h)
        return np.concatenate((q * share, p * share, p, q), axis=1)

    def phase(self, unknowns: Complex128) -> Float64:
        a, b, p, q = np.split(unknowns, 4, axis=1)
        v, x = p / (1.0 - a * p), q / (1.0 - b * q)
        # Ψ = E log(1/(p q) - s²) + log v + log x.
        own = self._band.phase(p, q) - np.abs(np.angle(v)) - np.abs(np.angle(x))
        return np.asarray(np.sum(own, axis=1))


def is_gaussian(matrices: PositiveLaw | None) -> bool:
    """Whether squared singular values of this law, None for Gaussian, are those of a square Gaussian matrix."""
    return matrices is None or (isinstance(matrices, MarchenkoPastur) and matrices.ratio == 1)


def band_of(matrices: PositiveLaw | None) -> BandAverages | None:
    """The band of singular values of mean square one, None for orthogonal matrices.

    Raises:
        ValueError: if the law is neither a band nor one point.
    """
    if isinstance(matrices, UniformBand):
        return BandAverages.of(float(matrices.least), float(matrices.largest))
    if isinstance(matrices, PointMass):
        return None
    raise ValueError(f"matrices: must be Gaussian, or have one singular value or a band of them, got {matrices!r}")


def self_energy(matrices: PositiveLaw | None, returned: Float64, power: Float64, reads: NDArray[np.intp]) -> SelfEnergy:
    """Ψ of matrices of a law of squared singular values; only the shape of the law counts.

    Raises:
        ValueError: if the law is not one of those above.

    >>> haar = self_energy(PointMass(1.0), np.ones(1), np.ones(1), np.array([0]))
    >>> gradient, hessian = np.zeros((1, 2), complex), np.zeros((1, 2, 2), complex)
    >>> haar.add_derivatives(np.array([[0.5, 0.5j]]), gradient, hessian)
    >>> gradient.round(3)  # b/(1 - a b), a/(1 - a b)
    array([[-0.118+0.471j,  0.471+0.118j]])
    """
    if is_gaussian(matrices):
        return GaussianEnergy(returned, power)
    band = band_of(matrices)
    if band is None:
        return OrthogonalEnergy(returned, power, reads)
    return BandEnergy(band, returned, power, reads)


def _to_units(reads: NDArray[np.intp], carriers: int, size: int) -> Float64:
    """α_c as the sum of the a of its matrices, b as they are."""
    matrices = len(reads)
    found = np.zeros((size, carriers + matrices))
    found[np.arange(matrices), reads] = 1.0
    found[matrices + np.arange(matrices), carriers + np.arange(matrices)] = 1.0
    return found
