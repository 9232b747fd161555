"""One run of a population, from which all analyses of a network are read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.devices import device_for
from meanfield.errors import InvalidInput, NotConverged
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Layout, Population, Regime
from meanfield.sampling.side_by_side import laws_side_by_side
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.linear_circuit import LinearCircuit
from meanfield.solvers.threads import one_blas_thread

Start = Literal["stationary", "zero"]
Float64 = NDArray[np.float64]

DEFAULT_UNITS = 2048
DEFAULT_GROUPS = 8
DEFAULT_HIDDEN = 256
LONGEST_TRANSIENT = 4000
_DRIFT = 0.01  # relative drift of a second moment between successive windows that counts as none
_NOTHING = 1e-20  # a second moment below this counts as zero
_NARROWEST, _WIDEST = 128, 512  # units a group, unless asked for
_SNAPSHOTS = 4  # times at which circuits are read for spectra


@dataclass(frozen=True)
class Trajectory:
    """A population's run: a transient, then the steps that are analysed.

    Attributes:
        networks, inputs: what was run; several networks share the groups evenly, in their order.
        regime: tied or untied weights.
        start: whether the analysed steps begin in the stationary state or at the zero state.
        transient: number of steps before them.
        seed: of everything random.
        layout: groups, sequences, units.
        linearised: of how many of the sequences there are circuits.
        circuits: the linear circuit of every analysed step (empty if not asked for).
        means: E[p] of the output after every analysed step, (steps, groups, sequences).
        products: E[p_a p_b] of the output between sequences, (steps, groups, sequences, sequences).
        population: the population as it stands after the last step.
        finite: which networks stayed within the range of numbers, (networks,).
    """

    networks: tuple[Network, ...]
    inputs: Inputs
    regime: Regime
    start: Start
    transient: int
    seed: int
    layout: Layout
    linearised: int
    circuits: list[LinearCircuit]
    means: Float64
    products: Float64
    population: Population
    finite: NDArray[np.bool_]

    @property
    def network(self) -> Network:
        """The network, or the first of several; all are of one cell and ensemble."""
        return self.networks[0]

    @property
    def length(self) -> int:
        return len(self.means)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the circuits' coefficients: groups, sequences, units."""
        return self.layout.groups, self.linearised, self.layout.units

    @property
    def averaged(self) -> slice:
        """Steps over which second moments are averaged: all of a stationary run, the last of one from zero."""
        return slice(None) if self.start == "stationary" else slice(-1, None)

    def log_memory_path(self, length: int) -> Iterator[Float64]:
        """log Π f over the last 1, 2, … ``length`` steps, the direct path through the keep gate.

        Each is of shape (groups, sequences, units) and the same array, summed up in place.
        """
        memory = self.network.definition.memory
        total = np.zeros(self.shape)
        tiny = np.finfo(np.float64).tiny
        for circuit in self.circuits[: -length - 1 : -1]:
            total += np.log(np.maximum(np.asarray(circuit.state_to_state[memory][memory], dtype=np.float64), tiny))
            yield total

    def snapshots(self) -> list[CircuitSample]:
        """Circuits of a few steps, of the first sequence: evenly spaced ones of a stationary run, else the last."""
        last = len(self.circuits) - 1
        if self.start == "stationary":
            steps = sorted({round(last * k / _SNAPSHOTS) for k in range(1, _SNAPSHOTS + 1)})
        else:
            steps = [last]
        return self._samples(steps)

    def last_steps(self, count: int) -> CircuitSample:
        """The last steps as one circuit with matrices of its own for every step, of the first sequence."""
        steps = range(len(self.circuits) - count, len(self.circuits))
        return functools.reduce(lambda before, step: before.then(step), self._samples(steps))

    def _samples(self, steps: Iterable[int]) -> list[CircuitSample]:
        carrier_of = np.array([field.carrier for field in self.network.definition.fields], dtype=np.intp)
        gains = self.population.gains.astype(np.float64)
        return [
            CircuitSample.of(self.circuits[step], self.shape, gains, carrier_of).first_of_second_axis()
            for step in steps
        ]


