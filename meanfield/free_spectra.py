"""Singular values of untied Jacobians by free probability, for recurrent matrices of any rotation-invariant ensemble.

Source: J. Pennington, S. Schoenholz and S. Ganguli, Resurrecting the sigmoid in deep learning through dynamical
isometry (NeurIPS 2017), section 2; theory, section 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.cells.leaky import Leaky
from meanfield.cells.minimal import Minimal
from meanfield.cells.vanilla import Vanilla
from meanfield.checks import check_count
from meanfield.closed_moments import ClosedLaw, closed_law
from meanfield.diagonal_moments import diagonal_moments, preactivation_law
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.slope_laws import slope_law
from meanfield.solvers.free_products import FreeProduct
from meanfield.weight_ensembles import Ensemble, as_ensemble

Float64 = NDArray[np.float64]

_INTERVALS = (256, 512, 1024, 2048, 4096, 8192)  # of the rules behind the law of φ'²
_STILL = 1e-9  # change of a density of log s, or of an end's logarithm, with twice the intervals, that is small enough
_ROUNDING = 4e-15  # relative, of averages and what is made of them


@dataclass(frozen=True, eq=False)
class SingularDensity:
    """A density of singular values.

    Attributes:
        places: singular values, or their logarithms, (n,).
        values: density per unit of these, without atoms, (n,).
        errors: bounds on what numerics do to it, (n,).
    """

    places: Float64
    values: Float64
    errors: Float64


@dataclass(frozen=True, eq=False)
class FreeSpectrum:
    """Law of the singular values of J = ∂s_T/∂s_0 as N → ∞; all errors are bounds.

    Attributes:
        network, inputs, ensemble, steps: of what.
        first_moment: m1 = tr J Jᵀ/N.
        second_moment: m2 = tr (J Jᵀ)²/N.
        spread: m2/m1², one if all singular values are equal, infinite if all are zero.
        isometry_defect: (log m1)² + log(m2/m1²), zero for an isometry, infinite if all singular values are zero.
    """

    network: Network
    inputs: Inputs
    ensemble: Ensemble
    steps: int
    first_moment: Estimate
    second_moment: Estimate
    spread: Estimate
    isometry_defect: Estimate
    _law: ClosedLaw = field(repr=False)

    def density(self, singular_values: ArrayLike) -> SingularDensity:
        """Density per unit of the singular value, of vanilla cells.

        Args:
            singular_values: positive, (n,).

        Raises:
            InvalidInput: if a singular value is not positive and finite, or the cell is not a vanilla one.
            NotConverged: if the density is not resolved, as next to where it is infinite.
        """
        places = np.asarray(singular_values, dtype=np.float64).ravel()
        if not np.all((places > 0.0) & (places < np.inf)):
            raise InvalidInput("singular_values: must be positive and finite")
        found = self.log_density(np.log(places))
        return SingularDensity(places, found.values / places, found.errors / places)

    def log_density(self, log_singular_values: ArrayLike) -> SingularDensity:
        """Density per unit of the singular value's logarithm, which many steps need, of vanilla cells.

        Args:
            log_singular_values: natural logarithms, (n,).

        Raises:
            InvalidInput, NotConverged: as :meth:`density`.
        """
        places = np.asarray(log_singular_values, dtype=np.float64).ravel()
        if not np.all(np.isfinite(places)):
            raise InvalidInput("log_singular_values: must be finite")

        def values(product: FreeProduct, log_values: Float64) -> tuple[Float64, Float64]:
            found = product.found_log_density(2.0 * log_values)
            return 2.0 * found.values, 2.0 * found.errors  # per unit of log s, half of log s²

        return SingularDensity(places, *self._refined(values, places, "the density at log s ="))

    @property
    def edges(self) -> tuple[Estimate, Estimate]:
        """Smallest singular value apart from zero, and largest one; of vanilla cells, not all of them zero.

        Raises:
            InvalidInput: if the cell is not a vanilla one, or all singular values are zero.
            NotConverged: if an end of the support is not found.
        """
        product = self._product(self._law, _INTERVALS[0])
        if product.vanishes:
            raise InvalidInput(
                "recurrent_gain: must be positive for a spectrum with edges; all singular values are zero"
            )

        def values(product: FreeProduct, which: Float64) -> tuple[Float64, Float64]:
            try:
                ends = 0.5 * np.array(product.log_ends())[which.astype(int)]
            except ArithmeticError:
                return np.zeros_like(which), np.full_like(which, np.inf)
            return ends[:, 0], ends[:, 1]

        found = [Estimate(0.0, 0.0)]
        places = np.array([1.0] if product.reaches_zero else [0.0, 1.0])
        for value, error in zip(*self._refined(values, places, "edge"), strict=True):
            size = _exponential(float(value))
            found.append(Estimate(size, size * float(error)))
        return found[-2], found[-1]

    @property
    def zero_fraction(self) -> Estimate:
        """Share of singular values that are zero; of vanilla cells."""
        found = self._product(self._law, _INTERVALS[0]).zero_mass
        moved = sum(
            weight * abs(self._product(other, _INTERVALS[0]).zero_mass - found) for other, weight in self._law.moved()
        )
        return Estimate(found, moved + _ROUNDING * found)

    @property
    def atoms(self) -> tuple[tuple[Estimate, Estimate], ...]:
        """Singular values other than zero that many share, and their shares; of vanilla cells."""
        product = self._product(self._law, _INTERVALS[0])
        found = np.array([(math.sqrt(place), share) for place, share in product.atoms]).reshape(-1, 2)
        errors = _ROUNDING * self.steps * found
        for other, weight in self._law.moved():
            moved = self._product(other, _INTERVALS[0])
            if len(moved.atoms) == len(found):
                change = np.array([(math.sqrt(place), share) for place, share in moved.atoms]).reshape(-1, 2) - found
            else:  # a state that is zero within its error: its atom is spread by no more than this
                change = found * [math.expm1(abs(moved.log_mean - product.log_mean)), 0.0]
            errors = errors + weight * np.abs(change)
        return tuple(
            (Estimate(float(place), float(place_error)), Estimate(float(share), float(share_error)))
            for (place, share), (place_error, share_error) in zip(found, errors, strict=True)
        )

    def _product(self, law: ClosedLaw, intervals: int) -> FreeProduct:
        cell = self.network.definition
        if not isinstance(cell, Vanilla):
            raise InvalidInput(f"cell: only vanilla cells have a free density; of {cell.name!r} m1 and m2 are known")
        diagonal = slope_law(cell.activation, *preactivation_law(law, "field h"), intervals=intervals)
        gain = self.network.gates["h"].recurrent_gain
        return FreeProduct([(diagonal, self.steps), (self.ensemble.law(gain), self.steps)])

    def _refined(
        self, values: Callable[[FreeProduct, Float64], tuple[Float64, Float64]], places: Float64, what: str
    ) -> tuple[Float64, Float64]:
        """Values at places and their errors, with rules behind φ'² that are refined until they stand still."""
        found, errors = np.zeros_like(places), np.zeros_like(places)
        left = np.arange(places.size)
        previous: tuple[Float64, Float64] | None = None
        for intervals in _INTERVALS:
            current, error = values(self._product(self._law, intervals), places[left])
            still = np.zeros(left.size, dtype=bool)
            if previous is not None:
                with np.errstate(invalid="ignore"):
                    change, allowed = np.abs(current - previous[0]), 2.0 * (error + previous[1])
                still = np.isfinite(allowed) & (
                    change <= np.maximum(_STILL * np.maximum(1.0, np.abs(current)), allowed)
                )
                settled = left[still]
                found[settled], errors[settled] = current[still], error[still] + change[still]
                for other, weight in self._law.moved():
                    moved = values(self._product(other, intervals), places[settled])[0]
                    errors[settled] += weight * np.abs(moved - current[still])
            left, previous = left[~still], (current[~still], error[~still])
            if not left.size:
                return found, errors
        raise NotConverged(f"{what} {places[left[0]]:.6g} is not resolved with {_INTERVALS[-1]} nodes")


