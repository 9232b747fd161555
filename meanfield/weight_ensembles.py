"""Ensembles of recurrent matrices: independent Gaussian entries, orthogonal, and prescribed singular values.

All are invariant under rotations from both sides, so that as N → ∞ they are free from diagonal matrices, and what
matters of them is the law of their squared singular values (theory, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput

if TYPE_CHECKING:
    from meanfield.solvers.free_laws import PositiveLaw

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Ensemble:
    """Law of recurrent matrices W of recurrent gain σ.

    ==========  ==========================================================  ==============  =======================
    name        W of N × N                                                  E tr W Wᵀ/N     E tr (W Wᵀ)²/N, N → ∞
    ==========  ==========================================================  ==============  =======================
    gaussian    independent entries N(0, σ²/N)                              σ²              2σ⁴
    orthogonal  σ O, O of the uniform (Haar) law                            σ²              σ⁴
    svd         σ U diag(s) Vᵀ, U and V of the Haar law, s independent      σ²(c² + r²/3)   σ⁴(c⁴ + 2c²r² + r⁴/5)
                and uniform from c - r to c + r
    ==========  ==========================================================  ==============  =======================

    Attributes:
        name: ``"gaussian"``, ``"orthogonal"`` or ``"svd"``.
        centre: c, of svd only.
        half_width: r, of svd only, from 0 to c; 0.01 as in Zhang et al. 2018 by default.

    Raises:
        InvalidInput: if the name is unknown, or a number is out of its range or given to an ensemble that has none.

    >>> Ensemble("svd", half_width=0.5).moments()
    (1.0833333333333333, 1.5125)
    """

    name: str = "gaussian"
    centre: float = 1.0
    half_width: float = 0.01

    def __post_init__(self) -> None:
        if self.name not in _DRAWS:
            raise InvalidInput(f"ensemble: must be one of {', '.join(map(repr, _DRAWS))}, got {self.name!r}")
        check_number("centre", self.centre, 0.0, math.inf)
        if self.name == "svd":
            check_number("half_width", self.half_width, 0.0, self.centre)
        for each in fields(self)[1:]:
            if self.name != "svd" and getattr(self, each.name) != each.default:
                raise InvalidInput(f"{each.name}: is of ensemble 'svd' only, got {getattr(self, each.name)!r}")

    def law(self, gain: float) -> PositiveLaw:
        """The law of squared singular values of W at recurrent gain σ as N → ∞.

        >>> Ensemble("orthogonal").law(2.0).highest
        4.0
        """
        from meanfield.solvers.continuous_laws import UniformBand
        from meanfield.solvers.free_laws import MarchenkoPastur, PointMass

        low, high = gain * (self.centre - self.half_width), gain * (self.centre + self.half_width)
        if gain == 0.0:
            return PointMass(0.0)
        if self.name == "gaussian":
            return MarchenkoPastur(1.0, gain**2)
        if self.name == "orthogonal":
            return PointMass(gain**2)
        return UniformBand(low, high) if low < high else PointMass(high**2)

    def moments(self) -> tuple[float, float]:
        """E tr W Wᵀ/N and E tr (W Wᵀ)²/N at σ = 1, N → ∞; others have factors σ² and σ⁴."""
        if self.name == "gaussian":
            return 1.0, 2.0
        if self.name == "orthogonal":
            return 1.0, 1.0
        c, r = self.centre**2, self.half_width**2
        return c + r / 3.0, c**2 + 2.0 * c * r + r**2 / 5.0

    def as_json(self) -> str | dict[str, Any]:
        """Its name; of svd an object with its numbers."""
        if self.name != "svd":
            return self.name
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def draw(self, generator: np.random.Generator, rows: int, columns: int, *, gain: float = 1.0) -> Float64:
        """Draw a matrix.

        Args:
            generator: of the random numbers.
            rows, columns: of the matrix; it acts on column vectors.
            gain: σ.

        Returns:
            (rows, columns). The variance of every entry is σ²/columns for gaussian; σ²/max(rows, columns) for
            orthogonal, which has all min(rows, columns) singular values at σ; and σ²(c² + r²/3)/max(rows, columns) for
            svd, whose U and V have orthonormal columns.

        Raises:
            InvalidInput: if a size is not positive, or the gain is negative or not finite.

        >>> W = Ensemble("orthogonal").draw(np.random.default_rng(0), 3, 5, gain=2.0)
        >>> np.allclose(W @ W.T, 4.0 * np.eye(3))
        True
        """
        check_count("rows", rows, 1)
        check_count("columns", columns, 1)
        check_number("gain", gain, 0.0, math.inf)
        return _DRAWS[self.name](self, generator, rows, columns, gain)

    def _gaussian(self, generator: np.random.Generator, rows: int, columns: int, gain: float) -> Float64:
        return generator.standard_normal((rows, columns)) * (gain / np.sqrt(columns))

    def _orthogonal(self, generator: np.random.Generator, rows: int, columns: int, gain: float) -> Float64:
        if rows < columns:
            return gain * haar_columns(generator, columns, rows).T
        return gain * haar_columns(generator, rows, columns)

    def _svd(self, generator: np.random.Generator, rows: int, columns: int, gain: float) -> Float64:
        count = min(rows, columns)
        left, right = haar_columns(generator, rows, count), haar_columns(generator, columns, count)
        values = self.centre + self.half_width * generator.uniform(-1.0, 1.0, count)
        return gain * (left * values) @ right.T


_Draw = Callable[[Ensemble, np.random.Generator, int, int, float], Float64]
_DRAWS: dict[str, _Draw] = {
    "gaussian": Ensemble._gaussian,
    "orthogonal": Ensemble._orthogonal,
    "svd": Ensemble._svd,
}


def haar_columns(generator: np.random.Generator, rows: int, columns: int) -> Float64:
    """Orthonormal columns of the uniform (Haar) law, (rows, columns) with columns ≤ rows.

    The QR decomposition of a Gaussian matrix is unique, and Q uniform, once the diagonal of R is positive.

    Source: F. Mezzadri, How to generate random matrices from the classical compact groups (Notices AMS 54, 2007).

    >>> Q = haar_columns(np.random.default_rng(0), 4, 2)
    >>> np.allclose(Q.T @ Q, np.eye(2))
    True
    """
    q, r = np.linalg.qr(generator.standard_normal((rows, columns)))
    return q * np.copysign(1.0, np.diagonal(r))


def as_ensemble(ensemble: Ensemble | str) -> Ensemble:
    """An ensemble, or that of this name with its default numbers.

    Raises:
        InvalidInput: if there is none.
    """
    if isinstance(ensemble, Ensemble):
        return ensemble
    if not isinstance(ensemble, str):
        raise InvalidInput(f"ensemble: must be an Ensemble or its name, got {ensemble!r}")
    return Ensemble(ensemble)
