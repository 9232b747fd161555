"""Predictions beside simulated networks: right ones agree, wrong ones fail, deviations are rare as they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import meanfield as mf
from meanfield.cells import find, names
from meanfield.estimate import as_json_or_absent
from meanfield.recipe_file import Predictions
from meanfield.validation.finite_width import (
    jacobian,
    jacobian_eigenvalues,
    jacobian_singular_values,
    overlaps,
    simulate,
)
from meanfield.validation.network_averages import FARTHEST, Spread, jackknife, log_mean, sigmas
from meanfield.validation.recipe_check import validate_network, validate_recipe
from meanfield.validation.simulated_network import SimulatedNetwork
from meanfield.validation.simulated_predictions import SimulatedRun, simulate_predictions
from meanfield.validation.width_allowance import WidthAllowance

DIRECTIONS = 3000


def network_of(name: str) -> mf.Network:
    cell = find(name)
    recurrent = {field.gate for field in cell.fields if field.gain == "recurrent_gain"}
    return mf.Network(name, {g: mf.Gate(0.8 if g in recurrent else 0.0, 0.7, 0.2, 0.3) for g in cell.gates})


@pytest.mark.parametrize("name", names())
def test_measurements_are_those_of_the_complex_step_simulator(name: str) -> None:
    """The same weights and inputs, tangents by complex steps of whole networks."""
    network, hidden, length = network_of(name), 16, 5
    data = mf.Inputs.from_data(np.random.default_rng(2).standard_normal((1, length, 4)))
    options = {"hidden": hidden, "length": length, "networks": 2, "seed": 1}
    found = simulate_predictions(network, data, directions=DIRECTIONS, **options)  # type: ignore[arg-type]
    seen = simulate(network, data, directions=DIRECTIONS, **options)  # type: ignore[arg-type]
    whole = jacobian(network, data, steps=length, **options)  # type: ignore[arg-type]
    step = jacobian(network, data, **options)  # type: ignore[arg-type]
    assert found.overlap.size == 0
    np.testing.assert_allclose(found.second_moment, seen.second_moment[:, -1], rtol=1e-12)
    # Quadratic forms of random directions, signs or normals, are known to √2/√directions of their value or better.
    several = 5.0 * math.sqrt(2.0 / DIRECTIONS)
    np.testing.assert_allclose(np.exp(found.log_bias_response), seen.bias_response, rtol=2.0 * several)
    np.testing.assert_allclose(
        np.exp(found.log_gradient[:, length]), seen.gradient_profile[:, length], rtol=2 * several
    )
    output = slice(find(name).output * hidden, (find(name).output + 1) * hidden)
    block = whole[:, output, output]
    gram = block @ block.transpose(0, 2, 1)
    np.testing.assert_allclose(
        np.exp(found.log_gradient[:, length]), np.trace(gram, axis1=1, axis2=2) / hidden, rtol=several
    )
    squares = np.sum(gram**2, axis=(1, 2)) / hidden
    np.testing.assert_allclose(np.exp(found.log_spread_moment), squares, rtol=several)
    # The last step is not sampled.
    np.testing.assert_allclose(found.first_of_step, np.sum(step**2, axis=(1, 2)) / step.shape[1], rtol=1e-12)
    values = jacobian_singular_values(network, data, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.second_of_step, np.mean(values**4, axis=1), rtol=1e-12)
    eigenvalues = jacobian_eigenvalues(network, data, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.edge, eigenvalues.real.max(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.slow, np.mean(np.abs(eigenvalues - 1.0) < 0.1, axis=1))
    pair = mf.Inputs(size=4, overlap=0.6)
    correlations = simulate_predictions(network, pair, directions=1, **options).overlap  # type: ignore[arg-type]
    np.testing.assert_allclose(correlations, overlaps(network, pair, **options)[:, -1], rtol=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize(("cell", "order"), [("lstm", "ifgo"), ("gru_reset_after", "rfh"), ("vanilla", "h")])
def test_pytorch_is_a_second_witness(cell: str, order: str) -> None:
    """Profiles of one network by our backward pass and by autograd of PyTorch's layer, number for number."""
    pytest.importorskip("torch")
    from meanfield.torch import initialize
    from meanfield.validation.torch_witness import layer_gradients, layer_of
    from meanfield.weights import sample_weights

    hidden, steps, seed = 12, 9, 3
    network = mf.Network(cell, dict.fromkeys(order, mf.Gate(1.1, 0.7, 0.3, 0.2)))
    layer = initialize(layer_of(cell, inputs=4, hidden=hidden), network, seed=seed)
    own = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])  # of the first layer
    weights = sample_weights(network, hidden=hidden, inputs=4, seed=own)
    generator = np.random.default_rng(8)
    x, readouts = generator.standard_normal((1, steps, 4)), generator.standard_normal((5, hidden))
    run = SimulatedRun.of(SimulatedNetwork(network, hidden=hidden, inputs=4, weights=weights), x, 0, averaged=False)
    second, gradient, sensitivity = layer_gradients(layer, x[0], readouts)
    measured = run.gradients(steps, readouts)
    assert run.states()["second_moment"] == pytest.approx(second, rel=1e-9)
    # Lag 0 is one by definition here, |v|²/N there.
    np.testing.assert_allclose(np.exp(measured["log_gradient"])[1:steps], gradient[1:], rtol=1e-9)
    np.testing.assert_allclose(np.exp(measured["log_sensitivity"]), sensitivity, rtol=1e-9)


