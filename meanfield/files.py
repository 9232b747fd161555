"""Files that appear whole or not at all, and JSON that holds numbers only."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from meanfield.errors import InvalidInput


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file aside and rename it into place, so that nobody ever sees half of it.

    Raises:
        OSError: if it cannot be written; what was there before is then still there.
    """
    target = Path(path)
    check_writable(target)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; give this one the permissions that an ordinary new file has.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Fail early where a file could not be written later.

    Raises:
        OSError: if the folder is missing or not writable, or the path is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, refusing NaN and infinity.

    Raises:
        InvalidInput: if it is missing, is not a file that can be read, or is not JSON.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"{path}: cannot be read: {reason}") from error
    return parse_json(text, str(path))


def parse_json(text: str, name: str) -> Any:
    """Parse JSON text, refusing NaN and infinity; ``name`` is what errors call it."""

    def refuse(constant: str) -> NoReturn:
        raise InvalidInput(f"{name}: holds {constant}, which is not a number")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"{name}: is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "it may have been truncated"
        ) from error
    except RecursionError:
        raise InvalidInput(f"{name}: is nested too deeply") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
