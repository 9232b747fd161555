"""Tables of recipes: workers, rows stored, lookups, exports, and what an engine adds to a task. Prints a table.

    python benchmarks/table.py [--rows 100000] [--recipes 24] [--tasks 1000] [--untied 2048] [--output FILE]

The stored rows are copies of designed recipes with other requests and random numbers. Lookups open the file each time.
Every export runs in a process of its own, whose largest memory is shown. Times are of the clock; beside them is the
time of the processor, which other work on the machine disturbs less. The speed-up of two workers is shown both ways:
by the clock, and from the processor's time of a recipe with one worker and with two and of the driver. Untied recipes
are of random tasks, no two of which share a network; their rates are those of all processors that they use.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import meanfield as mf
from meanfield.table_columns import flat_numbers, profile_columns
from meanfield.table_designs import Design, parse_design
from meanfield.table_export import export_table
from meanfield.table_lookup import lookup
from meanfield.table_requests import TOGETHER, Method, Request, make_recipe, make_recipes, recipe_method
from meanfield.table_runs import table
from meanfield.table_store import Store
from meanfield.table_work import Outcome, compressed, perform_together

Row = tuple[str, str, str]
_AT_ONCE = 1000


def nothing(request: Request) -> dict[str, Any]:
    """A recipe that takes no time."""
    return {"gates": {}, "predictions": {"numbers": {"chi": {"value": 1.0 / request.length, "error": 0.0}}}}


def waiting(request: Request) -> dict[str, Any]:
    """A recipe that takes time but no processor, so that other work on the machine does not matter."""
    time.sleep(0.5)
    return nothing(request)


def stored_design(rows: int) -> Design:
    """Half the rows on a grid of two cells, half at random."""
    side = round((rows / 4) ** 0.5)
    lengths = {"from": 10, "to": 10_000, "count": side, "scale": "log"}
    widths = {"from": 16, "to": 4096, "count": side, "scale": "log"}
    spans = {
        name: {"from": axis["from"], "to": axis["to"], "scale": "log"}
        for name, axis in (("length", lengths), ("hidden", widths))
    }
    return parse_design(
        {
            "common": {"inputs": 28},
            "grid": {"cell": ["gru", "lstm"], "length": lengths, "hidden": widths},
            "random": {"count": rows * 11 // 20, "cell": ["gru", "lstm"], **spans, "power": {"from": 0.5, "to": 2.0}},
        },
        "benchmark",
    )


def filled(path: Path, design: Design) -> Iterator[Row]:
    """Fill a table without making recipes."""
    generator = np.random.default_rng(0)
    method = recipe_method()
    templates = [
        mf.recipe(cell, length=length, hidden=64, inputs=8, units=256).as_json()
        for cell in ("gru", "lstm")
        for length in (20, 100)
    ]
    documents = [compressed(template) for template in templates]
    profiles = [compressed(profile_columns(template)) for template in templates]
    numbers = [flat_numbers(template) for template in templates]

    def outcome() -> Outcome:
        chosen = int(generator.integers(len(templates)))
        factors = generator.uniform(0.5, 1.5, size=len(numbers[chosen]))
        varied = {
            name: value * factor if value is not None else None
            for (name, value), factor in zip(numbers[chosen].items(), factors.tolist(), strict=True)
        }
        return Outcome(documents[chosen], varied, None, 1.0, profiles[chosen])

    start, busy, put = time.perf_counter(), time.process_time(), 0.0
    requests = design.requests()
    with Store(path, write=True) as store:
        while chunk := [request for _, request in zip(range(_AT_ONCE), requests, strict=False)]:
            made = [(method.key(each), method.version_for(each), each, outcome()) for each in chunk]
            began = time.process_time()
            with store.changes():
                for row in made:
                    store.put(*row)
            put += time.process_time() - began
        count = store.count()
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    yield "rows stored", f"{count:,}", f"{path.stat().st_size / count / 1000:.2f} kB a row"
    note = f"of the processor, 1000 at once; all of it {taken:.0f} s, processor {busy:.0f} s"
    yield "one row put", f"{put / count * 1e6:.0f} µs", note


def lookups(path: Path, count: int = 200) -> Iterator[Row]:
    """Requests inside, exactly on, and outside of the table."""
    generator = np.random.default_rng(1)
    kinds = {
        "inside": ((20, 5000), (32, 2048)),
        "outside": ((20_000, 90_000), (5000, 20_000)),
        "outside one axis": ((20, 5000), (2, 8)),
    }
    for kind, (lengths, widths) in kinds.items():
        times, busy = [], []
        for _ in range(count):
            length, hidden = (int(np.exp(generator.uniform(*np.log(ends)))) for ends in (lengths, widths))
            start, began = time.perf_counter(), time.process_time()
            lookup(path, "gru", length=length, hidden=hidden, inputs=28, power=1.0 if kind == "inside" else 1.1)
            times.append(time.perf_counter() - start)
            busy.append(time.process_time() - began)
        middle, worst = (1e3 * each for each in (float(np.median(times)), max(times)))
        note = f"worst of {count} {worst:.1f} ms; processor {1e3 * np.median(busy):.1f} ms, worst {1e3 * max(busy):.1f}"
        yield f"lookup {kind}", f"{middle:.1f} ms", note


def exports(path: Path) -> Iterator[Row]:
    """All rows as files."""
    for ending in ("parquet", "csv", "jsonl"):
        target = path.with_suffix(f".{ending}")
        command = [sys.executable, __file__, "--export", str(path), str(target)]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        size = target.stat().st_size / 1e6
        note = f"processor {told['busy']:.1f} s; {told['memory']:.0f} MB of memory; file of {size:.0f} MB"
        yield f"export {ending}", f"{told['taken']:.1f} s", note
        target.unlink()


def largest_memory() -> float:
    """The most memory that this process has had, MB. Not from getrusage, which begins with the parent's."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def export_alone(path: str, to: str) -> None:
    """In a process of its own."""
    start, busy = time.perf_counter(), time.process_time()
    export_table(path, to)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    print(json.dumps({"taken": taken, "busy": busy, "memory": largest_memory()}))


