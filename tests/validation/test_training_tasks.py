"""Tasks of the training evidence: what they ask for, taken from their inputs by other means."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from meanfield.errors import InvalidInput
from meanfield.validation.training.images import digit_images
from meanfield.validation.training.tasks import TASKS, Task, make_task

COUNT = 2000


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return make_task(request.param, 100)


def test_shapes_and_seeds(task: Task) -> None:
    first, again, other = (next(task.batches(seed=seed, size=32)) for seed in (3, 3, 4))
    assert first.inputs.shape == (100, 32, task.input_size)
    assert first.inputs.dtype == np.float32
    assert np.isfinite(first.inputs).all()
    assert first.targets.shape == (task.answers, 32)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.inputs, other.inputs)
    assert np.array_equal(task.held_out().inputs, task.held_out().inputs)
    assert task.design_inputs(24).shape == (24, 100, task.input_size)
    if task.outputs > 1:
        assert first.targets.dtype == np.int64
        assert 0 <= first.targets.min() <= first.targets.max() < task.outputs


def test_chance_is_what_a_constant_answer_gets(task: Task) -> None:
    targets = next(task.batches(seed=0, size=COUNT)).targets
    if task.outputs == 1:
        errors = (targets.astype(np.float64) - 1.0) ** 2
        assert errors.mean() == pytest.approx(task.chance, abs=4 * errors.std() / math.sqrt(COUNT))
    else:
        # No class is much more frequent than the others; those of the images are as frequent as they are in the data.
        shares = np.bincount(targets.ravel(), minlength=task.outputs) / targets.size
        slack = 0.01 if "images" in task.options else 0.0
        scatter = 4 * math.sqrt(task.chance * (1 - task.chance) / targets.size)
        assert np.abs(shares - task.chance).max() < scatter + slack
    assert not task.learnt(task.chance)
    assert task.learnt(1.0 if task.metric == "accuracy" else 0.0)


def test_signal_is_all_that_answers_depend_on(task: Task) -> None:
    # The answer, computed from the first steps alone.
    inputs, targets = task.held_out(64)
    told = inputs[: task.signal]
    answers = {
        "adding": lambda: (told[:, :, 0] * told[:, :, 1]).sum(axis=0)[None],
        "copy": lambda: told.argmax(axis=2),
        "delayed_parity": lambda: (np.prod(told[:, :, 0], axis=0, keepdims=True) < 0).astype(int),
        "delayed_recall": lambda: (told[:, :, :8] * told[:, :, 8:]).sum(axis=0).argmax(axis=1)[None],
        "temporal_order": lambda: np.array(
            [[int("".join("01"[symbol - 2] for symbol in row if symbol in (2, 3)), 2) for row in told.argmax(axis=2).T]]
        ),
    }
    if task.name in answers:
        assert np.allclose(answers[task.name](), targets, rtol=0, atol=1e-6)
    if task.name in ("copy", "delayed_parity"):
        assert not inputs[task.signal :].any()
    if task.name == "adding":
        assert (inputs[:50, :, 1].sum(axis=0) == 1).all()
        assert (inputs[50:, :, 1].sum(axis=0) == 1).all()


@pytest.mark.parametrize("name", ["padded_digits", "padded_pixels"])
@pytest.mark.parametrize("power", [0.0, 0.25])
def test_padded_images(name: str, power: float) -> None:
    task = make_task(name, 100, padding_power=power)
    inputs, targets = task.held_out(50)
    images = digit_images()
    known = {image.tobytes(): label for image, label in zip(images.held_out, images.held_out_labels, strict=True)}
    shown = np.swapaxes(inputs[: task.signal], 0, 1).reshape(-1, 8, 8)
    assert [known[image.tobytes()] for image in shown] == targets[0].tolist()
    padding = inputs[task.signal :].astype(np.float64)
    scatter = power * math.sqrt(2.0 / padding.size)
    assert np.mean(padding**2) == pytest.approx(power, abs=4 * scatter)


def test_held_out_images_are_not_trained_on() -> None:
    images = digit_images()
    assert (len(images.training), len(images.held_out)) == (1437, 360)
    trained = {image.tobytes() for image in images.training}
    assert not any(image.tobytes() in trained for image in images.held_out)
    assert np.mean(images.training, dtype=np.float64) == pytest.approx(0.0, abs=1e-5)
    assert np.mean(np.square(images.training, dtype=np.float64)) == pytest.approx(1.0, abs=1e-5)


def test_pixels_in_order_and_permuted() -> None:
    ordered, permuted = (make_task(name, 70).held_out(30) for name in ("sequential_pixels", "permuted_pixels"))
    images = digit_images()
    known = {image.tobytes() for image in images.held_out}
    # 70 steps hold 8 by 8 pixels as they are, and six blanks.
    assert all(image.tobytes() in known for image in ordered.inputs[:64, :, 0].T)
    assert not ordered.inputs[64:].any()
    assert np.array_equal(ordered.targets, permuted.targets)
    # The same order for every image: pairs of steps that are equal in all of them match up uniquely but for constants.
    assert np.array_equal(np.sort(ordered.inputs, axis=0), np.sort(permuted.inputs, axis=0))
    columns = {row.tobytes() for row in ordered.inputs[:, :, 0]}
    assert all(row.tobytes() in columns for row in permuted.inputs[:, :, 0])
    assert not np.array_equal(ordered.inputs, permuted.inputs)


def test_resized_images_keep_what_is_linear() -> None:
    # A picture of one shade and a ramp come out as they were, away from the rim.
    ramp = np.broadcast_to(np.arange(8.0, dtype=np.float32), (3, 8, 8))
    images = digit_images()
    finer = type(images)(ramp, images.training_labels[:3], ramp, images.held_out_labels[:3]).resized(16).training
    steps = np.diff(finer[:, :, 2:-2].astype(np.float64), axis=2)
    assert np.allclose(steps, steps[0, 0, 0], rtol=1e-4)
    assert np.allclose(np.diff(finer, axis=1), 0.0)
    assert images.resized(14).training.shape == (1437, 14, 14)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 10)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array, magic in ((f"{part}-images-idx3", pixels, 2051), (f"{part}-labels-idx1", labels, 2049)):
            header = np.array([magic, *array.shape], dtype=">u4").tobytes()
            content = header + array.tobytes()
            if part == "train":
                (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (tmp_path / f"{name}-ubyte").write_bytes(content)
    digit_images.cache_clear()
    return tmp_path


def test_mnist_files(mnist: Path) -> None:
    task = make_task("sequential_pixels", 784, mnist=mnist)
    inputs, targets = task.held_out(10)
    raw = np.frombuffer((mnist / "t10k-images-idx3-ubyte").read_bytes()[16:], dtype=np.uint8).reshape(10, 784)
    for column, label in zip(inputs[:, :, 0].T, targets[0], strict=True):
        # Images were made so that the k-th shows digit k.
        assert np.corrcoef(column, raw[label])[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert task.options == {"images": "mnist"}
    assert make_task("padded_digits", 100, mnist=mnist).input_size == 28


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic"),
        (np.array([2050, 10], dtype=">u4").tobytes() + bytes(10), "magic"),
        (np.array([2049, 10], dtype=">u4").tobytes() + bytes(9), "10 bytes"),
        (np.array([2049, 9], dtype=">u4").tobytes() + bytes(9), "do not go with 9 labels"),
        (np.array([2049, 10], dtype=">u4").tobytes() + bytes([10] * 10), "labels from 0 to 9"),
        (None, "no such file"),
    ],
)
def test_broken_mnist_files(mnist: Path, content: bytes | None, message: str) -> None:
    labels = mnist / "t10k-labels-idx1-ubyte"
    labels.unlink() if content is None else labels.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        make_task("permuted_pixels", 100, mnist=mnist)


@pytest.mark.parametrize(
    ("name", "length", "message"),
    [
        ("adding", 1, "at least 2 steps"),
        ("copy", 4, "at least 5 steps"),
        ("temporal_order", 19, "at least 20"),
        ("padded_pixels", 63, "at least 64"),
        ("sequential_pixels", 15, "at least 16"),
        ("adding", 0, "length"),
        ("subtracting", 50, "task: must be one of adding, copy"),
    ],
)
def test_bad_requests(name: str, length: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make_task(name, length)


@pytest.mark.parametrize("power", [-1.0, math.nan, math.inf])
def test_bad_padding(power: float) -> None:
    with pytest.raises(InvalidInput, match="padding_power"):
        make_task("padded_digits", 50, padding_power=power)
