"""Several steps as one circuit: their law against products of dense matrices and Fuss-Catalan laws."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find
from meanfield.solvers.circuit_sample import CircuitSample
from meanfield.solvers.singular_density import SingularDensity
from meanfield.trajectory import arrange, run
from meanfield.validation.dense_circuits import dense_jacobian

GATE = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=0.5)


@pytest.mark.parametrize("cell", ["vanilla", "gru", "gru_reset_after", "lstm", "peephole_lstm"])
def test_two_circuits_as_one_are_the_product_of_their_jacobians(cell: str) -> None:
    network = mf.Network(cell, dict.fromkeys(find(cell).gates, GATE))
    layout = arrange(hidden=64, units=128, groups=2, device="cpu")
    trajectory = run(network, mf.Inputs(), length=4, layout=layout, regime="untied", seed=1)
    first, second = (sample.taken(np.array(0)) for sample in trajectory._samples([2, 3]))
    both = trajectory.last_steps(2).taken(np.array(0))
    # The composed circuit meets its matrices in the order of the steps.
    generator = np.random.default_rng(5)
    one, other = dense_jacobian(first, generator), dense_jacobian(second, generator)
    np.testing.assert_allclose(dense_jacobian(both, np.random.default_rng(5)), other @ one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_linear_networks_have_the_laws_of_ginibre_products(steps: int) -> None:
    found = mf.singular_values(mf.Network("vanilla", {"h": mf.Gate(1.0)}), mf.Inputs(power=0.0), steps=steps, units=128)
    assert found.first_moment.value == pytest.approx(1.0, abs=1e-12)
    assert found.second_moment.value == pytest.approx(steps + 1.0, abs=1e-10)
    edge = np.sqrt((steps + 1.0) ** (steps + 1) / steps**steps)
    assert found.outer_edge.value == pytest.approx(edge, rel=1e-9)


def test_the_law_over_two_steps_is_that_of_dense_products() -> None:
    network = mf.Network("janet", {"f": GATE, "g": mf.Gate(recurrent_gain=1.5, input_gain=0.5)})
    layout = arrange(hidden=400, units=800, groups=2, device="cpu")
    trajectory = run(network, mf.Inputs(), length=4, layout=layout, regime="untied", seed=2)
    sample: CircuitSample = trajectory.last_steps(2).taken(np.array(0))

    points = np.linspace(0.05, 1.5, 30)
    theory = SingularDensity(sample).distribution(points).values
    generator = np.random.default_rng(3)
    drawn = np.concatenate([np.linalg.svd(dense_jacobian(sample, generator), compute_uv=False) for _ in range(4)])
    counted = np.mean(drawn[:, None] <= points, axis=0)
    assert np.max(np.abs(theory - counted)) < 0.01


def test_tied_weights_with_a_skip_path_are_refused() -> None:
    network = mf.Network("janet", {"f": GATE, "g": GATE})
    with pytest.raises(mf.InvalidInput, match=r"steps: .* skip path of cell 'janet'"):
        mf.singular_values(network, steps=2, units=128)
    with pytest.raises(mf.InvalidInput, match="steps: must be a whole number of at least 1"):
        mf.singular_values(network, steps=0)