def test_pytorch_agrees_with_a_recipe() -> None:
    pytest.importorskip("torch")
    from meanfield.validation.torch_witness import simulate_torch

    recipe = mf.recipe("gru_reset_after", length=12, hidden=64, inputs=8)
    seen = simulate_torch(recipe, recipe.inputs, hidden=64, length=12, networks=12)
    rows = {row.lag: row for row in recipe.content.predictions.gradient_profile}
    for lag in (1, 5, 8):
        entry = rows[lag]
        assert entry.value is not None
        assert entry.error is not None
        theory = Spread(math.log(entry.value), entry.error / entry.value, 7.0)
        assert sigmas(theory, log_mean(np.log(seen.gradient_profile[:, lag])), 0.002) < 5.0
    with pytest.raises(mf.InvalidInput, match="PyTorch has layers for lstm"):
        simulate_torch(network_of("janet"), mf.Inputs(size=2), hidden=8, length=2)


@pytest.mark.parametrize(
    ("name", "regime"),
    [(name, "tied") for name in ("leaky", "minimal", "gru", "lstm", "janet")]
    + [("gru", "untied"), ("leaky", "untied")],
)
def test_predictions_of_a_network_agree(name: str, regime: str) -> None:
    found = validate_network(
        network_of(name),
        mf.Inputs(size=16, overlap=0.5),
        length=8,
        hidden=64,
        networks=6,
        regime=regime,  # type: ignore[arg-type]
    )
    assert found.agrees, found.worst
    names_seen = {row.name for row in found.comparisons}
    assert {"second_moment", "overlap", "chi", "isometry_defect", "bias_response", "eigenvalue_edge"} <= names_seen
    assert {row.lag for row in found.comparisons if row.name == "gradient_profile"} == {1, 2, 3, 5, 8}
    assert found.width == 64
    assert found.start == "stationary"


def test_wrong_predictions_fail_by_name() -> None:
    """Numbers of a recipe's file moved by more than their errors, one at a time."""
    recipe = mf.recipe("gru", length=12, hidden=64, inputs=8)
    assert validate_recipe(recipe, networks=6).agrees
    predictions = recipe.content.predictions
    entry = predictions.numbers["second_moment"]
    assert entry.value is not None
    moved = entry.model_copy(update={"value": 6.0 * entry.value})
    numbers = {**predictions.numbers, "second_moment": moved}
    profile = [
        row.model_copy(update={"value": 50.0 * row.value, "log10_value": row.log10_value + math.log10(50.0)})
        if row.lag == 3 and row.value is not None and row.log10_value is not None
        else row
        for row in predictions.input_sensitivity
    ]
    wrong = predictions.model_copy(update={"numbers": numbers, "input_sensitivity": profile})
    found = validate_recipe(mf.Recipe(recipe.content.model_copy(update={"predictions": wrong})), networks=24, hidden=64)
    failed = {(row.name, row.lag) for row in found.comparisons if not row.agrees}
    assert failed == {("second_moment", None), ("input_sensitivity", 3)}
    assert not found.agrees
    assert not found.as_json()["agrees"]


def test_the_edge_is_not_judged_for_another_width() -> None:
    found = validate_recipe(mf.recipe("gru", length=12, hidden=64, inputs=8), hidden=96, networks=4)
    edge = next(row for row in found.comparisons if row.name == "eigenvalue_edge")
    assert edge.deviation is None
    assert edge.agrees
    assert (found.hidden, found.width) == (96, 128)


def test_data_that_are_not_in_the_file_are_asked_for() -> None:
    data = mf.Inputs.from_data(np.random.default_rng(0).standard_normal((24, 12, 8)))
    recipe = mf.recipe("gru", length=12, hidden=64, inputs=data)
    with pytest.raises(mf.InvalidInput, match="designed on measured data"):
        validate_recipe(recipe, networks=4)
    assert validate_recipe(recipe, inputs=data, networks=4).agrees


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 7}, "hidden: must be a whole number of at least 8, got 7"),
        ({"networks": 1}, "networks: must be a whole number of at least 2, got 1"),
        ({"networks": 0}, "networks: must be a whole number of at least 2, got 0"),
        ({"length": 0}, "length: must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ({"regime": "both"}, "regime: must be 'tied' or 'untied', got 'both'"),
    ],
)
def test_bad_requests_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(mf.InvalidInput, match=message):
        validate_network(network_of("gru"), **options)  # type: ignore[arg-type]


def test_networks_without_signal_agree_on_nothing() -> None:
    """Everything is exactly zero or exactly one on both sides, and no logarithm of it is asked for."""
    silent = mf.Network("leaky", {"h": mf.Gate(0.5)})
    found = validate_network(silent, mf.Inputs(power=0.0, size=2), length=6, hidden=32, networks=4)
    assert found.agrees
    by_name = {row.name: row for row in found.comparisons}
    assert by_name["second_moment"].deviation == 0.0


