"""What the network reads: white noise, a signal followed by padding, or measured sequences."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput
from meanfield.measured_data import DRAWN, drawn_sequences, padded_sequences

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """White inputs of constant power; :meth:`padded` and :meth:`from_data` make the other kinds.

    Attributes:
        power: R, the mean square of every component.
        overlap: Σ = E[x_a x_b]/R between two sequences, from -1 to 1.
        size: number M of components; 0 stands for the limit of many, in which input drives are white.

    Raises:
        InvalidInput: if a number is not finite or out of its range.

    >>> Inputs(power=1.0, overlap=0.5, size=28).size
    28
    """

    power: float = 1.0
    overlap: float = 0.0
    size: int = 0

    def __post_init__(self) -> None:
        check_number("power", self.power, 0.0, math.inf)
        check_number("overlap", self.overlap, -1.0, 1.0)
        check_count("size", self.size, 0)

    @staticmethod
    def padded(
        *, signal: int, length: int, power: float = 1.0, padding_power: float = 0.0, overlap: float = 0.0, size: int = 0
    ) -> PaddedInputs:
        """A white signal of ``signal`` steps and then noise of ``padding_power``, ``length`` steps in all.

        >>> Inputs.padded(signal=10, length=200, size=28).length
        200
        """
        return PaddedInputs(power, overlap, size, signal=signal, length=length, padding_power=padding_power)

    @staticmethod
    def from_data(
        source: ArrayLike | str | os.PathLike[str] | Iterable[Any],
        *,
        signal: int | None = None,
        length: int | None = None,
        padding_power: float | None = None,
        most: int = DRAWN,
        seed: int = 0,
    ) -> MeasuredInputs:
        """Measured sequences, sequences × steps × M.

        Args:
            source: an array; the name of a .npy file, which is not read whole; or batches, as a DataLoader yields them.
            signal: steps that carry the signal, where data are padded already; all of their own steps by default.
            length: pad the sequences with white noise up to so many steps.
            padding_power: mean square of that noise; 0 by default.
            most: sequences taken from a file or from batches.
            seed: of their choice and of the padding.

        Raises:
            InvalidInput: if there are not three axes or one is empty, entries are not finite, the file cannot be read,
                or the data are longer than ``length``.

        >>> Inputs.from_data(np.ones((4, 8, 3)), length=20).signal
        8
        """
        data = drawn_sequences(source, most=most, seed=seed)
        steps = data.shape[1]
        if signal is not None:
            check_count("signal", signal, 1)
            if signal > steps:
                raise InvalidInput(f"signal: must not exceed the {steps} steps of the data, got {signal}")
        if length is None and padding_power is not None:
            raise InvalidInput("padding_power: needs the length to which the data are padded")
        if length is not None:
            data = padded_sequences(data, length=length, padding_power=padding_power or 0.0, seed=seed)
            signal = steps if signal is None else signal
        data.flags.writeable = False
        power = float(np.mean(np.square(data, dtype=np.float64)))
        return MeasuredInputs(power, 0.0, data.shape[2], data=data, signal=signal)

    @property
    def endless(self) -> bool:
        """Whether later steps are more of the same."""
        return True

    @property
    def length(self) -> int | None:
        """Number of steps, None where there is no end."""
        return None

    @property
    def signal(self) -> int | None:
        """Number of steps that carry the signal, None for all of them."""
        return None

    def power_at(self, step: int) -> float:
        """Mean square of the inputs at one step."""
        return self.power

    def draw(self, generator: np.random.Generator, sequences: int, steps: int) -> Float32:
        """Input sequences, (sequences, steps, M)."""
        noise = generator.standard_normal((sequences, steps * self.size), dtype=np.float32)
        scale = np.sqrt([self.power_at(step) for step in range(steps)]).astype(np.float32)
        mixed = (self._mixing(sequences) @ noise).reshape(sequences, steps, self.size)
        return mixed * scale[None, :, None]

    def covariance(self, sequences: int, step: int) -> NDArray[np.float64]:
        """E[x_a x_b] per component between sequences at one step, (sequences, sequences)."""
        return self.power_at(step) * self._correlation(sequences)

    def digest(self) -> str | None:
        """SHA-256 of measured data; None where a description says it all."""
        return None

    def as_json(self) -> dict[str, Any]:
        """A description for files."""
        return {"kind": "white", "power": self.power, "overlap": self.overlap}

    def _correlation(self, sequences: int) -> NDArray[np.float64]:
        if sequences > 2 and self.overlap < -1.0 / (sequences - 1):
            raise InvalidInput(f"overlap: {sequences} sequences cannot all overlap by {self.overlap}")
        matrix = np.full((sequences, sequences), float(self.overlap))
        np.fill_diagonal(matrix, 1.0)
        return matrix

    def _mixing(self, sequences: int) -> Float32:
        from meanfield.sampling.drives import covariance_factor

        return covariance_factor(self._correlation(sequences)).astype(np.float32)


@dataclass(frozen=True)
class PaddedInputs(Inputs):
    """A white signal, then padding; see :meth:`Inputs.padded`.

    Attributes:
        signal: steps of signal.
        length: steps in all.
        padding_power: mean square of the padding.
    """

    signal: int = 1
    length: int = 1
    padding_power: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("length", self.length, 1)
        check_count("signal", self.signal, 1)
        check_number("padding_power", self.padding_power, 0.0, math.inf)
        if self.signal > self.length:
            raise InvalidInput(f"signal: must not exceed the length {self.length}, got {self.signal}")

    @property
    def endless(self) -> bool:
        return False

    def power_at(self, step: int) -> float:
        return self.power if step < self.signal else self.padding_power

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "padded",
            "power": self.power,
            "overlap": self.overlap,
            "signal": self.signal,
            "padding_power": self.padding_power,
        }


@dataclass(frozen=True, eq=False)
class MeasuredInputs(Inputs):
    """Measured sequences; see :meth:`Inputs.from_data`. Every group of a population reads some of them.

    Attributes:
        data: (sequences, steps, M), float32, read-only.
        signal: steps that carry the signal; None for all of them.
    """

    data: Float32 | None = field(default=None, repr=False)
    signal: int | None = None

    @property
    def endless(self) -> bool:
        return False

    @property
    def length(self) -> int:
        return self._data.shape[1]

    @property
    def sequences(self) -> int:
        """How many sequences there are."""
        return self._data.shape[0]

    @property
    def peak_power(self) -> float:
        """Mean over sequences of max_t |x_t|²/M."""
        return float(np.mean(np.max(np.mean(np.square(self._data, dtype=np.float64), axis=2), axis=1)))

    def variance_over_sequences(self) -> NDArray[np.float64]:
        """Variance over sequences at every step, a mean over components, (steps,)."""
        return np.asarray(np.mean(np.var(self._data, axis=0, dtype=np.float64), axis=1))

    @property
    def _data(self) -> Float32:
        if self.data is None:
            raise InvalidInput("data: missing; use Inputs.from_data")
        return self.data

    def power_at(self, step: int) -> float:
        return float(np.mean(np.square(self._data[:, step], dtype=np.float64)))

    def draw(self, generator: np.random.Generator, sequences: int, steps: int) -> Float32:
        if sequences > len(self._data):
            raise InvalidInput(f"data: {sequences} sequences are needed, got {len(self._data)}")
        chosen = generator.choice(len(self._data), size=sequences, replace=False)
        return self._data[chosen, :steps]

    def covariance(self, sequences: int, step: int) -> NDArray[np.float64]:
        raise InvalidInput("data: measured inputs have a size; their covariance is not prescribed")

    def digest(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self._data).tobytes()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        return {"kind": "data", "power": self.power, "sequences": len(self._data), "signal": self.signal}
