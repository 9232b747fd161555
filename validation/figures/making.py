"""Figures into a folder: numbers as CSV, pictures in any format."""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meanfield.errors import InvalidInput
from meanfield.files import check_writable, write_whole
from meanfield.validation.figures.cache import Cache
from meanfield.validation.figures.file_figures import FILE_FIGURES, FileFigure
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.registry import FIGURES, check_names
from meanfield.validation.figures.rendering import check_formats, write_bytes_whole
from meanfield.validation.figures.style import styled

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Made:
    """What came of a figure.

    Attributes:
        name: of the figure.
        files: that were written: the numbers, then the pictures.
        cached: whether its numbers were there before.
        skipped: why there are no files; empty where there are.
    """

    name: str
    files: tuple[Path, ...] = ()
    cached: bool = False
    skipped: str = ""


@dataclass(frozen=True)
class FileSources:
    """Files of figures that are drawn from files.

    Attributes:
        runs: of ``training-curves``.
        table: of ``recipe-table``.
        options: what of the table is drawn.
    """

    runs: Path | None = None
    table: Path | None = None
    options: Mapping[str, str] = field(default_factory=lambda: {"number": "chi", "across": "length", "up": "hidden"})

    def of(self, figure: FileFigure) -> Path | None:
        """The file of a figure."""
        return self.runs if figure.option == "--runs" else self.table


def make_figures(
    names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("png",),
    size: Size | None = None,
    sources: FileSources | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> list[Made]:
    """Compute and draw figures by name, from a fixed seed.

    Args:
        names: of figures (:data:`meanfield.validation.figures.registry.FIGURES`); all of them if empty.
        folder: where ``NAME.csv`` and the pictures go; made if only its last part is missing.
        formats: of pictures, ``"png"``, ``"svg"`` or ``"pdf"``.
        size: seed, and how much is computed.
        sources: files of figures that are drawn from files; without one, they are skipped.
        cache: where numbers and pictures are kept.
        progress: told (figures done, figures, name of the next one).

    Returns:
        What came of every figure.

    Raises:
        InvalidInput: if a name or format is unknown, a file makes no sense, or Matplotlib is not installed.
        OSError: if the folder cannot be written to.
    """
    chosen, kinds = check_names(names), check_formats(list(formats))
    size, sources, cache = size or Size(), sources or FileSources(), cache or Cache.default()
    with styled():
        pass  # whether Matplotlib is there, before anything is computed
    target = Path(folder)
    _make(target)
    made = []
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), name)
        if name in FIGURES:
            made.append(_computed(FIGURES[name], target, kinds, size, cache))
        else:
            made.append(_from_file(FILE_FIGURES[name], target, kinds, sources))
    if progress is not None:
        progress(len(chosen), len(chosen), "")
    return made


def _computed(figure: NamedFigure, folder: Path, kinds: Sequence[str], size: Size, cache: Cache) -> Made:
    missing = [name for name in figure.needs if importlib.util.find_spec(name) is None]
    if missing:
        return Made(figure.name, skipped=f"needs {', '.join(missing)}: pip install 'meanfield-rnn[{missing[0]}]'")
    data, cached = cache.numbers(figure, size)
    files = [folder / f"{figure.name}.{ending}" for ending in ("csv", *kinds)]
    write_whole(files[0], data.text())
    for path, kind in zip(files[1:], kinds, strict=True):
        write_bytes_whole(path, cache.drawn(figure, size, data, kind))
    return Made(figure.name, tuple(files), cached)


def _from_file(figure: FileFigure, folder: Path, kinds: Sequence[str], sources: FileSources) -> Made:
    source = sources.of(figure)
    if source is None:
        return Made(figure.name, skipped=f"needs a file: '{figure.made_by}' makes one; give it with {figure.option}")
    data, draw = figure.read(source, sources.options)
    files = [folder / f"{figure.name}.{ending}" for ending in ("csv", *kinds)]
    write_whole(files[0], data.text())
    with styled():
        for path in files[1:]:
            draw(path)
    return Made(figure.name, tuple(files))


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"output: must be a folder, got the file {folder}")
    if not folder.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    folder.mkdir(exist_ok=True)
    check_writable(folder / "figure.csv")
