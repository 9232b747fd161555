"""Training one network: beside a loop written out in PyTorch, and what ends it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from meanfield.errors import InvalidInput
from meanfield.validation.training.initialisations import initialised_layer
from meanfield.validation.training.settings import Settings
from meanfield.validation.training.tasks import Task, make_task
from meanfield.validation.training.trainer import Network, train


def layer_for(task: Task, cell: str = "lstm", seed: int = 0) -> nn.LSTM | nn.GRU | nn.RNN:
    name = "orthogonal" if cell == "vanilla" else "chrono"
    return initialised_layer(name, cell, input_size=task.input_size, hidden=16, length=task.length, seed=seed)


@pytest.mark.parametrize("name", ["adding", "copy"])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_after", "vanilla"])
def test_beside_a_loop_written_out(name: str, cell: str) -> None:
    task, settings = make_task(name, 12), Settings(iterations=6, evaluate_every=3, clip=0.3, learning_rate=0.01)
    found = train(task, layer_for(task, cell), seed=2, settings=settings)

    layer = layer_for(task, cell)
    readout = Network(layer, task, seed=2).readout
    parameters = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.01, foreach=False)

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        last = layer(inputs)[0][-1]
        return torch.stack([readout(state).reshape(task.answers, task.outputs) for state in last], dim=1)

    def measured() -> float:
        inputs, targets = (torch.from_numpy(each) for each in task.held_out())
        with torch.no_grad():
            said = outputs(inputs)
            if name == "adding":
                return float(((said[..., 0] - targets) ** 2).mean())
            return float((said.argmax(-1) == targets).float().mean())

    expected = [measured()]
    batches = task.batches(2, 64)
    for iteration in range(1, 7):
        inputs, targets = (torch.from_numpy(each) for each in next(batches))
        said = outputs(inputs)
        if name == "adding":
            loss = ((said[..., 0] - targets) ** 2).mean()
        else:
            each = [functional.cross_entropy(part, target) for part, target in zip(said, targets, strict=True)]
            loss = sum(each) / len(each)
        gradients = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient * min(1.0, 0.3 / (norm + 1e-6))
        optimiser.step()
        if iteration % 3 == 0:
            expected.append(measured())
    assert [iteration for iteration, _ in found.curve] == [0, 3, 6]
    # Accuracies are counts of 512 times 5 answers, of which rounding may turn a few over.
    assert [metric for _, metric in found.curve] == pytest.approx(
        expected, rel=1e-4, abs=0.002 if name == "copy" else 0
    )


def test_it_learns_and_stops() -> None:
    # The sign of the first number: three steps back, and the others do not matter.
    task = dataclasses.replace(make_task("delayed_parity", 3), draw=_first_sign)
    layer = layer_for(task)
    found = train(task, layer, seed=0, settings=Settings(iterations=400, learning_rate=0.02))
    assert found.outcome == "learnt"
    assert found.iterations == found.curve[-1][0] < 400
    assert found.final == found.curve[-1][1] >= task.threshold
    assert all(metric < task.threshold for _, metric in found.curve[:-1])


def _first_sign(generator, count, part):  # type: ignore[no-untyped-def]
    batch = make_task("delayed_parity", 3).draw(generator, count, part)
    return batch._replace(targets=(batch.inputs[0].T < 0).astype("int64"))


def test_numbers_that_leave_their_range_are_an_outcome() -> None:
    task = make_task("adding", 10)
    found = train(task, layer_for(task), seed=0, settings=Settings(iterations=40, learning_rate=1e30))
    assert found.outcome == "diverged"
    assert found.iterations is None
    assert all(math.isfinite(metric) for _, metric in found.curve)


def test_weights_that_are_not_numbers_are_an_outcome() -> None:
    task = make_task("copy", 10)
    layer = layer_for(task)
    with torch.no_grad():
        layer.bias_ih_l0[0] = math.nan
    found = train(task, layer, seed=0, settings=Settings(iterations=40))
    assert (found.outcome, found.curve) == ("diverged", ((0, task.chance),))


def test_the_same_seed_gives_the_same_curve() -> None:
    task, settings = make_task("delayed_recall", 15), Settings(iterations=20, evaluate_every=5)
    first, again, other = (
        train(task, layer_for(task), seed=seed, settings=settings, threads=1).curve for seed in (0, 0, 1)
    )
    assert first == again != other


def test_all_layers_get_the_same_readout() -> None:
    task = make_task("adding", 10)
    one, two = (Network(layer_for(task, seed=seed), task, seed=7).readout for seed in (0, 1))
    assert torch.equal(one.weight, two.weight)
    assert not one.bias.any()
    assert not torch.equal(one.weight, Network(layer_for(task), task, seed=8).readout.weight)


def test_threads_are_given_back_and_progress_is_told() -> None:
    task, before, told = make_task("adding", 10), torch.get_num_threads(), []
    inside = []

    def progress(made: int, most: int, metric: float) -> None:
        told.append((made, most))
        inside.append(torch.get_num_threads())

    train(task, layer_for(task), seed=0, settings=Settings(iterations=30), threads=1, progress=progress)
    assert told == [(20, 30), (30, 30)]
    assert inside == [1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.0}, {"clip": math.nan}, {"batch": 0}, {"iterations": 0}, {"evaluate_every": 2.5}],
)
def test_bad_settings(change: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(change))):
        Settings(**change)  # type: ignore[arg-type]


def test_bad_requests() -> None:
    task = make_task("adding", 10)
    with pytest.raises(InvalidInput, match="seed"):
        train(task, layer_for(task), seed=-1)
    with pytest.raises(InvalidInput, match="threads"):
        train(task, layer_for(task), seed=0, threads=0)
