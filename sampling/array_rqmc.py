"""Averages over chains that are sorted at every step and driven by quasi-random points: Array-RQMC.

Plain sampling has an error of n^(-1/2) in the number of chains. Here the chain of rank r, by its state, takes the r-th
of n = 2^m Sobol points in the order of their first coordinate, so that the empirical law of the states stays close to
the true one, with an error of about 1/n. A fresh digital shift at every step makes each chain's deviates exactly
uniform, hence every average unbiased, and replicates with other shifts independent.

Source: P. L'Ecuyer, C. Lécot, B. Tuffin, A randomized quasi-Monte Carlo simulation method for Markov chains (Operations
Research 56, 2008), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from meanfield.sampling.array_rqmc_source import array_kernels
from meanfield.sampling.chain_source import BLOCK, Precision
from meanfield.sampling.chains import fitting_precision, named_parameters
from meanfield.sampling.memory import available_bytes, check_memory
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.threads import cores, in_parts

Float64 = NDArray[np.float64]

# States in single precision bias averages by 1e-8 to 5e-8 of their size; from here on the estimator's own error may
# come down to that.
DOUBLE_FROM = 1 << 20
MOST_CHAINS = 1 << 30


def array_rqmc(
    program: ChainProgram,
    parameters: Mapping[str, float],
    *,
    chains: int = 1 << 16,
    burn_in: int,
    steps: int,
    replicates: int = 8,
    seed: int = 0,
    threads: int | None = None,
    precision: Precision | None = None,
) -> Float64:
    """Averages of a program's sampled formulas over chains and steps, from independent randomisations.

    Chains start at zero. A program without state is averaged over plain randomised Sobol points.

    Args:
        program: the chain, of one state variable or none.
        parameters: the program's parameters.
        chains: a power of two, at least 512.
        burn_in: steps that are made first and not averaged over.
        steps: steps that are averaged over.
        replicates: how many independent estimates; they are what is spread over threads.
        seed: of all shifts, not negative. Equal seeds give equal bits for any number of threads.
        threads: all cores by default.
        precision: of the states; by default double from 2²⁰ chains on, else single, clamped where the parameters ask
            for it. Deviates have single precision always: that changes moments of gates by 4e-10, squares by 2e-9.

    Returns:
        (replicates, sampled), in the order of ``program.sampled``: independent, of equal law, unbiased for the average
        over these steps. Their mean has the standard error ``std(ddof=1)/sqrt(replicates)``, by Student's distribution
        with ``replicates - 1`` degrees of freedom.

    Raises:
        ValueError: if the program has more than one state variable, or an argument is out of range.
        MemoryError: if points and chains do not fit into memory, before anything is allocated.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> program = stationary_program(find("leaky"))
    >>> laws = {"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}
    >>> mean, square = array_rqmc(program, laws, chains=1024, burn_in=50, steps=10, seed=1).mean(axis=0)
    >>> bool(abs(square - 0.3**2 / (1 - 0.7**2) * 0.3942944) < 1e-4)  # for a standard normal z, E tanh(z)² = 0.3942944
    True
    """
    _check(program, chains, burn_in, steps, replicates, seed)
    chosen: Precision = precision or ("double" if chains >= DOUBLE_FROM else fitting_precision(program, [parameters]))
    real = np.float64 if chosen == "double" else np.float32
    table = named_parameters(program.parameters, [parameters])[0].astype(real)
    deviates, has_state = len(program.normals), bool(program.states)
    workers = min(threads or cores(), replicates)
    # Points are made in double precision before they become words.
    needed = chains * (28 * (deviates + 1) + workers * real().itemsize)
    check_memory(f"{chains:,} chains with {deviates} deviates", needed, available_bytes())
    module = array_kernels(program, chosen)
    words = _words(deviates, chains, has_state)
    # Without a state there is nothing to forget.
    skipped = burn_in if has_state else 0
    sums = np.zeros((replicates, len(program.sampled)))

    def part(first: int, last: int) -> None:
        states = np.empty((max(len(program.states), 1), chains), real)
        for replicate in range(first, last):
            states[:] = 0.0
            shifts = _shifts(seed, replicate, skipped + steps, deviates)
            for step, shift in enumerate(shifts):
                if has_state and step > 0:
                    states[0].sort()
                module.run(words, shift, states, table, step >= skipped, sums[replicate])

    in_parts(part, replicates, threads)
    return sums / (float(chains) * steps)


def _check(program: ChainProgram, chains: int, burn_in: int, steps: int, replicates: int, seed: int) -> None:
    if len(program.states) > 1:
        names = ", ".join(program.states)
        raise ValueError(f"program: chains are sorted by one state variable, and this program has several: {names}")
    if chains & (chains - 1) or not BLOCK <= chains <= MOST_CHAINS:
        raise ValueError(f"chains: must be a power of two from {BLOCK} to {MOST_CHAINS:,}, got {chains}")
    for name, value, least in (("burn_in", burn_in, 0), ("steps", steps, 1), ("replicates", replicates, 1)):
        if value < least:
            raise ValueError(f"{name}: must be at least {least}, got {value}")
    if seed < 0:
        raise ValueError(f"seed: must not be negative, got {seed}")


@lru_cache(maxsize=4)
def _words(deviates: int, chains: int, sort: bool) -> NDArray[np.uint32]:
    """Coordinates of the first points of Sobol's sequence, (deviates, chains), by order of one more that is dropped."""
    if deviates == 0:
        return np.empty((0, chains), np.uint32)
    sequence = qmc.Sobol(deviates + sort, scramble=False, bits=32)
    points: Float64 = sequence.random_base2(chains.bit_length() - 1)
    if sort:
        points = points[np.argsort(points[:, 0]), 1:]
    return np.ascontiguousarray((2.0**32 * points.T).astype(np.uint32))


def _shifts(seed: int, replicate: int, steps: int, deviates: int) -> NDArray[np.uint32]:
    """Digital shifts, (steps, deviates)."""
    # Raw words of a bit generator stay the same between versions of NumPy; a distribution's need not.
    generator = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(replicate,)))
    raw = np.asarray(generator.random_raw(steps * deviates), np.uint64)
    return (raw >> np.uint64(32)).astype(np.uint32).reshape(steps, deviates)
