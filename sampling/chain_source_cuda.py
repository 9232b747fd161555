"""Source of the CUDA kernels that run a chain program: a thread carries one chain in its registers.

The streams, their words' order, the deviates and the arithmetic of a step are those of the kernels for the CPU
(:mod:`meanfield.sampling.chain_source`), so both make the same chains but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

from meanfield.sampling.chain_source import (
    BLOCK,
    DRAWS,
    FLUSH,
    Precision,
    arithmetic,
    loop_body,
    real_name,
    rows_of_normals,
)
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.kernel_modules import assemble, load

THREADS = 128  # of a CUDA block, few enough for any number of registers
PARTS = BLOCK // THREADS  # CUDA blocks that share a block of chains


@lru_cache(maxsize=64)
def cuda_kernels(program: ChainProgram, precision: Precision) -> ModuleType:
    """Kernels of a program for CUDA, compiled at their first launch or read from disk.

    All are launched with one thread a chain, ``THREADS`` a CUDA block; arrays are those of ``cpu_kernels``:
        ``start(purpose, low, high, streams, states)`` seeds streams for the seed ``low + 2³² high``; states are zero.
        ``run(steps, streams, states, parameters, blocks_a_set)`` makes steps.
        ``run_measured(steps, streams, states, parameters, blocks_a_set, sums)`` makes steps, and adds the sums over a
        CUDA block's chains and these steps to its row of sums, (blocks × PARTS, sampled) float64.
    """
    return load("chains_cuda", cuda_text(program, precision))


def cuda_text(program: ChainProgram, precision: Precision) -> str:
    """Text of the module of :func:`cuda_kernels`."""
    functions = [_step(program, precision, measure) for measure in (False, True)]
    kernels = [_run(program, precision, measure) for measure in (False, True)]
    parts: list[ModuleType | str] = [
        OPTIONS,
        *arithmetic(precision),
        START.format(threads=THREADS),
        *functions,
        *kernels,
    ]
    return assemble(parts, "cuda")


def steps_a_cycle(program: ChainProgram) -> int:
    """Steps after which no normal deviate is left over.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> steps_a_cycle(stationary_program(find("lstm")))  # three deviates a step, six a draw
    2
    """
    return rows_of_normals(program.normals) // max(len(program.normals), 1)


def _step(program: ChainProgram, precision: Precision, measure: bool) -> str:
    """A function for a step of one chain: the new states, and the sums with what the step adds to them."""
    states, deviates, parameters = _names("x", program.states), _names("z", program.normals), _parameters(program)
    sums = _names("a", program.sampled) if measure else []
    deviate = "np.float64({})" if precision == "double" else "{}"
    names = dict(zip(program.states, states, strict=True))
    names |= dict(zip(program.normals, map(deviate.format, deviates), strict=True))
    names |= dict(zip(program.parameters, parameters, strict=True))
    roots = [*program.updates, *program.sampled] if measure else program.updates
    lines, values = loop_body(program, precision, roots, names)
    added = [f"{a} + {value}" for a, value in zip(sums, values[len(states) :], strict=True)]
    lines.append(f"return {_tuple([*values[: len(states)], *added])}")
    arguments = ", ".join([*states, *deviates, *sums, *parameters])
    return f"@inlined\ndef {'measured_step' if measure else 'step'}({arguments}):\n{_indented(lines, 1)}"


def _run(program: ChainProgram, precision: Precision, measure: bool) -> str:
    """A kernel that makes steps."""
    states, parameters = _names("x", program.states), _parameters(program)
    sums, totals = (_names(letter, program.sampled if measure else ()) for letter in "at")
    kept = [(f"s{k}", f"streams[{k}, chain]") for k in range(4)]
    kept += [(x, f"states[{k}, chain]") for k, x in enumerate(states)]
    loads = [f"{name} = {place}" for name, place in kept]
    loads += [f"{p} = parameters[row, {k}]" for k, p in enumerate(parameters)]
    zeros = [f"{a} = {real_name(precision)}(0.0)" for a in sums]
    flush = [line for a, t, zero in zip(sums, totals, zeros, strict=True) for line in (f"{t} += np.float64({a})", zero)]
    fill = [f"shared[{k}, thread] = {t}" for k, t in enumerate(totals)]
    cycle = steps_a_cycle(program)
    return RUN.format(
        name="run_measured" if measure else "run",
        sums=", sums" if measure else "",
        threads=THREADS,
        parts=PARTS,
        cycle=cycle,
        chunk=cycle * max(FLUSH // cycle, 1),
        loads=_indented([*loads, *zeros, *(f"{t} = np.float64(0.0)" for t in totals)], 1),
        body=_indented(_cycle(program, measure), 3),
        flush=_indented(flush, 2),
        stores=_indented([f"{place} = {name}" for name, place in kept], 1),
        reduction=REDUCTION.format(threads=THREADS, count=len(sums), fill=_indented(fill, 1)) if sums else "",
    )


def _cycle(program: ChainProgram, measure: bool) -> list[str]:
    """Steps until no deviate is left over, each after the draws that it needs.

    Draws do not depend on how many steps follow: the generators then stand where those on the CPU stand.
    """
    sums = _names("a", program.sampled) if measure else []
    results = [*_names("x", program.states), *sums]
    width, drawn = len(program.normals), 0
    lines: list[str] = []
    for step in range(steps_a_cycle(program)):
        while drawn < max(width, 1) * (step + 1):
            lines.append(f"{', '.join(f'n{drawn + k}' for k in range(DRAWS))}, s0, s1, s2, s3 = draw(s0, s1, s2, s3)")
            drawn += DRAWS
        deviates = [f"n{width * step + k}" for k in range(width)]
        arguments = ", ".join([*_names("x", program.states), *deviates, *sums, *_parameters(program)])
        call = f"{_tuple(results)} = {'measured_step' if measure else 'step'}({arguments})"
        if results:
            lines += [call] if step == 0 else [f"if done + {step} < steps:", f"    {call}"]
    return lines


def _parameters(program: ChainProgram) -> list[str]:
    return _names("p", program.parameters)


def _names(letter: str, items: Sequence[object]) -> list[str]:
    return [f"{letter}{k}" for k in range(len(items))]


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)},)" if items else "()"


def _indented(lines: Sequence[str], depth: int) -> str:
    return "".join(f"{'    ' * depth}{line}\n" for line in lines)


OPTIONS = """
import functools
import inspect

