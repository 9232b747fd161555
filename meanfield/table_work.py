"""What a worker does with one request, wherever it runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from meanfield.errors import MeanfieldError
from meanfield.solvers.threads import at_most
from meanfield.table_columns import flat_numbers, profile_columns
from meanfield.table_requests import Make, MakeMany, Request

LONGEST_ERROR = 500  # characters of an error that are kept


@dataclass(frozen=True)
class Outcome:
    """What became of a request: a recipe or an error.

    Attributes:
        document: the recipe's JSON text, compressed; None where there is an error.
        numbers: its numbers by column.
        error: why there is no recipe.
        seconds: time of the processor that it took.
        profiles: its profiles over the lag, compressed, so that exports need not read whole recipes.
    """

    document: bytes | None
    numbers: Mapping[str, float | None]
    error: str | None
    seconds: float
    profiles: bytes | None = None


def perform(make: Make, request: str) -> Outcome:
    """Make the recipe of a request given as JSON; what goes wrong is an outcome too."""
    from threadpoolctl import threadpool_limits

    start = time.process_time()
    try:
        # One thread a worker: there are as many workers as there is room for.
        with threadpool_limits(1), at_most(1):
            recipe: Mapping[str, Any] | Exception = make(Request.model_validate_json(request))
    except Exception as error:
        recipe = error
    return _outcome(recipe, start)


def perform_together(make: Make, make_many: MakeMany, requests: Sequence[str]) -> list[Outcome]:
    """Make the recipes of several requests at once; each has an outcome of its own, in order."""
    from threadpoolctl import threadpool_limits

    start = time.process_time()
    try:
        with threadpool_limits(1), at_most(1):
            recipes = list(make_many([Request.model_validate_json(request) for request in requests]))
        if len(recipes) != len(requests):
            raise ValueError(f"{len(requests)} requests gave {len(recipes)} recipes")
    except Exception:
        # What went wrong is one request's, which is found out one by one.
        return [perform(make, request) for request in requests]
    share = (time.process_time() - start) / len(requests)
    return [_outcome(recipe, time.process_time() - share) for recipe in recipes]


def _outcome(recipe: Mapping[str, Any] | Exception, start: float) -> Outcome:
    """What became of a request on which this process has worked since it had used ``start`` seconds."""
    if not isinstance(recipe, Exception):
        try:
            document, profiles = compressed(recipe), compressed(profile_columns(recipe))
            return Outcome(document, flat_numbers(recipe), None, time.process_time() - start, profiles)
        except Exception as error:
            recipe = error
    message = str(recipe) if isinstance(recipe, MeanfieldError) else f"{type(recipe).__name__}: {recipe}"
    return failure(message, time.process_time() - start)


def failure(message: str, seconds: float = 0.0) -> Outcome:
    """An outcome without a recipe."""
    return Outcome(None, {}, " ".join(message.split())[:LONGEST_ERROR] or "failed without a reason", seconds)


def compressed(recipe: Mapping[str, Any]) -> bytes:
    """A JSON object as it is stored.

    >>> expanded(compressed({"format": "meanfield.recipe/1"}))
    '{"format":"meanfield.recipe/1"}'
    """
    return zlib.compress(json.dumps(recipe, separators=(",", ":"), allow_nan=False).encode())


def expanded(document: bytes) -> str:
    """The text of a stored JSON object."""
    return zlib.decompress(document).decode()


@cache
def code_identity() -> str:
    """Which code makes recipes here: the package's version and a digest of its sources, and Python's version.

    >>> code_identity().split()[0]
    'meanfield'
    """
    import meanfield

    digest = hashlib.sha256()
    for package in ("meanfield", "meanfield.cells", "meanfield.solvers", "meanfield.sampling"):
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            # Not recursive: an editable install keeps the packages elsewhere than a wheel does.
            for file in sorted(Path(folder).glob("*.py")):
                digest.update(f"{package}/{file.name}\n".encode())
                digest.update(file.read_bytes())
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return f"meanfield {meanfield.__version__} ({digest.hexdigest()[:12]}), {python}"
