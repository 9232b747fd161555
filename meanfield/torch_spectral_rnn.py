"""A PyTorch layer whose recurrent matrix has all singular values in a band, at every step of training."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.svd import check_reflectors
from meanfield.torch_svd import SVDParametrization

Nonlinearity = Literal["tanh", "relu"]


class SpectralRNN(nn.Module):
    """A vanilla layer h' = φ(W h + M x + b) whose W has all its singular values in a band.

    Attributes of a layer of N units and inputs of size K, all trained:
        weight_ih: M, (N, K), drawn with independent entries N(0, 1/K).
        bias: b, (N,), zero at first.
        left, right: reflectors of U and V, (1, m1, N) and (1, m2, N), of uniform directions at first.
        logits: p, (1, N), zero at first, so that W is s0 times orthogonal.

    Args:
        input_size, hidden_size: K and N.
        left, right: m1 and m2; N/4 by default, at least 1.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there is b.
        batch_first: inputs and outputs are (batch, steps, …) instead of (steps, batch, …).
        centre, half_width: s0 and r, 0 < r < s0.
        seed: of the draw; from PyTorch's own generator by default.
        device, dtype: of the parameters.

    Raises:
        InvalidInput: if a number is out of its range.

    Source: J. Zhang, Q. Lei and I. S. Dhillon (ICML 2018); theory, section 7.

    >>> layer = SpectralRNN(3, 16, seed=0)
    >>> output, last = layer(torch.zeros(10, 2, 3))
    >>> output.shape, last.shape
    (torch.Size([10, 2, 16]), torch.Size([1, 2, 16]))
    >>> torch.linalg.svdvals(layer.weight_hh).allclose(torch.ones(16))
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        left: int | None = None,
        right: int | None = None,
        *,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        centre: float = 1.0,
        half_width: float = 0.01,
        seed: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_count("input_size", input_size, 1)
        check_count("hidden_size", hidden_size, 1)
        counts = [max(1, hidden_size // 4) if count is None else count for count in (left, right)]
        for name, count in zip(("left", "right"), counts, strict=True):
            check_reflectors(name, count, hidden_size)
        if nonlinearity not in get_args(Nonlinearity):
            raise InvalidInput(f"nonlinearity: must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.nonlinearity, self.batch_first = nonlinearity, batch_first
        self.recurrent = SVDParametrization(*counts, centre=centre, half_width=half_width, seed=seed)
        empty = torch.empty(hidden_size, hidden_size, device=device, dtype=dtype)
        drawn = self.recurrent.right_inverse(empty)
        self.left, self.right, self.logits = (nn.Parameter(each) for each in drawn)
        generator = np.random.default_rng(int(torch.randint(1 << 62, ())) if seed is None else [seed, 1])
        weights = generator.standard_normal((hidden_size, input_size)) / math.sqrt(input_size)
        self.weight_ih = nn.Parameter(torch.from_numpy(weights).to(empty.device, empty.dtype))
        self.bias = nn.Parameter(empty.new_zeros(hidden_size)) if bias else None

    @property
    def weight_hh(self) -> torch.Tensor:
        """W, (N, N), made anew every time."""
        weight: torch.Tensor = self.recurrent(self.left, self.right, self.logits)
        return weight

    @property
    def singular_values(self) -> torch.Tensor:
        """s, (N,), in the order of p."""
        return self.recurrent.singular_values(self.logits)[0]

    def forward(self, inputs: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Run over a sequence; W is made once.

        Args:
            inputs: x, (steps, batch, K), (batch, steps, K) if ``batch_first``, or (steps, K) of one sequence.
            state: h before the first step, (1, batch, N) or (1, N); zero by default.

        Returns:
            h after every step, of the shape of ``inputs`` with N in place of K, and after the last, of that of
            ``state``.

        Raises:
            InvalidInput: if the shapes do not match, or a parameter is not finite.
        """
        single = inputs.dim() == 2
        if inputs.dim() not in (2, 3) or inputs.shape[-1] != self.input_size:
            raise InvalidInput(
                f"inputs: must be of 3 axes, or 2 for one sequence, the last of {self.input_size}, got shape "
                f"{tuple(inputs.shape)}"
            )
        batch_axis = 0 if self.batch_first else 1
        sequences = inputs.unsqueeze(batch_axis) if single else inputs
        wanted = (1, sequences.shape[batch_axis], self.hidden_size)
        if state is None:
            before = sequences.new_zeros(wanted)
        else:
            before = state.unsqueeze(1) if single and state.dim() == 2 else state
            if before.shape != wanted:
                raise InvalidInput(
                    f"state: must be of shape {(wanted[0], wanted[2]) if single else wanted} for inputs of shape "
                    f"{tuple(inputs.shape)}, got {tuple(state.shape)}"
                )
        weights = [self.weight_ih, self.weight_hh]
        if self.bias is not None:
            weights += [self.bias, torch.zeros_like(self.bias)]
        run = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        output, last = run(
            sequences, before, weights, self.bias is not None, 1, 0.0, self.training, False, self.batch_first
        )
        return (output.squeeze(batch_axis), last.squeeze(1)) if single else (output, last)

    def extra_repr(self) -> str:
        """The sizes and what differs from the default."""
        return (
            f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity}, bias={self.bias is not None}, "
            f"batch_first={self.batch_first}"
        )
