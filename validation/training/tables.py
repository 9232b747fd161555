"""Tables of trainings: median iterations until a task is learnt, by initialisation, and ratios to chrono's."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from meanfield.errors import InvalidInput
from meanfield.files import write_whole
from meanfield.validation.training.runs import Run

REFERENCE = "chrono"
BEGINNING, END = "<!-- table of runs: begin -->", "<!-- table of runs: end -->"


@dataclass(frozen=True)
class Entry:
    """What came of all seeds of one initialisation on one task.

    Attributes:
        learnt, seeds: runs that reached the threshold, and runs in all.
        iterations: median over seeds of the iterations until then, inf if most never did.
        lowest, highest: over seeds, inf likewise.
        limit: iterations after which training stopped.
        final: median of the last metric, None if no run has one.
        diverged, infeasible: runs that ended so.
        singular_values: smallest and largest of recurrent matrices over all steps and runs, None for gated cells.
    """

    learnt: int
    seeds: int
    iterations: float
    lowest: float
    highest: float
    limit: int
    final: float | None
    diverged: int
    infeasible: int
    singular_values: tuple[float, float] | None = None

    def text(self) -> str:
        """For people: ``160 (3/3)``, or ``> 1500 (1/3), 0.47``."""
        reached = f"{self.iterations:.0f}" if isfinite(self.iterations) else f"> {self.limit}"
        text = f"{reached} ({self.learnt}/{self.seeds})"
        if self.infeasible == self.seeds:
            return "infeasible"
        if not isfinite(self.iterations) and self.final is not None:
            text += f", {self.final:.2g}"
        return f"{text}, {self.diverged} diverged" if self.diverged else text

    def ratio(self, reference: Entry) -> tuple[str, float]:
        """Its iterations in units of another's: ``"="``, or ``"<"`` or ``">"`` where one of both never learnt.

        >>> fast = Entry(3, 3, 150.0, 140.0, 200.0, 1500, 0.01, 0, 0)
        >>> never = Entry(0, 3, inf, inf, inf, 1500, 0.17, 0, 0)
        >>> fast.ratio(never), never.ratio(fast), never.ratio(never)
        (('<', 0.1), ('>', 10.0), ('?', 1.0))
        """
        if isfinite(self.iterations) and isfinite(reference.iterations):
            return "=", max(self.iterations, 1.0) / max(reference.iterations, 1.0)
        if isfinite(self.iterations):
            return "<", max(self.iterations, 1.0) / reference.limit
        if isfinite(reference.iterations):
            return ">", self.limit / max(reference.iterations, 1.0)
        return "?", 1.0


@dataclass(frozen=True)
class Row:
    """One task, cell, length and width, trained in one way.

    Attributes:
        title: which.
        metric, threshold, chance: of the task.
        entries: by initialisation.
        runs: behind them, by initialisation.
    """

    title: str
    metric: str
    threshold: float
    chance: float
    entries: dict[str, Entry]
    runs: dict[str, list[Run]]


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Runs by task, cell, length and width, in the order in which they first appear.

    What differs in the file besides these, as a learning rate, is part of the title; if there are recipes of more than
    one objective, their initialisation is called ``recipe learn/1`` and so on; likewise where there is more than one
    band, ``spectral ±0.01, 16 reflectors``.

    Raises:
        InvalidInput: if there are none.
    """
    listed = list(runs)
    if not listed:
        raise InvalidInput("runs: there are none; train something first")
    objectives = {run.objective for run in listed if run.objective}
    bands = {(run.band.half_width, run.band.reflectors) for run in listed if run.band}
    details = [_details(run) for run in listed]
    varying = [name for name in details[0] if len({detail[name] for detail in details} - {None}) > 1]
    groups: dict[str, dict[str, list[Run]]] = {}
    for run, detail in zip(listed, details, strict=True):
        others = [f"{name} {detail[name]}" for name in varying if detail[name] is not None]
        title = ", ".join([f"{run.task}, {run.cell}, T = {run.length}", *others])
        label = _label(run, len(objectives) > 1, len(bands) > 1)
        groups.setdefault(title, {}).setdefault(label, []).append(run)
    return [_row(title, groups[title]) for title in groups]


def labels_of(rows: Sequence[Row]) -> list[str]:
    """Initialisations that appear, recipes first, the reference next."""
    found = list(dict.fromkeys(label for row in rows for label in row.entries))
    return sorted(found, key=lambda label: (not label.startswith("recipe"), label != REFERENCE))


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """The table as text: a heading, a row for every group, and one of counts over all groups."""
    labels = labels_of(rows)
    table = [["task, cell, length", *labels]]
    for row in rows:
        table.append([row.title, *(_shown(row, label) for label in labels)])
    table.append(["learnt, of all runs", *(_total(rows, label) for label in labels)])
    if REFERENCE in labels:
        table.append([f"ahead of / behind {REFERENCE}", *(_standing(rows, label) for label in labels)])
    return table


