"""Orthonormal polynomials of the stationary law of c ← f c + g, found from the map itself.

A step takes polynomials in c to polynomials of the same degree, p_j(f c + g) = Σ_{l≤j} Γ_jl p_l(c), and leaves their
inner products as they are on average. So the recursion coefficients of degree j follow from those before:

    α_j E[1 - f^(2j+1)] = E[what Γ_j says of ∫ c p_j² beyond α_j],     β_{j+1} E[1 - f^(2j+2)] = E Σ_{l≤j} (…)_l²,

a sum of squares, without the moments of c, which would lose all digits beyond some twenty of them. What a step changes,
Γ - 1, is kept by itself, so that long memories keep their digits.

Source: G. Mantica, A stable Stieltjes technique for computing orthogonal polynomials and Jacobi matrices associated
with a class of singular measures (Constr. Approx. 12, 1996), there for maps with a fixed f; theory, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.coefficient_laws import BlendedCoefficients, CentredMoments, IndependentCoefficients
from meanfield.solvers.orthogonal_polynomials import OrthonormalPolynomials

Float64 = NDArray[np.float64]

_ALONE = 1e-13  # β beyond which the law has no further points


@dataclass(frozen=True, eq=False)
class AffinePolynomials:
    """Polynomials of the stationary law, and what a step makes of them.

    Attributes:
        polynomials: p_0 … p_{n-1}, orthonormal in the law.
        changes: Γ - 1 at the nodes of the coefficients' rules, (keeps, increments, n, n); lower triangular.
        keep: f at the keeps' nodes, (keeps,).
        release: 1 - f, (keeps,).
        increments: g, or what is blended in, at the increments' nodes, (increments,).
    """

    polynomials: OrthonormalPolynomials
    changes: Float64
    keep: Float64
    release: Float64
    increments: Float64


def affine_polynomials(
    coefficients: IndependentCoefficients | BlendedCoefficients, exact: CentredMoments, count: int
) -> AffinePolynomials:
    """Orthonormal polynomials of the stationary law of c ← f c + g.

    Args:
        coefficients: the law of f and g, of a few nodes each.
        exact: moments of c; its mean and deviation are the centre and scale.
        count: how many polynomials; fewer come back if the law has fewer points.

    >>> from meanfield.solvers.coefficient_laws import centred_moments
    >>> from meanfield.solvers.gauss_compression import KeepRule, Rule
    >>> coin = IndependentCoefficients(KeepRule([0.5], [0.5], [1.0]), Rule([-0.5, 0.5], [0.5, 0.5]))
    >>> found = affine_polynomials(coin, centred_moments(coin, 4), 4)  # the uniform law on [-1, 1]: Legendre's
    >>> bool(abs(found.polynomials.values(np.array([0.5]))[2, 0] - np.sqrt(5) * (1.5 * 0.25 - 0.5)) < 1e-14)
    True
    """
    rule = coefficients.target if isinstance(coefficients, BlendedCoefficients) else coefficients.increment
    keep, shape = coefficients.keep, (len(coefficients.keep.keep), len(rule.nodes))
    release = np.broadcast_to(keep.release[:, None], shape).ravel()
    weights = np.outer(keep.weights, rule.weights).ravel()
    if exact.deviation == 0.0:
        point = OrthonormalPolynomials(exact.mean, 0.0, np.zeros(1), np.empty(0))
        return AffinePolynomials(point, np.zeros((*shape, 1, 1)), 1.0 - keep.release, keep.release, rule.nodes)
    if isinstance(coefficients, BlendedCoefficients):
        steps = np.outer(keep.release, rule.nodes - exact.mean).ravel()
    else:
        steps = np.broadcast_to(rule.nodes, shape).ravel() - exact.mean * release
    diagonal, off, changes = _recursion(release, steps / exact.deviation, weights, count)
    found = len(diagonal)
    return AffinePolynomials(
        OrthonormalPolynomials(exact.mean, exact.deviation, diagonal, off),
        changes.reshape(*shape, found, found),
        1.0 - keep.release,
        keep.release,
        rule.nodes,
    )


def _recursion(release: Float64, steps: Float64, weights: Float64, count: int) -> tuple[Float64, Float64, Float64]:
    """α, √β and Γ - 1, (atoms, n, n), for z ← (1 - release) z + steps."""
    keep, atoms = 1.0 - release, len(release)
    diagonal, off = np.zeros(count), np.zeros(count + 1)
    changes = np.zeros((count, atoms, count))
    before = np.zeros((atoms, count))
    logarithm = np.log1p(-np.minimum(release, 1.0)) if np.all(release < 1.0) else None

    def forgotten(power: int) -> Float64:
        """1 - f^power."""
        return -np.expm1(power * logarithm) if logarithm is not None else 1.0 - keep**power

    for j in range(count):
        change = changes[j]
        # X times the change, without the α_j that is being sought.
        moved = _multiplied(change, diagonal, off, j)
        size = 1.0 + 2.0 * change[:, j] + np.sum(change**2, axis=1)
        rest = 2.0 * moved[:, j] + np.sum(change * moved, axis=1)
        diagonal[j] = (weights @ (keep * rest) + weights @ (steps * size)) / (weights @ forgotten(2 * j + 1))
        # √β_{j+1} times Γ - 1 of the next degree, up to degree j.
        moved[:, j] += diagonal[j] * change[:, j]
        following = keep[:, None] * moved + (steps - diagonal[j])[:, None] * change - off[j] * before
        following[:, j] += steps - release * diagonal[j]
        if j > 0:
            following[:, j - 1] -= release * off[j]
        size_squared = float(weights @ np.sum(following**2, axis=1)) / float(weights @ forgotten(2 * j + 2))
        off[j + 1] = np.sqrt(size_squared)
        if j + 1 == count or off[j + 1] < _ALONE:
            count = j + 1
            break
        changes[j + 1] = following / off[j + 1]
        changes[j + 1, :, j + 1] = -forgotten(j + 1)
        before = change
    return diagonal[:count], off[1:count], np.ascontiguousarray(changes[:count, :, :count].transpose(1, 0, 2))


def _multiplied(vectors: Float64, diagonal: Float64, off: Float64, degree: int) -> Float64:
    """X times vectors (atoms, n) of polynomials up to a degree, up to that degree, α of that degree as zero."""
    moved = np.zeros_like(vectors)
    moved[:, :degree] = vectors[:, :degree] * diagonal[:degree]
    moved[:, :degree] += vectors[:, 1 : degree + 1] * off[1 : degree + 1]
    moved[:, 1 : degree + 1] += vectors[:, :degree] * off[1 : degree + 1]
    return moved
