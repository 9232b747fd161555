"""Lookups: exact rows, interpolation that says how far it may be off, and the nearest row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.recipe_file import parse_network
from meanfield.table_lookup import lookup
from meanfield.table_requests import Request
from meanfield.table_runs import table
from meanfield.table_scatter import scatters
from meanfield.table_store import Store
from meanfield.table_work import failure, perform

Numbers = Callable[[Request], dict[str, tuple[float | None, float]]]


def filled(path: Path, requests: Iterable[dict[str, Any]], numbers: Numbers, method: str = "m/1") -> Path:
    """A table of recipes that predict these numbers."""

    def make(request: Request) -> dict[str, Any]:
        entries = {name: {"value": value, "error": error} for name, (value, error) in numbers(request).items()}
        law = {"recurrent": {"gain": 0.02}, "bias": {"mean": math.log(request.length), "std": 0.0}}
        return {
            "ensemble": "gaussian",
            "gates": dict.fromkeys("frh", law),
            "predictions": {"numbers": entries},
        }

    with Store(path, write=True) as store, store.changes():
        for content in requests:
            request = Request(**{"cell": "gru", "inputs": 8} | content)
            store.put(request.key(method), method, request, perform(make, request.model_dump_json()))
    return path


def flat(request: Request) -> dict[str, tuple[float | None, float]]:
    """Linear in the coordinates, which a linear interpolation meets."""
    return {"chi": (2.0 * math.log(request.length) - math.log(request.hidden) + request.overlap, 0.01)}


def curved(request: Request) -> dict[str, tuple[float | None, float]]:
    """Rises along both axes."""
    return {"chi": (math.log(request.length) ** 2 * request.hidden**0.7, 1e-6)}


GRID = [
    {"length": length, "hidden": hidden, "overlap": overlap}
    for length in (10, 20, 40, 80, 160)
    for hidden in (16, 64, 256)
    for overlap in (0.0, 0.5)
]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("lookup") / "grid.sqlite", GRID, flat)


def test_a_request_that_is_there_is_its_row(grid: Path) -> None:
    found = lookup(grid, "gru", length=40, hidden=64, overlap=0.5)
    assert found.how == "exact"
    assert [(each.weight, each.distance, each.request["length"]) for each in found.neighbours] == [(1.0, 0.0, 40)]
    [(value, error)] = flat(Request(cell="gru", inputs=8, length=40, hidden=64, overlap=0.5)).values()
    assert (found.numbers["predicted_chi"].value, found.numbers["predicted_chi"].error) == (value, error)


def test_what_is_linear_is_met_and_neighbours_are_near(grid: Path) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        length, hidden = (
            int(math.exp(generator.uniform(math.log(low), math.log(high)))) for low, high in ((10, 160), (16, 256))
        )
        overlap = float(generator.uniform(0.0, 0.5))
        found = lookup(grid, "gru", length=length, hidden=hidden, overlap=overlap)
        wanted = 2.0 * math.log(length) - math.log(hidden) + overlap
        number = found.numbers["predicted_chi"]
        assert found.how == "interpolated"
        assert abs(number.value - wanted) < 1e-9
        assert number.error > 0.001
        assert math.isclose(math.fsum(each.weight for each in found.neighbours), 1.0)
        assert 1 < len(found.neighbours) <= 4
        # Corners of the box around it: an octave, two octaves, and half the range of overlaps.
        reach = math.hypot(math.log(2), math.log(4), 0.5)
        assert all(each.distance <= reach + 1e-12 for each in found.neighbours)
        assert abs(found.numbers["gate_f_bias_mean"].value - math.log(length)) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_interpolations_cover_what_rises_along_an_axis(tmp_path: Path, seed: int) -> None:
    """Between two rows a monotone number lies between theirs, and so within the error."""
    generator = np.random.default_rng(seed)
    lengths = sorted(int(each) for each in generator.integers(2, 2000, size=12))
    path = filled(tmp_path / "it.sqlite", [{"length": each, "hidden": 64} for each in lengths], curved)
    for length in generator.integers(lengths[0], lengths[-1], size=30):
        found = lookup(path, "gru", length=int(length), hidden=64)
        [(value, _)] = curved(Request(cell="gru", inputs=8, length=int(length), hidden=64)).values()
        assert value is not None
        assert abs(found.numbers["predicted_chi"].value - value) <= found.numbers["predicted_chi"].error
        if found.how == "interpolated":
            below, above = sorted(each.request["length"] or 0 for each in found.neighbours)
            index = lengths.index(int(below))
            assert below < length < above == min(each for each in lengths[index:] if each > below)


def test_random_designs_are_interpolated_between_rows_around_the_request(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    rows = [
        {"length": int(length), "hidden": int(hidden)}
        for length, hidden in np.exp(generator.uniform(np.log(5), np.log(2000), size=(800, 2)))
    ]
    path = filled(tmp_path / "it.sqlite", rows, flat)
    for _ in range(10):
        length, hidden = (int(each) for each in np.exp(generator.uniform(np.log(20), np.log(500), size=2)))
        found = lookup(path, "gru", length=length, hidden=hidden)
        wanted = 2.0 * math.log(length) - math.log(hidden)
        assert found.how in ("interpolated", "exact")
        assert abs(found.numbers["predicted_chi"].value - wanted) < 1e-9
        # 800 points on a square of 6 by 6: neighbours are about 0.2 apart.
        assert all(each.distance < 1.2 for each in found.neighbours)


@pytest.mark.parametrize(("length", "hidden"), [(1000, 64), (40, 2), (3, 1000)])
def test_outside_the_nearest_row_comes_with_the_change_on_the_way(grid: Path, length: int, hidden: int) -> None:
    found = lookup(grid, "gru", length=length, hidden=hidden, overlap=0.5)
    assert found.how == "nearest"
    [neighbour] = found.neighbours
    distances = {
        math.hypot(math.log(row["length"] / length), math.log(row["hidden"] / hidden), row["overlap"] - 0.5)
        for row in GRID
    }
    assert neighbour.distance == pytest.approx(min(distances))
    number = found.numbers["predicted_chi"]
    wanted = 2.0 * math.log(length) - math.log(hidden) + 0.5
    assert abs(number.value - wanted) <= number.error
    assert math.isfinite(number.error)


def test_nearest_when_asked_and_a_single_row_tells_no_error(grid: Path, tmp_path: Path) -> None:
    assert lookup(grid, "gru", length=41, hidden=65, overlap=0.5, nearest=True).how == "nearest"
    assert lookup(grid, "gru", length=40, hidden=64, overlap=0.5, nearest=True).how == "exact"
    alone = filled(tmp_path / "it.sqlite", [{"length": 10, "hidden": 16}], flat)
    found = lookup(alone, "gru", length=11, hidden=16)
    assert (found.how, found.numbers["predicted_chi"].error) == ("nearest", math.inf)
    assert found.as_json()["numbers"]["predicted_chi"]["error"] is None


def test_numbers_that_do_not_exist_everywhere_are_left_out(tmp_path: Path) -> None:
    def sometimes(request: Request) -> dict[str, tuple[float | None, float]]:
        return {"timescale": (None if request.length == 10 else 3.0, 0.1), "chi": (0.5, 0.1)}

    path = filled(tmp_path / "it.sqlite", [{"length": each, "hidden": 16} for each in (10, 20, 40)], sometimes)
    assert "predicted_timescale" not in lookup(path, "gru", length=15, hidden=16).numbers
    assert "predicted_timescale" in lookup(path, "gru", length=30, hidden=16).numbers


def test_failures_other_kinds_and_other_seeds_are_not_mixed_in(tmp_path: Path) -> None:
    rows = [{"length": each, "hidden": 16, "seed": seed} for each in (10, 40) for seed in (7, 3)]
    path = filled(tmp_path / "it.sqlite", rows, lambda request: {"chi": (float(request.seed), 0.0)})
    filled(path, [{"length": 20, "hidden": 16, "objective": "isometry"}], flat)
    filled(path, [{"length": 20, "hidden": 16, "signal": 5}], flat)
    with Store(path, write=True) as store, store.changes():
        bad = Request(cell="gru", inputs=8, length=20, hidden=16)
        store.put("bad", "m/1", bad, failure("no"))
    found = lookup(path, "gru", length=20, hidden=16)
    assert [each.request["length"] for each in found.neighbours] == [10, 40] or [
        each.request["length"] for each in found.neighbours
    ] == [40, 10]
    assert found.numbers["predicted_chi"].value == pytest.approx(3.0)
    padded = lookup(path, "gru", length=20, hidden=16, signal=5)
    assert (padded.how, padded.asked["signal"]) == ("exact", 5)


def test_the_newest_method_counts(tmp_path: Path) -> None:
    path = filled(tmp_path / "it.sqlite", [{"length": 10, "hidden": 16}], lambda _: {"chi": (1.0, 0.0)}, "m/1")
    filled(path, [{"length": 10, "hidden": 16}], lambda _: {"chi": (2.0, 0.0)}, "m/2")
    assert lookup(path, "gru", length=10, hidden=16).numbers["predicted_chi"].value == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "lstm"}, "has no recipes of lstm; it has gru"),
        ({"objective": "isometry"}, "has no recipes of gru, objective isometry; it has gru"),
        ({"overlap": None}, "overlap: must be given; the table has 0 to 0.5"),
        ({"signal": 5}, "signal: the table has recipes without padding only"),
        ({"length": 0}, "length: must be a whole number of at least 1, got 0"),
        ({"power": -1.0}, "power: must be at least 0, got -1.0"),
    ],
)
def test_what_the_table_cannot_say_is_refused(grid: Path, change: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"cell": "gru", "length": 20, "hidden": 20, "overlap": 0.1} | change
    with pytest.raises(InvalidInput, match=message):
        lookup(grid, asked.pop("cell"), **asked)


def test_an_empty_table_says_so(tmp_path: Path) -> None:
    Store(tmp_path / "it.sqlite", write=True).close()
    with pytest.raises(InvalidInput, match="has no recipes of gru; it has nothing yet"):
        lookup(tmp_path / "it.sqlite", "gru", length=1, hidden=1)


def scattering(seed: int, size: float) -> Numbers:
    """A smooth surface, and a flat one, about which designs scatter by so much."""

    def numbers(request: Request) -> dict[str, tuple[float | None, float]]:
        generator = np.random.default_rng([seed, request.length, request.hidden])
        steep, level = size * generator.standard_normal(2)
        smooth = math.log(request.length) ** 1.5 - 0.3 * math.log(request.hidden) * math.log(request.length)
        return {"chi": (smooth + steep, 0.0), "edge": (2.0 + level, 0.0)}

    return numbers


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("size", [1e-3, 0.1])
def test_errors_cover_designs_that_scatter(tmp_path: Path, size: float, nearest: bool) -> None:
    """Of further designs at least 95 per cent lie within, four standard deviations of the count allowed for."""
    generator = np.random.default_rng(8)
    places = np.exp(generator.uniform(np.log(10), np.log(400), size=(120, 2))).astype(int).tolist()
    numbers = scattering(8, size)
    path = filled(tmp_path / "it.sqlite", [{"length": length, "hidden": hidden} for length, hidden in places], numbers)
    ratios: dict[str, list[float]] = {"chi": [], "edge": []}
    for length, hidden in np.exp(generator.uniform(np.log(15), np.log(250), size=(150, 2))).astype(int).tolist():
        found = lookup(path, "gru", length=length, hidden=hidden, nearest=nearest)
        if found.how == "exact":
            continue
        wanted = numbers(Request(cell="gru", inputs=8, length=length, hidden=hidden))
        for name, (value, _) in wanted.items():
            number = found.numbers[f"predicted_{name}"]
            assert value is not None
            ratios[name].append(abs(number.value - value) / number.error)
    for listed in ratios.values():
        missed = sum(ratio > 1.0 for ratio in listed)
        assert missed <= 0.05 * len(listed) + 4.0 * math.sqrt(0.05 * 0.95 * len(listed))
    # The flat number has no slope: its error is its scatter, not something far larger.
    assert np.median(ratios["edge"]) > 0.05


def test_neighbours_that_agree_by_chance_do_not_make_an_error_small(tmp_path: Path) -> None:
    lengths = [2**power for power in range(3, 13)]

    def agreeing(request: Request) -> dict[str, tuple[float | None, float]]:
        return {"chi": (1.0 if request.length in (64, 128) else 1.0 + 0.1 * (-1) ** request.length.bit_length(), 0.0)}

    path = filled(tmp_path / "it.sqlite", [{"length": each, "hidden": 16} for each in lengths], agreeing)
    number = lookup(path, "gru", length=90, hidden=16).numbers["predicted_chi"]
    assert number.value == pytest.approx(1.0)
    assert 0.1 < number.error < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_scatter_is_that_of_fits_without_a_row(seed: int) -> None:
    """Each row predicted by a fit to the others, made anew by NumPy's least squares."""
    generator = np.random.default_rng(seed)
    offsets, values = generator.standard_normal((20, 3)), generator.standard_normal(20)
    columns = np.column_stack([np.ones(20), offsets])
    left_out = []
    for row in range(20):
        others = np.arange(20) != row
        left_out.append(values[row] - columns[row] @ np.linalg.lstsq(columns[others], values[others])[0])
    wanted = math.sqrt(np.mean(np.square(left_out))) * scipy.stats.t.ppf(0.975, 16)
    found = scatters([{"chi": (value, 0.0)} for value in values.tolist()], offsets)
    assert found["chi"] == pytest.approx(wanted, rel=1e-10)


