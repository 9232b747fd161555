"""How much memory there is, so that requests beyond it are refused before anything is allocated."""

from __future__ import annotations

import os


def available_bytes() -> int | None:
    """Bytes that this machine can still give, None where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(what: str, needed: int, available: int | None) -> None:
    """Refuse what does not fit.

    Raises:
        MemoryError: saying how much is needed and how much there is.

    >>> check_memory("10 chains", 360, 10**9)
    >>> check_memory("10 chains", 360, 100)
    Traceback (most recent call last):
        ...
    MemoryError: 10 chains need 0.0 GB of memory, and 0.0 GB are available; take fewer
    """
    if available is not None and needed > available:
        raise MemoryError(
            f"{what} need {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available; take fewer"
        )
