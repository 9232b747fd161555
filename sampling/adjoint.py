"""Backpropagation through a population: how the last state depends on all that came before it (theory, section 4).

A readout v·h_T with random signs v is pulled back through the linear circuits of a trajectory. The transposed matrices
Wᵀ act on the adjoints of the fields, and since these are linear in v, which is independent of everything else, Wᵀη is
again a Gaussian process, with covariance σ²⟨η(t)η(t')⟩ and independent of the forward fields. One backward pass so
gives, at a fixed end T and for every lag at once, what forward tangents would need a pass each for:

    G(τ) = E‖∂h_T/∂h_{T-τ}‖²/N,   S(τ) = E‖∂h_T/∂x_{T-τ}‖²/N,   the response to a kick of all biases,
    and the response of h_T to given changes of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.cell import GateLaw, RecurrentCell, field_gains, fields_of_carrier
from meanfield.solvers.lazy_matrix import Device, LazyGaussianMatrix
from meanfield.solvers.linear_circuit import Entry, LinearCircuit
from meanfield.solvers.orthonormal_rows import rows_of

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Revealed = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class AdjointRun:
    """What one backward pass found; natural logarithms, because gradients leave the range of numbers.

    Attributes:
        log_gradient: log G at lags 0 … T, (lags, groups, sequences); lag 0 is the readout itself.
        log_sensitivity: log S at lags 0 … T-1, (lags, groups, sequences); lag 0 is the step that reads the last input.
        bias_response: E|δh_T|² for a constant unit Gaussian kick of all biases, (groups, sequences).
        input_response: E|δh_T|² for the given changes of the inputs, (windows, groups, sequences).
        revealed: what the transposed matrices have shown, one a carrier (None where its gains are zero): a list with
            one entry for tied weights, one a step in order of time for untied ones.
        state: the adjoint of the state ``jacobian_steps`` before the end, to be multiplied by exp(``log_scale``).
        readout: the readout v, (groups, sequences, units).
        log_scale: (groups, sequences).
        jacobian_steps: how many steps back ``state`` is.
    """

    log_gradient: Float64
    log_sensitivity: Float64
    bias_response: Float64
    input_response: Float64
    revealed: list[list[Revealed] | None]
    state: tuple[Array, ...]
    readout: Array
    log_scale: Float64
    jacobian_steps: int


@dataclass
class _Accumulators:
    """Sums over steps of the drives' adjoints, in units of the readout."""

    bias: list[Array]
    windows: list[Array]


def pull_back(
    cell: RecurrentCell,
    laws: Mapping[str, GateLaw],
    circuits: Sequence[LinearCircuit],
    *,
    shape: tuple[int, int, int],
    readouts: Sequence[np.random.Generator],
    images: Sequence[Sequence[np.random.Generator]],
    tied: bool,
    device: Device = "cpu",
    orthogonal: bool = False,
    jacobian_steps: int | None = None,
    squared_weights: NDArray[np.float32] | None = None,
    windows: int = 0,
    changed_drives: Callable[[int], tuple[int, Mapping[str, Array]] | None] | None = None,
) -> AdjointRun:
    """Pull a random readout of the output back through the circuits of a trajectory, last step first.

    Args:
        cell, laws: the network.
        circuits: one circuit a step, in order of time, coefficients of shape (groups, sequences, units).
        shape: (groups, sequences, units).
        readouts: a generator a group for the readout.
        images: for every carrier a generator for each (group, sequence) pair, group-major.
        tied: whether the matrices are the same at every step.
        device: where the matrices are kept and applied.
        orthogonal: whether the matrices are orthogonal rather than Gaussian, which is seen at finite width only.
        jacobian_steps: how many steps back the adjoint state is kept; all of them by default.
        squared_weights: Σ_m U_im² of the unit-gain input weights of every unit, (groups, input gates, units). With
            few inputs units that read strongly have flatter slopes. One for all by default: of many inputs.
        windows: number of windows in which inputs are changed.
        changed_drives: for a step, the window it lies in and the change of the drive of every input gate.

    Returns:
        The logarithms of G and S and the responses, one a group and sequence. Their scatter over groups is their error.
    """
    groups, sequences, units = shape
    by_carrier = fields_of_carrier(cell)
    gains = field_gains(cell, laws)
    matrices = [
        LazyGaussianMatrix(
            # Transposes of several blocks add up, and their images are no longer orthogonal.
            rows_of(images[carrier], units=units, blocks=1, orthogonal=orthogonal and len(members) == 1, remember=tied),
            rows=units,
            columns=len(members) * units,
            units=units,
            most_vectors=len(circuits) if tied else 1,
            remember=tied,
            device=device,
        )
        if np.any(gains[members] != 0.0)
        else None
        for carrier, members in enumerate(by_carrier)
    ]
    # Signs rather than normals: the same second moments with less scatter, since every v² is exactly one.
    signs = np.stack([g.integers(0, 2, (sequences, units), dtype=np.int8) for g in readouts])
    readout = 2.0 * signs.astype(np.float32) - 1.0
    state: list[Entry] = [0.0] * len(cell.states)
    state[cell.output] = readout
    log_scale = np.zeros((groups, sequences))
    totals = _Accumulators([np.zeros(shape) for _ in cell.gates], [np.zeros(shape) for _ in range(windows)])
    revealed: list[list[Revealed] | None] = [None if matrix is None else [] for matrix in matrices]
    input_gains = _squared_input_gains(cell, laws, squared_weights)
    log_gradient = [log_mean_square(readout, shape)]
    kept_steps = len(circuits) if jacobian_steps is None else jacobian_steps
    kept = tuple(np.broadcast_to(entry, shape) for entry in state), log_scale
    log_sensitivity = []
    for step in range(len(circuits) - 1, -1, -1):
        circuit = circuits[step]
        carriers: list[Entry] = [0.0] * len(by_carrier)
        for carrier in range(len(by_carrier) - 1, -1, -1):
            matrix = matrices[carrier]
            if matrix is None:
                continue
            adjoints = np.empty((groups, sequences, len(by_carrier[carrier]), units), np.float32)
            for position, k in enumerate(by_carrier[carrier]):
                adjoints[:, :, position] = gains[k] * circuit.adjoint_of_field(k, state, carriers)
            flat = adjoints.reshape(groups * sequences, 1, -1)
            carriers[carrier] = matrix.apply(flat).reshape(shape)
            shown = revealed[carrier]
            if shown is not None and not tied:
                basis, seen = matrix.revealed
                shown.append((basis.copy(), seen.copy()))
        drives = [circuit.adjoint_of_drive(g, state, carriers) for g in range(len(cell.gates))]
        log_sensitivity.append(_log_sensitivity(input_gains, drives, shape) + 2.0 * log_scale)
        _accumulate(cell, totals, drives, log_scale, changed_drives(step) if changed_drives else None)
        state = [circuit.adjoint_of_state(s, state, carriers) for s in range(len(cell.states))]
        log_gradient.append(log_mean_square(state[cell.output], shape) + 2.0 * log_scale)
        state, growth = rescale(state, shape)
        log_scale = log_scale + growth
        if len(circuits) - step == kept_steps:
            kept = tuple(np.broadcast_to(entry, shape) for entry in state), log_scale
    for shown in revealed:
        if shown is not None:
            shown.reverse()  # into the order of time
    if tied:
        revealed = [None if matrix is None else [matrix.revealed] for matrix in matrices]
    return AdjointRun(
        log_gradient=np.array(log_gradient),
        log_sensitivity=np.array(log_sensitivity),
        bias_response=sum(np.mean(total**2, axis=2) for total in totals.bias),
        input_response=np.array([np.mean(total**2, axis=2) for total in totals.windows]).reshape(
            windows, groups, sequences
        ),
        revealed=revealed,
        state=kept[0],
        readout=readout,
        log_scale=kept[1],
        jacobian_steps=kept_steps,
    )


