"""Where the eigenvalues of a one-step Jacobian lie (theory, section 5; Can et al. 2020; Ahmadian et al. 2015).

Eliminating the state, λ is an eigenvalue of J if 1 - W B(λ) is singular, with the per-unit transfer from fields to
carriers B(λ) = P (λ - D)⁻¹ A + Q. The support is where the map of field variances

    M_kl(λ) = σ_k² E|B_c(k)l(λ)|²

has spectral radius of at least one. Inside it, the logarithmic potential of the eigenvalues is

    Φ(z) = E log|det(z - D)|² + extremum over m, b of [E log det(1 + b B a B†) - Σ_c m_c b_c],   a_k = σ_k² m_c(k),

and its gradient on a closed curve gives the mass that the curve encloses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.eigenvalue_potential import EigenvaluePotential
from meanfield.solvers.free_laws import PositiveLaw
from meanfield.solvers.self_energies import is_gaussian

_NO_VARIANCE = 1e-150
_FASTEST_RATE = 0.9999  # the iteration's error is extrapolated as if it shrank at least this fast
_NEAREST, _FARTHEST = -25.0, 300.0  # logarithms of the distances between which an edge is looked for
Float64 = NDArray[np.float64]
Complex128 = NDArray[np.complex128]


def resolvent(D: NDArray, z: NDArray) -> NDArray:  # type: ignore[type-arg]
    """(z - D)⁻¹ for every unit, (…, S, S); z has the shape of D's leading axes."""
    shifted = z[..., None, None] * np.eye(D.shape[-1]) - D
    if D.shape[-1] == 1:
        return 1.0 / shifted
    if D.shape[-1] == 2:
        # Cramer's rule; a library call for every unit would dominate.
        (a, b), (c, d) = ((shifted[..., i, 0], shifted[..., i, 1]) for i in range(2))
        out = np.empty_like(shifted)
        out[..., 0, 0], out[..., 0, 1], out[..., 1, 0], out[..., 1, 1] = d, -b, -c, a
        return out / (a * d - b * c)[..., None, None]
    return np.linalg.inv(shifted)


def variance_map_radius(sample: CircuitSample, z: NDArray) -> Float64:  # type: ignore[type-arg]
    """ρ(M(z)) for every leading sample; z has the sample's leading shape, or broadcasts with it."""
    units = sample.state_to_state.shape[-3]
    points = np.broadcast_to(np.asarray(z)[..., None], (*np.shape(z), units))
    transfer = sample.state_to_carrier @ resolvent(sample.state_to_state, points) @ sample.field_to_state
    transfer = transfer + sample.field_to_carrier
    strengths = np.mean(np.abs(transfer) ** 2, axis=-3)  # (…, C, K)
    matrix = sample.gains[:, None] ** 2 * strengths[..., sample.carrier_of, :]
    if np.all(sample.carrier_of == sample.carrier_of[0]):
        # One carrier: every row is proportional to the same vector, so the radius is the trace.
        return np.trace(matrix, axis1=-2, axis2=-1)
    return np.max(np.abs(np.linalg.eigvals(matrix)), axis=-1)


def rightmost_eigenvalue(sample: CircuitSample) -> Float64:
    """Largest real part of the eigenvalues of J for every sample, for networks of the sample's width.

    The sample has one leading axis. Right of the largest eigenvalue of any unit's D the radius falls with λ, and
    |λ - D| is smallest on the real axis; so the edge is the one root there of ρ(M(λ)) = 1, or that largest eigenvalue
    itself where ρ stays below one.

    Raises:
        ArithmeticError: if the root was not found to 1e-10 relative to its distance from D.
    """
    D = sample.state_to_state
    own = D[..., 0, 0] if D.shape[-1] == 1 else np.max(np.linalg.eigvals(D).real, axis=-1)
    floor = np.max(own, axis=-1)
    scale = 1.0 + np.abs(floor)

    def excess(log_distance: Float64, which: NDArray[np.intp]) -> Float64:
        """log ρ(M) at a distance right of the floor, for some of the samples."""
        points = floor[which] + scale[which] * np.exp(log_distance)
        return np.log(variance_map_radius(sample.taken(which), points) + 1e-300)

    everything = np.arange(len(floor))
    inside = np.flatnonzero(excess(np.full(len(floor), _NEAREST), everything) > 0.0)
    high = np.full(len(inside), 1.0)
    while len(inside) and np.any(outside := excess(high, inside) > 0.0):
        if np.any(high > _FARTHEST):
            raise ArithmeticError("the eigenvalue edge lies beyond the range of numbers; lower the recurrent gains")
        high = np.where(outside, high + 2.0, high)
    edge = floor.copy()
    if len(inside):
        found = elementwise.find_root(
            excess, (np.full(len(inside), _NEAREST), high), args=(inside,), tolerances={"xatol": 1e-10, "fatol": 1e-13}
        )
        if not np.all(found.success):
            raise ArithmeticError("the eigenvalue edge was not found; the circuit's coefficients may not be finite")
        edge[inside] += scale[inside] * np.exp(found.x)
    return edge


