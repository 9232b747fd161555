"""Averages over two copies of c ← f c + g with correlated coefficients, in orthonormal polynomials of its law.

Moments M_jk = E p_j(c_a) p_k(c_b) of the stationary pair are carried on by Σ_r s_r T_r M T_rᵀ, where the T_r are
averages of what a step does to polynomials, one for every mode in which the coefficients of the two copies are
correlated. All T_r are lower triangular: M follows row by row, with no iteration, however long the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve_triangular

from meanfield.solvers.affine_polynomials import AffinePolynomials
from meanfield.solvers.orthogonal_polynomials import OrthonormalPolynomials

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Modes:
    """E φ(v_a) ψ(v_b) = Σ_r strengths_r (Σ_m weights_rm φ(v_m)) (Σ_m weights_rm ψ(v_m)) for polynomials φ and ψ.

    Attributes:
        strengths: (r,), of either sign.
        weights: (r, nodes).
    """

    strengths: Float64
    weights: Float64


def modes_of(form: Float64, polynomials: OrthonormalPolynomials, *, constant: bool = False) -> Modes:
    """The modes of a form.

    Args:
        form: E p_j(v_a) p_k(v_b) × anything else that the two share, (n, n), symmetric.
        polynomials: n of them, in whose Gauss nodes the weights are.
        constant: the form is that of the law itself, whose first mode is the constant, apart from all others.
    """
    nodes, shares = polynomials.gauss
    table, even = polynomials.values(nodes) * shares, 0.5 * (form + form.T)
    if not constant:
        strengths, vectors = eigh(even, check_finite=False)
        return Modes(strengths, vectors.T @ table)
    if len(form) == 1:
        return Modes(np.ones(1), table)
    strengths, vectors = eigh(even[1:, 1:], check_finite=False)
    return Modes(np.concatenate(([1.0], strengths)), np.concatenate((table[:1], vectors.T @ table[1:])))


@dataclass(frozen=True, eq=False)
class PairForm:
    """M ↦ Σ_r strengths_r T_r M T_rᵀ.

    Attributes:
        strengths: (r,).
        matrices: T_r, (r, n, n), lower triangular in forms of a step.
        about_one: whether the first T is 1 + the first matrix, so that long memories keep their digits.
    """

    strengths: Float64
    matrices: Float64
    about_one: bool

    def __call__(self, moments: Float64) -> Float64:
        """The image of moments, (n, n)."""
        left = np.tensordot(self.matrices * self.strengths[:, None, None], moments, axes=1)
        found: Float64 = np.tensordot(left, self.matrices, axes=([0, 2], [0, 2]))
        if self.about_one:
            first = self.strengths[0] * self.matrices[0] @ moments
            found = found + self.strengths[0] * moments + first + (self.strengths[0] * self.matrices[0] @ moments.T).T
        return found

    @property
    def forgotten(self) -> Float64:
        """1 - Σ_r strengths_r (T_r)_jj (T_r)_kk, (n, n): the rates at which moments forget, for the form of a step."""
        own = np.diagonal(self.matrices, axis1=1, axis2=2)
        return -(own.T * self.strengths) @ own - own[0][:, None] - own[0]

    def resolved(self, source: Float64 | None, lacking: float = 0.0) -> Float64:
        """The solution X, (n, n), of (1 - lacking) X = source + form(X), for the form of a step.

        Args:
            source: (n, n); None for the stationary law, which has no source but E 1 = 1 and E p_j = 0.
            lacking: one minus the growth per step.
        """
        if not self.about_one:
            raise ValueError("only the form of a step is resolved")
        count = self.matrices.shape[1]
        first = 0
        solution = np.zeros((count, count))
        if source is None:
            solution[0, 0], first = 1.0, 1
            source = solution
        change, others = self.matrices[0], self.matrices[1:]
        strengths = self.strengths[1:]
        by_target = np.ascontiguousarray(others.transpose(1, 0, 2)).reshape(count, -1)
        own = np.diagonal(others, axis1=1, axis2=2).T * strengths  # (n, r)
        identity = np.eye(count)
        for j in range(first, count):
            near = change[j, :j] @ solution[:j]
            known = source[j] + near + change @ near
            known += by_target @ (np.matmul(others[:, j, :j], solution[:j]) * strengths[:, None]).ravel()
            rate = change[j, j]
            # (1 - lacking) - (1 + rate)(1 + change) - Σ others, written without its ones.
            matrix = -(rate + lacking) * identity - (1.0 + rate) * change
            matrix -= np.tensordot(own[j], others, axes=1)
            solution[j, first:] = solve_triangular(
                matrix[first:, first:], known[first:], lower=True, check_finite=False, overwrite_b=True
            )
        return solution


def law_form(
    law: AffinePolynomials, keeps: Modes, increments: Modes, *, kept: bool = False, negligible: float = 1e-16
) -> PairForm:
    """The form of a step of the pair.

    Args:
        law: the polynomials.
        keeps: modes of f between the copies, that of the constant first.
        increments: modes of g, or of what is blended in, that of the constant first.
        kept: every copy is multiplied by f, as a perturbation of the memory is.
        negligible: size of modes for the largest that are left out.
    """
    moved = np.matmul(increments.weights, law.changes.reshape(*law.changes.shape[:2], -1))
    moved = moved.reshape(len(law.keep), -1, *law.changes.shape[2:])
    factor = law.keep if kept else np.ones(len(law.keep))
    strengths, matrices, ones = _combined(keeps, increments, moved, factor, negligible)
    # Of the constant's own 1, or f, the 1 is left out.
    ones[0] = -float(keeps.weights[0] @ law.release) if kept else 0.0
    matrices = matrices + ones[:, None, None] * np.eye(matrices.shape[1])
    return _relevant(strengths, matrices, negligible, about_one=True)


def source_form(
    law: AffinePolynomials,
    keeps: Modes,
    increments: Modes,
    *,
    factor: Float64 | None = None,
    distance: Literal["none", "from zero", "from target"] = "none",
    negligible: float = 1e-16,
) -> PairForm:
    """The form of what a step adds to a perturbation of the memory.

    Args:
        law: the polynomials.
        keeps, increments: modes of what f and g, or their slopes, share between the copies.
        factor: what every copy is multiplied by at the nodes of f, (keeps,).
        distance: whether every copy is multiplied by the old c as well, or by its distance from what is blended in.
        negligible: size of modes for the largest that are left out.
    """
    shape = law.changes.shape
    gammas = law.changes + np.eye(shape[2])
    moved = np.matmul(increments.weights, gammas.reshape(*shape[:2], -1)).reshape(shape[0], -1, *shape[2:])
    if distance != "none":
        moved = moved @ law.polynomials.multiplication
    if distance == "from target":
        weights = increments.weights * law.increments
        moved -= np.matmul(weights, gammas.reshape(*shape[:2], -1)).reshape(moved.shape)
    factor = np.ones(len(law.keep)) if factor is None else factor
    strengths, matrices, _ = _combined(keeps, increments, moved, factor, negligible)
    return _relevant(strengths, matrices, negligible, about_one=False)


def _combined(
    keeps: Modes, increments: Modes, moved: Float64, factor: Float64, negligible: float
) -> tuple[Float64, Float64, Float64]:
    """Products of modes that are not negligible: strengths (r,), matrices (r, n, n), and what becomes of the constant.

    The first is the product of the first ones.
    """
    strengths = keeps.strengths[:, None] * increments.strengths
    chosen = np.abs(strengths) > negligible * np.max(np.abs(strengths))
    chosen[0, 0] = True
    rows, columns = np.any(chosen, axis=1), np.any(chosen, axis=0)
    weights, masses = (keeps.weights * factor)[rows], np.sum(increments.weights, axis=1)[columns]
    # All products in one matrix multiplication, though not all are wanted.
    matrices = (weights @ moved[:, columns].reshape(len(factor), -1)).reshape(-1, len(masses), *moved.shape[2:])
    some = chosen[np.ix_(rows, columns)]
    ones = np.outer(np.sum(weights, axis=1), masses)
    return strengths[chosen], matrices[some], ones[some]


def _relevant(strengths: Float64, matrices: Float64, negligible: float, *, about_one: bool) -> PairForm:
    sizes = np.abs(strengths) * np.sum(matrices**2, axis=(1, 2))
    chosen = sizes > negligible * np.max(sizes)
    chosen[0] = True
    return PairForm(strengths[chosen], matrices[chosen], about_one)
