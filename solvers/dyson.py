"""The operator-valued Dyson equation of a recurrent cell's Jacobian (theory, section 5; Helton et al. 2007).

The Hermitisation H = [[0, J - z], [(J - z)*, 0]] has as its eigenvalues ± the singular values of J - z. As N → ∞ its
resolvent is that of the units' pencils K (:mod:`meanfield.solvers.unit_pencils`), with α_c and β_c where

    Φ(w) = E log det(K Π(-α)) + Σ_c α_c β_c        is stationary,        tr (H - w)⁻¹/(2 S N) = -Φ'(w)/(2 S).

There are 2C unknowns, whatever the numbers of fields and state variables. For Im w > 0 exactly one stationary point has
Im α ≤ 0 and Im β ≤ 0, and where it continues analytically to real w it is the limit: signs certify what Newton's method
has found. For other matrices than Gaussian ones the last sum is another function of two or four unknowns a matrix, all
with Im ≤ 0 (:mod:`meanfield.solvers.self_energies`; Belinschi, Mai and Speicher 2017 for the uniqueness).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.free_laws import PositiveLaw
from meanfield.solvers.self_energies import is_gaussian, self_energy
from meanfield.solvers.threads import in_parts, one_blas_thread
from meanfield.solvers.unit_pencils import UnitPencils

Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]

_AT_ONCE = 1 << 14  # units times points that are worked on at once
_FAR = 3.0  # height over the real axis, in units of √m1, from which solutions are continued
_AVERAGED = 4  # averaged iterations before Newton's method
_STARTS = 8  # how often these are repeated, twice as many each time
_NEWTON = 8  # steps of Newton's method at a point
_CONVERGED = 1e-9  # relative size of a step after which the next would be rounding
_FIRST_FACTOR = 0.1  # by which the height falls at first
_LAST_FACTOR = 0.9  # of the height; slower than this is no progress
ROUNDING = 2e-15  # relative, of w
_NEAR = 1e-4  # height at which a point may be left
_LOWEST = 1e-13  # height below which the axis itself is the next aim


@dataclass(frozen=True)
class Stationarity:
    """Derivatives of Φ at points w and values u of the n unknowns, (α, β) for Gaussian matrices.

    Attributes:
        gradient: ∂Φ/∂u, (points, n).
        hessian: ∂²Φ/∂u², (points, n, n).
        slope: ∂Φ/∂w, (points,).
        mixed: ∂²Φ/∂w∂u, (points, n).
        curvature: ∂²Φ/∂w², (points,).
    """

    gradient: Complex128
    hessian: Complex128
    slope: Complex128
    mixed: Complex128
    curvature: Complex128


@dataclass(frozen=True)
class DysonSolution:
    """Solutions of the Dyson equation, in the units of J.

    Attributes:
        points: the spectral parameters w that were asked for, (points,).
        reached: those that were reached: the same but for a few real ones where the density is not analytic at the
            resolution of numbers, which are then short of the axis, (points,).
        trace: g = tr (H - w)⁻¹/(2 S N) there, (points,).
        errors: of the trace as g(w): the last step of Newton's method, and what the distance to ``reached`` may make
            even at an edge, (points,).
        derivative: dg/dw, (points,).
        unknowns: u there in units of the pencils' scale, (points, n).
        outside: whether w is real and outside the support, all unknowns being real, (points,).
    """

    points: Complex128
    reached: Complex128
    trace: Complex128
    errors: Float64
    derivative: Complex128
    unknowns: Complex128
    outside: NDArray[np.bool_]


class DysonEquation:
    """The equation for one sample of units.

    Args:
        sample: coefficients without leading axes.
        shift: z; zero for singular values of J.
        matrices: law of the squared singular values of the matrices: one point for orthogonal ones, a uniform band, or
            None for Gaussian ones. Only its shape counts: gains are root mean squares.

    Raises:
        ValueError: if the law of the matrices is another one.

    >>> one = np.ones((4, 1, 1))
    >>> equation = DysonEquation(CircuitSample(0 * one, one, one, 0 * one, np.array([1.0]), np.array([0])))
    >>> equation.solve([1.0]).trace.round(12)  # the semicircle: g = (-w + √(w² - 4))/2
    array([-0.5+0.8660254j])
    """

    def __init__(self, sample: CircuitSample, shift: complex = 0.0, matrices: PositiveLaw | None = None) -> None:
        self.pencils = UnitPencils.of(sample, shift, by_field=not is_gaussian(matrices))
        self.energy = self_energy(matrices, self.pencils.returned, self.pencils.power, self.pencils.reads)
        self._dimension = 2 * self.pencils.variables
        polynomials = self.pencils.determinants()
        exponents = np.roll(polynomials.exponents, -1, axis=1)  # of (α, β, w)
        self._coefficients = polynomials.coefficients
        self._degrees = exponents.max(axis=0)
        size = self.pencils.carriers + self.pencils.groups + 1
        self._firsts = [
            _derivative(exponents, self._degrees),
            *(_derivative(exponents, self._degrees, v) for v in range(size)),
        ]
        self._seconds = {(i, j): _derivative(exponents, self._degrees, i, j) for i in range(size) for j in range(i + 1)}

    def solve(self, points: ArrayLike) -> DysonSolution:
        """Solve at points with Im w ≥ 0; real ones stand for the limit from above.

        Raises:
            ValueError: if a point is not finite or below the real axis.
            ArithmeticError: if coefficients are not finite, or a point was not reached to 1e-4 √m1.
        """
        asked = np.atleast_1d(np.asarray(points, dtype=np.complex128))
        if np.any(asked.imag < 0.0) or not np.all(np.isfinite(asked)):
            raise ValueError("spectral parameters must be finite and not below the real axis")
        if not np.all(np.isfinite(self._coefficients)):
            raise ArithmeticError("the circuit's coefficients are not finite")
        with one_blas_thread(), np.errstate(all="ignore"):
            path = _Path(self, asked / self.pencils.scale)
            path.start()
            path.follow()
            return path.solution(asked)

    def cross_trace(self, solution: DysonSolution) -> Complex128:
        """Trace of the lower left block of (H - w)⁻¹ over S N: tr (J - z)⁻¹/(S N), regularised, as w → 0, (points,).

        Its derivative by z̄ is minus π times the density of the eigenvalues of J at z.
        """
        S, C = self.pencils.variables, self.pencils.carriers
        w, u = solution.reached / self.pencils.scale, self.energy.of_units(solution.unknowns)
        found = np.empty(len(w), np.complex128)
        for k in range(len(w)):
            inverse = np.linalg.inv(self.pencils.matrices(w[k : k + 1], u[k : k + 1, :C], u[k : k + 1, C:])[0])
            found[k] = np.mean(np.trace(inverse[:, S : 2 * S, :S], axis1=1, axis2=2)) / S
        return found / self.pencils.scale

    def stationarity(self, w: Complex128, unknowns: Complex128) -> Stationarity:
        """Derivatives of Φ at scaled points (points,) and unknowns (points, n)."""
        variables, change = self.energy.of_units(unknowns), self.energy.to_units
        count, size = variables.shape
        out = Stationarity(
            np.empty((count, size), np.complex128),
            np.empty((count, size, size), np.complex128),
            np.empty(count, np.complex128),
            np.empty((count, size), np.complex128),
            np.empty(count, np.complex128),
        )
        at_once = max(1, _AT_ONCE // len(self._coefficients))
        parts = -(-count // at_once)

        def work(first: int, last: int) -> None:
            with np.errstate(all="ignore"):
                for part in range(first, last):
                    some = slice(part * at_once, (part + 1) * at_once)
                    self._differentiate(w[some], variables[some], out, some)

        in_parts(work, parts)
        if change is not None:
            hessian = change @ out.hessian @ change.T
            out = Stationarity(out.gradient @ change.T, hessian, out.slope, out.mixed @ change.T, out.curvature)
        with np.errstate(all="ignore"):
            self.energy.add_derivatives(unknowns, out.gradient, out.hessian)
        return out

    def _differentiate(self, w: Complex128, variables: Complex128, out: Stationarity, some: slice) -> None:
        """E log det and its derivatives, to be written to some of the points."""
        variables = np.concatenate((variables, w[:, None]), axis=1)
        size, units = variables.shape[1], len(self._coefficients)
        monomials = self._monomials(variables)
        firsts = np.stack([factors * monomials[:, at] for factors, at in self._firsts], axis=1)
        # Complex arithmetic by real and imaginary parts: matrix products of real coefficients, contiguous over units.
        halves = np.stack((firsts.real, firsts.imag), axis=1).reshape(-1, self._coefficients.shape[1])
        values = (halves @ self._coefficients.T).reshape(len(w), 2, size + 1, units)
        real, imaginary = values[:, 0], values[:, 1]
        inverse = 1.0 / (real[:, 0] ** 2 + imaginary[:, 0] ** 2)
        c, s = real[:, 0] * inverse, -imaginary[:, 0] * inverse  # 1/det
        ratios = np.empty((len(w), 2 * size, units))
        for v in range(size):
            ratios[:, v] = real[:, 1 + v] * c - imaginary[:, 1 + v] * s
            ratios[:, size + v] = real[:, 1 + v] * s + imaginary[:, 1 + v] * c
        means = np.mean(ratios, axis=2)
        means = means[:, :size] + 1j * means[:, size:]
        gram = ratios @ ratios.transpose(0, 2, 1) / units
        products = gram[:, :size, :size] - gram[:, size:, size:] + 1j * (gram[:, :size, size:] + gram[:, size:, :size])
        # E[coefficient/det] of every term gives the averages of all second derivatives, (points, terms).
        weights = (c @ self._coefficients + 1j * (s @ self._coefficients)) / units
        for (i, j), (factors, at) in self._seconds.items():
            second = np.sum(factors * monomials[:, at] * weights, axis=1) - products[:, i, j]
            if i < size - 1:
                out.hessian[some, i, j] = out.hessian[some, j, i] = second
            elif j < size - 1:
                out.mixed[some, j] = second
            else:
                out.curvature[some] = second
        out.gradient[some] = means[:, :-1]
        out.slope[some] = means[:, -1]

    def _monomials(self, variables: Complex128) -> Complex128:
        """All products of powers of (α, β, w) up to the degrees, (points, products)."""
        found = np.ones((len(variables), 1), dtype=np.complex128)
        for v, degree in enumerate(self._degrees):
            powers = variables[:, v, None] ** np.arange(degree + 1)
            found = (found[:, :, None] * powers[:, None, :]).reshape(len(variables), -1)
        return found


class _Path:
    """Points on their way from far above the real axis down to their aims, all at once; units are those of √m1."""

    def __init__(self, equation: DysonEquation, aims: Complex128) -> None:
        self._equation, self._aims = equation, aims
        self._w = aims.real + 1j * np.maximum(aims.imag, _FAR)
        self._u = equation.energy.far / self._w[:, None]
        self._rate = np.zeros_like(self._u)  # du/dw
        self._trace = np.zeros_like(self._w)
        self._derivative = np.zeros_like(self._w)
        self._errors = np.zeros(len(aims))

    def start(self) -> None:
        """Solve far above the axis: averaged iterations, which converge from anywhere, then Newton's method."""
        todo = np.arange(len(self._w))
        for attempt in range(_STARTS):
            for _ in range(_AVERAGED << attempt):
                found = self._equation.stationarity(self._w[todo], self._u[todo])
                following = self._equation.energy.iterated(self._u[todo], found.gradient)
                self._u[todo] = 0.5 * (self._u[todo] + following)
            todo = todo[~self._solve(todo, self._w[todo], self._u[todo])]
            if not len(todo):
                return
        raise ArithmeticError("the Dyson equation did not converge far from the spectrum; coefficients may be extreme")

    def follow(self) -> None:
        """Go down, further at a time while it works; what can get no further stays where it is."""
        factors = np.full(len(self._w), _FIRST_FACTOR)
        todo = np.flatnonzero(self._w != self._aims)
        while len(todo):
            height = factors[todo] * self._w[todo].imag
            height = np.where(height < np.maximum(self._aims[todo].imag, _LOWEST), self._aims[todo].imag, height)
            following = self._aims[todo].real + 1j * height
            guess = _predicted(self._u[todo], self._rate[todo], self._w[todo][:, None], following[:, None])
            done = self._solve(todo, following, guess)
            factors[todo] = np.where(done, factors[todo] ** 2, np.sqrt(factors[todo]))
            todo = todo[(self._w[todo] != self._aims[todo]) & (factors[todo] <= _LAST_FACTOR)]

    def _solve(self, which: NDArray[np.intp], w: Complex128, guess: Complex128) -> NDArray[np.bool_]:
        """Newton's method at w for some of the points; where it succeeds with the right signs they move there."""
        u, far = guess.copy(), self._equation.energy.far
        active = np.arange(len(which))
        done = np.zeros(len(which), dtype=np.bool_)
        for _ in range(_NEWTON):
            found = self._equation.stationarity(w[active], u[active])
            step, rate = _linear_solutions(found)
            u[active] += step
            size = np.max(np.abs(step) / (np.abs(u[active]) + 1e-12 * far + 1e-300), axis=1, initial=0.0)
            ended = size <= _CONVERGED
            if np.any(ended):
                last = active[ended]
                right = _certified(u[last], rate[ended], far)
                done[last] = right
                moved, took = which[last[right]], np.flatnonzero(ended)[right]
                self._w[moved], self._u[moved], self._rate[moved] = w[last[right]], u[last[right]], rate[took]
                change = np.sum(found.mixed[took] * step[took], axis=1)
                curvature = found.curvature[took] + np.sum(found.mixed[took] * rate[took], axis=1)
                self._trace[moved] = -(found.slope[took] + change) / self._equation._dimension
                self._derivative[moved] = -curvature / self._equation._dimension
                self._errors[moved] = np.abs(change) / self._equation._dimension
            active = active[~ended & np.isfinite(size)]
            if not len(active):
                break
        return done

    def solution(self, asked: Complex128) -> DysonSolution:
        """In the units of J."""
        scale = self._equation.pencils.scale
        away = self._w != self._aims
        far = np.abs(self._w - self._aims) > _NEAR
        if np.any(far):
            raise ArithmeticError(
                f"the Dyson equation was not solved at w = {asked[far][0]:.6g}: its solution was lost at a height of "
                f"{self._w[far][0].imag:.1g} root mean square singular values"
            )
        # Rounding, of w too: next to an edge it counts by its square root.
        errors = self._errors + 1e-14 * np.abs(self._trace) + ROUNDING * np.abs(self._derivative * self._w)
        # Where g has a square root of the distance to an edge, the difference is twice the derivative times the height.
        errors += 4.0 * np.abs(self._derivative * (self._w - self._aims))
        return DysonSolution(
            points=asked,
            reached=np.where(away, self._w * scale, asked),
            trace=self._trace / scale,
            errors=errors / scale,
            derivative=self._derivative / scale**2,
            unknowns=self._u,
            outside=(self._aims.imag == 0.0) & ~away & _are_real(self._u, self._equation.energy.far),
        )


