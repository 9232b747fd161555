"""Formulas as sums of products of formulas in one variable each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meanfield.sampling.expressions import Expression, constant, evaluate, symbols_of


class NotSeparable(ValueError):
    """A formula that is no such sum."""


@dataclass(frozen=True)
class Product:
    """A product of formulas in one variable each.

    Attributes:
        factor: a number.
        parts: the formula in every variable that is read.
    """

    factor: float
    parts: Mapping[str, Expression]


def separated(formula: Expression) -> list[Product]:
    """A formula as a sum of products.

    Raises:
        NotSeparable: if an operation other than the four of arithmetic mixes variables, or a divisor is a sum.

    >>> from meanfield.sampling.expressions import symbol
    >>> x, y = symbol("x"), symbol("y")
    >>> [dict(each.parts) for each in separated((x + 1.0) * y * y - x)]
    [{'x': add(x, 1.0), 'y': multiply(y, y)}, {'x': x}]
    """
    reads = sorted(symbols_of([formula]))
    if not reads:
        return [Product(float(evaluate([formula], {})[0]), {})]
    if len(reads) == 1:
        return [Product(1.0, {reads[0]: formula})]
    operation = formula.operation
    if operation not in ("add", "subtract", "negative", "multiply", "divide"):
        raise NotSeparable(f"{operation!r} mixes {', '.join(reads)}")
    sides = [separated(operand) for operand in formula.operands]
    if operation == "multiply":
        return [_multiplied(one, other) for one in sides[0] for other in sides[1]]
    if operation == "divide":
        if len(sides[1]) > 1:
            raise NotSeparable(f"'divide' by a sum that reads {', '.join(sorted(symbols_of([formula.operands[1]])))}")
        (divisor,) = sides[1]
        inverse = Product(1.0 / divisor.factor, {name: constant(1.0) / part for name, part in divisor.parts.items()})
        return [_multiplied(each, inverse) for each in sides[0]]
    last = [Product(each.factor if operation == "add" else -each.factor, each.parts) for each in sides[-1]]
    return [*sides[0], *last] if len(sides) == 2 else last


def _multiplied(one: Product, other: Product) -> Product:
    parts = dict(one.parts)
    for name, part in other.parts.items():
        parts[name] = parts[name] * part if name in parts else part
    return Product(one.factor * other.factor, parts)
