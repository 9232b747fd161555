"""Anderson's acceleration against closed forms, and what it does where there is nothing to converge to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import lambertw

from meanfield.solvers.fixed_points import advanced, fixed_point, started

Float64 = NDArray[np.float64]


def linear(contraction: float, unknowns: int, seed: int) -> tuple[Float64, Float64, Float64]:
    """A and b of x = A x + b with a spectral radius below the contraction, and the solution."""
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.standard_normal((unknowns, unknowns)))
    matrix = vectors @ np.diag(contraction * np.linspace(-1.0, 1.0, unknowns)) @ vectors.T
    solution = 2.0 + generator.random(unknowns)
    return matrix, solution - matrix @ solution, solution


class TestClosedForms:
    def test_the_omega_constant(self) -> None:
        """x = exp(-x) is Lambert's W(1)."""
        found = fixed_point(lambda x: np.exp(-x), np.array([0.5]))
        assert found.converged
        assert abs(found.value[0] - lambertw(1.0).real) < 1e-12
        assert found.residual <= 1e-12

    def test_square_roots_of_many_sizes_at_once(self) -> None:
        # Heron's iteration, to the same relative accuracy whatever the size.
        numbers = np.array([1e-8, 2.0, 3e10])
        found = fixed_point(lambda x: 0.5 * (x + numbers / x), 3.0 * np.sqrt(numbers))
        np.testing.assert_allclose(found.value, np.sqrt(numbers), rtol=1e-12)

    @pytest.mark.parametrize("damping", [1.0, 0.4])
    @pytest.mark.parametrize("depth", [0, 2, 5])
    def test_linear_systems(self, depth: int, damping: float) -> None:
        matrix, offset, solution = linear(0.7, 6, seed=1)
        found = fixed_point(lambda x: matrix @ x + offset, np.zeros(6), depth=depth, damping=damping, limit=500)
        assert found.converged
        # A residual of 1e-12 of x means an error of up to 1/(1 - 0.7) as much.
        assert np.max(np.abs(found.value - solution)) < 1e-12 * np.max(solution) / 0.3

    def test_a_linear_system_takes_one_evaluation_for_each_direction(self) -> None:
        # With the whole history extrapolation solves it, as GMRES does (Walker and Ni 2011, theorem 2.2).
        matrix, offset, solution = linear(0.99, 5, seed=3)
        found = fixed_point(lambda x: matrix @ x + offset, np.zeros(5), depth=5, tolerance=1e-9)
        assert found.converged
        assert found.steps <= 5 + 4
        np.testing.assert_allclose(found.value, solution, rtol=1e-6)

    def test_one_unknown_is_the_secant_method(self) -> None:
        def square(x: Float64) -> Float64:
            return x + 0.3 * (2.0 - x**2)

        before, here = 1.0, 1.3
        iterate = started(square, np.array([before]))
        assert iterate.image[0] == here
        for _ in range(3):
            iterate = advanced(square, iterate, depth=1, damping=1.0, positive=False)
            assert abs(iterate.point[0] - here) < 1e-12
            before, here = here, here + (2.0 - here**2) / (here + before)
        assert iterate.steps == 4

    def test_a_start_that_is_the_solution(self) -> None:
        found = fixed_point(np.cos, np.array([0.7390851332151607]))
        assert (found.converged, found.steps) == (True, 1)

    def test_a_number_for_a_start(self) -> None:
        assert fixed_point(np.cos, np.array(1.0)).value.shape == (1,)

    def test_no_unknowns(self) -> None:
        assert fixed_point(lambda x: x, np.empty(0)).converged