def _derivative(exponents: NDArray[np.intp], degrees: NDArray[np.intp], *by: int) -> tuple[Float64, NDArray[np.intp]]:
    """Factors of the terms' derivatives by some variables, and where their products are among all; each (terms,)."""
    strides = np.append(np.cumprod(degrees[:0:-1] + 1)[::-1], 1)
    powers, factors = exponents.copy(), np.ones(len(exponents))
    for v in by:
        factors = factors * powers[:, v]
        powers[:, v] -= 1
    return factors, np.where(factors > 0.0, powers @ strides, 0)


def _linear_solutions(found: Stationarity) -> tuple[Complex128, Complex128]:
    """Newton's step and du/dw, (points, 2C) each; not finite where the Hessian is singular."""
    right = -np.stack((found.gradient, found.mixed), axis=-1)
    finite = np.all(np.isfinite(found.hessian), axis=(1, 2)) & np.all(np.isfinite(right), axis=(1, 2))
    out = np.full_like(right, np.nan)
    try:
        out[finite] = np.linalg.solve(found.hessian[finite], right[finite])
    except np.linalg.LinAlgError:
        for k in np.flatnonzero(finite):
            try:
                out[k] = np.linalg.solve(found.hessian[k], right[k])
            except np.linalg.LinAlgError:
                continue
    return out[..., 0], out[..., 1]


def _predicted(u: Complex128, rate: Complex128, w: Complex128, following: Complex128) -> Complex128:
    """Unknowns at the following points by their slopes, as powers of w, which they are next to zero."""
    power = u * (following / w) ** (rate * w / u)
    return np.where(np.isfinite(power), power, u + rate * (following - w))


def _are_real(u: Complex128, far: Float64) -> NDArray[np.bool_]:
    """Whether all unknowns of a point are real up to rounding."""
    return np.all(np.abs(u.imag) <= _rounding(u, far), axis=1)


def _certified(u: Complex128, rate: Complex128, far: Float64) -> NDArray[np.bool_]:
    """Whether solutions are the limit from above: Im u ≤ 0, and where they are real they go below with Im w."""
    signs = np.all(u.imag <= _rounding(u, far), axis=1)
    falls = np.all(rate.real <= 0.0, axis=1)
    return np.asarray(np.where(_are_real(u, far), falls, signs), dtype=np.bool_)


def _rounding(u: Complex128, far: Float64) -> Float64:
    return np.asarray(1e-10 * (np.abs(u) + 1e-12 * far))
