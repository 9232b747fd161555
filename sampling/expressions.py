"""Arithmetic that is recorded rather than done, so that a cell's formulas can be turned into kernels.

A cell is written once, as functions on arrays. Called with expressions in place of arrays, the same functions return
the formulas as a graph, from which kernels for the CPU and for CUDA are generated, gradients included.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf as scipy_erf

Range = tuple[float, float]


class UnknownOperation(TypeError):
    """A formula uses a function that kernels do not know."""


class Expression:
    """A node of a formula: an operation on other expressions, or a symbol. Equal formulas are the same object.

    Attributes:
        operation: ``"symbol"``, ``"constant"``, ``"add"``, ``"subtract"``, ``"multiply"``, ``"divide"``,
            ``"negative"``, ``"exp"``, ``"tanh"``, ``"erf"``, ``"sqrt"``, ``"maximum"``, ``"minimum"`` or
            ``"positive"`` (1 where the operand is above zero, else 0).
        operands: the expressions it acts on.
        label: name of a symbol, value of a constant.

    >>> x = symbol("x")
    >>> (2.0 * x + 0.0) * 1.0 is 2.0 * x
    True
    >>> float(evaluate([np.tanh(x) * x], {"x": np.array(0.5)})[0]) == 0.5 * math.tanh(0.5)
    True
    """

    __slots__ = ("__weakref__", "label", "operands", "operation")

    def __init__(self, operation: str, operands: tuple[Expression, ...], label: str | float) -> None:
        self.operation, self.operands, self.label = operation, operands, label

    def __add__(self, other: Any) -> Expression:
        return _add(self, _expression(other))

    def __radd__(self, other: Any) -> Expression:
        return _add(_expression(other), self)

    def __sub__(self, other: Any) -> Expression:
        return _subtract(self, _expression(other))

    def __rsub__(self, other: Any) -> Expression:
        return _subtract(_expression(other), self)

    def __mul__(self, other: Any) -> Expression:
        return _multiply(self, _expression(other))

    def __rmul__(self, other: Any) -> Expression:
        return _multiply(_expression(other), self)

    def __truediv__(self, other: Any) -> Expression:
        return _node("divide", self, _expression(other))

    def __rtruediv__(self, other: Any) -> Expression:
        return _node("divide", _expression(other), self)

    def __neg__(self) -> Expression:
        return _node("negative", self)

    def __pow__(self, exponent: Any) -> Expression:
        if exponent != 2:
            raise UnknownOperation(f"kernels know the square of an expression, not its power {exponent!r}")
        return self * self

    def __eq__(self, other: object) -> bool:
        # Expressions are equal if they are the same; a formula that asks for more would be recorded wrongly.
        if isinstance(other, Expression):
            return self is other
        raise UnknownOperation("kernels have no branches: a formula must not compare values")

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise UnknownOperation("kernels have no branches: a formula must not depend on whether a value is true")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Expression:
        if method != "__call__" or options or ufunc not in _UFUNCS:
            raise UnknownOperation(f"kernels do not know {ufunc.__name__}; they know {', '.join(known_functions())}")
        return _UFUNCS[ufunc](*(_expression(value) for value in inputs))

    def __repr__(self) -> str:
        if not self.operands:
            return str(self.label)
        return f"{self.operation}({', '.join(map(repr, self.operands))})"


_interned: weakref.WeakValueDictionary[tuple[Any, ...], Expression] = weakref.WeakValueDictionary()


def symbol(name: str) -> Expression:
    """A variable."""
    return _intern("symbol", (), name)


def constant(value: float) -> Expression:
    """A number."""
    return _intern("constant", (), float(value))


def sigmoid(u: Expression) -> tuple[Expression, Expression, Expression]:
    """σ(u), 1 - σ(u) and σ'(u), none of them by a subtraction; they share one exponential and one division."""
    decay = _node("exp", -u)
    value = 1.0 / (1.0 + decay)
    complement = decay * value
    return value, complement, complement * value


def tanh(u: Expression) -> tuple[Expression, Expression]:
    """The hyperbolic tangent and its slope, which is accurate in the tails."""
    growth = _node("exp", 2.0 * u)
    share = 1.0 / (1.0 + growth)
    return _node("tanh", u), (growth * share) * (4.0 * share)


def erf(u: Expression) -> tuple[Expression, Expression]:
    """The error function and its slope."""
    return _node("erf", u), (2.0 / math.sqrt(math.pi)) * _node("exp", -(u * u))


def relu(u: Expression) -> tuple[Expression, Expression]:
    """The rectifier and its slope."""
    return _node("maximum", u, constant(0.0)), _node("positive", u)


def substitute(roots: Iterable[Expression], replacements: Mapping[Expression, Expression]) -> list[Expression]:
    """Formulas in which some nodes are replaced by others.

    >>> x, y = symbol("x"), symbol("y")
    >>> substitute([x * x], {x: y})[0] is y * y
    True
    """
    done = dict(replacements)
    roots = list(roots)
    for node in ordered(roots, stop=done):
        if node not in done:
            done[node] = _rebuilt(node, [done[operand] for operand in node.operands])
    return [done[root] for root in roots]


def ordered(roots: Iterable[Expression], stop: Mapping[Expression, Any] | None = None) -> list[Expression]:
    """All nodes that formulas need, operands first; nodes in ``stop`` are not looked into."""
    seen: dict[Expression, None] = {}
    pending: list[tuple[Expression, bool]] = [(root, False) for root in reversed(list(roots))]
    while pending:
        node, expanded = pending.pop()
        if expanded:
            seen.setdefault(node)
        elif node not in seen:
            pending.append((node, True))
            if stop is None or node not in stop:
                pending.extend((operand, False) for operand in reversed(node.operands))
    return list(seen)


