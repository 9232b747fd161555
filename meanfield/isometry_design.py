"""Critical initialisations: χ = 1, and the smallest spread of the T-step Jacobian's singular values (docs/isometry.md).

Source: D. Gilboa et al., Dynamical isometry and a mean field theory of LSTMs and GRUs (1901.08987); theory, section 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from meanfield.checks import check_count
from meanfield.design import Design, Progress
from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.gradient_profiles import Gradients, gradients
from meanfield.inputs import Inputs
from meanfield.isometry_family import UNGATED, Family, family
from meanfield.network import Network
from meanfield.objective import peak_power
from meanfield.sampling.population import Regime
from meanfield.search_spaces import search_space
from meanfield.trajectory import check_request
from meanfield.untied_growth import untied_chi
from meanfield.weight_ensembles import Ensemble, as_ensemble

KEEP_BIASES = 3  # looked at from log T to log 4T where defects are sampled
_LEAST_POWER = 1e-6
_SEARCH_GROUPS, _SEARCH_WIDTH = 4, 256
_STEP, _STEPS = 1.5, 14  # factor by which a bracket of the recurrent gain grows, and how often
_SAMPLED_SHARE = 0.25  # of the standard error of χ within which it counts as 1
_CLOSED_ACCURACY = 1e-11
_CLOSED = "χ_1 = 1 by the exact untied theory"
_NOTHING = 1e-9  # χ below this counts as so much


def search_isometry(
    cell: str,
    inputs: Inputs,
    *,
    length: int,
    hidden: int,
    regime: Regime,
    seed: int,
    ensemble: Ensemble | str = "gaussian",
    progress: Progress | None = None,
) -> Design:
    """Find the recurrent gain at which χ = 1, and the keep bias with the smallest isometry defect Δ(T).

    Biases and input gains are those of :func:`meanfield.isometry_family.family`, which hold the size of the state. In
    the untied regime χ_1 is that of the exact theory. With tied weights χ is the growth of G(τ) over the second half
    of T steps from the zero state, by a population whose random numbers all candidates share.

    Args:
        cell: one that recipes are designed for.
        inputs: of the task; white ones in the untied regime.
        length: T.
        hidden: width N, which corrections in the tied regime depend on.
        regime: ``"tied"`` weights, as real networks have, or ``"untied"`` ones.
        seed: of the population's random numbers.
        ensemble: of the recurrent matrices.
        progress: told (evaluations made, evaluations at most, minus the smallest defect so far) after every
            evaluation.

    Returns:
        The critical network. χ is 1 within the bound of the exact theory, or within a quarter of the standard error of
        the population that it was solved with.

    Raises:
        InvalidInput: if an argument is out of its range, or inputs are not white in the untied regime.
        Infeasible: if the inputs have no power, or no recurrent gain gives χ = 1.

    >>> from meanfield.inputs import Inputs
    >>> found = search_isometry("janet", Inputs(size=8), length=50, hidden=64, regime="untied", seed=0)
    >>> round(found.parameters["recurrent_gain"], 6), abs(untied_chi(found.network).value - 1.0) < 1e-12
    (2.913806, True)
    """
    check_request(inputs, length=length, regime=regime, start=None if regime == "untied" else "zero", seed=seed)
    check_count("hidden", hidden, 1)
    largest = critical_family(cell, inputs, length=length, regime=regime)
    task = _Task(cell, inputs, length, hidden, regime, seed, as_ensemble(ensemble), _root_power(inputs))
    meter = _Meter(progress, 1 if task.closed else KEEP_BIASES * (_STEPS + 8))
    if task.closed:
        return _closed(task, largest, meter)
    return _sampled(task, meter)


def critical_family(cell: str, inputs: Inputs, *, length: int, regime: Regime) -> Family:
    """The family of a cell at the largest keep bias, log 4T, at which untied networks are nearest to isometries.

    Args:
        cell: one that recipes are designed for.
        inputs: of the task; white ones in the untied regime.
        length: T.
        regime: ``"tied"`` or ``"untied"``.

    Raises:
        InvalidInput: if an argument is out of its range, or inputs are not white in the untied regime.
        Infeasible: if the inputs have no power.
    """
    search_space(cell)
    check_count("length", length, 1)
    if regime == "untied" and not inputs.endless:
        raise InvalidInput(
            "inputs: the untied theory is of white inputs, got padded or measured ones; use tied weights"
        )
    return family(cell, math.log(4 * length), _root_power(inputs))


def _root_power(inputs: Inputs) -> float:
    power = peak_power(inputs)
    if power < _LEAST_POWER:
        raise Infeasible(
            f"no inputs hold the size of the state: their peak power is {power:g}, and without a drive the network "
            "that keeps all and writes nothing is the perfect isometry; scale the inputs"
        )
    return math.sqrt(power)


@dataclass(frozen=True)
class _Task:
    """What is designed for."""

    cell: str
    inputs: Inputs
    length: int
    hidden: int
    regime: Regime
    seed: int
    ensemble: Ensemble
    root_power: float

    @property
    def closed(self) -> bool:
        """Whether the exact theory has the isometry defect too."""
        return self.regime == "untied" and self.cell not in ("lstm", "cifg_lstm")

    def families(self) -> list[Family]:
        """Those of the keep biases to look at, from the largest one down."""
        if self.cell in UNGATED:
            return [family(self.cell, None, self.root_power)]
        biases = np.linspace(math.log(4 * self.length), math.log(self.length), KEEP_BIASES)
        return [family(self.cell, float(bias), self.root_power) for bias in biases]

    def network(self, found: Family, gain: float) -> Network:
        return Network(self.cell, found.gates(gain), self.ensemble)

    def population(self, network: Network, *, fine: bool = False) -> Gradients:
        """Gradients of one population; a fine one is as large as predictions are made with."""
        return gradients(
            network,
            self.inputs,
            length=self.length,
            hidden=self.hidden if fine else min(self.hidden, _SEARCH_WIDTH),
            groups=None if fine else _SEARCH_GROUPS,
            regime=self.regime,
            start="zero" if self.regime == "tied" else None,
            seed=self.seed,
        )


class _Meter:
    """Counts evaluations and tells of them."""

    def __init__(self, progress: Progress | None, most: int) -> None:
        self.made, self.best = 0, -math.inf
        self._progress, self._most = progress, most

    def count(self) -> None:
        self.made += 1
        if self._progress is not None:
            self._progress(min(self.made, self._most), self._most, self.best)


def _closed(task: _Task, found: Family, meter: _Meter) -> Design:
    """Untied cells with one state variable: the defect falls as the keep bias grows, so the largest one is taken."""

    def growth(gain: float) -> Estimate:
        meter.count()
        return untied_chi(task.network(found, gain), task.inputs)

    gain = _critical_gain(growth, first_gain(found, task.ensemble), _closed_tolerance)
    if gain is None:
        raise _infeasible(task)
    return Design(task.network(found, gain), found.parameters(gain), meter.made, _CLOSED)


def first_gain(found: Family, ensemble: Ensemble) -> float:
    """Where the recurrent gain of a family is critical by its closed form, with matrices of an ensemble."""
    return found.gain / math.sqrt(ensemble.moments()[0] or 1.0)


def closed_design(found: Family, gain: float, ensemble: Ensemble, chi: Estimate) -> Design | None:
    """The design at a gain whose χ_1 is known without a search; None if that is not 1."""
    if abs(chi.value - 1.0) > _closed_tolerance(chi):
        return None
    return Design(Network(found.cell, found.gates(gain), ensemble), found.parameters(gain), 1, _CLOSED)


def _closed_tolerance(chi: Estimate) -> float:
    return max(_CLOSED_ACCURACY, chi.error)


def _sampled(task: _Task, meter: _Meter) -> Design:
    """A population's χ, or that of the exact theory for untied LSTMs, and a population's defect."""
    exact = task.regime == "untied"
    seen: dict[Network, Gradients] = {}

    def growth_of(found: Family, fine: bool) -> Callable[[float], Estimate]:
        def growth(gain: float) -> Estimate:
            network = task.network(found, gain)
            meter.count()
            if exact:
                return untied_chi(network, task.inputs)
            seen[network] = task.population(network, fine=fine)
            return seen[network].chi

        return growth

    def tolerance(chi: Estimate) -> float:
        return max(1e-9, chi.error) if exact else max(1e-6, _SAMPLED_SHARE * chi.error)

    best: tuple[float, Family, float] | None = None
    start: float | None = None
    for found in task.families():
        first = start if start is not None else first_gain(found, task.ensemble)
        gain = _critical_gain(growth_of(found, False), first, tolerance)
        if gain is None:
            continue
        start = gain
        network = task.network(found, gain)
        try:
            defect = (seen[network] if network in seen else task.population(network)).isometry_defect.value
        except NotConverged:
            continue
        if best is None or defect < best[0]:
            best, meter.best = (defect, found, gain), -defect
    if best is None:
        raise _infeasible(task)
    _, found, gain = best
    if exact:
        return Design(
            task.network(found, gain),
            found.parameters(gain),
            meter.made,
            "χ_1 = 1 by the exact untied theory; the keep bias by sampled defects",
        )
    polished = _critical_gain(growth_of(found, True), gain, tolerance, step=1.05)
    if polished is None:
        raise _infeasible(task)
    chi = seen[task.network(found, polished)].chi
    return Design(
        task.network(found, polished),
        found.parameters(polished),
        meter.made,
        f"χ = {chi} by the population it was solved with",
    )


def _critical_gain(
    growth: Callable[[float], Estimate],
    start: float,
    tolerance: Callable[[Estimate], float],
    *,
    step: float = _STEP,
) -> float | None:
    """The recurrent gain at which χ is 1, from a guess; None where none is found around it."""
    met: dict[float, float] = {}

    def excess(shift: float) -> float:
        """log χ at a shift of the logarithm of the gain, exactly zero where χ is 1 within the tolerance."""
        if shift not in met:
            try:
                chi = growth(start * math.exp(shift))
                close = abs(chi.value - 1.0) <= tolerance(chi)
                met[shift] = 0.0 if close else math.log(max(chi.value, _NOTHING))
            except NotConverged:
                met[shift] = 1.0  # gradients or states leave the range of numbers
        return met[shift]

    here, value = 0.0, excess(0.0)
    reach = math.copysign(math.log(step), -value)
    for _ in range(_STEPS):
        if value == 0.0:
            return start * math.exp(here)
        following = here + reach
        after = excess(following)
        if value * after <= 0.0:
            low, high = sorted((here, following))
            brentq(excess, low, high, xtol=1e-12, rtol=1e-14, disp=False)
            place = min(met, key=lambda each: abs(met[each]))
            # Where χ jumps across 1, it is 1 nowhere.
            return start * math.exp(place) if met[place] == 0.0 else None
        here, value = following, after
    return None


def _infeasible(task: _Task) -> Infeasible:
    return Infeasible(
        f"χ = 1: no recurrent gain of cell {task.cell} makes gradients over {task.length} steps neither grow nor "
        "decay, with the state held at a useful size; shorten the length, change the inputs' power or the ensemble"
    )
