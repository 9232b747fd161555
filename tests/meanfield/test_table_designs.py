"""Requests and designs: one key for one request, counts before anything starts, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.recipe_layers import VERSIONS
from meanfield.table_designs import load_design, parse_design
from meanfield.table_requests import DEFAULTS, Method, Request, checked_request, make_recipe, recipe_method

TASK: dict[str, Any] = {"cell": "lstm", "length": 50, "hidden": 64, "inputs": 8}


def test_a_key_is_the_hash_of_the_request_and_the_method() -> None:
    request = Request(**TASK, seed=3, power=2)
    text = '{"cell":"lstm","hidden":64,"inputs":8,"length":50,"power":2.0,"seed":3}'
    assert request.canonical() == text
    assert request.key("method/1") == hashlib.sha256(f"method/1\n{text}".encode()).hexdigest()[:32]
    assert request.key("method/2") != request.key("method/1")


def test_requests_that_say_the_same_have_the_same_key() -> None:
    plain = Request(**TASK)
    assert Request(**TASK, **DEFAULTS).key("m") == plain.key("m")
    assert Request(**TASK, power=1, overlap=-0.0, padding_power=-0.0).key("m") == plain.key("m")
    assert checked_request(json.loads(plain.model_dump_json()), "it").key("m") == plain.key("m")
    changes: list[dict[str, Any]] = [
        {"cell": "gru"},
        {"length": 51},
        {"hidden": 65},
        {"inputs": 9},
        {"power": 1.5},
        {"overlap": 0.1},
        {"signal": 50},
        {"signal": 50, "padding_power": 0.1},
        {"seed": 1},
        {"units": 512},
        {"objective": "isometry"},
        {"regime": "untied"},
        {"ensemble": "orthogonal"},
        {"layers": 2},
        {"bidirectional": True},
    ]
    keys = {Request(**TASK | change).key("m") for change in changes}
    assert len(keys | {plain.key("m")}) == len(changes) + 1


def test_versions_of_an_objective_are_its_own() -> None:
    requests = Request(**TASK), Request(**TASK, objective="isometry")
    before, after = (Method("m/1", make_recipe, {"learn": "learn/0", "isometry": version}) for version in ("a", "b"))
    assert before.key(requests[0]) == after.key(requests[0])
    assert before.key(requests[1]) != after.key(requests[1])
    assert recipe_method().version_for(requests[0]).endswith(VERSIONS["learn"])


def test_a_request_makes_the_recipe_that_its_fields_describe() -> None:
    task: dict[str, Any] = {"cell": "gru", "length": 9, "hidden": 32}
    made = make_recipe(Request(**task, inputs=4, power=0.5, overlap=0.2, seed=2, units=256))
    expected = mf.recipe(**task, inputs=mf.Inputs(power=0.5, overlap=0.2, size=4), seed=2, units=256)
    assert made == expected.as_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "lsmt"}, "it: cell: .*'lsmt'"),
        ({"length": 2.0}, "it: length: .* integer, got 2.0"),
        ({"hidden": 2**31}, "it: hidden: .* less than or equal to"),
        ({"power": -1.0}, "it: power: .* got -1.0"),
        ({"power": math.inf}, "it: power: .* finite"),
        ({"power": True}, "it: power: .* valid number, got True"),
        ({"overlap": 1.0}, "it: overlap: .* less than 1, got 1.0"),
        ({"seed": -1}, "it: seed: .* got -1"),
        ({"signal": 51}, "it: signal must not exceed the length 50, got 51"),
        ({"padding_power": 0.1}, "it: padding_power is of the steps after the signal; set signal, got 0.1"),
        ({"objective": "speed"}, "it: objective: .*'learn' or 'isometry', got 'speed'"),
        ({"lenght": 3}, "it: lenght: unknown field; there are cell, length"),
    ],
)
def test_a_wrong_request_names_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        checked_request(TASK | change, "it")


def test_a_grid_is_all_combinations(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        """
        [common]
        inputs = 8

        [grid]
        cell = ["lstm", "gru"]
        length = {from = 10, to = 1000, count = 3, scale = "log"}
        hidden = [32, 64, 32]
        power = {from = 0.5, to = 1.5, count = 3}
        """
    )
    design = load_design(path)
    found = [(r.cell, r.length, r.hidden, r.power, r.inputs) for r in design.requests()]
    wanted = itertools.product(["lstm", "gru"], [10, 100, 1000], [32, 64], [0.5, 1.0, 1.5], [8])
    assert found == list(wanted)
    assert design.count == len(found)


def test_parts_of_a_design_come_one_after_the_other() -> None:
    content = {
        "common": {"inputs": 8, "seed": 5},
        "grid": [{**TASK, "seed": [0, 1]}, {"cell": "gru", "length": [1, 2], "hidden": 4}],
        "request": [{"cell": "gru", "length": 7, "hidden": 4}],
        "random": {"count": 3, "cell": "gru", "length": [8, 9], "hidden": 4},
    }
    design = parse_design(content, "it")
    found = list(design.requests())
    assert design.count == len(found) == 8
    assert [request.seed for request in found] == [0, 1, 5, 5, 5, 5, 5, 5]


def test_a_random_design_fills_its_ranges_and_grows_at_its_end() -> None:
    section = {
        "cell": ["lstm", "gru"],
        "length": {"from": 10, "to": 1000, "scale": "log"},
        "hidden": {"from": 1, "to": 10**6},
        "power": {"from": 0.5, "to": 2.5},
        "inputs": 8,
    }
    small, large = (list(parse_design({"random": section | {"count": n}}, "it").requests()) for n in (100, 5000))
    assert large[:100] == small
    assert list(parse_design({"random": section | {"count": 100, "draw": 1}}, "it").requests()) != small
    # Halton points: shares of boxes deviate by less than a few discrepancies, (log n)^d / n.
    shares = np.array(
        [
            (r.cell == "gru", math.log(r.length / 10) / math.log(100), r.hidden / 10**6, (r.power - 0.5) / 2)
            for r in large
        ]
    )
    assert shares.min() >= 0.0
    assert shares.max() <= 1.0
    assert np.all(np.abs(np.mean(shares, axis=0) - 0.5) < 0.02)
    assert np.all(np.abs(np.mean(shares[:, 1:] < 0.25, axis=0) - 0.25) < 0.02)


def test_a_design_is_counted_and_not_made() -> None:
    axis = {"from": 1, "to": 2_000_000, "count": 1_000_000}
    design = parse_design({"grid": {"cell": "gru", "inputs": 1, "length": axis, "hidden": axis}}, "it")
    assert design.count == 10**12
    with pytest.raises(InvalidInput, match="limit: the design has 1000000000000 requests, more than 100000"):
        design.within(100_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "it: asks for nothing"),
        ({"grids": {}}, "it: grids: unknown section; there are common, grid, random, request"),
        ({"grid": 3}, "it: grid: must be a table of fields"),
        ({"grid": TASK | {"lenght": [1]}}, "it: grid.lenght: unknown field; there are cell, length"),
        ({"grid": TASK | {"length": []}}, "it: grid.length: must not be empty"),
        ({"grid": [TASK, TASK | {"length": [0]}]}, r"it: grid\[1\].length: .* got 0"),
        ({"grid": TASK | {"cell": ["lstm", "lsmt"]}}, "it: grid.cell: .*'lsmt'"),
        ({"grid": {"cell": "gru", "length": 3, "inputs": 2}}, "it: grid.hidden: field required"),
        ({"grid": TASK | {"length": {"from": 1, "to": 9}}}, "it: grid.length.count: field required"),
        ({"grid": TASK | {"length": {"from": 1, "to": 9, "step": 2}}}, "it: grid.length.step: unknown field"),
        ({"grid": TASK | {"length": {"from": 1, "to": 9, "count": 0}}}, "it: grid.length.count: .* got 0"),
        ({"grid": TASK | {"length": {"from": 9, "to": 1, "count": 2}}}, "it: grid.length: must go upwards, got 9 to 1"),
        ({"grid": TASK | {"power": {"from": 0, "to": 1, "count": 2, "scale": "log"}}}, "it: grid.power: a log scale"),
        ({"grid": TASK | {"cell": {"from": 1, "to": 9, "count": 2}}}, "it: grid.cell: only a field that is a number"),
        ({"grid": TASK | {"signal": [5, 60]}}, "it: grid.signal: must not exceed the shortest length 50, got 60"),
        ({"grid": TASK | {"padding_power": [0.0, 0.1]}}, "it: grid.padding_power: .* set signal"),
        ({"random": TASK}, "it: random.count: field required"),
        ({"random": TASK | {"count": 0}}, "it: random.count: .* got 0"),
        ({"request": [TASK | {"seed": "a"}]}, "it: request: seed: .* got 'a'"),
    ],
)
def test_a_wrong_design_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_design(content, "it")


def test_files_that_are_not_designs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        load_design(tmp_path / "missing.toml")
    (tmp_path / "it.toml").write_text("[grid\n")
    with pytest.raises(InvalidInput, match=r"is not TOML: .* line 1"):
        load_design(tmp_path / "it.toml")
