"""Recorded formulas in numbers of mpmath, with their derivatives in one variable.

The program is written out as Python source, one line an operation, and knows nothing of NumPy: it is a second reading
of a cell's formulas, for checks with as many digits as wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mpmath import mp

from meanfield.sampling.expressions import Expression, UnknownOperation, ordered, symbols_of
from meanfield.solvers.normal_rules import Transition
from meanfield.solvers.precise_numbers import HighPrecision

_LINES = {
    "add": ("{0} + {1}", "{0s} + {1s}"),
    "subtract": ("{0} - {1}", "{0s} - {1s}"),
    "multiply": ("{0} * {1}", "{0s} * {1} + {0} * {1s}"),
    "divide": ("{0} / {1}", "({0s} - {v} * {1s}) / {1}"),
    "negative": ("-{0}", "-{0s}"),
    "exp": ("exp({0})", "{v} * {0s}"),
    "tanh": ("tanh({0})", "tanh_slope({0}) * {0s}"),
    "erf": ("erf({0})", "erf_slope({0}) * {0s}"),
    "sqrt": ("sqrt({0})", "{0s} / (2 * {v})"),
    "maximum": ("({0} if {0} > {1} else {1})", "({0s} if {0} > {1} else {1s})"),
    "minimum": ("({0} if {0} < {1} else {1})", "({0s} if {0} < {1} else {1s})"),
    "positive": ("(one if {0} > 0 else zero)", "zero"),
}
"""Value and slope of every operation: its operands 0 and 1, their slopes 0s and 1s, and its own value v."""

_POLES = {"exp": 3.14159, "tanh": 1.5708}
"""Distance from zero of what ends the strip in which functions of these are analytic; 1 for the others."""

_KINKED = ("maximum", "minimum", "positive")


def precise_function(
    formulas: Sequence[Expression], variable: str, *, slopes: bool = False
) -> Callable[[HighPrecision], list[HighPrecision]]:
    """Formulas in one variable as a function on numbers of mpmath, in the precision that it is called with.

    Args:
        formulas: which read no other variable.
        variable: its name.
        slopes: whether their derivatives are to follow the values.

    Returns:
        Values of all formulas at a number, and then their derivatives; at a kink that of the second operand.

    Raises:
        UnknownOperation: for operations that have no line here, by name, and for other variables.

    >>> from meanfield.sampling.expressions import symbol
    >>> u = symbol("u")
    >>> [int(each) for each in precise_function([u * u + 2.0], "u", slopes=True)(mp.mpf(3))]
    [11, 6]
    """
    others = symbols_of(formulas) - {variable}
    if others:
        raise UnknownOperation(f"formulas of {variable!r} read {', '.join(sorted(others))} too")
    names: dict[Expression, str] = {}
    lines = ["def function(u):"]
    for node in ordered(formulas):
        name = names[node] = f"t{len(names)}"
        if node.operation == "symbol":
            value, slope = "u", "one"
        elif node.operation == "constant":
            value, slope = f"mpf({float(node.label)!r})", "zero"
        elif node.operation in _LINES:
            operands = [names[operand] for operand in node.operands]
            fillings = {f"{{{index}}}": operand for index, operand in enumerate(operands)}
            fillings |= {f"{{{index}s}}": f"{operand}s" for index, operand in enumerate(operands)} | {"{v}": name}
            value, slope = (_filled(line, fillings) for line in _LINES[node.operation])
        else:
            raise UnknownOperation(f"numbers of mpmath do not know the operation {node.operation!r}")
        lines.append(f"    {name} = {value}")
        if slopes:
            lines.append(f"    {name}s = {slope}")
    results = [names[each] for each in formulas]
    results += [f"{name}s" for name in results] if slopes else []
    lines.append(f"    return [{', '.join(results)}]")
    space = dict(_FUNCTIONS)
    exec("\n".join(lines), space)
    function: Callable[[HighPrecision], list[HighPrecision]] = space["function"]
    return function


def _filled(line: str, fillings: Mapping[str, str]) -> str:
    for place, name in fillings.items():
        line = line.replace(place, name)
    return line


def changes(formulas: Sequence[Expression], variable: str) -> list[Transition]:
    """Where formulas of a variable change: where arguments of their functions that are affine in it pass zero.

    >>> from meanfield.sampling.expressions import relu, symbol
    >>> changes([relu(2.0 * symbol("u") - 1.0)[0]], "u")
    [Transition(centre=mpf('0.5'), width=0.5, kink=True)]
    """
    found: dict[tuple[HighPrecision, bool], float] = {}
    for node in ordered(formulas):
        if node.operation not in ("exp", "tanh", "erf", "sqrt", *_KINKED):
            continue
        argument = node.operands[0] - node.operands[1] if len(node.operands) == 2 else node.operands[0]
        at = precise_function([argument], variable)
        start, end, beyond = (at(mp.mpf(place))[0] for place in (0, 1, 2))
        steepness = end - start
        if steepness == 0:
            continue
        if abs(beyond - end - steepness) > 1e-20 * (abs(start) + abs(beyond)):
            continue  # not affine: the mesh has to find out
        place = (-start / steepness, node.operation in _KINKED)
        found[place] = min(found.get(place, float("inf")), _POLES.get(node.operation, 1.0) / float(abs(steepness)))
    return [Transition(centre, width, kink) for (centre, kink), width in found.items()]


def _tanh(u: HighPrecision) -> HighPrecision:
    if -1 < u < 1:
        return mp.tanh(u)
    decay = mp.exp(-2 * abs(u))
    value = (1 - decay) / (1 + decay)
    return value if u > 0 else -value


def _tanh_slope(u: HighPrecision) -> HighPrecision:
    decay = mp.exp(-2 * abs(u))
    return 4 * decay / (1 + decay) ** 2


_FUNCTIONS = {
    "mpf": mp.mpf,
    "zero": mp.zero,
    "one": mp.one,
    "exp": mp.exp,
    "sqrt": mp.sqrt,
    "erf": mp.erf,
    "tanh": _tanh,
    "tanh_slope": _tanh_slope,
    "erf_slope": lambda u: 2 / mp.sqrt(mp.pi) * mp.exp(-u * u),
}
