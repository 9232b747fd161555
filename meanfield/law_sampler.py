"""Self-consistent second moments of a unit in the untied regime, by chains, by sorted chains or by an operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.chain_requests import law_program, observable_order, sampling_errors
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.noise_laws import noise_parameters
from meanfield.sampling.affine_memory import NotAffine
from meanfield.sampling.array_rqmc import array_rqmc
from meanfield.sampling.averages import factors, observed
from meanfield.sampling.burn_in import plan_run
from meanfield.sampling.chain_source import BLOCK
from meanfield.sampling.controlled_run import ControlledProgram, controlled
from meanfield.sampling.devices import Device
from meanfield.sampling.operator_averages import operator_averages
from meanfield.sampling.programs import ChainProgram
from meanfield.sampling.stationary_run import StationaryRun, run_stationary
from meanfield.solvers.sampled_fixed_point import SampledFixedPoint, sampled_fixed_point, settled

Float64 = NDArray[np.float64]
Progress = Callable[[int, int], None]
Method = Literal["chains", "array_rqmc", "operator"]

PILOT_CHAINS, PILOT_STEPS = 1 << 14, 64
_REPLICATES = 16  # of Array-RQMC, whose scatter gives its errors
_SMALL_START = 0.01  # second moment of a perturbation that shows whether the zero state is stable


@dataclass
class LawSampler:
    """One request for a stationary law.

    Attributes:
        network, inputs: of what.
        chains, steps, burn_in, seed, device, threads, progress: as for :func:`meanfield.sample_law`.
        last: the latest run of chains.
    """

    network: Network
    inputs: Inputs
    chains: int
    steps: int
    burn_in: int | None
    seed: int
    device: Device
    threads: int | None
    progress: Progress | None
    last: StationaryRun | None = field(default=None, init=False)

    @cached_property
    def controlled_program(self) -> ControlledProgram:
        return law_program(self.network.definition)

    @property
    def program(self) -> ChainProgram:
        return self.controlled_program.program

    @cached_property
    def order(self) -> list[str]:
        """Names of the observables, the second moments of carriers first."""
        return observable_order(self.program, "square")

    def parameters_at(self, squares: Float64) -> dict[str, float]:
        """Means and deviations of the Gaussian variables where carriers have these second moments."""
        given = dict(enumerate(np.maximum(squares, 0.0)))
        return noise_parameters(self.network, self.program.noises, self.inputs, given)

    def solve(self, method: Method) -> tuple[SampledFixedPoint, dict[str, Estimate]]:
        """The self-consistent second moments, and every observable there by name.

        Raises:
            InvalidInput: if the operator has no form for the cell.
            NotConverged: if there is no stationary law, or its second moments do not settle.
        """
        if method == "operator":
            return self._by_operator()
        with sampling_errors():
            nothing = np.zeros(len(self.program.carriers))
            start = self._pilot_at(nothing)(nothing)[: len(nothing)]
            near = settled(self._pilot_at(start), np.where(start > 0.0, start, _SMALL_START))
            costly = self._by_chains if method == "chains" else self._by_array_rqmc
            found = sampled_fixed_point(self._pilot_at(near), costly, near)
        assert self.last is not None
        return found, dict(zip(self.order, estimates_at(found, self.last.rounding), strict=True))

    def _run(self, squares: Float64, **options: object) -> Float64:
        parameters = self.parameters_at(squares)
        run = run_stationary(self.program, parameters, seed=self.seed, threads=self.threads, **options)  # type: ignore[arg-type]
        self.last = run
        return controlled(self.controlled_program, parameters, run.averages, self.order)

    def _pilot_at(self, squares: Float64) -> Callable[[Float64], Float64]:
        """The map from the same random numbers everywhere: burn-in and precision must not move with its argument."""
        plan = plan_run(self.program, self.parameters_at(squares), PILOT_CHAINS)
        options = {"burn_in": plan.burn_in, "precision": plan.precision, "steps": PILOT_STEPS}
        return lambda other: np.mean(self._run(other, chains=PILOT_CHAINS, **options), axis=0)

    def _by_chains(self, squares: Float64) -> Float64:
        options = {"chains": self.chains, "steps": self.steps, "burn_in": self.burn_in}
        return self._run(squares, **options, device=self.device, progress=self.progress)

    def _by_array_rqmc(self, squares: Float64) -> Float64:
        self._by_chains(squares)
        assert self.last is not None
        parameters = self.parameters_at(squares)
        means = array_rqmc(
            self.program,
            parameters,
            chains=max(1 << (self.chains // _REPLICATES).bit_length() - 1, BLOCK),
            burn_in=self.last.burn_in,
            steps=self.steps,
            replicates=_REPLICATES,
            seed=self.seed,
            threads=self.threads,
            precision="double" if self.last.precision == "double" else None,
        )
        averages = observed(self.program, factors(self.program, parameters), means)
        return np.stack([averages[name] for name in self.order], axis=1)

    def _by_operator(self) -> tuple[SampledFixedPoint, dict[str, Estimate]]:
        bounds = np.zeros(len(self.order))

        def exact(squares: Float64) -> Float64:
            averages = operator_averages(self.program, self.parameters_at(squares))
            bounds[:] = [averages[name][1] for name in self.order]
            return np.array([averages[name][0] for name in self.order])

        try:
            with sampling_errors():
                nothing = np.zeros(len(self.program.carriers))
                start = exact(nothing)[: len(nothing)]
                near = settled(exact, np.where(start > 0.0, start, _SMALL_START))
                found = sampled_fixed_point(exact, lambda squares: np.tile(exact(squares), (2, 1)), near)
        except NotAffine as error:
            raise InvalidInput(f"method: cell {self.network.cell} has no operator: {error}") from error
        except (ArithmeticError, ValueError) as error:
            raise NotConverged(f"the stationary law was not found by the operator: {error}") from error
        errors = bounds + np.abs(found.response) @ bounds[: len(nothing)] + found.remainder
        values = found.blocks[0]
        return found, {
            name: Estimate(float(value), float(error))
            for name, value, error in zip(self.order, values, errors, strict=True)
        }


def estimates_at(found: SampledFixedPoint, rounding: float) -> list[Estimate]:
    """Every observation at a fixed point, its error that of blocks, of the correction and of rounding together."""
    return [
        Estimate(sampled.value, math.hypot(sampled.error, remainder, rounding * sampled.value))
        for sampled, remainder in zip(map(from_groups, found.blocks.T), found.remainder, strict=True)
    ]
