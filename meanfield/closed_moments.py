"""The stationary moments of a unit in the untied regime, in closed maps (theory, section 3).

With s ← D s + B and weights that are redrawn at every step,

    E[s] = E[B]/E[1-D],     E[s²] = (2 E[D B] E[s] + E[B²])/E[1-D²],

and the variances of the Gaussian variables that D and B read follow from the second moments themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from meanfield.closed_pairs import Pairs
from meanfield.closed_step import ClosedStep, average, carrier_average, pair_average
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.solvers.bounded_arithmetic import Bounded, bounded

Float64 = NDArray[np.float64]

_ITERATIONS = 300
_SMALL_START = 1e-10  # second moment of a perturbation that shows whether the zero state is stable
_SHRINK = 1e-3
_STRIDE, _STRIDES = 1.5, 60  # growth of steps away from where the map repels
_SHORT = 0.05  # relative, of steps that are lengthened
_NOTHING = 1e-250
_UNRESOLVED = 1e-12  # distance of slopes from one that rounding of integrals may make
_ZERO = 1e-6  # second moments below which a critical network is at zero
_LARGEST = 1e60
_MOVE = 1e-5  # relative change of second moments over which their effect on other results is linear
_FARTHER = 10.0  # errors that a second moment of zero is moved by


@dataclass(frozen=True)
class ClosedLaw:
    """Moments of one unit's state with weights that are redrawn at every step; errors are bounds.

    Attributes:
        network, inputs: of what.
        mean: E[s].
        second_moment: E[s²], at its self-consistent value.
        carriers: E[p²] of the vectors that the recurrent matrices read, in the order of the cell.
        parameters: means and deviations of the Gaussian variables.
    """

    network: Network
    inputs: Inputs
    mean: Estimate
    second_moment: Estimate
    carriers: tuple[Estimate, ...]
    parameters: Mapping[str, float]
    step: ClosedStep = field(repr=False, compare=False)

    def moved(self) -> list[tuple[ClosedLaw, float]]:
        """Laws with one carrier's second moment moved, and the share of the way that its error makes up.

        What a result changes by, times that share, is the result's error from that of the law.
        """
        found = []
        for index, carrier in enumerate(self.carriers):
            if carrier.error > 0.0:
                distance = _MOVE * carrier.value if carrier.value > 0.0 else _FARTHER * carrier.error
                squares = self.step.squares.copy()
                squares[index] += distance
                step = replace(self.step, squares=squares)
                mean, second = _moments(step)
                law = replace(
                    self,
                    mean=replace(self.mean, value=float(mean.value)),
                    second_moment=replace(self.second_moment, value=float(second.value)),
                    step=step,
                )
                found.append((law, 2.0 * carrier.error / distance))
        return found

    def pairs(self, products: Float64, *, quick: bool = False) -> Pairs:
        """Averages over two copies of a step at E[s_a s_b]."""
        return Pairs(self.step, self.mean, products, quick=quick)


def closed_law(network: Network, inputs: Inputs | None = None) -> ClosedLaw:
    """Moments of the state at self-consistent second moments, by quadrature.

    Args:
        network: of a cell with one state variable whose update is affine in it.
        inputs: white inputs of power R; power 1 by default. Only their power matters here.

    Returns:
        The stable law that is reached from what inputs and biases alone give, with bounds on all errors.

    Raises:
        NotClosed: if the cell's moments do not close.
        InvalidInput: if the inputs are not white.
        NotConverged: if there is no stationary law, or its second moments do not settle.

    >>> import meanfield as mf
    >>> from meanfield.closed_moments import closed_law
    >>> law = closed_law(mf.Network("vanilla_erf", {"h": mf.Gate(input_gain=1.0)}), mf.Inputs(power=0.5))
    >>> abs(law.second_moment.value - 2 / np.pi * np.arcsin(0.5)) < law.second_moment.error < 1e-14
    True
    """
    inputs = inputs if inputs is not None else Inputs()
    if not inputs.endless:
        raise InvalidInput("inputs: there is a stationary law under white inputs only, got padded or measured ones")
    count = len(ClosedStep(network, inputs, np.zeros(0)).cell.carriers)
    driven = _map(ClosedStep(network, inputs, np.zeros(count)))[2].value
    point = np.where(driven > 0.0, driven, _SMALL_START)
    critical: tuple[Float64, float] | None = None
    repelled = 0
    for _ in range(_ITERATIONS):
        step = ClosedStep(network, inputs, point)
        mean, second, squares = _map(step)
        if not np.all(squares.value < _LARGEST):
            raise NotConverged("the second moments grow without limit; lower the recurrent gains")
        slopes = _slopes(step, mean, second)
        response = np.eye(count) - slopes[2:]
        settled = bool(np.all(np.abs(squares.value - point) <= squares.error))
        if settled and np.any(point) and np.linalg.svd(response, compute_uv=False)[-1] <= _UNRESOLVED:
            if np.any(driven) or np.max(point) > _ZERO:
                raise NotConverged("the map of second moments has slope one where it settles; the network is critical")
            # How far from zero it may be, and what the moments do over that distance.
            critical, point = (slopes, float(np.max(point))), np.zeros(count)
        elif settled:
            slopes, unresolved = critical or (slopes, 0.0)
            return _law(step, mean, second, squares, slopes, unresolved)
        elif _repels(slopes[2:]):
            repelled += 1
            point = _away(point, squares.value, repelled)
        else:
            repelled = 0
            point = _next(point, squares.value, response)
    raise NotConverged(f"the second moments did not settle within {_ITERATIONS} iterations; change the recurrent gains")


def _repels(slopes: Float64) -> bool:
    """Whether plain iteration leads away from a fixed point of the map here.

    A steep descent of the map does not count: the state has memory, and follows the map slowly.
    """
    return not np.all(np.isfinite(slopes)) or bool(np.max(np.real(np.linalg.eigvals(slopes))) >= 1.0)


def _away(point: Float64, squares: Float64, repelled: int) -> Float64:
    """The plain step; where it is short again and again, longer and longer along it, up to twice as far from zero.

    Just beyond a critical gain the plain step alone would take as many steps as the network takes to forget.
    """
    step = squares - point
    if np.all(np.abs(step) <= _SHORT * point):
        step = np.clip(step * _STRIDE ** min(repelled - 1, _STRIDES), -0.5 * point, point)
    guess = point + step
    return np.where(np.abs(guess) < _NOTHING, 0.0, np.maximum(guess, 0.0))


def _next(point: Float64, squares: Float64, response: Float64) -> Float64:
    """A Newton step, towards a fixed point that attracts."""
    guess = point + np.linalg.solve(response, squares - point)
    # What decays to zero is extrapolated to its other side as easily as not; it stays on its own.
    guess = np.where((guess > 0.0) | (squares == 0.0), guess, _SHRINK * squares)
    return np.where(np.abs(guess) < _NOTHING, 0.0, np.maximum(guess, 0.0))


def _law(
    step: ClosedStep,
    mean: Bounded,
    second: Bounded,
    squares: Bounded,
    slopes: Float64,
    unresolved: float,
) -> ClosedLaw:
    """The law at a fixed point, with errors passed through the self-consistency."""
    off = np.full(len(step.squares), unresolved)
    if np.any(step.squares):
        response = np.eye(len(off)) - slopes[2:]
        off = np.abs(np.linalg.inv(response)) @ (squares.error + np.abs(squares.value - step.squares))
    carriers = tuple(Estimate(float(value), float(error)) for value, error in zip(step.squares, off, strict=True))
    first, square = (
        Estimate(float(each.value), float(each.error + np.abs(slope) @ off))
        for each, slope in zip((mean, second), slopes[:2], strict=True)
    )
    return ClosedLaw(step.network, step.inputs, first, square, carriers, dict(step.parameters), step)


def _map(step: ClosedStep) -> tuple[Bounded, Bounded, Bounded]:
    """E[s], E[s²] and E[p²] of all carriers, (carriers,), given the second moments that drive the step."""
    mean, second = _moments(step)
    squares = [carrier_average(carrier, mean, second, step.moments) for carrier in step.cell.carriers]
    values, errors = (np.array([float(getattr(each, part)) for each in squares]) for part in ("value", "error"))
    return mean, second, Bounded(values, errors)


def _moments(step: ClosedStep) -> tuple[Bounded, Bounded]:
    """E[s] and E[s²]."""
    offset, keep = step.cell.update
    gone, gone_twice = forgotten(step)
    mean = average(offset, step.moments) / gone
    second = (
        2.0 * pair_average(keep, offset, step.moments) * mean + pair_average(offset, offset, step.moments)
    ) / gone_twice
    if not np.isfinite(mean.magnitude) or not np.isfinite(second.magnitude):
        raise NotConverged("the moments of the state left the range of numbers; lower the gains")
    return mean, second


def forgotten(step: ClosedStep) -> tuple[Bounded, Bounded]:
    """1 - E[D] and 1 - E[D²], without cancellation where memory is long.

    Raises:
        NotConverged: if they are not positive.
    """
    lost = step.cell.lost
    gone = average(lost, step.moments)
    gone_twice = 2.0 * gone - pair_average(lost, lost, step.moments)
    if gone.value <= gone.error or gone_twice.value <= gone_twice.error:
        raise NotConverged("the state has no stationary second moment: its memory does not decay")
    return gone, gone_twice


def _slopes(step: ClosedStep, mean: Bounded, second: Bounded) -> Float64:
    """Derivatives of E[s], E[s²] and E[p²] of all carriers in the latter, (2 + carriers, carriers)."""
    offset, keep = step.cell.update
    lost = step.cell.lost
    gone, gone_twice = forgotten(step)
    m, q = float(mean.value), float(second.value)
    by_variance = np.zeros((2 + len(step.squares), len(step.cell.noises)))
    for column, name in enumerate(step.cell.noises):
        if not np.any(step.squared_gains[column]):
            continue
        changed = step.group_of(name)
        matrices = step.with_matrix(changed, bounded(step.groups[changed].variance_slope(name)))
        lost_once = average(lost, matrices, changed)
        lost_twice = 2.0 * lost_once - pair_average(lost, lost, matrices, changed)
        m_slope = float(((average(offset, matrices, changed) - m * lost_once) / gone).value)
        fed = pair_average(offset, offset, matrices, changed) - q * lost_twice
        fed = fed + 2.0 * (
            m * pair_average(keep, offset, matrices, changed) + m_slope * pair_average(keep, offset, step.moments)
        )
        q_slope = float((fed / gone_twice).value)
        by_variance[:2, column] = m_slope, q_slope
        for row, carrier in enumerate(step.cell.carriers, start=2):
            direct = carrier_average(carrier, mean, second, matrices, changed)
            through = pair_average(carrier[1], carrier[1], step.moments) * q_slope
            mixed = 2.0 * pair_average(carrier[0], carrier[1], step.moments) * m_slope
            by_variance[row, column] = float((direct + through + mixed).value)
    return by_variance @ step.squared_gains
