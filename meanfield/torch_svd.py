"""PyTorch weights with all singular values in a band, at every step of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.svd import SVDMatrix, check_band, check_reflectors
from meanfield.torch_householder import reflect, scaled_columns

Start = Literal["haar", "weight"]
Parameters = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class SVDParametrization(nn.Module):
    """A weight as U diag(s) Vᵀ with s between s0 - r and s0 + r, for torch.nn.utils.parametrize.

    The weight is one matrix, or gate blocks below each other as in nn.LSTM (four) and nn.GRU (three), each with
    reflectors and singular values of its own. Parameters of the layer, of its dtype and device, become

    - ``original0``, reflectors of U, (blocks, m1, rows of a block),
    - ``original1``, reflectors of V, (blocks, m2, columns),
    - ``original2``, p, (blocks, min(rows of a block, columns)), s = s0 + 2r(σ(p) - 1/2),

    so make the optimiser after registering, and one object for every weight. Assigning to the weight sets them, where
    all reflectors are there and the singular values in the band. A layer reads its weight more than once a step: use
    ``parametrize.cached()``.

    Args:
        left, right: m1 and m2; complete, min(rows of a block, columns), by default.
        blocks: gate blocks of the weight.
        centre, half_width: s0 and r, 0 < r < s0, for all blocks or one a block.
        start: what registering does: ``"haar"`` draws reflectors of uniform directions and sets p = 0, so that all
            singular values are s0; ``"weight"`` takes the weight as it is, as assigning would.
        seed: of the draw; from PyTorch's own generator by default.

    Raises:
        InvalidInput: if a number is out of its range. On registering or assigning also if the weight's shape does not
            match or the weight is not one of these; on use if a parameter is not finite, which is looked for on the
            CPU only, and not when compiled.

    Source: J. Zhang, Q. Lei and I. S. Dhillon, Stabilizing gradients for deep neural networks via efficient SVD
    parameterization (ICML 2018); theory, section 7.

    >>> from torch.nn.utils import parametrize
    >>> layer = nn.LSTM(3, 8)
    >>> _ = parametrize.register_parametrization(layer, "weight_hh_l0", SVDParametrization(2, 2, blocks=4, seed=0))
    >>> torch.linalg.svdvals(layer.weight_hh_l0[:8]).allclose(torch.ones(8))
    True
    """

    def __init__(
        self,
        left: int | None = None,
        right: int | None = None,
        *,
        blocks: int = 1,
        centre: float | Sequence[float] = 1.0,
        half_width: float | Sequence[float] = 0.01,
        start: Start = "haar",
        seed: int | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("left", left), ("right", right)):
            if count is not None:
                check_count(name, count, 1)
        check_count("blocks", blocks, 1)
        self.bands = [*zip(_each("centre", centre, blocks), _each("half_width", half_width, blocks), strict=True)]
        for band in self.bands:
            check_band(*band)
        if start not in get_args(Start):
            raise InvalidInput(f"start: must be 'haar' or 'weight', got {start!r}")
        if seed is not None:
            check_count("seed", seed, 0)
        self.left, self.right, self.blocks = left, right, blocks
        self.start, self.seed = start, seed
        self._registered = False

    def forward(self, left: torch.Tensor, right: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """W, (blocks · rows, columns), of reflectors and p as above; differentiable once.

        Raises:
            InvalidInput: if the shapes do not match, or on the CPU if a number is not finite.
        """
        self._check_parameters(left, right, logits)
        rows, columns = left.shape[-1], right.shape[-1]
        # Reflectors of half precision would not make orthogonal matrices.
        precise = torch.promote_types(left.dtype, torch.float32)
        turned = scaled_columns(self.singular_values(logits.to(precise)), right.to(precise))
        if rows > columns:
            turned = nn.functional.pad(turned, (0, 0, 0, rows - columns))
        weight = reflect(turned.mT, left.to(precise)).mT
        return weight.reshape(len(left) * rows, columns).to(left.dtype).contiguous()

    def multiply(
        self, inputs: torch.Tensor, left: torch.Tensor, right: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """W x for every row x of a batch, without forming W: cheaper if the batch is small and W is used once.

        Args:
            inputs: x, (..., columns).
            left, right, logits: as for ``forward``.

        Returns:
            (..., blocks · rows), differentiable once.

        Raises:
            InvalidInput: if the shapes do not match, or on the CPU if a parameter is not finite.
        """
        self._check_parameters(left, right, logits)
        rows, columns = left.shape[-1], right.shape[-1]
        if inputs.shape[-1:] != (columns,):
            raise InvalidInput(f"inputs: must be of shape (..., {columns}), got {tuple(inputs.shape)}")
        precise = torch.promote_types(left.dtype, torch.float32)
        batch = inputs.reshape(1, -1, columns).to(precise).expand(len(left), -1, -1)
        turned = reflect(batch, right.to(precise), transposed=True)
        values = self.singular_values(logits.to(precise)).unsqueeze(1)
        scaled = turned[..., : min(rows, columns)] * values
        product = reflect(nn.functional.pad(scaled, (0, max(0, rows - columns))), left.to(precise))
        return product.transpose(0, 1).reshape(*inputs.shape[:-1], len(left) * rows).to(left.dtype)

    def singular_values(self, logits: torch.Tensor) -> torch.Tensor:
        """s of p, (blocks, count) of the same shape."""
        relative = torch.tanh(0.5 * logits)
        return torch.stack([centre + reach * each for (centre, reach), each in zip(self.bands, relative, strict=True)])

    def right_inverse(self, weight: torch.Tensor) -> Parameters:
        """Reflectors and p of a weight; on registering with ``start="haar"``, of a draw of its shape."""
        if weight.dim() != 2 or weight.shape[0] % self.blocks != 0 or 0 in weight.shape:
            raise InvalidInput(
                f"weight: must be a matrix of {self.blocks} equal blocks of rows, got shape {tuple(weight.shape)}"
            )
        if weight.is_meta:
            raise InvalidInput("weight: is on the meta device; materialise the module first, as by to_empty")
        rows, columns = weight.shape[0] // self.blocks, weight.shape[1]
        complete = min(rows, columns)
        counts = [complete if count is None else count for count in (self.left, self.right)]
        for name, count, size in zip(("left", "right"), counts, (rows, columns), strict=True):
            check_reflectors(name, count, size)
        if self.start == "haar" and not self._registered:
            found = self._drawn(rows, columns, counts)
        else:
            if counts != [complete, complete]:
                raise InvalidInput(
                    f"weight: of shape {tuple(weight.shape)} can be taken as it is by {complete} reflectors on both "
                    f"sides only, got left={counts[0]} and right={counts[1]}"
                )
            numbers = weight.detach().to("cpu", torch.float64).numpy().reshape(self.blocks, rows, columns)
            found = [
                SVDMatrix.from_matrix(each, centre=centre, half_width=half_width)
                for each, (centre, half_width) in zip(numbers, self.bands, strict=True)
            ]
        stacked = [np.stack([getattr(each, name) for each in found]) for name in ("left", "right", "logits")]
        left, right, logits = (torch.from_numpy(each).to(weight.device, weight.dtype) for each in stacked)
        self._registered = True
        return left, right, logits

    def extra_repr(self) -> str:
        """The numbers that make it; bands as (centre, half width)."""
        return f"left={self.left}, right={self.right}, blocks={self.blocks}, bands={self.bands}"

    def _check_parameters(self, left: torch.Tensor, right: torch.Tensor, logits: torch.Tensor) -> None:
        fit = left.dim() == right.dim() == 3 and logits.dim() == 2
        fit = fit and len(left) == len(right) == len(logits) == self.blocks
        if not fit or logits.shape[1] != min(left.shape[-1], right.shape[-1]):
            raise InvalidInput(
                f"logits: shapes {tuple(left.shape)}, {tuple(right.shape)} and {tuple(logits.shape)} of left, right "
                f"and p do not match each other and {self.blocks} blocks"
            )
        if torch.compiler.is_compiling() or left.device.type != "cpu":
            return
        for name, tensor in (("left", left), ("right", right), ("logits", logits)):
            if not torch.isfinite(tensor).all():
                raise InvalidInput(f"{name}: must be finite, got NaN or infinity in shape {tuple(tensor.shape)}")

    def _drawn(self, rows: int, columns: int, counts: list[int]) -> list[SVDMatrix]:
        seed = int(torch.randint(1 << 62, ())) if self.seed is None else self.seed
        generator = np.random.default_rng(seed)
        left, right = counts
        return [
            SVDMatrix.draw(generator, rows, columns, left_count=left, right_count=right) for _ in range(self.blocks)
        ]


def _each(name: str, value: float | Sequence[float], blocks: int) -> list[float]:
    """A number for every block."""
    if not isinstance(value, Sequence):
        return [value] * blocks
    if len(value) != blocks:
        raise InvalidInput(f"{name}: must be one number or {blocks}, one a block, got {len(value)}")
    return list(value)
