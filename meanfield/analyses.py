"""Everything that the theory says of a network at a glance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from meanfield import gradient_profiles, jacobian_spectra, state_moments
from meanfield.estimate import Estimate, as_json_or_absent, reported_lags
from meanfield.gradient_profiles import Gradients
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.jacobian_spectra import Spectra
from meanfield.network import Network
from meanfield.sampling.adjoint import AdjointRun
from meanfield.sampling.devices import DeviceChoice
from meanfield.sampling.population import Layout, Regime
from meanfield.state_moments import Stationary
from meanfield.trajectory import DEFAULT_HIDDEN, Start, Trajectory, arrange, check_request, run
from meanfield.untied_analyses import untied_theory


@dataclass(frozen=True)
class Analysis:
    """Moments, gradients and spectra of one network.

    Attributes:
        network, inputs, length, regime, start: what was analysed.
        states: moments of the output and overlap of two sequences; None where the data hold one sequence only.
        gradients: profiles over the lag and what follows from them.
        spectra: singular values and eigenvalues of the one-step Jacobian.
        without_sampling: names of numbers that come from quadrature and operators; their errors are bounds.
    """

    network: Network
    inputs: Inputs
    length: int
    regime: Regime
    start: Start
    states: Stationary | None
    gradients: Gradients
    spectra: Spectra
    without_sampling: tuple[str, ...] = ()

    def scalars(self) -> dict[str, Estimate | None]:
        """All single numbers by name; None where a number does not exist (no decay, hence no time scale)."""
        gradients, spectra = self.gradients, self.spectra
        numbers: dict[str, Estimate | None] = {
            "second_moment": gradients.second_moment,
            "overlap": self.states.overlap if self.states else None,
            "chi": gradients.chi,
            "timescale": gradients.timescale,
            "final_gradient": gradients.first_moment,
            "isometry_defect": gradients.isometry_defect,
            "bias_response": gradients.bias_response,
        }
        if gradients.memory is not None:
            numbers["memory_path"] = gradients.memory.at(self.length)
            numbers["memory_spread"] = gradients.memory_spread
        numbers["eigenvalue_edge"] = spectra.eigenvalue_edge
        numbers["slow_fraction"] = spectra.slow_fraction
        return numbers

    def numbers(self) -> dict[str, Estimate | None]:
        """:meth:`scalars` and the moments of the singular values."""
        return {
            **self.scalars(),
            "singular_values_m1": self.spectra.first_moment,
            "singular_values_m2": self.spectra.second_moment,
        }

    def profiles_as_json(self) -> dict[str, list[dict[str, float | int | None]]]:
        """The profiles at lags 1, 2, 3, 5, … and the length.

        From the zero state no input is further back than length - 1, which is then the sensitivity's last lag.
        """
        sensitivity = self.gradients.sensitivity
        farthest = max(1, min(self.length, int(sensitivity.lags[-1])))
        return {
            "gradient_profile": self.gradients.profile.as_json(reported_lags(self.length)),
            "input_sensitivity": sensitivity.as_json(reported_lags(farthest)),
        }

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield analyze --json`` prints."""
        return {
            "cell": self.network.cell,
            "regime": self.regime,
            "start": self.start,
            "length": self.length,
            "hidden": self.spectra.hidden,
            "transient": self.gradients.transient,
            "without_sampling": list(self.without_sampling),
            "network": self.network.as_json(),
            "inputs": {**self.inputs.as_json(), "size": self.inputs.size},
            **{name: as_json_or_absent(number) for name, number in self.scalars().items()},
            **self.profiles_as_json(),
            "singular_values": {
                "m1": self.spectra.first_moment.as_json(),
                "m2": self.spectra.second_moment.as_json(),
            },
        }


@dataclass(frozen=True)
class RunFromZero:
    """An analysis that starts at the zero state, and what it was read from.

    Attributes:
        analysis: the analysis.
        trajectory: of two sequences a group, the first of them linearised.
        adjoint: the backward pass over all steps.
    """

    analysis: Analysis
    trajectory: Trajectory
    adjoint: AdjointRun


