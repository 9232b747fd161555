"""Recipes of every cell, of stacks and directions, of data that are quiet in between, under a budget."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

import meanfield as mf
from meanfield.objective import evaluate, signal_windows
from meanfield.recipe_file import parse_recipe
from meanfield.recipe_stacks import states_of
from meanfield.sampling.population import Layout
from meanfield.search_spaces import SPACES
from meanfield.validation.finite_width import simulate


@pytest.mark.parametrize("cell", list(SPACES))
def test_every_cell_has_a_recipe_whose_inputs_reach_the_end(cell: str) -> None:
    found = mf.recipe(cell, length=16, hidden=64, inputs=4, units=256)
    last = found.content.predictions.input_sensitivity[-1]
    assert last.lag == 15
    assert last.log10_value is not None
    assert last.log10_value > -5
    assert parse_recipe(json.loads(found.text()), "recipe").cell == cell
    assert (found.content.defaults is None) == (cell in ("cifg_lstm", "peephole_lstm", "janet", "minimal", "leaky"))
    assert found.network.matrices.name == ("orthogonal" if cell in ("vanilla", "leaky") else "gaussian")


@pytest.mark.parametrize("cell", ["vanilla", "minimal"])
def test_memory_of_cells_is_that_of_simulated_networks(cell: str) -> None:
    network = mf.recipe(cell, length=12, hidden=64, inputs=4, units=256).network
    rows = [
        evaluate(network, mf.Inputs(size=4), length=12, layout=Layout(2, 3, 192), seed=seed).memory for seed in range(8)
    ]
    if cell == "vanilla":  # without a keep gate: the mean square of the whole Jacobian
        seen = simulate(network, mf.Inputs(size=4), hidden=192, length=12, networks=8, seed=1).gradient_profile[:, 12]
        error = np.hypot(np.std(rows, ddof=1), np.std(seen, ddof=1)) / np.sqrt(8)
        assert abs(np.mean(rows) - np.mean(seen)) < 4 * error + 0.03 * np.mean(seen)
    else:
        bias = network.gates["f"].bias_mean
        assert 0.3 < np.log(np.mean(rows)) / (-24 * np.log1p(np.exp(-bias))) < 5


def test_an_ensemble_that_is_asked_for_is_in_the_file() -> None:
    band = mf.Ensemble("svd", half_width=0.05)
    found = mf.recipe("vanilla", length=10, hidden=48, inputs=4, units=256, ensemble=band)
    laws = found.as_json()["gates"]["h"]["recurrent"]
    assert laws["law"] == "svd"
    assert (laws["centre"], laws["half_width"]) == (1.0, 0.05)
    values = np.linalg.svd(found.sample(seed=1)["h"]["recurrent"], compute_uv=False) / laws["gain"]
    assert np.all(np.abs(values - 1) <= 0.05 + 1e-12)
    layer = mf.torch.initialize(torch.nn.RNN(4, 48), found)
    drawn = np.linalg.svd(layer.weight_hh_l0.detach().numpy(), compute_uv=False) / laws["gain"]
    assert np.all(np.abs(drawn - 1) <= 0.05 + 1e-5)


def test_layers_and_directions_have_laws_of_their_own() -> None:
    inputs = mf.Inputs.padded(signal=4, length=12, size=3, padding_power=0.05)
    found = mf.recipe("gru_reset_after", length=12, hidden=32, inputs=inputs, units=256, layers=2, bidirectional=True)
    places = [(each.layer, each.direction, each.input_size) for each in found.content.layers]
    assert places == [(0, "reverse", 3), (1, "forward", 64), (1, "reverse", 64)]
    assert len({network.gates["f"].bias_mean for network in found.networks}) == 4
    layer = mf.torch.initialize(torch.nn.GRU(3, 32, num_layers=2, bidirectional=True), found)
    for suffix, network in zip(("l0", "l0_reverse", "l1", "l1_reverse"), found.networks, strict=True):
        keep = getattr(layer, f"bias_ih_{suffix}")[32:64]
        law = network.gates["f"]
        assert abs(float(keep.detach().mean()) - law.bias_mean) < 5 * law.bias_std / 32**0.5 + 1e-5
    with pytest.raises(mf.InvalidInput, match="recipe: is of 4 layers and directions, but the module has 2"):
        mf.torch.initialize(torch.nn.GRU(3, 32, num_layers=2), found)
    again = parse_recipe(json.loads(found.text()), "recipe")
    assert again == found.content


def test_one_layer_in_both_directions_of_endless_inputs_is_designed_once() -> None:
    found = mf.recipe("gru", length=8, hidden=32, inputs=3, units=256, bidirectional=True)
    (reverse,) = found.content.layers
    assert reverse.direction == "reverse"
    assert reverse.gates == found.content.gates


def test_states_for_the_layer_above_are_those_of_networks() -> None:
    network = mf.recipe("lstm", length=10, hidden=64, inputs=4, units=256).network
    data = np.random.default_rng(0).normal(size=(8, 10, 4)).astype(np.float32)
    passed = np.stack([states_of(network, data, hidden=96, seed=seed) for seed in range(8)])
    seen = simulate(network, mf.Inputs(size=4), hidden=96, length=10, networks=24, seed=1).second_moment
    mine = np.mean(passed**2, axis=(1, 3))
    error = np.hypot(np.std(mine, axis=0, ddof=1) / np.sqrt(8), np.std(seen, axis=0, ddof=1) / np.sqrt(24))
    # All of mine read the same eight sequences, those of the simulations each one of their own.
    assert np.all(np.abs(np.mean(mine, axis=0) - np.mean(seen, axis=0)) < 4 * error + 0.15 * np.mean(seen, axis=0))


def test_quarters_in_which_all_sequences_are_the_same_do_not_count() -> None:
    data = np.zeros((6, 40, 3))
    data[:, :10] = np.random.default_rng(0).normal(size=(6, 10, 3))
    data[:, -1] = 1.0  # a cue, the same for all
    inputs = mf.Inputs.from_data(data)
    assert signal_windows(inputs, 40) == [slice(0, 10)]
    found = mf.recipe("lstm", length=40, hidden=32, inputs=inputs, units=256)
    assert found.content.method.terms["signal"] > -2


def test_a_budget_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()  # a clock that goes on by one whenever it is looked at
    monkeypatch.setattr("meanfield.design.monotonic", lambda: next(seconds))
    found = mf.recipe("lstm", length=10, hidden=32, inputs=3, units=256, budget=4.0)
    assert found.content.method.status == "the budget of 4 s was spent"
    assert found.content.method.search == {"evaluations": 28}  # 16 of the scan, three rounds
    whole = mf.recipe("lstm", length=10, hidden=32, inputs=3, units=256, budget=1000.0)
    assert whole.content.method.search["evaluations"] > 24
    least = mf.recipe("lstm", length=10, hidden=32, inputs=3, units=256, budget=0.1)
    assert least.content.method.search == {"evaluations": 8}


def test_notes_say_when_the_default_is_fine_and_when_a_layer_is_narrow() -> None:
    short = mf.recipe("lstm", length=4, hidden=64, inputs=4, units=256)
    assert any("default lets all inputs reach the last state too" in note for note in short.content.notes)
    narrow = mf.recipe("lstm", length=60, hidden=8, inputs=4, units=256)
    assert len(narrow.content.notes) == 1
    assert "at 8 units E[h²] of one network scatters by about" in narrow.content.notes[0]
    shown = float(narrow.content.notes[0].split("about ")[1].split("%")[0]) / 100
    runs = simulate(narrow.network, mf.Inputs(size=4), hidden=8, length=60, networks=200, seed=2).second_moment[:, -1]
    seen = np.std(runs, ddof=1) / np.mean(runs)
    assert shown / 3 < seen < 3 * shown
