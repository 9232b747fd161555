"""The search for the gains and biases of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.objective import SEQUENCES, evaluate_many, peak_power, sequences_for
from meanfield.objective_terms import Terms
from meanfield.sampling.population import Layout
from meanfield.search_spaces import search_space
from meanfield.term_model import TermModel
from meanfield.weight_ensembles import Ensemble, as_ensemble

Float64 = NDArray[np.float64]
Progress = Callable[[int, int, float], None]
"""Called as progress(evaluations made, evaluations at most, best value so far)."""

SCAN = 16  # points of the Sobol scan, a power of two
ROUNDS, BATCH = 8, 4  # rounds of proposals after it at most, and how many networks each
FINALISTS = 4  # networks that are compared once more, with other random numbers
EVALUATIONS = SCAN + ROUNDS * BATCH + FINALISTS
_APART = 0.1  # least distance between finalists, as a share of the ranges
_AT_ONCE = 8  # networks of the scan that run side by side
_REACH, _SHRINK = 0.5, 0.75  # how far from the best point proposals are looked for, and its share in the next round
_BROAD_ROUNDS = 2  # first rounds, which look at the whole range: there may be several hills
_STILL, _GAIN = 3, 0.005  # rounds without so much gain after which the search has settled
_SETTLED = "the search settled"
_MEASURED_SEQUENCES = 8
_DIFFERENCES = 8  # of components between the sequences of a group, at least, that the variance V is taken from
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
    """Find the gains and biases with the largest objective: a Sobol scan, then where a model of its terms is best.

    Args:
        cell: one that recipes are designed for.
        inputs: of the task.
        length: T.
        seed: of the scan and of the population's random numbers, which all candidates share.
        ensemble: of the recurrent matrices; by default orthogonal for cells without gates, Gaussian for others.
        budget: seconds after which no further networks are evaluated, but eight are in any case; what is found then
            depends on the machine.
        progress: told after every evaluation.

    Raises:
        InvalidInput: if there is no search space for the cell, or the budget is not positive.
        Infeasible: if the inputs have no power, or no candidate stays within the range of numbers.
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
    layout = search_layout(inputs)
    end = math.inf if budget is None else monotonic() + budget

    def network_at(point: Float64) -> Network:
        return Network(cell, space.gates(space.values(point, length), root_power), matrices)

    def terms_at(points: Float64, layout: Layout, seed: int) -> list[Terms | None]:
        networks = [network_at(point) for point in points]
        try:
            return evaluate_many(networks, inputs, length=length, layout=layout, seed=seed)
        except NotConverged:
            return [None] * len(networks)

    def evaluated(state: SearchState, points: Float64) -> SearchState:
        following = state.with_terms(points, terms_at(points, layout, seed))
        if progress is not None:
            progress(min(len(following.terms), EVALUATIONS), EVALUATIONS, following.best_value)
        return following

    state = SearchState.start(len(space.parameters))
    scan = qmc.Sobol(len(space.parameters), seed=np.random.default_rng([seed, 1000])).random(SCAN)
    for first in range(0, SCAN, _AT_ONCE):
        if first == 0 or monotonic() <= end:
            state = evaluated(state, scan[first : first + _AT_ONCE])
    if not math.isfinite(state.best_value):
        raise Infeasible("no candidate stays within the range of numbers on these inputs; scale the inputs down")
    while (status := _ended(state)) is None and monotonic() <= end:
        points = _proposals(state, np.random.default_rng([seed, 1001, state.round]))
        if not len(points):
            status = _SETTLED
            break
        state = evaluated(state, points).after_round()
    finalists = state.finalists(FINALISTS)
    best, compared = state.points[finalists[0]], 0
    if len(finalists) > 1 and monotonic() <= end:
        # What was best by the accidents of one set of random numbers is not with others.
        others = values_of(terms_at(state.points[finalists], replace(layout, groups=2 * layout.groups), seed + 2))
        best = state.points[finalists[int(np.argmax(state.values[finalists] + others))]]
        compared = len(finalists)
    return Design(
        network=network_at(best),
        parameters=space.values(best, length),
        evaluations=len(state.terms) + compared,
        status=status if status is not None else f"the budget of {budget:g} s was spent",
    )


