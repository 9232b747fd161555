"""Chains run to their stationary law and measured there, the burn-in chosen from the slowest gate and then verified."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.averages import factors, observed
from meanfield.sampling.burn_in import FEWEST_BLOCKS, NotStationary, plan_run
from meanfield.sampling.chain_source import BLOCK, Precision
from meanfield.sampling.device_chains import start_chains
from meanfield.sampling.devices import Device
from meanfield.sampling.memory import available_bytes, check_memory
from meanfield.sampling.programs import ChainProgram

Float64 = NDArray[np.float64]
Progress = Callable[[int, int], None]

MOST_CHAIN_STEPS, MOST_STEPS = 5e10, 1e5  # minutes on two cores, and seconds for the few chains of a pilot run
_TINY = 1e-26  # second moments below this lose digits in single precision
_FEWEST_BYTES = 20  # a generator and one variable, of every chain
_PIECE = 256  # steps between two reports of progress
_DRIFT = 4.5  # standard errors by which two halves of a stationary run differ in one run of 10⁵
_ATTEMPTS = 4


@dataclass(frozen=True)
class StationaryRun:
    """Averages over the stationary law.

    Attributes:
        averages: of every observable, by name, over the chains of a block and the measured steps, (blocks,).
        states: the live variables of the program at the end, (variables, chains).
        burn_in: steps made before measuring.
        steps: measured steps.
        precision: of the chains.
        rounding: relative error of moments that the chains' precision may cause.
        device: where they ran.
    """

    averages: Mapping[str, Float64]
    states: NDArray[np.floating]
    burn_in: int
    steps: int
    precision: Precision
    rounding: float
    device: Device


def run_stationary(
    program: ChainProgram,
    parameters: Mapping[str, float],
    *,
    chains: int,
    steps: int,
    burn_in: int | None = None,
    seed: int = 0,
    purpose: int = 0,
    precision: Precision | None = None,
    device: Device = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> StationaryRun:
    """Run chains from zero to their stationary law and average there.

    Args:
        program: what a chain does; its observable ``keep square`` says how fast it forgets.
        parameters: of the program.
        chains: rounded up to blocks of 512, at least 32 of them.
        steps: measured steps, at least 2.
        burn_in: steps before; by default as many as the slowest gate needs for the start to be forgotten to 1e-5
            of the standard error. In either case the two halves of the measured steps are compared, and if they
            differ, what was measured counts as burn-in and twice as many steps follow.
        seed, purpose: of the streams.
        precision: by default single where that is enough: double for memories beyond 30 steps and tiny moments.
        device: ``"cpu"`` or ``"cuda"``.
        threads: all cores by default.
        progress: called with the steps made and the steps in all.

    Raises:
        NotStationary: if the chains never forget, leave the range of numbers or keep drifting.
        ValueError: if there are no chains or fewer than two steps, or a parameter is not finite.
        MemoryError: if the chains do not fit into memory.
    """
    if chains < 1:
        raise ValueError(f"chains: must be at least 1, got {chains}")
    if steps < 2:
        raise ValueError(f"steps: must be at least 2, got {steps}")
    chains = max(math.ceil(chains / BLOCK), FEWEST_BLOCKS) * BLOCK
    if device == "cpu":
        check_memory(f"{chains:,} chains", _FEWEST_BYTES * chains, available_bytes())
    exact = factors(program, parameters)
    plan = plan_run(program, parameters, chains)
    burn_in = plan.burn_in if burn_in is None else burn_in
    precision = precision or plan.precision
    if burn_in + steps > MOST_STEPS or chains * (burn_in + steps) > MOST_CHAIN_STEPS:
        raise NotStationary(
            f"{chains:,} chains need {burn_in:,} steps to forget their start and {steps:,} to measure, which takes "
            "too long; take fewer chains, or a smaller bias mean of the keep gate"
        )
    run = start_chains(
        program,
        [parameters],
        chains=chains,
        seed=seed,
        purpose=purpose,
        precision=precision,
        threads=threads,
        device=device,
    )
    done, total = 0, burn_in + steps

    def advance(count: int, measure: bool) -> Float64:
        nonlocal done
        sums = np.zeros((run.blocks, len(program.sampled)))
        for start in range(0, count, _PIECE):
            piece = min(_PIECE, count - start)
            sums += run.advance(piece, measure=measure)
            done += piece
            if progress is not None:
                progress(done, total)
        return sums / max(count * BLOCK, 1)

    advance(burn_in, measure=False)
    for attempt in range(_ATTEMPTS):
        half = steps // 2
        first, second = advance(half, measure=True), advance(steps - half, measure=True)
        averages = observed(program, exact, (half * first + (steps - half) * second) / steps)
        if not all(np.all(np.isfinite(values)) for values in averages.values()):
            raise NotStationary("the state left the range of finite numbers; lower the gains")
        drifting = _drifting(first, second)
        if not np.any(drifting):
            break
        burn_in, steps = burn_in + steps, 2 * steps
        total += steps
        if attempt == _ATTEMPTS - 1:
            raise NotStationary(
                f"moments still move after {burn_in:,} steps; the state is slower than its keep gate or unstable"
            )
    if precision != "double" and _loses_digits(averages):
        return run_stationary(
            program,
            parameters,
            chains=chains,
            steps=steps,
            burn_in=burn_in,
            seed=seed,
            purpose=purpose,
            precision="double",
            device=device,
            threads=threads,
            progress=progress,
        )
    unit = 2e-15 if precision == "double" else 1e-7
    return StationaryRun(averages, run.states, burn_in, steps, precision, unit * (1.0 + plan.memory), device)


def _drifting(first: Float64, second: Float64) -> NDArray[np.bool_]:
    """Which of the sampled formulas differ between two halves by more than their scatter over blocks allows."""
    difference = second - first
    error = np.std(difference, axis=0, ddof=1) / math.sqrt(len(difference))
    size = np.abs(np.mean(second, axis=0))
    return np.abs(np.mean(difference, axis=0)) > np.maximum(_DRIFT * error, 1e-7 * size)


def _loses_digits(averages: Mapping[str, Float64]) -> bool:
    squares = [float(np.mean(values)) for name, values in averages.items() if name.startswith("square ")]
    return any(square < _TINY for square in squares)
