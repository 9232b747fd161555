"""Tables of recipes for people: what the command line prints of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.table_columns import is_error
from meanfield.table_lookup import Found
from meanfield.table_merge import Merged
from meanfield.table_requests import DEFAULTS, FIELDS, Request
from meanfield.table_runs import TableRun
from meanfield.table_store import FAMILY, FIXED, Store

_MOST_FAILURES = 20


def summary(store: Store) -> dict[str, Any]:
    """What a table holds: counts, and how far each kind of recipe reaches."""
    names = ", ".join(FAMILY)
    kinds: dict[tuple[Any, ...], dict[str, Any]] = {}
    rows = store.select(f"SELECT {names}, padded, axis, lowest, highest FROM extents ORDER BY {names}, padded")
    for *family, padded, axis, lowest, highest in rows:
        kind = kinds.setdefault((*family, padded), {**dict(zip(FAMILY, family, strict=True)), "padded": bool(padded)})
        kind[axis] = [lowest, highest]
    return {
        "recipes": store.count(),
        "failed": store.count(failed=True),
        "bytes": Path(store.path).stat().st_size,
        "kinds": list(kinds.values()),
        "columns": [name for name in store.columns() if name not in FIXED],
    }


def summary_table(content: dict[str, Any]) -> RenderableType:
    """The same for people."""
    table = Table(title=f"{content['recipes']:,} recipes, {content['failed']:,} failed requests", title_style="")
    axes = [axis for axis in FIELDS if any(axis in kind for kind in content["kinds"]) and axis not in FAMILY]
    for heading in ("kind", *axes):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in content["kinds"]:
        plain = [kind[name] for name in FAMILY[2:] if kind[name] != DEFAULTS[name]]
        table.add_row(", ".join([kind["cell"], *map(str, plain)]), *(_extent(kind.get(axis)) for axis in axes))
    methods = sorted({kind["method"] for kind in content["kinds"]})
    return Group(table, Text(f"made by {'; '.join(methods)}", style="dim")) if methods else table


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> RenderableType:
    """Rows of a query."""
    table = Table(show_lines=False)
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row))
    return table


def run_report(run: TableRun) -> str:
    """What a run did, in a sentence, and the requests that failed."""
    parts = [f"{run.made:,} made", f"{run.kept:,} there already"]
    if run.elsewhere:
        parts.append(f"{run.elsewhere:,} of other parts")
    if run.failed_before:
        parts.append(f"{run.failed_before:,} failed before (--retry-failed makes them again)")
    if run.failures:
        parts.append(f"{len(run.failures):,} failed")
    lines = [f"{run.path}: {', '.join(parts)}, in {run.seconds:.1f} s."]
    lines += failure_lines(run.failures[:_MOST_FAILURES])
    if len(run.failures) > _MOST_FAILURES:
        lines.append(f"  and {len(run.failures) - _MOST_FAILURES:,} more (meanfield table show --failed)")
    return "\n".join(lines)


def merge_report(merged: Merged) -> str:
    """What merging did, in a sentence, and the keys under which recipes differ."""
    parts = [f"{merged.added:,} rows added", f"{merged.replaced:,} failures replaced", f"{merged.kept:,} there already"]
    lines = [f"{merged.path}: {', '.join(parts)}."]
    if merged.differing:
        lines.append(f"{merged.differing:,} keys have another recipe in a source; the first one stays:")
        lines += [f"  {source}: {key}" for source, key in merged.differing_keys]
    if merged.differing > len(merged.differing_keys):
        lines.append(f"  and {merged.differing - len(merged.differing_keys):,} more")
    return "\n".join(lines)


def failure_lines(failures: Iterable[tuple[Request, str]]) -> list[str]:
    """A line for each request that failed, and why."""
    return [f"  {described(request)}: {reason}" for request, reason in failures]


def described(request: Request) -> str:
    """A request in words, without what is at its default.

    >>> described(Request(cell="lstm", length=8, hidden=4, inputs=2, seed=1))
    'lstm length 8 hidden 4 inputs 2 seed 1'
    """
    given = json.loads(request.canonical())
    return " ".join([request.cell, *(f"{name} {given[name]}" for name in FIELDS if name in given and name != "cell")])


def found_table(found: Found) -> RenderableType:
    """What a lookup found: how, from which rows, and the numbers."""
    asked = ", ".join(f"{name} {_shown(value)}" for name, value in found.asked.items() if value is not None)
    numbers = Table(title=f"{found.cell}, {asked}", title_style="")
    numbers.add_column("quantity")
    numbers.add_column("value", justify="right")
    numbers.add_column("± error", justify="right")
    for name, number in found.numbers.items():
        if not name.startswith("default_") and not is_error(name):
            numbers.add_row(name, _shown(number.value), f"{number.error:.2g}")
    words = {
        "exact": "A row of the table.",
        "interpolated": "Interpolated between the rows below; errors add how far these lie apart, and their scatter.",
        "nearest": "The nearest row, as it is; errors add how fast numbers change nearby, and their scatter.",
    }
    rows = Table(title="rows", title_style="")
    for heading in ("weight", "distance", *found.asked, "key"):
        rows.add_column(heading, justify="right")
    for each in found.neighbours:
        places = (_shown(each.request[name]) for name in found.asked)
        rows.add_row(f"{each.weight:.3f}", f"{each.distance:.3g}", *places, each.key[:12])
    return Group(numbers, Text(words[found.how]), rows)


def _extent(ends: list[float] | None) -> str:
    if ends is None:
        return ""
    return _shown(ends[0]) if ends[0] == ends[1] else f"{_shown(ends[0])} to {_shown(ends[1])}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
