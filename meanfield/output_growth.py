"""Growth of gradients at identical inputs for a memory behind an output gate, untied (theory, section 3).

With the path of a unit, a perturbation of the memory has the mean square v, of the output H on average. In a step

    v ← f² v + H a(c, gates),     a = Σ_k σ_k² (∂c/∂u_k)²,     H ← E[o²] E[ψ'(c)² v] + H σ_o² E[o'²] E[ψ(c)²].

As a measure over c, v is carried on by the transfer operator with the weight f², so the growth χ is where

    χ = b + E[o²] χ (s, (χ - T_{f²})⁻¹ ψ'²).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from meanfield.closed_growth import ClosedGrowth, slow_timescale
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate
from meanfield.output_law import OutputLaw
from meanfield.output_perturbation import Perturbed
from meanfield.output_step import OutputStep

_ROUNDING = 1e-13
_ALONE = 1e-15


def output_growth(law: OutputLaw) -> ClosedGrowth:
    """Growth of a perturbation of the memory and the output, by the transfer operator.

    Args:
        law: of the output.

    Returns:
        χ_1 and ξ, with bounds on their errors. Where no recurrent matrix feeds the memory, it is the larger one of what
        the memory keeps, E[f²], and what the output gate passes on.

    Raises:
        NotConverged: if the growth is not found.

    >>> import meanfield as mf
    >>> from meanfield.output_law import output_law
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
    >>> gates = {"i": gate, "f": mf.Gate(1.0, 0.5, 1.0, 0.2), "g": mf.Gate(2.0, 1.0, 0.0, 0.2), "o": gate}
    >>> growth = output_growth(output_law(mf.Network("lstm", gates)))
    >>> round(growth.chi.value, 6), growth.chi.error < 1e-9
    (0.622871, True)
    """
    fine, lacking = _growth(law.step, coarse=False)
    coarse, _ = _growth(law.step, coarse=True)
    error = 2.0 * abs(fine - coarse) + (_ROUNDING + 2.0 * law.step.memory.defect) * max(fine, 1e-300)
    error += sum(share * abs(_growth(moved.step, coarse=True)[0] - coarse) for moved, share in law.moved())
    chi = Estimate(fine, float(error))
    return ClosedGrowth(chi, slow_timescale(chi, lacking, error))


def _growth(step: OutputStep, *, coarse: bool) -> tuple[float, float]:
    """χ and 1 - χ at one resolution."""
    found = Perturbed(step, coarse=coarse)
    coupling, passed = found.coupling, found.passed
    kept = 1.0 - found.forgotten
    if not np.any(coupling) or not np.any(found.readout):
        chi = max(kept, passed)
        return chi, min(found.forgotten, 1.0 - passed)

    def excess(distance: float) -> float:
        """1 - (b + what comes back through the memory)/χ at a distance of χ from what the memory keeps."""
        chi = kept + distance
        return 1.0 - passed / chi - float(coupling @ found.resolvent(distance))

    low, high = 1e-3 * found.forgotten, max(1.0, 2.0 * passed)
    while excess(low) > 0.0:
        low *= 1e-3
        if low < _ALONE * found.forgotten:
            return kept, found.forgotten  # it feeds itself less than rounding can tell
    while excess(high) < 0.0:
        high *= 4.0
        if high > 1e30:
            raise NotConverged("a perturbation grows beyond the range of numbers; lower the recurrent gains")
    # On a logarithmic scale, on which poles and roots close to the memory's own rate are well apart.
    root = float(np.exp(brentq(lambda place: excess(float(np.exp(place))), np.log(low), np.log(high), xtol=1e-14)))
    return kept + root, found.forgotten - root