def mass_near(
    sample: CircuitSample,
    *,
    centre: float = 1.0,
    radius: float = 0.1,
    points: int = 64,
    matrices: PositiveLaw | None = None,
) -> Float64:
    """Share of the eigenvalues of J within ``radius`` of ``centre``, for every leading sample.

    The gradient of the potential is integrated by the trapezoid rule around the circle. The share is of all S N
    eigenvalues. For ``matrices`` see :class:`~meanfield.solvers.eigenvalue_potential.EigenvaluePotential`.

    Raises:
        ArithmeticError: if the fixed point of the potential was not reached.
    """
    # Points off the real axis, where D has its eigenvalues; the lower half plane mirrors the upper one.
    angles = (np.arange(points // 2) + 0.5) * (2.0 * np.pi / points)
    circle = radius * np.exp(1j * angles)
    leading = sample.state_to_state.shape[:-3]
    if not is_gaussian(matrices):
        shares = [_mass_of(sample.at(index), circle, centre, matrices) for index in np.ndindex(*leading)]
        return np.reshape(shares, leading)
    total = np.zeros(leading)
    sample = sample.reached()
    for offset in circle:
        total += (offset * _potential_gradient(sample, centre + offset)).real
    return total / len(circle) / sample.variables


def _mass_of(sample: CircuitSample, circle: Complex128, centre: float, matrices: PositiveLaw | None) -> float:
    """The share of one sample, from points of the upper half of a circle around zero."""
    potential = EigenvaluePotential(sample, matrices)
    moved = float(np.mean((circle * potential.at(centre + circle).gradient).real))
    atoms = np.sum(np.abs(potential.minors.atoms - centre) < np.abs(circle[0]))
    return moved + float(atoms) / (potential.minors.units * potential.minors.variables)


def _potential_gradient(sample: CircuitSample, z: complex) -> Complex128:
    """∂Φ/∂z at one point, of the sample's leading shape."""
    D, A, P = sample.state_to_state, sample.field_to_state, sample.state_to_carrier
    inverse = resolvent(D, np.full(D.shape[:-2], z))
    response = inverse @ A
    transfer: Complex128 = np.asarray(P @ response + sample.field_to_carrier, dtype=np.complex128)
    derivative = -(P @ inverse @ response)
    bare = np.mean(np.trace(inverse, axis1=-2, axis2=-1), axis=-1)
    if P.shape[-2] == 1:
        weight = sample.gains**2
        strength = np.sum(weight * np.abs(transfer[..., 0, :]) ** 2, axis=-1)  # (…, units)
        slope = np.sum(weight * derivative[..., 0, :] * transfer[..., 0, :].conj(), axis=-1)
        product = _single_carrier_product(strength)[..., None]
        return bare + np.mean(product * slope / (1.0 + product * strength), axis=-1)
    forward, backward = _many_carrier_variances(transfer, sample.gains, sample.carrier_of)
    inner, _, weighted = _inverse_kernel(transfer, sample.gains, sample.carrier_of, forward, backward)
    moved = np.einsum("...ck,...dk->...cd", weighted * derivative, transfer.conj())
    return bare + np.mean(np.einsum("...dc,...c,...cd->...", inner, backward[..., None, :], moved), axis=-1)


def _single_carrier_product(strength: Float64) -> Float64:
    """q ≥ 0 with E[τ/(1 + qτ)] = 1, zero where E[τ] ≤ 1; Newton from the left, where it converges monotonically."""
    q = np.zeros(strength.shape[:-1])
    for _ in range(200):
        denominator = 1.0 + q[..., None] * strength
        value = np.mean(strength / denominator, axis=-1) - 1.0
        slope = -np.mean((strength / denominator) ** 2, axis=-1)
        step = np.divide(-value, slope, out=np.zeros_like(value), where=value > 0.0)
        q = q + step
        if np.all(step <= 1e-12 * (1.0 + q)):
            return q
    raise ArithmeticError("the eigenvalue density did not converge in 200 steps; a unit may sit at the point itself")


def _inverse_kernel(
    transfer: Complex128, gains: Float64, carrier_of: NDArray[np.intp], forward: Float64, backward: Float64
) -> tuple[Complex128, Complex128, Float64]:
    """(1 + b B a B†)⁻¹ and B a B† per unit, and a_k."""
    weighted = (gains**2 * forward[..., carrier_of])[..., None, None, :]
    gram = np.einsum("...ck,...dk->...cd", weighted * transfer, transfer.conj())
    kernel = np.eye(transfer.shape[-2]) + backward[..., None, :, None] * gram
    return np.linalg.inv(kernel), gram, weighted


def _many_carrier_variances(
    transfer: Complex128, gains: Float64, carrier_of: NDArray[np.intp]
) -> tuple[Float64, Float64]:
    """The extremum (m, b), each (…, C): m_c = ∂/∂b_c and b_c = ∂/∂m_c of E log det(1 + b B a B†).

    Solved by iteration in the logarithms, whose error changes by a constant factor a step, of either sign, and is
    extrapolated; where the spectral radius of M is at most one, outside the support, the extremum is zero.

    Raises:
        ArithmeticError: if 1000 steps do not suffice.
    """
    carriers = transfer.shape[-2]
    selects = (carrier_of[None, :] == np.arange(carriers)[:, None]).astype(np.float64)
    strengths = np.mean(np.abs(transfer) ** 2, axis=-3)
    map_of_variances = (gains**2 * strengths) @ selects.T
    outside = np.max(np.abs(np.linalg.eigvals(map_of_variances)), axis=-1) <= 1.0 + 1e-9

    def mapped(logarithms: Float64) -> Float64:
        forward, backward = np.exp(logarithms[..., :carriers]), np.exp(logarithms[..., carriers:])
        inner, gram, _ = _inverse_kernel(transfer, gains, carrier_of, forward, backward)
        # Carriers that nothing comes back through in some sample tend to zero; their logarithms stop at the floor.
        new_forward = np.maximum(np.mean(np.einsum("...cd,...dc->...c", gram, inner).real, axis=-2), _NO_VARIANCE)
        per_field = np.einsum("...dk,...de,...e,...ek->...k", transfer.conj(), inner, backward[..., None, :], transfer)
        new_backward = np.maximum(np.mean((gains**2 * per_field.real) @ selects.T, axis=-2), _NO_VARIANCE)
        # m and b may be scaled against each other; equal sums fix the scale.
        balance = np.sqrt(new_backward.sum(-1) / new_forward.sum(-1))[..., None]
        return np.log(np.concatenate((new_forward * balance, new_backward / balance), axis=-1))

    logarithms = np.zeros((*outside.shape, 2 * carriers))
    earlier = np.zeros_like(logarithms)
    for iteration in range(1000):
        change = mapped(logarithms) - logarithms
        logarithms = logarithms + change
        # What matters are the products m b: near the boundary of the support, and for carriers that hardly take part,
        # they are small and their logarithms slow.
        products = np.exp(logarithms[..., :carriers] + logarithms[..., carriers:])
        moved = (np.abs(change[..., :carriers]) + np.abs(change[..., carriers:])) * products
        if np.all(outside | (np.max(moved, axis=-1) <= 1e-9 * (1.0 + np.max(products, axis=-1)))):
            inside = ~outside[..., None]
            return inside * np.exp(logarithms[..., :carriers]), inside * np.exp(logarithms[..., carriers:])
        if iteration % 6 == 5:
            ratio = np.sum(change * earlier, axis=-1) / np.maximum(np.sum(earlier**2, axis=-1), 1e-300)
            ratio = np.where(outside, 0.0, np.clip(ratio, -_FASTEST_RATE, _FASTEST_RATE))
            logarithms = logarithms + (ratio / (1.0 - ratio))[..., None] * change
        earlier = change
    raise ArithmeticError("the eigenvalue density did not converge in 1000 steps; move the point off the boundary")
