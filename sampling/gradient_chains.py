"""Growth of gradients in the untied regime, sampled by chains that carry their covariance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.chain_source import BLOCK, Precision
from meanfield.sampling.chains import named_parameters, seeded_streams
from meanfield.sampling.gradient_program import GradientProgram
from meanfield.sampling.gradient_source import gradient_kernels
from meanfield.sampling.memory import available_bytes, check_memory
from meanfield.solvers.threads import in_parts

Float64 = NDArray[np.float64]

SETS = 32  # independent populations, whose scatter gives the errors


def chains_run(chains: int) -> int:
    """How many chains are run where ``chains`` are asked for: whole blocks for every set.

    >>> chains_run(1000)
    16384
    """
    return SETS * BLOCK * math.ceil(chains / (SETS * BLOCK))


def gradient_profile(
    program: GradientProgram,
    parameters: Mapping[str, float],
    gains: Float64,
    *,
    chains: int,
    burn_in: int,
    steps: int,
    seed: int,
    purpose: int = 0,
    precision: Precision = "clamped",
    threads: int | None = None,
) -> tuple[Float64, Float64]:
    """Logarithm of E δ² of the output 1, 2, … ``steps`` steps after a unit perturbation of the output.

    Chains are dealt into 32 sets, in each of which the variances of the fields are averages of its own; the bias
    from that is of the order of steps / chains of a set.

    Args:
        program: one step of a chain.
        parameters: means and deviations of its variables (and correlations and residues for two copies).
        gains: gain of every field.
        chains: in all sets together; rounded up to whole blocks for every set.
        burn_in: steps before the perturbation.
        steps: steps after it.
        seed, purpose: of the streams.
        precision: of the chains.
        threads: all cores by default.

    Returns:
        Logarithms of sizes, (sets, steps), -inf where nothing is left of the perturbation; and signs: that of
        E[δ_a δ_b] may be negative in a set whose few large terms happen to be.

    Raises:
        ValueError: if a parameter is not finite.
        MemoryError: if the chains do not fit into memory, before anything is allocated.
    """
    given = program.parameters[: -len(program.field_carriers) - 1]
    table = named_parameters(given, [parameters])
    real = np.float64 if precision == "double" else np.float32
    total = chains_run(chains)
    blocks_a_set = total // (SETS * BLOCK)
    bytes_a_chain = 16 + len(program.states) * real().itemsize + 4 * len(program.normals)
    check_memory(f"{total:,} chains", bytes_a_chain * total, available_bytes())
    module = gradient_kernels(program, precision)
    streams = seeded_streams(total, seed, purpose, threads)
    states = np.zeros((len(program.states), total), real)
    profile = np.empty((SETS, max(steps, burn_in)))
    signs = np.ones_like(profile)
    scales = np.zeros((SETS, 2))

    def advance(count: int) -> None:
        scales[:] = (1.0, 0.0)

        def part(first: int, last: int) -> None:
            module.run(
                first, last, count, streams, states, table[0].astype(real), gains, blocks_a_set, scales, profile, signs
            )

        in_parts(part, SETS, threads)

    if program.path and burn_in:
        advance(burn_in)
    if program.output_entry in program.states:
        states[program.states.index(program.output_entry)] = 1.0
    advance(steps)
    return profile[:, :steps], signs[:, :steps]
