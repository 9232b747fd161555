"""Tables on a Dask cluster: workers that die, code that differs, schedulers that are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meanfield import table_cluster
from meanfield.errors import InvalidInput
from meanfield.table_cluster import Cluster
from meanfield.table_engine import EngineFailed
from meanfield.table_requests import make_recipe
from meanfield.table_store import Store
from meanfield.table_work import expanded

pytest.importorskip("distributed")
DRIVER = Path(__file__).with_name("table_cluster_driver.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    # Dask's own words on lost workers go to standard error.
    command = [sys.executable, str(DRIVER), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_worker_that_dies_costs_nothing_but_time(told: dict[str, Any], folder: Path) -> None:
    assert (told["dying"]["made"], told["dying"]["failures"]) == (120, [])
    with Store(folder / "dying.sqlite") as store:
        rows = store.select("SELECT length, predicted_chi, recipe FROM recipes JOIN documents USING (id)")
    assert {length: chi for length, chi, _ in rows} == {length: 1.0 / length for length in range(1, 121)}
    workers = {json.loads(expanded(document))["worker"] for _, _, document in rows}
    # The one that died had worked, and was replaced.
    assert told["dying"]["victim"] in workers
    assert len(workers) >= 2


def test_a_request_that_kills_its_workers_fails_and_the_others_do_not(told: dict[str, Any]) -> None:
    assert told["deadly"]["made"] == 3
    assert told["deadly"]["failures"] == ["workers died of it again and again, as they do when memory runs out"]


def test_a_batch_whose_worker_dies_is_made_again_one_by_one(told: dict[str, Any], folder: Path) -> None:
    assert told["together"]["made"] == 80
    assert told["together"]["failures"] == told["deadly"]["failures"]
    with Store(folder / "together.sqlite") as store:
        rows = store.select("SELECT length, predicted_chi FROM recipes WHERE error IS NULL")
    assert dict(rows) == {length: 1.0 / length for length in range(1, 81)}


def test_workers_with_other_code_are_found_out(told: dict[str, Any]) -> None:
    for time in ("early", "late"):
        assert told["own"] in told[time]
        assert "this is meanfield 0.0.0" in told[time]
        assert "install one" in told[time]


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(EngineFailed, match=r"scheduler: tcp://127.0.0.1:9 cannot be reached; see that it runs"):
        Cluster(make_recipe, "tcp://127.0.0.1:9")


@pytest.mark.parametrize("address", ["nothing://host:1", "host", "tcp://host", "tcp://a host:1", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(InvalidInput, match=f"scheduler: must be an address as tcp://host:8786, got '{address}'"):
        Cluster(make_recipe, address)


def test_a_cluster_has_its_own_workers() -> None:
    with pytest.raises(InvalidInput, match="workers: a cluster has its own"):
        Cluster(make_recipe, "tcp://127.0.0.1:9", workers=2)
