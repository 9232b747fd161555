"""Numbers with their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.errors import NotConverged

Float64 = NDArray[np.float64]

_ROUNDING = 2.0**-52


@dataclass(frozen=True)
class Estimate:
    """A number and its error: one standard error where it was sampled, a bound where it was computed.

    Raises:
        NotConverged: if either is not a number.

    >>> print(Estimate(0.0703, 0.0008))
    0.0703 ± 0.0008
    """

    value: float
    error: float

    def __post_init__(self) -> None:
        if math.isnan(self.value) or math.isnan(self.error):
            raise NotConverged("an estimate came out as not-a-number; the network may have left the range of numbers")

    def __str__(self) -> str:
        if self.error == 0.0 or not math.isfinite(self.error) or not math.isfinite(self.value):
            return f"{self.value:.4g} ± {self.error:.2g}"
        digits = min(6, max(2, 2 + math.floor(math.log10(max(abs(self.value) / self.error, 1.0)))))
        return f"{self.value:.{digits}g} ± {self.error:.1g}"

    def as_json(self) -> dict[str, float | None]:
        """``{"value": …, "error": …}``, null where a number is infinite."""
        return {name: each if math.isfinite(each) else None for name, each in vars(self).items()}


def as_json_or_absent(number: Estimate | None) -> dict[str, float | None]:
    """``{"value": …, "error": …}``, both null where there is no number."""
    return number.as_json() if number is not None else {"value": None, "error": None}


def from_groups(values: ArrayLike) -> Estimate:
    """Mean over independent groups and its standard error.

    >>> from_groups([1.0, 2.0, 3.0]).value
    2.0
    """
    samples = np.asarray(values, dtype=np.float64).ravel()
    return Estimate(float(np.mean(samples)), standard_error(samples))


def standard_error(samples: Float64) -> float:
    """Standard error of the mean of independent samples.

    >>> standard_error(np.array([1e200, 3e200])) == 1e200  # though the square of a deviation is no number
    True
    """
    # A power of two, so that only what would overflow is computed otherwise.
    scale = 2.0**512 if np.max(np.abs(samples), initial=0.0) > 2.0**500 else 1.0
    return float(np.std(samples / scale, ddof=1) / np.sqrt(len(samples)) * scale)


@dataclass(frozen=True)
class Profile:
    """A positive quantity as a function of the lag, kept by its logarithm since gradients leave the range of numbers.

    Attributes:
        lags: steps back in time, (lags,).
        log_values: natural logarithm of the values, -inf where the value is zero, (lags,).
        relative_errors: one standard error divided by the value, (lags,).
    """

    lags: NDArray[np.intp]
    log_values: Float64
    relative_errors: Float64

    @classmethod
    def from_log_groups(cls, log_samples: Float64, first_lag: int = 0) -> Profile:
        """Means over independent groups of quantities given by their logarithms, (lags, groups)."""
        count, groups = log_samples.shape
        peak = np.max(log_samples, axis=1)
        finite = np.isfinite(peak)
        if np.any(np.isnan(log_samples)) or np.any(peak == np.inf):
            raise NotConverged("a gradient profile came out as not-a-number; lower the recurrent gains or the length")
        scaled = np.exp(log_samples - np.where(finite, peak, 0.0)[:, None])
        mean = np.mean(scaled, axis=1)
        with np.errstate(divide="ignore"):
            log_values = np.where(finite, peak + np.log(mean), -np.inf)
        spread = np.std(scaled, axis=1, ddof=1) / np.sqrt(groups)
        relative = np.divide(spread, mean, out=np.zeros(count), where=mean > 0.0)
        return cls(np.arange(first_lag, first_lag + count), log_values, relative)

    @property
    def values(self) -> Float64:
        """The values themselves, zero where they are below the smallest number and inf above the largest."""
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(self.log_values)

    def at(self, lag: int) -> Estimate:
        """The value at one lag.

        Raises:
            KeyError: if the lag is outside the profile.
        """
        index = lag - int(self.lags[0])
        if not 0 <= index < len(self.lags):
            raise KeyError(f"lag {lag} is outside this profile, which covers {self.lags[0]} to {self.lags[-1]}")
        value = float(self.values[index])
        if value == 0.0:
            return Estimate(0.0, 0.0)
        # The logarithm is rounded, and so is its exponential, but for exp(0) = 1.
        logarithm = abs(float(self.log_values[index]))
        rounding = _ROUNDING * max(1.0, logarithm) if logarithm > 0.0 else 0.0
        return Estimate(value, value * (float(self.relative_errors[index]) + rounding))

    def log10_at(self, lag: int) -> float:
        """Decimal logarithm of the value at one lag."""
        return float(self.log_values[lag - int(self.lags[0])] / np.log(10.0))

    def __iter__(self) -> Iterator[tuple[int, Estimate]]:
        for lag in self.lags:
            yield int(lag), self.at(int(lag))

    def as_json(self, lags: list[int]) -> list[dict[str, float | int | None]]:
        """``{"lag", "value", "error", "log10_value"}`` at these lags, as far as the profile has them.

        ``log10_value`` keeps what a value too small for a number loses; it is null where the value is exactly zero.
        """
        rows: list[dict[str, float | int | None]] = []
        for lag in lags:
            if self.lags[0] <= lag <= self.lags[-1]:
                logarithm = self.log10_at(lag)
                row: dict[str, float | int | None] = {"lag": lag, **self.at(lag).as_json()}
                row["log10_value"] = logarithm if math.isfinite(logarithm) else None
                rows.append(row)
        return rows


def reported_lags(length: int) -> list[int]:
    """Lags 1, 2, 3, 5, 8, … up to a length, and the length itself.

    >>> reported_lags(10)
    [1, 2, 3, 5, 8, 10]
    """
    lags, following = [1], 2
    while following < length:
        lags.append(following)
        following = lags[-1] + lags[-2] if len(lags) > 1 else 3
    return lags if length == 1 else [*lags, length]
