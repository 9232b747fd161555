"""What can go wrong, each a sentence that says what to do."""

from __future__ import annotations


class MeanfieldError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidInput(MeanfieldError, ValueError):
    """A request or file that makes no sense; the message names the field, the value and what is allowed."""


class NotConverged(MeanfieldError, ArithmeticError):
    """A computation that did not reach its stopping criterion, or left the range of finite numbers."""


class Infeasible(MeanfieldError):
    """A request that no parameters can satisfy; the message names the constraint that fails."""
