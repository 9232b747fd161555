"""What the singular values of the recurrent matrix alone say of gradients: bounds that hold for all inputs.

With W = σ U diag(s) Vᵀ and all s from c - r to c + r, the Jacobian D W of one step of a vanilla cell has no singular
value above σ (c + r) max φ', which is 1 of tanh and relu, and that of a leaky cell, (1-α) + α D W, none above
(1-α) + α σ (c + r). Of T steps, tied or not, none is above the T-th power. From below the band alone says something
only where φ' is largest.

Source: Zhang, Lei and Dhillon 2018, section 3; theory, section 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from meanfield.cells.leaky import Leaky
from meanfield.cells.vanilla import Vanilla
from meanfield.checks import check_count
from meanfield.network import Network


@dataclass(frozen=True)
class GradientBound:
    """Bounds on the singular values of ∂h_T/∂h_0, by their decimal logarithms.

    Attributes:
        length: T.
        log10_largest: no singular value exceeds this, whatever the inputs.
        log10_smallest: none is below this while all units are where φ' is largest; -inf where the band reaches zero.
            With saturated units they may be.
    """

    length: int
    log10_largest: float
    log10_smallest: float


def gradient_bound(network: Network, *, length: int) -> GradientBound | None:
    """Bounds on gradients over T steps from the band of singular values of the recurrent matrix.

    Args:
        network: of a vanilla or leaky cell.
        length: T.

    Returns:
        The bounds; None for other cells, and for Gaussian matrices, whose singular values reach zero and 2σ only as
        N → ∞.

    Raises:
        InvalidInput: if the length is not positive.

    >>> import meanfield as mf
    >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)}, mf.Ensemble("svd", half_width=0.01))
    >>> bound = gradient_bound(network, length=100)
    >>> round(bound.log10_largest, 4), round(bound.log10_smallest, 4)
    (0.4321, -0.4365)
    """
    check_count("length", length, 1)
    cell, matrices = network.definition, network.matrices
    if matrices.name == "gaussian" or not isinstance(cell, Vanilla | Leaky):
        return None
    gain = network.gates["h"].recurrent_gain
    # erf has the slope 2/√π at zero.
    steepest = 2.0 / math.sqrt(math.pi) if getattr(cell, "activation", "tanh") == "erf" else 1.0
    half_width = matrices.half_width if matrices.name == "svd" else 0.0
    low, high = (gain * steepest * (matrices.centre + sign * half_width) for sign in (-1.0, 1.0))
    if isinstance(cell, Leaky):
        # Of a sum, the largest singular value is at most the sum, and the smallest at least the difference.
        kept, low, high = 1.0 - cell.leak, cell.leak * low, cell.leak * high
        low, high = max(0.0, kept - high, low - kept), kept + high
    return GradientBound(length, length * _log10(high), length * _log10(low))


def _log10(value: float) -> float:
    return math.log10(value) if value > 0.0 else -math.inf
