"""Source of the kernels that run a chain program, generated from its formulas.

One text serves a program on one target. The arithmetic of a step, the generator and the normal deviates are the same
on the CPU and on CUDA; only the loops around them differ: on the CPU a block of chains goes through short loops over
contiguous arrays that stay in the first-level cache, on CUDA a thread carries one chain in registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Literal, Protocol

from meanfield.sampling import double_math, normals, random_bits, single_math
from meanfield.sampling.expressions import Expression, ordered
from meanfield.sampling.programs import ChainProgram
from meanfield.solvers.kernel_modules import assemble, load

Precision = Literal["single", "clamped", "double"]

BLOCK = 512  # chains that go through the loops together: their arrays stay in the first-level cache
LIMITS = {"exp": 83.0}  # arguments within which the functions in single precision need no clamps
DRAWS = 6  # normal deviates from one draw of four words
FLUSH = 64  # steps after which sums in single precision are added to those in double


@lru_cache(maxsize=64)
def cpu_kernels(program: ChainProgram, precision: Precision) -> ModuleType:
    """Kernels of a program for the CPU, from this process, from disk, or new.

    The module's ``run(first, last, steps, measure, streams, states, parameters, blocks_a_set, sums)`` carries the
    blocks ``first`` to ``last`` of chains through ``steps`` steps, with the interpreter's lock released:
        streams: (4, chains) uint32, the generators' states, updated in place.
        states: (states, chains) real, updated in place.
        parameters: (sets, parameters) real; blocks_a_set consecutive blocks use one set.
        sums: (blocks, sampled) float64, to which sums over chains and steps are added if ``measure``.
    """
    text = assemble([*arithmetic(precision), cpu_source(program, precision)], "cpu")
    return load("chains", text)


def arithmetic(precision: Precision) -> list[ModuleType]:
    """The modules of scalar functions that a kernel is made of."""
    return [random_bits, normals, double_math if precision == "double" else single_math]


def real_name(precision: Precision) -> str:
    """The NumPy type that a chain's state has."""
    return "np.float64" if precision == "double" else "np.float32"


def rows_of_normals(normals: Sequence[str]) -> int:
    """Rows of a buffer of normal deviates that holds whole draws and whole steps."""
    return math.lcm(DRAWS, max(len(normals), 1))


def statements(
    roots: Sequence[Expression],
    names: Mapping[str, str],
    precision: Precision,
    bounded: frozenset[str],
) -> tuple[list[str], list[str]]:
    """Straight-line code for formulas.

    Args:
        roots: the formulas.
        names: how every symbol is written.
        precision: ``"single"`` evaluates exponentials without clamps where their arguments depend on ``bounded``
            symbols only; ``"clamped"`` clamps all of them; ``"double"`` has functions that clamp by themselves.
        bounded: symbols whose range the caller has checked.

    Returns:
        Assignments, one a line, and how each formula's value is then written.
    """
    real = real_name(precision)
    written: dict[Expression, str] = {}
    safe: dict[Expression, bool] = {}
    lines: list[str] = []
    for node in ordered(roots):
        operands = [written[operand] for operand in node.operands]
        safe[node] = all(safe[operand] for operand in node.operands)
        if node.operation == "symbol":
            written[node] = names[str(node.label)]
            safe[node] = node.label in bounded
            continue
        if node.operation == "constant":
            written[node] = f"{real}({node.label!r})"
            continue
        if node.operation in LIMITS and (precision == "clamped" or (precision == "single" and not safe[node])):
            limit = LIMITS[node.operation]
            operands = [f"min(max({operands[0]}, {real}(-{limit})), {real}({limit}))"]
        written[node] = f"v{len(lines)}"
        lines.append(f"{written[node]} = {_TEMPLATES[node.operation].format(*operands, real=real)}")
    return lines, [written[root] for root in roots]


_TEMPLATES = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "exp": "exp({0})",
    "tanh": "tanh({0})",
    "erf": "erf({0})",
    "sqrt": "{real}(math.sqrt({0}))",
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
    "positive": "{real}(1.0) if {0} > {real}(0.0) else {real}(0.0)",
}


