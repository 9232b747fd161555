"""The response of the last state to a lasting kick of all biases, untied, in closed maps (theory, section 4).

With κ_g a unit Gaussian change of the bias of gate g, one for every unit and the same at all steps,

    δ ← D δ + Σ_k A_k y_k + Σ_g B_g κ_g,    p_c = P_c δ + Σ_k Q_ck y_k + Σ_g R_cg κ_g.

The fields y are fresh at every step and know nothing of a unit's own κ. B and R are affine in the state s, so that
E δκ_g, E δκ_g s and E δ² follow from each other in a linear recursion.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.closed_cells import Polynomial, Term
from meanfield.closed_moments import ClosedLaw
from meanfield.closed_products import Form, StepForms, times
from meanfield.closed_sensitivity import Moved, of_law
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

_ROUNDING = 1e-15
_LARGEST = 1e280


def closed_bias_response(law: ClosedLaw, steps: int, moved: Moved | None = None) -> Estimate:
    """E|δs_T|² for a constant unit Gaussian kick of all biases over a number of steps.

    Args:
        law: of the state.
        steps: that the kick lasts, at least 1.
        moved: :meth:`ClosedLaw.moved`, where it is known.

    Returns:
        The response with a bound on its error.

    Raises:
        InvalidInput: if there is no step.
        NotConverged: if the response leaves the range of numbers.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> leaky = closed_law(mf.Network("leaky", {"h": mf.Gate()}), mf.Inputs(power=0.0))  # δ ← 0.7 δ + 0.3 κ
    >>> closed_bias_response(leaky, 2).value.__round__(12)
    0.2601
    """
    check_count("steps", steps, 1)
    found = of_law(law, lambda each: _response(each, steps), moved)
    return replace(found, value=max(found.value, 0.0))


def _response(law: ClosedLaw, steps: int) -> Bounded:
    matrix = _Kick(law).matrix()
    sizes, off = matrix.magnitude, matrix.error + _ROUNDING * np.abs(matrix.value)
    state, error = np.zeros(len(sizes)), np.zeros(len(sizes))
    state[0] = 1.0
    for _ in range(steps):
        state, error = matrix.value @ state, sizes @ error + off @ np.abs(state)
        if not state[-1] + error[-1] < _LARGEST:
            raise NotConverged(
                f"the response to a kick of the biases over {steps} steps is beyond the range of numbers"
            )
    return Bounded(state[-1], error[-1])


class _Kick:
    """Averages of one step, and the matrix that carries 1, all E δκ_g, all E δκ_g s and E δ² over it.

    Rows of the step are the carriers and then the new state.
    """

    def __init__(self, law: ClosedLaw) -> None:
        step = law.step
        self._law, self._cell, self._forms = law, step.cell, StepForms(step)
        variables = {member: name for name, members in self._cell.noises.items() for member in members}
        self._kicks = [variables[f"drive {name}"] for name in law.network.definition.gates]
        self._fields = [(name, gains) for name, gains in zip(self._cell.noises, step.squared_gains, strict=True)]
        self._fields = [(name, gains) for name, gains in self._fields if gains.any()]
        self._places: dict[str, int] = {}
        registered: list[Form] = []

        def register(label: str, form: Form) -> None:
            self._places[label] = len(registered)
            registered.append(form)

        one: Form = self._forms.form((Term(1.0, (0,) * len(self._cell.groups)),))
        register("one", one)
        for row, polynomial in enumerate(self._rows):
            for part, terms in zip(("offset", "slope"), polynomial, strict=True):
                register(f"{row} {part}", self._forms.form(terms))
                for name in dict.fromkeys([*self._kicks, *(each for each, _ in self._fields)]):
                    register(f"{row} {part} {name}", self._forms.form(terms, name))
        self._moments = self._forms.matrix([times(each, one) for each in registered])

    @property
    def _rows(self) -> list[Polynomial]:
        return [*self._cell.carriers, self._cell.update]

    def _average(self, one: str, other: str) -> Bounded:
        return self._moments[self._places[one], self._places[other]]

    def _joint(self, left: tuple[str, str], right: tuple[str, str]) -> Bounded:
        """E of the product of two polynomials in the state."""
        mean, square = bounded(self._law.mean.value), bounded(self._law.second_moment.value)
        mixed = self._average(left[0], right[1]) + self._average(left[1], right[0])
        return self._average(left[0], right[0]) + mixed * mean + self._average(left[1], right[1]) * square

    def _slopes(self, row: int, name: str) -> tuple[str, str]:
        """Labels of the derivative of a row in a variable."""
        return f"{row} offset {name}", f"{row} slope {name}"

    def matrix(self) -> Bounded:
        """(2 gates + 2, 2 gates + 2)."""
        gates = len(self._kicks)
        size, new = 2 * gates + 2, len(self._cell.carriers)
        unit = np.eye(size)
        keep, update = f"{new} slope", (f"{new} offset", f"{new} slope")
        rows = [bounded(unit[0])]
        moved = []
        for g, name in enumerate(self._kicks):
            kicked = self._slopes(new, name)
            rows.append(unit[0] * self._mean(kicked) + unit[1 + g] * self._average(keep, "one"))
            moved.append(
                unit[0] * self._joint(kicked, update)
                + unit[1 + g] * self._average(keep, update[0])
                + unit[1 + gates + g] * self._average(keep, keep)
            )
        powers: list[Bounded] = []  # of the carriers
        for row in range(new + 1):
            total = unit[size - 1] * self._average(f"{row} slope", f"{row} slope")
            for name, gains in self._fields:
                through = self._joint(self._slopes(row, name), self._slopes(row, name))
                for gain, power in zip(gains.tolist(), powers, strict=False):
                    if gain > 0.0 and through.magnitude > 0.0:
                        total = total + power * (gain * through)
            for g, name in enumerate(self._kicks):
                offset, slope = self._slopes(row, name)
                total = total + unit[0] * self._joint((offset, slope), (offset, slope))
                total = total + unit[1 + g] * (2.0 * self._average(f"{row} slope", offset))
                total = total + unit[1 + gates + g] * (2.0 * self._average(f"{row} slope", slope))
            powers.append(total)
        rows += [*moved, powers[-1]]
        return Bounded(np.stack([each.value for each in rows]), np.stack([each.error for each in rows]))

    def _mean(self, slopes: tuple[str, str]) -> Bounded:
        offset, slope = slopes
        return self._average(offset, "one") + self._average(slope, "one") * bounded(self._law.mean.value)
