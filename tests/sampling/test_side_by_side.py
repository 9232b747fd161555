"""Networks side by side in one population against each of them alone."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.objective import evaluate, evaluate_many
from meanfield.sampling.population import Layout
from meanfield.trajectory import run

LENGTH = 24
DATA = np.random.default_rng(0).normal(size=(12, LENGTH, 3))
KINDS = {
    "white": mf.Inputs(size=3),
    "many inputs": mf.Inputs(overlap=0.4),
    "padded": mf.Inputs.padded(signal=8, length=LENGTH, padding_power=0.3, size=2),
    "data": mf.Inputs.from_data(DATA),
}


def networks(cell: str, ensemble: str = "gaussian", recurrent: float = 0.02) -> list[mf.Network]:
    """Three that differ in all laws."""
    found = []
    definition = mf.cells.find(cell)
    reading = {field.gate for field in definition.fields if field.gain == "recurrent_gain"}
    for share in (0.2, 0.5, 0.9):
        second = {"recurrent_bias_mean": share, "recurrent_bias_std": 0.2} if cell == "gru_reset_after" else {}
        gates = {
            gate: mf.Gate(
                recurrent * (1.0 + share) * (gate in reading),
                1.2 - share,
                share * k,
                0.3,
                **(second if gate == "h" else {}),
            )
            for k, gate in enumerate(definition.gates)
        }
        found.append(mf.Network(cell, gates, ensemble))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_after", "minimal"])
def test_states_are_those_of_each_network_alone(cell: str, kind: str) -> None:
    many = networks(cell)
    layout = Layout(groups=6, sequences=3, units=64)
    together = run(many, KINDS[kind], length=LENGTH, layout=layout, start="zero", seed=7)
    for k, network in enumerate(many):
        alone = run(network, KINDS[kind], length=LENGTH, layout=Layout(2, 3, 64), start="zero", seed=7)
        # Networks that span their space at different speeds draw other normals for the same directions.
        np.testing.assert_allclose(together.products[:, 2 * k : 2 * k + 2], alone.products, rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_after", "vanilla"])
@pytest.mark.parametrize("kind", ["white", "data"])
def test_terms_are_those_of_each_network_alone(cell: str, kind: str, ensemble: str) -> None:
    many = networks(cell, ensemble, 0.8 if cell == "vanilla" else 0.02)
    together = evaluate_many(many, KINDS[kind], length=LENGTH, layout=Layout(2, 3, 64), seed=3)
    for network, terms in zip(many, together, strict=True):
        assert terms is not None
        alone = evaluate(network, KINDS[kind], length=LENGTH, layout=Layout(2, 3, 64), seed=3)
        np.testing.assert_allclose(terms.logarithms(), alone.logarithms(), atol=2e-2)


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_after", "minimal"])
def test_strongly_recurrent_networks_agree_with_each_alone_within_their_errors(cell: str) -> None:
    many, layout = networks(cell, recurrent=0.8), Layout(96, 2, 64)
    together = run(many, KINDS["white"], length=LENGTH, layout=layout, start="zero", seed=7)
    for k, network in enumerate(many):
        alone = run(network, KINDS["white"], length=LENGTH, layout=Layout(32, 2, 64), start="zero", seed=8)
        one, other = together.products[-1, 32 * k : 32 * (k + 1)], alone.products[-1]
        error = np.hypot(np.std(one, axis=0, ddof=1), np.std(other, axis=0, ddof=1)) / np.sqrt(32)
        assert np.all(np.abs(np.mean(one, axis=0) - np.mean(other, axis=0)) < 4.5 * error)


def test_a_network_that_leaves_the_range_of_numbers_leaves_the_others_alone() -> None:
    def linear(gain: float) -> mf.Network:
        return mf.Network("vanilla_relu", {"h": mf.Gate(gain, 1.0)})

    layout = Layout(6, 1, 64)
    together = run([linear(0.5), linear(1e30), linear(0.8)], mf.Inputs(), length=9, layout=layout, start="zero", seed=1)
    assert together.finite.tolist() == [True, False, True]
    alone = run(linear(0.8), mf.Inputs(), length=9, layout=Layout(2, 1, 64), start="zero", seed=1)
    np.testing.assert_allclose(together.products[:, 4:], alone.products, rtol=1e-5)
    with pytest.raises(mf.NotConverged, match="left the range of finite numbers"):
        run([linear(1e30)] * 2, mf.Inputs(), length=9, layout=Layout(4, 1, 64), start="zero")


def test_several_networks_start_at_the_zero_state() -> None:
    with pytest.raises(mf.InvalidInput, match="start: several networks run side by side from the zero state only"):
        run(networks("lstm"), mf.Inputs(), length=4, layout=Layout(6, 1, 64))
