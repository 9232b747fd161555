"""What closed maps say of many untied networks of one cell at once, on rules that they share.

The numbers of a network are the same, to the last bit, whatever other networks are beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_forms import ManyStepForms
from meanfield.closed_batch_moments import ManyLaws, forgotten, padded, settle
from meanfield.closed_batch_overlap import settle_overlaps
from meanfield.closed_batch_sensitivity import direct_path, input_response
from meanfield.closed_batch_step import ManyUnits
from meanfield.closed_cells import closed_cell
from meanfield.closed_growth import slow_timescale
from meanfield.closed_memory import MemoryPath
from meanfield.closed_transfer import Circuit, Transfer, transfer_of_many
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.many_gaussian_products import SharedRule, shared_rule
from meanfield.solvers.threads import one_blas_thread

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_RULES = ((256, 64), (512, 128), (1024, 512))  # intervals, Hermite polynomials
_ACCURACY = 1e-10  # bound up to which numbers of a shared rule are taken
_ROUNDING = 1e-15
_CANCELLED = 1e-12  # of Q* over the state's variance: error of the overlap that no rule improves


@dataclass(frozen=True, eq=False)
class SteadyRule(SharedRule):
    """A rule whose sums for one law are the same, rounding and all, however many laws there are."""

    def sums(self, values: Float64, weights: Float64) -> tuple[Float64, Float64]:
        # One product for every law: the blocks of one for all of them would depend on how many there are.
        columns = weights if weights.ndim == 2 else weights[:, None]
        rows = values[..., None, :]
        first = (rows[..., : self.coarse] @ columns[: self.coarse])[..., 0, :]
        whole = 0.5 * (first + (rows[..., self.coarse :] @ columns[self.coarse :])[..., 0, :])
        return (whole, first) if weights.ndim == 2 else (whole[..., 0], first[..., 0])


@lru_cache(maxsize=8)
def _steady_rule(intervals: int, terms: int) -> SteadyRule:
    return SteadyRule(**vars(shared_rule(intervals, terms)))


@dataclass(frozen=True, eq=False)
class SettledNetwork:
    """One network, whatever the number of steps; errors are bounds.

    Attributes:
        second_moment: E[s²].
        overlap: C*, the overlap that uncorrelated copies reach.
        chi: χ_1.
        log_chi: log χ_1.
        timescale: ξ_1, None where χ_1 is not below 1.
        transfer: how one more step changes the moments of the diagonal of J Jᵀ.
        response: S(0), the sensitivity to what the last step reads.
        memory: one step of the direct path through the keep gate; None without one.
        eigenvalue_edge: of the one-step Jacobian; None where the state is kept by a gate.
    """

    second_moment: Estimate
    overlap: Estimate
    chi: Estimate
    log_chi: Estimate
    timescale: Estimate | None
    transfer: Transfer
    response: Estimate
    memory: MemoryPath | None
    eigenvalue_edge: Estimate | None


def settled_networks(networks: Sequence[Network], inputs: Sequence[Inputs]) -> list[SettledNetwork | None]:
    """Everything that closed maps say of networks, on rules that they share.

    Args:
        networks: of one cell, for which :func:`meanfield.closed_batch_step.shares_a_rule` holds.
        inputs: white inputs of each of them.

    Returns:
        One for each network, in order; None where no shared rule settles it.
    """
    found: list[SettledNetwork | None] = [None] * len(networks)
    # What some of the networks lack is left out for all of them, so those that are put together lack the same.
    alike: dict[object, list[int]] = {}
    units = ManyUnits.of(networks, inputs)
    reads = np.array([_squared_input_gains(network) for network in networks]).T
    for index, network in enumerate(networks):
        pattern = (units.squared_gains[:, :, index] > 0.0).tobytes(), (reads[:, index] > 0.0).tobytes()
        alike.setdefault((*pattern, network.matrices), []).append(index)
    gated = networks[0].definition.keep_gate is not None
    with one_blas_thread(), np.errstate(all="ignore"):  # what leaves the range of numbers is not settled
        for left in alike.values():
            for intervals, terms in _RULES:
                if not left:
                    break
                which = padded(np.array(left))
                circuit = Circuit.of(units.cell, [networks[index] for index in which])
                made = _on_rule(
                    units.chosen(which), circuit, reads[:, which], _steady_rule(intervals, terms), gated=gated
                )
                for place, index in enumerate(left):
                    found[index] = made[place]
                left = [index for index in left if found[index] is None]
    return found


def _squared_input_gains(network: Network) -> list[float]:
    """ν² of what inputs add to every Gaussian variable."""
    reads = {f"drive {name}": network.gates[name].input_gain ** 2 for name in network.definition.input_gates}
    noises = closed_cell(network.definition).noises
    return [sum(reads.get(member, 0.0) for member in members) for members in noises.values()]


def _on_rule(
    units: ManyUnits, circuit: Circuit, reads: Float64, rule: SharedRule, *, gated: bool
) -> list[SettledNetwork | None]:
    """All numbers of networks on one rule; None of those that it does not settle."""
    laws = settle(units, rule)
    points = settle_overlaps(laws)
    forms = ManyStepForms(laws.steps)
    step = transfer_of_many(circuit, forms, laws.mean, laws.second, points.chi.value)
    response = input_response(laws, reads)
    path: tuple[Bounded, ...] = direct_path(laws, forms) if gated else ()
    for moved, share in laws.moved():
        others = ManyStepForms(moved.steps)
        beside = transfer_of_many(circuit, others, moved.mean, moved.second, points.chi.value)
        step = Transfer(
            _widened(step.matrix, beside.matrix, share),
            _widened(step.start, beside.start, share),
            _widened(step.growth, beside.growth, share),
        )
        response = _widened(response, input_response(moved, reads), share)
        if path:
            pairs = zip(path, direct_path(moved, others), strict=True)
            path = tuple(_widened(number, other, share) for number, other in pairs)
    good = laws.settled & points.settled & _accurate(laws, points.overlap, points.chi, step, response)
    for each in path:
        good &= np.isfinite(each.value) & (each.error <= _ACCURACY * np.abs(each.value))
    found: list[SettledNetwork | None] = []
    for k, fine in enumerate(good.tolist()):
        if not fine:
            found.append(None)
            continue
        chi, lacking = _estimate(points.chi, k), _estimate(points.lacking, k)
        found.append(
            SettledNetwork(
                second_moment=_estimate(laws.second, k),
                overlap=_estimate(points.overlap, k),
                chi=chi,
                log_chi=_logarithm(chi, lacking),
                timescale=slow_timescale(chi, lacking.value, lacking.error),
                transfer=Transfer(step.matrix[..., k], step.start[..., k], step.growth[..., k]),
                response=_estimate(response, k),
                memory=_memory(_estimate(path[0], k), _estimate(path[1], k)) if path else None,
                eigenvalue_edge=None if path else _edge(float(forgotten(laws.steps)[0].value[k]), chi),
            )
        )
    return found


def _logarithm(number: Estimate, lacking: Estimate) -> Estimate:
    """The logarithm, from one minus the number where that keeps more digits."""
    logarithm = math.log1p(-lacking.value) if abs(lacking.value) < 0.5 else math.log(number.value)
    off = min(lacking.error, number.error) / number.value
    return Estimate(logarithm, -math.log1p(-off) + _ROUNDING * abs(logarithm))


def _memory(lost: Estimate, spread: Estimate) -> MemoryPath:
    log_square = _logarithm(Estimate(1.0 - lost.value, lost.error), lost)
    # It is never below one; at one all its digits are rounding.
    logarithm = math.log(max(spread.value, 1.0))
    return MemoryPath(log_square, Estimate(logarithm, -math.log1p(-spread.error / spread.value) + _ROUNDING))


def _edge(lost: float, chi: Estimate) -> Estimate:
    """D + √(χ - D²), where D is the same for all units: the eigenvalues fill a disk around it (theory, section 5)."""
    keep = 1.0 - lost
    radius = math.sqrt(max(chi.value - keep**2, 0.0))
    off = chi.error / radius if radius**2 > 2.0 * chi.error else math.sqrt(3.0 * chi.error)
    return Estimate(keep + radius, off + _ROUNDING * (keep + radius))


def _widened(number: Bounded, beside: Bounded, share: Float64) -> Bounded:
    """A number with what the error of a carrier's second moment adds to its own."""
    return Bounded(number.value, number.error + share * np.abs(beside.value - number.value))


def _estimate(numbers: Bounded, index: int) -> Estimate:
    return Estimate(float(numbers.value[index]), float(numbers.error[index]))


def _accurate(laws: ManyLaws, overlap: Bounded, chi: Bounded, step: Transfer, response: Bounded) -> Mask:
    """Whether errors are those of rounding, (networks,)."""
    share = (laws.second.value - laws.mean.value**2) / laws.second.value
    good = laws.second.error <= _ACCURACY * laws.second.value
    good &= (chi.error <= _ACCURACY * chi.value) & (chi.value > 0.0)
    good &= overlap.error <= np.maximum(_ACCURACY, _CANCELLED / share)
    good &= response.error <= _ACCURACY * response.value
    for each in (step.matrix, step.start):
        axes = tuple(range(each.value.ndim - 1))
        good &= np.max(each.error, axis=axes) <= _ACCURACY * np.max(np.abs(each.value), axis=axes)
    return good & (np.abs(step.growth.value - 1.0) <= _ACCURACY)