def run(
    network: Network | Sequence[Network],
    inputs: Inputs,
    *,
    length: int,
    layout: Layout,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    linearise: bool = True,
    linearised: int | None = None,
    full_lags: bool = False,
) -> Trajectory:
    """Run a population for ``length`` steps, after a transient if it is to be stationary.

    Args:
        network, inputs: what to run; several networks, of one cell and ensemble, run side by side.
        length: steps that are analysed.
        layout: groups, sequences and units; the groups are those of all networks together.
        regime: ``"tied"`` or ``"untied"``.
        start: ``"stationary"`` (the default for white inputs) first runs until second moments stand still;
            ``"zero"`` starts at the zero state, as a framework's layer does.
        seed: of everything random.
        linearise: whether to keep the linear circuit of every step.
        linearised: of how many of the sequences, all by default.
        full_lags: make one step more where there is input before the ``length`` steps, in a stationary run, so that
            the sensitivity reaches the lag ``length``.

    Raises:
        InvalidInput: if the arguments do not fit each other.
        NotConverged: if the states do not become stationary within 4000 steps, or leave the range of numbers; of
            several networks, if all of them do that.
    """
    networks = (network,) if isinstance(network, Network) else tuple(network)
    layout = replace(layout, networks=len(networks))
    start = check_request(inputs, length=length, regime=regime, start=start, seed=seed)
    if len(networks) > 1 and start != "zero":
        raise InvalidInput("start: several networks run side by side from the zero state only; use start='zero'")
    if start == "stationary" and full_lags:
        length += 1
    steps = length + (LONGEST_TRANSIENT if start == "stationary" else 0)
    population = Population(
        networks[0].definition,
        laws_side_by_side([each.laws for each in networks], layout.groups),
        inputs,
        layout=layout,
        steps=steps,
        regime=regime,
        seed=seed,
        orthogonal=networks[0].nearly_orthogonal,
    )
    finite = np.ones(len(networks), dtype=bool)
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", under="ignore"):
        transient = _settle(population) if start == "stationary" else 0
        circuits: list[LinearCircuit] = []
        means, products = [], []
        for _ in range(length):
            circuit = population.advance(linearise, linearised)
            if circuit is not None:
                circuits.append(circuit)
            output = population.state[population.cell.output]
            means.append(np.mean(output, axis=2, dtype=np.float64))
            products.append(np.matmul(output, output.transpose(0, 2, 1)).astype(np.float64) / layout.units)
            # Every step: an infinite state may come back as a finite one.
            finite &= _finite(population, products[-1])
        squares = [np.sum(np.square(v, dtype=np.float64), axis=(1, 2)) for v in population.state]
        finite &= _finite(population, np.stack(squares, axis=1))
    return Trajectory(
        networks=networks,
        inputs=inputs,
        regime=regime,
        start=start,
        transient=transient,
        seed=seed,
        layout=layout,
        linearised=layout.sequences if linearised is None else linearised,
        circuits=circuits,
        means=np.array(means),
        products=np.array(products),
        population=population,
        finite=finite,
    )


def check_request(inputs: Inputs, *, length: int, regime: str, start: str | None, seed: int) -> Start:
    """Check what every analysis takes, and choose the start.

    Raises:
        InvalidInput: naming the argument.
    """
    check_count("length", length, 1)
    if regime not in get_args(Regime):
        raise InvalidInput(f"regime: must be 'tied' or 'untied', got {regime!r}")
    if start not in (None, *get_args(Start)):
        raise InvalidInput(f"start: must be 'stationary' or 'zero', got {start!r}")
    check_count("seed", seed, 0)
    if not inputs.endless:
        if start == "stationary":
            raise InvalidInput("start: padded and measured inputs start at the zero state; use start='zero'")
        if inputs.length is not None and length > inputs.length:
            raise InvalidInput(f"length: must not exceed the {inputs.length} steps of the inputs, got {length}")
        return "zero"
    return "zero" if start == "zero" else "stationary"


