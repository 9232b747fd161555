"""How far gradients reach back at identical inputs, for a memory behind an output gate, untied (theory, section 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.estimate import Profile
from meanfield.output_law import OutputLaw
from meanfield.output_perturbation import Perturbed
from meanfield.output_step import OutputStep

Float64 = NDArray[np.float64]

_ROUNDING_A_STEP = 1e-14


def output_profile(law: OutputLaw, length: int) -> Profile:
    """G(τ) = E‖∂h_T/∂h_{T-τ}‖²/N at lags 0 to ``length``, with c_{T-τ} held fixed, by the transfer operator.

    Args:
        law: of the output.
        length: the last lag, at least 1.

    Returns:
        The profile; its relative errors are bounds.

    >>> import meanfield as mf
    >>> from meanfield.output_law import output_law
    >>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_std=0.2)
    >>> gates = {"i": gate, "f": mf.Gate(1.0, 0.5, 1.0, 0.2), "g": mf.Gate(2.0, 1.0, 0.0, 0.2), "o": gate}
    >>> profile = output_profile(output_law(mf.Network("lstm", gates)), 40)
    >>> print(f"{profile.at(1).value:.6g} {profile.at(40).value:.6g}", bool(max(profile.relative_errors) < 1e-10))
    0.109373 9.45225e-10 True
    """
    fine, coarse = (_log_profile(law.step, length, coarse=coarse) for coarse in (False, True))
    finite = np.isfinite(fine)
    off = 2.0 * np.abs(np.where(finite, fine, 0.0) - np.where(finite, coarse, 0.0))
    for moved, share in law.moved():
        shift = np.where(finite, _log_profile(moved.step, length, coarse=True) - np.where(finite, coarse, 0.0), 0.0)
        off += share * np.abs(shift)
    lags = np.arange(length + 1)
    return Profile(lags, fine, off + _ROUNDING_A_STEP * lags)


def _log_profile(step: OutputStep, length: int, *, coarse: bool) -> Float64:
    found = Perturbed(step, coarse=coarse)
    kept = found.kept
    opened = float(step.opening.moments.value[1, 1])
    source = found.coupling / opened if opened > 0.0 else np.zeros_like(found.coupling)
    memory, output, scale = np.zeros(len(source)), 1.0, 0.0
    logarithms = np.zeros(length + 1)
    for lag in range(1, length + 1):
        memory = memory @ kept + output * source
        output = opened * float(memory @ found.readout) + found.passed * output
        if output <= 0.0:
            logarithms[lag:] = -np.inf
            break
        logarithms[lag] = scale + np.log(output)
        # Rescaled before the range of numbers ends.
        memory, scale, output = memory / output, logarithms[lag], 1.0
    return logarithms
