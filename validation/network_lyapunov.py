"""Lyapunov spectra of simulated networks over their complete state, c and h of the LSTMs both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate, from_groups
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.sampling.population import Regime
from meanfield.solvers.threads import one_blas_thread
from meanfield.validation.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from meanfield.validation.simulated_network import SimulatedNetwork, input_sequences, member

Float64 = NDArray[np.float64]
Place = tuple[int, list[NDArray[Any]]]

_SPREAD = 0.3  # of the states at the start: networks without inputs leave the zero state


@dataclass(frozen=True)
class NetworkFlow:
    """A simulated network that reads one input sequence, and its tangents.

    Attributes:
        network: with its weights.
        x: the inputs, (steps, M); no more steps can be made.
        first: every state variable at the start, (1, N).
    """

    network: SimulatedNetwork
    x: Float64
    first: list[NDArray[Any]]

    @property
    def dimension(self) -> int:
        """S N, all state variables."""
        return len(self.first) * self.network.hidden

    def start(self) -> Place:
        """Step 0 and the first state."""
        return 0, self.first

    def advance(self, place: Place, tangents: Float64) -> tuple[Place, Float64]:
        """One step; tangents hold the units of the first variable first, (count, S N)."""
        step, state = place
        state, circuit = self.network.linearised(step, state, self.x[step][None])
        return (step + 1, state), self.network.push_rows(step, circuit, tangents)


@dataclass(frozen=True)
class NetworkLyapunov:
    """Lyapunov spectra of several networks of one law.

    Attributes:
        hidden: width N.
        spectra: one a network.
    """

    hidden: int
    spectra: tuple[LyapunovSpectrum, ...]

    @property
    def values(self) -> Float64:
        """Means over networks of the exponents, in falling order, (count,)."""
        return np.asarray(np.mean([each.values for each in self.spectra], axis=0), dtype=np.float64)

    def exponent(self, index: int) -> Estimate:
        """One exponent: mean over networks and its error, from their scatter, or over time of a single network."""
        return _averaged([each.exponent(index) for each in self.spectra])

    @property
    def largest(self) -> Estimate:
        """The top exponent."""
        return self.exponent(0)

    @property
    def attractor_dimension(self) -> Estimate:
        """Kaplan-Yorke dimension; see :class:`meanfield.validation.lyapunov.LyapunovSpectrum`."""
        return _averaged([each.attractor_dimension for each in self.spectra])

    @property
    def entropy_rate(self) -> Estimate:
        """Sum of the positive exponents; see :class:`meanfield.validation.lyapunov.LyapunovSpectrum`."""
        return _averaged([each.entropy_rate for each in self.spectra])


def network_lyapunov(
    network: Network,
    inputs: Inputs | None = None,
    *,
    hidden: int = 256,
    exponents: int | None = None,
    steps: int = 2000,
    transient: int = 200,
    networks: int = 1,
    regime: Regime = "tied",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkLyapunov:
    """Lyapunov exponents of simulated networks driven by their inputs, conditional exponents where there are any.

    Args:
        network: any cell.
        inputs: what it reads; white inputs of power 1 by default, as many as units where their size is 0.
        hidden: width N.
        exponents: how many of the S N, the largest ones; all by default.
        steps: that exponents are averaged over.
        transient: steps before.
        networks: how many are simulated, each with weights and inputs of its own.
        regime: ``"tied"`` weights, or ``"untied"`` ones, drawn anew at every step.
        seed: of everything random.
        progress: told (steps made, steps in all networks).

    Returns:
        Exponents in natural logarithms a step, with one standard error.

    Raises:
        InvalidInput: if a number is out of its range, or the inputs are shorter than the steps.
        NotConverged: if states or tangents leave the range of numbers.

    Source: theory, section 5; Engelken, Wolf and Abbott, Physical Review Research 5, 043044 (2023).

    >>> import meanfield as mf
    >>> leaky = mf.Network("leaky", {"h": mf.Gate()})  # without weights: every direction shrinks by 0.7
    >>> network_lyapunov(leaky, hidden=4, steps=32, transient=0).values.round(6)  # log 0.7
    array([-0.356675, -0.356675, -0.356675, -0.356675])
    """
    inputs = inputs if inputs is not None else Inputs()
    for name, value in (("hidden", hidden), ("networks", networks)):
        check_count(name, value, 1)
    check_count("seed", seed, 0)
    check_count("steps", steps, 1)
    check_count("transient", transient, 0)
    if inputs.length is not None and inputs.length < steps + transient:
        raise InvalidInput(
            f"steps: with {transient} steps of transient must not exceed the {inputs.length} steps of the inputs, "
            f"got {steps}"
        )
    spectra = []
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for index in range(networks):
            drawn, generator = member(network, inputs, hidden=hidden, seed=seed, index=index, regime=regime)
            x = input_sequences(inputs, generator, hidden=hidden, steps=steps + transient)[0]
            first = [_SPREAD * generator.standard_normal((1, hidden)) for _ in drawn.cell.states]
            spectra.append(
                lyapunov_spectrum(
                    NetworkFlow(drawn, x, first),
                    exponents=exponents,
                    steps=steps,
                    transient=transient,
                    seed=seed,
                    progress=_counted(progress, index, networks),
                )
            )
    return NetworkLyapunov(hidden, tuple(spectra))


def _counted(
    progress: Callable[[int, int], None] | None, index: int, networks: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    told = progress
    return lambda made, most: told(index * most + made, networks * most)


def _averaged(estimates: list[Estimate]) -> Estimate:
    if len(estimates) == 1:
        return estimates[0]
    if any(np.isinf(each.value) for each in estimates):
        return Estimate(estimates[0].value if len({e.value for e in estimates}) == 1 else -np.inf, 0.0)
    return from_groups([each.value for each in estimates])