def arrange(
    *,
    hidden: int = DEFAULT_HIDDEN,
    units: int | None = None,
    groups: int | None = None,
    sequences: int = 1,
    device: DeviceChoice = "cpu",
) -> Layout:
    """Deal units into groups that answer for networks of ``hidden`` units.

    Corrections of order 1/N, and T²/N at long lags, are those of a group's width. By default groups are as wide as the
    network, from 128 up to 512 units, and there are eight of them or more. Narrower groups would not answer for
    narrower networks: the backward pass draws its matrices independently of the forward pass, which is wrong by
    more than real networks of that width are off the limit.

    Args:
        hidden: width N that predictions are for.
        units: units in all groups together, at least ``hidden``.
        groups: number of groups.
        sequences: input sequences that share a group's weights.
        device: where recurrent matrices are applied.

    Raises:
        InvalidInput: if there are too few units for their groups, or not two groups to take an error from, or there is
            no such device.
        Infeasible: if CUDA is asked for and there is none.
    """
    for name, value, lowest in (("hidden", hidden, 1), ("units", units, 64), ("groups", groups, 2)):
        if value is not None:
            check_count(name, value, lowest)
    chosen = device_for(device)
    width = min(max(hidden, _NARROWEST), _WIDEST)
    if units is None:
        count = groups if groups is not None else max(DEFAULT_GROUPS, DEFAULT_UNITS // width)
        return Layout(count, sequences, max(width, math.ceil(hidden / count)), chosen)
    count = groups if groups is not None else DEFAULT_GROUPS
    if units < 16 * count:
        raise InvalidInput(f"units: must be at least 16 for each of {count} groups, got {units}")
    return Layout(count, sequences, math.ceil(max(units, hidden) / count), chosen)


def _settle(population: Population) -> int:
    """Run until the second moments of all state variables stand still; the number of steps made."""
    history: list[Float64] = []  # (groups, variables) a step
    checkpoint = 64
    while True:
        while population.step < checkpoint:
            population.advance()
            square = [np.mean(np.square(s, dtype=np.float64), axis=(1, 2)) for s in population.state]
            history.append(np.array(square).T)
        _finite(population, np.array(history).swapaxes(0, 1))
        quarter = checkpoint // 4
        earlier = np.mean(history[-2 * quarter : -quarter], axis=0)
        later = np.mean(history[-quarter:], axis=0)
        # Ratios, since the scatter of exploding states is as large as their drift. States that decay to zero are as
        # good as there once nothing can be seen of them.
        growth = np.log(np.maximum(later, _NOTHING) / np.maximum(earlier, _NOTHING))
        drift = np.mean(growth, axis=0)
        scatter = np.std(growth, axis=0, ddof=1) / np.sqrt(len(growth))
        if np.all(np.abs(drift) <= np.maximum(_DRIFT, 2.0 * scatter)):
            return checkpoint
        if checkpoint >= LONGEST_TRANSIENT:
            raise NotConverged(
                f"the state did not become stationary within {LONGEST_TRANSIENT} steps (its second moment still moves "
                f"by {np.max(np.abs(np.expm1(drift))):.1%}); it is slower than that or unstable, so "
                "start from the zero state (start='zero') or give padded inputs"
            )
        checkpoint = min(int(1.5 * checkpoint), LONGEST_TRANSIENT)


def _finite(population: Population, squares: Float64) -> NDArray[np.bool_]:
    """Which networks are within the range of numbers, from second moments of every group, (groups, …)."""
    finite = np.all(np.isfinite(squares).reshape(population.layout.networks, -1), axis=1)
    if not np.any(finite):
        raise NotConverged(
            f"the state left the range of finite numbers by step {population.step}; lower the recurrent gain"
        )
    return np.asarray(finite)
