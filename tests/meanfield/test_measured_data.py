"""Sequences from arrays, files that are not read whole, and loaders of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import meanfield as mf
from meanfield.errors import InvalidInput


def test_a_file_gives_some_of_its_sequences(tmp_path: Path) -> None:
    data = np.arange(200, dtype=np.float64)[:, None, None] * np.ones((1, 5, 3))
    np.save(tmp_path / "x.npy", data)
    found = mf.Inputs.from_data(tmp_path / "x.npy", most=10, seed=1)
    assert found.data is not None
    assert found.data.shape == (10, 5, 3)
    first = found.data[:, 0, 0]
    assert len(set(first.tolist())) == 10
    assert first.max() > 60  # not the first ones
    again = mf.Inputs.from_data(str(tmp_path / "x.npy"), most=10, seed=1)
    assert again.digest() == found.digest()
    assert mf.Inputs.from_data(tmp_path / "x.npy", most=10, seed=2).digest() != found.digest()


def test_a_loader_gives_its_first_sequences() -> None:
    x = torch.arange(40.0)[:, None, None] * torch.ones(1, 4, 2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(40)), batch_size=16)
    found = mf.Inputs.from_data(loader, most=20)
    assert found.data is not None
    np.testing.assert_array_equal(found.data, x[:20].numpy())
    tensors = mf.Inputs.from_data([x[:3], x[3:5]])
    assert tensors.sequences == 5


def test_data_are_padded_with_noise_of_a_power() -> None:
    data = np.random.default_rng(0).normal(size=(200, 6, 4))
    found = mf.Inputs.from_data(data, length=50, padding_power=0.25, seed=3)
    assert found.data is not None
    assert (found.length, found.signal) == (50, 6)
    np.testing.assert_array_equal(found.data[:, :6], data.astype(np.float32))
    noise = found.data[:, 6:]
    assert abs(float(np.mean(noise**2)) / 0.25 - 1) < 4 * np.sqrt(2 / noise.size)
    zeros = mf.Inputs.from_data(data, length=50)
    assert zeros.data is not None
    assert np.all(zeros.data[:, 6:] == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": np.ones((4, 5))}, r"axes sequences × steps × inputs, got shape \(4, 5\)"),
        ({"source": np.ones((4, 0, 2))}, "must not be empty"),
        ({"source": np.full((4, 5, 2), np.nan)}, "must be finite, got 40 entries"),
        ({"source": np.full((4, 5, 2), 1e300)}, "must be finite, got 40 entries"),
        ({"source": np.full((4, 5, 2), "x")}, "must hold real numbers"),
        ({"source": iter([])}, "must not be empty, got a loader without batches"),
        ({"source": iter([np.ones((2, 3))])}, r"batches must have the axes batch × steps × inputs, got shape \(2, 3\)"),
        ({"source": iter([np.ones((2, 3, 1)), np.ones((2, 4, 1))])}, "the same steps and inputs"),
        ({"source": np.ones((4, 5, 2)), "length": 4}, "length: must be at least the 5 steps of the data"),
        ({"source": np.ones((4, 5, 2)), "signal": 6}, "signal: must not exceed the 5 steps of the data, got 6"),
        ({"source": np.ones((4, 5, 2)), "padding_power": 1.0}, "padding_power: needs the length"),
        ({"source": np.ones((4, 5, 2)), "length": 9, "padding_power": -1.0}, "padding_power: must"),
        ({"source": "no/such.npy"}, "data: no/such.npy: cannot be read: No such file"),
        ({"source": __file__}, "is not an array in NumPy"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        mf.Inputs.from_data(**arguments)  # type: ignore[arg-type]


def test_archives_and_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", a=np.ones(3))
    with pytest.raises(InvalidInput, match="holds several arrays"):
        mf.Inputs.from_data(tmp_path / "many.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(InvalidInput, match="is not an array in NumPy"):
        mf.Inputs.from_data(tmp_path / "objects.npy")
