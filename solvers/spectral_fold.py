"""Edges of a spectrum as folds of the Dyson equation, where its Hessian is singular (theory, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.solvers.dyson import DysonEquation

Float64 = NDArray[np.float64]

_STEP = 1e-30  # of complex-step derivatives
_ITERATIONS = 30
_CONVERGED = 1e-9  # relative step after which the next is rounding


@dataclass(frozen=True)
class Fold:
    """Where two real solutions meet, in the units of J, and a bound of the error."""

    point: float
    error: float


def fold_near(equation: DysonEquation, point: float, unknowns: Float64) -> Fold | None:
    """The fold next to a real solution, by Newton's method in (u, w, v): ∂Φ/∂u = 0, ∂²Φ/∂u² v = 0, v fixed in size.

    Third derivatives are complex steps: the Hessian is analytic, and real for real arguments.

    Args:
        equation: the Dyson equation.
        point: real w near the fold, in the units of J.
        unknowns: the real solution there, (2C,), in the units of the equation's pencils.

    Returns:
        None if Newton's method does not converge.
    """
    scale = equation.pencils.scale
    w, u = point / scale, unknowns.copy()
    with np.errstate(all="ignore"):
        size = len(u)
        # Unknowns in units of their own, so that the null vector has no dimension.
        unit = np.abs(u) + 1e-300
        first = equation.stationarity(np.array([w], np.complex128), u[None].astype(np.complex128))
        vectors = np.linalg.eigh(unit[:, None] * first.hessian[0].real * unit)
        v = unit * vectors[1][:, np.argmin(np.abs(vectors[0]))]
        direction = v / unit**2
        direction /= direction @ v
        for _ in range(_ITERATIONS):
            complexes = np.stack((u, u + 1j * _STEP * v, u)).astype(np.complex128)
            found = equation.stationarity(np.array([w, w, w + 1j * _STEP], np.complex128), complexes)
            hessian = found.hessian[0].real
            along, by_point = found.hessian[1].imag / _STEP, found.hessian[2].imag / _STEP
            system = np.zeros((2 * size + 1, 2 * size + 1))
            system[:size, :size], system[:size, size] = hessian, found.mixed[0].real
            system[size:-1, :size], system[size:-1, size] = along, by_point @ v
            system[size:-1, size + 1 :], system[-1, size + 1 :] = hessian, direction
            right = -np.concatenate((found.gradient[0].real, hessian @ v, [direction @ v - 1.0]))
            if not (np.all(np.isfinite(system)) and np.all(np.isfinite(right))):
                return None
            try:
                step = np.linalg.solve(system, right)
            except np.linalg.LinAlgError:
                return None
            u, w, v = u + step[:size], w + step[size], v + step[size + 1 :]
            if abs(step[size]) <= _CONVERGED * abs(w):
                return Fold(float(w * scale), float((abs(step[size]) ** 1.5 + 1e-13 * abs(w)) * scale))
    return None
