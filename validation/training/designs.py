"""Recipes designed on the inputs of a training task, once each, kept in files beside the runs."""

from __future__ import annotations

from pathlib import Path

from meanfield import recipes
from meanfield.design import Progress
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.recipe_layers import VERSIONS
from meanfield.validation.training.tasks import Task

OBJECTIVE = VERSIONS["learn"]


def task_inputs(task: Task) -> MeasuredInputs:
    """What a recipe for a task is designed on: some of its training sequences, and how long the signal in them is.

    >>> from meanfield.validation.training.tasks import make_task
    >>> inputs = task_inputs(make_task("delayed_parity", 50))
    >>> inputs.length, inputs.size, inputs.signal
    (50, 1, 3)
    """
    return Inputs.from_data(task.design_inputs(), signal=task.signal)


def recipe_path(folder: Path, task: Task, cell: str, hidden: int) -> Path:
    """Where a recipe is kept: in a folder for every version of the objective."""
    name = f"{task.name}-{cell}-T{task.length}-N{hidden}-{task_inputs(task).digest()[:8]}.json"
    return folder / "recipes" / OBJECTIVE.replace("/", "-") / name


def designed_recipe(
    task: Task, cell: str, hidden: int, folder: Path, *, progress: Progress | None = None
) -> recipes.Recipe:
    """The recipe for a task, designed now or read from its file.

    Args:
        task: what is to be learnt.
        cell: ``"lstm"``, ``"gru_reset_after"`` or ``"vanilla"``.
        hidden: N.
        folder: that of the runs.
        progress: see :func:`meanfield.recipe`.

    Returns:
        The recipe, which is in its file now.

    Raises:
        Infeasible: if there is none.
        OSError: if its file cannot be written.
    """
    path = recipe_path(folder, task, cell, hidden)
    if path.is_file():
        return recipes.load(path)
    found = recipes.recipe(cell, length=task.length, hidden=hidden, inputs=task_inputs(task), progress=progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found
