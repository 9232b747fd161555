"""The spread of a T-step Jacobian's singular values, from one tangent sent forward after the backward pass.

With J = ∂h_T/∂h_0 and the adjoint u = Jᵀv of a random readout v, E|J u|²/N = E tr(J Jᵀ)²/N. The tangent must see the
same matrices W whose transposes the adjoint has seen: it is drawn conditioned on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield.sampling.adjoint import AdjointRun, log_mean_square, rescale
from meanfield.sampling.cell import GateLaw, RecurrentCell, field_gains, fields_of_carrier
from meanfield.solvers.invariant_images import InvariantImages
from meanfield.solvers.lazy_matrix import Device, LazyGaussianMatrix, Revealed, apply_conditioned
from meanfield.solvers.linear_circuit import Entry, LinearCircuit

Float64 = NDArray[np.float64]
Images = Callable[[NDArray[np.float32], Revealed], NDArray[np.float32]]
"""Images of vectors under the matrices that read one carrier, given what their transposes have shown."""


def log_second_moment(
    cell: RecurrentCell,
    laws: Mapping[str, GateLaw],
    circuits: Sequence[LinearCircuit],
    adjoint: AdjointRun,
    *,
    images: Sequence[Sequence[np.random.Generator]],
    device: Device = "cpu",
    excess: float = 1.0,
    orthogonal: bool = False,
) -> Float64:
    """log of m2 = E tr(J Jᵀ)²/N for J = ∂h_T/∂h_{T-L}, (groups, sequences).

    Args:
        cell, laws, circuits: as for :func:`meanfield.sampling.adjoint.pull_back`.
        adjoint: the backward pass of the same circuits; L is its ``jacobian_steps``.
        images: for every carrier a generator for each (group, sequence) pair, group-major.
        device: where the matrices are kept and applied.
        excess: E tr (W Wᵀ)²/N - 1 of matrices with E tr W Wᵀ/N = 1; 1 for Gaussian ones, 0 for orthogonal ones.
        orthogonal: whether fresh matrices are orthogonal rather than Gaussian, which is seen at finite width only.
    """
    groups, sequences, units = shape = adjoint.readout.shape
    by_carrier = fields_of_carrier(cell)
    gains = field_gains(cell, laws)
    tied = all(shown is None or len(shown) == 1 for shown in adjoint.revealed)
    most = len(circuits) if tied else 1
    matrices: list[Images | None] = []
    for members, streams, shown in zip(by_carrier, images, adjoint.revealed, strict=True):
        if shown is None:
            matrices.append(None)
        elif excess == 1.0:
            matrices.append(_gaussian(streams, len(members), units, most, tied, device))
        else:
            matrices.append(
                InvariantImages(
                    streams,
                    blocks=len(members),
                    units=units,
                    excess=excess,
                    most_vectors=most,
                    orthogonal=orthogonal,
                    remember=tied,
                    device=device,
                ).apply
            )
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
            image = matrix(vectors.reshape(groups * sequences, 1, units), known)
            image = image.reshape(groups, sequences, len(members), units)
            for position, k in enumerate(members):
                fields[k] = gains[k] * image[:, :, position]
        state = circuit.to_state(state, fields)
        state, growth = rescale(state, shape)
        log_scale = log_scale + growth
    return log_mean_square(state[cell.output], shape) + 2.0 * log_scale


def _gaussian(
    generators: Sequence[np.random.Generator],
    blocks: int,
    units: int,
    most_vectors: int,
    remember: bool,
    device: Device,
) -> Images:
    fresh = LazyGaussianMatrix(
        generators,
        rows=blocks * units,
        columns=units,
        units=units,
        most_vectors=most_vectors,
        remember=remember,
        device=device,
    )
    return lambda vectors, known: apply_conditioned(vectors, fresh, known, units=units)
