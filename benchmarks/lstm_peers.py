"""What one would otherwise sample the untied LSTM cell state with: NumPy, PyTorch, JAX, numba.

c ← σ(u_f)c + σ(u_i)tanh(u_g), h = σ(u_o)tanh(c), with u_k = mean_k + deviation_k × a fresh standard normal, four a
step. Every peer runs `chains` chains from c = 0 for `steps` steps and averages h and h² over all but the first
`burn_in`. Means and deviations are in the order i, f, g, o. PyTorch, JAX and numba are optional, and a peer's first
call with new sizes may compile.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

MEANS = (0.0, 1.0, 0.0, 0.0)
DEVIATIONS = (0.6, 0.6, 0.9, 0.6)


class Peer(Protocol):
    def __call__(
        self, means: Sequence[float], deviations: Sequence[float], *, chains: int, steps: int, burn_in: int, seed: int
    ) -> tuple[float, float]:
        """The means of h and of h²."""


def numpy_peer(
    means: Sequence[float],
    deviations: Sequence[float],
    *,
    chains: int,
    steps: int,
    burn_in: int,
    seed: int,
    dtype: type[np.float32] | type[np.float64] = np.float32,
) -> tuple[float, float]:
    """Whole arrays, updated in place; always one thread."""
    generator = np.random.default_rng(seed)
    c, i, f, g, o = (np.zeros(chains, dtype) for _ in range(5))

    def draw(gate: int, out: np.ndarray) -> None:
        generator.standard_normal(dtype=dtype, out=out)
        out *= deviations[gate]
        out += means[gate]

    def sigmoid(x: np.ndarray) -> None:
        np.negative(x, out=x)
        np.exp(x, out=x)
        x += 1
        np.reciprocal(x, out=x)

    first = second = 0.0
    for step in range(steps):
        for gate, array in enumerate((i, f, g, o)):
            draw(gate, array)
        for array in (i, f, o):
            sigmoid(array)
        np.tanh(g, out=g)
        c *= f
        i *= g
        c += i
        if step >= burn_in:
            h = np.tanh(c, out=g)
            h *= o
            first += float(h.mean())
            second += float(np.square(h, out=h).mean())
    return first / (steps - burn_in), second / (steps - burn_in)


def torch_peer(
    means: Sequence[float], deviations: Sequence[float], *, chains: int, steps: int, burn_in: int, seed: int
) -> tuple[float, float]:
    """Eager PyTorch in single precision, updated in place."""
    import torch

    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        c, i, f, g, o = (torch.zeros(chains) for _ in range(5))
        first = second = 0.0
        for step in range(steps):
            for u, mean, deviation in zip((i, f, g, o), means, deviations, strict=True):
                u.normal_(mean, deviation, generator=generator)
            c.mul_(f.sigmoid_()).addcmul_(i.sigmoid_(), g.tanh_())
            o.sigmoid_()
            if step >= burn_in:
                h = torch.tanh(c, out=g).mul_(o)
                first += h.mean().item()
                second += h.square_().mean().item()
    return first / (steps - burn_in), second / (steps - burn_in)


@cache
def jax_sampler() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    @partial(jax.jit, static_argnames=("chains", "steps", "burn_in"))
    def sample(key: Any, means: Any, deviations: Any, *, chains: int, steps: int, burn_in: int) -> Any:
        def draw(key: Any) -> list[Any]:
            keys = jax.random.split(key, 4)
            return [means[gate] + deviations[gate] * jax.random.normal(keys[gate], (chains,)) for gate in range(4)]

        def step(c: Any, key: Any) -> tuple[Any, tuple[Any, Any]]:
            i, f, g, o = draw(key)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return c, (h.mean(), (h * h).mean())

        keys = jax.random.split(key, steps)
        c, _ = jax.lax.scan(lambda c, key: (step(c, key)[0], None), jnp.zeros(chains), keys[:burn_in])
        _, (first, second) = jax.lax.scan(step, c, keys[burn_in:])
        return first.mean(), second.mean()

    return sample


def jax_peer(
    means: Sequence[float], deviations: Sequence[float], *, chains: int, steps: int, burn_in: int, seed: int
) -> tuple[float, float]:
    """Compiled scans with JAX's default generator. XLA drops the output gate, draws included, where h is not used."""
    import jax
    import jax.numpy as jnp

    first, second = jax_sampler()(
        jax.random.key(seed), jnp.array(means), jnp.array(deviations), chains=chains, steps=steps, burn_in=burn_in
    )
    return float(first), float(second)


