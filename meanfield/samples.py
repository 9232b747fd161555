"""Everything that the sampling core says of a network, in one object: what ``meanfield sample`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meanfield.checks import check_count
from meanfield.estimate import Estimate, as_json_or_absent, reported_lags
from meanfield.inputs import Inputs
from meanfield.law_sampler import Method, Progress
from meanfield.network import Network
from meanfield.sampled_growth import Growth, sample_growth
from meanfield.sampled_overlap import PairLaw, sample_overlap
from meanfield.sampling.devices import DeviceChoice
from meanfield.stationary_law import DEFAULT_CHAINS, DEFAULT_STEPS, StationaryLaw, sample_law


@dataclass(frozen=True)
class Samples:
    """The untied theory of a network by brute force.

    Attributes:
        law: the stationary law of a unit.
        pair: two copies under inputs of the given overlap.
        growth: of gradients at identical inputs.
        decorrelation: of the overlap's distance from its fixed point.
        length: steps over which growth was followed.
    """

    law: StationaryLaw
    pair: PairLaw
    growth: Growth
    decorrelation: Growth
    length: int

    def numbers(self) -> dict[str, Estimate | None]:
        """The scalars by name."""
        moments = {f"mean_{name}": value for name, value in self.law.mean.items()}
        moments |= {f"second_moment_{name}": value for name, value in self.law.second_moment.items()}
        return {
            **moments,
            "overlap": self.pair.overlap,
            "chi": self.growth.chi,
            "timescale": self.growth.timescale,
            "overlap_slope": self.decorrelation.chi,
            "overlap_timescale": self.decorrelation.timescale,
        }

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield sample --json`` prints."""
        law = self.law
        return {
            "cell": law.network.cell,
            "regime": "untied",
            "length": self.length,
            "network": law.network.as_json(),
            "inputs": {**law.inputs.as_json(), "size": law.inputs.size},
            "method": law.method,
            "chains": law.chains,
            "burn_in": law.burn_in,
            "steps": law.steps,
            "precision": law.precision,
            "device": law.device,
            "seed": law.seed,
            **{name: as_json_or_absent(number) for name, number in self.numbers().items()},
            "gradient_profile": self.growth.profile.as_json(reported_lags(self.length)),
        }


def sample(
    network: Network,
    inputs: Inputs | None = None,
    *,
    length: int = 64,
    chains: int = DEFAULT_CHAINS,
    steps: int = DEFAULT_STEPS,
    burn_in: int | None = None,
    method: Method = "chains",
    seed: int = 0,
    device: DeviceChoice = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Samples:
    """Sample the stationary law, the overlap and the growth of gradients with weights redrawn at every step.

    Args:
        network, inputs, chains, steps, burn_in, method, seed, device, threads, progress: as for
            :func:`meanfield.sample_law`.
        length: steps over which the growth of gradients is followed.

    Raises:
        InvalidInput: if an argument is out of its range, or the inputs are not white.
        NotConverged: if there is no stationary law, or its moments do not settle.
        MemoryError: if the chains do not fit into memory.

    >>> import meanfield as mf
    >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5, input_gain=1.0)})
    >>> mf.sample(network, chains=2**14, device="cpu").numbers()["chi"].value < 0.25
    True
    """
    check_count("length", length, 2)
    law = sample_law(
        network,
        inputs,
        chains=chains,
        steps=steps,
        burn_in=burn_in,
        method=method,
        seed=seed,
        device=device,
        threads=threads,
        progress=progress,
    )
    pair = sample_overlap(law, steps=steps, seed=seed, device=device, threads=threads, progress=progress)
    growth, decorrelation = (sample_growth(each, length=length, seed=seed, threads=threads) for each in (law, pair))
    return Samples(law, pair, growth, decorrelation, length)
