"""Many independent chains of one program, carried forward by compiled kernels on an NVIDIA GPU.

The counterpart of :mod:`meanfield.sampling.chains`: the same seed gives the same chains but for rounding, and equal
sums bit by bit whenever they are repeated on one kind of GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from meanfield.sampling.chain_source import Precision
from meanfield.sampling.chain_source_cuda import PARTS, THREADS, cuda_kernels, steps_a_cycle
from meanfield.sampling.chains import BlocksOfChains
from meanfield.sampling.programs import ChainProgram

# Steps of all chains together that one launch makes: well below a second on slow GPUs, where drivers of displays stop
# kernels after two, and milliseconds on fast ones, beside which a launch takes nothing.
STEPS_A_LAUNCH = {"single": 2**30, "clamped": 2**30, "double": 2**26}


class CUDAChains(BlocksOfChains):
    """Chains under way on a GPU, in blocks of 512.

    Attributes:
        program: what every chain does.
        precision: of the chains' states.
        blocks, chains: how many there are.
        states: (variables, chains), the live variables of the program, copied from the GPU.
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
    ) -> None:
        """Start chains at zero; arguments are those of :class:`~meanfield.sampling.chains.CPUChains`.

        Raises:
            ValueError: if there are no chains or a parameter is not finite.
            MemoryError: if the chains do not fit into the GPU's memory, before anything is allocated there.
        """
        super().__init__(program, parameters, chains, precision)
        sampled = max(len(program.sampled), 1)
        self._sums_shape = (self.blocks * PARTS, sampled)
        free = cuda.current_context().get_memory_info().free
        self._check_memory(" on the GPU", free, 8 * self.blocks * PARTS * sampled + self._parameters.nbytes)
        self._kernels = cuda_kernels(program, self.precision)
        self._device_parameters = cuda.to_device(self._parameters)
        self._streams = cuda.device_array((4, self.chains), np.uint32)
        self._device_states = cuda.device_array((self._variables, self.chains), self._real)
        low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32((seed >> 32) & 0xFFFFFFFF)
        self._launch("start", np.uint32(purpose), low, high, self._streams, self._device_states)

    @property
    def states(self) -> NDArray[Any]:
        states: NDArray[Any] = self._device_states.copy_to_host()
        return states[: len(self.program.states)]

    def advance(self, steps: int, *, measure: bool = False) -> NDArray[np.float64]:
        """Make steps; returns the sum of every sampled formula over a block's chains and these steps.

        Returns:
            (blocks, sampled), zero unless ``measure``.
        """
        sums = np.zeros(self._sums_shape)
        device_sums = cuda.to_device(sums) if measure else None
        # Whole cycles, since a launch starts with fresh deviates and this call's steps are to be one sequence.
        cycle = steps_a_cycle(self.program)
        piece = cycle * max(1, STEPS_A_LAUNCH[self.precision] // (self.chains * cycle))
        for start in range(0, steps, piece):
            arguments = (
                min(piece, steps - start),
                self._streams,
                self._device_states,
                self._device_parameters,
                self._blocks_a_set,
            )
            if device_sums is None:
                self._launch("run", *arguments)
            else:
                self._launch("run_measured", *arguments, device_sums)
            cuda.synchronize()  # an interrupt waits for one launch, not for all that are queued
        self.steps += steps
        if device_sums is not None:
            device_sums.copy_to_host(sums)
        parts = sums[:, : len(self.program.sampled)].reshape(self.blocks, PARTS, -1)
        return np.sum(parts, axis=1)

    def _launch(self, name: str, *arguments: object) -> None:
        with warnings.catch_warnings():
            # Few chains leave most of a GPU idle, which need not be said at every launch.
            warnings.filterwarnings("ignore", message="Grid size")
            kernel = getattr(self._kernels, name)[self.blocks * PARTS, THREADS]
        kernel(*arguments)
