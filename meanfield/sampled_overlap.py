"""The overlap of two sequences in the untied regime, by pairs of chains (theory, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.chain_requests import check_sampling, observable_order, overlap_program, sampling_errors
from meanfield.devices import device_for
from meanfield.estimate import Estimate, from_groups
from meanfield.law_sampler import PILOT_CHAINS, Progress, estimates_at
from meanfield.noise_laws import noise_correlations
from meanfield.sampling.chain_source import Precision
from meanfield.sampling.control_variates import control_coefficients, controlled_blocks
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.stationary_run import StationaryRun, run_stationary
from meanfield.solvers.sampled_fixed_point import sampled_fixed_point
from meanfield.stationary_law import DEFAULT_STEPS, StationaryLaw

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PairLaw:
    """Two copies of a unit, driven by two input sequences through the same weights.

    Attributes:
        law: that of either copy.
        overlap: correlation coefficient of the output between the copies; 1 where the output does not vary.
        products: E[p_a p_b] of the vectors that the recurrent matrices read, at their self-consistent value.
        parameters: those of the law, and the correlations at which chains were run.
        chains: pairs of chains.
    """

    law: StationaryLaw
    overlap: Estimate
    products: tuple[Estimate, ...]
    parameters: Mapping[str, float]
    chains: int


def sample_overlap(
    law: StationaryLaw,
    *,
    chains: int | None = None,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    device: DeviceChoice = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> PairLaw:
    """Sample pairs of chains whose fields are correlated by the inputs' overlap and by their own, self-consistently.

    From uncorrelated states; where the overlap map has several fixed points this is the lowest one.

    Args:
        law: of the single copy, as :func:`meanfield.sample_law` returns it; its inputs' overlap is that of the two
            sequences.
        chains: pairs; as many as the law has chains by default.
        steps: measured steps.
        seed: of everything random.
        device, threads, progress: as for :func:`meanfield.sample_law`.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the overlap does not settle.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5)
    >>> network = mf.Network("janet", {"f": gate, "g": gate})
    >>> law = mf.sample_law(network, mf.Inputs(overlap=1.0), chains=2**14, device="cpu")
    >>> round(mf.sample_overlap(law, device="cpu").overlap.value, 6)
    1.0
    """
    chains = law.chains if chains is None else chains
    network, inputs = law.network, law.inputs
    check_sampling(inputs, chains=chains, steps=steps, burn_in=None, seed=seed, threads=threads)
    chosen = device_for(device)
    program = overlap_program(network.definition)
    order = observable_order(program, "product")
    squares = {index: square.value for index, square in enumerate(law.carriers)}
    precision: Precision | None = "double" if law.precision == "double" else None

    known, expectations, known_errors = _known_moments(law)

    def parameters_at(products: Float64) -> dict[str, float]:
        given = dict(enumerate(np.clip(products, -np.array(list(squares.values())), list(squares.values()))))
        return {**law.parameters, **noise_correlations(network, program.noises, inputs, squares, given)}

    runs: list[StationaryRun] = []
    coefficients: list[Float64] = []

    def run(products: Float64, **options: object) -> Float64:
        done = run_stationary(
            program,
            parameters_at(products),
            seed=seed,
            purpose=1,
            burn_in=law.burn_in,
            precision=precision,
            threads=threads,
            **options,  # type: ignore[arg-type]
        )
        runs[:] = [done]
        targets = np.stack([done.averages[name] for name in order], axis=1)
        controls = np.stack([done.averages[name] for name in known], axis=1)
        coefficients[:] = [control_coefficients(targets, controls)]
        # What the law knows of a single copy corrects the pair: sequences that are the same stay so exactly.
        return controlled_blocks(targets, controls, expectations)

    def cheap(products: Float64) -> Float64:
        return np.mean(run(products, chains=PILOT_CHAINS, steps=DEFAULT_STEPS), axis=0)

    def costly(products: Float64) -> Float64:
        return run(products, chains=chains, steps=steps, device=chosen, progress=progress)

    with sampling_errors():
        found = sampled_fixed_point(cheap, costly, cheap(np.zeros(len(program.carriers)))[: len(program.carriers)])
    # The law has errors of its own, which the pair takes over with what it takes from the law.
    inherited = np.abs(coefficients[0].T) @ known_errors
    inherited = inherited + np.abs(found.response) @ inherited[: len(program.carriers)]
    estimates = {
        name: Estimate(sampled.value, math.hypot(sampled.error, error))
        for name, sampled, error in zip(order, estimates_at(found, runs[0].rounding), inherited, strict=True)
    }
    output = network.definition.states[network.definition.output]
    column = {name: found.blocks[:, index] for index, name in enumerate(order)}
    return PairLaw(
        law=law,
        overlap=_correlation(
            column[f"product {output}"],
            column[f"square {output}"],
            column[f"mean {output}"],
            estimates[f"product {output}"],
        ),
        products=tuple(estimates[f"product {name}"] for name in program.carriers),
        parameters=parameters_at(found.point),
        chains=runs[0].states.shape[1],
    )


def _known_moments(law: StationaryLaw) -> tuple[list[str], Float64, Float64]:
    """Names of a pair's observables that the law of one copy gives, their values and errors."""
    moments = {f"mean {name}": value for name, value in law.mean.items()}
    moments |= {f"square {name}": value for name, value in law.second_moment.items()}
    values, errors = (np.array([getattr(each, part) for each in moments.values()]) for part in ("value", "error"))
    return list(moments), values, errors


def _correlation(product: Float64, square: Float64, mean: Float64, estimate: Estimate) -> Estimate:
    """Correlation coefficient from block means; its error by linearisation, with the part that is not scatter."""
    product_mean, square_mean, mean_mean = (float(np.mean(values)) for values in (product, square, mean))
    variance = square_mean - mean_mean**2
    if variance <= 1e-7 * square_mean or square_mean == 0.0:
        return Estimate(1.0, 0.0)
    value = (product_mean - mean_mean**2) / variance
    shifts = (
        (product - product_mean) - value * (square - square_mean) - 2.0 * mean_mean * (1.0 - value) * (mean - mean_mean)
    ) / variance
    sampled = from_groups(shifts).error
    unsampled = max(estimate.error**2 - from_groups(product).error ** 2, 0.0) ** 0.5 / variance
    return Estimate(value, math.hypot(sampled, unsampled))
