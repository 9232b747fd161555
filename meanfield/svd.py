"""Recurrent matrices by their singular value decomposition, with singular values that cannot leave a band.

W = U diag(s) Vᵀ, where U and V are products of reflectors and s = s0 + 2r(σ(p) - 1/2) lies between s0 - r and s0 + r
for all p (theory, section 7). As many reflectors as coordinates reach every matrix with singular values in the band;
fewer reach a part of them at a lower cost. Nothing of n × n is formed in products.

Source: J. Zhang, Q. Lei and I. S. Dhillon, Stabilizing gradients for deep neural networks via efficient SVD
parameterization (ICML 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.solvers.householder import HouseholderProduct, haar_reflectors, reflectors_of

Float64 = NDArray[np.float64]
Floating = NDArray[np.floating[Any]]  # float32 or float64
Values = Literal["centre", "uniform"]

_ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class SVDGradient:
    """Derivatives of Σ ȳ·W x over the columns of a batch.

    Attributes:
        left: by the reflectors of U, (m1, rows).
        right: by those of V, (m2, columns).
        logits: by p, (min(rows, columns),).
        batch: by x, of the shape of x.
    """

    left: Floating
    right: Floating
    logits: Floating
    batch: Floating


@dataclass(frozen=True, eq=False)
class SVDMatrix:
    """W = U diag(s) Vᵀ of rows × columns, by its parameters.

    All numbers are float32 if all three arrays are, else float64.

    Attributes:
        left: reflectors of U, (m1, rows) with 1 ≤ m1 ≤ rows. U = H(u_0) H(u_1) …; entries before the diagonal count as
            zero, a vector of zeros as no reflector, and lengths do not matter.
        right: reflectors of V, (m2, columns) with 1 ≤ m2 ≤ columns.
        logits: p, (min(rows, columns),).
        centre: s0, positive.
        half_width: r, between 0 and s0.

    Raises:
        InvalidInput: if shapes do not match, a number is not finite, or r is not between 0 and s0.

    >>> W = SVDMatrix.draw(np.random.default_rng(0), 4, 4)
    >>> W.singular_values
    array([1., 1., 1., 1.])
    >>> np.allclose(W.apply_inverse(W.apply([1.0, 2.0, 3.0, 4.0])), [1.0, 2.0, 3.0, 4.0])
    True
    """

    left: Floating
    right: Floating
    logits: Floating
    centre: float = 1.0
    half_width: float = 0.01

    def __post_init__(self) -> None:
        check_band(self.centre, self.half_width)
        arrays = [np.asarray(each) for each in (self.left, self.right, self.logits)]
        single = all(each.dtype == np.float32 for each in arrays)
        for name, array, axes in zip(("left", "right", "logits"), arrays, (2, 2, 1), strict=True):
            object.__setattr__(self, name, _finite(name, array, axes, single))
            getattr(self, name).setflags(write=False)
        for name in ("left", "right"):
            count, size = getattr(self, name).shape
            if not 1 <= count <= size:
                raise InvalidInput(
                    f"{name}: must be from 1 to {size} reflectors of {size} coordinates, got shape {(count, size)}"
                )
        least = min(self.shape)
        if self.logits.shape != (least,):
            raise InvalidInput(
                f"logits: must be of shape ({least},) for left of shape {self.left.shape} and right of shape "
                f"{self.right.shape}, got {self.logits.shape}"
            )

    @classmethod
    def draw(
        cls,
        generator: np.random.Generator,
        rows: int,
        columns: int,
        *,
        left_count: int | None = None,
        right_count: int | None = None,
        centre: float = 1.0,
        half_width: float = 0.01,
        values: Values = "centre",
    ) -> SVDMatrix:
        """Draw reflectors that turn coordinate axes to uniform directions.

        Complete ones make U and V of the uniform (Haar) law, so that ``values="uniform"`` gives the law of
        ``Ensemble("svd")``; with fewer the first m1 columns of U and m2 of V are uniform.

        Args:
            generator: of the random numbers.
            rows, columns: of the matrix.
            left_count, right_count: m1 and m2, complete by default.
            centre, half_width: s0 and r.
            values: ``"centre"``, all singular values at s0, or ``"uniform"``, uniform in the band.

        Raises:
            InvalidInput: if a count does not fit, the band is none, or there are no such values.

        >>> SVDMatrix.draw(np.random.default_rng(0), 3, 5, left_count=2).left.shape
        (2, 3)
        """
        check_count("rows", rows, 1)
        check_count("columns", columns, 1)
        check_band(centre, half_width)
        if values not in get_args(Values):
            raise InvalidInput(f"values: must be 'centre' or 'uniform', got {values!r}")
        left_count = rows if left_count is None else left_count
        right_count = columns if right_count is None else right_count
        check_reflectors("left_count", left_count, rows)
        check_reflectors("right_count", right_count, columns)
        left = haar_reflectors(generator, left_count, rows)
        right = haar_reflectors(generator, right_count, columns)
        least = min(rows, columns)
        logits = generator.logistic(size=least) if values == "uniform" else np.zeros(least)
        return cls(left, right, logits, centre, half_width)

    @classmethod
    def from_matrix(
        cls, matrix: ArrayLike, *, centre: float | None = None, half_width: float | None = None
    ) -> SVDMatrix:
        """The parameters of a given matrix, with min(rows, columns) reflectors on both sides.

        Args:
            matrix: W, (rows, columns), of full rank.
            centre, half_width: s0 and r of a band that holds its singular values, both or none; by default that from
                a/2 to b + a/2 where they lie from a to b.

        Returns:
            The matrix, equal to W to rounding.

        Raises:
            InvalidInput: if the matrix is not finite, of lower rank, or has a singular value outside the band or on
                its border, which no p reaches.

        >>> W = SVDMatrix.from_matrix([[0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]])
        >>> np.allclose(W.matrix(), [[0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]])
        True
        """
        given = _finite("matrix", np.asarray(matrix), 2, single=False)
        if 0 in given.shape:
            raise InvalidInput(f"matrix: must have rows and columns, got shape {given.shape}")
        left, values, right = np.linalg.svd(given, full_matrices=False)
        low, high = float(values[-1]), float(values[0])
        if low <= _ROUNDING * high * max(given.shape):
            raise InvalidInput(f"matrix: must be of full rank, got singular values from {low:.3g} to {high:.3g}")
        if (centre is None) != (half_width is None):
            raise InvalidInput("centre: must be given together with half_width, or neither")
        middle = 0.5 * (low + high) if centre is None else centre
        reach = 0.5 * high if half_width is None else half_width
        check_band(middle, reach)
        relative = (values - middle) / reach
        if not np.all(np.abs(relative) < 1.0):
            raise InvalidInput(
                f"matrix: its singular values must lie strictly between {middle - reach:.6g} and {middle + reach:.6g}, "
                f"got some from {low:.6g} to {high:.6g}"
            )
        return cls(reflectors_of(left), reflectors_of(right.T), 2.0 * np.arctanh(relative), middle, reach)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of W."""
        return self.left.shape[1], self.right.shape[1]

    @cached_property
    def singular_values(self) -> Floating:
        """s, in the order of p, (min(rows, columns),); within rounding of the band at its ends."""
        values: Floating = self.centre + self.half_width * np.tanh(0.5 * self.logits)
        return values.astype(self.logits.dtype)

    def apply(self, batch: ArrayLike) -> Floating:
        """W x for every column of a batch, (columns,) or (columns, count).

        Raises:
            InvalidInput: if the shape does not match or a number is not finite.
        """
        return self._u.apply(self._scaled(self._v.apply_transpose(self._batch("batch", batch, 1)), self.shape[0]))

    def apply_transpose(self, batch: ArrayLike) -> Floating:
        """Wᵀ y for every column of a batch, (rows,) or (rows, count).

        Raises:
            InvalidInput: if the shape does not match or a number is not finite.
        """
        return self._v.apply(self._scaled(self._u.apply_transpose(self._batch("batch", batch, 0)), self.shape[1]))

    def apply_inverse(self, batch: ArrayLike) -> Floating:
        """W⁻¹ y for every column of a batch, (n,) or (n, count), of a square W.

        Raises:
            InvalidInput: if W is not square, the shape does not match or a number is not finite.
        """
        self._check_square("apply_inverse")
        turned = self._u.apply_transpose(self._batch("batch", batch, 0))
        return self._v.apply((turned.T / self.singular_values).T)

    def vjp(self, batch: ArrayLike, cotangents: ArrayLike) -> SVDGradient:
        """Derivatives of Σ ȳ·W x over the columns of a batch, by all parameters and by x.

        Args:
            batch: x, (columns,) or (columns, count).
            cotangents: ȳ, (rows,) or (rows, count).

        Raises:
            InvalidInput: if the shapes do not match or a number is not finite.

        >>> W = SVDMatrix.draw(np.random.default_rng(0), 2, 2, half_width=0.5)
        >>> bool(np.isclose(W.vjp([1.0, 0.0], W.apply([1.0, 0.0])).batch[0], 1.0))  # WᵀW = 1
        True
        """
        x, y = self._batch("batch", batch, 1), self._batch("cotangents", cotangents, 0)
        if x.shape[1:] != y.shape[1:]:
            raise InvalidInput(f"cotangents: must have as many columns as batch of shape {x.shape}, got {y.shape}")
        turned = self._v.apply_transpose(x)
        left, back = self._u.vjp(self._scaled(turned, self.shape[0]), y)
        # Σ z·Vᵀx by V is Σ x·Vz by V, the product the other way round.
        right, _ = self._v.vjp(self._scaled(back, self.shape[1]), x)
        least = min(self.shape)
        by_values = np.sum(back[:least].reshape(least, -1) * turned[:least].reshape(least, -1), axis=1)
        slopes = 2.0 * self.half_width * expit(self.logits) * expit(-self.logits)
        moved = self._v.apply(self._scaled(back, self.shape[1]))
        return SVDGradient(left, right, by_values * slopes.astype(by_values.dtype), moved)

    def matrix(self) -> Floating:
        """W itself, (rows, columns)."""
        return self._u.apply(self._scaled(self._v.matrix().T, self.shape[0]))

    def log_determinant(self) -> Estimate:
        """log |det W| = Σ log s of a square W, without W; the error bounds rounding.

        Raises:
            InvalidInput: if W is not square.

        >>> print(SVDMatrix.draw(np.random.default_rng(0), 8, 8, centre=2.0).log_determinant().value / 8 == math.log(2))
        True
        """
        self._check_square("log_determinant")
        values = self.centre + self.half_width * np.tanh(0.5 * self.logits.astype(np.float64))
        logarithms = np.log(values)
        moved = (abs(self.centre) + 4.0 * self.half_width) / values + np.abs(logarithms) + 1.0
        return Estimate(math.fsum(logarithms), 2.0 * _ROUNDING * math.fsum(moved))

    def determinant_sign(self) -> int:
        """The sign of det W of a square W: minus one for every reflector that is not zero.

        Raises:
            InvalidInput: if W is not square.
        """
        self._check_square("determinant_sign")
        return self._u.determinant * self._v.determinant

    @cached_property
    def _u(self) -> HouseholderProduct:
        return HouseholderProduct(self.left)

    @cached_property
    def _v(self) -> HouseholderProduct:
        return HouseholderProduct(self.right)

    def _scaled(self, batch: Floating, size: int) -> Floating:
        """diag(s) x with zeros up to ``size`` coordinates."""
        least = min(self.shape)
        result = np.zeros((size, *batch.shape[1:]), dtype=batch.dtype)
        result[:least] = (batch[:least].T * self.singular_values).T
        return result

    def _batch(self, name: str, batch: ArrayLike, axis: int) -> Floating:
        given = np.asarray(batch)
        size = self.shape[axis]
        if given.ndim not in (1, 2) or given.shape[0] != size:
            raise InvalidInput(
                f"{name}: must be of shape ({size},) or ({size}, count) for a matrix of shape {self.shape}, "
                f"got {given.shape}"
            )
        return _finite(name, given, given.ndim, single=self.left.dtype == np.float32)

    def _check_square(self, wanted: str) -> None:
        if self.shape[0] != self.shape[1]:
            raise InvalidInput(f"{wanted}: needs a square matrix, got shape {self.shape}")


