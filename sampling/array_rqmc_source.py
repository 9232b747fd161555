"""Source of the kernels that carry an array of chains through one step from given quasi-random points.

As in chain_source, a block of chains goes through short loops over contiguous arrays. The deviates come from words that
are the same at every step but for a digital shift; sums are kept in double precision, because the estimator's own
error is below what sums of single numbers could resolve.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

from meanfield.sampling.chain_source import (
    BLOCK,
    Precision,
    arithmetic,
    loop_body,
    loop_over_block,
    names_in_loop,
    real_name,
)
from meanfield.sampling.expressions import Expression
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.kernel_modules import assemble, load


@lru_cache(maxsize=64)
def array_kernels(program: ChainProgram, precision: Precision) -> ModuleType:
    """Kernels of a program, from this process, from disk, or new.

    The module's ``run(words, shifts, states, parameters, measure, sums)`` makes one step of all chains, with the
    interpreter's lock released:
        words: (deviates, chains) uint32, the points' coordinates; whole blocks of 512 chains.
        shifts: (deviates,) uint32, added to the coordinates without carry.
        states: (states, chains) real, updated in place.
        parameters: (parameters,) real.
        sums: (sampled,) float64, to which sums over chains are added if ``measure``.
    """
    return load("array", assemble([*arithmetic(precision), array_source(program, precision)]))


def array_source(program: ChainProgram, precision: Precision) -> str:
    """Text of a program's loops over blocks of chains."""
    real = real_name(precision)
    states = [f"x{k}" for k in range(len(program.states))]
    deviates = [f"z{k}" for k in range(len(program.normals))]
    parameters = [f"p{k}" for k in range(len(program.parameters))]
    sums = [f"a{k}" for k in range(len(program.sampled))]
    names = names_in_loop(program)

    def loop(name: str, arguments: list[str], roots: Sequence[Expression]) -> str:
        lines, values = loop_body(program, precision, roots, names)
        lines += [f"{x}[j] = {value}" for x, value in zip(states, values, strict=False)]
        lines += [f"{a}[j] += np.float64({value})" for a, value in zip(sums, values[len(states) :], strict=False)]
        return loop_over_block(name, arguments, lines)

    step = loop("step", [*states, *deviates, *parameters], program.updates)
    measured = loop("measured_step", [*states, *deviates, *sums, *parameters], [*program.updates, *program.sampled])
    loads = [f"{p} = parameters[{k}]" for k, p in enumerate(parameters)]
    loads += [f"{z} = normals[{k}]" for k, z in enumerate(deviates)]
    loads += [f"{a} = partial[{k}]" for k, a in enumerate(sums)]
    block = [f"{x} = states[{k}, start:start + {BLOCK}]" for k, x in enumerate(states)]
    block += [f"to_normals(words[{k}, start:start + {BLOCK}], shifts[{k}], {z})" for k, z in enumerate(deviates)]
    return (
        step
        + measured
        + RUN.format(
            block=BLOCK,
            real=real,
            deviates=max(len(deviates), 1),
            sums=max(len(sums), 1),
            count=len(sums),
            loads="\n".join(f"    {line}" for line in loads) or "    pass",
            each_block="\n".join(f"        {line}" for line in block) or "        pass",
            step=", ".join([*states, *deviates, *parameters]),
            measured=", ".join([*states, *deviates, *sums, *parameters]),
        )
    )


RUN = """

@inlined
def to_normals(words, shift, normals):
    wide_vectors()
    for j in range({block}):
        normals[j] = normal_from_uniform(np.uint32(words[j] ^ shift))


@kernel
def run(words, shifts, states, parameters, measure, sums):
    normals = np.empty(({deviates}, {block}), {real})
    partial = np.zeros(({sums}, {block}), np.float64)
{loads}
    for block in range(words.shape[1] // {block}):
        start = block * {block}
{each_block}
        if measure:
            measured_step({measured})
        else:
            step({step})
    if measure:
        for k in range({count}):
            total = 0.0
            for j in range({block}):
                total += partial[k, j]
            sums[k] += total
"""
