"""Everything that an analysis predicts, measured in simulated networks: one forward and one backward pass each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.errors import InvalidInput, NotConverged
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.jacobian_spectra import SLOW_RADIUS
from meanfield.network import Network
from meanfield.sampling.population import Regime
from meanfield.solvers.linear_circuit import Entry, LinearCircuit
from meanfield.solvers.threads import one_blas_thread
from meanfield.validation.finite_width import correlation
from meanfield.validation.simulated_network import SimulatedNetwork, input_sequences, member

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedPredictions:
    """What networks of finite width do over T steps, one row a network. Logarithms are natural, -inf of zeros.

    Attributes:
        second_moment: mean square of the output, (networks,).
        overlap: correlation coefficient of the outputs of two sequences, (networks,); empty where there is one only.
        log_gradient: log ‖∂h_T/∂h_{T-τ}‖²/N at τ = 0 … T, other state variables held fixed, (networks, T + 1).
        log_sensitivity: log ‖∂h_T/∂x_{T-τ}‖²/N, (networks, lags): T + 1 lags, or T from the zero state.
        log_spread_moment: log tr (J Jᵀ)²/N of J = ∂h_T/∂h_0, (networks,).
        log_bias_response: log |δh_T|²/N for a constant unit Gaussian kick of all biases, (networks,).
        log_memory: log mean Π f² over the last T steps, (networks,); empty without a keep gate.
        log_fourth_memory: the same of Π f⁴.
        first_of_step, second_of_step: tr J Jᵀ/(S N) and tr (J Jᵀ)²/(S N) of the last step, over all state variables,
            (spectra,); these and the next are of the first networks only.
        edge: largest real part of an eigenvalue of it, (spectra,).
        slow: share of its eigenvalues within 0.1 of 1, (spectra,).
    """

    second_moment: Float64
    overlap: Float64
    log_gradient: Float64
    log_sensitivity: Float64
    log_spread_moment: Float64
    log_bias_response: Float64
    log_memory: Float64
    log_fourth_memory: Float64
    first_of_step: Float64
    second_of_step: Float64
    edge: Float64
    slow: Float64


def simulate_predictions(
    network: Network,
    inputs: Inputs,
    *,
    hidden: int,
    length: int,
    transient: int | None = None,
    networks: int = 8,
    spectra: int | None = None,
    regime: Regime = "tied",
    directions: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SimulatedPredictions:
    """Simulate networks and measure what :func:`meanfield.analyze` predicts of them.

    Args:
        network, inputs: what to simulate; inputs of size 0 get as many components as there are units.
        hidden: width N.
        length: T.
        transient: steps before the T steps of a stationary network; None from the zero state.
        networks: how many, each with weights and inputs of its own.
        spectra: how many of them have the eigenvalues of a step computed; all by default.
        regime: ``"tied"`` weights, or ``"untied"`` ones, drawn anew at every step.
        directions: random readouts that gradients of a network are averaged over.
        seed: of everything random.
        progress: told (steps made, steps in all networks).

    Raises:
        InvalidInput: if a number is out of its range, or the inputs are shorter than the steps.
        NotConverged: if states leave the range of numbers.

    >>> import meanfield as mf
    >>> leaky = mf.Network("leaky", {"h": mf.Gate()})
    >>> found = simulate_predictions(leaky, mf.Inputs(), hidden=8, length=3, networks=2)
    >>> np.exp(found.log_gradient[0]).round(6)  # 0.7^(2τ)
    array([1.      , 0.49    , 0.2401  , 0.117649])
    """
    for name, value in (("hidden", hidden), ("length", length), ("networks", networks), ("directions", directions)):
        check_count(name, value, 1)
    chosen = networks if spectra is None else spectra
    check_count("spectra", chosen, 0)
    check_count("seed", seed, 0)
    # A stationary network reads an input before the T steps as well, which sensitivity at lag T and biases see.
    before, steps = (0, length) if transient is None else (transient, length + 1)
    if inputs.length is not None and inputs.length < before + steps:
        raise InvalidInput(f"length: must not exceed the {inputs.length} steps of the inputs, got {length}")
    rows = []
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
        for index in range(networks):
            drawn, generator = member(network, inputs, hidden=hidden, seed=seed, index=index, regime=regime)
            pair = 1 if isinstance(inputs, MeasuredInputs) and inputs.sequences == 1 else 2
            x = input_sequences(inputs, generator, hidden=hidden, steps=before + steps, sequences=pair)
            run = SimulatedRun.of(drawn, x, before, averaged=transient is not None)
            rows.append(
                {
                    **run.states(),
                    **run.gradients(length, random_readouts(generator, directions, hidden)),
                    **run.memory_path(length),
                    **(run.last_step() if index < chosen else {}),
                }
            )
            if progress is not None:
                progress(index + 1, networks)
    collected = {
        each.name: [row[each.name] for row in rows if each.name in row] for each in fields(SimulatedPredictions)
    }
    return SimulatedPredictions(**{name: np.array(values, dtype=np.float64) for name, values in collected.items()})


@dataclass(frozen=True)
class SimulatedRun:
    """A network's trajectory: outputs of its sequences and the circuits of the first, at the steps that count.

    Attributes:
        network: the network.
        x: what it reads, (sequences, steps, M).
        before: steps of transient.
        outputs: after every step that moments are taken at, each (sequences, N).
        circuits: of all steps after the transient.
    """

    network: SimulatedNetwork
    x: Float64
    before: int
    outputs: list[Float64]
    circuits: list[LinearCircuit]

    @classmethod
    def of(cls, network: SimulatedNetwork, x: Float64, before: int, *, averaged: bool) -> SimulatedRun:
        """Run from the zero state; moments are averaged over all steps after the transient, or taken at the last."""
        state = network.rest(len(x))
        for step in range(before):
            state = network.advance(step, state, x[:, step])
        outputs, circuits = [], []
        for step in range(before, x.shape[1]):
            state, circuit = network.linearised(step, state, x[:, step])
            circuits.append(circuit)
            outputs.append(state[network.output])
            if not all(np.all(np.isfinite(variable)) for variable in state):
                raise NotConverged(f"a simulated state left the range of finite numbers by step {step + 1}")
        return cls(network, x, before, outputs if averaged else outputs[-1:], circuits)

    def states(self) -> dict[str, float]:
        """Moments of the output, by name."""
        found = {"second_moment": float(np.mean(np.square(self.outputs)))}
        if len(self.x) > 1:
            found["overlap"] = float(np.mean([correlation(each[:2]) for each in self.outputs]))
        return found

    def gradients(self, length: int, readouts: Float64) -> dict[str, Float64 | float]:
        """One backward pass of readouts, (rows, N), and a forward pass of what it ends with; results by name."""
        network, hidden = self.network, self.network.hidden
        adjoints: list[Entry] = [0.0] * len(network.cell.states)
        adjoints[network.output] = readouts
        log_scale, gradient, sensitivity = 0.0, [0.0], []
        kick = {gate: np.zeros_like(readouts) for gate in network.cell.gates}
        source: tuple[Entry, float] = readouts, 0.0
        for back in range(len(self.circuits)):
            index = len(self.circuits) - 1 - back
            adjoints, drives = network.pull(self.before + index, self.circuits[index], adjoints)
            reads = network.pull_to_inputs(self.before + index, drives)
            sensitivity.append(_log_mean_square(reads, len(readouts) * hidden) + 2.0 * log_scale)
            for gate, drive in drives.items():
                kick[gate] += math.exp(min(log_scale, 300.0)) * drive
            output = adjoints[network.output]
            gradient.append(_log_mean_square(output, len(readouts) * hidden) + 2.0 * log_scale)
            adjoints, growth = _rescaled(adjoints)
            log_scale += growth
            if back == length - 1:
                source = adjoints[network.output], log_scale
        response = sum(float(np.mean(each**2)) for each in kick.values())
        return {
            "log_gradient": np.array(gradient[: length + 1]),
            "log_sensitivity": np.array(sensitivity),
            "log_bias_response": float(np.log(response)),
            "log_spread_moment": self._pushed(length, *source, rows=len(readouts)),
        }

    def _pushed(self, length: int, source: Entry, log_scale: float, *, rows: int) -> float:
        """log ‖J u‖²/N of the adjoint u, mean over its rows."""
        network = self.network
        tangents: list[Entry] = [0.0] * len(network.cell.states)
        tangents[network.output] = source
        for index in range(len(self.circuits) - length, len(self.circuits)):
            tangents = network.push(self.before + index, self.circuits[index], tangents)
            tangents, growth = _rescaled(tangents)
            log_scale += growth
        return _log_mean_square(tangents[network.output], rows * network.hidden) + 2.0 * log_scale

    def memory_path(self, length: int) -> dict[str, float]:
        """The direct path through the keep gate over the last steps."""
        cell = self.network.cell
        if cell.keep_gate is None:
            return {}
        total = np.zeros(self.network.hidden)
        for circuit in self.circuits[-length:]:
            total += np.log(np.abs(circuit.state_to_state[cell.memory][cell.memory]))
        return {name: _log_mean(power * total) for name, power in (("log_memory", 2.0), ("log_fourth_memory", 4.0))}

    def last_step(self) -> dict[str, float]:
        """Spectra of the Jacobian of the last step."""
        J = self.network.dense(self.x.shape[1] - 1, self.circuits[-1])
        values = np.linalg.eigvals(J)
        return {
            "first_of_step": float(np.sum(J**2)) / len(J),
            "second_of_step": float(np.sum((J @ J.T) ** 2)) / len(J),
            "edge": float(np.max(values.real)),
            "slow": float(np.mean(np.abs(values - 1.0) < SLOW_RADIUS)),
        }


def random_readouts(generator: np.random.Generator, rows: int, hidden: int) -> Float64:
    """Random readouts v with E[v vᵀ] = 1, (rows, N)."""
    return np.asarray(2.0 * generator.integers(0, 2, (rows, hidden)) - 1.0, dtype=np.float64)


def _log_mean_square(values: Entry, count: int) -> float:
    """log of the sum of squares divided by a count; -inf of zeros."""
    return float(np.log(np.sum(np.square(values)) / count)) if not isinstance(values, float) else -math.inf


def _log_mean(logarithms: Float64) -> float:
    return float(np.logaddexp.reduce(logarithms) - np.log(len(logarithms)))


def _rescaled(rows: Sequence[Entry]) -> tuple[list[Entry], float]:
    """A perturbation brought to unit size, and the logarithm of the factor."""
    largest = max((float(np.max(np.abs(each))) for each in rows), default=0.0)
    return ([each / largest for each in rows], math.log(largest)) if largest > 0.0 else (list(rows), 0.0)
