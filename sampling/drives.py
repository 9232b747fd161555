"""Input drives U x(t) of a population (theory, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_PIECE = 64  # steps of endless inputs drawn at a time


class InputSource(Protocol):
    """Where inputs come from.

    Attributes:
        size: input size M; 0 stands for the limit of many inputs, in which only their covariance matters.
        endless: whether later steps are more of the same, so that sequences may be drawn piece by piece.
    """

    @property
    def size(self) -> int: ...
    @property
    def endless(self) -> bool: ...

    def draw(self, generator: np.random.Generator, sequences: int, steps: int) -> Float32:
        """Input sequences, (sequences, steps, size); called only where size is positive."""
        ...

    def covariance(self, sequences: int, step: int) -> NDArray[np.float64]:
        """E[x_a x_b] per component between sequences at one step, (sequences, sequences); called where size is 0."""
        ...


class InputDrives:
    """Drives of unit gain for the gates that read the input: every gate's rows of U applied to the inputs.

    With M inputs every unit of every gate has M weights N(0, 1/M) and all units of a group see the same sequences, so
    that for small M the drives are correlated in time as they are in a network. With M = 0 they are fresh Gaussian
    draws. Untied weights are redrawn at every step. There is one generator a group; networks that stand side by side
    have ``copies`` of the groups' drives.
    """

    def __init__(
        self,
        source: InputSource,
        generators: Sequence[np.random.Generator],
        *,
        copies: int = 1,
        sequences: int,
        steps: int,
        gates: int,
        units: int,
        tied: bool,
    ) -> None:
        self._source, self._generators, self._tied, self._copies = source, list(generators), tied, copies
        self._shape = (len(self._generators), sequences, gates, units)
        self._piece = min(steps, _PIECE) if source.endless else steps
        self._inputs: Float32 | None = None
        self._held = 0  # which piece of the inputs is kept
        self._weights: Float32 | None = None
        if source.size and tied:
            shape = (source.size, gates * units)
            weights = [g.standard_normal(shape, dtype=np.float32) for g in self._generators]
            self._weights = np.stack(weights) / np.float32(np.sqrt(source.size))

    @property
    def squared_weights(self) -> Float32 | None:
        """Σ_m U_im² of every unit, (copies × groups, gates, units), one on average; None without weights."""
        if self._weights is None:
            return None
        groups, _, gates, units = self._shape
        return self._copied(np.sum(np.square(self._weights), axis=1).reshape(groups, gates, units))

    def at(self, step: int) -> Float32:
        """Drives at one step, (copies × groups, sequences, gates, units)."""
        if not self._source.size:
            factor = covariance_factor(self._source.covariance(self._shape[1], step))
            return self._fresh(np.broadcast_to(factor, (self._shape[0], *factor.shape)))
        x = self.inputs_at(step)
        if self._tied:
            return self.of(x)
        x = x.astype(np.float64)
        return self._fresh(covariance_factor(np.matmul(x, x.transpose(0, 2, 1)) / self._source.size))

    def inputs_at(self, step: int) -> Float32:
        """Inputs of one step, (groups, sequences, M); endless inputs are kept for the current piece only."""
        piece = step // self._piece if self._source.endless else 0
        if self._inputs is None or piece != self._held:
            sequences = self._shape[1]
            self._inputs = np.stack([self._source.draw(g, sequences, self._piece) for g in self._generators])
            self._held = piece
        return self._inputs[:, :, step % self._piece]

    def of(self, inputs: Float32) -> Float32:
        """Drives that the same weights give for other inputs, (groups, sequences, M); tied weights only."""
        if self._weights is None:
            raise ValueError("drives of other inputs need tied weights and a positive input size")
        groups, _, gates, units = self._shape
        return self._copied(np.matmul(inputs, self._weights).reshape(groups, -1, gates, units))

    def _fresh(self, factor: NDArray[np.float64]) -> Float32:
        groups, sequences, gates, units = self._shape
        noise = np.empty((groups, sequences, gates * units), np.float32)
        for group, generator in enumerate(self._generators):
            generator.standard_normal(dtype=np.float32, out=noise[group])
        return self._copied(np.matmul(factor.astype(np.float32), noise).reshape(self._shape))

    def _copied(self, drives: Float32) -> Float32:
        return np.concatenate([drives] * self._copies) if self._copies > 1 else drives


def covariance_factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """F with F Fᵀ = covariance for positive semidefinite matrices (…, B, B), singular ones included.

    >>> f = covariance_factor(np.array([[1.0, 1.0], [1.0, 1.0]]))
    >>> bool(np.allclose(f @ f.T, 1.0))
    True
    """
    values, vectors = np.linalg.eigh(covariance)
    factor: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return factor