def search_layout(inputs: Inputs) -> Layout:
    """The population that candidates are compared with.

    Narrow groups overstate gradients, so that those on white inputs are few and as wide as certificates of small
    networks have. Measured sequences differ more from each other than units do, and want more groups; the variance of
    the last state hangs on how many there are. So it does on white sequences of few components, which differ from each
    other by few numbers.

    >>> search_layout(Inputs(size=2)), search_layout(Inputs(size=28)).sequences
    (Layout(groups=2, sequences=5, units=128, device='cpu', networks=1), 2)
    """
    sequences = sequences_for(inputs)
    if isinstance(inputs, MeasuredInputs):
        return Layout(4, min(_MEASURED_SEQUENCES, inputs.sequences), 64)
    wanted = max(sequences, 1 + math.ceil(_DIFFERENCES / max(inputs.size, 1)))
    # So many sequences at most can overlap by so little.
    room = wanted if inputs.overlap >= 0.0 else max(2, math.floor(1.0 - 1.0 / inputs.overlap))
    return Layout(2, min(wanted, room), 128)


@dataclass(frozen=True, eq=False)
class SearchState:
    """A search under way.

    Attributes:
        points: of the unit cube that were evaluated, (points, parameters).
        terms: of the networks there; None where they leave the range of numbers.
        best_values: the best J after the scan and after every round.
    """

    points: Float64
    terms: tuple[Terms | None, ...]
    best_values: tuple[float, ...]

    @classmethod
    def start(cls, parameters: int) -> SearchState:
        return cls(np.empty((0, parameters)), (), ())

    @property
    def round(self) -> int:
        """How many rounds after the scan are over."""
        return len(self.best_values)

    @cached_property
    def values(self) -> Float64:
        """J at every point, -inf where there is none."""
        return values_of(self.terms)

    @property
    def best_value(self) -> float:
        return float(np.max(self.values))

    @property
    def best(self) -> Float64:
        """The best point, (parameters,)."""
        return np.asarray(self.points[int(np.argmax(self.values))])

    @property
    def known(self) -> tuple[Float64, list[Terms]]:
        """Points with numbers, and these."""
        where = [index for index, each in enumerate(self.terms) if each is not None]
        return self.points[where], [each for each in self.terms if each is not None]

    def finalists(self, count: int) -> list[int]:
        """Indices of the best points that are apart from each other, at most ``count``, the best one first."""
        chosen: list[int] = []
        for index in np.argsort(-self.values, kind="stable").tolist():
            apart = all(np.max(np.abs(self.points[index] - self.points[other])) > _APART for other in chosen)
            if len(chosen) < count and apart and math.isfinite(self.values[index]):
                chosen.append(index)
        return chosen

    def with_terms(self, points: Float64, terms: Sequence[Terms | None]) -> SearchState:
        return replace(self, points=np.concatenate((self.points, points)), terms=(*self.terms, *terms))

    def after_round(self) -> SearchState:
        return replace(self, best_values=(*self.best_values, self.best_value))


def values_of(terms: Sequence[Terms | None]) -> Float64:
    return np.array([-math.inf if each is None else each.value() for each in terms])


def _proposals(state: SearchState, generator: np.random.Generator) -> Float64:
    """The points of the next round."""
    points, terms = state.known
    parameters = points.shape[1]
    if len(points) <= parameters:
        # Too few for a model: more of the whole range.
        return np.asarray(generator.random((BATCH, parameters)))
    model = TermModel.through(points, terms)
    if state.round < _BROAD_ROUNDS:
        return model.anywhere(BATCH, avoid=state.points, generator=generator)
    reach = _REACH * _SHRINK**state.round
    return model.around(state.best, reach, BATCH, avoid=state.points, generator=generator)


def _ended(state: SearchState) -> str | None:
    """Why the search is over, a sentence; None while it is not."""
    if state.round >= ROUNDS:
        return f"the search stopped after {ROUNDS} rounds"
    values = state.best_values
    if len(values) > _STILL and values[-1] - values[-1 - _STILL] < _GAIN:
        return _SETTLED
    return None


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
