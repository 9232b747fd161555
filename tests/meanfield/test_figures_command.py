"""``meanfield figures`` and ``meanfield report`` as they are called."""

from __future__ import annotations

import base64
import importlib.util
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import meanfield as mf
from meanfield.cli import app
from meanfield.table_pictures import heat_map
from meanfield.validation.figures.series import parse_series

pytest.importorskip("matplotlib")

RUNNER = CliRunner()
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))),
    None,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a test are not those of an earlier run; compiled kernels stay where they are."""
    from meanfield.validation.figures import cache

    monkeypatch.setattr(cache, "cache_directory", lambda: tmp_path / "cache")


def test_list_says_what_one_sees() -> None:
    result = RUNNER.invoke(app, ["figures", "--list"])
    assert result.exit_code == 0
    for name in ("tied-untied", "overlap-maps", "phase-diagram", "training-curves"):
        assert name in result.stdout


def test_figures_are_written_and_taken_from_the_cache(tmp_path: Path) -> None:
    arguments = [
        "figures",
        "sampler-costs",
        "--small",
        "-o",
        str(tmp_path / "out"),
        "--format",
        "png",
        "--format",
        "svg",
    ]
    first = RUNNER.invoke(app, arguments)
    assert first.exit_code == 0, first.output
    names = sorted(each.name for each in (tmp_path / "out").iterdir())
    assert names == ["sampler-costs.csv", "sampler-costs.png", "sampler-costs.svg"]
    assert "cache" not in first.stdout
    assert "from the cache" in RUNNER.invoke(app, arguments).stdout


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["figures", "tied-untie", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "did you mean tied-untied" in result.output
    assert not (tmp_path / "out").exists()


def test_unwritable_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = RUNNER.invoke(app, ["figures", "sampler-costs", "-o", str(tmp_path / "file")])
    assert (result.exit_code, "must be a folder" in result.output) == (2, True)
    result = RUNNER.invoke(app, ["figures", "sampler-costs", "-o", str(tmp_path / "no" / "such")])
    assert (result.exit_code, "cannot be written" in result.output) == (1, True)


def test_missing_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = RUNNER.invoke(app, ["figures", "sampler-costs", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "pip install 'meanfield-rnn[plot]'" in result.output


def test_figures_of_files_are_skipped_without_one(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["figures", "training-curves", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "meanfield train run" in result.output


def test_broken_runs_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("not a run\n")
    arguments = ["figures", "training-curves", "--runs", str(tmp_path / "runs.jsonl"), "-o", str(tmp_path / "out")]
    assert RUNNER.invoke(app, arguments).exit_code == 2


def test_a_number_of_a_table(tmp_path: Path) -> None:
    """The CSV has what the table says, at its place."""
    design = '[common]\ninputs = 4\nunits = 256\n[grid]\ncell = "gru"\nlength = [4, 8]\nhidden = 32\n'
    (tmp_path / "grid.toml").write_text(design)
    table = str(tmp_path / "recipes.sqlite")
    made = RUNNER.invoke(app, ["table", "run", str(tmp_path / "grid.toml"), "-o", table, "--workers", "1"])
    assert made.exit_code == 0, made.output
    result = RUNNER.invoke(app, ["figures", "recipe-table", "--table", table, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (series,) = parse_series((tmp_path / "out" / "recipe-table.csv").read_text()).series
    found = heat_map(table, "chi", across="length", up="hidden")
    assert series.x.tolist() == [4.0, 8.0]
    assert series.y.tolist() == found.values[0].tolist()
    assert (tmp_path / "out" / "recipe-table.png").stat().st_size > 1000


class Page(HTMLParser):
    """What a page holds: tables by name, cells, pictures, scripts, addresses of other files."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.images: list[dict[str, str | None]] = []
        self.elsewhere: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables[str(given["id"])] = []
        elif tag == "tr":
            list(self.tables.values())[-1].append([])
        elif tag in ("td", "th"):
            list(self.tables.values())[-1][-1].append("")
        elif tag == "img":
            self.images.append(given)
        self.elsewhere += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("data:")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            list(self.tables.values())[-1][-1][-1] += data


