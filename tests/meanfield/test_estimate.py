"""Numbers with errors, and profiles whose values leave the range of numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from meanfield.errors import NotConverged
from meanfield.estimate import Estimate, Profile, from_groups, reported_lags


def test_an_estimate_is_never_not_a_number() -> None:
    with pytest.raises(NotConverged):
        Estimate(math.nan, 0.1)
    with pytest.raises(NotConverged):
        Estimate(1.0, math.nan)


def test_infinite_values_are_null_in_json() -> None:
    assert json.dumps(Estimate(math.inf, 0.0).as_json(), allow_nan=False) == '{"value": null, "error": 0.0}'


def test_standard_error_covers_the_mean_as_often_as_it_should() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 8))
    inside = [abs(found.value - 3.0) < found.error for found in map(from_groups, draws)]
    # Student's t with seven degrees of freedom is within one standard error with probability 0.6493.
    assert abs(np.mean(inside) - 0.6493) < 4 * math.sqrt(0.65 * 0.35 / 4000)


def test_profile_of_ordinary_numbers_is_their_mean_and_standard_error() -> None:
    values = np.random.default_rng(1).uniform(0.5, 2.0, size=(5, 6))
    profile = Profile.from_log_groups(np.log(values))
    np.testing.assert_allclose(profile.values, values.mean(axis=1), rtol=1e-12)
    errors = profile.values * profile.relative_errors
    np.testing.assert_allclose(errors, values.std(axis=1, ddof=1) / math.sqrt(6), rtol=1e-9)
    assert [lag for lag, _ in profile] == [0, 1, 2, 3, 4]


def test_profile_keeps_what_underflows() -> None:
    profile = Profile.from_log_groups(np.full((3, 4), -2000.0))
    assert profile.at(2).value == 0.0
    assert profile.log10_at(2) == pytest.approx(-2000.0 / math.log(10.0))
    row = profile.as_json([1])[0]
    assert row["value"] == 0.0
    assert row["log10_value"] == pytest.approx(-868.59, abs=0.01)


def test_profile_of_exact_zeros() -> None:
    profile = Profile.from_log_groups(np.full((2, 4), -math.inf))
    assert profile.at(1) == Estimate(0.0, 0.0)
    assert profile.as_json([1])[0]["log10_value"] is None


def test_profile_refuses_what_is_not_a_number_and_lags_that_it_does_not_have() -> None:
    with pytest.raises(NotConverged):
        Profile.from_log_groups(np.full((2, 4), math.nan))
    with pytest.raises(NotConverged):
        Profile.from_log_groups(np.full((2, 4), math.inf))
    with pytest.raises(KeyError, match="covers 0 to 1"):
        Profile.from_log_groups(np.zeros((2, 4))).at(2)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 784])
def test_reported_lags_are_fibonacci_numbers_and_the_length(length: int) -> None:
    fibonacci = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987]
    assert reported_lags(length) == [lag for lag in fibonacci if lag < length] + [length]


def test_errors_of_huge_numbers_are_numbers() -> None:
    samples = np.array([1.0, 2.0, 4.0])
    huge = from_groups(1e200 * samples)
    assert huge.error == pytest.approx(1e200 * from_groups(samples).error, rel=1e-12)
