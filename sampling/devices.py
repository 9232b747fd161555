"""Which device to run on: the processor, or an NVIDIA GPU through CUDA."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, get_args

from meanfield.solvers.lazy_matrix import Device

__all__ = ["Device", "DeviceChoice", "NoDevice", "choose_device"]

DeviceChoice = Literal["auto", "cpu", "cuda"]

_INSTALL = "pip install 'meanfield-rnn[cuda]'"


class NoDevice(RuntimeError):
    """CUDA is asked for and cannot be used; the message says what is missing."""


def choose_device(device: DeviceChoice) -> Device:
    """The device to run on.

    Args:
        device: ``"cpu"``; ``"cuda"``, for which CUDA's simulator counts too (``NUMBA_ENABLE_CUDASIM=1``); or
            ``"auto"``, a GPU if there is one that can be used. If there is none, the logger ``meanfield`` says why,
            once a process, at level INFO.

    Raises:
        NoDevice: if CUDA is asked for and cannot be used.
        ValueError: if there is no such choice.

    >>> choose_device("cpu")
    'cpu'
    >>> choose_device("gpu")
    Traceback (most recent call last):
        ...
    ValueError: must be 'auto', 'cpu' or 'cuda', got 'gpu'
    """
    if device not in get_args(DeviceChoice):
        raise ValueError(f"must be 'auto', 'cpu' or 'cuda', got {device!r}")
    if device == "auto":
        return _automatic()
    if device == "cuda" and not _simulated():
        lacking = _lacking()
        if lacking is not None:
            raise NoDevice(f"CUDA cannot be used: {lacking}")
    return device


@lru_cache(maxsize=1)
def _automatic() -> Device:
    # Under the simulator every GPU is there, and slower than anything else.
    lacking = "CUDA is simulated here" if _simulated() else _lacking()
    if lacking is None:
        return "cuda"
    logging.getLogger("meanfield").info("sampling on the CPU: %s", lacking)
    return "cpu"


def _simulated() -> bool:
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@lru_cache(maxsize=1)
def _lacking() -> str | None:
    """What is missing for CUDA and how to get it, None if nothing is."""
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed; {_INSTALL}"
    try:
        from numba import cuda

        if cuda.is_available():
            cuda.current_context()
            return None
        reason = cuda.cuda_error()
    except Exception as error:  # a driver fails in its own ways; all of them mean that there is no GPU for us
        return f"the GPU or its driver fails; {_one_line(error)}"
    if reason is None:
        return f"the compiler libraries of the CUDA toolkit are not installed; {_INSTALL}"
    return f"there is no NVIDIA GPU here, or no driver for it; {_one_line(reason)}"


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
