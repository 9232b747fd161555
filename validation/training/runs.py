"""Finished trainings as lines of JSON: a file that grows by whole lines, and that a killed study goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from meanfield.errors import InvalidInput
from meanfield.files import parse_json
from meanfield.recipe_file import Strict
from meanfield.validation.training.settings import Cell

FORMAT: Literal["meanfield.training/1"] = "meanfield.training/1"
_OF_SOME = ("band", "singular_values")


class SettingsOfRun(Strict):
    """See :class:`meanfield.validation.training.settings.Settings`."""

    learning_rate: float
    batch: int
    clip: float
    iterations: int
    evaluate_every: int
    held_out: int


class BandOfRun(Strict):
    """See :class:`meanfield.validation.training.settings.Band`."""

    half_width: float
    reflectors: int


class Run(Strict):
    """One network that was trained, or could not be designed.

    Attributes:
        task, options, length: what was learnt.
        metric, chance, threshold: how it is measured; ``"accuracy"`` or ``"mean squared error"``.
        cell, hidden: the layer.
        initialisation: its name; with a recipe in it also the ``objective`` that it was designed for and its
            ``request_hash``.
        seed: of data, readout and weights.
        outcome: ``"infeasible"`` where there is no recipe for the task, with the ``reason``.
        iterations: after which the threshold was reached, None if it never was.
        final: the last metric, None if there is none.
        curve: (iteration, metric).
        seconds: it took.
        versions: of Python and of packages.
        band: of ``"spectral"`` and ``"spectral_recipe"``.
        singular_values: smallest and largest of the recurrent matrix of ``vanilla`` over all steps.

    ``band`` and ``singular_values`` are in the lines, and ``band`` in the keys, of runs that have them only.
    """

    format: Literal["meanfield.training/1"]
    task: str
    options: dict[str, str | float]
    length: int
    metric: Literal["accuracy", "mean squared error"]
    chance: float
    threshold: float
    cell: Cell
    hidden: int
    initialisation: str
    objective: str | None
    request_hash: str | None
    seed: int
    settings: SettingsOfRun
    outcome: Literal["learnt", "not learnt", "diverged", "infeasible"]
    reason: str | None
    iterations: int | None
    final: float | None
    curve: list[tuple[int, float]]
    seconds: float
    versions: dict[str, str]
    band: BandOfRun | None = None
    singular_values: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """What makes it this run and no other: the request, not what came of it."""
        names = ("task", "options", "length", "cell", "hidden", "initialisation", "objective", "seed", "settings")
        content = self.model_dump()
        return run_key(**{name: content[name] for name in names}, band=content["band"])

    def line(self) -> str:
        """Its line in a file."""
        content = self.model_dump(mode="json")
        for name in _OF_SOME:
            if content[name] is None:
                del content[name]
        return json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n"


def run_key(*, band: dict[str, Any] | None = None, **request: Any) -> str:
    """The same text for the same request."""
    return json.dumps(request if band is None else {**request, "band": band}, sort_keys=True)


def read_runs(path: str | os.PathLike[str]) -> list[Run]:
    """All finished runs of a file, each request once; a last line that was cut off is left out.

    Raises:
        InvalidInput: if the file cannot be read, or a line is not a run; the message names the line and the field.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from error
    whole, _, _ = text.rpartition("\n")
    runs: dict[str, Run] = {}
    for number, line in enumerate(whole.split("\n"), start=1):
        if line.strip():
            run = _parsed(line, f"{path}: line {number}")
            runs.setdefault(run.key, run)
    return list(runs.values())


def append_run(path: str | os.PathLike[str], run: Run) -> None:
    """Add a run to a file, as a whole line or not at all, whoever else is adding; a line cut off before is removed.

    Raises:
        OSError: if the file cannot be written.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        with _locked(handle):
            _drop_torn_line(handle)
            line = run.line().encode()
            written = os.write(handle, line)
            while written < len(line):
                written += os.write(handle, line[written:])
            os.fsync(handle)
    finally:
        os.close(handle)


def _drop_torn_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    os.lseek(handle, 0, os.SEEK_SET)
    content = b""
    while len(content) < size and (part := os.read(handle, size - len(content))):
        content += part
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.ftruncate(handle, whole)


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # not on this system: then one process at a time may add
        yield
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _parsed(line: str, name: str) -> Run:
    content = parse_json(line, name)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else content
        raise InvalidInput(f"{name}: format: must be {FORMAT!r}, got {found!r}")
    try:
        return Run.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{name}: {place}: {first['msg']}") from error