def free_singular_values(
    network: Network, inputs: Inputs | None = None, *, steps: int = 1, ensemble: Ensemble | str | None = None
) -> FreeSpectrum:
    """Singular values of the Jacobian over some steps as N → ∞, for any ensemble of the recurrent matrix.

    With D the diagonal of the slopes φ'(u), u Gaussian with the stationary variance of :func:`meanfield.fixed_points`:

    - vanilla cells, J = Π D_t W_t: the law of J Jᵀ is the free product of those of D² and W Wᵀ, each T times, and
      m2/m1² = 1 + T (E φ'⁴/(E φ'²)² - 1 + w), with w = 1 for Gaussian W and 0 for orthogonal ones. The weights of
      different steps are independent here. Where the same W serves at every step only alternating words in W and Wᵀ
      count as N → ∞, so the limit is the same at a fixed T; a network of width N departs from it once T² approaches N.
    - leaky and minimal ones, J = D + A W: m1 and m2 of one step. Over more steps the diagonals D of the skip path
      commute with each other, and factors are not free.

    Args:
        network: of one of these cells.
        inputs: white inputs of power R; power 1 by default.
        steps: T; 1 for leaky and minimal.
        ensemble: of the recurrent matrix, by default the network's; its singular values have a part in the law of u.

    Returns:
        Moments with error bounds; for vanilla cells density, edges and atoms.

    Raises:
        InvalidInput: if the cell is another one, the inputs are not white, a number is out of its range, or more than
            one step is asked for where only one is covered.
        NotConverged: if the second moments of the state have no stable fixed point.

    >>> import meanfield as mf
    >>> from meanfield.free_spectra import free_singular_values
    >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)})  # at zero, where φ' = 1
    >>> quiet = mf.Inputs(power=0.0)
    >>> free_singular_values(network, quiet, steps=3).spread.value  # of a product of three Gaussian matrices
    4.0
    >>> free_singular_values(network, quiet, steps=3, ensemble="orthogonal").spread.value
    1.0
    """
    check_count("steps", steps, 1)
    if not isinstance(network, Network):
        raise InvalidInput(f"network: must be a Network, got {network!r}")
    if not isinstance(network.definition, Vanilla | Leaky | Minimal):
        raise InvalidInput(f"cell: must be a vanilla, leaky or minimal one, got {network.cell!r}")
    matrices = as_ensemble(network.ensemble if ensemble is None else ensemble)
    inputs = inputs if inputs is not None else Inputs()
    if steps > 1 and not isinstance(network.definition, Vanilla):
        raise InvalidInput(f"steps: must be 1 for cell {network.cell!r}, whose skip paths are not free, got {steps}")
    law = closed_law(replace(network, ensemble=matrices), inputs)
    gain = network.gates[network.definition.fields[0].gate].recurrent_gain

    def moments(law: ClosedLaw, coarse: bool = False) -> Float64:
        first, second = matrices.moments()
        return np.array(diagonal_moments(law, coarse=coarse).jacobian(gain**2 * first, gain**4 * second))

    m1, m2 = (float(each) for each in moments(law))
    errors = np.abs(moments(law, coarse=True) - [m1, m2]) + _ROUNDING * np.array([m1, m2])
    errors += sum(share * np.abs(moments(other) - [m1, m2]) for other, share in law.moved())
    return FreeSpectrum(
        network, inputs, matrices, steps, *_over_steps(m1, m2, float(errors[0]), float(errors[1]), steps), law
    )


def _over_steps(
    m1: float, m2: float, e1: float, e2: float, steps: int
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """m1, m2, m2/m1² and the isometry defect of a product from those of one factor and their errors."""
    if m1 <= 0.0:
        nothing, infinite = Estimate(0.0, 0.0), Estimate(math.inf, 0.0)
        return nothing, nothing, infinite, infinite
    log_mean, log_error = steps * math.log(m1), steps * e1 / m1
    # The relative variances of free factors add up.
    spread = 1.0 + steps * max(m2 / m1**2 - 1.0, 0.0)
    spread_error = steps * (e2 / m1**2 + 2.0 * e1 * m2 / m1**3)
    first, second = _exponential(log_mean), _exponential(2.0 * log_mean) * spread
    defect = log_mean**2 + math.log(spread)
    return (
        Estimate(first, first * math.expm1(min(log_error, 1.0))),
        Estimate(second, second * (2.0 * log_error + spread_error / spread)),
        Estimate(spread, spread_error),
        Estimate(defect, 2.0 * abs(log_mean) * log_error + log_error**2 + spread_error / spread),
    )


def _exponential(logarithm: float) -> float:
    """exp, infinite where it is larger than numbers are."""
    return math.exp(logarithm) if logarithm < 709.0 else math.inf
