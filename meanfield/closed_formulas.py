"""Derivatives of recorded formulas, and where formulas change, for the integrals of closed maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meanfield.sampling.affine_memory import NotAffine, affine_parts
from meanfield.sampling.expressions import Expression, constant, erf, evaluate, ordered, relu, tanh
from meanfield.solvers.normal_rules import Transition


def derivative(formula: Expression, variable: Expression) -> Expression:
    """Derivative of a formula in a variable, accurate where gates saturate.

    >>> from meanfield.sampling.expressions import symbol
    >>> x = symbol("x")
    >>> derivative(x * x + 2.0, x)
    add(x, x)
    """
    one, zero = constant(1.0), constant(0.0)
    found: dict[Expression, Expression] = {}
    for node in ordered([formula]):
        slopes = [found[operand] for operand in node.operands]
        operation, operands = node.operation, node.operands
        share = _share(node)
        if node is variable:
            found[node] = one
        elif all(slope is zero for slope in slopes):
            found[node] = zero
        elif share is not None:
            # g/(1 + g), whose derivative is not to be made of differences.
            growth = operands[0] if share is operands[1] else operands[1]
            found[node] = found[growth] * (share * share)
        elif operation == "add":
            found[node] = slopes[0] + slopes[1]
        elif operation == "subtract":
            found[node] = slopes[0] - slopes[1]
        elif operation == "negative":
            found[node] = -slopes[0]
        elif operation == "multiply":
            found[node] = slopes[0] * operands[1] + operands[0] * slopes[1]
        elif operation == "divide":
            found[node] = slopes[0] / operands[1] if slopes[1] is zero else (slopes[0] - node * slopes[1]) / operands[1]
        elif operation == "exp":
            found[node] = node * slopes[0]
        elif operation == "tanh":
            found[node] = tanh(operands[0])[1] * slopes[0]
        elif operation == "erf":
            found[node] = erf(operands[0])[1] * slopes[0]
        elif operation == "sqrt":
            found[node] = slopes[0] / (2.0 * node)
        elif operation == "maximum":
            found[node] = slopes[1] + relu(operands[0] - operands[1])[1] * (slopes[0] - slopes[1])
        elif operation == "minimum":
            found[node] = slopes[0] - relu(operands[0] - operands[1])[1] * (slopes[0] - slopes[1])
        else:
            # A step has no slope that could be integrated; cells jump nowhere that a gradient could see.
            found[node] = zero
    return found[formula]


def _share(node: Expression) -> Expression | None:
    """The factor 1/(1 + g) of a product g × 1/(1 + g)."""
    if node.operation == "multiply":
        one = constant(1.0)
        left, right = node.operands
        for growth, share in ((left, right), (right, left)):
            if share is one / (one + growth):
                return share
    return None


def transitions(functions: Sequence[Expression], variable: Expression) -> list[Transition]:
    """Where functions of a variable change: where an argument that is affine in it passes zero.

    >>> from meanfield.sampling.expressions import symbol
    >>> x = symbol("x")
    >>> transitions([np.maximum(2.0 * x - 1.0, 0.0)], x)
    [Transition(centre=0.5, width=0.5, kink=True)]
    """
    found: dict[tuple[float, bool], float] = {}
    for node in ordered(functions):
        if node.operation not in _WIDTHS:
            continue
        argument = node.operands[0] - node.operands[1] if len(node.operands) == 2 else node.operands[0]
        try:
            slope, offset = affine_parts(argument, variable)
        except NotAffine:
            slope, offset = constant(1.0), constant(0.0)
        steepness, start = (float(each) for each in evaluate([slope, offset], {}))
        if steepness != 0.0:
            place = (-start / steepness + 0.0, node.operation in ("maximum", "minimum", "positive"))
            found[place] = min(found.get(place, np.inf), _WIDTHS[node.operation] / abs(steepness))
    return [Transition(centre, width, kink) for (centre, kink), width in found.items()]


_WIDTHS = {"exp": np.pi, "tanh": 0.5 * np.pi, "erf": 1.0, "sqrt": 1.0, "maximum": 1.0, "minimum": 1.0, "positive": 1.0}
"""Distance of the nearest pole of every function from zero, or about where it changes."""
