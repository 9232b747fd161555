"""Plain layers in training studies: bands of singular values at every step, and files of before."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import meanfield as mf
from meanfield import recipes
from meanfield.errors import InvalidInput
from meanfield.validation.training import tables, trainer
from meanfield.validation.training.initialisations import initialised_layer
from meanfield.validation.training.runs import Run, read_runs
from meanfield.validation.training.settings import Band, Settings
from meanfield.validation.training.singular_values import SingularValueRange
from meanfield.validation.training.studies import Progress, Study, run_study
from meanfield.validation.training.tasks import make_task
from meanfield.validation.training.trainer import train

SETTINGS = Settings(iterations=4, evaluate_every=2, batch=8, held_out=16)
ROUNDING = 64 * float(np.finfo(np.float32).eps)  # of a product of some tens of reflectors

# Of a study from before there were plain layers: lines, and the keys that they had.
OLD_LINES = [
    '{"format": "meanfield.training/1", "task": "adding", "options": {}, "length": 8, '
    '"metric": "mean squared error", "chance": 0.16666666666666666, "threshold": 0.02, '
    f'"cell": "{cell}", "hidden": 4, "initialisation": "{name}", "objective": {objective}, "request_hash": {request}, '
    '"seed": 0, "settings": {"learning_rate": 0.001, "batch": 8, "clip": 1.0, "iterations": 4, "evaluate_every": 2, '
    '"held_out": 512}, "outcome": "not learnt", "reason": null, "iterations": null, "final": 1.054559156660423, '
    '"curve": [[0, 1.075400499938308], [2, 1.0649617435406797], [4, 1.054559156660423]], "seconds": 2.529, '
    '"versions": {"meanfield": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu", "numpy": "2.4.6"}}\n'
    for cell, name, objective, request in (
        ("lstm", "chrono", "null", "null"),
        ("gru_reset_after", "chrono", "null", "null"),
        ("lstm", "recipe", '"learn/1"', '"2eb69690"'),
    )
]
OLD_KEYS = [
    f'{{"cell": "{cell}", "hidden": 4, "initialisation": "{name}", "length": 8, "objective": {objective}, '
    '"options": {}, "seed": 0, "settings": {"batch": 8, "clip": 1.0, "evaluate_every": 2, "held_out": 512, '
    '"iterations": 4, "learning_rate": 0.001}, "task": "adding"}'
    for cell, name, objective in (
        ("lstm", "chrono", "null"),
        ("gru_reset_after", "chrono", "null"),
        ("lstm", "recipe", '"learn/1"'),
    )
]


def spectral_layer(half_width: float, hidden: int = 16, seed: int = 0, **others: Any) -> Any:
    band = Band(half_width, reflectors=5)
    return initialised_layer(
        "spectral", "vanilla", input_size=2, hidden=hidden, length=12, seed=seed, band=band, **others
    )


def counted(study: Study, path: Path) -> tuple[list[Run], int]:
    """A study's runs, and how many of them were trained now."""
    finished: list[Run] = []
    found = run_study(study, path, progress=Progress(finished=finished.append))
    return found, len(finished)


def test_lines_of_before_are_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(OLD_LINES))
    runs = read_runs(path)
    assert [run.key for run in runs] == OLD_KEYS
    assert [run.line() for run in runs] == OLD_LINES
    # They are not trained again, and what is added for gated cells has the fields of before and no others.
    task, settings = make_task("adding", 8), Settings(iterations=4, evaluate_every=2, batch=8)
    study = Study([task], ["lstm", "gru_reset_after"], ["chrono"], seeds=2, hidden=4, settings=settings)
    assert [request.key for request in study.requests[:2]] == OLD_KEYS[:2]
    found, trained = counted(study, path)
    assert (found[:2], trained) == (runs[:2], 2)
    lines = path.read_text().splitlines(keepends=True)
    assert lines[:3] == OLD_LINES
    assert [list(json.loads(line)) for line in lines] == [list(json.loads(OLD_LINES[0]))] * 5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("half_width", "learning_rate"), [(0.01, 1e-3), (0.01, 0.1), (0.3, 0.1), (0.3, 1.0)])