@cache
def numba_sampler() -> Callable[..., Any]:
    import numba

    @numba.njit(parallel=True)
    def sample(means, deviations, chains, steps, burn_in, seeds):  # type: ignore[no-untyped-def]
        (mean_i, mean_f, mean_g, mean_o), (deviation_i, deviation_f, deviation_g, deviation_o) = means, deviations
        first, second = 0.0, 0.0
        for block in numba.prange(len(seeds)):
            np.random.seed(seeds[block])  # noqa: NPY002
            for _ in range(chains * block // len(seeds), chains * (block + 1) // len(seeds)):
                c = 0.0
                for step in range(steps):
                    i = 1 / (1 + math.exp(-np.random.normal(mean_i, deviation_i)))  # noqa: NPY002
                    f = 1 / (1 + math.exp(-np.random.normal(mean_f, deviation_f)))  # noqa: NPY002
                    g = math.tanh(np.random.normal(mean_g, deviation_g))  # noqa: NPY002
                    o = 1 / (1 + math.exp(-np.random.normal(mean_o, deviation_o)))  # noqa: NPY002
                    c = f * c + i * g
                    if step >= burn_in:
                        h = o * math.tanh(c)
                        first += h
                        second += h * h
        return first, second

    return sample


def numba_peer(
    means: Sequence[float], deviations: Sequence[float], *, chains: int, steps: int, burn_in: int, seed: int
) -> tuple[float, float]:
    """A compiled loop over each chain in double precision; every block of chains has its seed, whatever the threads."""
    seeds = np.random.SeedSequence(seed).generate_state(min(chains, 256))
    first, second = numba_sampler()(tuple(means), tuple(deviations), chains, steps, burn_in, seeds)
    return first / (chains * (steps - burn_in)), second / (chains * (steps - burn_in))


def peers() -> dict[str, Peer]:
    """The peers that are installed, by name; says which are not."""
    found: dict[str, Peer] = {
        "NumPy float32": numpy_peer,
        "NumPy float64": partial(numpy_peer, dtype=np.float64),
    }
    optional: tuple[tuple[str, str, Peer], ...] = (
        ("torch", "PyTorch eager, float32", torch_peer),
        ("jax", "JAX jit, float32", jax_peer),
        ("numba", "numba loop, float64", numba_peer),
    )
    for module, name, peer in optional:
        if find_spec(module):
            found[name] = peer
        else:
            print(f"{module} is not installed: skipping {name}", file=sys.stderr)
    return found


def pin(count: int) -> None:
    """Keep the process on `count` cores: JAX takes every core it sees when it starts, and nothing else limits it."""
    if "jax" in sys.modules:
        raise RuntimeError("pin the process before JAX is imported: its threads start with the cores seen then")
    if not hasattr(os, "sched_setaffinity"):
        raise RuntimeError(f"{platform.system()} cannot pin a process to cores")
    available = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(available):
        raise ValueError(f"{count} cores asked for, {len(available)} available")
    os.sched_setaffinity(0, available[:count])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit PyTorch and numba to `count` threads. NumPy always has one, JAX is limited by `pin` alone."""
    restore: list[Callable[[], None]] = []
    try:
        if find_spec("torch"):
            import torch

            restore.append(partial(torch.set_num_threads, torch.get_num_threads()))
            torch.set_num_threads(count)
        if find_spec("numba"):
            import numba

            restore.append(partial(numba.set_num_threads, numba.get_num_threads()))
            numba.set_num_threads(count)
        yield
    finally:
        for each in restore:
            each()
