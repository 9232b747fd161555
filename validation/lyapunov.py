"""Lyapunov exponents of a flow of tangents, by QR decomposition along a trajectory.

The forward product J_T … J_1 is applied to an orthonormal frame, which is made orthonormal again every few steps; the
logarithms of the diagonals of R add up to the exponents (Benettin et al. 1980; Eckmann and Ruelle 1985, section V).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate

Float64 = NDArray[np.float64]
State = TypeVar("State")

_BLOCKS = (8, 16, 32)  # in which errors are taken: the largest counts, since short blocks are not independent
_LONGEST = 16  # steps between decompositions
_LOST = 1e-14  # a direction contracted by more, relative to the frame's largest, is lost in rounding
_POOR, _GOOD = 1e-9, 1e-3  # contraction at which decompositions are made more often, or less


class TangentFlow(Protocol[State]):
    """A dynamical system in discrete time and its linearisation.

    Attributes:
        dimension: of its tangent space.
    """

    @property
    def dimension(self) -> int: ...

    def start(self) -> State:
        """Where trajectories begin."""
        ...

    def advance(self, state: State, tangents: Float64) -> tuple[State, Float64]:
        """State and tangents one step later, (count, dimension); the same state always gives the same step."""
        ...


@dataclass(frozen=True)
class LyapunovSpectrum:
    """Lyapunov exponents, natural logarithms a step.

    Attributes:
        values: the largest exponents in falling order, -inf for directions that are lost altogether, (count,).
        errors: one standard error, from averages over blocks of time, (count,).
        block_rates: exponents in successive blocks of equal length, (blocks, count).
        dimension: of the tangent space; all exponents are known where it equals their count.
        steps: that the exponents are averages over.
    """

    values: Float64
    errors: Float64
    block_rates: Float64
    dimension: int
    steps: int

    @property
    def largest(self) -> Estimate:
        """The top exponent: positive in chaos, negative where sequences forget their start."""
        return self.exponent(0)

    def exponent(self, index: int) -> Estimate:
        """One exponent and its error, the largest first.

        Raises:
            InvalidInput: if there is none of this index.
        """
        if not 0 <= index < len(self.values):
            raise InvalidInput(f"index: must be from 0 to {len(self.values) - 1}, got {index!r}")
        return Estimate(float(self.values[index]), float(self.errors[index]))

    @property
    def attractor_dimension(self) -> Estimate:
        """Kaplan-Yorke dimension j + (λ_1 + … + λ_j)/|λ_(j+1)|, j the most exponents whose sum is not negative.

        Raises:
            NotConverged: if more exponents are needed.
        """
        if self.values[0] < 0.0:
            return Estimate(0.0, 0.0)
        if len(self.values) < self.dimension and np.sum(self.values) >= 0.0:
            raise NotConverged(
                f"the {len(self.values)} exponents that are known add up to a positive number; "
                "ask for more of them to get the attractor's dimension"
            )
        return self._jackknifed(kaplan_yorke)

    @property
    def entropy_rate(self) -> Estimate:
        """Sum of the positive exponents, an upper bound of the entropy rate in nats a step (Ruelle; Pesin).

        Raises:
            NotConverged: if more exponents are needed.
        """
        if len(self.values) < self.dimension and self.values[-1] > 0.0:
            raise NotConverged(
                f"all {len(self.values)} exponents that are known are positive; ask for more of them to get their sum"
            )
        return self._jackknifed(lambda exponents: float(np.sum(exponents[exponents > 0.0])))

    def _jackknifed(self, statistic: Callable[[Float64], float]) -> Estimate:
        blocks = len(self.block_rates)
        kept = [np.mean(np.delete(self.block_rates, block, axis=0), axis=0) for block in range(blocks)]
        partial = np.array([statistic(np.sort(each)[::-1]) for each in kept])
        error = math.sqrt((blocks - 1) * float(np.mean((partial - np.mean(partial)) ** 2)))
        return Estimate(statistic(self.values), error)


def lyapunov_spectrum(
    flow: TangentFlow[State],
    *,
    exponents: int | None = None,
    steps: int = 2000,
    transient: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LyapunovSpectrum:
    """Lyapunov exponents of a flow.

    Args:
        flow: the dynamical system.
        exponents: how many, the largest ones; all by default.
        steps: that exponents are averaged over, at least 32.
        transient: steps before, in which trajectory and frame settle.
        seed: of the frame at the start.
        progress: told (steps made, steps in all).

    Returns:
        Exponents with one standard error.

    Raises:
        InvalidInput: if a number is out of its range.
        NotConverged: if tangents leave the range of numbers.

    Source: Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15 (1980).

    >>> class Diagonal:
    ...     dimension = 2
    ...     def start(self):
    ...         return None
    ...     def advance(self, state, tangents):
    ...         return None, tangents * np.array([2.0, 0.25])
    >>> found = lyapunov_spectrum(Diagonal(), steps=64)
    >>> found.values.round(6), round(found.attractor_dimension.value, 9)  # log 2, -2 log 2
    (array([ 0.693147, -1.386294]), 1.5)
    """
    count = flow.dimension if exponents is None else exponents
    check_count("exponents", count, 1)
    if count > flow.dimension:
        raise InvalidInput(f"exponents: must not exceed the dimension {flow.dimension}, got {count}")
    check_count("steps", steps, _BLOCKS[-1])
    check_count("transient", transient, 0)
    check_count("seed", seed, 0)
    running = _Running(flow.start(), starting_frame(flow.dimension, count, seed), 0, 1, np.zeros(count), 0)
    rates: list[Float64] = []
    ends = [transient] if transient else []
    ends += [transient + steps * (block + 1) // _BLOCKS[-1] for block in range(_BLOCKS[-1])]
    for end in ends:
        begun = running = replace(running, log_growth=np.zeros(count))
        while not _finished(running, end):
            running = _decomposed(flow, running, end)
            if progress is not None:
                progress(running.made, ends[-1])
        if end > transient:
            rates.append(running.log_growth / (running.made - begun.made))
    return _spectrum(np.array(rates), flow.dimension, steps)


def starting_frame(dimension: int, count: int, seed: int) -> Float64:
    """Random orthonormal rows, (count, dimension)."""
    normals = np.random.default_rng(seed).standard_normal((dimension, count))
    return np.ascontiguousarray(np.linalg.qr(normals)[0].T)


def kaplan_yorke(exponents: Float64) -> float:
    """Kaplan-Yorke dimension of exponents in falling order.

    >>> round(kaplan_yorke(np.array([0.41919, -1.62316])), 4)  # the Hénon map
    1.2583
    """
    total = 0.0
    for index, value in enumerate(exponents.tolist()):
        if total + value < 0.0:
            return index + (total / -value if math.isfinite(value) else 0.0)
        total += value
    return float(len(exponents))


@dataclass(frozen=True)
class _Running(Generic[State]):
    """Where the computation stands.

    Attributes:
        state: of the flow.
        frame: orthonormal tangents, (count, dimension).
        made: steps made.
        interval: steps to the next decomposition.
        log_growth: of the frame's directions since the block began, (count,).
        unsettled: intervals to go before a longer one is tried.
    """

    state: State
    frame: Float64
    made: int
    interval: int
    log_growth: Float64
    unsettled: int


def _decomposed(flow: TangentFlow[State], running: _Running[State], end: int) -> _Running[State]:
    """One interval on; where rounding would swallow a direction, the same place with a shorter interval."""
    state, frame = running.state, running.frame
    steps = min(running.interval, end - running.made)
    for _ in range(steps):
        state, frame = flow.advance(state, frame)
    if not np.all(np.isfinite(frame)):
        raise NotConverged(f"tangents left the range of finite numbers by step {running.made + steps}")
    # The transpose of a contiguous array is what LAPACK wants; nothing is copied.
    q, r = scipy.linalg.qr(frame.T, mode="economic", overwrite_a=True, check_finite=False)
    pivots = np.abs(np.diagonal(r))
    contraction = float(np.min(pivots) / largest) if (largest := float(np.max(pivots))) > 0.0 else 0.0
    if contraction < _POOR and steps > 1:
        return replace(running, interval=max(1, steps // 2), unsettled=_LONGEST)
    unsettled, interval = max(0, running.unsettled - 1), running.interval
    if contraction > _GOOD and unsettled == 0 and interval < _LONGEST:
        interval += 1
    with np.errstate(divide="ignore"):
        growth = np.where(pivots > _LOST * largest, np.log(pivots), -np.inf)
    return _Running(
        state, np.ascontiguousarray(q.T), running.made + steps, interval, running.log_growth + growth, unsettled
    )


def _finished(running: _Running[State], end: int) -> bool:
    return running.made >= end


def _spectrum(rates: Float64, dimension: int, steps: int) -> LyapunovSpectrum:
    """From the rates of the shortest blocks, (blocks, count)."""
    values = np.mean(rates, axis=0)
    order = np.argsort(-values, kind="stable")
    values, rates = values[order], rates[:, order]
    errors = np.zeros(len(values))
    known = np.isfinite(values)
    for blocks in _BLOCKS:
        joined = np.mean(rates[:, known].reshape(blocks, -1, int(known.sum())), axis=1)
        errors[known] = np.maximum(errors[known], np.std(joined, axis=0, ddof=1) / np.sqrt(blocks))
    return LyapunovSpectrum(values, errors, np.mean(rates.reshape(16, 2, -1), axis=1), dimension, steps)