def symbols_of(roots: Iterable[Expression]) -> set[str]:
    """Names of the symbols that formulas depend on."""
    return {str(node.label) for node in ordered(roots) if node.operation == "symbol"}


def evaluate(roots: Iterable[Expression], values: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Formulas at given values, in NumPy: the reference that kernels are held to.

    Args:
        roots: the formulas.
        values: an array for every symbol.

    Returns:
        One array a formula.
    """
    roots = list(roots)
    done: dict[Expression, Any] = {}
    for node in ordered(roots):
        if node.operation == "symbol":
            done[node] = values[str(node.label)]
        elif node.operation == "constant":
            done[node] = node.label
        else:
            done[node] = _FUNCTIONS[node.operation](*(done[operand] for operand in node.operands))
    return [np.asarray(done[root]) for root in roots]


def bounds(roots: Iterable[Expression], ranges: Mapping[str, tuple[float, float]]) -> dict[Expression, Range]:
    """Ranges of all nodes of formulas by interval arithmetic, from those of their symbols.

    Args:
        roots: the formulas.
        ranges: lowest and highest value of symbols; the others are unbounded.

    >>> x = symbol("x")
    >>> bounds([2.0 * x + 1.0], {"x": (-1.0, 3.0)})[2.0 * x + 1.0]
    (-1.0, 7.0)
    """
    found: dict[Expression, Range] = {}
    for node in ordered(roots):
        if node.operation == "symbol":
            found[node] = ranges.get(str(node.label), (-math.inf, math.inf))
        elif node.operation == "constant":
            found[node] = (float(node.label), float(node.label))
        else:
            corners = itertools.product(*(found[operand] for operand in node.operands))
            found[node] = _range(node.operation, [found[operand] for operand in node.operands], list(corners))
    return found


def known_functions() -> list[str]:
    """Names of the functions that kernels know."""
    return sorted(ufunc.__name__ for ufunc in _UFUNCS)


def _expression(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    if isinstance(value, float | int | np.floating | np.integer) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return constant(float(value))
    raise UnknownOperation(f"kernels take numbers and expressions, not {type(value).__name__}")


def _intern(operation: str, operands: tuple[Expression, ...], label: str | float = "") -> Expression:
    key = (operation, tuple(map(id, operands)), label)
    node = _interned.get(key)
    if node is None:
        node = Expression(operation, operands, label)
        _interned[key] = node
    return node


def _node(operation: str, *operands: Expression) -> Expression:
    if all(operand.operation == "constant" for operand in operands):
        return constant(float(_FUNCTIONS[operation](*(np.float64(operand.label) for operand in operands))))
    return _intern(operation, operands)


def _is(node: Expression, value: float) -> bool:
    return node.operation == "constant" and node.label == value


def _add(left: Expression, right: Expression) -> Expression:
    if _is(left, 0.0):
        return right
    if _is(right, 0.0):
        return left
    return _node("add", left, right)


def _subtract(left: Expression, right: Expression) -> Expression:
    return left if _is(right, 0.0) else _node("subtract", left, right)


def _multiply(left: Expression, right: Expression) -> Expression:
    if _is(left, 0.0) or _is(right, 0.0):
        return constant(0.0)
    if _is(left, 1.0):
        return right
    if _is(right, 1.0):
        return left
    return _node("multiply", left, right)


def _rebuilt(node: Expression, operands: list[Expression]) -> Expression:
    if node.operation in ("symbol", "constant"):
        return node
    special = {"add": _add, "subtract": _subtract, "multiply": _multiply}.get(node.operation)
    return special(*operands) if special else _node(node.operation, *operands)


def _range(operation: str, operands: list[Range], corners: list[tuple[float, ...]]) -> Range:
    """Range of an operation that is monotone in each operand, from its values at the corners."""
    if operation == "divide" and operands[1][0] <= 0.0 <= operands[1][1]:
        return -math.inf, math.inf
    if operation == "multiply":
        # Zero times an unbounded factor is zero.
        values = [0.0 if 0.0 in corner else corner[0] * corner[1] for corner in corners]
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            values = [float(_FUNCTIONS[operation](*map(np.float64, corner))) for corner in corners]
    if any(math.isnan(value) for value in values):
        return -math.inf, math.inf
    return min(values), max(values)


def _clamped_exp(u: Any) -> Any:
    # As the kernels do in double precision: no overflow, and no zero that a product could not come back from.
    return np.exp(np.clip(u, -700.0, 700.0))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negative": np.negative,
    "exp": _clamped_exp,
    "tanh": np.tanh,
    "erf": scipy_erf,
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "positive": lambda u: (np.asarray(u) > 0).astype(np.float64),
}

_UFUNCS: dict[np.ufunc, Callable[..., Expression]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: lambda left, right: _node("divide", left, right),
    np.negative: lambda u: _node("negative", u),
    np.exp: lambda u: _node("exp", u),
    np.tanh: lambda u: _node("tanh", u),
    np.sqrt: lambda u: _node("sqrt", u),
    np.square: lambda u: _multiply(u, u),
    np.maximum: lambda left, right: _node("maximum", left, right),
    np.minimum: lambda left, right: _node("minimum", left, right),
    scipy_erf: lambda u: _node("erf", u),
}
