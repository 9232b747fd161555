"""The search for the gains and biases of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.objective import SEQUENCES, Terms, evaluate, peak_power
from meanfield.sampling.population import Layout
from meanfield.search_spaces import search_space
from meanfield.weight_ensembles import Ensemble, as_ensemble

Progress = Callable[[int, int, float], None]
"""Called as progress(evaluations made, evaluations at most, best value so far)."""

_WORST = -1e6  # value of a candidate that leaves the range of numbers
_FEWEST = 8  # evaluations that a budget must allow

SCAN = 32  # points of the Sobol scan, a power of two
REFINEMENT = 40  # evaluations of the local refinement at most
_SEARCH_GROUPS, _SEARCH_UNITS = 4, 96
_LARGEST_INPUT_GAIN = 1e3


@dataclass(frozen=True)
class Requirement:
    """A limit that the best network must keep, or the request cannot be satisfied."""

    name: str
    reason: str
    kept: Callable[[Terms], bool]
    found: Callable[[Terms], float]


REQUIREMENTS = (
    Requirement(
        "memory",
        "the mean square of the memory path over the whole length must be at least 1e-4; the inputs close the keep "
        "gate, so shorten the length or lower the power of the padding",
        lambda terms: terms.memory >= 1e-4,
        lambda terms: terms.memory,
    ),
    Requirement(
        "signal",
        "every quarter of the signal must move the last state by at least 1e-4 of its variance; raise the inputs' "
        "power or shorten the length",
        lambda terms: min(terms.responses) >= 1e-4 * (terms.variance + 0.01),
        lambda terms: min(terms.responses) / (terms.variance + 0.01),
    ),
    Requirement(
        "variance",
        "the last state must vary from sequence to sequence by at least 1e-8; raise the inputs' power",
        lambda terms: terms.variance >= 1e-8,
        lambda terms: terms.variance,
    ),
    Requirement(
        "stability",
        "a unit kick of the biases must not move the last state by more than 1e4; shorten the length",
        lambda terms: terms.bias_response <= 1e4,
        lambda terms: terms.bias_response,
    ),
)


@dataclass(frozen=True)
class Design:
    """What the search found.

    Attributes:
        network: the best network.
        parameters: the searched parameters at it.
        evaluations: how many networks were evaluated.
        status: how the search ended, a sentence.
    """

    network: Network
    parameters: dict[str, float]
    evaluations: int
    status: str


def search(
    cell: str,
    inputs: Inputs,
    *,
    length: int,
    seed: int,
    ensemble: Ensemble | str | None = None,
    budget: float | None = None,
    progress: Progress | None = None,
) -> Design:
    """Find the gains and biases with the largest objective: a Sobol scan, then Nelder-Mead from its best point.

    Args:
        cell: one that recipes are designed for.
        inputs: of the task.
        length: T.
        seed: of the scan and of the population's random numbers, which all candidates share.
        ensemble: of the recurrent matrices; by default orthogonal for cells without gates, Gaussian for others.
        budget: seconds after which no further network is evaluated; what is found then depends on the machine.
        progress: told after every evaluation.

    Raises:
        InvalidInput: if there is no search space for the cell, or the budget is not positive.
        Infeasible: if the inputs have no power, no candidate stays within the range of numbers, or the budget is below
            the cost of a scan.
    """
    space = search_space(cell)
    if budget is not None and not budget > 0.0:
        raise InvalidInput(f"budget: must be above 0 seconds, got {budget}")
    power = peak_power(inputs)
    if power * _LARGEST_INPUT_GAIN**2 < 1.0:
        raise Infeasible(
            f"no initialisation can pass a signal on: the inputs' peak power is {power:g}, and input gains up to "
            f"{_LARGEST_INPUT_GAIN:g} do not lift it to 1; scale the inputs"
        )
    root_power = math.sqrt(power)
    matrices = as_ensemble(space.ensemble if ensemble is None else ensemble)
    layout = Layout(_SEARCH_GROUPS, SEQUENCES, _SEARCH_UNITS)
    candidates = _Candidates(SCAN + REFINEMENT, budget, progress)

    def network_at(point: NDArray[np.float64]) -> Network:
        gates = space.gates(space.values(np.clip(point, 0.0, 1.0), length), root_power)
        return Network(cell, gates, matrices)

    def cost(point: NDArray[np.float64]) -> float:
        try:
            value = evaluate(network_at(point), inputs, length=length, layout=layout, seed=seed).value()
        except NotConverged:
            value = _WORST
        # Leaving the box is discouraged smoothly; the value is that of the nearest point inside.
        outside = float(np.sum(np.maximum(0.0, np.abs(point - 0.5) - 0.5)))
        candidates.add(np.clip(point, 0.0, 1.0), value)
        return -value + outside

    scan = qmc.Sobol(len(space.parameters), seed=np.random.default_rng([seed, 1000])).random(SCAN)
    status = f"the refinement stopped after {REFINEMENT} evaluations"
    try:
        for point in scan:
            cost(point)
        start = candidates.best
        simplex = np.vstack([start, *(start + 0.15 * (1 if share < 0.5 else -1) * row for share, row in _axes(start))])
        found: Any = minimize(
            cost,
            start,
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "maxfev": REFINEMENT, "xatol": 0.01, "fatol": 1e-3},
        )
        if found.success:
            status = "the refinement settled"
    except _BudgetSpent:
        if candidates.made < _FEWEST:
            raise Infeasible(
                f"the budget of {budget:g} s was spent on {candidates.made} of the {_FEWEST} networks that a search "
                f"needs at least; give it {_FEWEST / max(candidates.made, 1) * (budget or 0.0):.2g} s or more"
            ) from None
        status = f"the budget of {budget:g} s was spent"
    if candidates.best_value <= _WORST:
        raise Infeasible("no candidate stays within the range of numbers on these inputs; scale the inputs down")
    return Design(
        network=network_at(candidates.best),
        parameters=space.values(candidates.best, length),
        evaluations=candidates.made,
        status=status,
    )


class _BudgetSpent(Exception):
    """The time is over."""


class _Candidates:
    """What was evaluated: how many, the best of them, and whether there is time for more."""

    def __init__(self, most: int, budget: float | None, progress: Progress | None) -> None:
        self.made, self.best_value = 0, -math.inf
        self.best = np.empty(0)
        self._most, self._progress = most, progress
        self._end = math.inf if budget is None else monotonic() + budget

    def add(self, point: NDArray[np.float64], value: float) -> None:
        self.made += 1
        if value > self.best_value:
            self.best, self.best_value = point, value
        if self._progress is not None:
            self._progress(min(self.made, self._most), self._most, self.best_value)
        if monotonic() > self._end:
            raise _BudgetSpent


def check_sequences(inputs: Inputs) -> None:
    """Check that measured inputs hold enough sequences to compare.

    Raises:
        InvalidInput: if they do not.
    """
    if isinstance(inputs, MeasuredInputs) and inputs.sequences < SEQUENCES:
        raise InvalidInput(f"data: a recipe needs at least {SEQUENCES} sequences, got {inputs.sequences}")


def require(terms: Terms) -> None:
    """Check that a design keeps every requirement.

    Raises:
        Infeasible: naming the first that it does not.
    """
    for requirement in REQUIREMENTS:
        if not requirement.kept(terms):
            raise Infeasible(
                f"no parameters satisfy the {requirement.name} constraint (the best found has "
                f"{requirement.found(terms):.2g}): {requirement.reason}"
            )


def _axes(start: NDArray[np.float64]) -> list[tuple[float, NDArray[np.float64]]]:
    return [(float(share), row) for share, row in zip(start, np.eye(len(start)), strict=True)]
