"""How long it takes to apply a lazily revealed Gaussian matrix to the steps of a trajectory. Prints one table.

python benchmarks/field_mixing.py [--repeats N]

The peer is the same Gram-Schmidt in NumPy, every product a call of BLAS for every group.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from meanfield.solvers import threads
from meanfield.solvers.lazy_matrix import LazyGaussianMatrix

Float32 = NDArray[np.float32]
FIELDS = 4


def generators(groups: int) -> list[np.random.Generator]:
    """One a group."""
    return [np.random.default_rng([0, group]) for group in range(groups)]


def trajectory(groups: int, units: int, steps: int) -> Float32:
    """Slowly moving vectors of mean square one, (steps, groups, 1, units)."""
    rng = np.random.default_rng(1)
    vectors = [rng.standard_normal((groups, 1, units), dtype=np.float32)]
    for _ in range(steps - 1):
        noise = rng.standard_normal((groups, 1, units), dtype=np.float32)
        vectors.append(np.float32(0.95) * vectors[-1] + np.float32(np.sqrt(1.0 - 0.95**2)) * noise)
    return np.stack(vectors)


def compiled(vectors: Float32) -> Float32:
    """The last image, by this package."""
    steps, groups, _, units = vectors.shape
    matrix = LazyGaussianMatrix(generators(groups), rows=FIELDS * units, columns=units, units=units, most_vectors=steps)
    for step in vectors:
        images = matrix.apply(step)
    return images


def blas(vectors: Float32) -> Float32:
    """The last image, by NumPy: two projections, then one more product, each over all groups."""
    steps, groups, _, units = vectors.shape
    capacity = min(steps, units)
    basis: Float32 = np.empty((groups, capacity, units), np.float32)
    images: Float32 = np.empty((groups, capacity, FIELDS * units), np.float32)
    for group, generator in enumerate(generators(groups)):
        generator.standard_normal(dtype=np.float32, out=images[group])
    rank = 0
    for step in vectors:
        coefficients: Float32 = np.zeros((groups, 1, rank), np.float32)
        remainder = step
        for _ in range(2 if rank else 0):
            overlap = over_groups(remainder, basis[:, :rank].transpose(0, 2, 1)) / np.float32(units)
            remainder = remainder - over_groups(overlap, basis[:, :rank])
            coefficients += overlap
        if rank < capacity:
            norm = np.sqrt(np.einsum("gbj,gbj->gb", remainder, remainder) / units)[:, :, None]
            basis[:, rank : rank + 1] = remainder / norm
            coefficients = np.concatenate((coefficients, norm), axis=2)
            rank += 1
        product = over_groups(coefficients, images[:, :rank])
    return product


def over_groups(left: Float32, right: Float32) -> Float32:
    """A batched matrix product, the groups spread over the same threads."""
    out: Float32 = np.empty((len(left), left.shape[1], right.shape[2]), np.float32)

    def work(start: int, end: int) -> None:
        np.matmul(left[start:end], right[start:end], out=out[start:end])

    threads.over_groups(work, len(left), left.size * right.shape[2])
    return out


def seconds(run: Callable[[Float32], Float32], vectors: Float32) -> float:
    """Of one run."""
    start = time.perf_counter()
    run(vectors)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    table = Table(
        title=f"seconds for all steps, {FIELDS} fields, medians of {repeats} interleaved runs", title_style=""
    )
    for heading in ("groups", "units", "steps", "threads", "NumPy with BLAS", "compiled", "ratio"):
        table.add_column(heading, justify="right")
    for groups, units, steps in ((8, 256, 784), (64, 256, 200), (1, 2048, 784)):
        vectors = trajectory(groups, units, steps)
        np.testing.assert_allclose(compiled(vectors), blas(vectors), atol=1e-3)
        for count in (1, 2):
            # The rows of the table differ in what the package takes for the number of cores.
            with patch.object(threads, "cores", return_value=count), threads.one_blas_thread():
                taken = np.array([[seconds(blas, vectors), seconds(compiled, vectors)] for _ in range(repeats)])
            before, after = np.median(taken, axis=0)
            shown = str(groups), str(units), str(steps), str(count)
            table.add_row(*shown, f"{before:.3f}", f"{after:.3f}", f"{before / after:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
