"""Many independent chains of one program, carried forward by compiled kernels on the CPU.

Results depend on the seed only: every chain has a generator of its own, and sums are taken block by block in a fixed
order, so they are equal bit by bit for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling import random_bits
from meanfield.sampling.chain_source import BLOCK, LIMITS, Precision, cpu_kernels
from meanfield.sampling.expressions import bounds, symbols_of
from meanfield.sampling.memory import available_bytes, check_memory
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.kernel_modules import assemble, load
from meanfield.solvers.threads import in_parts

Float64 = NDArray[np.float64]

LARGEST_DEVIATE = 6.8  # no normal deviate of the kernels is larger

SEED = """
@kernel
def seed_streams(first, last, purpose, low, high, streams):
    for chain in range(first, last):
        a, b, c, d = stream(np.uint64(chain), purpose, low, high)
        streams[0, chain] = a
        streams[1, chain] = b
        streams[2, chain] = c
        streams[3, chain] = d
"""


class BlocksOfChains:
    """What chains have on any device: a program, parameters, a precision, and whole blocks of 512 for every set."""

    def __init__(
        self,
        program: ChainProgram,
        parameters: Sequence[Mapping[str, float]],
        chains: int,
        precision: Precision | None,
    ) -> None:
        table = named_parameters(program.parameters, parameters)
        if chains < 1:
            raise ValueError(f"chains: must be at least 1, got {chains}")
        self.program, self.steps = program, 0
        self.precision: Precision = precision or fitting_precision(program, parameters)
        self._blocks_a_set = math.ceil(chains / (BLOCK * len(table)))
        self.blocks = self._blocks_a_set * len(table)
        self.chains = self.blocks * BLOCK
        self._real: type[np.floating[Any]] = np.float64 if self.precision == "double" else np.float32
        self._variables = max(len(program.states), 1)
        self._parameters = table.astype(self._real)

    def _check_memory(self, where: str, available: int | None, more: int = 0) -> None:
        """Refuse chains whose streams and states, and ``more`` bytes, do not fit into the memory that is available."""
        needed = (16 + self._variables * self._real().itemsize) * self.chains + more
        check_memory(f"{self.chains:,} chains{where}", needed, available)


class CPUChains(BlocksOfChains):
    """Chains under way, in blocks of 512.

    Attributes:
        program: what every chain does.
        precision: of the chains' states.
        states: (variables, chains), the live variables of the program.
        steps: steps made so far.
    """

    def __init__(
        self,
        program: ChainProgram,
        parameters: Sequence[Mapping[str, float]],
        *,
        chains: int,
        seed: int,
        purpose: int = 0,
        precision: Precision | None = None,
        threads: int | None = None,
    ) -> None:
        """Start chains at zero.

        Args:
            program: what every chain does.
            parameters: one set of the program's parameters, or several, which consecutive equal shares of the blocks
                use.
            chains: how many; rounded up to whole blocks for every set.
            seed: of all streams.
            purpose: tells streams of one seed apart.
            precision: by default single, with clamped exponentials where the parameters ask for them.
            threads: all cores by default.

        Raises:
            ValueError: if there are no chains or a parameter is not finite.
            MemoryError: if the chains do not fit into memory, before anything is allocated.
        """
        super().__init__(program, parameters, chains, precision)
        self._check_memory("", available_bytes())
        self._threads = threads
        self._module = cpu_kernels(program, self.precision)
        self._streams = seeded_streams(self.chains, seed, purpose, threads)
        self._states: NDArray[Any] = np.zeros((self._variables, self.chains), self._real)

    @property
    def states(self) -> NDArray[Any]:
        return self._states[: len(self.program.states)]

    def advance(self, steps: int, *, measure: bool = False) -> Float64:
        """Make steps; returns the sum of every sampled formula over a block's chains and these steps.

        Returns:
            (blocks, sampled), zero unless ``measure``.
        """
        sums = np.zeros((self.blocks, max(len(self.program.sampled), 1)))

        def part(first: int, last: int) -> None:
            self._module.run(
                first, last, steps, measure, self._streams, self._states, self._parameters, self._blocks_a_set, sums
            )

        in_parts(part, self.blocks, self._threads)
        self.steps += steps
        return sums[:, : len(self.program.sampled)]


def seeded_streams(chains: int, seed: int, purpose: int, threads: int | None = None) -> NDArray[np.uint32]:
    """States of the chains' generators, (4, chains)."""
    low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32((seed >> 32) & 0xFFFFFFFF)
    streams = np.empty((4, chains), np.uint32)
    module = _seeding()

    def part(first: int, last: int) -> None:
        module.seed_streams(first, last, np.uint32(purpose), low, high, streams)

    in_parts(part, chains, threads)
    return streams


@lru_cache(maxsize=1)
def _seeding() -> ModuleType:
    return load("streams", assemble([random_bits, SEED]))


def named_parameters(names: Sequence[str], parameters: Sequence[Mapping[str, float]]) -> Float64:
    """The named parameters of every set, (sets, names).

    Raises:
        ValueError: if there is no set, or a parameter is not finite or a negative deviation.
    """
    if not parameters:
        raise ValueError("parameters: at least one set is needed")
    table = np.array([[each[name] for name in names] for each in parameters], dtype=np.float64)
    table = table.reshape(len(parameters), len(names))
    for name, column in zip(names, table.T, strict=True):
        if not np.all(np.isfinite(column)):
            raise ValueError(f"{name}: must be finite, got {column[~np.isfinite(column)][0]}")
        if name.startswith("deviation") and np.any(column < 0.0):
            raise ValueError(f"{name}: must not be negative, got {column.min()}")
    return table


def fitting_precision(program: ChainProgram, parameters: Sequence[Mapping[str, float]]) -> Precision:
    """Whether exponentials need clamps at these parameters."""
    roots = [*program.updates, *program.sampled]
    for each in parameters:
        ranges = dict.fromkeys(program.normals, (-LARGEST_DEVIATE, LARGEST_DEVIATE))
        ranges |= {name: (value, value) for name, value in each.items()}
        found = bounds(roots, ranges)
        for node in found:
            # What depends on states has its clamps in any case.
            if node.operation in LIMITS and symbols_of([node]).isdisjoint(program.states):
                low, high = found[node.operands[0]]
                if max(-low, high) > LIMITS[node.operation]:
                    return "clamped"
    return "single"