def test_few_rows_are_compared_with_their_mean_and_one_tells_nothing() -> None:
    offsets = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    entries = [{"chi": (value, 0.0)} for value in (1.0, 2.0, 4.0)]
    left_out = np.array([1.0 - 3.0, 2.0 - 2.5, 4.0 - 1.5])
    wanted = math.sqrt(np.mean(left_out**2)) * scipy.stats.t.ppf(0.975, 2)
    assert scatters(entries, offsets)["chi"] == pytest.approx(wanted)
    assert scatters(entries[:1], offsets[:1]) == {"chi": math.inf}
    # An axis over which the rows do not differ needs no slope.
    assert scatters(entries, np.column_stack([offsets[:, 0] + offsets[:, 1], np.zeros(3)]))["chi"] < math.inf


def test_designed_recipes_are_predicted_within_the_errors(tmp_path: Path) -> None:
    """Held-out recipes, designed on their own: nearly all predictions lie within the error of the interpolation."""
    task: dict[str, Any] = {"cell": "gru", "inputs": 4, "units": 256, "seed": 1}
    wanted = [task | {"length": length, "hidden": 32} for length in (8, 10, 14, 16, 20)]
    path = table(wanted, tmp_path / "it.sqlite", workers=1).path
    held = mf.recipe("gru", length=12, hidden=32, inputs=4, units=256, seed=1).content
    found = lookup(path, "gru", length=12, hidden=32)
    # A designed optimum and its sampled predictions scatter: four of their own errors are allowed on top.
    within = []
    for name, entry in held.predictions.numbers.items():
        if entry.value is not None and entry.error is not None:
            number = found.numbers[f"predicted_{name}"]
            within.append(abs(number.value - entry.value) <= number.error + 4.0 * entry.error)
    assert len(within) > 10
    assert sum(within) >= len(within) - 1
    network = parse_network(found.network_as_json(), "found")
    assert network.gates["f"].bias_mean == found.numbers["gate_f_bias_mean"].value