@pytest.fixture(scope="module")
def recipe() -> mf.Recipe:
    return mf.recipe("lstm", length=20, hidden=64, inputs=8, units=512)


@pytest.fixture(scope="module")
def written(recipe: mf.Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    recipe.save(folder / "lstm.json")
    result = RUNNER.invoke(app, ["report", str(folder / "lstm.json"), "-o", str(folder / "report.html")])
    assert result.exit_code == 0, result.output
    return folder / "report.html"


def test_report_is_one_file_that_holds_everything(written: Path, recipe: mf.Recipe) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.elsewhere == []
    assert not {"script", "link", "iframe"} & page.tags
    assert set(page.tables) == {"laws", "predictions", "profiles", "method"}
    for image in page.images:
        kind, encoded = str(image["src"]).split(";base64,")
        assert kind == "data:image/svg+xml"
        assert ElementTree.fromstring(base64.b64decode(encoded)).tag.endswith("svg")
        assert image["alt"]
    assert len(page.images) == 4


def test_report_says_what_the_file_says(written: Path, recipe: mf.Recipe) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    content = recipe.content
    laws = {row[0]: row for row in page.tables["laws"][1:]}
    assert set(laws) == {"i", "f", "g", "o"}
    assert float(laws["f"][3]) == pytest.approx(content.gates["f"].bias.mean, rel=1e-3)
    numbers = {row[0]: row for row in page.tables["predictions"][1:]}
    assert len(numbers) == len(content.predictions.numbers)
    for place, predictions in ((1, content.predictions), (2, content.defaults.predictions)):
        moment = predictions.numbers["second_moment"]
        value, error = map(float, numbers["second moment"][place].split(" ± "))
        assert value == pytest.approx(moment.value, rel=1e-3)
        assert error == pytest.approx(moment.error, rel=0.06)
    lags = [int(row[0]) for row in page.tables["profiles"][1:]]
    assert lags == sorted(
        {
            row.lag
            for kind in (content.predictions.gradient_profile, content.predictions.input_sensitivity)
            for row in kind
        }
    )


def test_report_of_a_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text('{"cell": "vanilla", "gates": {"h": {"recurrent_gain": 1.0}}}')
    result = RUNNER.invoke(app, ["report", str(tmp_path / "network.json"), "-o", str(tmp_path / "report.html")])
    assert (result.exit_code, "give a recipe" in result.output) == (2, True)
    result = RUNNER.invoke(app, ["report", str(tmp_path / "network.json"), "-o", str(tmp_path / "no" / "report.html")])
    assert (result.exit_code, "cannot be written" in result.output) == (1, True)


def test_text_of_a_recipe_cannot_break_the_page(recipe: mf.Recipe) -> None:
    from meanfield.html_report import Picture, html_report

    hostile = '"><script>alert(1)</script>'
    broken = mf.Recipe(recipe.content.model_copy(update={"notes": [hostile], "version": hostile}))
    page = Page(html_report(broken, [Picture(hostile, hostile, "png", b"")], verdict=hostile))
    assert "script" not in page.tags
    assert page.open == []


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is parsed, not shown")
def test_report_in_a_browser(written: Path, tmp_path: Path) -> None:
    """Chromium lays the page out: tables and figures are in its document, and pictures have a size."""
    assert CHROMIUM is not None
    probe = tmp_path / "probe.html"
    check = (
        "<script>addEventListener('load', () => document.body.setAttribute('data-sizes',"
        "[...document.images].map(each => each.naturalWidth > 0).join()))</script></body>"
    )
    probe.write_text(written.read_text(encoding="utf-8").replace("</body>", check), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", probe.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.count("<table") == 4
    assert 'data-sizes="true,true,true,true"' in shown


@pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None, reason="playwright is not installed: the page is parsed, not shown"
)
def test_report_with_playwright(written: Path) -> None:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch()
        except Error as missing:
            pytest.skip(f"playwright has no browser: {missing}")
        page = browser.new_page()
        page.goto(written.as_uri())
        assert page.locator("table").count() == 4
        assert page.locator("img").evaluate_all("all => all.every(each => each.naturalWidth > 0)")
        browser.close()
