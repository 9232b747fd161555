"""Sensitivity to inputs and the direct path of many untied networks at once.

Equations as in closed_sensitivity and closed_memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_batch_forms import ManyStepForms
from meanfield.closed_batch_moments import ManyLaws, forgotten
from meanfield.closed_cells import Term
from meanfield.closed_products import times
from meanfield.closed_sensitivity import sensitivity_of_slopes
from meanfield.closed_step import carrier_average
from meanfield.solvers.bounded_arithmetic import Bounded

Float64 = NDArray[np.float64]


def input_response(laws: ManyLaws, reads: Float64) -> Bounded:
    """S(0) = E‖∂s_T/∂x_T‖²/N, (networks,).

    Args:
        laws: of the states.
        reads: ν² of what inputs add to every Gaussian variable, (variables, networks).
    """
    steps = laws.steps
    cell, gains = steps.units.cell, steps.units.squared_gains
    slopes: list[list[Bounded] | None] = []
    for variable in range(len(reads)):
        if not np.any(reads[variable]) and not np.any(gains[variable]):
            slopes.append(None)
            continue
        group = steps.group_of(variable)
        derived = steps.groups[group].slope_moments(variable)
        matrices = [*steps.moments[:group], derived, *steps.moments[group + 1 :]]
        rows = (*cell.carriers, cell.update)
        slopes.append([carrier_average(row, laws.mean, laws.second, matrices, group) for row in rows])
    return sensitivity_of_slopes(slopes, gains, reads)


def direct_path(laws: ManyLaws, forms: ManyStepForms) -> tuple[Bounded, Bounded]:
    """1 - E D² and E D⁴/(E D²)² of one step of the direct path, (networks,)."""
    keep = forms.form(laws.steps.units.cell.update[1])
    one = forms.form((Term(1.0, (0,) * len(laws.steps.units.cell.groups)),))
    found = forms.matrix([times(keep, keep), times(one, one)])
    return forgotten(laws.steps)[1], found[0, 0] / (found[0, 1] * found[0, 1])
