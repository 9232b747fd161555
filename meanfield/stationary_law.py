"""The stationary law of a unit in the untied regime, by brute force: compiled Markov chains (theory, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from meanfield.chain_requests import check_sampling, law_program, observable_order, sampling_errors
from meanfield.checks import check_count
from meanfield.devices import device_for
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate, from_groups
from meanfield.files import write_whole
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.noise_laws import noise_parameters
from meanfield.sampling.array_rqmc import array_rqmc
from meanfield.sampling.averages import factors, observed
from meanfield.sampling.burn_in import plan_run
from meanfield.sampling.chain_source import BLOCK, Precision
from meanfield.sampling.controlled_run import controlled
from meanfield.sampling.devices import Device, DeviceChoice
from meanfield.sampling.expressions import evaluate, symbols_of
from meanfield.sampling.stationary_run import StationaryRun, run_stationary
from meanfield.solvers.sampled_fixed_point import SampledFixedPoint, sampled_fixed_point, settled

Float64 = NDArray[np.float64]
Progress = Callable[[int, int], None]

DEFAULT_CHAINS = 1 << 18
DEFAULT_STEPS = 64
Method = Literal["chains", "array_rqmc"]
_REPLICATES = 16  # of Array-RQMC, whose scatter gives its errors
PILOT_CHAINS = 1 << 14
_SMALL_START = 0.01  # second moment of a perturbation that shows whether the zero state is stable


@dataclass(frozen=True)
class Histogram:
    """A sampled density.

    Attributes:
        edges: of the bins, (bins + 1,).
        density: per unit of the variable, (bins,).
        errors: one standard error of it, (bins,).
    """

    edges: Float64
    density: Float64
    errors: Float64

    def save(self, path: str | Path) -> None:
        """Write a table of lower edge, upper edge, density and error, as CSV."""
        rows = zip(self.edges[:-1], self.edges[1:], self.density, self.errors, strict=True)
        lines = ["from,to,density,error", *(",".join(f"{float(value)!r}" for value in row) for row in rows)]
        write_whole(path, "\n".join(lines) + "\n")


@dataclass(frozen=True)
class StationaryLaw:
    """The law of one unit's state with weights that are redrawn at every step.

    Attributes:
        network, inputs: of what.
        mean: E[s] of every state variable.
        second_moment: E[s²] of every state variable, at their self-consistent value.
        carriers: E[p²] of the vectors that the recurrent matrices read, in the order of the cell.
        parameters: means and deviations of the Gaussian variables at which chains were run.
        chains, burn_in, steps: how many chains, and how many steps before and during measuring.
        precision: of the chains: ``"single"``, ``"clamped"`` (single) or ``"double"``.
        device: where they ran.
        seed: of everything random.
    """

    network: Network
    inputs: Inputs
    mean: Mapping[str, Estimate]
    second_moment: Mapping[str, Estimate]
    carriers: tuple[Estimate, ...]
    parameters: Mapping[str, float]
    chains: int
    burn_in: int
    steps: int
    precision: Precision
    device: Device
    seed: int
    _states: NDArray[np.floating] = field(repr=False)

    def histogram(self, variable: str, *, bins: int = 100) -> Histogram:
        """Density of a state variable over all chains at the end of the run.

        Args:
            variable: name of a state variable, such as ``"c"`` or ``"h"`` of the LSTM.
            bins: how many, over the range that the samples have.

        Raises:
            InvalidInput: if there is no such variable or no bin.
        """
        check_count("bins", bins, 1)
        names = self.network.definition.states
        if variable not in names:
            raise InvalidInput(f"variable: must be one of {', '.join(names)}, got {variable!r}")
        samples = self.sample(variable)
        low, high = float(samples.min()), float(samples.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(samples, bins=bins, range=(low, high))
        share = counts / len(samples)
        width = np.diff(edges)
        # Chains are independent, so that counts are multinomial.
        return Histogram(edges, share / width, np.sqrt(share * (1.0 - share) / len(samples)) / width)

    def sample(self, variable: str) -> Float64:
        """One value of a state variable from every chain, (chains,)."""
        program = law_program(self.network.definition).program
        output = program.outputs[self.network.definition.states.index(variable)]
        values: dict[str, Float64] = {name: np.asarray(value) for name, value in self.parameters.items()}
        for name, states in zip(program.states, self._states, strict=True):
            values[f"new {name}"] = states.astype(np.float64)
        generator = np.random.default_rng([self.seed, _PURPOSE_OF_OUTPUTS])
        for name in sorted(name for name in symbols_of([output]) if "normal " in name):
            values[name] = generator.standard_normal(self.chains)
        return np.broadcast_to(evaluate([output], values)[0], (self.chains,))


_PURPOSE_OF_OUTPUTS = 99


def sample_law(
    network: Network,
    inputs: Inputs | None = None,
    *,
    chains: int = DEFAULT_CHAINS,
    steps: int = DEFAULT_STEPS,
    burn_in: int | None = None,
    method: Method = "chains",
    seed: int = 0,
    device: DeviceChoice = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> StationaryLaw:
    """Sample the stationary law of a unit with independent chains, at self-consistent second moments.

    Gates that act on the output only are integrated exactly rather than sampled, and where the memory is carried on
    by a random affine map, as in all gated cells, its exact moments serve as control variates.

    Args:
        network: the network.
        inputs: white inputs of power R; power 1 by default. Only their power matters here.
        chains: independent chains; more of them, smaller errors.
        steps: measured steps, over which every chain is averaged.
        burn_in: steps before; chosen from the slowest gate by default, and verified.
        method: ``"chains"`` are independent; ``"array_rqmc"`` sorts them at every step and drives them by quasi-random
            points, on the CPU, in 16 replicates of as many chains together: an independent check, smoother where there
            are no control variates.
        seed: of everything random. The result depends on nothing else, neither on threads nor on the device beyond
            rounding.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA where there is a GPU.
        threads: all cores by default.
        progress: called with steps made and steps in all.

    Returns:
        The law, with one standard error on every moment: that of blocks of chains, passed through the
        self-consistency.

    Raises:
        InvalidInput: if an argument is out of its range, or the inputs are not white.
        NotConverged: if there is no stationary law, or its second moments do not settle.
        MemoryError: if the chains do not fit into memory.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5)
    >>> law = mf.sample_law(mf.Network("janet", {"f": gate, "g": gate}), chains=2**14, device="cpu")
    >>> abs(law.mean["c"].value) < 1e-9, law.second_moment["c"].error < 1e-4
    (True, True)
    """
    inputs = inputs if inputs is not None else Inputs()
    check_sampling(inputs, chains=chains, steps=steps, burn_in=burn_in, seed=seed, threads=threads)
    if method not in get_args(Method):
        raise InvalidInput(f"method: must be 'chains' or 'array_rqmc', got {method!r}")
    chosen = device_for(device)
    controlled_program = law_program(network.definition)
    program = controlled_program.program
    order = observable_order(program, "square")
    last: list[StationaryRun] = []

    def parameters_at(squares: Float64) -> dict[str, float]:
        return noise_parameters(network, program.noises, inputs, dict(enumerate(np.maximum(squares, 0.0))))

    def run(squares: Float64, **options: object) -> Float64:
        parameters = parameters_at(squares)
        done = run_stationary(program, parameters, seed=seed, threads=threads, **options)  # type: ignore[arg-type]
        last[:] = [done]
        return controlled(controlled_program, parameters, done.averages, order)

    def pilot_at(squares: Float64) -> Callable[[Float64], Float64]:
        """The map from the same random numbers everywhere: burn-in and precision must not move with its argument."""
        plan = plan_run(program, parameters_at(squares), PILOT_CHAINS)
        options = {"burn_in": plan.burn_in, "precision": plan.precision, "steps": DEFAULT_STEPS}
        return lambda other: np.mean(run(other, chains=PILOT_CHAINS, **options), axis=0)

    def costly(squares: Float64) -> Float64:
        blocks = run(squares, chains=chains, steps=steps, burn_in=burn_in, device=chosen, progress=progress)
        if method == "chains":
            return blocks
        parameters = parameters_at(squares)
        means = array_rqmc(
            program,
            parameters,
            chains=max(1 << (chains // _REPLICATES).bit_length() - 1, BLOCK),
            burn_in=last[0].burn_in,
            steps=steps,
            replicates=_REPLICATES,
            seed=seed,
            threads=threads,
            precision="double" if last[0].precision == "double" else None,
        )
        averages = observed(program, factors(program, parameters), means)
        return np.stack([averages[name] for name in order], axis=1)

    with sampling_errors():
        nothing = np.zeros(len(program.carriers))
        start = pilot_at(nothing)(nothing)[: len(nothing)]
        near = settled(pilot_at(start), np.where(start > 0.0, start, _SMALL_START))
        found = sampled_fixed_point(pilot_at(near), costly, near)
    estimates = estimates_at(found, last[0].rounding)
    values = dict(zip(order, estimates, strict=True))
    states = network.definition.states
    return StationaryLaw(
        network=network,
        inputs=inputs,
        mean={name: values[f"mean {name}"] for name in states},
        second_moment={name: values[f"square {name}"] for name in states},
        carriers=tuple(values[f"square {name}"] for name in program.carriers),
        parameters=parameters_at(found.point),
        chains=last[0].states.shape[1],
        burn_in=last[0].burn_in,
        steps=last[0].steps,
        precision=last[0].precision,
        device=chosen,
        seed=seed,
        _states=last[0].states,
    )


def estimates_at(found: SampledFixedPoint, rounding: float) -> list[Estimate]:
    """Every observation at a fixed point, its error that of blocks, of the correction and of rounding together."""
    return [
        Estimate(sampled.value, math.hypot(sampled.error, remainder, rounding * sampled.value))
        for sampled, remainder in zip(map(from_groups, found.blocks.T), found.remainder, strict=True)
    ]
