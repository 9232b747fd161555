"""Every example in a docstring, the README and docs/ runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import meanfield

ROOT = Path(__file__).parent.parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def modules() -> list[str]:
    found = pkgutil.walk_packages(meanfield.__path__, "meanfield.")
    siblings = ("meanfield.solvers", "meanfield.sampling", "meanfield.validation")
    names = {module.name for module in found} | {"meanfield"}
    for sibling in siblings:
        package = importlib.import_module(sibling)
        names |= {sibling} | {module.name for module in pkgutil.walk_packages(package.__path__, f"{sibling}.")}
    return sorted(names)


@pytest.mark.parametrize("name", modules())
def test_examples_of_a_module(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert results.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS)
    assert results.failed == 0


def test_source_tree_alone_says_what_to_do(tmp_path: Path) -> None:
    """With only a wheel installed, Python started beside ./meanfield finds it without its siblings."""
    (tmp_path / "meanfield").mkdir()
    source = (ROOT / "meanfield" / "__init__.py").read_text()
    (tmp_path / "meanfield" / "__init__.py").write_text(source)
    # -S hides installed packages, and with them an editable install that would find the siblings.
    command = [sys.executable, "-S", "-c", "import sys; sys.path.insert(0, '.'); import meanfield"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install -e ." in done.stderr
