"""The cache of compiled kernels: found again by later processes, and never stale."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from meanfield.solvers import kernel_modules

KERNEL = """
@kernel
def total(values):
    wide_vectors()
    result = 0.0
    for j in range(values.shape[0]):
        result += shifted(values[j])
    return result
"""

PROGRAM = """
import sys
import numpy as np
from meanfield.solvers import kernel_modules
module = kernel_modules.load("total", sys.stdin.read())
print(module.total(np.ones(4)), sum(module.total.stats.cache_hits.values()))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEANFIELD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def text_with(shift: float) -> str:
    return kernel_modules.assemble([f"@inlined\ndef shifted(x):\n    return x + {shift}\n", KERNEL])


def run_elsewhere(text: str, where: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=text, capture_output=True, text=True, check=True, cwd=where
    )
    return done.stdout.split()


def test_another_process_finds_the_compiled_kernel(cache: Path, tmp_path: Path) -> None:
    assert run_elsewhere(text_with(1.0), tmp_path) == ["8.0", "0"]
    assert run_elsewhere(text_with(1.0), tmp_path) == ["8.0", "1"]


def test_a_change_of_an_inlined_function_is_seen(cache: Path, tmp_path: Path) -> None:
    assert run_elsewhere(text_with(1.0), tmp_path) == ["8.0", "0"]
    assert run_elsewhere(text_with(2.0), tmp_path) == ["12.0", "0"]


def test_modules_lose_imports_annotations_and_docstrings(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "part.py"
    path.write_text(
        '"""Doc."""\nfrom __future__ import annotations\nfrom meanfield.nowhere import something\n'
        '_ONE: float = 1.0\n\ndef shifted(x: Unknown) -> Unknown:\n    """Doc."""\n    return x + _ONE\n'
    )
    part = types.ModuleType("part")
    part.__file__ = str(path)
    text = kernel_modules.assemble([part, KERNEL])
    assert "nowhere" not in text
    assert "Doc." not in text
    assert kernel_modules.load("total", text).total(np.ones(3)) == 6.0


def test_a_damaged_file_is_written_anew(cache: Path, tmp_path: Path) -> None:
    run_elsewhere(text_with(3.0), tmp_path)
    (file,) = cache.rglob("total.py")
    file.write_text(file.read_text()[:100])
    assert run_elsewhere(text_with(3.0), tmp_path)[0] == "16.0"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who is held to permissions")
def test_a_cache_that_cannot_be_written_is_done_without(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert run_elsewhere(text_with(4.0), tmp_path)[0] == "20.0"


def test_a_cache_that_is_no_directory_is_done_without(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file")
    assert run_elsewhere(text_with(5.0), tmp_path)[0] == "24.0"
