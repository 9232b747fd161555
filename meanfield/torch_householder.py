"""Products of Householder reflectors on PyTorch batches, blocked so that the work is matrix products.

The same numbers as :mod:`meanfield.solvers.householder`, for tensors: on their device, with gradients by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from meanfield.errors import InvalidInput

_WIDTH = 64  # reflectors a block: wider ones make larger matrix products, narrower ones less work in all


def reflect(inputs: torch.Tensor, reflectors: torch.Tensor, *, transposed: bool = False) -> torch.Tensor:
    """Q x for every row x of a batch, Q = H(u_0) H(u_1) … with H(u) = 1 - 2uuᵀ/uᵀu and u_i zero before coordinate i.

    Neither Q nor any H is formed. Gradients are those of ``inputs`` and ``reflectors``, once; there are no second
    ones. Autocast has no effect on the products, which orthogonality would not survive.

    Args:
        inputs: x, (..., n), or (groups, ..., n) where the reflectors have groups.
        reflectors: u, (m, n) or (groups, m, n), m ≤ n; float32 or float64 as the inputs. Entries before the diagonal
            count as zero, and u_i = 0 as no reflector, of no gradient.
        transposed: Qᵀ x = Q⁻¹ x instead.

    Returns:
        Of the shape of ``inputs``; rounding alone separates Q from an orthogonal matrix.

    Raises:
        InvalidInput: if the shapes or types do not match or there are more reflectors than coordinates.

    Source: theory, section 7; R. Schreiber and C. Van Loan, A storage-efficient WY representation (1989).

    >>> print(reflect(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 0.0]])))
    tensor([[-3.,  1.]])
    """
    _check(reflectors)
    grouped = reflectors.dim() == 3
    if inputs.dim() < 1 + grouped or inputs.shape[-1] != reflectors.shape[-1]:
        raise InvalidInput(f"inputs: shape {tuple(inputs.shape)} does not fit reflectors {tuple(reflectors.shape)}")
    if grouped and inputs.shape[0] != reflectors.shape[0]:
        raise InvalidInput(
            f"inputs: shape {tuple(inputs.shape)} must start with the groups of reflectors {tuple(reflectors.shape)}"
        )
    if inputs.dtype != reflectors.dtype:
        raise InvalidInput(f"inputs: must be of the reflectors' {reflectors.dtype}, got {inputs.dtype}")
    groups, count, size = len(reflectors) if grouped else 1, *reflectors.shape[-2:]
    product: torch.Tensor = _Reflect.apply(  # type: ignore[no-untyped-call]
        inputs.reshape(groups, -1, size), reflectors.reshape(groups, count, size), transposed, False
    )
    return product.reshape(inputs.shape)


def scaled_columns(lengths: torch.Tensor, reflectors: torch.Tensor) -> torch.Tensor:
    """The first k columns of Q times given lengths, as rows: diag(s) Qᵀ without the rows that are zero.

    A third cheaper than :func:`reflect` of a diagonal matrix when the reflectors are complete.

    Args:
        lengths: s, (groups, k) with k ≤ n.
        reflectors: u, (groups, m, n), as for :func:`reflect`.

    Returns:
        (groups, k, n).

    Raises:
        InvalidInput: if the shapes or types do not match or there are more reflectors than coordinates.

    >>> print(scaled_columns(torch.tensor([[5.0]]), torch.tensor([[[1.0, -1.0]]])))
    tensor([[[0., 5.]]])
    """
    _check(reflectors)
    size = reflectors.shape[-1]
    if reflectors.dim() != 3 or lengths.shape[:-1] != reflectors.shape[:1] or lengths.shape[-1] > size:
        raise InvalidInput(f"lengths: shape {tuple(lengths.shape)} does not fit reflectors {tuple(reflectors.shape)}")
    diagonal = torch.nn.functional.pad(torch.diag_embed(lengths), (0, size - lengths.shape[-1]))
    product: torch.Tensor = _Reflect.apply(diagonal, reflectors, False, True)  # type: ignore[no-untyped-call]
    return product


class _Reflect(torch.autograd.Function):
    """y = x - C V with C = x Vᵀ F of one block after the other; F = Tᵀ with the last reflectors first, T if transposed.

    On the way back B = ȳ Vᵀ Fᵀ, x̄ = ȳ - B V, x = y + C V and V̄ = -Bᵀ y - Cᵀ ȳ + L V, where L is what is below the
    diagonal of CᵀB - BᵀC, above it if transposed (see :meth:`meanfield.solvers.compact_wy.CompactWY.pull_back`).

    Of a diagonal batch only rows from the block's first coordinate take part: the others are zero in its coordinates.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, reflectors: torch.Tensor, transposed: bool, diagonal: bool
    ) -> torch.Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            result = inputs.clone(memory_format=torch.contiguous_format)
            starts = range(0, reflectors.shape[1], _WIDTH)
            kept = []
            for start in starts if transposed else reversed(starts):
                vectors, scales = _scaled(reflectors[:, start : start + _WIDTH, start:])
                factor = _triangular_factor(vectors, scales)
                factor = factor if transposed else factor.mT
                part = result[:, start if diagonal else 0 :, start:]
                coefficients = torch.bmm(torch.bmm(part, vectors.mT), factor)
                part.baddbmm_(coefficients, vectors, alpha=-1)
                kept += [vectors, scales, factor, coefficients]
            ctx.save_for_backward(result, *kept)
            ctx.layout = reflectors.shape, transposed, diagonal
            return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):
            shape, transposed, diagonal = ctx.layout
            result, *kept = ctx.saved_tensors
            images = result.clone()
            cotangents = gradients[0].clone(memory_format=torch.contiguous_format)
            slopes = cotangents.new_zeros(shape)
            starts = range(0, shape[1], _WIDTH)
            for start in reversed(starts) if transposed else starts:
                vectors, scales, factor, coefficients = kept[-4:]
                del kept[-4:]
                image = images[:, start if diagonal else 0 :, start:]
                cotangent = cotangents[:, start if diagonal else 0 :, start:]
                backs = torch.bmm(torch.bmm(cotangent, vectors.mT), factor.mT)
                inner = torch.bmm(coefficients.mT, backs)
                inner = inner - inner.mT
                slope = torch.bmm(torch.triu(inner, 1) if transposed else torch.tril(inner, -1), vectors)
                slope.baddbmm_(backs.mT, image, alpha=-1).baddbmm_(coefficients.mT, cotangent, alpha=-1)
                slopes[:, start : start + _WIDTH, start:] = slope.mul_(scales).triu_()
                if kept:
                    image.baddbmm_(coefficients, vectors)
                cotangent.baddbmm_(backs, vectors, alpha=-1)
            return cotangents, slopes, None, None


