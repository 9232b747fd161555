"""The untied theory of many networks of one cell at once: moments, overlaps reached and time scales, as arrays."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.closed_batch_rules import COLUMNS, settle_together
from meanfield.closed_batch_step import shares_a_rule
from meanfield.closed_cells import closed_cell
from meanfield.closed_maps import FixedPoints, fixed_points
from meanfield.errors import InvalidInput, MeanfieldError
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.solvers.bounded_arithmetic import Bounded
from meanfield.solvers.threads import cores, in_parts, one_blas_thread

Float64 = NDArray[np.float64]
Progress = Callable[[int, int], None]

_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class FixedPointTable:
    """Untied fixed points of many networks; all arrays are (networks,).

    Numbers are pairs of arrays, ``value`` and ``error``, in the order of the networks. Errors are bounds.

    Attributes:
        networks: the networks.
        inputs: what each of them reads.
        mean: E[s].
        second_moment: Q* = E[s²].
        overlap: C*, the correlation coefficient of the state that uncorrelated copies reach.
        chi: χ_1, growth per step at identical inputs.
        overlap_slope: χ_C, slope of the overlap map at C*.
        timescale: ξ_1 = -1/log χ_1 in steps, NaN where χ_1 is not from 0 to 1.
        overlap_timescale: ξ_C, the same of χ_C.
        status: why a network has no numbers (they are NaN), as one sentence; empty where it has.
        alone: which networks were computed one by one, with :func:`meanfield.fixed_points`.
    """

    networks: tuple[Network, ...]
    inputs: tuple[Inputs, ...]
    mean: Bounded
    second_moment: Bounded
    overlap: Bounded
    chi: Bounded
    overlap_slope: Bounded
    timescale: Bounded
    overlap_timescale: Bounded
    status: tuple[str, ...]
    alone: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.networks)


def fixed_points_of_many(
    networks: Sequence[Network],
    inputs: Inputs | Sequence[Inputs] | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> FixedPointTable:
    """What :func:`meanfield.fixed_points` says of every network, many times as fast (theory, section 3).

    Networks are integrated together, on rules that they share. Bounds on the errors are then at most 1e-10: of Q* for
    Q*, of its root for the mean, of χ_1 for both slopes, and of 1 for the overlap, or 1e-12 Q*/(Q* - E[s]²) where that
    is more. Networks for which this fails are handed over to :func:`meanfield.fixed_points`, one by one: those with
    steep gates or rectifiers, critical ones, those whose overlap has fixed points that nearly touch, states that do
    not vary, and all networks of cell gru_reset_after.

    Args:
        networks: of one cell, with one state variable whose update is affine in it.
        inputs: white inputs, the same for all networks or one for each; power 1 by default. Their overlap is that of
            two sequences.
        threads: all cores by default. Numbers do not depend on it.
        progress: called with networks done and networks in all.

    Returns:
        The numbers. A network without fixed point has NaN, and says why in its status.

    Raises:
        InvalidInput: if the networks are of several cells, the cell's moments do not close, there are not as many
            inputs as networks, or inputs are not white.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_std=0.3)
    >>> many = [mf.Network("gru", {"f": gate, "r": gate, "h": mf.Gate(gain, 0.5, 0.0, 0.3)}) for gain in (1.0, 3.0)]
    >>> table = fixed_points_of_many(many, mf.Inputs(overlap=0.5))
    >>> table.second_moment.value.round(9).tolist(), bool(np.all(table.second_moment.error < 1e-11))
    ([0.085893057, 0.123858827], True)
    >>> table.timescale.value.round(6).tolist(), table.status
    ([0.989243, 3.200217], ('', ''))
    """
    networks = tuple(networks)
    every = _inputs_of(networks, inputs)
    if threads is not None:
        check_count("threads", threads, 1)
    cells = list(dict.fromkeys(each.cell for each in networks))
    if len(cells) > 1:
        raise InvalidInput(f"networks: must all be of one cell, got {', '.join(cells)}")
    numbers = np.full((len(COLUMNS), 2, len(networks)), np.nan)
    alone = np.ones(len(networks), dtype=bool)
    told = _Told(progress, len(networks))
    if networks and shares_a_rule(closed_cell(networks[0].definition)):
        starts = iter(range(0, len(networks), _AT_ONCE))

        def work(*_: int) -> None:
            try:
                for start in starts:
                    part = slice(start, start + _AT_ONCE)
                    alone[part] = ~settle_together(networks[part], every[part], numbers[:, :, part])
                    told.more(int(np.count_nonzero(~alone[part])))
            except BaseException:
                deque(starts, maxlen=0)  # nothing is left for other threads
                raise

        workers = threads if threads is not None else cores()
        with one_blas_thread():
            in_parts(work, workers, workers)
    status = [""] * len(networks)
    for index in np.flatnonzero(alone):
        try:
            numbers[:, :, index] = _row(fixed_points(networks[index], every[index]))
        except (MeanfieldError, ArithmeticError, ValueError) as error:
            status[index] = str(error)
        told.more(1)
    columns = {name: Bounded(*column) for name, column in zip(COLUMNS, numbers, strict=True)}
    return FixedPointTable(networks, every, **columns, status=tuple(status), alone=alone)


class _Told:
    """Progress that several threads make."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = threading.Lock()

    def more(self, count: int) -> None:
        """So many networks are done."""
        with self._lock:
            self._done += count
            if self._progress is not None and count:
                self._progress(self._done, self._total)


def _inputs_of(networks: tuple[Network, ...], inputs: Inputs | Sequence[Inputs] | None) -> tuple[Inputs, ...]:
    """The inputs of every network."""
    if inputs is None or isinstance(inputs, Inputs):
        every = (inputs if inputs is not None else Inputs(),) * len(networks)
    else:
        every = tuple(inputs)
        if len(every) != len(networks):
            raise InvalidInput(f"inputs: must be one for each of the {len(networks)} networks, got {len(every)}")
    for each in every:
        if not each.endless:
            raise InvalidInput("inputs: there is a stationary law under white inputs only, got padded or measured ones")
    return every


def _row(found: FixedPoints) -> list[tuple[float, float]]:
    """The numbers of one network, (columns, 2)."""
    (point,) = [each for each in found.overlaps if each.reached]
    law, growth = found.law, found.growth
    scales = growth.timescale, point.timescale
    return _pairs([law.mean, law.second_moment, point.overlap, growth.chi, point.slope, *scales])


def _pairs(found: Sequence[Estimate | None]) -> list[tuple[float, float]]:
    return [(each.value, each.error) if each is not None else (np.nan, np.nan) for each in found]
