"""Orthonormal polynomials of a measure on the line, from its moments by Lanczos' recursion.

    √β_{k+1} p_{k+1}(z) = (z - α_k) p_k(z) - √β_k p_{k-1}(z),     z = (x - centre)/scale.

The recursion coefficients are the entries of a tridiagonal matrix, of which the eigenvalues are the nodes of the
measure's Gauss rule.

Source: G. H. Golub and J. H. Welsch, Calculation of Gauss quadrature rules (Math. Comp. 23, 1969); W. B. Gragg and
W. J. Harrod, The numerically stable reconstruction of Jacobi matrices from spectral data (Numer. Math. 44, 1984).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

Float64 = NDArray[np.float64]

_ALONE = 1e-14  # an off-diagonal entry, in deviations, beyond which a measure has no further points


@dataclass(frozen=True, eq=False)
class OrthonormalPolynomials:
    """Polynomials p_0 … p_{n-1} with E p_j p_k = δ_jk in a law.

    Attributes:
        centre, scale: of the variable in which the recursion runs.
        diagonal: α_k, (n,).
        off_diagonal: √β_k for k = 1 … n - 1, (n - 1,).
    """

    centre: float
    scale: float
    diagonal: Float64
    off_diagonal: Float64

    @property
    def count(self) -> int:
        """How many there are, n."""
        return len(self.diagonal)

    def first(self, count: int) -> OrthonormalPolynomials:
        """The first ``count`` of them."""
        return OrthonormalPolynomials(self.centre, self.scale, self.diagonal[:count], self.off_diagonal[: count - 1])

    def values(self, points: Float64) -> Float64:
        """p_k at points of any shape, (n, …).

        >>> coin = polynomials_of(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 2)
        >>> coin.values(np.array([3.0]))[:, 0].tolist()
        [1.0, 3.0]
        """
        positions = (points - self.centre) / self.scale if self.scale > 0.0 else np.zeros(np.shape(points))
        table = np.empty((self.count, *np.shape(positions)))
        table[0] = 1.0
        for k in range(self.count - 1):
            table[k + 1] = (positions - self.diagonal[k]) * table[k]
            if k > 0:
                table[k + 1] -= self.off_diagonal[k - 1] * table[k - 1]
            table[k + 1] /= self.off_diagonal[k]
        return table

    @cached_property
    def gauss(self) -> tuple[Float64, Float64]:
        """Nodes and weights of the Gauss rule, (n,) each; the weights add up to 1."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal)
        return self.centre + self.scale * values, vectors[0] ** 2

    @cached_property
    def multiplication(self) -> Float64:
        """The matrix X, (n, n), of x p_j = Σ_k X_jk p_k + (what is of degree n)."""
        tridiagonal = np.diag(self.diagonal) + np.diag(self.off_diagonal, 1) + np.diag(self.off_diagonal, -1)
        return self.centre * np.eye(self.count) + self.scale * tridiagonal


def polynomials_of(nodes: Float64, weights: Float64, count: int) -> OrthonormalPolynomials:
    """Orthonormal polynomials of a discrete measure, whose mass is taken as 1.

    Args:
        nodes: (m,).
        weights: (m,), not negative.
        count: how many, at least 1; fewer come back if the measure has fewer points.
    """
    mass = np.sum(weights)
    centre = float(weights @ nodes / mass)
    scale = float(np.sqrt(weights @ (nodes - centre) ** 2 / mass))
    if scale <= _ALONE * abs(centre) or scale == 0.0:
        return OrthonormalPolynomials(centre, 0.0, np.zeros(1), np.empty(0))
    positions = (nodes - centre) / scale
    basis = np.empty((count, len(nodes)))
    basis[0] = np.sqrt(weights / mass)
    diagonal, off = np.zeros(count), np.zeros(count)
    for step in range(count):
        vector = positions * basis[step]
        diagonal[step] = vector @ basis[step]
        if step == count - 1:
            break
        # Orthogonalised against all before, twice: the three-term recursion alone loses orthogonality.
        for _ in range(2):
            vector -= (basis[: step + 1] @ vector) @ basis[: step + 1]
        off[step] = np.sqrt(vector @ vector)
        if off[step] < _ALONE:
            count = step + 1
            break
        basis[step + 1] = vector / off[step]
    return OrthonormalPolynomials(centre, scale, diagonal[:count], off[: count - 1])
