"""Work in parts: every part once, in any number of threads, and no error lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from meanfield.solvers import threads
from meanfield.solvers.threads import cores, in_parts


@pytest.mark.parametrize("workers", [None, 1, 2, 3, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 64])
def test_every_part_is_done_once(count: int, workers: int | None) -> None:
    done: list[int] = []
    calls: list[tuple[int, int]] = []

    def part(first: int, last: int) -> None:
        calls.append((first, last))
        done.extend(range(first, last))

    in_parts(part, count, workers)
    assert sorted(done) == list(range(count))
    assert len(calls) == max(1, min(workers or cores(), count))
    # Consecutive ranges, none of them empty unless all are, that differ by one part at most.
    sizes = [last - first for first, last in sorted(calls)]
    assert max(sizes) - min(sizes) <= 1


def test_one_thread_is_the_caller() -> None:
    seen: list[str] = []
    in_parts(lambda first, last: seen.append(threading.current_thread().name), 5, 1)
    assert seen == [threading.current_thread().name]


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_parts_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10.0)
    in_parts(lambda first, last: meeting.wait() and None, 2, 2)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_errors_of_any_part_reach_the_caller(failing: int) -> None:
    def part(first: int, last: int) -> None:
        if first <= failing < last:
            raise ValueError(f"part {failing}")

    with pytest.raises(ValueError, match=f"part {failing}"):
        in_parts(part, 3, 3)
    # The threads serve on after an error.
    in_parts(lambda first, last: None, 3, 3)


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("failing", [0, 1])
def test_no_part_is_under_way_once_an_error_is_raised(failing: int) -> None:
    """The arrays that parts write to belong to the caller again."""
    finished = threading.Event()

    def part(first: int, last: int) -> None:
        if first == failing:
            raise ValueError("early")
        time.sleep(0.3)
        finished.set()

    with pytest.raises(ValueError, match="early"):
        in_parts(part, 2, 2)
    assert finished.is_set()


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    found: dict[int, list[int]] = {}

    def caller(key: int) -> None:
        done: list[int] = []
        in_parts(lambda first, last: done.extend(range(first, last)), 50, 4)
        found[key] = sorted(done)

    callers = [threading.Thread(target=caller, args=(key,)) for key in range(6)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(timeout=30.0)
    assert found == {key: list(range(50)) for key in range(6)}


def test_cores_are_those_that_the_process_may_use() -> None:
    assert cores() >= 1
    if hasattr(os, "sched_getaffinity"):
        assert cores() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    script = (
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from meanfield.solvers.threads import in_parts\n"
        "in_parts(lambda first, last: None, 8, 4)\n"
        "child = os.fork()\n"
        "done = []\n"
        "in_parts(lambda first, last: done.extend(range(first, last)), 8, 4)\n"
        "good = sorted(done) == list(range(8))\n"
        "if child == 0:\n"
        "    os._exit(0 if good else 1)\n"
        "print(good, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "0"]


def test_the_pool_is_made_once() -> None:
    in_parts(lambda first, last: None, 2, 2)
    pool = threads._threads()
    in_parts(lambda first, last: None, 2, 2)
    assert threads._threads() is pool
