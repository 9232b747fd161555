"""Many laws at once are held to closed forms and to one law at a time."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest
from scipy.special import erf, expit

from meanfield.solvers.gaussian_products import NormalFunctions
from meanfield.solvers.many_gaussian_products import ManyNormalFunctions, SharedRule, shared_rule
from meanfield.solvers.normal_rules import Transition

CORRELATIONS = np.array([-1.0, -0.99, -0.5, 0.0, 0.3, 0.9, 0.999, 1.0 - 1e-6, 1.0 - 1e-12, 1.0])
MEANS = np.array([0.0, 0.4, -2.0, 1.0, 0.0])
DEVIATIONS = np.array([0.01, 0.3, 0.8, 1.0, 1.6])
RULES = [(256, 64), (512, 128), (1024, 512)]


def gates(rule: SharedRule) -> tuple[ManyNormalFunctions, ManyNormalFunctions]:
    """tanh and the logistic function, and their slopes."""
    u = MEANS[:, None] + DEVIATIONS[:, None] * rule.nodes
    slopes = ManyNormalFunctions(rule, 0.0, [1.0 / np.cosh(u) ** 2, expit(u) * expit(-u)])
    squares = np.diagonal(slopes.moments.value + slopes.moments.error).T[1:]
    return ManyNormalFunctions(rule, 1.0, [np.tanh(u), expit(u)], DEVIATIONS * np.sqrt(squares)), slopes


@pytest.mark.parametrize("size", RULES)
class TestPairs:
    @pytest.mark.parametrize("known_slopes", [False, True])
    def test_error_functions_are_an_arcsine(self, size: tuple[int, int], known_slopes: bool) -> None:
        variances = DEVIATIONS**2
        rule = shared_rule(*size)
        # E (d erf(σz)/dz)² in closed form.
        steepness = np.sqrt(4.0 * variances / np.pi / np.sqrt(1.0 + 4.0 * variances))[None]
        functions = ManyNormalFunctions(
            rule, 1.0, [erf(DEVIATIONS[:, None] * rule.nodes)], steepness if known_slopes else None
        )
        found = functions.pairs(np.repeat(CORRELATIONS[:, None], len(variances), axis=1))[1, 1]
        exact = 2 / np.pi * np.arcsin(2 * variances * CORRELATIONS[:, None] / (1 + 2 * variances))
        assert np.all(np.abs(found.value - exact) <= found.error)
        assert np.all(found.error[:, :4] < (1e-3 if size[1] == 64 else 1e-8))
        assert np.all(found.error[-1] < (1e-6 if size[0] == 256 else 1e-12))
        if known_slopes:
            # What is lost near copies that are the same is small with their distance.
            assert np.all(found.error[-2, :4] < 1e-12)

    def test_like_one_law_at_a_time(self, size: tuple[int, int]) -> None:
        for functions, formulas in zip(
            gates(shared_rule(*size)),
            (
                lambda u: np.stack([np.ones_like(u), np.tanh(u), expit(u)]),
                lambda u: np.stack([np.zeros_like(u), 1.0 / np.cosh(u) ** 2, expit(u) * expit(-u)]),
            ),
            strict=True,
        ):
            found = functions.pairs(np.repeat(CORRELATIONS[:, None], len(MEANS), axis=1))
            for law, (mean, deviation) in enumerate(zip(MEANS, DEVIATIONS, strict=True)):
                one = NormalFunctions(formulas, mean, deviation, [Transition(0.0, np.pi / 2)])
                exact = one.pairs(CORRELATIONS)
                assert np.all(np.abs(found.value[..., law] - exact.value) <= found.error[..., law] + exact.error)
                moments = functions.moments
                off = np.abs(moments.value[..., law] - one.moments.value)
                assert np.all(off <= moments.error[..., law] + one.moments.error)

    def test_errors_of_correlations_are_in_the_bound(self, size: tuple[int, int]) -> None:
        functions, slopes = gates(shared_rule(*size))
        correlations = np.repeat(np.array([-0.7, 0.2, 0.9])[:, None], len(MEANS), axis=1)
        for each in (functions, slopes):
            off = each.pairs(correlations + 1e-3).value - each.pairs(correlations).value
            assert np.all(np.abs(off) <= each.pairs(correlations, np.full_like(correlations, 1e-3)).error)

    def test_scores_are_slopes_in_the_variance(self, size: tuple[int, int]) -> None:
        rule, step = shared_rule(*size), 1e-4
        functions, slopes = gates(rule)

        def moments(deviations: np.ndarray) -> np.ndarray:
            u = MEANS[:, None] + deviations[:, None] * rule.nodes
            return ManyNormalFunctions(rule, 1.0, [np.tanh(u), expit(u)]).moments.value

        found = functions.scores(slopes)  # twice the deviation times the slope in the variance: that in the deviation
        rise = (moments(DEVIATIONS + step) - moments(DEVIATIONS - step)) / (2 * step)
        assert np.all(np.abs(found - rise) < 1e-6)


@pytest.mark.parametrize("size", RULES)
def test_rule_integrates_polynomials(size: tuple[int, int]) -> None:
    rule = shared_rule(*size)
    fine, coarse = rule.sums(rule.nodes[None] ** np.arange(0, 12, 2)[:, None], rule.weights)
    exact = np.array([factorial(n) / (2 ** (n // 2) * factorial(n // 2)) for n in range(0, 12, 2)])
    assert np.all(np.abs(fine / exact - 1.0) < 1e-13)
    assert np.all(np.abs(coarse / exact - 1.0) < 1e-13)
    first = [rule.sums(each, rule.projection)[0] for each in (np.ones_like(rule.nodes), rule.nodes)]
    assert np.allclose(first, np.eye(2, rule.terms), atol=1e-14)


def test_what_lives_in_the_tails_is_not_resolved() -> None:
    rule = shared_rule(256, 16)
    shifts = np.array([0.0, 6.0])
    # exp(6z) has its second moment around z = 12, where the rule ends.
    functions = ManyNormalFunctions(rule, 1.0, [np.exp(rule.nodes * shifts[:, None])])
    assert functions.resolved.tolist() == [True, False]
