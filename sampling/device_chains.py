"""Chains on a device of choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.chain_source import Precision
from meanfield.sampling.chains import CPUChains
from meanfield.sampling.devices import DeviceChoice, choose_device
from meanfield.sampling.programs import ChainProgram


class Chains(Protocol):
    """Chains under way on a device, in blocks of 512.

    Attributes:
        program: what every chain does.
        precision: of the chains' states.
        blocks, chains: how many there are.
        steps: steps made so far.
    """

    program: ChainProgram
    precision: Precision
    blocks: int
    chains: int
    steps: int

    @property
    def states(self) -> NDArray[Any]:
        """The live variables of the program, (variables, chains)."""

    def advance(self, steps: int, *, measure: bool = False) -> NDArray[np.float64]:
        """Make steps; returns the sum of every sampled formula over a block's chains and these steps.

        Returns:
            (blocks, sampled), zero unless ``measure``.
        """


def start_chains(
    program: ChainProgram,
    parameters: Sequence[Mapping[str, float]],
    *,
    chains: int,
    seed: int,
    purpose: int = 0,
    precision: Precision | None = None,
    threads: int | None = None,
    device: DeviceChoice = "auto",
) -> Chains:
    """Start chains at zero, on a device of choice; the same seed gives the same chains on each but for rounding.

    Args:
        program, parameters, chains, seed, purpose, precision: as for :class:`~meanfield.sampling.chains.CPUChains`.
        threads: on the processor, all cores by default.
        device: as for :func:`choose_device`.

    Raises:
        NoDevice: if CUDA is asked for and cannot be used.
        ValueError: if there are no chains or no such device, or a parameter is not finite.
        MemoryError: if the chains do not fit into the device's memory, before anything is allocated.
    """
    if choose_device(device) == "cpu":
        return CPUChains(
            program, parameters, chains=chains, seed=seed, purpose=purpose, precision=precision, threads=threads
        )
    # numba.cuda is not imported before it is needed: that takes a while, and a driver that is broken may complain.
    from meanfield.sampling.chains_cuda import CUDAChains

    return CUDAChains(program, parameters, chains=chains, seed=seed, purpose=purpose, precision=precision)
