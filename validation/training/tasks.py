"""What a training task is, and how one is made by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count, check_number
from meanfield.errors import InvalidInput
from meanfield.validation.training import image_tasks, sequence_tasks
from meanfield.validation.training.batches import Batch, Draw, Part, Sketch

Float32 = NDArray[np.float32]
Loss = Literal["cross entropy", "mean squared error"]
Metric = Literal["accuracy", "mean squared error"]

HELD_OUT = 512
DESIGN_SEQUENCES = 256
# Streams of random numbers that never meet: training data of a seed, held-out data, data for designing.
_TRAINING, _HELD_OUT, _DESIGN = 1, 2, 3


@dataclass(frozen=True)
class Task:
    """Sequences of T steps and what a network is to say at the end of them.

    Attributes:
        name: of the task.
        length: T.
        input_size: M.
        signal: steps at the beginning that hold all that is to be remembered.
        answers: how many things are to be said.
        outputs: numbers read out for each of them: as many as classes, or 1.
        loss: ``"cross entropy"`` or ``"mean squared error"``.
        chance: the metric of a network that ignores its inputs.
        threshold: the metric from which on the task counts as learnt.
        options: what else it was made with, as padding_power.
    """

    name: str
    length: int
    input_size: int
    signal: int
    answers: int
    outputs: int
    loss: Loss
    chance: float
    threshold: float
    draw: Draw = field(repr=False, compare=False)
    options: Mapping[str, str | float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def metric(self) -> Metric:
        """What is measured on held-out sequences: the accuracy of classes, the mean squared error of numbers."""
        return "accuracy" if self.loss == "cross entropy" else "mean squared error"

    def learnt(self, metric: float) -> bool:
        """Whether a metric counts as learnt."""
        return metric >= self.threshold if self.metric == "accuracy" else metric <= self.threshold

    def batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Training batches without end; the same seed gives the same ones."""
        generator = np.random.default_rng([seed, _TRAINING])
        while True:
            yield self.draw(generator, size, "training")

    def held_out(self, count: int = HELD_OUT) -> Batch:
        """Sequences that are never trained on, always the same; of images as many as there are, at most ``count``."""
        return self.draw(np.random.default_rng(_HELD_OUT), count, "held out")

    def design_inputs(self, count: int = DESIGN_SEQUENCES) -> Float32:
        """Sequences of the kind that is trained on, for designing, (count, T, M)."""
        inputs = self.draw(np.random.default_rng(_DESIGN), count, "training").inputs
        return np.ascontiguousarray(np.swapaxes(inputs, 0, 1))


_MAKERS: dict[str, Callable[[int], Sketch]] = {
    "adding": sequence_tasks.adding,
    "copy": sequence_tasks.copy,
    "delayed_parity": sequence_tasks.delayed_parity,
    "delayed_recall": sequence_tasks.delayed_recall,
    "temporal_order": sequence_tasks.temporal_order,
}
_IMAGE_MAKERS: dict[str, Callable[[int, float, Path | None], Sketch]] = {
    "padded_digits": image_tasks.padded_digits,
    "padded_pixels": image_tasks.padded_pixels,
    "sequential_pixels": image_tasks.sequential_pixels,
    "permuted_pixels": image_tasks.permuted_pixels,
}
TASKS = (*_MAKERS, *_IMAGE_MAKERS)
_PADDED = ("padded_digits", "padded_pixels")


def make_task(name: str, length: int, *, padding_power: float = 0.1, mnist: Path | None = None) -> Task:
    """A task by its name.

    Args:
        name: one of ``TASKS``.
        length: T, the number of steps.
        padding_power: mean square of the noise that follows the image in padded tasks; 0 for zeros.
        mnist: a folder with MNIST's IDX files, gzipped or not; scikit-learn's digits by default.

    Returns:
        The task.

    Raises:
        InvalidInput: if there is no such task, it does not fit into so few steps, a folder lacks MNIST's files, or
            scikit-learn is needed and not installed.

    >>> task = make_task("adding", 100)
    >>> inputs, targets = next(task.batches(seed=0, size=64))
    >>> inputs.shape, targets.shape
    ((100, 64, 2), (1, 64))
    """
    check_count("length", length, 1)
    check_number("padding_power", padding_power, 0.0, np.inf)
    options: dict[str, str | float] = {}
    if name in _MAKERS:
        sketch = _MAKERS[name](length)
    elif name in _IMAGE_MAKERS:
        sketch = _IMAGE_MAKERS[name](length, padding_power, mnist)
        options["images"] = "digits" if mnist is None else "mnist"
        if name in _PADDED:
            options["padding_power"] = float(padding_power)
    else:
        raise InvalidInput(f"task: must be one of {', '.join(TASKS)}, got {name!r}")
    return Task(
        name=name,
        length=length,
        input_size=sketch.input_size,
        signal=sketch.signal,
        answers=sketch.answers,
        outputs=sketch.outputs,
        loss="cross entropy" if sketch.outputs > 1 else "mean squared error",
        chance=sketch.chance,
        threshold=sketch.threshold,
        draw=sketch.draw,
        options=MappingProxyType(options),
    )


__all__ = ["DESIGN_SEQUENCES", "HELD_OUT", "TASKS", "Batch", "Loss", "Metric", "Part", "Task", "make_task"]
