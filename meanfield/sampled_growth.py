"""Growth of gradients in the untied regime, by chains that carry their covariance (theory, sections 3 and 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.chain_requests import check_sampling, growth_program
from meanfield.checks import check_count
from meanfield.errors import NotConverged
from meanfield.estimate import Estimate, Profile
from meanfield.growth import timescale_of
from meanfield.sampled_overlap import PairLaw
from meanfield.sampling.cell import field_gains
from meanfield.sampling.gradient_chains import SETS, chains_run, gradient_profile
from meanfield.stationary_law import StationaryLaw

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Growth:
    """How a perturbation of the output grows or decays.

    Attributes:
        chi: growth of its mean square per step, over the second half of the steps. With two copies it is the growth of
            E[δ_a δ_b], the slope of the overlap map at its fixed point.
        timescale: ξ = -1/log χ, None where χ is not below 1.
        profile: E δ² of the output at lags 0 to the length.
        chains: how many.
    """

    chi: Estimate
    timescale: Estimate | None
    profile: Profile
    chains: int


def sample_growth(
    law: StationaryLaw | PairLaw,
    *,
    length: int = 64,
    chains: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Growth:
    """Sample the growth of a perturbation of the output along the chains of a law.

    Every chain carries the covariance of the perturbation along its path, so that there is no noise but that of the
    paths. It runs on the CPU.

    Args:
        law: of one copy, for χ at identical inputs; or of a pair, for the slope of the overlap map at its fixed point.
        length: steps after the perturbation.
        chains: how many, at least 16384; as many as the law has by default.
        seed: of everything random.
        threads: all cores by default.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if what is left of the perturbation is less than its scatter.
        MemoryError: if the chains do not fit into memory.

    >>> import meanfield as mf
    >>> network = mf.Network("vanilla_relu", {"h": mf.Gate(recurrent_gain=1.0, input_gain=1.0)})
    >>> growth = mf.sample_growth(mf.sample_law(network, chains=2**14, device="cpu"))
    >>> abs(growth.chi.value - 0.5) < 4 * growth.chi.error + 1e-6  # half of the units pass gradients on
    True
    """
    single = law.law if isinstance(law, PairLaw) else law
    chains = single.chains if chains is None else chains
    check_sampling(single.inputs, chains=chains, steps=2, burn_in=None, seed=seed, threads=threads)
    check_count("length", length, 2)
    cell = single.network.definition
    parameters: Mapping[str, float] = law.parameters
    log_sizes, signs = gradient_profile(
        growth_program(cell, 2 if isinstance(law, PairLaw) else 1),
        parameters,
        field_gains(cell, single.network.laws).astype(np.float64),
        chains=chains,
        burn_in=single.burn_in,
        steps=length,
        seed=seed,
        purpose=2,
        precision="double" if single.precision == "double" else "clamped",
        threads=threads,
    )
    # Sets are averaged before logarithms are taken: a set may be negative, and the bias is that of all sets together.
    peaks = np.max(log_sizes, axis=0)
    finite = np.isfinite(peaks)
    scaled = signs * np.exp(log_sizes - np.where(finite, peaks, 0.0))
    mean = np.mean(scaled, axis=0)
    if np.any(finite & (mean <= 0.0)):
        raise NotConverged("the growth of a perturbation is lost in the scatter of the chains; take more of them")
    with np.errstate(divide="ignore"):
        logarithms = np.where(finite, peaks + np.log(np.where(finite, mean, 1.0)), -np.inf)
    errors = np.std(scaled, axis=0, ddof=1) / math.sqrt(SETS)
    relative = np.divide(errors, mean, out=np.zeros_like(mean), where=finite)
    profile = Profile(np.arange(length + 1), np.concatenate(([0.0], logarithms)), np.concatenate(([0.0], relative)))
    chi = _growth(scaled, peaks, length) if np.all(finite) else Estimate(0.0, 0.0)
    return Growth(chi, timescale_of(chi), profile, chains_run(chains))


def _growth(scaled: Float64, peaks: Float64, length: int) -> Estimate:
    """χ from the second half of the steps, its error by the jackknife over sets."""
    middle = length // 2 - 1
    sizes = scaled[:, [middle, length - 1]].T

    def chi(weights: Float64) -> Float64:
        means = sizes @ weights
        exponent = (np.log(means[1] / means[0]) + peaks[length - 1] - peaks[middle]) / (length - 1 - middle)
        found: Float64 = np.exp(exponent)
        return found

    without = (1.0 - np.eye(SETS)) / (SETS - 1)
    if np.any(sizes @ without <= 0.0):
        raise NotConverged("the growth of a perturbation is lost in the scatter of the chains; take more of them")
    error = math.sqrt((SETS - 1) * float(np.var(chi(without))))
    return Estimate(float(chi(np.full(SETS, 1.0 / SETS))), error)
