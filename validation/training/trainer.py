"""Training one network: Adam, clipped gradients, a linear readout of the last state, until the task is learnt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from meanfield.checks import check_count
from meanfield.validation.training.batches import Batch
from meanfield.validation.training.initialisations import Layer
from meanfield.validation.training.settings import Settings
from meanfield.validation.training.singular_values import SingularValueRange
from meanfield.validation.training.tasks import Task

Outcome = Literal["learnt", "not learnt", "diverged"]
Progress = Callable[[int, int, float], None]
"""Called as progress(iterations made, iterations at most, last metric)."""

_HELD_OUT_BATCH = 256
_READOUT_SEEDS = 1 << 40


@dataclass(frozen=True)
class Training:
    """What came of training one network.

    Attributes:
        outcome: ``"learnt"`` if the threshold was reached, ``"diverged"`` if numbers left their range.
        curve: (iteration, metric on held-out sequences), from iteration 0 on; all finite.
        seconds: it took.
        singular_values: smallest and largest of the recurrent matrix over all steps, from before the first one on; None
            for gated layers.
    """

    outcome: Outcome
    curve: tuple[tuple[int, float], ...]
    seconds: float
    singular_values: tuple[float, float] | None = None

    @property
    def iterations(self) -> int | None:
        """Iterations after which the threshold was first seen to be reached, None if it never was."""
        return self.curve[-1][0] if self.outcome == "learnt" else None

    @property
    def final(self) -> float:
        """The last metric."""
        return self.curve[-1][1]


class Network(nn.Module):
    """A recurrent layer and a linear readout of its last state."""

    def __init__(self, layer: Layer, task: Task, seed: int) -> None:
        super().__init__()
        self.layer = layer
        self.answers, self.outputs = task.answers, task.outputs
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            # Not the seed itself: layers are drawn from that one, and their weights are to be independent of these.
            torch.manual_seed(_READOUT_SEEDS + seed)
            self.readout = nn.Linear(layer.hidden_size, task.answers * task.outputs)
            self.readout.bias.zero_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs after the last step, (answers, sequences, outputs)."""
        states, _ = self.layer(inputs)
        read: torch.Tensor = self.readout(states[-1])
        return read.view(len(read), self.answers, self.outputs).transpose(0, 1)


def train(
    task: Task,
    layer: Layer,
    *,
    seed: int,
    settings: Settings | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Training:
    """Train a layer on a task; the same seed gives every layer the same data in the same order and the same readout.

    Args:
        task: what is learnt.
        layer: as it was initialised; trained in place.
        seed: of data and readout.
        settings: of the optimiser.
        threads: of PyTorch, while this runs; its own setting by default.
        progress: told after every measurement.

    Returns:
        The outcome and the learning curve.

    Raises:
        InvalidInput: if seed or threads are out of range.

    >>> from meanfield.validation.training.initialisations import initialised_layer
    >>> from meanfield.validation.training.tasks import make_task
    >>> layer = initialised_layer("chrono", "lstm", input_size=2, hidden=16, length=10, seed=0)
    >>> found = train(make_task("adding", 10), layer, seed=0, settings=Settings(iterations=40))
    >>> found.outcome, [iteration for iteration, _ in found.curve]
    ('not learnt', [0, 20, 40])
    """
    check_count("seed", seed, 0)
    settings = Settings() if settings is None else settings
    begun = time.perf_counter()
    with _torch_threads(threads):
        network = Network(layer, task, seed)
        parameters = list(network.parameters())
        optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate, foreach=True)
        held_out = _tensors(task.held_out(settings.held_out))
        seen = SingularValueRange(layer)
        seen.look()
        curve = [(0, _measured(network, task, held_out))]
        outcome: Outcome = "not learnt"
        if not math.isfinite(curve[0][1]):
            return Training("diverged", ((0, task.chance),), time.perf_counter() - begun, seen.extremes)
        for iteration, batch in enumerate(task.batches(seed, settings.batch), start=1):
            inputs, targets = _tensors(batch)
            optimiser.zero_grad(set_to_none=True)
            loss = _loss(network(inputs), targets, task)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, settings.clip, foreach=True)
            if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                outcome = "diverged"
                break
            optimiser.step()
            seen.look()
            if iteration % settings.evaluate_every == 0 or iteration == settings.iterations:
                metric = _measured(network, task, held_out)
                if not math.isfinite(metric):
                    outcome = "diverged"
                    break
                curve.append((iteration, metric))
                if progress is not None:
                    progress(iteration, settings.iterations, metric)
                if task.learnt(metric):
                    outcome = "learnt"
                    break
            if iteration == settings.iterations:
                break
    return Training(outcome, tuple(curve), time.perf_counter() - begun, seen.extremes)


def _loss(outputs: torch.Tensor, targets: torch.Tensor, task: Task) -> torch.Tensor:
    if task.loss == "cross entropy":
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    return functional.mse_loss(outputs[..., 0], targets)


def _measured(network: Network, task: Task, held_out: tuple[torch.Tensor, torch.Tensor]) -> float:
    """The metric on held-out sequences, NaN if an output is not finite."""
    inputs, targets = held_out
    with torch.no_grad():
        starts = range(0, inputs.shape[1], _HELD_OUT_BATCH)
        outputs = torch.cat([network(inputs[:, start : start + _HELD_OUT_BATCH]) for start in starts], dim=1)
        if not bool(torch.isfinite(outputs).all()):
            return math.nan
        if task.metric == "accuracy":
            return float((outputs.argmax(dim=-1) == targets).double().mean())
        return float((outputs[..., 0] - targets).double().square().mean())


def _tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)


@contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    check_count("threads", count, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
