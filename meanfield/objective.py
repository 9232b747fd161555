"""What a recipe is chosen for: the objective J and its terms (docs/objective.md).

With [x]₊ = max(0, x), computed by the tied population from the zero state on the task's inputs,

    J = ¼ mean_w log(1e-6 + min(1, A_w/(V + .01))) + ½ log κ - [log(.03/V)]₊ - [log(E/.15)]₊
        - ½ [log(.05/m1)]₊ - [log(spread/2)]₊ - [log(D/50)]₊ - [log(1/D)]₊
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput, NotConverged
from meanfield.gradient_profiles import moments_of_jacobian, pull_back_of
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.sampling.population import Layout
from meanfield.solvers.threads import one_blas_thread
from meanfield.trajectory import Trajectory, run

SEQUENCES = 3
QUARTERS = 4
# The gate that writes inputs into the memory, whose drive κ the objective rewards.
WRITE_GATES = {
    "lstm": "i",
    "peephole_lstm": "i",
    "cifg_lstm": "f",
    "janet": "f",
    "gru": "f",
    "gru_reset_after": "f",
    "minimal": "f",
    "vanilla": "h",
    "leaky": "h",
}
_SILENT = 1e-9  # share of the largest change of inputs below which a quarter carries none


@dataclass(frozen=True)
class Terms:
    """What J is made of.

    Attributes:
        second_moment: E = E[h_T²].
        variance: V, variance of h_T across input sequences.
        responses: A_w, mean-square linear response of h_T to replacing the inputs in quarter w of the signal by
            another sequence's. Quarters in which all sequences are the same are left out.
        drive: κ = ν √P, the write gate's drive at the inputs' peak.
        memory: m1 = E Π f² over all steps; of cells without a keep gate the mean square m1(T) of the singular values of
            the Jacobian of all steps.
        memory_spread: E Π f⁴/(E Π f²)²; of cells without a keep gate m2(T)/m1(T)².
        bias_response: D = E|δh_T|² for a constant unit Gaussian kick of all biases.
    """

    second_moment: float
    variance: float
    responses: tuple[float, ...]
    drive: float
    memory: float
    memory_spread: float
    bias_response: float

    def contributions(self) -> dict[str, float]:
        """Every term of J by name; they add up to J."""
        shares = [min(1.0, response / (self.variance + 0.01)) for response in self.responses]
        return {
            "signal": 0.25 * float(np.mean([math.log(1e-6 + share) for share in shares])),
            "drive": 0.5 * math.log(max(self.drive, 1e-12)),
            "variance": -_excess(0.03, self.variance),
            "state_size": -_excess(self.second_moment, 0.15),
            "memory": -0.5 * _excess(0.05, self.memory),
            "memory_spread": -_excess(self.memory_spread, 2.0),
            "step_too_large": -_excess(self.bias_response, 50.0),
            "step_too_small": -_excess(1.0, self.bias_response),
        }

    def value(self) -> float:
        """J itself; larger is better."""
        return float(sum(self.contributions().values()))

    def binding(self) -> list[str]:
        """Names of the penalties that are active."""
        return [name for name, value in self.contributions().items() if name not in ("signal", "drive") and value < 0]


def evaluate(network: Network, inputs: Inputs, *, length: int, layout: Layout, seed: int) -> Terms:
    """The terms of J for a network on a task.

    Args:
        network: of a cell that recipes are designed for.
        inputs: what it reads over the task.
        length: T.
        layout: groups, units, and at least three sequences for measured inputs: the change made to one is taken from
            two others, so that it is uncorrelated with it.
        seed: the same seed gives the same random numbers for every network, so that J is smooth in the gains.

    Raises:
        InvalidInput: if measured sequences do not differ.
        NotConverged: if states or gradients leave the range of numbers.
    """
    trajectory = run(network, inputs, length=length, layout=layout, start="zero", seed=seed)
    windows = signal_windows(inputs, length)
    measured = isinstance(inputs, MeasuredInputs)
    with one_blas_thread(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        adjoint = pull_back_of(
            trajectory,
            length,
            windows=len(windows) if measured else 0,
            changed_drives=_replaced_inputs(trajectory, windows) if measured else None,
        )
        if measured:
            responses = np.mean(adjoint.input_response, axis=(1, 2))
        else:
            # A white change of power P at one step gives P S; those of different steps add up.
            sensitivity = np.mean(np.exp(adjoint.log_sensitivity), axis=(1, 2))[::-1]
            power = np.array([inputs.power_at(step) for step in range(length)])
            responses = np.array([np.sum((sensitivity * power)[window]) for window in windows])
        if network.definition.keep_gate is not None:
            memory, spread = _memory(trajectory)
        else:
            memory, spread = moments_of_jacobian(trajectory, adjoint, length)
    output = trajectory.population.state[network.definition.output].astype(np.float64)
    terms = Terms(
        second_moment=float(np.mean(output**2)),
        variance=float(np.mean(np.var(output, axis=1, ddof=1))),
        responses=tuple(float(response) for response in responses),
        drive=_drive(network, inputs),
        memory=memory,
        memory_spread=spread,
        bias_response=float(np.mean(adjoint.bias_response)),
    )
    if not math.isfinite(terms.value()):
        raise NotConverged("the objective is not finite for this network; gradients left the range of numbers")
    return terms


def peak_power(inputs: Inputs) -> float:
    """P, the mean over sequences of max_t |x_t|²/M; for white inputs their power where it is largest."""
    if isinstance(inputs, MeasuredInputs):
        return inputs.peak_power
    return max(inputs.power, inputs.power_at((inputs.length or 1) - 1))


def signal_windows(inputs: Inputs, length: int) -> list[slice]:
    """The quarters of the signal in which sequences differ.

    Raises:
        InvalidInput: if measured sequences differ nowhere.

    >>> signal_windows(Inputs(), 8)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None), slice(6, 8, None)]
    """
    signal = min(inputs.signal or length, length)
    edges = [round(signal * k / QUARTERS) for k in range(QUARTERS + 1)]
    windows = [slice(a, b) for a, b in pairwise(edges) if b > a]
    if not isinstance(inputs, MeasuredInputs):
        return windows
    change = inputs.variance_over_sequences()
    changes = [float(np.sum(change[window])) for window in windows]
    if max(changes) == 0.0:
        raise InvalidInput(
            f"data: all sequences are the same over the {signal} steps of the signal, so there is nothing to be told "
            "apart; give sequences that differ"
        )
    return [window for window, each in zip(windows, changes, strict=True) if each > _SILENT * max(changes)]


def _drive(network: Network, inputs: Inputs) -> float:
    """κ: of a gate that reads an embedding of size one at most, its gain alone."""
    name = WRITE_GATES[network.cell]
    gain = network.gates[name].input_gain
    return gain * math.sqrt(peak_power(inputs)) if name in network.definition.input_gates else gain


def _excess(value: float, limit: float) -> float:
    """[log(value/limit)]₊, kept finite."""
    if value <= 0.0:
        return 0.0
    return max(0.0, math.log(value) - math.log(max(limit, 1e-300)))


def _replaced_inputs(
    trajectory: Trajectory, windows: list[slice]
) -> Callable[[int], tuple[int, Mapping[str, NDArray[Any]]] | None]:
    """For a step: its window, and the drives of (x_b - x_c)/√2 of the two other sequences at every sequence a.

    That change is uncorrelated with the sequence it is made to, which the backward pass relies on.
    """
    population = trajectory.population
    gates = population.cell.input_gates

    def changed(step: int) -> tuple[int, Mapping[str, NDArray[Any]]] | None:
        for index, window in enumerate(windows):
            if window.start <= step < window.stop:
                inputs = population.drives.inputs_at(step)
                change = (np.roll(inputs, -1, axis=1) - np.roll(inputs, -2, axis=1)) / np.float32(math.sqrt(2.0))
                drives = population.drives.of(change)
                return index, {gate: population.laws[gate].input_gain * drives[:, :, k] for k, gate in enumerate(gates)}
        return None

    return changed


def _memory(trajectory: Trajectory) -> tuple[float, float]:
    """m1 and spread of the memory path over all steps."""
    *_, logarithm = trajectory.log_memory_path(trajectory.length)
    peak = float(np.max(logarithm))
    square = float(np.mean(np.exp(2.0 * (logarithm - peak))))
    fourth = float(np.mean(np.exp(4.0 * (logarithm - peak))))
    return math.exp(2.0 * peak) * square, fourth / square**2