def check_band(centre: float, half_width: float) -> None:
    """Check s0 and r of a band of singular values.

    Raises:
        InvalidInput: unless 0 < r < s0, both finite.

    >>> check_band(1.0, 1.0)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: half_width: must be between 0 and the centre 1, got 1.0
    """
    check_number("centre", centre, 0.0, math.inf)
    check_number("half_width", half_width, 0.0, math.inf)
    if centre == 0.0:
        raise InvalidInput(f"centre: must be positive, got {centre!r}")
    if not 0.0 < half_width < centre:
        raise InvalidInput(f"half_width: must be between 0 and the centre {centre:g}, got {half_width!r}")


def check_reflectors(name: str, count: object, size: int) -> None:
    """Check a number of reflectors of vectors of ``size`` coordinates.

    Raises:
        InvalidInput: unless it is a whole number from 1 to ``size``.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= size:
        raise InvalidInput(f"{name}: must be from 1 to {size} reflectors for {size} coordinates, got {count!r}")


def _finite(name: str, array: NDArray[Any], axes: int, single: bool) -> Floating:
    """An array of finite numbers with as many axes."""
    if array.dtype.kind not in "iuf" or array.ndim != axes:
        raise InvalidInput(f"{name}: must be real numbers on {axes} axes, got {array.dtype} of shape {array.shape}")
    with np.errstate(over="ignore"):
        numbers: Floating = array.astype(np.float32 if single else np.float64)
    if not np.all(np.isfinite(numbers)):
        raise InvalidInput(f"{name}: must be finite {numbers.dtype}, got NaN or infinity in shape {array.shape}")
    return numbers
