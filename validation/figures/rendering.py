"""Matplotlib figures as bytes of a file that are the same for the same figure."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from meanfield.errors import InvalidInput
from meanfield.files import check_writable
from meanfield.validation.figures.style import finish

# Without the time of writing.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
}
FORMATS = tuple(_METADATA)


def check_formats(formats: list[str]) -> list[str]:
    """Formats of pictures, each once.

    Raises:
        InvalidInput: if there is no such format.

    >>> check_formats(["png", "gif"])
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: format: must be one of png, svg, pdf, got 'gif'
    """
    for each in formats:
        if each not in FORMATS:
            raise InvalidInput(f"format: must be one of {', '.join(FORMATS)}, got {each!r}")
    return list(dict.fromkeys(formats))


def picture(figure: Any, kind: str) -> bytes:
    """A figure in one of :data:`FORMATS`."""
    finish(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=_METADATA[kind])
    return stream.getvalue()


def write_bytes_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it into place, so that nobody ever sees half of it.

    Raises:
        OSError: if it cannot be written.
    """
    check_writable(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside = Path(folder) / path.name
        aside.write_bytes(content)
        os.replace(aside, path)