def test_the_mean_of_scattered_numbers_has_an_honest_error() -> None:
    """Log-normal numbers of eight networks against another eight: deviations beyond 3 are as rare as they should be."""
    generator = np.random.default_rng(3)
    for scatter in (0.1, 0.5, 1.0):
        found = [
            sigmas(log_mean(scatter * a), log_mean(scatter * b), 0.0)
            for a, b in generator.standard_normal((3000, 2, 8))
        ]
        # 0.27 % of 3000 are 8, give or take 3.
        assert np.count_nonzero(np.array(found) > 3.0) < 25
        assert np.count_nonzero(np.array(found) > 5.0) == 0
        assert np.count_nonzero(np.array(found) > 1.0) > 600


def test_deviations_follow_students_law() -> None:
    first, second = Spread(1.0, 0.2, 7.0), Spread(3.0, 0.0, 7.0)
    assert stats.norm.sf(sigmas(first, second, 0.0)) == pytest.approx(stats.t.sf(10.0, 7.0), rel=1e-9)
    assert stats.norm.sf(sigmas(first, second, 1.0)) == pytest.approx(stats.t.sf(5.0, 7.0), rel=1e-9)
    # A bound is not a standard error: it is allowed for.
    assert sigmas(first, Spread(3.0, 2.0, math.inf), 0.0) == 0.0
    assert sigmas(Spread(1.0, 0.0, 7.0), Spread(1.1, 0.0, 7.0), 0.0) == FARTHEST
    assert sigmas(Spread(-math.inf, 0.0, 7.0), Spread(-math.inf, 0.0, 7.0), 0.0) == 0.0
    assert sigmas(Spread(-math.inf, 0.0, 7.0), Spread(0.0, 0.1, 7.0), 0.1) == FARTHEST


def test_logarithms_of_means() -> None:
    assert log_mean(np.full(3, -np.inf)) == Spread(-math.inf, 0.0, 2.0)
    partly = log_mean(np.array([0.0, -np.inf]))
    assert (partly.value, partly.error) == (pytest.approx(math.log(0.5)), pytest.approx(1.0))
    # Far outside the range of numbers.
    assert log_mean(np.array([-2000.0, -2000.0])).value == pytest.approx(-2000.0)
    ratio = jackknife(lambda a, b: b - a, np.log([1.0, 2.0, 4.0]), np.log([2.0, 4.0, 8.0]))
    assert (ratio.value, ratio.error) == (pytest.approx(math.log(2.0)), pytest.approx(0.0, abs=1e-12))


def test_allowances_shrink_with_the_difference_of_widths() -> None:
    same = WidthAllowance(hidden=256, width=256)
    assert same.share("gradient_profile", 50) == same.share("gradient_profile", 20) > same.share("second_moment")
    assert WidthAllowance(hidden=512, width=512).share("chi") < same.share("chi")
    near, far = WidthAllowance(hidden=512, width=256), WidthAllowance(hidden=64, width=256)
    assert near.share("chi") < far.share("chi")
    assert same.share("chi", 20) < near.share("chi", 20) < far.share("chi", 20)
    assert WidthAllowance(hidden=256, width=256, many_inputs=True).share("chi") > same.share("chi")
    exact = WidthAllowance(hidden=256, width=256, exact=("chi", "singular_values"))
    assert exact.is_exact("chi")
    assert exact.is_exact("singular_values_m2")
    assert not exact.is_exact("overlap")
    assert exact.share("chi") > same.share("chi")


def test_a_recipe_of_untied_weights_is_simulated_with_fresh_ones() -> None:
    """Its predictions are of the stationary state, and mostly bounds instead of standard errors."""
    recipe = mf.recipe("gru", length=12, hidden=64, inputs=8)
    analysis = mf.analyze(recipe.network, recipe.inputs, length=12, hidden=64, regime="untied")
    numbers = {name: as_json_or_absent(number) for name, number in analysis.numbers().items()}
    predictions = Predictions.model_validate({"numbers": numbers, **analysis.profiles_as_json()})
    method = recipe.content.method.model_copy(update={"regime": "untied"})
    untied = recipe.content.model_copy(update={"predictions": predictions, "method": method})
    found = validate_recipe(mf.Recipe(untied), networks=6)
    assert found.agrees, found.worst
    assert (found.regime, found.start) == ("untied", "stationary")
    by_name = {row.name: row for row in found.comparisons}
    assert math.isinf(by_name["second_moment"].predicted.freedom)


def test_jacobians_of_impossible_steps_are_refused() -> None:
    with pytest.raises(mf.InvalidInput, match="steps: must be a whole number of at least 1, got 0"):
        jacobian(network_of("gru"), mf.Inputs(), hidden=4, length=3, steps=0)
    with pytest.raises(mf.InvalidInput, match="steps: must not exceed the length 3, got 4"):
        jacobian_singular_values(network_of("gru"), mf.Inputs(), hidden=4, length=3, steps=4)