def analyze(
    network: Network,
    inputs: Inputs | None = None,
    *,
    length: int,
    hidden: int = DEFAULT_HIDDEN,
    units: int | None = None,
    groups: int | None = None,
    regime: Regime = "tied",
    start: Start | None = None,
    seed: int = 0,
    device: DeviceChoice = "cpu",
) -> Analysis:
    """All predictions for a network over ``length`` steps, from a population.

    With weights redrawn at every step, moments, overlap, χ and the gradient profile of a stationary network come from
    quadrature and operators instead, where its cell allows that (:func:`meanfield.fixed_points`).

    Args:
        network: the network.
        inputs: what it reads; white inputs of power 1 by default.
        length: T, the number of steps that signals and gradients are followed over.
        hidden: width N of the network, which the eigenvalue edge and corrections of finite width are for.
        units, groups, regime, start, seed, device: see :func:`meanfield.gradients`.

    Raises:
        InvalidInput: if an argument is out of its range.
        NotConverged: if the states do not become stationary, or leave the range of numbers.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=0.5, input_gain=0.5)
    >>> found = mf.analyze(mf.Network("janet", {"f": gate, "g": gate}), length=10, units=1024)
    >>> sorted(found.as_json())[:4]
    ['bias_response', 'cell', 'chi', 'eigenvalue_edge']
    """
    inputs = inputs if inputs is not None else Inputs()
    start = check_request(inputs, length=length, regime=regime, start=start, seed=seed)
    layout = arrange(hidden=hidden, units=units, groups=groups, device=device)
    if start == "zero":
        whole = analyze_from_zero(
            network, inputs, length=length, hidden=hidden, layout=layout, regime=regime, seed=seed
        )
        return whole.analysis
    options: dict[str, Any] = {"regime": regime, "start": start, "seed": seed}
    trajectory = run(network, inputs, length=length, layout=layout, full_lags=True, **options)
    pair = replace(layout, sequences=2)
    states = state_moments.of_trajectory(
        run(network, inputs, length=min(length, 32), layout=pair, linearise=False, **options)
    )
    found = Analysis(
        network=network,
        inputs=inputs,
        length=length,
        regime=regime,
        start=start,
        states=states,
        gradients=gradient_profiles.of_trajectory(trajectory, length),
        spectra=jacobian_spectra.of_trajectory(trajectory, hidden),
    )
    if regime != "untied":
        return found
    theory = untied_theory(network, inputs, length)
    if theory is None:
        return found
    return replace(
        found,
        states=theory.states(states),
        gradients=theory.gradients(found.gradients),
        spectra=theory.spectra(found.spectra),
        without_sampling=theory.names,
    )


def analyze_from_zero(
    network: Network, inputs: Inputs, *, length: int, hidden: int, layout: Layout, regime: Regime, seed: int
) -> RunFromZero:
    """The same for a network that starts at the zero state: two sequences give its overlap, the first all the rest.

    Args:
        layout: groups and units.
    """
    alone = isinstance(inputs, MeasuredInputs) and inputs.sequences == 1
    trajectory = run(
        network,
        inputs,
        length=length,
        layout=replace(layout, sequences=1 if alone else 2),
        regime=regime,
        start="zero",
        seed=seed,
        linearised=1,
    )
    adjoint = gradient_profiles.pull_back_of(trajectory, length)
    analysis = Analysis(
        network=network,
        inputs=inputs,
        length=length,
        regime=regime,
        start="zero",
        states=None if alone else state_moments.of_trajectory(trajectory),
        gradients=gradient_profiles.of_adjoint(trajectory, adjoint, length),
        spectra=jacobian_spectra.of_trajectory(trajectory, hidden),
    )
    return RunFromZero(analysis, trajectory, adjoint)
