"""Critical initialisations for many tasks at once, in the untied regime, with what the exact theory says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_moments import settle
from meanfield.closed_batch_pairs import growth
from meanfield.closed_batch_step import ManyUnits
from meanfield.closed_growth import closed_growth
from meanfield.closed_moments import closed_law
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.isometry_design import critical_family
from meanfield.network import Network
from meanfield.solvers.many_gaussian_products import shared_rule
from meanfield.solvers.threads import one_blas_thread

CELLS = ("vanilla", "leaky", "gru", "janet", "minimal", "peephole_lstm")
_RULES = ((512, 128), (1024, 512))  # intervals, Hermite polynomials
_AT_ONCE = 128
_ACCURACY = 1e-10  # bound up to which numbers of a shared rule are taken


@dataclass(frozen=True)
class CriticalRequest:
    """A task that a critical network is wanted for.

    Attributes:
        cell: one of :data:`CELLS`.
        length: T.
        inputs: white inputs.
    """

    cell: str
    length: int
    inputs: Inputs


@dataclass(frozen=True)
class CriticalDesign:
    """A critical network; errors are bounds.

    Attributes:
        network: the network.
        parameters: the numbers that were chosen.
        chi: χ_1, which is 1 within its bound.
        second_moment: E[s²].
    """

    network: Network
    parameters: dict[str, float]
    chi: Estimate
    second_moment: Estimate


def critical_designs(requests: Sequence[CriticalRequest]) -> list[CriticalDesign]:
    """Critical networks with untied Gaussian weights, in closed form, for many tasks (docs/isometry.md).

    They are those of ``search_isometry(..., regime="untied")``. Networks of one cell are checked together, on rules
    that they share.

    Args:
        requests: what is wanted.

    Returns:
        One design for each, in order, with bounds.

    Raises:
        InvalidInput: if a cell is not solved in closed form, or inputs are not white; the message has its number.
        Infeasible: if the inputs of a request have no power.
        NotConverged: if a network does not settle.

    >>> tasks = [CriticalRequest("gru", length, Inputs(size=8)) for length in (50, 500)]
    >>> [round(each.network.gates["f"].bias_mean, 6) for each in critical_designs(tasks)]
    [5.298317, 7.600902]
    """
    networks: list[Network] = []
    parameters: list[dict[str, float]] = []
    for index, request in enumerate(requests):
        if request.cell not in CELLS:
            raise InvalidInput(f"requests[{index}].cell: must be one of {', '.join(CELLS)}, got {request.cell!r}")
        found = critical_family(request.cell, request.inputs, length=request.length, regime="untied")
        networks.append(Network(request.cell, found.gates(found.gain)))
        parameters.append(found.parameters(found.gain))
    numbers = np.full((2, 2, len(requests)), np.nan)
    for cell in dict.fromkeys(request.cell for request in requests):
        which = [index for index, request in enumerate(requests) if request.cell == cell]
        for start in range(0, len(which), _AT_ONCE):
            part = which[start : start + _AT_ONCE]
            numbers[:, :, part] = _numbers([networks[k] for k in part], [requests[k].inputs for k in part])
    return [
        CriticalDesign(network, chosen, Estimate(*map(float, chi)), Estimate(*map(float, second)))
        for network, chosen, chi, second in zip(networks, parameters, numbers[0].T, numbers[1].T, strict=True)
    ]


def _numbers(networks: Sequence[Network], inputs: Sequence[Inputs]) -> NDArray[np.float64]:
    """χ_1 and E[s²] of networks of one cell, values and errors, (2, 2, networks)."""
    units = ManyUnits.of(networks, inputs)
    numbers = np.full((2, 2, len(units)), np.nan)
    left = np.arange(len(units))
    with one_blas_thread(), np.errstate(all="ignore"):  # what leaves the range of numbers is not settled
        for intervals, terms in _RULES:
            if not len(left):
                break
            laws = settle(units.chosen(left), shared_rule(intervals, terms))
            chi = growth(laws)[0]
            off = chi.error + sum(share * np.abs(growth(moved)[0].value - chi.value) for moved, share in laws.moved())
            good = laws.settled & (off <= _ACCURACY) & (laws.second.error <= _ACCURACY * laws.second.value)
            numbers[0][:, left[good]] = chi.value[good], off[good]
            numbers[1][:, left[good]] = laws.second.value[good], laws.second.error[good]
            left = left[~good]
    for index in left.tolist():
        law = closed_law(networks[index], inputs[index])
        found = closed_growth(law).chi
        numbers[:, :, index] = (found.value, found.error), (law.second_moment.value, law.second_moment.error)
    return numbers
