"""Variances of fields at which the potential of the eigenvalues is stationary (theory, section 5).

Given for every unit a polynomial p = Σ_j e^{E_j·u} T_j in u = (log m, log b), without negative terms and of the same
degree in m as in b, the point where

    Φ = E log p - Σ_c m_c b_c

is stationary. With the shares w_j of the terms in p its gradient is E Σ_j w_j E_j - (m b, m b), and its Hessian
E Cov_w(E_j) less the products. Newton's method starts on the ray along the eigenvectors of the map of variances, where
the problem is one-dimensional and monotone; for one carrier that is all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_AMPLITUDE = 100  # steps of Newton's method along the ray
_NEWTON = 25  # steps of Newton's method in all unknowns
_LARGEST = 2.0  # step in a logarithm
_CONVERGED = 1e-10  # step in the logarithms after which the next is rounding
_COARSEST = 1e-3  # the same next to the boundary
_STARTS = 7  # how often Newton's method starts, after ever more averaged iterations
_AVERAGED = 4
_SMALLEST = 1e-12  # component of an eigenvector
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Stationary:
    """The stationary point of the potential at some points of the plane.

    Attributes:
        logarithms: u = (log m, log b), (points, 2C).
        steps: the largest of the last steps in a logarithm, (points,).
    """

    logarithms: Float64
    steps: Float64


@dataclass(frozen=True)
class Expansion:
    """Derivatives of E log p by u at given u.

    Attributes:
        shares: w, the share of every term in p, (terms, points, units).
        powers: Σ_j w_j E_j, (variables, points, units).
        gradient: (points, variables).
        hessian: (points, variables, variables).
    """

    shares: Float64
    powers: Float64
    gradient: Float64
    hessian: Float64


@dataclass(frozen=True)
class Curvature:
    """Derivatives of Φ by u at given u.

    Attributes:
        shares: w, the share of every term in p, (terms, points, units).
        powers: Σ_j w_j E_j, (2C, points, units).
        gradient: (points, 2C).
        hessian: (points, 2C, 2C); it is singular, m and b being defined up to a factor.
        scales: of the unknowns, (points, 2C): one over the root of m b.
    """

    shares: Float64
    powers: Float64
    gradient: Float64
    hessian: Float64
    scales: Float64

    def solved(self, right: NDArray[np.inexact]) -> NDArray[np.inexact]:
        """H⁻¹ applied to (points, 2C) that are orthogonal to the null vector; not a number where H is singular."""
        scaled = self._regular()
        with np.errstate(invalid="ignore"):
            bad = ~np.all(np.isfinite(scaled), axis=(1, 2))
            regular = np.where(bad[:, None, None], np.eye(scaled.shape[-1]), scaled)
            out = self.scales * np.linalg.solve(regular, (self.scales * right)[..., None])[..., 0]
        out[bad] = np.nan
        return out

    def condition(self) -> Float64:
        """Condition number of the Hessian but for its null vector, (points,)."""
        size = np.abs(np.linalg.eigvalsh(self._regular()))
        with np.errstate(divide="ignore"):
            return np.asarray(size.max(axis=1) / size.min(axis=1))

    def _regular(self) -> Float64:
        """The scaled Hessian, its null vector given a value of the size of the others."""
        half = self.scales.shape[1] // 2
        null = np.concatenate((1.0 / self.scales[:, :half], -1.0 / self.scales[:, half:]), axis=1)
        null /= np.linalg.norm(null, axis=1)[:, None]
        scaled = self.hessian * self.scales[:, :, None] * self.scales[:, None, :]
        return np.asarray(scaled - null[:, :, None] * null[:, None, :])


def stationary_variances(exponents: Float64, terms: Float64, variance_map: Float64) -> Stationary:
    """The stationary point inside the support.

    Args:
        exponents: E, (terms, 2C), the first row zero.
        terms: T, (terms, points, units).
        variance_map: M, with a spectral radius above one, (points, C, C).

    Raises:
        ArithmeticError: if it was not reached.

    >>> terms = np.array([[[1.0]], [[2.0]]])  # p = 1 + 2 m b: E 2/(1 + 2 m b) = 1
    >>> found = stationary_variances(np.array([[0.0, 0.0], [1.0, 1.0]]), terms, np.array([[[2.0]]]))
    >>> float(np.exp(found.logarithms.sum()).round(12))
    0.5
    """
    forward, backward = leading_vectors(variance_map)
    u = np.log(np.concatenate((forward, backward), axis=1))
    amplitude, steps = _amplitude(exponents, _weighted(exponents, terms, u))
    u += 0.5 * np.log(amplitude)[:, None]
    if variance_map.shape[-1] == 1:
        return Stationary(u, steps)
    todo, steps = np.arange(len(u)), np.full(len(u), np.inf)
    for attempt in range(_STARTS):
        found, size = _newton(exponents, terms[:, todo], u[todo])
        done = np.isfinite(size)
        u[todo[done]], steps[todo[done]] = found[done], size[done]
        todo = todo[~done]
        if not len(todo):
            return Stationary(u, steps)
        for _ in range(_AVERAGED << attempt):
            u[todo] = _averaged(exponents, terms[:, todo], u[todo])
    raise ArithmeticError("the density of eigenvalues did not converge; coefficients may be extreme")


def expansion(exponents: Float64, terms: Float64, u: Float64) -> Expansion:
    """Derivatives of E log p at u (points, variables); see :func:`stationary_variances` for the others."""
    shares = _weighted(exponents, terms, u)
    shares /= np.sum(shares, axis=0)
    powers = np.tensordot(exponents.T, shares, axes=1)
    by_point = np.ascontiguousarray(powers.transpose(1, 0, 2))
    hessian = np.einsum("ji,jp,jk->pik", exponents, np.mean(shares, axis=2), exponents)
    hessian = hessian - by_point @ by_point.transpose(0, 2, 1) / terms.shape[2]
    return Expansion(shares, powers, np.mean(powers, axis=2).T, hessian)


def curvature(exponents: Float64, terms: Float64, u: Float64) -> Curvature:
    """Derivatives at u (points, 2C); see :func:`stationary_variances` for the others."""
    found, half = expansion(exponents, terms, u), u.shape[1] // 2
    products = np.exp(u[:, :half] + u[:, half:])
    gradient = found.gradient - np.tile(products, 2)
    hessian = found.hessian - np.tile(np.eye(half), (2, 2)) * np.tile(products, 2)[:, None, :]
    return Curvature(found.shares, found.powers, gradient, hessian, 1.0 / np.sqrt(np.tile(products, 2)))


def _weighted(exponents: Float64, terms: Float64, u: Float64) -> Float64:
    """e^{E_j·u} T_j, (terms, points, units)."""
    return np.asarray(np.exp(exponents @ u.T)[:, :, None] * terms)


def _amplitude(exponents: Float64, terms: Float64) -> tuple[Float64, Float64]:
    """q > 0 with A(q) = E ∂ log p/∂q = 1 for p = Σ_j q^degree T_j, and the last relative steps; each (points,).

    1/A is concave and grows, so that Newton's method for 1/A = 1 rises monotonically from any q below the root.
    """
    degrees = exponents.sum(axis=1)[:, None, None] / 2.0
    first = np.sum(np.where(degrees == 1.0, terms, 0.0), axis=0)
    units = terms.shape[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        # One unit alone bounds A from below.
        largest = np.max(np.where(first > 0.0, first / terms[0], 0.0), axis=1)
        q = np.maximum(1.0 / units - 1.0 / largest, 0.0)
    steps = np.full(len(q), np.inf)
    for _ in range(_AMPLITUDE):
        powers = q[None, :, None] ** np.arange(int(degrees.max()) + 1)[:, None, None]
        p, slope, bend = np.zeros_like(first), np.zeros_like(first), np.zeros_like(first)
        for degree, term in zip(degrees[:, 0, 0].astype(int), terms, strict=True):
            p += powers[degree] * term
            if degree > 0:
                slope += degree * powers[degree - 1] * term
            if degree > 1:
                bend += degree * (degree - 1) * powers[degree - 2] * term
        slope /= p
        A = np.mean(slope, axis=1)
        fall = np.mean(slope**2 - bend / p, axis=1)
        step = np.maximum(A * (A - 1.0) / fall, 0.0)
        q = q + step
        steps = step / q
        # A is known to rounding, which counts by 1/q next to the boundary.
        if np.all(steps <= np.maximum(_CONVERGED**1.3, 8.0 * _ROUNDING / q)):
            return q, steps
    raise ArithmeticError("the density of eigenvalues did not converge; coefficients may be extreme")


def leading_vectors(variance_map: Float64) -> tuple[Float64, Float64]:
    """Leading eigenvectors of maps (points, C, C) and of their transposes, (points, C) each, with products of one."""
    forward, backward = _leading_vector(variance_map), _leading_vector(np.swapaxes(variance_map, -1, -2))
    backward /= np.sum(forward * backward, axis=1)[:, None]
    return forward, backward


def _leading_vector(matrices: Float64) -> Float64:
    """Eigenvector of the largest eigenvalue of matrices without negative entries, (points, C), of sum one."""
    if matrices.shape[-1] == 1:
        return np.ones(matrices.shape[:-1])
    values, vectors = np.linalg.eig(matrices / np.max(matrices, axis=(1, 2))[:, None, None])
    leading = np.argmax(values.real, axis=1)
    found = np.abs(np.take_along_axis(vectors, leading[:, None, None], axis=2)[..., 0])
    found = np.maximum(found / np.max(found, axis=1)[:, None], _SMALLEST)
    return np.asarray(found / np.sum(found, axis=1)[:, None])


def _newton(exponents: Float64, terms: Float64, u: Float64) -> tuple[Float64, Float64]:
    """Newton's method in all unknowns; the last steps are inf where it failed."""
    sizes = np.full(len(u), np.inf)
    todo = np.arange(len(u))
    u = u.copy()
    for _ in range(_NEWTON):
        at = curvature(exponents, terms[:, todo], u[todo])
        step = -at.solved(at.gradient)
        size = np.max(np.abs(step), axis=1)
        u[todo] += step * np.minimum(1.0, _LARGEST / np.maximum(size, _LARGEST))[:, None]
        # Next to the boundary all m b are small and, up to a factor, hardly determined.
        done = size <= np.maximum(_CONVERGED, np.minimum(30.0 * _ROUNDING * np.min(at.scales, axis=1) ** 2, _COARSEST))
        sizes[todo[done]] = size[done]
        todo = todo[~done & np.isfinite(size)]
        if not len(todo):
            break
    return u, sizes


def _averaged(exponents: Float64, terms: Float64, u: Float64) -> Float64:
    """One averaged step of m b = E ∂ log p/∂ log m = E ∂ log p/∂ log b, m and b balanced."""
    at = curvature(exponents, terms, u)
    half = u.shape[1] // 2
    logarithms = np.log(np.maximum(np.mean(at.powers, axis=2).T, 1e-300))
    following = np.concatenate((logarithms[:, half:] - u[:, half:], logarithms[:, :half] - u[:, :half]), axis=1)
    out = 0.5 * (u + following)
    tilt = np.mean(out[:, :half] - out[:, half:], axis=1)[:, None] / 2.0
    return np.concatenate((out[:, :half] - tilt, out[:, half:] + tilt), axis=1)
