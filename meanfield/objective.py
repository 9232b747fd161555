"""What a recipe is chosen for, computed: the terms of the objective from a population (docs/objective.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import InvalidInput, NotConverged
from meanfield.gradient_profiles import moments_of_jacobian, pull_back_of
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.objective_terms import Terms
from meanfield.sampling.adjoint import AdjointRun
from meanfield.sampling.population import Layout
from meanfield.search_spaces import search_space
from meanfield.trajectory import Trajectory, run

SEQUENCES = 3  # of measured inputs; the change made to one is taken from two others
WHITE_SEQUENCES = 2  # of white ones, whose changes need no sequences
QUARTERS = 4
_SILENT = 1e-9  # share of the largest change of inputs below which a quarter carries none


def sequences_for(inputs: Inputs) -> int:
    """How many input sequences the terms of J are computed from."""
    return SEQUENCES if isinstance(inputs, MeasuredInputs) else WHITE_SEQUENCES


def evaluate(network: Network, inputs: Inputs, *, length: int, layout: Layout, seed: int) -> Terms:
    """The terms of J for a network on a task.

    Args:
        network: of a cell that recipes are designed for.
        inputs: what it reads over the task.
        length: T.
        layout: groups, units, and as many sequences as :func:`sequences_for` says, or more, for a better variance.
        seed: the same seed gives the same random numbers for every network, so that J is smooth in the gains.

    Raises:
        InvalidInput: if measured sequences do not differ.
        NotConverged: if states or gradients leave the range of numbers.
    """
    (terms,) = evaluate_many([network], inputs, length=length, layout=layout, seed=seed)
    if terms is None:
        raise NotConverged("the objective is not finite for this network; gradients left the range of numbers")
    return terms


def evaluate_many(
    networks: Sequence[Network], inputs: Inputs, *, length: int, layout: Layout, seed: int
) -> list[Terms | None]:
    """The terms of J for networks of one cell and ensemble, run side by side; arguments as for :func:`evaluate`.

    Args:
        layout: of each of the networks.

    Returns:
        The terms of each; None where states or gradients leave the range of numbers.

    Raises:
        InvalidInput: if measured sequences do not differ.
        NotConverged: if the states of all networks leave the range of numbers.
    """
    together = replace(layout, groups=layout.groups * len(networks))
    measured = isinstance(inputs, MeasuredInputs)
    # What replaces white inputs needs no sequences, and one says nearly as much of gradients as several.
    linearised = SEQUENCES if measured else 1
    trajectory = run(networks, inputs, length=length, layout=together, start="zero", seed=seed, linearised=linearised)
    if not measured:
        return terms_of(trajectory, pull_back_of(trajectory, length), inputs)
    windows = signal_windows(inputs, length)
    changed = _replaced_inputs(trajectory, windows)
    adjoint = pull_back_of(trajectory, length, windows=len(windows), changed_drives=changed)
    return terms_of(trajectory, adjoint, inputs)


def terms_of(trajectory: Trajectory, adjoint: AdjointRun, inputs: Inputs) -> list[Terms | None]:
    """The terms of J of every network of a run from the zero state, and of its backward pass.

    Args:
        trajectory: on the inputs of the task, all sequences of which vary the last state.
        adjoint: over all of its steps, with windows of replaced inputs where these are measured.
        inputs: of the task.

    Returns:
        The terms of each network; None where states or gradients have left the range of numbers.
    """
    count, length = len(trajectory.networks), trajectory.length
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if isinstance(inputs, MeasuredInputs):
            responses = _by_network(adjoint.input_response, count)
        else:
            # A white change of power P at one step gives P S; those of different steps add up.
            sensitivity = _by_network(np.exp(adjoint.log_sensitivity), count)[::-1]
            power = np.array([inputs.power_at(step) for step in range(length)])[:, None]
            windows = signal_windows(inputs, length)
            responses = np.array([np.sum((sensitivity * power)[window], axis=0) for window in windows])
        if trajectory.network.definition.keep_gate is not None:
            memories = _memory(trajectory)
        else:
            memories = moments_of_jacobian(trajectory, adjoint, length)
        output = trajectory.population.state[trajectory.network.definition.output].astype(np.float64)
        squares = _by_network(np.mean(output**2, axis=2)[None], count)[0]
        variances = _by_network(np.var(output, axis=1, ddof=1)[None], count)[0]
        kicks = _by_network(adjoint.bias_response[None], count)[0]
    found: list[Terms | None] = []
    for k, (network, (memory, spread)) in enumerate(zip(trajectory.networks, memories, strict=True)):
        if not trajectory.finite[k]:
            found.append(None)
            continue
        terms = Terms(
            second_moment=float(squares[k]),
            variance=float(variances[k]),
            responses=tuple(float(response) for response in responses[:, k]),
            drive=_drive(network, inputs),
            memory=memory,
            memory_spread=spread,
            bias_response=float(kicks[k]),
        )
        found.append(terms if math.isfinite(terms.value()) else None)
    return found


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
    name = search_space(network.cell).write_gate
    gain = network.gates[name].input_gain
    return gain * math.sqrt(peak_power(inputs)) if name in network.definition.input_gates else gain


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
                inputs = population.drives.inputs_at(step)[:, : trajectory.linearised]
                change = (np.roll(inputs, -1, axis=1) - np.roll(inputs, -2, axis=1)) / np.float32(math.sqrt(2.0))
                drives = population.drives.of(change)
                return index, {gate: population.laws[gate].input_gain * drives[:, :, k] for k, gate in enumerate(gates)}
        return None

    return changed


def _memory(trajectory: Trajectory) -> list[tuple[float, float]]:
    """m1 and spread of the memory path over all steps, of every network."""
    *_, logarithm = trajectory.log_memory_path(trajectory.length)
    found = []
    for each in logarithm.reshape(len(trajectory.networks), -1):
        peak = float(np.max(each))
        square = float(np.mean(np.exp(2.0 * (each - peak))))
        fourth = float(np.mean(np.exp(4.0 * (each - peak))))
        found.append((math.exp(2.0 * peak) * square, fourth / square**2))
    return found


def _by_network(values: NDArray[np.float64], networks: int) -> NDArray[np.float64]:
    """Means of (rows, groups, …) over all but rows and networks, (rows, networks)."""
    return np.asarray(values.reshape(len(values), networks, -1).mean(axis=2))
