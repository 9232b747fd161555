"""The stationary point of the eigenvalues' potential for matrices that are not Gaussian (theory, sections 5 and 6).

On the imaginary axis a matrix Ŵ_k of mean square singular value one answers with a_k on its columns and b_k on its
rows, both positive. With p of :mod:`meanfield.solvers.transfer_minors` a polynomial in b_k and α_c = Σ_{k reads c} a_k,
the potential is stationary where

    E ∂ log p/∂ log b_k = F_k,    (a_k/α_c) E ∂ log p/∂ log α_c = F_k,    F = E s²/(η + s²),    a b = η F²/(1 - F)².

F_k goes from 0 at the outer end of the support to 1 at a hole. Unknowns are κ = -log η and δ = log(a/b), in which all
of it is single-valued; F = a b/(1 + a b) and κ = log(a b) for orthogonal matrices. Newton's method starts along the
leading eigenvectors of the map of variances, or after averaged iterations of the subordination functions, which
converge from anywhere (Belinschi, Mai and Speicher 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise
from scipy.special import expit

from meanfield.solvers.band_averages import BandAverages
from meanfield.solvers.field_variances import Curvature, expansion

Float64 = NDArray[np.float64]

_RANGE = 60.0  # of κ, within which it is looked for along the ray
_NEWTON = 30  # steps of Newton's method
_LARGEST = 2.0  # step in a logarithm
_CONVERGED = 1e-10  # step after which the next is rounding
_COARSEST = 1e-3  # the same next to the boundary
_ROUNDING = 1e-15
_STARTS = 8  # how often Newton's method starts, after ever more averaged iterations
_AVERAGED = 4


@dataclass(frozen=True)
class MatrixAnswers:
    """Unknowns of all matrices of one part at some points of the plane.

    Attributes:
        kappa: κ, (points, G).
        tilt: δ, (points, G).
        steps: the largest of the last steps in a logarithm, (points,).
    """

    kappa: Float64
    tilt: Float64
    steps: Float64


@dataclass(frozen=True)
class AnswerCurvature:
    """Derivatives of the potential at given unknowns.

    Attributes:
        logarithms: (log b, log α), the variables of p, (points, G + C).
        change: derivatives of them by (log a, log b), (points, 2G, G + C).
        curvature: by (log a, log b); shares and powers are those of the variables of p.
        slope: d log(a b)/dκ, (points, G).
    """

    logarithms: Float64
    change: Float64
    curvature: Curvature
    slope: Float64


class MatrixShares:
    """F and a b of matrices with singular values in a band, or None for orthogonal ones.

    >>> MatrixShares(None).at(np.zeros(1))[1]  # F where a b = 1
    array([0.5])
    """

    def __init__(self, band: BandAverages | None) -> None:
        self._band = band

    def at(self, kappa: Float64) -> tuple[Float64, Float64, Float64, Float64, Float64]:
        """log a b, F, 1 - F, dF/dκ and d log(a b)/dκ."""
        if self._band is None:
            share, rest = expit(kappa), expit(-kappa)
            return kappa, share, rest, share * rest, np.ones_like(kappa)
        share, rest, slope, resolvent = self._band.imaginary(kappa)
        product = 2.0 * np.log(share / resolvent) + kappa
        rise = 2.0 * slope * (1.0 / share + 1.0 / rest) - 1.0
        return product, share, rest, slope, np.maximum(rise, 1e-8)


def matrix_answers(
    exponents: Float64, terms: Float64, reads: NDArray[np.intp], shares: MatrixShares, forward: Float64, back: Float64
) -> MatrixAnswers:
    """The stationary point inside the support.

    Args:
        exponents: E, (terms, G + C), the first row zero.
        terms: T, (terms, points, units).
        reads: which carrier every matrix reads, (G,).
        shares: of the matrices.
        forward: variances of the carriers along the leading eigenvector, (points, C).
        back: a of every matrix along the leading eigenvector of the transposed map, (points, G).

    Raises:
        ArithmeticError: if it was not reached.

    >>> exponents = np.array([[0.0, 0.0], [1.0, 1.0]])  # p = 1 + r a b: E r (1 + a b)/(1 + r a b) = 1 at a b = 1/2
    >>> terms, one = np.array([[[1.0, 1.0]], [[0.5, 2.0]]]), np.ones((1, 1))
    >>> found = matrix_answers(exponents, terms, np.array([0]), MatrixShares(None), one, one)
    >>> float(np.exp(found.kappa[0, 0]).round(9))
    1.0
    """
    log_b, log_a = np.log(np.maximum(forward, 1e-100))[:, reads], np.log(np.maximum(back, 1e-100))
    kappa, tilt = _on_ray(exponents, terms, reads, shares, log_a + log_b, log_a - log_b)
    todo, steps = np.arange(len(kappa)), np.full(len(kappa), np.inf)
    for attempt in range(_STARTS):
        found = _newton(exponents, terms[:, todo], reads, shares, kappa[todo], tilt[todo])
        done = np.isfinite(found.steps)
        kappa[todo[done]], tilt[todo[done]] = found.kappa[done], found.tilt[done]
        steps[todo[done]] = found.steps[done]
        todo = todo[~done]
        if not len(todo):
            return MatrixAnswers(kappa, tilt, steps)
        if attempt == 0:
            kappa[todo], tilt[todo] = 0.0, 0.0
        for _ in range(_AVERAGED << attempt):
            kappa[todo], tilt[todo] = _averaged(exponents, terms[:, todo], reads, shares, kappa[todo], tilt[todo])
    raise ArithmeticError("the density of eigenvalues did not converge; coefficients may be extreme")


def answer_curvature(
    exponents: Float64, terms: Float64, reads: NDArray[np.intp], shares: MatrixShares, kappa: Float64, tilt: Float64
) -> AnswerCurvature:
    """Derivatives at unknowns (points, G) each; see :func:`matrix_answers` for the others."""
    product, share, rest, slope, rise = shares.at(kappa)
    logarithms, part = _logarithms(reads, exponents.shape[1], product, tilt)
    found = expansion(exponents, terms, logarithms)
    matrices, C = len(reads), exponents.shape[1] - len(reads)
    change = np.zeros((len(kappa), 2 * matrices, exponents.shape[1]))
    change[:, matrices + np.arange(matrices), np.arange(matrices)] = 1.0
    change[:, np.arange(matrices), matrices + reads] = part
    gradient = np.einsum("puv,pv->pu", change, found.gradient) - np.tile(share, 2)
    hessian = change @ found.hessian @ change.transpose(0, 2, 1)
    # Second derivatives of log α by log a.
    own = np.zeros((matrices, C))
    own[np.arange(matrices), reads] = 1.0
    weights = part * found.gradient[:, matrices + reads]
    hessian[:, :matrices, :matrices] -= weights[:, :, None] * part[:, None, :] * (own @ own.T)
    diagonal = np.arange(matrices)
    hessian[:, diagonal, diagonal] += weights
    bend = slope / rise
    for i in (diagonal, matrices + diagonal):
        for j in (diagonal, matrices + diagonal):
            hessian[:, i, j] -= bend
    scales = np.tile(1.0 / np.sqrt(np.maximum(np.minimum(share, rest), 1e-200)), 2)
    return AnswerCurvature(logarithms, change, Curvature(found.shares, found.powers, gradient, hessian, scales), rise)


def _logarithms(reads: NDArray[np.intp], variables: int, product: Float64, tilt: Float64) -> tuple[Float64, Float64]:
    """(log b, log α), and the share of a_k in α_c(k)."""
    log_a, log_b = 0.5 * (product + tilt), 0.5 * (product - tilt)
    matrices = len(reads)
    out = np.concatenate((log_b, np.empty((len(tilt), variables - matrices))), axis=1)
    part = np.empty_like(log_a)
    for c in range(variables - matrices):
        of_carrier = np.flatnonzero(reads == c)
        out[:, matrices + c] = np.logaddexp.reduce(log_a[:, of_carrier], axis=1)
        part[:, of_carrier] = np.exp(log_a[:, of_carrier] - out[:, matrices + c, None])
    return out, part


def _on_ray(
    exponents: Float64,
    terms: Float64,
    reads: NDArray[np.intp],
    shares: MatrixShares,
    kappa: Float64,
    tilt: Float64,
) -> tuple[Float64, Float64]:
    """κ moved by the same number for all matrices until the sum of the equations holds."""
    everything = np.arange(len(kappa))

    def excess(shift: Float64, which: NDArray[np.intp]) -> Float64:
        product, share, *_ = shares.at(kappa[which] + shift[:, None])
        logarithms, _ = _logarithms(reads, exponents.shape[1], product, tilt[which])
        weighted = np.exp(exponents @ logarithms.T)[:, :, None] * terms[:, which]
        powers = np.einsum("j,jpu->pu", exponents.sum(axis=1), weighted) / np.sum(weighted, axis=0)
        return np.asarray(np.mean(powers, axis=1) - 2.0 * np.sum(share, axis=1))

    middle = np.mean(kappa, axis=1)
    low, high = -_RANGE - middle, _RANGE - middle
    sensible = (excess(low, everything) > 0.0) & (excess(high, everything) < 0.0)
    shift = -middle
    if np.any(sensible):
        which = everything[sensible]
        found = elementwise.find_root(
            excess, (low[which], high[which]), args=(which,), tolerances={"xatol": 1e-12, "fatol": 0.0}
        )
        shift[which] = found.x
    return kappa + shift[:, None], tilt.copy()


def _newton(
    exponents: Float64,
    terms: Float64,
    reads: NDArray[np.intp],
    shares: MatrixShares,
    kappa: Float64,
    tilt: Float64,
) -> MatrixAnswers:
    """Newton's method in all unknowns; the last steps are inf where it failed."""
    kappa, tilt, sizes = kappa.copy(), tilt.copy(), np.full(len(kappa), np.inf)
    todo = np.arange(len(kappa))
    for _ in range(_NEWTON):
        at = answer_curvature(exponents, terms[:, todo], reads, shares, kappa[todo], tilt[todo])
        step = -at.curvature.solved(at.curvature.gradient)
        by_a, by_b = np.split(np.asarray(step), 2, axis=1)
        moved, turned = (by_a + by_b) / at.slope, by_a - by_b
        size = np.maximum(np.max(np.abs(moved), axis=1), np.max(np.abs(step), axis=1))
        factor = np.minimum(1.0, _LARGEST / np.maximum(size, _LARGEST))[:, None]
        kappa[todo] += factor * moved
        tilt[todo] += factor * turned
        # Next to the boundary all of them are small and, up to a factor, hardly determined.
        scale = np.min(at.curvature.scales, axis=1)
        done = size <= np.maximum(_CONVERGED, np.minimum(30.0 * _ROUNDING * scale**2, _COARSEST))
        sizes[todo[done]] = size[done]
        todo = todo[~done & np.isfinite(size)]
        if not len(todo):
            break
    return MatrixAnswers(kappa, tilt, sizes)


def _averaged(
    exponents: Float64,
    terms: Float64,
    reads: NDArray[np.intp],
    shares: MatrixShares,
    kappa: Float64,
    tilt: Float64,
) -> tuple[Float64, Float64]:
    """One averaged step of η = (1/v - a)(1/x - b), with x and v of the units."""
    product, *_ = shares.at(kappa)
    logarithms, part = _logarithms(reads, exponents.shape[1], product, tilt)
    powers = expansion(exponents, terms, logarithms).gradient
    matrices = len(reads)
    of_rows, of_columns = powers[:, :matrices], powers[:, matrices + reads]
    row = np.log(np.maximum(1.0 / np.maximum(of_rows, 1e-200) - 1.0, 1e-200)) + logarithms[:, :matrices]
    column = np.log(np.maximum(1.0 / np.maximum(of_columns, 1e-200) - part, 1e-200)) + logarithms[:, matrices + reads]
    following, turned = -(row + column), column - row
    tilt = 0.5 * (tilt + turned)
    return 0.5 * (kappa + following), tilt - np.mean(tilt, axis=1)[:, None]
