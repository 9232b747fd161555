"""Untied recipes without a population: the same bytes in any company, and numbers that others know too."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad

import meanfield as mf
from meanfield import exact_recipes as module
from meanfield.errors import Infeasible, InvalidInput, MeanfieldError
from meanfield.estimate import Estimate
from meanfield.exact_predictions import untied_predictions
from meanfield.exact_recipes import UntiedRequest, untied_recipes
from meanfield.recipe_file import parse_recipe
from meanfield.recipes import Recipe

CELLS = ("vanilla", "leaky", "minimal", "gru", "janet", "peephole_lstm")
WHITE = mf.Inputs(size=28)


def at_random(generator: np.random.Generator, cell: str | None = None) -> UntiedRequest:
    """Requests of all kinds, most of which make sense."""
    inputs = mf.Inputs(
        power=float(generator.choice([0.0, 0.3, 1.0, 40.0], p=[0.1, 0.2, 0.4, 0.3])),
        overlap=float(generator.choice([0.0, 0.7, -0.4])),
        size=int(generator.integers(1, 100)),
    )
    return UntiedRequest(
        cell=cell if cell is not None else str(generator.choice(CELLS)),
        length=int(np.exp(generator.uniform(0.0, 8.0))),
        hidden=int(np.exp(generator.uniform(1.0, 7.0))),
        inputs=inputs,
        ensemble=generator.choice([None, "gaussian", "orthogonal"]),
        bidirectional=bool(generator.integers(2)),
        seed=int(generator.integers(100)),
    )


def text_of(found: Recipe | MeanfieldError) -> str:
    return found.text() if isinstance(found, Recipe) else f"{type(found).__name__} {found}"


def forget() -> None:
    module._known.clear()
    module._alone.cache_clear()


def alone(request: UntiedRequest) -> str:
    forget()
    try:
        return mf.recipe(
            request.cell,
            length=request.length,
            hidden=request.hidden,
            inputs=request.inputs,
            objective="isometry",
            regime="untied",
            ensemble=request.ensemble,
            bidirectional=request.bidirectional,
            seed=request.seed,
        ).text()
    except MeanfieldError as error:
        return f"{type(error).__name__} {error}"


def test_a_recipe_is_the_same_to_the_last_byte_in_any_company() -> None:
    generator = np.random.default_rng(1)
    requests = [at_random(generator) for _ in range(60)]
    forget()
    together = [text_of(each) for each in untied_recipes(requests)]
    for _ in range(3):
        some = generator.permutation(len(requests))[: generator.integers(1, len(requests))]
        forget()
        found = untied_recipes([requests[index] for index in some])
        assert [text_of(each) for each in found] == [together[index] for index in some]
    for index in generator.choice(len(requests), 12, replace=False):
        assert alone(requests[index]) == together[index]


@pytest.mark.parametrize("cell", CELLS)
def test_a_full_block_has_the_bytes_of_single_recipes(cell: str) -> None:
    generator = np.random.default_rng(2)
    requests = [at_random(generator, cell) for _ in range(70)]
    forget()
    together = [text_of(each) for each in untied_recipes(requests)]
    for index in (0, 63, 64, 69):
        assert alone(requests[index]) == together[index]


def numbers_of(recipe: Recipe) -> dict[str, Estimate]:
    numbers = recipe.content.predictions.numbers
    return {
        name: Estimate(each.value, each.error)
        for name, each in numbers.items()
        if each.value is not None and each.error is not None
    }


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_numbers_are_those_of_the_theory_of_one_network(cell: str, ensemble: str) -> None:
    inputs = mf.Inputs(power=1.7, overlap=0.6, size=12)
    found = mf.recipe(
        cell, length=77, hidden=64, inputs=inputs, objective="isometry", regime="untied", ensemble=ensemble
    )
    parts = [(found.network, found.content.predictions)]
    if found.default_network is not None and found.content.defaults is not None:
        parts.append((found.default_network, found.content.defaults.predictions))
    for network, predicted in parts:
        theory = untied_predictions(network, inputs, length=77)
        expected = theory.numbers()
        for name, each in predicted.numbers.items():
            known = expected.get(name)
            if name == "timescale" and predicted is found.content.predictions:
                continue  # of χ = 1: either sign of 1 - χ is within its error
            if each.value is None:
                assert known is None or not math.isfinite(known.value), name
                continue
            assert known is not None, name
            assert each.error is not None, name
            assert abs(each.value - known.value) <= each.error + known.error, name
        profiles = theory.profiles_as_json()
        for name in ("gradient_profile", "input_sensitivity"):
            rows = getattr(predicted, name)
            assert [row.lag for row in rows] == [row["lag"] for row in profiles[name]]
            for row, other in zip(rows, profiles[name], strict=True):
                assert row.log10_value == pytest.approx(other["log10_value"], rel=1e-9, abs=1e-9)


def normal_average(function: object) -> float:
    """E of a function of a standard normal variable."""
    assert callable(function)
    return float(
        quad(lambda z: function(z) * math.exp(-0.5 * z * z), -12.0, 12.0, epsabs=1e-13, limit=200)[0]
        / math.sqrt(2.0 * math.pi)
    )


@pytest.mark.parametrize("length", [1, 10, 300])
def test_a_plain_network_by_adaptive_quadrature(length: int) -> None:
    inputs = mf.Inputs(power=2.0, size=5)
    recipe = mf.recipe("vanilla", length=length, hidden=50, inputs=inputs, objective="isometry", regime="untied")
    gate, found = recipe.network.gates["h"], numbers_of(recipe)
    spread = math.sqrt(gate.recurrent_gain**2 * found["second_moment"].value + gate.input_gain**2 * 2.0)
    square = normal_average(lambda z: math.tanh(spread * z) ** 2)
    slope, fourth = (normal_average(lambda z, p=p: math.cosh(spread * z) ** -p) for p in (4, 8))
    assert found["second_moment"].value == pytest.approx(square, abs=1e-11)
    assert gate.recurrent_gain**2 * slope == pytest.approx(1.0, abs=1e-11)
    # Products of orthogonal matrices and independent diagonal ones: spreads of squared singular values add.
    excess = fourth / slope**2 - 1.0
    assert found["isometry_defect"].value == pytest.approx(math.log(1.0 + length * excess), abs=1e-9)
    assert found["singular_values_m2"].value == pytest.approx(1.0 + excess, abs=1e-10)
    assert found["eigenvalue_edge"].value == pytest.approx(1.0, abs=1e-6)
    first = recipe.content.predictions.input_sensitivity[0]
    assert first.value == pytest.approx(gate.input_gain**2 * slope, rel=1e-10)


def test_the_direct_path_of_a_gate_by_adaptive_quadrature() -> None:
    length = 40
    recipe = mf.recipe("janet", length=length, hidden=50, inputs=28, objective="isometry", regime="untied")
    gate, found = recipe.network.gates["f"], numbers_of(recipe)
    spread = math.sqrt(gate.recurrent_gain**2 * found["second_moment"].value + gate.input_gain**2)

    def keep(z: float) -> float:
        return 1.0 / (1.0 + math.exp(-gate.bias_mean - spread * z))

    square, fourth = (normal_average(lambda z, p=p: keep(z) ** p) for p in (2, 4))
    assert found["memory_path"].value == pytest.approx(square**length, rel=1e-9)
    assert found["memory_spread"].value == pytest.approx((fourth / square**2) ** length, rel=1e-9)


def test_no_population_is_run_unless_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a population")

    with monkeypatch.context() as patch:
        patch.setattr("meanfield.analyses.run", forbidden)
        patch.setattr("meanfield.recipe_layers.analyze", forbidden)
        exact = mf.recipe("gru", length=20, hidden=64, inputs=8, objective="isometry", regime="untied")
    assert exact.content.method.population == {"units": 0, "groups": 0}
    assert "slow_fraction" not in exact.content.predictions.numbers
    sampled = mf.recipe("gru", length=20, hidden=64, inputs=8, objective="isometry", regime="untied", units=512)
    assert sampled.content.method.population["units"] == 512
    assert "slow_fraction" in sampled.content.predictions.numbers
    assert sampled.content.gates == exact.content.gates
    assert sampled.content.method.objective == exact.content.method.objective == "isometry/2"


def test_lstms_have_their_population() -> None:
    found = mf.recipe("cifg_lstm", length=6, hidden=32, inputs=4, objective="isometry", regime="untied", units=256)
    assert found.content.method.population["units"] == 256
    assert not module.closes("lstm")
    [error] = untied_recipes([UntiedRequest("lstm", 6, 32, WHITE)])
    assert isinstance(error, InvalidInput)


def test_what_shared_rules_do_not_settle_comes_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    request = UntiedRequest("janet", 30, 64, mf.Inputs(overlap=0.2, size=8))
    forget()
    [quick] = untied_recipes([request])
    forget()
    monkeypatch.setattr(module, "settled_networks", lambda networks, _: [None] * len(networks))
    [slow] = untied_recipes([request])
    forget()
    assert isinstance(quick, Recipe)
    assert isinstance(slow, Recipe)
    assert quick.content.gates["f"] == slow.content.gates["f"]
    others = numbers_of(slow)
    for name, number in numbers_of(quick).items():
        if name != "timescale":
            assert abs(number.value - others[name].value) <= number.error + others[name].error, name


def test_a_marginal_overlap_is_null() -> None:
    inputs = mf.Inputs(overlap=-1.0, size=8)  # two sequences of opposite sign, and states of opposite sign, at χ = 1
    found = mf.recipe("leaky", length=10, hidden=64, inputs=inputs, objective="isometry", regime="untied")
    assert found.content.predictions.numbers["overlap"].value is None
    assert abs(numbers_of(found)["chi"].value - 1.0) < 1e-10


def test_an_error_is_that_of_its_request_only() -> None:
    good = UntiedRequest("gru", 20, 64, WHITE)
    silent = UntiedRequest("gru", 20, 64, mf.Inputs(power=0.0, size=8))
    same = UntiedRequest("gru", 20, 64, mf.Inputs(overlap=1.0, size=8))
    padded = UntiedRequest("gru", 20, 64, mf.Inputs.padded(signal=3, length=20, size=4))
    unknown = UntiedRequest("no such cell", 20, 64, WHITE)
    found = untied_recipes([silent, good, same, unknown, padded, good])
    kinds = [type(each) for each in found]
    assert kinds == [Infeasible, Recipe, InvalidInput, InvalidInput, InvalidInput, Recipe]
    assert text_of(found[1]) == text_of(found[5]) == alone(good)


def test_a_file_is_read_back_and_both_directions_are_in_it() -> None:
    found = mf.recipe(
        "vanilla", length=20, hidden=16, inputs=28, objective="isometry", regime="untied", bidirectional=True
    )
    assert parse_recipe(json.loads(found.text()), "it") == found.content
    assert [each.direction for each in found.content.layers] == ["reverse"]
    assert found.content.layers[0].gates == found.content.gates
    assert len(found.content.notes) == 2  # the bound of orthogonal matrices, and narrow networks
    assert found.content.defaults is not None
    assert found.content.defaults.predictions.numbers.keys() == found.content.predictions.numbers.keys()


def test_the_cell_whose_rule_is_two_dimensional() -> None:
    found = mf.recipe("gru_reset_after", length=8, hidden=32, inputs=28, objective="isometry", regime="untied")
    assert found.content.method.population["units"] == 0
    assert abs(numbers_of(found)["chi"].value - 1.0) < 1e-10
