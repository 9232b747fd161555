"""Inputs of every kind: laws, overlaps, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield import Inputs, InvalidInput


@pytest.mark.parametrize("overlap", [-0.3, 0.0, 0.6, 1.0])
def test_white_sequences_have_their_power_and_overlap(overlap: float) -> None:
    inputs, steps, size = Inputs(power=2.0, overlap=overlap, size=20), 100, 20
    x = inputs.draw(np.random.default_rng(0), 3, steps).astype(np.float64).reshape(3, -1)
    expected = 2.0 * (overlap + (1.0 - overlap) * np.eye(3))
    np.testing.assert_allclose(inputs.covariance(3, 7), expected)
    error = np.sqrt((expected**2 + 4.0) / (steps * size))
    assert np.all(np.abs(x @ x.T / (steps * size) - expected) < 4.0 * error)


def test_padded_sequences_change_their_power() -> None:
    inputs = Inputs.padded(signal=30, length=80, power=4.0, padding_power=0.25, overlap=0.5, size=50)
    x = inputs.draw(np.random.default_rng(1), 2, 80).astype(np.float64)
    for part, power in ((x[:, :30], 4.0), (x[:, 30:], 0.25)):
        assert abs(np.mean(part**2) - power) < 4.0 * power * np.sqrt(2.0 * 1.25 / part.size)
        assert abs(np.mean(part[0] * part[1]) - 0.5 * power) < 4.0 * power * np.sqrt(1.25 / part[0].size)
    assert (inputs.power_at(29), inputs.power_at(30)) == (4.0, 0.25)
    assert (inputs.signal, inputs.length, inputs.endless) == (30, 80, False)
    np.testing.assert_allclose(inputs.covariance(2, 79), [[0.25, 0.125], [0.125, 0.25]])


def test_measured_sequences_are_drawn_whole_and_without_repeats() -> None:
    data = np.arange(5 * 4 * 3, dtype=np.float64).reshape(5, 4, 3)
    inputs = Inputs.from_data(data)
    assert (inputs.size, inputs.length, inputs.endless) == (3, 4, False)
    assert inputs.power == pytest.approx(np.mean(data**2))
    assert inputs.power_at(2) == pytest.approx(np.mean(data[:, 2] ** 2))
    drawn = inputs.draw(np.random.default_rng(2), 5, 4)
    assert sorted(drawn[:, 0, 0].tolist()) == data[:, 0, 0].tolist()
    np.testing.assert_array_equal(
        inputs.draw(np.random.default_rng(2), 2, 3), inputs.draw(np.random.default_rng(2), 2, 3)
    )
    with pytest.raises(InvalidInput, match="6 sequences are needed, got 5"):
        inputs.draw(np.random.default_rng(2), 6, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": -1.0}, "power: must be at least 0, got -1.0"),
        ({"power": float("nan")}, "power: must be a finite number, got nan"),
        ({"power": float("inf")}, "power: must be a finite number, got inf"),
        ({"power": True}, "power: must be a finite number, got True"),
        ({"overlap": 1.5}, "overlap: must be from -1 to 1, got 1.5"),
        ({"size": -1}, "size: must be a whole number of at least 0, got -1"),
        ({"size": 2.0}, "size: must be a whole number of at least 0, got 2.0"),
    ],
)
def test_white_inputs_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": 0, "length": 5}, "signal: must be a whole number of at least 1, got 0"),
        ({"signal": 6, "length": 5}, "signal: must not exceed the length 5, got 6"),
        ({"signal": 1, "length": 0}, "length: must be a whole number of at least 1, got 0"),
        ({"signal": 1, "length": 5, "padding_power": -0.1}, "padding_power: must be at least 0, got -0.1"),
    ],
)
def test_padded_inputs_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs.padded(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((3, 4)), "sequences × steps × inputs, got shape"),
        (np.ones((0, 4, 2)), "data: must not be empty"),
        (np.ones((2, 3, 1)) * 1j, "data: must hold real numbers, got complex128"),
        (np.full((2, 3, 1), np.nan), "data: must be finite, got 6 entries that are not"),
    ],
)
def test_measured_inputs_that_make_no_sense_are_refused(data: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Inputs.from_data(data)


def test_three_sequences_cannot_all_be_opposite() -> None:
    with pytest.raises(InvalidInput, match=r"3 sequences cannot all overlap by -0\.9"):
        Inputs(overlap=-0.9, size=2).draw(np.random.default_rng(0), 3, 2)
