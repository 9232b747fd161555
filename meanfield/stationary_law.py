"""The stationary law of a unit in the untied regime, by brute force: compiled Markov chains (theory, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from meanfield.chain_requests import check_sampling, law_program
from meanfield.checks import check_count
from meanfield.devices import device_for
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.files import write_whole
from meanfield.inputs import Inputs
from meanfield.law_sampler import LawSampler, Method, Progress
from meanfield.network import Network
from meanfield.sampling.burn_in import plan_run
from meanfield.sampling.chain_source import Precision
from meanfield.sampling.devices import Device, DeviceChoice
from meanfield.sampling.expressions import evaluate, symbols_of

Float64 = NDArray[np.float64]

DEFAULT_CHAINS = 1 << 18
DEFAULT_STEPS = 64


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
        method: how moments were computed.
        chains, burn_in, steps: how many chains, and how many steps before and during measuring; with the operator, how
            many of them pairs and gradients will take.
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
    method: Method
    chains: int
    burn_in: int
    steps: int
    precision: Precision
    device: Device
    seed: int
    _states: NDArray[np.floating] | None = field(repr=False)

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
        """One value of a state variable from every chain, (chains,).

        Raises:
            InvalidInput: if the law comes from the operator, which has no chains.
        """
        if self._states is None:
            raise InvalidInput("method: the operator has no chains to take samples from; use method='chains'")
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
            points, on the CPU, in 16 replicates of as many chains together: an independent check. ``"operator"``
            computes moments from the transfer operator of the memory, without sampling, to ten digits and more, for
            cells whose memory is carried on by a random affine map; errors are then bounds.
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
        raise InvalidInput(f"method: must be 'chains', 'array_rqmc' or 'operator', got {method!r}")
    chosen = device_for(device)
    sampler = LawSampler(network, inputs, chains, steps, burn_in, seed, chosen, threads, progress)
    found, values = sampler.solve(method)
    names, run = network.definition.states, sampler.last
    parameters = sampler.parameters_at(found.point)
    plan = plan_run(sampler.program, parameters, chains)
    return StationaryLaw(
        network=network,
        inputs=inputs,
        mean={name: values[f"mean {name}"] for name in names},
        second_moment={name: values[f"square {name}"] for name in names},
        carriers=tuple(values[f"square {name}"] for name in sampler.program.carriers),
        parameters=parameters,
        method=method,
        chains=run.states.shape[1] if run else chains,
        burn_in=run.burn_in if run else plan.burn_in,
        steps=run.steps if run else steps,
        precision=run.precision if run else plan.precision,
        device=chosen,
        seed=seed,
        _states=run.states if run else None,
    )
