"""Many trainings: every task, cell and initialisation with the same seeds, into a file that can be gone on with."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import cast, get_args

import meanfield
from meanfield.checks import check_count
from meanfield.errors import Infeasible, InvalidInput
from meanfield.files import check_writable
from meanfield.recipes import Recipe
from meanfield.validation.training.designs import OBJECTIVE, designed_recipe
from meanfield.validation.training.initialisations import (
    FROM_RECIPES,
    IN_BANDS,
    INITIALISATIONS,
    initialisations_of,
    initialised_layer,
)
from meanfield.validation.training.runs import FORMAT, BandOfRun, Run, SettingsOfRun, append_run, read_runs, run_key
from meanfield.validation.training.settings import Band, Cell, Settings
from meanfield.validation.training.tasks import Task
from meanfield.validation.training.trainer import Training, train


@dataclass(frozen=True)
class Request:
    """One training that is asked for."""

    task: Task
    cell: Cell
    hidden: int
    initialisation: str
    seed: int
    settings: Settings
    band: Band | None = None  # of those in IN_BANDS only, with its number of reflectors

    @property
    def objective(self) -> str | None:
        """The version of the objective that a recipe is designed for, None for other initialisations."""
        return OBJECTIVE if self.initialisation in FROM_RECIPES else None

    @property
    def key(self) -> str:
        """The key of its run; see :attr:`meanfield.validation.training.runs.Run.key`."""
        return run_key(
            task=self.task.name,
            options=dict(self.task.options),
            length=self.task.length,
            cell=self.cell,
            hidden=self.hidden,
            initialisation=self.initialisation,
            objective=self.objective,
            seed=self.seed,
            settings=self.settings.as_json(),
            band=vars(self.band) if self.band is not None else None,
        )

    def __str__(self) -> str:
        """For people, in one line."""
        task = self.task
        return f"{task.name} T={task.length} {self.cell} N={self.hidden} {self.initialisation} seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """Which trainings are asked for: all combinations, of the first seed first.

    Cells and initialisations that do not go together, as ``"lstm"`` and ``"spectral"``, are left out.

    Attributes:
        tasks: from :func:`meanfield.validation.training.tasks.make_task`.
        cells: ``"lstm"``, ``"gru_reset_after"`` or ``"vanilla"``.
        initialisations: names; see :data:`meanfield.validation.training.initialisations.INITIALISATIONS`.
        seeds: how many, from 0.
        hidden: N.
        settings: of the training.
        band: of ``"spectral"`` and ``"spectral_recipe"``.

    Raises:
        InvalidInput: if a name is unknown, a number is out of its range, a cell or an initialisation goes with nothing
            that is asked for, or there is nothing to do.
    """

    tasks: Sequence[Task]
    cells: Sequence[str]
    initialisations: Sequence[str]
    seeds: int = 3
    hidden: int = 64
    settings: Settings = field(default_factory=Settings)
    band: Band = field(default_factory=Band)

    def __post_init__(self) -> None:
        for name, given, allowed in (
            ("cell", self.cells, get_args(Cell)),
            ("initialisations", self.initialisations, INITIALISATIONS),
        ):
            for each in given:
                if each not in allowed:
                    raise InvalidInput(f"{name}: must be among {', '.join(allowed)}, got {each!r}")
        for name, asked in (("tasks", self.tasks), ("cell", self.cells), ("initialisations", self.initialisations)):
            if not asked:
                raise InvalidInput(f"{name}: must name at least one")
        check_count("seeds", self.seeds, 1)
        check_count("hidden", self.hidden, 1)
        pairs = self._pairs
        for name, asked, used in (
            ("initialisations", self.initialisations, {initialisation for _, initialisation in pairs}),
            ("cell", self.cells, {cell for cell, _ in pairs}),
        ):
            for each in asked:
                if each not in used:
                    known = ", ".join(f"{cell} has {', '.join(initialisations_of(cell))}" for cell in self.cells)
                    raise InvalidInput(f"{name}: {each!r} goes with nothing that is asked for; {known}")
        if set(IN_BANDS) & set(self.initialisations):
            self.band.at_width(self.hidden)

    @property
    def _pairs(self) -> list[tuple[Cell, str]]:
        """Cells and initialisations that go together."""
        asked = product(self.cells, self.initialisations)
        return [(cast(Cell, cell), name) for cell, name in asked if name in initialisations_of(cell)]

    @property
    def requests(self) -> list[Request]:
        """All trainings, each once."""
        found = [
            Request(task, cell, self.hidden, initialisation, seed, self.settings, self._band_of(initialisation))
            for seed, task, (cell, initialisation) in product(range(self.seeds), self.tasks, self._pairs)
        ]
        return list({request.key: request for request in found}.values())

    def _band_of(self, initialisation: str) -> Band | None:
        return self.band.at_width(self.hidden) if initialisation in IN_BANDS else None


@dataclass(frozen=True)
class Progress:
    """What is told while a study runs; both do nothing by default.

    Attributes:
        working: called as working(request, runs finished, runs in all, iterations made, iterations at most).
        finished: called with every run when it is in the file.
    """

    working: Callable[[Request, int, int, int, int], None] = lambda *_: None
    finished: Callable[[Run], None] = lambda _: None


def run_study(study: Study, path: Path, *, threads: int | None = 1, progress: Progress | None = None) -> list[Run]:
    """Train what is asked for and is not in the file yet, adding every network when it is finished.

    Recipes are designed when first needed, and kept in the folder ``recipes`` beside the file. Several processes may
    share a file.

    Args:
        study: what is asked for.
        path: of the file, new or of an earlier study.
        threads: of PyTorch; small networks gain little from more than one.
        progress: what is told.

    Returns:
        All runs that are asked for, in the study's order.

    Raises:
        InvalidInput: if the file is not one of runs.
        OSError: if it cannot be written.
    """
    check_writable(path)
    told = Progress() if progress is None else progress
    requests = study.requests
    for number, request in enumerate(requests):
        if request.key in _known(path):
            continue
        told.working(request, number, len(requests), 0, request.settings.iterations)
        run = _trained(
            request,
            path.parent,
            threads,
            partial(_tell, told, request, number, len(requests)),
        )
        append_run(path, run)
        told.finished(run)
    known = _known(path)
    return [known[request.key] for request in requests]


def _tell(told: Progress, request: Request, done: int, runs: int, made: int, most: int, metric: float) -> None:
    told.working(request, done, runs, made, most)


def _known(path: Path) -> dict[str, Run]:
    return {run.key: run for run in read_runs(path)} if path.exists() else {}


def _trained(request: Request, folder: Path, threads: int | None, progress: Callable[[int, int, float], None]) -> Run:
    task = request.task
    recipe: Recipe | None = None
    if request.initialisation in FROM_RECIPES:
        try:
            recipe = designed_recipe(task, request.cell, request.hidden, folder)
        except Infeasible as error:
            return _record(request, None, reason=str(error))
    layer = initialised_layer(
        request.initialisation,
        request.cell,
        input_size=task.input_size,
        hidden=request.hidden,
        length=task.length,
        seed=request.seed,
        recipe=recipe,
        band=request.band,
    )
    found = train(task, layer, seed=request.seed, settings=request.settings, threads=threads, progress=progress)
    return _record(request, found, request_hash=recipe.content.request_hash if recipe else None)


def _record(
    request: Request, found: Training | None, *, request_hash: str | None = None, reason: str | None = None
) -> Run:
    task = request.task
    return Run(
        format=FORMAT,
        task=task.name,
        options=dict(task.options),
        length=task.length,
        metric=task.metric,
        chance=task.chance,
        threshold=task.threshold,
        cell=request.cell,
        hidden=request.hidden,
        initialisation=request.initialisation,
        objective=request.objective,
        request_hash=request_hash,
        seed=request.seed,
        settings=SettingsOfRun(**request.settings.as_json()),
        outcome=found.outcome if found else "infeasible",
        reason=reason,
        iterations=found.iterations if found else None,
        final=found.final if found else None,
        curve=list(found.curve) if found else [],
        seconds=round(found.seconds, 3) if found else 0.0,
        versions={
            "meanfield": meanfield.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy")},
        },
        band=BandOfRun(**vars(request.band)) if request.band is not None else None,
        singular_values=found.singular_values if found else None,
    )
