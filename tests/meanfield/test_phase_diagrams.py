"""Phase diagrams against closed forms, and what they are written as."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest

import meanfield as mf
from meanfield.autonomous_states import static_states
from meanfield.errors import InvalidInput
from meanfield.phase_diagrams import PhaseDiagram, phase_diagram

GRU = mf.Network("gru", {gate: mf.Gate() for gate in "frh"})


@pytest.fixture(scope="module")
def gru() -> PhaseDiagram:
    return phase_diagram(
        GRU, horizontal=("h.recurrent_gain", [1.0, 1.6, 2.0, 2.5]), vertical=("r.recurrent_gain", [0.0, 2.0, 20.0, 1e4])
    )


def test_the_zero_state_of_a_gru_ends_at_two(gru: PhaseDiagram) -> None:
    lost = gru.line("zero state loses stability").points
    assert [height for _, height in lost] == [0.0, 2.0, 20.0, 1e4]
    assert all(abs(place.value - 2.0) <= place.error < 1e-6 for place, _ in lost)
    ended = gru.line("stable fixed points end").points
    assert [place.value for place, _ in ended] == pytest.approx([2.0] * 4, abs=1e-6)
    phases = [[str(point.phase) for point in row] for row in gru.rows]
    assert phases == [["zero stable", "zero stable", "fixed points, none stable", "fixed points, none stable"]] * 4


def test_non_zero_states_of_a_gru_appear_earlier_at_large_reset_gains(gru: PhaseDiagram) -> None:
    appear = gru.line("non-zero fixed points appear").points
    (small, _), (middle, _), (large, _), (limit, _) = appear
    assert abs(small.value - 2.0) <= small.error
    assert abs(middle.value - 2.0) <= middle.error
    assert 1.6 < large.value < 1.65
    assert limit.value == pytest.approx(math.sqrt(2.0), abs=5e-3)
    reset, new = mf.Gate(20.0), large.value
    for side, count in ((-large.error, 1), (large.error, 3)):
        laws = {"f": mf.Gate(), "r": reset, "h": mf.Gate(new + side)}
        assert len(static_states(mf.Network("gru", laws))) == count


def test_biases_make_a_stable_state_that_is_not_zero() -> None:
    plain = mf.Network("vanilla", {"h": mf.Gate()})
    diagram = phase_diagram(
        plain, horizontal=("h.recurrent_gain", [0.5, 1.2, 2.0]), vertical=("h.bias_std", [0.0, 0.3])
    )
    assert [[str(point.phase) for point in row] for row in diagram.rows] == [
        ["zero stable", "fixed points, none stable", "fixed points, none stable"],
        ["non-zero fixed point stable", "non-zero fixed point stable", "fixed points, none stable"],
    ]
    (free, _), (driven, height) = diagram.line("stable fixed points end").points
    assert abs(free.value - 1.0) <= free.error < 1e-6
    assert height == 0.3
    base = mf.Network("vanilla", {"h": mf.Gate(bias_std=0.3)})
    exact = mf.critical_point(base, "h.recurrent_gain", mf.Inputs(power=0.0), within=(0.5, 3.0)).value
    assert abs(driven.value - exact.value) <= driven.error + exact.error < 1e-5
    assert [height for _, height in diagram.line("zero state loses stability").points] == [0.0]


def test_rectifiers_have_no_fixed_point_beyond_their_gain() -> None:
    plain = mf.Network("vanilla_relu", {"h": mf.Gate()})
    diagram = phase_diagram(plain, horizontal=("h.recurrent_gain", [1.0, 1.7]), vertical=("h.bias_std", [0.5]))
    assert [str(point.phase) for point in diagram.rows[0]] == ["non-zero fixed point stable", "no fixed point"]
    ((place, _),) = diagram.line("stable fixed points end").points
    assert place.value == pytest.approx(math.sqrt(2.0), abs=1e-6)


def test_tables_and_json_hold_every_state(gru: PhaseDiagram, tmp_path: Path) -> None:
    gru.save(tmp_path / "diagram.csv")
    with open(tmp_path / "diagram.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == sum(len(point.states) for row in gru.rows for point in row)
    last = gru.rows[-1][-1].states[-1]
    assert float(table[-1]["h.recurrent_gain"]) == 2.5
    assert float(table[-1]["second_moment"]) == last.second_moment.value
    assert table[-1]["stable"] == "False"
    content = json.loads(json.dumps(gru.as_json(), allow_nan=False))
    assert content["rows"][-1][-1]["states"][-1]["radius"]["value"] == last.radius.value
    assert [line["name"] for line in content["lines"]] == [line.name for line in gru.lines]
    with pytest.raises(KeyError, match="there are zero state loses stability"):
        gru.line("none")


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="Matplotlib is not installed")
def test_pictures_appear_whole(gru: PhaseDiagram, tmp_path: Path) -> None:
    gru.plot(tmp_path / "diagram.png")
    assert (tmp_path / "diagram.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(mf.InvalidInput, match="not supported"):
        gru.plot(tmp_path / "diagram.nothing")
    assert [each.name for each in tmp_path.iterdir()] == ["diagram.png"]


def test_missing_matplotlib_is_named(gru: PhaseDiagram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("meanfield.phase_pictures.importlib.import_module", missing)
    with pytest.raises(InvalidInput, match="pip install matplotlib"):
        gru.plot(tmp_path / "diagram.png")


def test_progress_counts_grid_points() -> None:
    seen: list[tuple[int, int]] = []
    plain = mf.Network("vanilla", {"h": mf.Gate()})
    phase_diagram(
        plain,
        horizontal=("h.recurrent_gain", [0.5, 0.7]),
        vertical=("h.bias_std", [0.1]),
        progress=lambda done, count: seen.append((done, count)),
    )
    assert seen == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"horizontal": ("h.gain", [1.0])}, "must be one of"),
        ({"horizontal": ("h.recurrent_gain", [2.0, 1.0])}, "ascending"),
        ({"horizontal": ("h.recurrent_gain", [])}, "ascending"),
        ({"horizontal": ("h.recurrent_gain", [-1.0])}, "at least 0"),
        ({"horizontal": "h.recurrent_gain"}, "name of a parameter and its values"),
        ({"vertical": ("h.recurrent_gain", [1.0])}, "must not be the horizontal parameter"),
    ],
)
def test_requests_that_make_no_sense(axes: dict[str, Any], message: str) -> None:
    wanted = {"horizontal": ("h.recurrent_gain", [1.0]), "vertical": ("r.recurrent_gain", [1.0])} | axes
    with pytest.raises(mf.InvalidInput, match=message):
        phase_diagram(GRU, **wanted)