def test_the_band_holds_at_every_step(
    half_width: float, learning_rate: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[float]] = []

    class Watched(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            done = super().step(closure)
            with torch.no_grad():
                # Beside the recorded numbers, of the matrix in NumPy.
                values = np.linalg.svd(layer.weight_hh.numpy().astype(np.float64), compute_uv=False)
            found.append([values[-1], values[0]])
            return done

    monkeypatch.setattr(trainer.torch.optim, "Adam", Watched)
    layer = spectral_layer(half_width, seed=seed)
    task = make_task("adding", 12)
    settings = Settings(iterations=60, batch=16, held_out=32, learning_rate=learning_rate)
    trained = train(task, layer, seed=seed, settings=settings)
    steps = np.array(found)
    assert len(steps) == 60 or trained.outcome == "learnt"
    assert np.all(steps[:, 0] > 1.0 - half_width - ROUNDING)
    assert np.all(steps[:, 1] < 1.0 + half_width + ROUNDING)
    assert trained.singular_values is not None
    low, high = trained.singular_values
    assert low == pytest.approx(min(1.0, steps[:, 0].min()), abs=ROUNDING)
    assert high == pytest.approx(max(1.0, steps[:, 1].max()), abs=ROUNDING)
    # They have moved: a band that nothing strives against would tell nothing.
    assert high - low > 1e-3 * half_width


def test_a_matrix_that_is_free_leaves_the_band() -> None:
    layer = initialised_layer("orthogonal", "vanilla", input_size=2, hidden=16, length=12, seed=0)
    found = train(make_task("adding", 12), layer, seed=0, settings=Settings(iterations=40, learning_rate=0.02))
    assert found.singular_values is not None
    assert found.singular_values[0] < 0.99
    assert found.singular_values[1] > 1.01


def test_the_range_is_of_all_steps() -> None:
    layer = nn.RNN(2, 3)
    seen = SingularValueRange(layer)
    assert seen.extremes is None
    for values in ([1.0, 2.0, 3.0], [0.5, 1.0, 2.0], [1.0, math.nan, 1.0], [1.0, 1.0, 1.0]):
        with torch.no_grad():
            layer.weight_hh_l0.copy_(torch.diag(torch.tensor(values)))
        seen.look()
    assert seen.extremes == pytest.approx((0.5, 3.0))
    for gated in (nn.LSTM(2, 3), nn.GRU(2, 3)):
        seen = SingularValueRange(gated)
        seen.look()
        assert seen.extremes is None


@pytest.mark.parametrize("seed", [0, 7])
def test_spectral_layers(seed: int) -> None:
    before = torch.random.get_rng_state()
    layer = spectral_layer(0.05, hidden=32, seed=seed)
    assert isinstance(layer, mf.torch.SpectralRNN)
    assert layer.left.shape == layer.right.shape == (1, 5, 32)
    expected = mf.torch.SpectralRNN(2, 32, 5, 5, half_width=0.05, seed=seed)
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, getattr(layer, name))
    # The recipe's input weights and biases are those of a layer of the recipe itself.
    network = mf.Network("vanilla", {"h": mf.Gate(1.2, 0.7, bias_mean=0.3, bias_std=0.1)}, mf.Ensemble("orthogonal"))
    shape = {"input_size": 2, "hidden": 32, "length": 12, "seed": seed, "recipe": network}
    plain, banded = (initialised_layer(name, "vanilla", **shape) for name in ("recipe", "spectral_recipe"))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(banded.weight_ih, plain.weight_ih_l0)
    assert torch.equal(banded.bias, plain.bias_ih_l0)
    assert not plain.bias_hh_l0.any()
    assert banded.left.shape == (1, 8, 32)
    assert torch.linalg.svdvals(banded.weight_hh).sub(1.0).abs().max() < ROUNDING
    assert torch.linalg.svdvals(plain.weight_hh_l0).sub(1.2).abs().max() < 1.2 * ROUNDING
    assert all(parameter.requires_grad for parameter in banded.parameters())