class TestAcceleration:
    @pytest.mark.parametrize("contraction", [0.9, 0.99, 0.999, -0.99])
    def test_slow_iterations_take_fewer_evaluations(self, contraction: float) -> None:
        def near_critical(x: Float64) -> Float64:
            return 1.0 + contraction * (x - 1.0) - 0.05 * (x - 1.0) ** 2

        plain = fixed_point(near_critical, np.array([1.5]), depth=0, limit=100_000)
        fast = fixed_point(near_critical, np.array([1.5]))
        assert plain.converged
        assert fast.converged
        assert fast.steps < 30
        assert 5 * fast.steps < plain.steps
        assert abs(fast.value[0] - 1.0) < 1e-10

    @pytest.mark.parametrize("seed", range(5))
    def test_linear_systems_too(self, seed: int) -> None:
        matrix, offset, _ = linear(0.95, 8, seed)
        plain, fast = (
            fixed_point(lambda x: matrix @ x + offset, np.zeros(8), depth=depth, limit=10_000) for depth in (0, 5)
        )
        assert plain.converged
        assert fast.converged
        assert 2 * fast.steps < plain.steps

    @pytest.mark.parametrize("seed", range(5))
    def test_a_contraction_that_is_not_linear(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        matrix = generator.standard_normal((4, 4))
        matrix *= 0.95 / np.linalg.norm(matrix, 2)  # so that there is one fixed point, whatever the offset
        offset = generator.standard_normal(4)
        plain, fast = (
            fixed_point(lambda x: np.tanh(matrix @ x + offset), np.zeros(4), depth=depth, limit=10_000)
            for depth in (0, 3)
        )
        assert plain.converged
        assert fast.converged
        np.testing.assert_allclose(fast.value, plain.value, rtol=1e-9)


class TestStability:
    @pytest.mark.parametrize("gain", [1.05, 1.5, 4.0])
    @pytest.mark.parametrize("start", [1e-12, 1e-6, 0.01, 3.0])
    def test_an_unstable_zero_is_left(self, gain: float, start: float) -> None:
        """x = tanh(gain x) has a positive solution beyond gain 1, and zero repels."""
        found = fixed_point(lambda x: np.tanh(gain * x), np.array([start]), positive=True, limit=1000)
        assert found.converged
        assert found.value[0] > 0.1
        np.testing.assert_allclose(np.arctanh(found.value[0]) / found.value[0], gain, rtol=1e-9)

    def test_an_unstable_point_between_two_stable_ones(self) -> None:
        # Zero repels with slope 1.375, ±1 attract with slope 1/4: the side of the start decides which one.
        for start in (-0.9, -1e-5, 1e-5, 0.9):
            found = fixed_point(lambda x: x * (1.375 - 0.375 * x**2), np.array([start]), limit=1000)
            np.testing.assert_allclose(found.value, [math.copysign(1.0, start)], rtol=1e-10)

    @pytest.mark.parametrize("gain", [0.2, 0.9, 0.999])
    def test_positive_unknowns_that_decay_go_to_zero(self, gain: float) -> None:
        found = fixed_point(lambda x: gain * np.tanh(x), np.array([0.5, 2.0]), positive=True, limit=1000)
        assert found.converged
        assert np.all(found.value == 0.0)
        assert found.residual == 0.0

    def test_positive_unknowns_never_become_negative(self) -> None:
        seen = []

        def quartic(x: Float64) -> Float64:
            seen.append(x.copy())
            return 0.1 + 0.8 * x / (1.0 + x**4)

        found = fixed_point(quartic, np.array([5.0, 0.01]), positive=True)
        assert found.converged
        assert np.all(np.array(seen) >= 0.0)
        np.testing.assert_allclose(quartic(found.value), found.value, rtol=1e-11)


class TestFailures:
    def test_growth_without_bound(self) -> None:
        found = fixed_point(lambda x: 2.0 * x + 1.0 + x**2, np.array([1.0]))
        assert not found.converged
        assert found.residual == math.inf
        assert found.status == f"the iteration grew without bound in {found.steps} evaluations"

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_not_a_number(self, value: float) -> None:
        found = fixed_point(lambda x: np.full_like(x, value), np.array([1.0]))
        assert not found.converged
        assert "without bound" in found.status

    def test_the_limit(self) -> None:
        found = fixed_point(lambda x: 0.99 * x + 0.01, np.array([5.0]), depth=0, limit=7)
        assert (found.converged, found.steps) == (False, 7)
        assert found.status.endswith("is left after 7 evaluations")
        assert f"{found.residual:.1e}" in found.status
        np.testing.assert_allclose(found.value, [1.0 + 4.0 * 0.99**7], rtol=1e-13)

    def test_a_cycle_does_not_pass_for_a_fixed_point(self) -> None:
        # x -> 1 - x from 0 is 1, 0, 1, 0, …: only extrapolation or damping finds the middle.
        plain = fixed_point(lambda x: 1.0 - x, np.array([0.0]), depth=0)
        assert not plain.converged
        assert plain.residual > 0.5
        for options in ({"depth": 1, "damping": 1.0}, {"depth": 0, "damping": 0.5}):
            found = fixed_point(lambda x: 1.0 - x, np.array([0.0]), **options)  # type: ignore[arg-type]
            assert found.converged
            assert found.value[0] == 0.5

    @pytest.mark.parametrize("damping", [0.0, -0.5, 1.5, math.nan])
    def test_damping_out_of_range(self, damping: float) -> None:
        with pytest.raises(ValueError, match="damping: must be above 0 and at most 1"):
            fixed_point(np.cos, np.array([1.0]), damping=damping)
