"""Source of the kernel that runs a gradient program, generated from its formulas.

The variances of the fields are averages over all chains of a set, so the chains of a set go through a step together:
first the averages, then the update. A set is small enough to stay in the second-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from meanfield.sampling.chain_source import (
    BLOCK,
    COLLECT,
    DRAWS,
    FROM_STREAMS,
    Precision,
    arithmetic,
    deviates_in,
    loop_over_block,
    names_in_loop,
    real_name,
    rows_of_normals,
    statements,
)
from meanfield.sampling.expressions import Expression
from meanfield.sampling.gradient_program import GradientProgram
from meanfield.solvers.kernel_modules import assemble, load


def gradient_kernels(program: GradientProgram, precision: Precision) -> ModuleType:
    """The kernel of a program for the CPU, from this process, from disk, or new.

    The module's ``run(first, last, steps, streams, states, parameters, gains, blocks_a_set, scales, profile, signs)``
    carries the sets ``first`` to ``last`` through ``steps`` steps, with the interpreter's lock released:
        streams: (4, chains) uint32; states: (states, chains) real; both updated in place.
        parameters: (parameters,) real, without those that the kernel finds.
        gains: (fields,) float64, the gain of every field.
        scales: (sets, 2) float64: the factor for the next step's V and the logarithm that has been taken out of it.
        profile, signs: (sets, steps) float64, receive the logarithm of the size of E δ² of the output after every step,
            and its sign (that of E[δ_a δ_b] may be negative).
    """
    return load("gradients", assemble([*arithmetic(precision), _source(program, precision)], "cpu"))


def _source(program: GradientProgram, precision: Precision) -> str:
    real = real_name(precision)
    rows = rows_of_normals(program.normals)
    states = [f"x{k}" for k in range(len(program.states))]
    deviates = [f"z{k}" for k in range(len(program.normals))]
    parameters = [f"p{k}" for k in range(len(program.parameters))]
    sums = [f"a{k}" for k in range(len(program.averages))]
    fields = len(program.field_carriers)
    own = len(program.parameters) - fields - 1  # those that are given; then the scale and the field variances
    names = names_in_loop(program, deviates_in(precision))
    found = {*program.states, *program.parameters[own:]}
    bounded = frozenset(name for name in names if name not in found)

    def loop(name: str, roots: Sequence[Expression], targets: Sequence[str], arrays: Sequence[str]) -> str:
        lines, values = statements(roots, names, precision, bounded)
        lines += [f"{target} {value}" for target, value in zip(targets, values, strict=True)]
        return loop_over_block(name, [*states, *deviates, *arrays, *parameters], lines)

    averaging = loop("averaging", program.averages, [f"{a}[j] +=" for a in sums], sums)
    moving = loop(
        "moving",
        [*program.updates, program.output_variance],
        [*(f"{x}[j] =" for x in states), "a0[j] +="],
        ["a0"],
    )
    variances = []
    for carrier, (direct, through) in enumerate(program.carriers):
        terms = "".join(f" + totals[{index}] * y{k}" for k, index in through.items())
        variances.append(f"q{carrier} = totals[{direct}]{terms}")
        variances += [
            f"y{k} = gains[{k}] ** 2 * q{carrier}" for k, c in enumerate(program.field_carriers) if c == carrier
        ]
    columns = [f"z[row + {k}, at:at + {BLOCK}]" for k in range(len(deviates))]
    arrays = [f"states[{k}, start:start + {BLOCK}]" for k in range(len(states))]
    given = [f"parameters[{k}]" for k in range(own)]
    kinds = [f"{real}(scale)", *(f"{real}(y{k})" for k in range(fields))]
    nothing = [f"{real}(0.0)"] * (fields + 1)
    return (
        FROM_STREAMS.format(block=BLOCK)
        + COLLECT.format(block=BLOCK, real=real)
        + averaging
        + moving
        + _RUN.format(
            block=BLOCK,
            rows=rows,
            draws=DRAWS,
            width=len(deviates),
            real=real,
            sums=max(len(sums), 1),
            averaging=", ".join([*arrays, *columns, *(f"partial[{k}]" for k in range(len(sums))), *given, *nothing]),
            moving=", ".join([*arrays, *columns, "partial[0]", *given, *kinds]),
            variances="\n".join(f"            {line}" for line in variances),
        )
    )


_RUN = """
@kernel
def run(first, last, steps, streams, states, parameters, gains, blocks_a_set, scales, profile, signs):
    chains = blocks_a_set * {block}
    w = np.empty((4, {block}), np.uint32)
    z = np.empty(({rows}, chains), np.float32)
    partial = np.zeros(({sums}, {block}), {real})
    totals = np.zeros({sums})
    for group in range(first, last):
        row = {rows}
        for step in range(steps):
            if row == {rows}:
                for block in range(blocks_a_set):
                    at = block * {block}
                    start = group * chains + at
                    s0 = streams[0, start:start + {block}]
                    s1 = streams[1, start:start + {block}]
                    s2 = streams[2, start:start + {block}]
                    s3 = streams[3, start:start + {block}]
                    for draw in range({rows} // {draws}):
                        draw_words(s0, s1, s2, s3, w[0], w[1], w[2], w[3])
                        k = {draws} * draw
                        to_normals(
                            w[0], w[1], w[2], w[3],
                            z[k, at:at + {block}], z[k + 1, at:at + {block}], z[k + 2, at:at + {block}],
                            z[k + 3, at:at + {block}], z[k + 4, at:at + {block}], z[k + 5, at:at + {block}],
                        )
                row = 0
            totals[:] = 0.0
            for block in range(blocks_a_set):
                at = block * {block}
                start = group * chains + at
                averaging({averaging})
                collect(partial, totals)
            totals /= chains
            scale = scales[group, 0]
{variances}
            totals[0] = 0.0
            for block in range(blocks_a_set):
                at = block * {block}
                start = group * chains + at
                moving({moving})
                collect(partial[:1], totals[:1])
            scales[group, 1] -= math.log(scale)
            mean = totals[0] / chains
            size = abs(mean)
            profile[group, step] = math.log(size) + scales[group, 1] if size > 0.0 else -np.inf
            signs[group, step] = -1.0 if mean < 0.0 else 1.0
            scales[group, 0] = 1.0 / size if size > 0.0 else 1.0
            row += {width}
"""
