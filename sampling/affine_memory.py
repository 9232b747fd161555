"""Programs whose memory goes through a random affine map, c ← f c + g, found on the formulas themselves.

f and g read deviates and parameters only. Both are products of gates, so their joint moments are products of integrals
over a few deviates each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meanfield.sampling.expressions import Expression, constant, ordered, substitute, symbol, symbols_of
from meanfield.sampling.programs import ChainProgram


class NotAffine(ValueError):
    """A program whose memory is not carried on by an affine map of random coefficients."""


@dataclass(frozen=True)
class CoefficientFactor:
    """The parts of f and g that read the same deviates.

    Attributes:
        deviates: names of what they read; no other factor reads it.
        keep: the part of f.
        gain: the part of g.
    """

    deviates: tuple[str, ...]
    keep: Expression
    gain: Expression


@dataclass(frozen=True)
class AffineMemory:
    """c ← f c + g.

    Attributes:
        factors: f and g are the products of their parts; different factors are independent.
        keep: f.
        lost: 1 - f, without cancellation where f is made of sigmoids.
        keep_deviates: names of what f reads.
    """

    factors: tuple[CoefficientFactor, ...]
    keep: Expression
    lost: Expression
    keep_deviates: tuple[str, ...]


def affine_memory(program: ChainProgram) -> AffineMemory:
    """The coefficients of a program's only state variable.

    Raises:
        NotAffine: if the program has no state variable or several, or its update is not affine in it.

    >>> from meanfield.cells import find
    >>> from meanfield.sampling.programs import stationary_program
    >>> [factor.deviates for factor in affine_memory(stationary_program(find("janet"))).factors]
    [('normal drive f + field f',), ('normal drive g + field g',)]
    """
    if len(program.states) != 1:
        names = ", ".join(program.states) or "none"
        raise NotAffine(f"an affine memory is one state variable; the program carries {names}")
    keep, gain = affine_parts(program.updates[0], symbol(program.states[0]))
    keep, gain, lost = _merged_deviates([keep, gain, complement(keep)])
    parts = [(part, 0) for part in _factors(keep)] + [(part, 1) for part in _factors(gain)]
    factors = []
    for deviates, members in _by_deviates([(part, _deviates(part), which) for part, which in parts]):
        product = [constant(1.0), constant(1.0)]
        for part, which in members:
            product[which] = product[which] * part
        factors.append(CoefficientFactor(deviates, *product))
    return AffineMemory(tuple(factors), keep, lost, _deviates(keep))


def affine_parts(formula: Expression, variable: Expression) -> tuple[Expression, Expression]:
    """Slope and offset of a formula that is affine in a variable, neither of which reads it.

    Raises:
        NotAffine: if it is not seen to be affine.

    >>> x, y = symbol("x"), symbol("y")
    >>> affine_parts(y * (x + 2.0), x)
    (y, multiply(y, 2.0))
    """
    zero = constant(0.0)
    parts: dict[Expression, tuple[Expression, Expression]] = {}
    for node in ordered([formula]):
        reads = [operand in parts and parts[operand][0] is not zero for operand in node.operands]
        slopes, offsets = zip(*(parts[operand] for operand in node.operands), strict=True) if reads else ((), ())
        if node is variable:
            parts[node] = constant(1.0), zero
        elif not any(reads):
            parts[node] = zero, node
        elif node.operation == "add":
            parts[node] = slopes[0] + slopes[1], offsets[0] + offsets[1]
        elif node.operation == "subtract":
            parts[node] = slopes[0] - slopes[1], offsets[0] - offsets[1]
        elif node.operation == "negative":
            parts[node] = -slopes[0], -offsets[0]
        elif node.operation == "multiply" and not all(reads):
            # The factor that does not read the variable is its own offset.
            moving = 0 if reads[0] else 1
            fixed = offsets[1 - moving]
            parts[node] = slopes[moving] * fixed, fixed * offsets[moving]
        elif node.operation == "divide" and not reads[1]:
            parts[node] = slopes[0] / offsets[1], offsets[0] / offsets[1]
        else:
            raise NotAffine(f"{variable} is not carried on by an affine map: it goes through {node.operation!r}")
    return parts[formula]


def complement(formula: Expression) -> Expression:
    """1 - a formula, without a subtraction for sigmoids, their complements and products of them."""
    one = constant(1.0)
    if formula.operation == "multiply":
        left, right = formula.operands
        for growth, share in ((left, right), (right, left)):
            if share is one / (one + growth):
                return share
        return complement(left) + left * complement(right)
    if formula.operation == "divide" and formula.operands[0] is one:
        denominator = formula.operands[1]
        if denominator.operation == "add" and denominator.operands[0] is one:
            return denominator.operands[1] * formula
    return one - formula


def _merged_deviates(roots: Sequence[Expression]) -> list[Expression]:
    """Replace p a + q b, where the deviates a and b are read nowhere else, by √(p² + q²) times one deviate.

    Given what p and q read, both have the same normal law; so integrals have one dimension less.
    """
    current = list(roots)
    for node in [node for node in ordered(current) if node.operation == "add"]:
        for first, second in itertools.combinations(_deviates(node), 2):
            try:
                p, rest = affine_parts(node, symbol(first))
                q, rest = affine_parts(rest, symbol(second))
            except NotAffine:
                continue
            merged = rest + np.sqrt(p * p + q * q) * symbol(f"{first} with {second}")
            replaced = substitute(current, {node: merged})
            if symbols_of([p, *replaced]).isdisjoint((first, second)):
                return _merged_deviates(replaced)
    return current


def _factors(formula: Expression) -> list[Expression]:
    if formula.operation == "multiply":
        return [factor for operand in formula.operands for factor in _factors(operand)]
    return [formula]


def _deviates(formula: Expression) -> tuple[str, ...]:
    return tuple(sorted(name for name in symbols_of([formula]) if "normal " in name))


def _by_deviates(
    parts: Sequence[tuple[Expression, tuple[str, ...], int]],
) -> list[tuple[tuple[str, ...], list[tuple[Expression, int]]]]:
    """Parts in groups that share no deviate with each other."""
    groups: list[tuple[set[str], list[tuple[Expression, int]]]] = []
    for part, deviates, which in parts:
        met = [group for group in groups if not group[0].isdisjoint(deviates)]
        groups = [group for group in groups if group[0].isdisjoint(deviates)]
        names = set(deviates).union(*(group[0] for group in met))
        groups.append((names, [member for group in met for member in group[1]] + [(part, which)]))
    return [(tuple(sorted(names)), members) for names, members in groups]
