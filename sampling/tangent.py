"""The spread of a T-step Jacobian's singular values, from one tangent sent forward after the backward pass.

With J = ∂h_T/∂h_0 and the adjoint u = Jᵀv of a random readout v, E|J u|²/N = E tr(J Jᵀ)²/N. The tangent must see the
same matrices W whose transposes the adjoint has seen: it is drawn conditioned on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.adjoint import AdjointRun, log_mean_square, rescale
from meanfield.sampling.cell import GateLaw, RecurrentCell, field_gains, fields_of_carrier
from meanfield.solvers.lazy_matrix import Device, LazyGaussianMatrix, apply_conditioned
from meanfield.solvers.linear_circuit import Entry, LinearCircuit

Float64 = NDArray[np.float64]


def log_second_moment(
    cell: RecurrentCell,
    laws: Mapping[str, GateLaw],
    circuits: Sequence[LinearCircuit],
    adjoint: AdjointRun,
    *,
    images: Sequence[Sequence[np.random.Generator]],
    device: Device = "cpu",
) -> Float64:
    """log of m2 = E tr(J Jᵀ)²/N for J = ∂h_T/∂h_{T-L}, (groups, sequences).

    Args:
        cell, laws, circuits: as for :func:`meanfield.sampling.adjoint.pull_back`.
        adjoint: the backward pass of the same circuits; L is its ``jacobian_steps``.
        images: for every carrier a generator for each (group, sequence) pair, group-major.
        device: where the matrices are kept and applied.
    """
    groups, sequences, units = shape = adjoint.readout.shape
    by_carrier = fields_of_carrier(cell)
    gains = field_gains(cell, laws)
    tied = all(shown is None or len(shown) == 1 for shown in adjoint.revealed)
    matrices = [
        None
        if shown is None
        else LazyGaussianMatrix(
            images[carrier],
            rows=len(by_carrier[carrier]) * units,
            columns=units,
            units=units,
            most_vectors=len(circuits) if tied else 1,
            remember=tied,
            device=device,
        )
        for carrier, shown in enumerate(adjoint.revealed)
    ]
    state: list[Entry] = [0.0] * len(cell.states)
    state[cell.output] = adjoint.state[cell.output]
    state, growth = rescale(state, shape)
    log_scale = adjoint.log_scale + growth
    for step, circuit in enumerate(circuits[-adjoint.jacobian_steps :], start=-adjoint.jacobian_steps):
        fields: list[Entry] = [0.0] * len(cell.fields)
        for carrier, members in enumerate(by_carrier):
            matrix, shown = matrices[carrier], adjoint.revealed[carrier]
            if matrix is None or shown is None:
                continue
            vectors = np.broadcast_to(circuit.to_carrier(carrier, state, fields), shape).astype(np.float32)
            known = shown[0] if tied else shown[step]
            image = apply_conditioned(vectors.reshape(groups * sequences, 1, units), matrix, known, units=units)
            image = image.reshape(groups, sequences, len(members), units)
            for position, k in enumerate(members):
                fields[k] = gains[k] * image[:, :, position]
        state = circuit.to_state(state, fields)
        state, growth = rescale(state, shape)
        log_scale = log_scale + growth
    return log_mean_square(state[cell.output], shape) + 2.0 * log_scale