class Step(Protocol):
    """What the names in a loop depend on."""

    @property
    def states(self) -> tuple[str, ...]: ...
    @property
    def normals(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...


def names_in_loop(program: Step, deviate: str = "{}[j]") -> dict[str, str]:
    """How a program's symbols are written in a loop: arrays x0, x1, … of states, z0, … of deviates; numbers p0, …"""
    names = {name: f"x{k}[j]" for k, name in enumerate(program.states)}
    names |= {name: deviate.format(f"z{k}") for k, name in enumerate(program.normals)}
    return names | {name: f"p{k}" for k, name in enumerate(program.parameters)}


def deviates_in(precision: Precision) -> str:
    """How a normal deviate, drawn in single precision, is read in a loop."""
    return "np.float64({}[j])" if precision == "double" else "{}[j]"


def loop_over_block(name: str, arguments: Sequence[str], lines: Sequence[str]) -> str:
    """Text of a function that goes through the chains ``j`` of a block."""
    body = "\n".join(f"        {line}" for line in lines) or "        pass"
    head = f"@inlined\ndef {name}({', '.join(arguments)}):\n    wide_vectors()\n    for j in range({BLOCK}):"
    return f"{head}\n{body}\n\n\n"


def loop_body(
    program: ChainProgram, precision: Precision, roots: Sequence[Expression], names: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Code for formulas of one chain; deviates and parameters have been checked to stay within the functions' range."""
    bounded = frozenset(name for name in names if name not in program.states)
    return statements(roots, names, precision, bounded)


def cpu_source(program: ChainProgram, precision: Precision) -> str:
    """Text of a program's loops over blocks of chains."""
    real = real_name(precision)
    rows = rows_of_normals(program.normals)
    width = max(len(program.normals), 1)
    sampled = program.sampled
    states = [f"x{k}" for k in range(len(program.states))]
    deviates = [f"z{k}" for k in range(len(program.normals))]
    parameters = [f"p{k}" for k in range(len(program.parameters))]
    sums = [f"a{k}" for k in range(len(sampled))]
    names = names_in_loop(program, deviates_in(precision))

    def loop(name: str, arguments: list[str], roots: Sequence[Expression]) -> str:
        lines, values = loop_body(program, precision, roots, names)
        lines += [f"{x}[j] = {value}" for x, value in zip(states, values, strict=False)]
        lines += [f"{a}[j] += {value}" for a, value in zip(sums, values[len(states) :], strict=False)]
        return loop_over_block(name, arguments, lines)

    arrays = [*states, *deviates]
    step = loop("step", [*arrays, *parameters], program.updates)
    measured = loop("measured_step", [*arrays, *sums, *parameters], [*program.updates, *sampled])
    columns = [f"z[row + {k}]" for k in range(len(deviates))]
    loads = [f"{x} = states[{k}, start:start + {BLOCK}]" for k, x in enumerate(states)]
    loads += [f"{p} = parameters[block // blocks_a_set, {k}]" for k, p in enumerate(parameters)]
    loads += [f"{a} = partial[{k}]" for k, a in enumerate(sums)]
    return (
        FROM_STREAMS.format(block=BLOCK)
        + COLLECT.format(block=BLOCK, real=real)
        + step
        + measured
        + RUN.format(
            block=BLOCK,
            rows=rows,
            draws=DRAWS,
            width=width,
            flush=FLUSH,
            real=real,
            sums=max(len(sums), 1),
            loads="\n".join(f"        {line}" for line in loads) or "        pass",
            step=", ".join([*states, *columns, *parameters]),
            measured=", ".join([*states, *columns, *sums, *parameters]),
        )
    )


FROM_STREAMS = """
@inlined
def draw_words(s0, s1, s2, s3, w0, w1, w2, w3):
    wide_vectors()
    for j in range({block}):
        a, q0, q1, q2, q3 = next_word(s0[j], s1[j], s2[j], s3[j])
        b, q0, q1, q2, q3 = next_word(q0, q1, q2, q3)
        c, q0, q1, q2, q3 = next_word(q0, q1, q2, q3)
        d, q0, q1, q2, q3 = next_word(q0, q1, q2, q3)
        w0[j] = a
        w1[j] = b
        w2[j] = c
        w3[j] = d
        s0[j] = q0
        s1[j] = q1
        s2[j] = q2
        s3[j] = q3


@inlined
def to_normals(w0, w1, w2, w3, z0, z1, z2, z3, z4, z5):
    wide_vectors()
    for j in range({block}):
        n0, n1, n2, n3, n4, n5 = normal_sextet(w0[j], w1[j], w2[j], w3[j])
        z0[j] = n0
        z1[j] = n1
        z2[j] = n2
        z3[j] = n3
        z4[j] = n4
        z5[j] = n5


"""

COLLECT = """
@inlined
def collect(partial, totals):
    for k in range(partial.shape[0]):
        total = 0.0
        for j in range({block}):
            total += np.float64(partial[k, j])
            partial[k, j] = {real}(0.0)
        totals[k] += total


"""

RUN = """
@kernel
def run(first, last, steps, measure, streams, states, parameters, blocks_a_set, sums):
    w = np.empty((4, {block}), np.uint32)
    z = np.empty(({rows}, {block}), np.float32)
    partial = np.zeros(({sums}, {block}), {real})
    for block in range(first, last):
        start = block * {block}
        s0 = streams[0, start:start + {block}]
        s1 = streams[1, start:start + {block}]
        s2 = streams[2, start:start + {block}]
        s3 = streams[3, start:start + {block}]
{loads}
        row = {rows}
        since = 0
        for _ in range(steps):
            if row == {rows}:
                for draw in range({rows} // {draws}):
                    draw_words(s0, s1, s2, s3, w[0], w[1], w[2], w[3])
                    first_row = {draws} * draw
                    to_normals(
                        w[0], w[1], w[2], w[3], z[first_row], z[first_row + 1], z[first_row + 2],
                        z[first_row + 3], z[first_row + 4], z[first_row + 5],
                    )
                row = 0
            if measure:
                measured_step({measured})
                since += 1
                if since == {flush}:
                    collect(partial, sums[block])
                    since = 0
            else:
                step({step})
            row += {width}
        if measure:
            collect(partial, sums[block])
"""
