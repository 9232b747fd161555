"""What was computed and drawn before, found by the code that did it and by what was asked for."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from meanfield.errors import InvalidInput
from meanfield.solvers.kernel_modules import cache_directory
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.rendering import picture, write_bytes_whole
from meanfield.validation.figures.series import FigureData, parse_series
from meanfield.validation.figures.style import styled

_PACKAGES = ("meanfield", "meanfield.solvers", "meanfield.sampling", "meanfield.validation")
_NUMERICS = ("numpy", "scipy", "torch")


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of all sources of the package, and of the versions of what numbers come from.

    >>> len(code_version())
    64
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for folder in map(Path, importlib.import_module(package).__path__):
            for source in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{source.relative_to(folder).as_posix()}\0".encode())
                digest.update(source.read_bytes())
    for name in _NUMERICS:
        digest.update(f"{name} {_version(name)}\0".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class Cache:
    """Files by what they follow from; a file that is damaged counts as missing.

    Attributes:
        folder: where they are, ``figures`` in the package's cache directory by default; made when first written to.
        fresh: whether what is there is ignored, and written anew.
    """

    folder: Path
    fresh: bool = False

    @classmethod
    def default(cls, *, fresh: bool = False) -> Cache:
        """Beside compiled kernels: ``MEANFIELD_CACHE``, else the user's cache directory."""
        return cls(cache_directory() / "figures", fresh)

    def numbers(self, figure: NamedFigure, size: Size) -> tuple[FigureData, bool]:
        """The numbers of a figure, and whether they were there."""
        path = self._path(figure, size, "csv")
        kept = self._read(path)
        if kept is not None:
            try:
                return parse_series(kept.decode()), True
            except (InvalidInput, UnicodeDecodeError):
                pass
        found = figure.compute(size)
        self._write(path, found.text().encode())
        return found, False

    def drawn(self, figure: NamedFigure, size: Size, data: FigureData, kind: str) -> bytes:
        """A picture of these numbers."""
        path = self._path(figure, size, f"matplotlib-{_version('matplotlib')}.{kind}")
        kept = self._read(path)
        if kept is None:
            with styled():
                kept = picture(figure.draw(data), kind)
            self._write(path, kept)
        return kept

    def _path(self, figure: NamedFigure, size: Size, ending: str) -> Path:
        asked = f"{code_version()} {figure.name} {size!r}"
        return self.folder / f"{figure.name}-{hashlib.sha256(asked.encode()).hexdigest()[:24]}.{ending}"

    def _read(self, path: Path) -> bytes | None:
        try:
            return None if self.fresh else path.read_bytes()
        except OSError:
            return None

    def _write(self, path: Path, content: bytes) -> None:
        # A cache that cannot be written costs time, nothing else.
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes_whole(path, content)
        except OSError:
            return