def again(path: Path, design: Design) -> Iterator[Row]:
    """A run that finds everything there."""
    start, busy = time.perf_counter(), time.process_time()
    run = table(design, path, workers=1, limit=design.count)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    note = f"{run.kept:,} there; processor {busy:.1f} s; {largest_memory():.0f} MB of memory"
    yield "run with nothing to do", f"{taken:.1f} s", note


class Watch:
    """Rates of a run from its first recipe on, so that what starts the workers is not counted."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float, int]] = []

    def __call__(self, dealt: int, of: int, made: int) -> None:
        if made and (not self.marks or made > self.marks[-1][2]):
            self.marks.append((time.perf_counter(), time.process_time(), made))

    def each(self) -> tuple[float, float]:
        """Seconds of the clock and of this process a recipe."""
        clock, busy, made = (end - begin for begin, end in zip(self.marks[0], self.marks[-1], strict=True))
        return clock / made, busy / made


def engines(folder: Path, tasks: int) -> Iterator[Row]:
    """What an engine and the store add to a recipe that takes no time."""
    requests = [{"cell": "gru", "length": k + 1, "hidden": 4, "inputs": 2} for k in range(tasks)]
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (("process pool", {}), ("Dask cluster", {"local_cluster": True}))
    for name, options in kinds:
        best: list[tuple[float, float]] = []
        for repeat in range(3):
            watch = Watch()
            path = folder / f"{name}{repeat}.sqlite"
            table(requests, path, workers=2, method=Method("nothing/1", nothing), progress=watch, **options)
            best.append(watch.each())
        clock, busy = (1e3 * min(each) for each in zip(*best, strict=True))
        note = f"processor {busy:.2f} ms, of the driver and Dask's scheduler" if options else f"processor {busy:.2f} ms"
        yield f"{name}, a task", f"{clock:.2f} ms", f"{note}; 2 workers, storing included, best of 3 runs of {tasks}"


def workers(folder: Path, count: int) -> Iterator[Row]:
    """The same tied recipes with one worker and with two: LSTMs of 128 units for 200 steps."""
    requests = [{"cell": "lstm", "length": 200, "hidden": 128, "inputs": 28, "seed": k} for k in range(count)]
    clocks, recipes, drivers = [], [], []
    for number in (1, 2):
        path = folder / f"workers{number}.sqlite"
        watch = Watch()
        table(requests, path, workers=number, method=recipe_method(), progress=watch)
        clock, driver = watch.each()
        with Store(path) as store:
            # The first recipe of a worker takes longer, since it loads what it needs.
            [(busy,)] = store.select("SELECT avg(seconds) FROM recipes WHERE id > ?", (number,))
        clocks.append(clock)
        recipes.append(busy)
        drivers.append(driver)
        note = f"processor {busy:.2f} s a recipe, {1e3 * driver:.1f} ms of the driver"
        yield f"LSTM, T=200, {number} worker{'s' * (number > 1)}", f"{1 / clock:.2f} a second", note
    waits = []
    for number in (1, 2):
        watch = Watch()
        path = folder / f"waiting{number}.sqlite"
        idle = [requests[0] | {"seed": k} for k in range(40)]
        table(idle, path, workers=number, method=Method("waiting/1", waiting), progress=watch)
        waits.append(watch.each()[0])
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    yield (
        "speed-up by the clock",
        f"{clocks[0] / clocks[1]:.2f} ×",
        f"{os.cpu_count()} cores; load of the machine {load}",
    )
    yield (
        "speed-up of waiting",
        f"{waits[0] / waits[1]:.2f} ×",
        "by the clock, of 40 recipes that wait half a second instead",
    )
    attainable = 2.0 * recipes[0] / (recipes[1] + drivers[1])
    yield "speed-up by the processor", f"{attainable:.2f} ×", "2 × one worker's recipe / (two workers' recipe + driver)"


def untied_requests(cell: str, count: int) -> list[dict[str, Any]]:
    """Critical recipes with untied weights for random tasks."""
    generator = np.random.default_rng(3)
    return [
        {
            "cell": cell,
            "length": int(np.exp(generator.uniform(*np.log((10, 2000))))),
            "hidden": int(generator.integers(16, 1025)),
            "inputs": 28,
            "power": float(generator.uniform(0.5, 2.0)),
            "objective": "isometry",
            "regime": "untied",
        }
        for _ in range(count)
    ]


def untied(folder: Path, count: int, at_once: int = 64) -> Iterator[Row]:
    """Recipes that need no population, on one core and through a table with two workers."""
    for cell in TOGETHER:
        requests = untied_requests(cell, count)
        texts = [Request(**each).model_dump_json() for each in requests]
        times = []
        for start in range(0, min(count, 8 * at_once), at_once):
            began = time.process_time()
            perform_together(make_recipe, make_recipes, texts[start : start + at_once])
            times.append((time.process_time() - began) / len(texts[start : start + at_once]))
        alone = min(times)
        path = folder / f"untied {cell}.sqlite"
        driver = -time.process_time()
        made = table(requests, path, workers=2)
        driver = (driver + time.process_time()) / count
        with Store(path) as store:
            # The first tasks of a worker take longer, since it loads what it needs.
            [(busy,)] = store.select("SELECT avg(seconds) FROM recipes WHERE id > ?", (4 * at_once,))
        note = f"in a table {2.0 / (busy + driver):.0f} on two cores: processor {1e3 * busy:.2f} ms"
        note += f" + {1e3 * driver:.2f} ms of the driver; clock {made.made / made.seconds:.0f} with the start"
        yield f"untied {cell}, one core", f"{1.0 / alone:.0f} a second", note


def main() -> None:
    parser = argparse.ArgumentParser(description="Tables of recipes.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--recipes", type=int, default=24)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--untied", type=int, default=2048, help="recipes of each cell")
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    if arguments.export:
        export_alone(*arguments.export)
        return
    shown = Table(title=f"tables of recipes\n{platform.machine()}, Python {platform.python_version()}", title_style="")
    for heading in ("", "found", "notes"):
        shown.add_column(heading, justify="right" if heading == "found" else "left")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        design = stored_design(arguments.rows)
        path = folder / "stored.sqlite"
        parts = (
            filled(path, design),
            lookups(path),
            exports(path),
            again(path, design),
            engines(folder, arguments.tasks),
            workers(folder, arguments.recipes),
            untied(folder, arguments.untied),
        )
        for rows in parts:
            for row in rows:
                shown.add_row(*row)
    Console(width=130, markup=False).print(shown)
    if arguments.output:
        with arguments.output.open("w") as stream:
            Console(file=stream, width=130, markup=False).print(shown)


if __name__ == "__main__":
    main()