def _scaled(reflectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Reflectors without what is before the diagonal, of largest entry 1, and the factor that made them so."""
    vectors = torch.triu(reflectors)
    largest = torch.linalg.vector_norm(vectors, ord=torch.inf, dim=-1, keepdim=True)
    scales = torch.where(largest < torch.finfo(vectors.dtype).tiny, 0.0, largest.reciprocal())
    return vectors.mul_(scales), scales


def _triangular_factor(vectors: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """T of H(v_0) H(v_1) … = 1 - Vᵀ T V, V the rows: see :mod:`meanfield.solvers.compact_wy`."""
    inverse = torch.bmm(vectors, vectors.mT).triu_()
    # A vector of zeros has no part in any product: any number will do for its own.
    inverse.diagonal(dim1=-2, dim2=-1).mul_(0.5).add_(scales.squeeze(-1) == 0.0)
    identity = torch.eye(inverse.shape[-1], dtype=inverse.dtype, device=inverse.device)
    return torch.linalg.solve_triangular(inverse, identity.expand_as(inverse), upper=True)


def _check(reflectors: torch.Tensor) -> None:
    if reflectors.dim() not in (2, 3) or not 1 <= reflectors.shape[-2] <= reflectors.shape[-1]:
        raise InvalidInput(
            f"reflectors: must be at least one and at most as many as coordinates, got shape {tuple(reflectors.shape)}"
        )
    if reflectors.dtype not in (torch.float32, torch.float64):
        raise InvalidInput(f"reflectors: must be float32 or float64, got {reflectors.dtype}")
