"""The search for the gains and biases of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Gate, Network
from meanfield.objective import SEQUENCES, Terms, evaluate, peak_power
from meanfield.sampling.population import Layout

Progress = Callable[[int, int, float], None]
"""Called as progress(evaluations made, evaluations at most, best value so far)."""

# Held fixed (docs/objective.md): recurrent gains, spread of biases, input gains of the gates that are not searched.
RECURRENT_GAIN = 0.02
OTHER_INPUT_GAIN = 0.1

SCAN = 32  # points of the Sobol scan, a power of two
REFINEMENT = 40  # evaluations of the local refinement at most
_SEARCH_GROUPS, _SEARCH_UNITS = 4, 96
_LARGEST_INPUT_GAIN = 1e3


@dataclass(frozen=True)
class Parameter:
    """One searched number: its range, which may depend on the length, and whether it is searched by its logarithm."""

    name: str
    lowest: Callable[[int], float]
    highest: Callable[[int], float]
    logarithmic: bool = False

    def value(self, share: float, length: int) -> float:
        """The value at a share between 0 and 1 of the range."""
        low, high = self.lowest(length), self.highest(length)
        if self.logarithmic:
            return float(low * (high / low) ** share)
        return float(low + share * (high - low))


def _constant(value: float) -> Callable[[int], float]:
    return lambda length: value


@dataclass(frozen=True)
class SearchSpace:
    """What is searched for a cell, and how a point of it becomes a network."""

    parameters: tuple[Parameter, ...]
    gates: Callable[[dict[str, float], float], dict[str, Gate]]

    def values(self, point: NDArray[np.float64], length: int) -> dict[str, float]:
        return {p.name: p.value(float(share), length) for p, share in zip(self.parameters, point, strict=True)}


def _gate(drive: float, root_power: float, bias: float = 0.0) -> Gate:
    return Gate(recurrent_gain=RECURRENT_GAIN, input_gain=drive / root_power, bias_mean=bias)


def _lstm_gates(values: dict[str, float], root_power: float) -> dict[str, Gate]:
    keep = values["keep_bias"]
    other = Gate(recurrent_gain=RECURRENT_GAIN, input_gain=OTHER_INPUT_GAIN)
    return {
        "i": _gate(values["write_drive"], root_power, -values["write_bias_share"] * keep),
        "f": Gate(recurrent_gain=RECURRENT_GAIN, input_gain=OTHER_INPUT_GAIN, bias_mean=keep),
        "g": _gate(values["content_drive"], root_power),
        "o": other,
    }


def _gru_gates(values: dict[str, float], root_power: float) -> dict[str, Gate]:
    return {
        "f": _gate(values["write_drive"], root_power, values["keep_bias"]),
        "r": Gate(recurrent_gain=RECURRENT_GAIN, input_gain=OTHER_INPUT_GAIN),
        "h": _gate(values["content_drive"], root_power),
    }


_CONTENT = Parameter("content_drive", _constant(0.3), _constant(3.0), logarithmic=True)
_LSTM = SearchSpace(
    (
        Parameter("keep_bias", lambda length: math.log(length), lambda length: math.log(4 * length)),
        Parameter("write_bias_share", _constant(0.0), _constant(1.0)),
        Parameter("write_drive", _constant(0.1), _constant(3.0), logarithmic=True),
        _CONTENT,
    ),
    _lstm_gates,
)
_GRU = SearchSpace(
    (
        Parameter("keep_bias", lambda length: math.log(length / 2), lambda length: math.log(4 * length)),
        Parameter("write_drive", _constant(0.3), _constant(6.0), logarithmic=True),
        _CONTENT,
    ),
    _gru_gates,
)
SPACES = {"lstm": _LSTM, "gru_reset_after": _GRU, "gru": _GRU}


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
        "the last state must vary from sequence to sequence by at least 1e-4; raise the inputs' power",
        lambda terms: terms.variance >= 1e-4,
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


def search(cell: str, inputs: Inputs, *, length: int, seed: int, progress: Progress | None = None) -> Design:
    """Find the gains and biases with the largest objective: a Sobol scan, then Nelder-Mead from its best point.

    Args:
        cell: ``"lstm"``, ``"gru"`` or ``"gru_reset_after"``.
        inputs: of the task.
        length: T.
        seed: of the scan and of the population's random numbers, which all candidates share.
        progress: told after every evaluation.

    Raises:
        InvalidInput: if there is no search space for the cell.
        Infeasible: if the inputs have no power, or no candidate stays within the range of numbers.
    """
    space = search_space(cell)
    power = peak_power(inputs)
    if power * _LARGEST_INPUT_GAIN**2 < 1.0:
        raise Infeasible(
            f"no initialisation can pass a signal on: the inputs' peak power is {power:g}, and input gains up to "
            f"{_LARGEST_INPUT_GAIN:g} do not lift it to 1; scale the inputs"
        )
    root_power = math.sqrt(power)
    layout = Layout(_SEARCH_GROUPS, SEQUENCES, _SEARCH_UNITS)
    made, best_value, most = 0, -math.inf, SCAN + REFINEMENT

    def network_at(point: NDArray[np.float64]) -> Network:
        return Network(cell, space.gates(space.values(np.clip(point, 0.0, 1.0), length), root_power))

    def cost(point: NDArray[np.float64]) -> float:
        nonlocal made, best_value
        try:
            value = evaluate(network_at(point), inputs, length=length, layout=layout, seed=seed).value()
        except NotConverged:
            value = -1e6
        made, best_value = made + 1, max(best_value, value)
        if progress is not None:
            progress(min(made, most), most, best_value)
        # Leaving the box is discouraged smoothly; the value is that of the nearest point inside.
        return -value + float(np.sum(np.maximum(0.0, np.abs(point - 0.5) - 0.5)))

    scan = qmc.Sobol(len(space.parameters), seed=np.random.default_rng([seed, 1000])).random(SCAN)
    costs = [cost(point) for point in scan]
    start = scan[int(np.argmin(costs))]
    simplex = np.vstack([start, *(start + 0.15 * (1 if share < 0.5 else -1) * row for share, row in _axes(start))])
    result: Any = minimize(
        cost,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": REFINEMENT, "xatol": 0.01, "fatol": 1e-3},
    )
    if best_value <= -1e6:
        raise Infeasible("no candidate stays within the range of numbers on these inputs; scale the inputs down")
    point = np.clip(result.x if result.fun <= min(costs) else start, 0.0, 1.0)
    return Design(
        network=network_at(point),
        parameters=space.values(point, length),
        evaluations=made,
        status="the refinement settled" if result.success else f"the refinement stopped after {REFINEMENT} evaluations",
    )


def search_space(cell: str) -> SearchSpace:
    """What is searched for a cell.

    Raises:
        InvalidInput: if recipes are not designed for it.
    """
    if cell not in SPACES:
        raise InvalidInput(f"cell: recipes are designed for {', '.join(SPACES)}; got {cell!r}")
    return SPACES[cell]


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