def table_of_runs(rows: Sequence[Row]) -> RenderableType:
    """For people, in a terminal."""
    cells = cells_of(rows)
    ratio = f", × {REFERENCE}'s" if REFERENCE in cells[0] else ""
    table = Table(title=f"iterations until learnt: median (learnt/seeds){ratio}", title_style="")
    for heading in cells[0]:
        table.add_column(heading)
    summary = 2 if REFERENCE in cells[0] else 1
    for number, line in enumerate(cells[1:], start=1):
        table.add_row(*line, end_section=number == len(cells) - 1 - summary)
    return table


def as_markdown(rows: Sequence[Row]) -> str:
    """The same for a page."""
    cells = cells_of(rows)
    lines = ["| " + " | ".join(cells[0]) + " |", "|---" * len(cells[0]) + "|"]
    lines += ["| " + " | ".join(line) + " |" for line in cells[1:]]
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The object that ``meanfield train table --json`` prints; what is infinite is null."""

    def finite(number: float) -> float | None:
        return number if isfinite(number) else None

    return {
        "groups": [
            {
                "title": row.title,
                "metric": row.metric,
                "threshold": row.threshold,
                "chance": row.chance,
                "initialisations": {
                    label: {
                        **vars(entry),
                        **{name: finite(getattr(entry, name)) for name in ("iterations", "lowest", "highest")},
                    }
                    for label, entry in row.entries.items()
                },
            }
            for row in rows
        ]
    }


def write_into(page: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Put the table into a page, between the lines that mark its place.

    Raises:
        InvalidInput: if the page cannot be read or has no such place.
        OSError: if it cannot be written.
    """
    try:
        text = Path(page).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"{page}: cannot be read: {reason}") from error
    before, beginning, rest = text.partition(BEGINNING)
    _, end, after = rest.partition(END)
    if not (beginning and end):
        raise InvalidInput(f"{page}: must have the lines {BEGINNING} and {END} where the table is to be")
    write_whole(page, f"{before}{BEGINNING}\n{as_markdown(rows)}{END}{after}")


def _details(run: Run) -> dict[str, Any]:
    """What else distinguishes groups of runs."""
    settings = {name.replace("_", " "): value for name, value in run.settings.model_dump().items()}
    options = {name: run.options.get(name) for name in ("images", "padding_power")}
    return {"N": run.hidden, **settings, **{name.replace("_", " "): value for name, value in options.items()}}


def _label(run: Run, by_objective: bool, by_band: bool) -> str:
    """The name of an initialisation, and which one of them if there are several."""
    label = f"{run.initialisation} {run.objective}" if run.objective and by_objective else run.initialisation
    return f"{label} ±{run.band.half_width:g}, {run.band.reflectors} reflectors" if run.band and by_band else label


def _row(title: str, runs: dict[str, list[Run]]) -> Row:
    any_run = next(iter(runs.values()))[0]
    entries = {label: _entry(same) for label, same in runs.items()}
    return Row(title, any_run.metric, any_run.threshold, any_run.chance, entries, runs)


def _entry(runs: list[Run]) -> Entry:
    times = [inf if run.iterations is None else float(run.iterations) for run in runs]
    finals = [run.final for run in runs if run.final is not None]
    extremes = [run.singular_values for run in runs if run.singular_values is not None]
    return Entry(
        learnt=sum(run.outcome == "learnt" for run in runs),
        seeds=len(runs),
        iterations=statistics.median(times),
        lowest=min(times),
        highest=max(times),
        limit=max(run.settings.iterations for run in runs),
        final=statistics.median(finals) if finals else None,
        diverged=sum(run.outcome == "diverged" for run in runs),
        infeasible=sum(run.outcome == "infeasible" for run in runs),
        singular_values=(min(low for low, _ in extremes), max(high for _, high in extremes)) if extremes else None,
    )


def _shown(row: Row, label: str) -> str:
    entry, reference = row.entries.get(label), row.entries.get(REFERENCE)
    if entry is None:
        return "–"
    if reference is None or label == REFERENCE:
        return entry.text()
    sign, ratio = entry.ratio(reference)
    return entry.text() if sign == "?" else f"{entry.text()} {'' if sign == '=' else sign + ' '}{ratio:.2g}×"


def _total(rows: Sequence[Row], label: str) -> str:
    entries = [row.entries[label] for row in rows if label in row.entries]
    return f"{sum(entry.learnt for entry in entries)}/{sum(entry.seeds for entry in entries)}"


def _standing(rows: Sequence[Row], label: str) -> str:
    """In how many groups an initialisation learns sooner than the reference, and later."""
    if label == REFERENCE:
        return "–"
    both = [row.entries for row in rows if label in row.entries and REFERENCE in row.entries]
    if not both:
        return "–"
    pairs = [(entries[label].iterations, entries[REFERENCE].iterations) for entries in both]
    return f"{sum(a < b for a, b in pairs)} / {sum(a > b for a, b in pairs)} of {len(pairs)}"
