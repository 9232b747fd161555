"""Every scalar function over its whole range against mpmath, compiled and in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield.sampling import double_math, normals, single_math

Array = NDArray[Any]
SINGLE = np.float32
DOUBLE = np.float64


def every_binade(low: int, high: int, kind: type, count: int = 12) -> Array:
    """Both signs of 2^e (1 + random) for every exponent e from low to high, and the powers of two themselves."""
    random = np.random.default_rng(low % 1000).random((high - low, count))
    random[:, 0] = 0.0
    sizes = np.ldexp(1.0 + random, np.arange(low, high)[:, None]).astype(kind).ravel()
    return np.concatenate([sizes, -sizes])


def evenly(low: float, high: float, kind: type, count: int = 3001) -> Array:
    return np.linspace(low, high, count).astype(kind)


def relative_errors(found: Array, points: Array, function: Callable[[Any], Any]) -> Array:
    """found/function - 1, taken in 30 digits."""
    with mpmath.workdps(30):
        exact = [function(mpmath.mpf(float(point))) for point in points]
        return np.array([float(mpmath.mpf(float(f)) / e - 1) for f, e in zip(found, exact, strict=True)])


# module, function, points and the relative error that its docstring states
RELATIVE: dict[str, tuple[Any, str, Callable[[Any], Any], Array, float]] = {
    "single exp": (
        single_math,
        "exp",
        mpmath.exp,
        np.concatenate([evenly(-83, 83, SINGLE), every_binade(-30, 6, SINGLE)]),
        2.2e-7,
    ),
    "single tanh": (
        single_math,
        "tanh",
        mpmath.tanh,
        np.concatenate([evenly(0.05, 9.5, SINGLE), every_binade(-126, 128, SINGLE)]),
        3.5e-7,
    ),
    "single erf": (
        single_math,
        "erf",
        mpmath.erf,
        np.concatenate([evenly(0.05, 4.5, SINGLE), every_binade(-126, 128, SINGLE)]),
        4e-7,
    ),
    "double exp": (
        double_math,
        "exp",
        mpmath.exp,
        np.concatenate([evenly(-700, 700, DOUBLE), every_binade(-60, 9, DOUBLE)]),
        3e-16,
    ),
    "double tanh": (
        double_math,
        "tanh",
        mpmath.tanh,
        np.concatenate([evenly(0.05, 21, DOUBLE), evenly(-1, -0.05, DOUBLE), every_binade(-1000, 1000, DOUBLE, 2)]),
        6e-16,
    ),
    "double erf": (double_math, "erf", mpmath.erf, every_binade(-60, 3, DOUBLE), 1e-15),
    "logarithm": (
        normals,
        "logarithm",
        mpmath.log,
        np.concatenate([evenly(0.3, 0.9999, SINGLE), evenly(1.0001, 3, SINGLE), abs(every_binade(-126, 128, SINGLE))]),
        2e-7,
    ),
}


def plain(module: Any, name: str, points: Array) -> Array:
    """A function called on NumPy scalars, one by one, as CUDA's simulator does."""
    function, kind = getattr(module, name), points.dtype.type
    values = [function(point) for point in points]
    assert all(type(value) is kind for value in values)
    return np.array(values)


@pytest.mark.parametrize("case", RELATIVE)
def test_relative_errors_over_the_whole_range(case: str, loops: Any) -> None:
    module, name, exact, points, bound = RELATIVE[case]
    points = points[points != 1] if name == "logarithm" else points
    (found,) = loops(module.__name__.rsplit(".")[-1], name, points.dtype.type)(points)
    assert found.dtype == points.dtype
    assert np.abs(relative_errors(found, points, exact)).max() < bound
    few = points[:: max(1, len(points) // 400)]
    assert np.abs(relative_errors(plain(module, name, few), few, exact)).max() < bound


@pytest.mark.parametrize(("module", "kind"), [(single_math, SINGLE), (double_math, DOUBLE)])
def test_bounded_functions_stay_within_bounds(module: Any, kind: type, loops: Any) -> None:
    sizes = np.concatenate([evenly(0, 30, kind, 100_001), np.array([100, 1e10, np.finfo(kind).max], kind)])
    for name in ("tanh", "erf"):
        (found,) = loops(module.__name__.rsplit(".")[-1], name, kind)(sizes)
        (mirrored,) = loops(module.__name__.rsplit(".")[-1], name, kind)(-sizes)
        assert found[0] == 0
        assert found[-1] == 1
        assert found.max() == 1
        np.testing.assert_allclose(mirrored, -found, rtol=0 if kind is SINGLE else 6e-16)
        ends = np.array([-np.finfo(kind).max, 0, np.finfo(kind).max], kind)
        np.testing.assert_allclose(plain(module, name, ends), [-1, 0, 1], rtol=1e-6)


def test_the_exponential_of_double_precision_is_clamped(loops: Any) -> None:
    points = np.array([-np.finfo(DOUBLE).max, -1e5, -700.1, -700.0, 700.0, 700.1, 1e5, np.finfo(DOUBLE).max])
    expected = np.exp(np.clip(points, -700, 700))
    np.testing.assert_allclose(loops("double_math", "exp", DOUBLE)(points)[0], expected, rtol=6e-16)
    np.testing.assert_allclose(plain(double_math, "exp", points), expected, rtol=6e-16)


def test_a_logarithm_is_never_positive_below_one(loops: Any) -> None:
    """The radius of a normal pair is the root of its negative: every float of [1/2, 1] is tried."""
    points = np.arange(0x3F000000, 0x3F800001, dtype=np.uint32).view(SINGLE)
    (found,) = loops("normals", "logarithm", SINGLE)(points)
    assert found.max() == 0 == found[-1]
    assert (found[:-1] < 0).all()


def test_sine_and_cosine_of_a_quarter_turn(loops: Any) -> None:
    points = np.concatenate([evenly(-0.25, 0.25, SINGLE, 4001), every_binade(-40, -2, SINGLE)])
    sine, cosine = loops("normals", "sine_cosine_turns", SINGLE, SINGLE)(points)
    few = points[::17]
    plain_sine, plain_cosine = np.array([normals.sine_cosine_turns(point) for point in few]).T
    for v, s, c in ((points, sine, cosine), (few, plain_sine, plain_cosine)):
        kept = v != 0
        assert np.abs(relative_errors(s[kept], v[kept], lambda x: mpmath.sin(2 * mpmath.pi * x))).max() < 2e-7
        assert np.abs(c - np.cos(2 * np.pi * v.astype(DOUBLE))).max() < 2e-7
    mirrored = loops("normals", "sine_cosine_turns", SINGLE, SINGLE)(-points)
    assert (mirrored[0] == -sine).all()
    assert (mirrored[1] == cosine).all()
