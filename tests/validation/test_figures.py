"""Figures: what is drawn is what the CSV holds, the same for the same seed, computed once."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meanfield.errors import InvalidInput
from meanfield.validation.figures import making
from meanfield.validation.figures.cache import Cache, code_version
from meanfield.validation.figures.file_figures import FILE_FIGURES
from meanfield.validation.figures.making import FileSources, make_figures
from meanfield.validation.figures.named_figure import NamedFigure, Size
from meanfield.validation.figures.networks import growth_between
from meanfield.validation.figures.registry import FIGURES, check_names
from meanfield.validation.figures.rendering import picture
from meanfield.validation.figures.series import FigureData, Series, parse_series
from meanfield.validation.figures.style import COLOURS, STYLE, styled

pytest.importorskip("matplotlib")

SMALL = Size(seed=3, small=True)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def computed() -> dict[str, FigureData]:
    """Sketches of all figures, each computed when first asked for."""

    class Computed(dict[str, FigureData]):
        def __missing__(self, name: str) -> FigureData:
            if "torch" in FIGURES[name].needs:
                pytest.importorskip("torch")
            self[name] = FIGURES[name].compute(SMALL)
            return self[name]

    return Computed()


def drawn_points(figure: Any) -> set[tuple[float, float]]:
    """All vertices of lines, and tops of bars, in a drawn figure."""
    found = set()
    for axes in figure.axes:
        for line in axes.lines:
            x, y = (np.asarray(each, dtype=np.float64) for each in line.get_data())
            found |= set(zip(x.tolist(), y.tolist(), strict=True))
        for container in axes.containers:
            for bar in getattr(container, "patches", []):
                found.add((round(bar.get_x() + 0.5 * bar.get_width(), 9), round(bar.get_height(), 9)))
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_figures_draw_what_they_are_given(name: str, computed: dict[str, FigureData]) -> None:
    """Every finite point of every series is in the drawing, but for areas and what is beyond the axes."""
    kept = parse_series(computed[name].text())
    with styled():
        figure = FIGURES[name].draw(kept)
        content = picture(figure, "png")
    assert content.startswith(PNG)
    drawn = drawn_points(figure)
    for series in kept.series:
        if series.panel == "plane" or series.panel.endswith(": phases"):  # areas
            continue
        points = np.column_stack((series.x, series.y))
        points = points[np.all(np.isfinite(points), axis=1)]
        there = [(float(x), float(y)) in drawn or (round(x, 9), round(y, 9)) in drawn for x, y in points]
        if name in ("recipe-reach", "cell-state-law") and not all(there):  # what is far below the axis is left out
            assert max(points[~np.array(there), 1]) < 1e-2 * max(points[:, 1])
        else:
            assert all(there), f"{series.panel}, {series.name}"


@pytest.mark.parametrize("name", FIGURES)
def test_tables_hold_all_numbers(name: str, computed: dict[str, FigureData]) -> None:
    """The CSV, read by another reader, has the numbers of the series to the last digit."""
    rows = list(csv.DictReader(io.StringIO(computed[name].text())))
    position = 0
    for series in computed[name].series:
        for x, y, error in zip(series.x, series.y, series.errors, strict=True):
            row = rows[position]
            assert (row["panel"], row["series"]) == (series.panel, series.name)
            assert np.array_equal([float(row[each]) for each in ("x", "y", "error")], [x, y, error], equal_nan=True)
            position += 1
    assert position == len(rows) > 0


@pytest.mark.parametrize("name", FIGURES)
def test_errors_are_numbers(name: str, computed: dict[str, FigureData]) -> None:
    """Errors are at least zero; simulated numbers scatter, so theirs are not all zero."""
    for series in computed[name].series:
        there = np.isfinite(series.y)
        assert np.all(series.errors[there] >= 0.0)
        if "simulated" in series.name and name not in ("eigenvalues", "slow-modes"):
            assert np.any(series.errors > 0.0)


@pytest.mark.parametrize("name", ["cell-state-law", "sampler-costs"])
def test_same_seed_same_figure(name: str, computed: dict[str, FigureData]) -> None:
    again = FIGURES[name].compute(SMALL)
    assert again.text() == computed[name].text()
    for kind in ("png", "svg", "pdf"):
        with styled():
            first, second = (picture(FIGURES[name].draw(each), kind) for each in (again, computed[name]))
        assert first == second


def test_another_seed_another_figure(computed: dict[str, FigureData]) -> None:
    other = FIGURES["sampler-costs"].compute(replace(SMALL, seed=4))
    assert other.text() != computed["sampler-costs"].text()


def test_untied_theory_is_that_of_the_transfer_operator(computed: dict[str, FigureData]) -> None:
    """Theory, section 2: 0.623 a step, and 40 steps that differ by more than 10⁴ between the regimes."""
    data = computed["tied-untied"]
    tied, untied = (data.one("lstm", f"{name} theory") for name in ("tied", "untied"))
    assert untied.y[-1] / untied.y[-2] == pytest.approx(0.623, abs=0.001)
    assert untied.x[-1] == tied.x[-1] == 40
    assert tied.y[-1] / untied.y[-1] > 1e4


def test_fixed_points_are_kept_by_their_maps(computed: dict[str, FigureData]) -> None:
    data = computed["overlap-maps"]
    for cell in data.panels:
        for gain in ("0.5", "2", "4"):
            image, fixed = data.one(cell, f"gain {gain}"), data.one(cell, f"gain {gain}, fixed points")
            step = float(image.x[1] - image.x[0])
            assert np.interp(fixed.x, image.x, image.y) == pytest.approx(fixed.y, abs=step**2)


def test_growth_has_the_error_of_the_jackknife() -> None:
    generator = np.random.default_rng(0)
    profiles = np.exp(0.1 * generator.standard_normal((6, 3)))
    partial = [
        (np.delete(profiles, k, 0)[:, 2].mean() / np.delete(profiles, k, 0)[:, 0].mean()) ** 0.5 for k in range(6)
    ]
    found = growth_between(profiles, 0, 2)
    assert found.value == pytest.approx((profiles[:, 2].mean() / profiles[:, 0].mean()) ** 0.5)
    assert found.error == pytest.approx(np.sqrt(5.0 / 6.0 * np.sum((partial - np.mean(partial)) ** 2)))


class Counted:
    """A figure that counts how often it is computed and drawn."""

    def __init__(self) -> None:
        self.computed = self.drawn = 0
        self.figure = NamedFigure("counted", "Counted.", self.compute, self.draw)

    def compute(self, size: Size) -> FigureData:
        self.computed += 1
        return FigureData((Series.of("panel", "line", [0.0, 1.0], [float(size.seed), 0.1]),))

    def draw(self, data: FigureData) -> Any:
        self.drawn += 1
        return FIGURES["sampler-costs"].draw(_renamed(data))


def _renamed(data: FigureData) -> FigureData:
    names = ("independent chains", "with control variates", "Array-RQMC", "Array-RQMC, controls")
    return FigureData(tuple(Series.of("error", name, [1.0, 10.0], data.series[0].y + 1.0) for name in names))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted()
    monkeypatch.setitem(FIGURES, "counted", found.figure)
    return found


def test_second_time_from_the_cache(counted: Counted, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = make_figures(["counted"], tmp_path / "one", formats=["png", "svg"], cache=cache)
    second = make_figures(["counted"], tmp_path / "two", formats=["png", "svg"], cache=cache)
    assert (counted.computed, counted.drawn) == (1, 2)
    assert [each.cached for each in (*first, *second)] == [False, True]
    assert [each.read_bytes() for each in first[0].files] == [each.read_bytes() for each in second[0].files]
    make_figures(["counted"], tmp_path / "two", size=Size(1), cache=cache)
    make_figures(["counted"], tmp_path / "two", size=Size(0, small=True), cache=cache)
    assert counted.computed == 3
    make_figures(["counted"], tmp_path / "two", cache=replace(cache, fresh=True))
    assert counted.computed == 4


def test_other_code_is_computed_anew(counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meanfield.validation.figures import cache as caches

    cache = Cache(tmp_path / "cache")
    make_figures(["counted"], tmp_path / "one", cache=cache)
    assert code_version() == code_version()
    monkeypatch.setattr(caches, "code_version", lambda: "another")
    make_figures(["counted"], tmp_path / "one", cache=cache)
    assert counted.computed == 2


def test_damaged_cache_is_written_anew(counted: Counted, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    make_figures(["counted"], tmp_path / "one", cache=cache)
    for kept in (tmp_path / "cache").glob("*.csv"):
        kept.write_text("half of a ta")
    make_figures(["counted"], tmp_path / "one", cache=cache)
    assert counted.computed == 2


def test_cache_that_cannot_be_written_costs_time_only(counted: Counted, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    (made,) = make_figures(["counted"], tmp_path / "one", cache=Cache(tmp_path / "cache"))
    assert all(each.is_file() for each in made.files)


def test_missing_package_is_skipped_with_a_note(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIGURES, "counted", replace(counted.figure, needs=("no_such_package",)))
    (made,) = make_figures(["counted"], tmp_path / "one", cache=Cache(tmp_path / "cache"))
    assert "no_such_package" in made.skipped
    assert counted.computed == 0


def test_figures_of_files_say_what_makes_them(tmp_path: Path) -> None:
    made = make_figures(["training-curves", "recipe-table"], tmp_path / "one", cache=Cache(tmp_path / "cache"))
    assert "meanfield train run" in made[0].skipped
    assert "--runs" in made[0].skipped
    assert "meanfield table run" in made[1].skipped


def test_training_curves_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from meanfield.validation.training.settings import Settings
    from meanfield.validation.training.studies import Study, run_study
    from meanfield.validation.training.tasks import make_task

    settings = Settings(learning_rate=1e-3, batch=8, iterations=4, evaluate_every=2)
    study = Study(
        tasks=[make_task("adding", 4)],
        cells=["lstm"],
        initialisations=["default"],
        seeds=2,
        hidden=64,
        settings=settings,
    )
    run_study(study, tmp_path / "runs.jsonl")
    sources = FileSources(runs=tmp_path / "runs.jsonl")
    (made,) = make_figures(["training-curves"], tmp_path / "one", sources=sources, cache=Cache(tmp_path / "cache"))
    data = parse_series(made.files[0].read_text())
    assert data.series[0].x.tolist()[-1] == 4.0
    assert made.files[1].read_bytes().startswith(PNG)


def test_names_and_formats(tmp_path: Path) -> None:
    assert check_names([]) == [*FIGURES, *FILE_FIGURES]
    assert check_names(["eigenvalues", "eigenvalues"]) == ["eigenvalues"]
    with pytest.raises(InvalidInput, match="did you mean eigenvalues"):
        check_names(["eigenvalue"])
    with pytest.raises(InvalidInput, match="there is no 'xyzzy'; 'meanfield"):
        check_names(["xyzzy"])
    with pytest.raises(InvalidInput, match="format: must be one of png, svg, pdf, got 'gif'"):
        make_figures(["eigenvalues"], tmp_path, formats=["gif"])


def test_folders_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="must be a folder"):
        make_figures(["eigenvalues"], tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        make_figures(["eigenvalues"], tmp_path / "none" / "such")


def test_without_matplotlib_nothing_is_computed(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InvalidInput, match="pip install"):
        make_figures(["counted"], tmp_path / "one")
    assert counted.computed == 0
    assert not (tmp_path / "one").exists()


def test_style_is_ours_whatever_the_users_is() -> None:
    import matplotlib

    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30.0}):
        with styled():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["font.size"] == STYLE["font.size"]
        assert matplotlib.rcParams["font.size"] == 30.0


def test_first_colours_are_told_apart_in_grey() -> None:
    """Lightness of the first four, sorted, differs by 6 % or more; the others differ by their lines and markers."""
    channels = np.array([[int(each[k : k + 2], 16) / 255.0 for k in (1, 3, 5)] for each in COLOURS[:3]])
    grey = np.sort(channels @ [0.299, 0.587, 0.114])
    assert np.all(np.diff(grey) > 0.06)


def test_broken_tables_are_refused() -> None:
    with pytest.raises(InvalidInput, match="must have the columns"):
        parse_series("panel,series\n")
    with pytest.raises(InvalidInput, match="table of a figure"):
        parse_series("panel,series,x,y,error\na,b,1,2,three\n")
    with pytest.raises(InvalidInput, match="as long"):
        Series.of("a", "b", [1.0], [1.0, 2.0])


def test_progress_names_the_next_figure(counted: Counted, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    making.make_figures(
        ["counted"], tmp_path / "one", cache=Cache(tmp_path / "cache"), progress=lambda *each: told.append(each)
    )
    assert told == [(0, 1, "counted"), (1, 1, "")]
