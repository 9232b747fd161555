"""Jacobians of one step of PyTorch's own cells, by its own differentiation, as a witness of the spectra."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.network import Network
from meanfield.torch import initialize

Float64 = NDArray[np.float64]
Cell = nn.LSTMCell | nn.GRUCell

_CELLS: dict[str, type[Cell]] = {"lstm": nn.LSTMCell, "gru_reset_after": nn.GRUCell}
_AT_ONCE = 250  # rows of a Jacobian that are propagated together


def torch_jacobians(
    cell: str,
    network: Network | None = None,
    *,
    hidden: int,
    size: int,
    length: int,
    networks: int = 4,
    power: float = 1.0,
    seed: int = 0,
) -> Float64:
    """Jacobians of the last of ``length`` steps from the zero state, of cells that read white inputs.

    Args:
        cell: ``"lstm"`` for nn.LSTMCell or ``"gru_reset_after"`` for nn.GRUCell.
        network: laws that the cells are initialised with; None for PyTorch's own default.
        hidden: width N.
        size: number of inputs M.
        length: steps from the zero state.
        networks: how many cells; each has weights and an input sequence of its own.
        power: mean square of every input component.
        seed: of weights and inputs.

    Returns:
        ∂(state after the last step)/∂(state before it), (networks, S N, S N); of an lstm over c and then h.

    Raises:
        InvalidInput: if PyTorch has no such cell, the network is of another one, or a size is not positive.

    >>> from meanfield.validation.torch_jacobians import torch_jacobians
    >>> torch_jacobians("lstm", hidden=8, size=3, length=5, networks=2).shape
    (2, 16, 16)
    """
    if cell not in _CELLS:
        raise InvalidInput(f"cell: must be one of {', '.join(_CELLS)}, got {cell!r}")
    for name, count in (("hidden", hidden), ("size", size), ("length", length), ("networks", networks)):
        check_count(name, count, 1)
    found = []
    for index in range(networks):
        own = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint32)[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            module = _CELLS[cell](size, hidden, dtype=torch.float64)
            sequence = np.sqrt(power) * torch.randn(length, size, dtype=torch.float64)
        if network is not None:
            initialize(module, network, seed=own)
        module.requires_grad_(False)
        state = torch.zeros(2 if cell == "lstm" else 1, hidden, dtype=torch.float64)
        for read in sequence[:-1]:
            state = _step(module, read)(state)
        rows = torch.func.jacrev(_step(module, sequence[-1]), chunk_size=_AT_ONCE)(state)
        found.append(rows.reshape(state.numel(), state.numel()).numpy())
    return np.array(found)


def _step(module: Cell, read: Tensor) -> Callable[[Tensor], Tensor]:
    """One step as a function of the state, one row a variable."""
    if isinstance(module, nn.GRUCell):
        return lambda state: module(read, state[0])[None]

    def step(state: Tensor) -> Tensor:
        output, memory = module(read, (state[1], state[0]))
        return torch.stack([memory, output])

    return step
