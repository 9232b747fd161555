"""How long chains run before they are measured: until the slowest gate has let go of where they started."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from meanfield.sampling.averages import factors, integrated, observed
from meanfield.sampling.chain_source import BLOCK, Precision
from meanfield.sampling.chains import CPUChains, fitting_precision
from meanfield.sampling.programs import ChainProgram

FEWEST_BLOCKS = 32  # their scatter gives the errors
_SLOW = 30.0  # steps of memory beyond which rounding in single precision adds up
_LONGEST = 1e9
_FORGOTTEN = 1e-5  # what may be left of the start, in standard errors: control variates make those much smaller
_PILOT_STEPS = 64


class NotStationary(ArithmeticError):
    """Chains that have no stationary law, or do not reach it."""


@dataclass(frozen=True)
class RunPlan:
    """How to run chains at given parameters.

    Attributes:
        memory: steps in which the slowest part of the state falls to 1/e.
        burn_in: steps before measuring.
        precision: of the chains.
    """

    memory: float
    burn_in: int
    precision: Precision


def plan_run(program: ChainProgram, parameters: Mapping[str, float], chains: int) -> RunPlan:
    """Plan a run from the mean square of the memory's direct path to itself.

    Args:
        program: with the observable ``keep square``; without it, as in pairs, there is nothing to wait for.
        parameters: of the program.
        chains: more of them have smaller errors, and need more steps for the start to be as small.

    Raises:
        NotStationary: if the keep gate never lets go.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> laws = {"mean drive h + field h": 0.0, "deviation drive h + field h": 1.0}
    >>> plan = plan_run(stationary_program(find("leaky")), laws, 1 << 14)  # keeps 0.7 of its state a step
    >>> round(plan.memory, 3), plan.burn_in
    (2.804, 50)
    """
    keep = _keep(program, parameters)
    memory = 0.0 if keep == 0.0 else (-1.0 / math.log(keep) if keep < 1.0 else math.inf)
    if memory > _LONGEST:
        raise NotStationary(
            "the keep gate does not let go of anything, so there is no stationary law; lower its bias mean"
        )
    burn_in = math.ceil(memory * math.log(math.sqrt(chains) / _FORGOTTEN)) + 4
    precision: Precision = "double" if memory > _SLOW else fitting_precision(program, [parameters])
    return RunPlan(memory, burn_in, precision)


def _keep(program: ChainProgram, parameters: Mapping[str, float]) -> float:
    for observable in program.observables:
        if observable.name == "keep square":
            if observable.sampled.operation == "constant":
                return math.sqrt(min(integrated(observable.factor, parameters), 1.0))
            # It is known beforehand where it is a matter of gates only; a pilot run tells it elsewhere.
            run = CPUChains(program, [parameters], chains=FEWEST_BLOCKS * BLOCK, seed=0)
            run.advance(_PILOT_STEPS)
            means = run.advance(_PILOT_STEPS, measure=True) / (_PILOT_STEPS * BLOCK)
            square = observed(program, factors(program, parameters), means)["keep square"]
            return math.sqrt(min(float(np.mean(square)), 1.0))
    return 0.0