if "lto" in inspect.signature(cuda.jit).parameters:  # the simulator has no such options
    # Divisions and roots in single precision to an ulp or two: exact ones would be a quarter of all instructions. Only
    # kernels have the option, who leave such arithmetic to functions: there it would reorder operations, and rounding
    # tricks would be lost. Optimisation at link time would forget it, and jit forgets lto when it is called without
    # the function.
    kernel = functools.partial(cuda.jit, cache=True, fastmath=True, lto=False)
"""

START = """
@kernel
def start(purpose, low, high, streams, states):
    chain = np.int64(cuda.blockIdx.x) * {threads} + cuda.threadIdx.x
    a, b, c, d = stream(np.uint64(chain), purpose, low, high)
    streams[0, chain] = a
    streams[1, chain] = b
    streams[2, chain] = c
    streams[3, chain] = d
    for k in range(states.shape[0]):
        states[k, chain] = 0.0


@inlined
def draw(s0, s1, s2, s3):
    a, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    b, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    c, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    d, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    n0, n1, n2, n3, n4, n5 = normal_sextet(a, b, c, d)
    return n0, n1, n2, n3, n4, n5, s0, s1, s2, s3
"""

RUN = """
@kernel
def {name}(steps, streams, states, parameters, blocks_a_set{sums}):
    thread = cuda.threadIdx.x
    chain = np.int64(cuda.blockIdx.x) * {threads} + thread
    row = cuda.blockIdx.x // ({parts} * blocks_a_set)
{loads}    for start in range(0, steps, {chunk}):
        for done in range(start, min(start + {chunk}, steps), {cycle}):
{body}{flush}{stores}{reduction}"""

REDUCTION = """\
    shared = cuda.shared.array(({count}, {threads}), np.float64)
{fill}    cuda.syncthreads()
    half = {threads} // 2
    while half > 0:
        if thread < half:
            for k in range({count}):
                shared[k, thread] += shared[k, thread + half]
        cuda.syncthreads()
        half //= 2
    if thread < {count}:
        sums[cuda.blockIdx.x, thread] += shared[thread, 0]
"""
