"""Runs of populations: transients, refusals, runaway networks."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.sampling.population import Layout
from meanfield.trajectory import arrange, run


def relu(gain: float) -> mf.Network:
    return mf.Network("vanilla_relu", {"h": mf.Gate(gain, 1.0)})


@pytest.mark.parametrize("regime", ["tied", "untied"])
@pytest.mark.parametrize("analysis", ["stationary", "gradients", "spectra"])
def test_exploding_states_are_reported(regime: str, analysis: str) -> None:
    with pytest.raises(mf.NotConverged, match=r"lower the recurrent gain|did not become stationary"):
        getattr(mf, analysis)(relu(3.0), mf.Inputs(), length=20, units=128, regime=regime)
    with pytest.raises(mf.NotConverged, match="left the range of finite numbers"):
        getattr(mf, analysis)(relu(3.0), mf.Inputs(), length=300, units=128, regime=regime, start="zero")


def test_drifting_states_are_reported() -> None:
    """A memory that keeps all and adds noise grows for ever."""
    gates = {"i": mf.Gate(), "f": mf.Gate(bias_mean=30.0), "g": mf.Gate(input_gain=1.0)}
    with pytest.raises(mf.NotConverged, match="did not become stationary within 4000 steps"):
        mf.stationary(mf.Network("peephole_lstm", gates), units=512, groups=4)


def test_networks_that_die_out_count_as_stationary() -> None:
    found = mf.gradients(relu(0.5), mf.Inputs(power=0.0), length=5, units=128)
    assert found.second_moment.value == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length: must be a whole number of at least 1, got 0"),
        ({"length": 2.5}, "length: must be a whole number"),
        ({"length": True}, "length: must be a whole number"),
        ({"regime": "both"}, "regime: must be 'tied' or 'untied', got 'both'"),
        ({"start": "later"}, "start: must be 'stationary' or 'zero', got 'later'"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ({"units": 63}, "units: must be a whole number of at least 64, got 63"),
        ({"groups": 1}, "groups: must be a whole number of at least 2, got 1"),
        ({"units": 64, "groups": 8}, "units: must be at least 16 for each of 8 groups, got 64"),
    ],
)
def test_requests_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(mf.InvalidInput, match=message):
        mf.gradients(relu(1.0), **{"length": 5, **options})  # type: ignore[arg-type]


def test_inputs_with_an_end_start_at_zero_and_bound_the_length() -> None:
    inputs = mf.Inputs.padded(signal=3, length=8)
    with pytest.raises(mf.InvalidInput, match="length: must not exceed the 8 steps of the inputs, got 9"):
        mf.gradients(relu(1.0), inputs, length=9)
    with pytest.raises(mf.InvalidInput, match="start: padded and measured inputs start at the zero state"):
        mf.gradients(relu(1.0), inputs, length=8, start="stationary")
    found = run(relu(1.0), inputs, length=8, layout=Layout(2, 1, 64))
    assert found.start == "zero"
    assert found.averaged == slice(-1, None)
    assert len(found.circuits) == found.length == 8


def test_units_are_dealt_into_groups() -> None:
    assert arrange(units=4096) == Layout(8, 1, 512)
    assert arrange(units=1000, groups=3, sequences=2) == Layout(3, 2, 334)
    assert arrange(units=128, hidden=1024) == Layout(8, 1, 128)


def test_moments_are_those_of_the_states() -> None:
    found = run(relu(1.0), mf.Inputs(size=3), length=4, layout=Layout(2, 3, 64), start="zero", linearise=False)
    assert found.circuits == []
    output = found.population.state[0].astype(np.float64)
    np.testing.assert_allclose(found.means[-1], output.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(found.products[-1], output @ output.transpose(0, 2, 1) / 64, rtol=1e-5)
