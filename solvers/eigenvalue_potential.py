"""The logarithmic potential of the eigenvalues of a one-step Jacobian and its derivatives (theory, section 5).

With the minors N_ΓΛ(z) of :mod:`meanfield.solvers.transfer_minors`, for every part of a circuit

    Φ(z) = (1/N) log|det(z - J)|² = E log p - Σ_c m_c b_c,    p = Σ_j e^{E_j·u} T_j(z),    T_j = Σ |N|²,

at the stationary u = (log m, log b); outside the support m = b = 0. p has no poles and no negative terms. All of it is
analytic: with g = ∂²Φ/∂z∂u and H = ∂²Φ/∂u²,

    dΦ/dz = E ∂_z p/p,    d²Φ/dz dz̄ = E[∂_z∂_z̄ p/p - |∂_z p/p|²] - g H⁻¹ ḡ = π S times the density of eigenvalues.

Matrices that are not Gaussian have unknowns of their own (:mod:`meanfield.solvers.matrix_answers`) and, beside the
outside, holes (:mod:`meanfield.solvers.matrix_phases`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.band_averages import BandAverages
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.field_variances import Curvature, curvature, leading_vectors, stationary_variances
from meanfield.solvers.free_laws import PositiveLaw
from meanfield.solvers.matrix_answers import MatrixShares, answer_curvature, matrix_answers
from meanfield.solvers.matrix_phases import Phase, phases_of
from meanfield.solvers.self_energies import band_of, is_gaussian
from meanfield.solvers.threads import in_parts, one_blas_thread
from meanfield.solvers.transfer_minors import Minors, TransferMinors, minors_of

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]
Polynomial = NDArray[np.inexact]

_AT_ONCE = 1 << 15  # units times points that are worked on at once
_LARGEST = 1e280  # stands for infinity at a pole
_OUTSIDE = 1e-12  # ρ(M) - 1 up to which a point counts as outside
_ROUNDING = 1e-15
_ERROR = 10.0  # times the terms of the density times the last step in a logarithm


@dataclass(frozen=True)
class PotentialValues:
    """Derivatives of the potential at points of the plane, over all eigenvalues λ of J.

    Attributes:
        gradient: E 1/(z - λ), without the atoms, (points,).
        density: of the eigenvalues without the atoms, (points,).
        errors: of the density: what the last step of Newton's method and rounding may make, (points,).
    """

    gradient: Complex128
    density: Float64
    errors: Float64


class EigenvaluePotential:
    """The potential of one sample of units.

    Args:
        sample: coefficients without leading axes.
        matrices: law of the squared singular values of the matrices: one point for orthogonal ones, a uniform band, or
            None for Gaussian ones. Only its shape counts: gains are root mean squares.

    Attributes:
        minors: what is known of the units, their poles and atoms.

    Raises:
        ValueError: if the law of the matrices is another one.
        ArithmeticError: if coefficients are not finite.

    >>> one = np.ones((4, 1, 1))
    >>> potential = EigenvaluePotential(CircuitSample(0 * one, one, one, 0 * one, np.array([1.0]), np.array([0])))
    >>> found = potential.at([0.3 + 0.4j, 2.0])  # the unit disc: E 1/(z - λ) is z̄ inside and 1/z outside
    >>> found.gradient.round(12), (np.pi * found.density).round(12)
    (array([0.3-0.4j, 0.5+0.j ]), array([1., 0.]))
    """

    def __init__(self, sample: CircuitSample, matrices: PositiveLaw | None = None) -> None:
        self._parts: Sequence[_Part]
        if is_gaussian(matrices):
            self.minors: TransferMinors = minors_of(sample)
            self._parts = [_Part(minors) for minors in self.minors.parts]
        else:
            band = band_of(matrices)
            self.minors = minors_of(sample, by_field=True)
            self._parts = [_MatrixPart(minors, band) for minors in self.minors.parts]

    @property
    def has_holes(self) -> bool:
        """Whether there may be holes that are not a place where no matrix acts: phases other than the empty one."""
        return any(part.phases > 1 for part in self._parts)

    def log_radius(self, points: ArrayLike, *, outer: bool = False) -> Float64:
        """log ρ(M(z)), positive in the support, of the shape of the points; inf at poles, -inf without matrices.

        With ``outer`` it is that of the empty phase, which is also positive in the holes of matrices that are not
        Gaussian; without, the least one of all phases.
        """
        z = np.asarray(points, dtype=np.complex128)
        flat, out = z.ravel(), np.full(z.size, -np.inf)

        def work(some: slice) -> None:
            for part in self._parts:
                found = np.log(part.radius(flat[some], outer=outer))
                out[some] = np.maximum(out[some], np.where(found > np.log(_LARGEST) - 30.0, np.inf, found))

        self._in_chunks(work, z.size)
        return out.reshape(z.shape)

    def at(self, points: ArrayLike) -> PotentialValues:
        """Gradient and density at points (points,).

        Raises:
            ArithmeticError: if the stationary point was not reached.
        """
        z = np.atleast_1d(np.asarray(points, dtype=np.complex128))
        S = self.minors.variables
        found = PotentialValues(np.zeros(len(z), np.complex128), np.zeros(len(z)), np.zeros(len(z)))

        def work(some: slice) -> None:
            for part in self._parts:
                gradient, density, errors = part.derivatives(z[some])
                found.gradient[some] += gradient / S
                found.density[some] += density / (np.pi * S)
                found.errors[some] += errors / (np.pi * S)

        self._in_chunks(work, len(z))
        if not np.all(np.isfinite(found.gradient) & np.isfinite(found.density) & np.isfinite(found.errors)):
            raise ArithmeticError("the density of eigenvalues is not a number somewhere; coefficients may be extreme")
        return found

    def _in_chunks(self, work: Callable[[slice], None], count: int) -> None:
        at_once = max(1, _AT_ONCE // self.minors.units)

        def chunks(first: int, last: int) -> None:
            with np.errstate(all="ignore"):
                for chunk in range(first, last):
                    work(slice(chunk * at_once, min((chunk + 1) * at_once, count)))

        with one_blas_thread():
            in_parts(chunks, -(-count // at_once))


class _Part:
    """One part of a circuit, at a few points at once; arrays over units are (points, units) or (1, units)."""

    phases = 1

    def __init__(self, minors: Minors) -> None:
        self._exponents = minors.exponents.astype(np.float64)
        self._polynomials = minors.polynomials
        self._carriers = minors.carriers
        self._single = [j for j, each in enumerate(minors.exponents) if each.sum() == 2]

    def radius(self, z: Complex128, *, outer: bool = False) -> Float64:
        """ρ(M), large instead of infinite, (points,)."""
        squares = {j: _squares(self._polynomials[j], z) for j in (0, *self._single)}
        return _spectral_radius(self._variance_map(squares, len(z)))

    def derivatives(self, z: Complex128) -> tuple[Complex128, Float64, Float64]:
        """Gradient, density times π and its errors, for one state variable; each (points,)."""
        squares = {j: _squares(group, z) for j, group in enumerate(self._polynomials)}
        variance_map = self._variance_map(squares, len(z))
        inside = _spectral_radius(variance_map) > 1.0 + _OUTSIDE
        gradient = np.zeros(len(z), dtype=np.complex128)
        density, errors = np.zeros(len(z)), np.zeros(len(z))
        if not np.all(inside):
            (poles,), at = self._polynomials[0], z[~inside]
            gradient[~inside] = np.mean(_value(_slope(poles), at) / _value(poles, at), axis=1)
        if np.any(inside):
            terms = np.stack([np.broadcast_to(each, (len(z), each.shape[1]))[inside] for each in squares.values()])
            found = self._inside(z[inside], terms, variance_map[inside])
            gradient[inside], density[inside], errors[inside] = found
        return gradient, density, errors

    def _inside(self, z: Complex128, terms: Float64, variance_map: Float64) -> tuple[Complex128, Float64, Float64]:
        exponents = self._exponents
        solution = stationary_variances(exponents, terms, variance_map)
        at = curvature(exponents, terms, solution.logarithms)
        return self._second_derivatives(z, terms, solution.logarithms, at, solution.steps, None)

    def _second_derivatives(
        self,
        z: Complex128,
        terms: Float64,
        logarithms: Float64,
        at: Curvature,
        steps: Float64,
        change: Float64 | None,
    ) -> tuple[Complex128, Float64, Float64]:
        """Gradient, density times π and its errors at a stationary point.

        Args:
            z: points of the plane, (points,).
            terms: T there, (terms, points, units).
            logarithms: the variables of p, (points, variables).
            at: curvature of the potential.
            steps: last steps of Newton's method, (points,).
            change: derivatives of the variables by the unknowns of the curvature, (points, unknowns, variables), if
                these are others.
        """
        exponents = self._exponents
        # All of this is divided by p: p itself is the sum of the weighted terms.
        weights = np.exp(exponents @ logarithms.T)[:, :, None]
        weights = weights / np.sum(weights * terms, axis=0)
        total = np.zeros(terms.shape[1:], dtype=np.complex128)  # ∂_z p/p
        second = np.zeros(terms.shape[1:])  # ∂_z∂_z̄ p/p
        moved = np.zeros((exponents.shape[1], len(z)), dtype=np.complex128)
        for j, group in enumerate(self._polynomials):
            changing = [each for each in group if len(each) > 1]
            if not changing:
                continue
            slopes = [_value(_slope(each), z) for each in changing]
            first = weights[j] * sum(s * np.conj(_value(each, z)) for s, each in zip(slopes, changing, strict=True))
            total += first
            second += weights[j] * sum(_square(s) for s in slopes)
            moved += exponents[j][:, None] * np.mean(first, axis=1)
        mixed = (moved - np.mean(at.powers * total, axis=2)).T  # g
        if change is not None:
            mixed = np.einsum("puv,pv->pu", change, mixed)
        spread = np.mean(second - _square(total), axis=1)
        response = np.sum(mixed * at.solved(mixed.conj()), axis=1).real
        size = np.mean(second + _square(total), axis=1) + np.abs(response)
        errors = size * (_ERROR * steps + _ROUNDING * at.condition())
        return np.mean(total, axis=1), np.maximum(spread - response, 0.0), errors

    def _variance_map(self, squares: dict[int, Float64], points: int) -> Float64:
        """M over carriers, (points, C, C)."""
        C = self._carriers
        out = np.zeros((points, C, C))
        for j in self._single:
            forward, backward = np.flatnonzero(self._exponents[j])
            out[:, backward - C, forward] = _mean_ratio(squares[j], squares[0])
        return out


class _MatrixPart(_Part):
    """One part of a circuit whose matrices are orthogonal or have singular values in a band."""

    def __init__(self, minors: Minors, band: BandAverages | None) -> None:
        super().__init__(minors)
        self._reads, self._shares = minors.reads, MatrixShares(band)
        self._phases = phases_of(minors, 1.0 if band is None else band.inverse_square)
        self.phases = len(self._phases)

    def radius(self, z: Complex128, *, outer: bool = False) -> Float64:
        """The least ρ of all phases, or that of the empty one."""
        squares = {j: _squares(group, z) for j, group in enumerate(self._polynomials)}
        phases = self._phases[:1] if outer else self._phases
        return np.asarray(np.min([self._phase_radius(phase, squares, len(z)) for phase in phases], axis=0))

    def derivatives(self, z: Complex128) -> tuple[Complex128, Float64, Float64]:
        squares = {j: _squares(group, z) for j, group in enumerate(self._polynomials)}
        radii = np.array([self._phase_radius(phase, squares, len(z)) for phase in self._phases])
        found, lowest = np.argmin(radii, axis=0), np.min(radii, axis=0)
        inside = lowest > 1.0 + _OUTSIDE
        gradient = np.zeros(len(z), dtype=np.complex128)
        density, errors = np.zeros(len(z)), np.zeros(len(z))
        for i, phase in enumerate(self._phases):
            here = ~inside & (found == i)
            if np.any(here):
                (polynomial,), at = self._polynomials[phase.dominant], z[here]
                gradient[here] = np.mean(_value(_slope(polynomial), at) / _value(polynomial, at), axis=1)
        if np.any(inside):
            terms = np.stack([np.broadcast_to(each, (len(z), each.shape[1]))[inside] for each in squares.values()])
            gradient[inside], density[inside], errors[inside] = self._of_answers(z[inside], terms)
        return gradient, density, errors

    def _of_answers(self, z: Complex128, terms: Float64) -> tuple[Complex128, Float64, Float64]:
        by_field = self._variances_by_field(terms)
        onto = np.zeros((len(self._reads), self._carriers))
        onto[np.arange(len(self._reads)), self._reads] = 1.0
        forward, back = leading_vectors(by_field @ onto)
        a = np.einsum("pc,pcg->pg", back, by_field)
        solution = matrix_answers(self._exponents, terms, self._reads, self._shares, forward, a)
        at = answer_curvature(self._exponents, terms, self._reads, self._shares, solution.kappa, solution.tilt)
        return self._second_derivatives(z, terms, at.logarithms, at.curvature, solution.steps, at.change)

    def _variances_by_field(self, terms: Float64) -> Float64:
        """E|B|² of every carrier and field, gains included, (points, C, G)."""
        out = np.zeros((terms.shape[1], self._carriers, len(self._reads)))
        for j in self._single:
            field, carrier = np.flatnonzero(self._exponents[j])
            out[:, carrier - len(self._reads), field] = _mean_ratio(terms[j], terms[0])
        return out

    def _phase_radius(self, phase: Phase, squares: dict[int, Float64], points: int) -> Float64:
        out = np.zeros((points, self._carriers, self._carriers))
        for row, column, j, factor in phase.entries:
            out[:, row, column] += factor * _mean_ratio(squares[j], squares[phase.dominant])
        return _spectral_radius(out)


def _mean_ratio(square: Float64, dominant: Float64) -> Float64:
    """Mean over units of a ratio of squares."""
    ratio = square / dominant
    # At a common zero of both, which no common factor explains, the unit takes no part.
    return np.asarray(np.mean(np.where(np.isnan(ratio), 0.0, np.minimum(ratio, _LARGEST)), axis=1))


def _spectral_radius(matrices: Float64) -> Float64:
    """Of matrices without negative entries, (points,)."""
    C = matrices.shape[-1]
    if C == 1:
        return matrices[:, 0, 0]
    size = np.maximum(np.max(matrices, axis=(1, 2)), 1e-300)
    scaled = matrices / size[:, None, None]
    if C == 2:
        a, b, c, d = scaled[:, 0, 0], scaled[:, 0, 1], scaled[:, 1, 0], scaled[:, 1, 1]
        return np.asarray(size * 0.5 * (a + d + np.sqrt((a - d) ** 2 + 4.0 * b * c)))
    return np.asarray(size * np.max(np.abs(np.linalg.eigvals(scaled)), axis=1))


def _value(polynomial: Polynomial, z: Complex128) -> NDArray[np.inexact]:
    """(points, units), or (1, units) for a constant."""
    value = polynomial[-1][None]
    for coefficients in polynomial[-2::-1]:
        value = value * z[:, None] + coefficients
    return value


def _slope(polynomial: Polynomial) -> Polynomial:
    """The derivative by z."""
    return polynomial[1:] * np.arange(1.0, len(polynomial))[:, None] if len(polynomial) > 1 else 0.0 * polynomial


def _square(value: NDArray[np.inexact]) -> Float64:
    return np.asarray(value.real**2 + value.imag**2 if np.iscomplexobj(value) else value**2)


def _squares(group: tuple[Polynomial, ...], z: Complex128) -> Float64:
    """Sum of the squares of some polynomials."""
    total = _square(_value(group[0], z))
    for each in group[1:]:
        total = total + _square(_value(each, z))
    return total
