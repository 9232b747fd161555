"""The search for a recipe against searching everywhere, and its model of the terms against what it models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import qmc

import meanfield as mf
from meanfield.design import EVALUATIONS, search, search_layout
from meanfield.objective import evaluate, evaluate_many
from meanfield.objective_terms import ManyTerms, Terms
from meanfield.search_spaces import search_space
from meanfield.term_model import TermModel

Float64 = NDArray[np.float64]


def power_laws(point: Float64) -> Terms:
    """Terms whose logarithms are linear in the point, and penalties that set in within the square."""
    x, y = point
    return Terms(
        second_moment=0.2 * math.exp(x - 1.0),
        variance=0.02 * math.exp(y),
        responses=(0.05 * math.exp(-x), 0.03, 0.01 * math.exp(y - x), 0.02),
        drive=math.exp(2.0 * x - 1.0),
        memory=0.1 * math.exp(-2.0 * y),
        memory_spread=math.exp(2.0 * x * 0.7),
        bias_response=30.0 * math.exp(2.0 * y - x),
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_model_knows_power_laws_and_the_kinks_of_their_penalties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random((5, 2))
    model = TermModel.through(points, [power_laws(point) for point in points])
    places = rng.random((200, 2))
    expected = np.array([power_laws(place).value() for place in places])
    np.testing.assert_allclose(model.values(places), expected, atol=1e-6)
    assert len({tuple(power_laws(place).binding()) for place in places}) > 4  # on both sides of many kinks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("where", ["anywhere", "around"])
def test_proposals_are_new_apart_and_the_best_of_the_model(seed: int, where: str) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random((8, 2))
    model = TermModel.through(points, [power_laws(point) for point in points])
    best = points[np.argmax(model.values(points))]
    known: dict[str, Any] = {"avoid": points, "generator": np.random.default_rng(seed)}
    made = model.anywhere(4, **known) if where == "anywhere" else model.around(best, 0.3, 4, **known)
    assert made.shape == (4, 2)
    assert np.all((made >= 0.0) & (made <= 1.0))
    distances = np.max(np.abs(made[:, None] - np.concatenate((made, points))), axis=2)
    assert np.sort(distances, axis=1)[:, 1].min() > 2e-3
    places = rng.random((5000, 2)) if where == "anywhere" else np.clip(best + rng.uniform(-0.3, 0.3, (5000, 2)), 0, 1)
    assert model.values(made[:1])[0] > np.max(model.values(places)) - 0.05
    if where == "around":
        far = np.max(np.abs(made - best), axis=1)
        assert np.all(far[:-1] <= 0.3)
        assert far[-1] > 0.3


def test_many_terms_are_terms() -> None:
    points = np.random.default_rng(0).random((6, 2))
    terms = [power_laws(point) for point in points]
    many = ManyTerms.of_logarithms(np.array([each.logarithms() for each in terms]))
    np.testing.assert_allclose(many.values(), [each.value() for each in terms], rtol=1e-12)


@pytest.mark.parametrize(
    ("cell", "length", "inputs"),
    [
        ("lstm", 12, mf.Inputs(size=4)),
        ("gru_reset_after", 12, mf.Inputs(size=8)),
        ("vanilla", 20, mf.Inputs(size=8)),
        ("janet", 16, mf.Inputs.padded(signal=4, length=16, padding_power=0.2, size=6)),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_search_finds_what_searching_everywhere_finds(cell: str, length: int, inputs: mf.Inputs) -> None:
    """A Sobol sequence of 512 networks, with the random numbers of the search, is hardly ever better."""
    space, layout, seed = search_space(cell), search_layout(inputs), 5
    found = search(cell, inputs, length=length, seed=seed)
    assert found.evaluations <= EVALUATIONS
    reached = evaluate(found.network, inputs, length=length, layout=layout, seed=seed).value()
    points = qmc.Sobol(len(space.parameters), seed=np.random.default_rng(1)).random(512)
    everywhere = []
    for start in range(0, 512, 32):
        networks = [
            mf.Network(cell, space.gates(space.values(point, length), 1.0), space.ensemble)
            for point in points[start : start + 32]
        ]
        made = evaluate_many(networks, inputs, length=length, layout=layout, seed=seed)
        everywhere += [terms.value() for terms in made if terms is not None]
    assert reached > max(everywhere) - 0.02


def test_the_same_seed_finds_the_same_network() -> None:
    one, other = (search("janet", mf.Inputs(size=4), length=12, seed=3) for _ in range(2))
    assert one == other
    assert search("janet", mf.Inputs(size=4), length=12, seed=4).parameters != one.parameters


def test_sequences_that_overlap_negatively_are_as_many_as_there_can_be() -> None:
    assert search_layout(mf.Inputs(overlap=-1.0, size=1)).sequences == 2
    assert search_layout(mf.Inputs(overlap=-0.3, size=1)).sequences == 4