def mean_square(entry: Entry, shape: tuple[int, int, int], weights: Array | None = None) -> Float64:
    """Mean square over units in double precision, each with its weight if there are any, (groups, sequences)."""
    if np.shape(entry) != shape:
        entry = np.broadcast_to(entry, shape)
    squares = np.square(entry, dtype=np.float64)
    if weights is not None:
        squares *= weights
    return np.asarray(np.add.reduce(squares, axis=-1) / shape[-1])


def log_mean_square(entry: Entry, shape: tuple[int, int, int]) -> Float64:
    """Its logarithm, -inf where all are zero."""
    with np.errstate(divide="ignore"):
        return np.log(mean_square(entry, shape))


def _squared_input_gains(
    cell: RecurrentCell, laws: Mapping[str, GateLaw], weights: NDArray[np.float32] | None
) -> list[tuple[int, Float64, Array | None]]:
    """Index, ν² as one number or (groups, 1), and squared weights, (groups, 1, units), of gates that read the input."""
    found = []
    for position, gate in enumerate(cell.input_gates):
        gain = np.asarray(laws[gate].input_gain, np.float64)
        own = None if weights is None else weights[:, None, position]
        found.append((cell.gates.index(gate), gain.reshape(gain.shape[:2]) ** 2, own))
    return found


def _log_sensitivity(
    gains: Sequence[tuple[int, Float64, Array | None]], drives: Sequence[Entry], shape: tuple[int, int, int]
) -> Float64:
    total = np.zeros(shape[:2])
    for index, square, weights in gains:
        total += square * mean_square(drives[index], shape, weights)
    with np.errstate(divide="ignore"):
        return np.log(total)


def _accumulate(
    cell: RecurrentCell,
    totals: _Accumulators,
    drives: Sequence[Entry],
    log_scale: Float64,
    change: tuple[int, Mapping[str, Array]] | None,
) -> None:
    # Far beyond exp(300) the sums serve nobody; the cap keeps them finite.
    scale = np.exp(np.minimum(log_scale, 300.0))[:, :, None]
    for total, drive in zip(totals.bias, drives, strict=True):
        total += scale * drive
    if change is not None:
        window, changes = change
        for index, gate in enumerate(cell.gates):
            if gate in changes:
                totals.windows[window] += scale * drives[index] * changes[gate]


def rescale(state: list[Entry], shape: tuple[int, int, int]) -> tuple[list[Entry], Float64]:
    """Bring a perturbation to unit size, so that it neither underflows nor overflows; the logarithm of the factor."""
    square = sum(mean_square(entry, shape) for entry in state)
    norm = np.sqrt(np.where(square > 0.0, square, 1.0))
    # In double precision: the inverse of a norm below 1e-38 is beyond the range of single.
    return [(entry / norm[:, :, None]).astype(np.float32) for entry in state], np.log(norm)
