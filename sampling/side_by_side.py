"""Several networks of one cell in one population, a few groups each, on the same random numbers.

A step of a population costs little more for many groups than for few, and networks that are compared with each other
should differ by their laws alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.cell import GateLaw

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LawByGroup:
    """The laws of one gate in the groups of several networks; all arrays are (groups, 1, 1)."""

    recurrent_gain: Float32
    input_gain: Float32
    bias_mean: Float32
    bias_std: Float32
    recurrent_bias_mean: Float32
    recurrent_bias_std: Float32


def laws_side_by_side(networks: Sequence[Mapping[str, GateLaw]], groups: int) -> Mapping[str, GateLaw]:
    """The laws of networks of one cell that share ``groups`` groups evenly, in their order; one network's are its own.

    >>> from meanfield.network import Gate
    >>> laws = laws_side_by_side([{"h": Gate(1.0)}, {"h": Gate(2.0)}], 4)
    >>> laws["h"].recurrent_gain.ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    if len(networks) == 1:
        return networks[0]
    each = groups // len(networks)

    def column(gate: str, name: str) -> Float32:
        values = np.array([getattr(laws[gate], name) for laws in networks], np.float32)
        return np.repeat(values, each)[:, None, None]

    return {
        gate: LawByGroup(**{part.name: column(gate, part.name) for part in fields(LawByGroup)}) for gate in networks[0]
    }
