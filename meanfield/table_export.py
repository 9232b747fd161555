"""Tables as files for other programs: Parquet, CSV and JSON lines."""

from __future__ import annotations

import csv
import importlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from meanfield.errors import InvalidInput
from meanfield.files import check_writable
from meanfield.table_columns import PROFILES
from meanfield.table_requests import FIELDS
from meanfield.table_store import Store, quoted
from meanfield.table_work import expanded

_AT_ONCE = 4000  # rows
_WHOLE = ("signal", "units", "length", "hidden", "inputs", "seed", "layers")
_TRUTH = "bidirectional"
_TEXT = ("key", "method", "cell", "objective", "regime", "ensemble", "error")


def export_table(path: str | os.PathLike[str], to: str | os.PathLike[str]) -> int:
    """Write a table as a file, whole or not at all; its name's ending says what.

    ``.parquet`` has a column for every field of the request and every number, and lists for the profiles over the lag;
    ``.csv`` has the same without the profiles; ``.jsonl`` has a line for every row with its request and the recipe as
    it is in its file. Requests that failed are rows with an error and without numbers.

    Args:
        path: file of the table.
        to: file to write.

    Returns:
        The number of rows.

    Raises:
        InvalidInput: if there is no such table, the ending is another one, or pyarrow is not installed (Parquet).
        StoreFailed: if the table cannot be read.
        OSError: if the file cannot be written.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> Store(f"{folder}/recipes.sqlite", write=True).close()
    >>> export_table(f"{folder}/recipes.sqlite", f"{folder}/recipes.csv")
    0
    """
    writers: dict[str, Callable[[Store, Path], int]] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
    target = Path(to)
    if target.suffix not in writers:
        raise InvalidInput(f"to: must end in {', '.join(writers)}, got {target.name!r}")
    check_writable(target)
    with Store(path) as store, _written_aside(target) as aside:
        return writers[target.suffix](store, aside)


@contextmanager
def _written_aside(target: Path) -> Iterator[Path]:
    """A path to write to that is renamed to the target at the end."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        aside = Path(folder) / target.name
        yield aside
        os.replace(aside, target)


def _columns(store: Store) -> list[str]:
    """All columns but the id, which is the file's own affair."""
    return [name for name in store.columns() if name != "id"]


def _csv(store: Store, target: Path) -> int:
    columns = _columns(store)
    count = 0
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for rows in store.stream(
            f"SELECT {', '.join(map(quoted, columns))} FROM recipes ORDER BY id", at_once=_AT_ONCE
        ):
            writer.writerows(rows)
            count += len(rows)
    return count


def _json_lines(store: Store, target: Path) -> int:
    names = ("key", "method", *FIELDS, "error", "seconds")
    statement = f"SELECT {', '.join(names)}, recipe FROM recipes LEFT JOIN documents USING (id) ORDER BY recipes.id"
    count = 0
    with target.open("w", encoding="utf-8") as stream:
        for rows in store.stream(statement, at_once=_AT_ONCE // 4):
            for row in rows:
                entry = dict(zip(names, row, strict=False))
                entry["request"] = {name: entry.pop(name) for name in FIELDS}
                entry["request"][_TRUTH] = bool(entry["request"][_TRUTH])
                _write_line(stream, entry, row[-1])
            count += len(rows)
    return count


def _write_line(stream: IO[str], entry: dict[str, Any], document: bytes | None) -> None:
    # The recipe's text goes in as it is: reading it would take most of the time.
    recipe = expanded(document) if document is not None else "null"
    stream.write(f'{json.dumps(entry, ensure_ascii=False, allow_nan=False)[:-1]}, "recipe": {recipe}}}\n')


def _parquet(store: Store, target: Path) -> int:
    try:
        # By name: the package is typed and tested without pyarrow.
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise InvalidInput("to: Parquet needs pyarrow; run 'pip install meanfield-rnn[parquet]'") from None
    columns = _columns(store)
    schema = arrow.schema([(name, _kind(arrow, name)) for name in columns] + _profile_kinds(arrow))
    statement = f"SELECT {', '.join(f'recipes.{quoted(name)}' for name in columns)}, profiles FROM recipes "
    count = 0
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for rows in store.stream(f"{statement} LEFT JOIN documents USING (id) ORDER BY recipes.id", at_once=_AT_ONCE):
            values = list(zip(*rows, strict=True))
            profiles = [json.loads(expanded(each)) if each is not None else {} for each in values.pop()]
            arrays = [_array(arrow, column, field) for column, field in zip(values, schema, strict=False)]
            for field in list(schema)[len(columns) :]:
                arrays.append(arrow.array([each.get(field.name) for each in profiles], field.type))
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


def _array(arrow: Any, column: Iterable[Any], field: Any) -> Any:
    # SQLite has no truth values.
    return arrow.array(map(bool, column) if field.name == _TRUTH else column, field.type)


def _kind(arrow: Any, name: str) -> Any:
    if name in _TEXT:
        return arrow.string()
    if name == _TRUTH:
        return arrow.bool_()
    return arrow.int64() if name in _WHOLE else arrow.float64()


def _profile_kinds(arrow: Any) -> list[tuple[str, Any]]:
    kinds = (("lags", arrow.int64()), ("log10s", arrow.float64()), ("log10_errors", arrow.float64()))
    return [(f"{profile}_{name}", arrow.list_(kind)) for profile in PROFILES for name, kind in kinds]
