"""The networks that figures are about, and averages over simulated ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meanfield.estimate import Estimate
from meanfield.network import Gate, Network
from meanfield.validation.network_averages import jackknife

Float64 = NDArray[np.float64]


def reference_lstm(forget_bias: float = 1.0) -> Network:
    """The LSTM of theory, section 2, whose gradients are measured there.

    >>> reference_lstm().gates["g"].recurrent_gain
    2.0
    """
    gates = {
        "i": Gate(1.0, 0.5, 0.0, 0.2),
        "f": Gate(1.0, 0.5, forget_bias, 0.2),
        "g": Gate(2.0, 1.0, 0.0, 0.2),
        "o": Gate(1.0, 0.5, 0.0, 0.2),
    }
    return Network("lstm", gates)


def reference_gru(gain: float = 3.0, *, keep_gain: float = 1.5, keep_bias: float = 0.0) -> Network:
    """The GRU of theory, section 2, with other gains of its state and of its keep gate, and another bias of that.

    >>> reference_gru().gates["h"].recurrent_gain
    3.0
    """
    keep, reset = Gate(keep_gain, 0.5, keep_bias, 0.3), Gate(1.5, 0.5, 0.0, 0.3)
    return Network("gru", {"f": keep, "r": reset, "h": Gate(gain, 0.5, 0.0, 0.3)})


def mean_of_networks(samples: Float64) -> tuple[Float64, Float64]:
    """Means over networks and their standard errors, from (networks, …).

    >>> [each.tolist() for each in mean_of_networks(np.array([[1.0], [2.0], [3.0]]))][0]
    [2.0]
    """
    return np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))


def estimates(found: list[Estimate]) -> tuple[Float64, Float64]:
    """Values and errors as arrays, (estimates,) each.

    >>> [each.tolist() for each in estimates([Estimate(1.0, 0.5), Estimate(2.0, 0.25)])]
    [[1.0, 2.0], [0.5, 0.25]]
    """
    return np.array([each.value for each in found]), np.array([each.error for each in found])


def growth_between(profiles: Float64, first: int, last: int) -> Estimate:
    """Growth a step of a profile between two lags, (networks, lags), with its jackknife error.

    >>> found = growth_between(np.array([[4.0, 2.0, 1.0], [8.0, 4.0, 2.0]]), 0, 2)
    >>> round(found.value, 12), found.error < 1e-12
    (0.5, True)
    """
    steps = last - first
    with np.errstate(divide="ignore"):
        ends = np.log(profiles[:, first]), np.log(profiles[:, last])
    found = jackknife(lambda start, end: math.exp((end - start) / steps), *ends)
    return Estimate(found.value, found.error)
