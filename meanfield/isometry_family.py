"""Critical networks of every cell with one number left free: the bias of the keep gate (docs/isometry.md).

In the untied regime the content gate of a cell s = f s + w φ(u) is critical where that of a plain network is: with q
the variance of u, χ_1 = E f² + σ² E w² E φ'² = 1 and E s² (1 - E f²) = E w² E φ² give σ² E s² = E φ²/E φ'², and inputs
make up the rest of q. The size of the state is then held by E w²/(1 - E f²): by how far inputs drive the keep gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from meanfield.cells.leaky import Leaky
from meanfield.errors import Infeasible
from meanfield.network import Gate

Float64 = NDArray[np.float64]

STATE_SIZE = 0.1  # E[h²] aimed at
CONTENT_VARIANCE = 1.0  # of the content gate's pre-activation in gated cells
EMBEDDING_DRIVE = 1.0
OPEN = 2.0  # bias of gates that let the state or the memory through
HELD_GAIN, HELD_DRIVE = 0.02, 0.1  # recurrent gain and input drive of gates that are not solved for

_NODES = np.linspace(-10.0, 10.0, 401)  # the trapezoidal rule is exact to rounding for smooth functions
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.sum(np.exp(-0.5 * _NODES**2))
_LEAST_DRIVE, _WIDEST = 0.3, 60.0
_WITH_WRITE_GATE = ("lstm", "peephole_lstm")
_WITH_OUTPUT_GATE = ("lstm", "cifg_lstm")
_WITH_RESET_GATE = ("gru", "gru_reset_after")
UNGATED = ("vanilla", "leaky")


@dataclass(frozen=True)
class Family:
    """Networks of one cell at one keep bias, as the recurrent gain of one gate is moved.

    Attributes:
        cell: its name.
        keep_bias: μ of the keep gate; None of cells without one.
        drives: root mean square of what inputs add to the pre-activations of "keep" and "content".
        gain: where the recurrent gain is critical in the untied regime with Gaussian matrices: exactly for cells with
            one state variable but gru_reset_after, else nearly.
        gates: laws of all gates at a recurrent gain.
    """

    cell: str
    keep_bias: float | None
    drives: dict[str, float]
    gain: float
    gates: Callable[[float], dict[str, Gate]]

    def parameters(self, gain: float) -> dict[str, float]:
        """All numbers that were chosen, by name."""
        found = {f"{name}_drive": drive for name, drive in self.drives.items()}
        if self.keep_bias is not None:
            found["keep_bias"] = self.keep_bias
        return {**found, "recurrent_gain": gain}


def family(cell: str, keep_bias: float | None, root_power: float) -> Family:
    """The family of a cell.

    Args:
        cell: one that recipes are designed for.
        keep_bias: of its keep gate; not read of cells without one.
        root_power: √P of the inputs at their peak.

    Raises:
        Infeasible: if no drive of the keep gate leaves the state a useful size.

    >>> found = family("janet", 5.0, 1.0)
    >>> {name: round(value, 3) for name, value in found.parameters(found.gain).items()}
    {'keep_drive': 2.711, 'content_drive': 0.389, 'keep_bias': 5.0, 'recurrent_gain': 2.914}
    """
    if cell in UNGATED:
        return _ungated(cell, root_power)
    if keep_bias is None:
        raise ValueError(f"keep_bias: needed for cell {cell}")
    if cell == "minimal":
        return _minimal(keep_bias, root_power)
    if cell in _WITH_WRITE_GATE:
        return _with_write_gate(cell, keep_bias, root_power)
    return _with_one_gate(cell, keep_bias, root_power)


def averages(values: Float64) -> float:
    """Average of a function over a standard normal variable, given at the nodes of the rule."""
    return float(_WEIGHTS @ values)


def keep_averages(bias: float, variance: float) -> tuple[float, float, float]:
    """E[1 - f²], E[(1-f)²] and E[f'²] of a gate f = σ(u) with u ~ N(μ, q)."""
    u = bias + math.sqrt(variance) * _NODES
    keep, write = expit(u), expit(-u)
    return averages(write * (1.0 + keep)), averages(write**2), averages((keep * write) ** 2)


def content_averages(variance: float) -> tuple[float, float]:
    """E[φ²] and E[φ'²] of φ = tanh at variance q."""
    value = np.tanh(math.sqrt(variance) * _NODES)
    return averages(value**2), averages((1.0 - value**2) ** 2)


@lru_cache(maxsize=64)
def _variance_of_content(square: float) -> float:
    """q at which E[tanh²] is given."""
    return float(brentq(lambda q: content_averages(q)[0] - square, 0.0, 1e4, xtol=1e-12))


@lru_cache(maxsize=4096)
def _variance_of_keep(bias: float, share: float) -> float:
    """q at which E[(1-f)²]/E[1-f²] is given; that of the least drive where it is more there already."""

    def excess(variance: float) -> float:
        lost, write, _ = keep_averages(bias, variance)
        return math.log(write / lost / share)

    least = _LEAST_DRIVE**2
    if excess(least) >= 0.0:
        return least
    if excess(_WIDEST) < 0.0:
        raise Infeasible(
            f"keep gate: with a bias of {bias:g} no drive by inputs gives the state a mean square of {STATE_SIZE:g}; "
            "shorten the length"
        )
    return float(brentq(excess, least, _WIDEST, xtol=1e-9))


def _held(bias: float, root_power: float) -> Gate:
    return Gate(HELD_GAIN, HELD_DRIVE / root_power, bias)


def _driven(variance: float, recurrent: float, root_power: float) -> float:
    """Input gain that makes up what a recurrent field leaves of a variance."""
    return math.sqrt(max(variance - recurrent, 0.0)) / root_power


def _ungated(cell: str, root_power: float) -> Family:
    leak = Leaky.leak if cell == "leaky" else 1.0
    lost, write = 1.0 - (1.0 - leak) ** 2, leak**2
    variance = _variance_of_content(STATE_SIZE * lost / write)
    square, steepness = content_averages(variance)
    gain = math.sqrt(lost / (write * steepness))
    read = _driven(variance, square / steepness, root_power)
    return Family(cell, None, {"content": read * root_power}, gain, lambda found: {"h": Gate(found, read)})


def _with_one_gate(cell: str, bias: float, root_power: float) -> Family:
    """Cells that write what they forget: f is driven by inputs, so that it sometimes lets much through."""
    square, steepness = content_averages(CONTENT_VARIANCE)
    opened, opened_slope = _held_open()
    with_output, with_reset = cell in _WITH_OUTPUT_GATE, cell in _WITH_RESET_GATE
    variance = _variance_of_keep(bias, STATE_SIZE / square / (opened if with_output else 1.0))
    lost, write, slope = keep_averages(bias, variance)
    second = write * square / lost
    through_keep = HELD_GAIN**2 * slope * (second + square)
    carried = opened if with_reset or with_output else 1.0
    rise = carried + (HELD_GAIN**2 * opened_slope * second if with_reset else 0.0)
    gain = math.sqrt((lost - through_keep) / (rise * write * steepness))
    read = _driven(CONTENT_VARIANCE, gain**2 * carried * second, root_power)
    keep_read = _driven(variance, HELD_GAIN**2 * second, root_power)
    others = {"o": _held(OPEN, root_power)} if with_output else {}
    if with_reset:
        others["r"] = Gate(HELD_GAIN, _driven(HELD_DRIVE**2, HELD_GAIN**2 * second, root_power), OPEN)
    content = "g" if cell in ("janet", "cifg_lstm") else "h"
    return Family(
        cell,
        bias,
        {"keep": keep_read * root_power, "content": read * root_power},
        gain,
        lambda found: {"f": Gate(HELD_GAIN, keep_read, bias), content: Gate(found, read), **others},
    )


def _with_write_gate(cell: str, bias: float, root_power: float) -> Family:
    """Cells that forget and write by gates of their own."""
    square, steepness = content_averages(CONTENT_VARIANCE)
    opened = _held_open()[0] if cell in _WITH_OUTPUT_GATE else 1.0
    held = HELD_DRIVE**2
    lost, _, slope = keep_averages(bias, held)
    _, write, write_slope = keep_averages(0.5 * bias, held)
    second = write * square / lost
    through_gates = HELD_GAIN**2 * (slope * second + write_slope * square)
    gain = math.sqrt((lost - through_gates) / (opened * write * steepness))
    read = _driven(CONTENT_VARIANCE, gain**2 * opened * second, root_power)
    gate_read = _driven(held, HELD_GAIN**2 * opened * second, root_power)
    others = {"i": Gate(HELD_GAIN, gate_read, -0.5 * bias), "f": Gate(HELD_GAIN, gate_read, bias)}
    if cell in _WITH_OUTPUT_GATE:
        others["o"] = _held(OPEN, root_power)
    return Family(cell, bias, {"content": read * root_power}, gain, lambda found: {**others, "g": Gate(found, read)})


def _minimal(bias: float, root_power: float) -> Family:
    """χ_1 = E f² + σ² E f'² E (s-z)²; the embedding makes up what the state leaves of the variance of the keep gate."""
    embedded, _ = content_averages(EMBEDDING_DRIVE**2)
    variance = _variance_of_keep(bias, STATE_SIZE / embedded)
    while True:
        lost, write, slope = keep_averages(bias, variance)
        second = embedded * write / lost
        gain = math.sqrt(lost / (slope * (second + embedded)))
        left = variance - gain**2 * second
        if left > 0.0:
            break
        if variance > _WIDEST:
            raise Infeasible(f"keep gate: with a bias of {bias:g} its recurrent field is never critical")
        variance *= 1.25
    read = math.sqrt(left / embedded)
    return Family(
        "minimal",
        bias,
        {"keep": math.sqrt(left), "content": EMBEDDING_DRIVE},
        gain,
        lambda found: {"f": Gate(found, read, bias), "z": Gate(0.0, EMBEDDING_DRIVE / root_power)},
    )


@lru_cache(maxsize=1)
def _held_open() -> tuple[float, float]:
    """E[o²] and E[o'²] of a gate that is held open by its bias."""
    _, square, slope = keep_averages(-OPEN, HELD_DRIVE**2)
    return square, slope
