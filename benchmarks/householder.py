"""Orthogonal and SVD-parametrised matrices in PyTorch on the CPU, forward and backward. Prints three tables.

    python benchmarks/householder.py [--repeats 3] [--steps 10000] [--output FILE]

Needs PyTorch and geotorch. Processor seconds of one thread; ways take turns, and the quickest runs are shown.
Everything is float32 but for the last table.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import geotorch
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from meanfield.torch_householder import reflect
from meanfield.torch_spectral_rnn import SpectralRNN
from meanfield.torch_svd import SVDParametrization

BATCH = 64
SIZES = (256, 512, 1024)
HALF_WIDTH = 0.01
AT_LEAST = 0.1  # seconds for which a way is run again and again in its turn
Way = Callable[[], object]


def milliseconds(ways: Sequence[Way], repeats: int) -> list[float]:
    """Of the quickest run of every way; they take turns."""
    quickest = [float("inf")] * len(ways)
    for _ in range(repeats):
        for index, way in enumerate(ways):
            spent = 0.0
            while spent < AT_LEAST:
                start = time.process_time()
                way()
                taken = time.process_time() - start
                quickest[index], spent = min(quickest[index], taken), spent + taken
    return [1e3 * each for each in quickest]


def pulled_back(function: Callable[..., torch.Tensor], tensors: Sequence[torch.Tensor]) -> Way:
    """Forward and backward with a fixed cotangent."""
    leaves = [each.detach().requires_grad_() for each in tensors]
    cotangent = torch.randn_like(function(*leaves))
    return lambda: torch.autograd.grad(function(*leaves), leaves, cotangent)


def through(layer: nn.Module, batch: torch.Tensor) -> Way:
    """The same, of a layer with parameters of its own."""
    leaves = [batch.detach().requires_grad_(), *layer.parameters()]
    cotangent = torch.randn_like(layer(batch))
    return lambda: torch.autograd.grad(layer(leaves[0]), leaves, cotangent)


def lapack(reflectors: torch.Tensor) -> torch.Tensor:
    """Q of reflectors in rows by torch.linalg.householder_product, whose vectors have a leading one."""
    count, size = reflectors.shape
    columns = nn.functional.pad(torch.tril(reflectors.T, -1), (0, size - count))
    return torch.linalg.householder_product(columns, 2.0 / (1.0 + (columns[:, :count] ** 2).sum(0)))


def reflectors_of_lapack(size: int, count: int) -> torch.Tensor:
    """Random reflectors with a leading one, which both forms can take."""
    vectors = torch.triu(torch.randn(count, size), 1) / size**0.5
    return vectors + torch.eye(count, size)


def one_factor(repeats: int) -> Table:
    table = Table(title=f"Q x of m reflectors, {BATCH} rows x of n, forward and backward, ms", title_style="")
    headings = "n", "m", "reflect", "householder_product", "orthogonal(householder)", "dense", "faster", "than dense"
    for heading in headings:
        table.add_column(heading, justify="right")
    for size in SIZES:
        for count in (size // 4, size):
            batch, vectors = torch.randn(BATCH, size), reflectors_of_lapack(size, count)
            assert torch.allclose(reflect(batch, vectors), batch @ lapack(vectors).T, atol=1e-3)
            layer = orthogonal(nn.Linear(size, size, bias=False), orthogonal_map="householder")
            taken = milliseconds(
                [
                    pulled_back(reflect, [batch, vectors]),
                    pulled_back(lambda x, u: x @ lapack(u).T, [batch, vectors]),
                    through(layer, batch),
                    pulled_back(lambda x, w: x @ w.T, [batch, torch.randn(size, size)]),
                ],
                repeats,
            )
            row = [f"{each:.2f}" for each in taken]
            ratios = f"{min(taken[1:3]) / taken[0]:.1f} ×", f"{taken[3] / taken[0]:.2f} ×"
            table.add_row(str(size), str(count), *row, *ratios)
    return table


def both_factors(repeats: int) -> Table:
    table = Table(
        title=f"W x = U diag(s) Vᵀ x, m reflectors in both, {BATCH} rows x of n, forward and backward, ms",
        title_style="",
    )
    headings = (
        "n",
        "m",
        "multiply",
        "parametrised weight",
        "2 householder_product",
        "almost_orthogonal",
        "dense",
        "faster",
        "than dense",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for size in SIZES:
        for count in (size // 4, size):
            batch, logits = torch.randn(BATCH, size), torch.randn(size)
            left, right = reflectors_of_lapack(size, count), reflectors_of_lapack(size, count)
            made = SVDParametrization(count, count, half_width=HALF_WIDTH)
            ours = [batch, left[None], right[None], logits[None]]

            def product(x: torch.Tensor, u: torch.Tensor, v: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
                weight = (lapack(u) * (1.0 + HALF_WIDTH * torch.tanh(0.5 * p))) @ lapack(v).T
                return x @ weight.T

            layer = nn.Linear(size, size, bias=False)
            geotorch.almost_orthogonal(layer, "weight", lam=HALF_WIDTH, f="scaled_sigmoid")
            assert torch.allclose(made.multiply(*ours), product(batch, left, right, logits), atol=1e-3)
            taken = milliseconds(
                [
                    pulled_back(made.multiply, ours),
                    pulled_back(lambda x, *parts, made=made: x @ made(*parts).T, ours),
                    pulled_back(product, [batch, left, right, logits]),
                    through(layer, batch),
                    pulled_back(lambda x, w: x @ w.T, [batch, torch.randn(size, size)]),
                ],
                repeats,
            )
            row = [f"{each:.2f}" for each in taken]
            ratios = f"{min(taken[2:4]) / min(taken[:2]):.1f} ×", f"{taken[4] / min(taken[:2]):.2f} ×"
            table.add_row(str(size), str(count), *row, *ratios)
    return table


def long_training(steps: int) -> Table:
    """Adam on a random task, float64: what is left of orthogonality and the band."""
    table = Table(title=f"after {steps} steps of Adam at rate 0.01, float64, n = 32", title_style="")
    for heading in ("m", "|UᵀU - 1|", "|VᵀV - 1|", "s of W, lowest", "highest", "band", "loss at first", "at last"):
        table.add_column(heading, justify="right")
    for count in (8, 32):
        torch.manual_seed(0)
        layer = SpectralRNN(4, 32, count, count, half_width=0.1, dtype=torch.float64, seed=0)
        inputs, targets = torch.randn(8, 16, 4, dtype=torch.float64), torch.randn(16, 32, dtype=torch.float64)
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
        losses = []
        lowest, highest = float("inf"), 0.0
        for _ in range(steps):
            optimiser.zero_grad()
            loss = (layer(inputs)[1][0] - 0.5 * targets).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            values = torch.linalg.svdvals(layer.weight_hh.detach())
            lowest, highest = min(lowest, values[-1].item()), max(highest, values[0].item())
        identity = torch.eye(32, dtype=torch.float64)
        factors = [reflect(identity, each.detach()[0]) for each in (layer.left, layer.right)]
        defects = [f"{(each.T @ each - identity).abs().max().item():.1e}" for each in factors]
        table.add_row(
            str(count),
            *defects,
            f"{lowest:.12f}",
            f"{highest:.12f}",
            "0.9 to 1.1",
            f"{losses[0]:.3f}",
            f"{losses[-1]:.3f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Products of reflectors against other orthogonal parametrisations.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    modules = ", ".join(f"{each} {version(each)}" for each in ("torch", "geotorch"))
    head = f"{platform.machine()}, one thread, {modules}"
    tables = one_factor(arguments.repeats), both_factors(arguments.repeats), long_training(arguments.steps)
    Console(width=140, markup=False).print(head, *tables)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=140, markup=False).print(head, *tables)


if __name__ == "__main__":
    main()