def test_a_study_of_plain_and_gated_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    designed: list[str] = []
    real = recipes.recipe

    def recipe(cell: str, **options: Any) -> recipes.Recipe:
        designed.append(cell)
        return real(cell, units=256, **options)

    monkeypatch.setattr(recipes, "recipe", recipe)
    path, names = tmp_path / "runs.jsonl", ["recipe", "orthogonal", "spectral", "spectral_recipe", "chrono"]
    task = make_task("adding", 12)
    study = Study([task], ["lstm", "vanilla"], names, seeds=1, hidden=8, settings=SETTINGS)
    found, trained = counted(study, path)
    assert [(run.cell, run.initialisation) for run in found] == [
        *(("lstm", name) for name in ("recipe", "orthogonal", "chrono")),
        *(("vanilla", name) for name in ("recipe", "orthogonal", "spectral", "spectral_recipe")),
    ]
    assert (trained, designed) == (7, ["lstm", "vanilla"])
    by_name = {run.initialisation: run for run in found if run.cell == "vanilla"}
    assert by_name["recipe"].request_hash == by_name["spectral_recipe"].request_hash is not None
    assert by_name["recipe"].objective == by_name["spectral_recipe"].objective is not None
    assert by_name["spectral"].objective is None
    assert [(run.band.half_width, run.band.reflectors) for run in found if run.band] == [(0.01, 2)] * 2
    assert [run.cell for run in found if run.singular_values is None] == ["lstm"] * 3
    assert read_runs(path) == found
    # The default number of reflectors is that number; another band is another run.
    assert counted(study_of(Band(0.01, 2), task), path)[1] == 0
    assert counted(study_of(Band(0.1), task), path)[1] == 1
    gated, plain = tables.rows_of(read_runs(path))
    assert list(gated.entries) == ["recipe", "orthogonal", "chrono"]
    assert list(plain.entries)[2:] == [
        "spectral ±0.01, 2 reflectors",
        "spectral_recipe ±0.01, 2 reflectors",
        "spectral ±0.1, 2 reflectors",
    ]
    standing = dict(zip(*(tables.cells_of([gated, plain])[line] for line in (0, -1)), strict=True))
    assert standing["spectral ±0.1, 2 reflectors"] == "–"


def study_of(band: Band, task: Any) -> Study:
    return Study([task], ["vanilla"], ["spectral"], seeds=1, hidden=8, settings=SETTINGS, band=band)


def test_numbers_that_leave_their_range_are_an_outcome() -> None:
    task = make_task("adding", 10)
    found = train(task, spectral_layer(0.01), seed=0, settings=Settings(iterations=40, learning_rate=1e30))
    assert found.outcome == "diverged"
    assert found.singular_values is not None
    assert all(math.isfinite(each) for each in found.singular_values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": ["lstm"]}, "initialisations: 'spectral' goes with nothing that is asked for; lstm has recipe"),
        ({"initialisations": ["chrono", "spectral"]}, "initialisations: 'chrono' goes with nothing"),
        ({"cells": ["lstm", "vanilla"], "initialisations": ["spectral"]}, "cell: 'lstm' goes with nothing"),
        ({"band": Band(0.01, 5)}, "reflectors: must be from 1 to 4"),
    ],
)
def test_studies_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    request = {"tasks": [make_task("adding", 8)], "cells": ["vanilla"], "initialisations": ["spectral"], "hidden": 4}
    with pytest.raises(InvalidInput, match=message):
        Study(**(request | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"half_width": 1.0}, "half_width"),
        ({"half_width": 0.0}, "half_width"),
        ({"half_width": math.nan}, "half_width"),
        ({"reflectors": 0}, "reflectors"),
    ],
)
def test_bad_bands(change: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Band(**change)  # type: ignore[arg-type]
