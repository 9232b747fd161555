"""A recipe beside other initialisations: reach, numbers, verdicts."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import meanfield as mf
from meanfield import comparison as comparisons
from meanfield.analyses import analyze
from meanfield.baselines import baseline
from meanfield.comparison import Comparison, Initialisation, compare
from meanfield.comparison_report import comparison_table, concise, concise_at
from meanfield.comparison_verdict import exploding
from meanfield.errors import InvalidInput, NotConverged
from meanfield.estimate import Estimate, Profile
from meanfield.input_reach import reach

LENGTH = 40


@pytest.fixture(scope="module")
def recipe() -> mf.Recipe:
    return mf.recipe("lstm", length=LENGTH, hidden=64, inputs=8, units=512)


@pytest.fixture(scope="module")
def found(recipe: mf.Recipe) -> Comparison:
    return compare(recipe, units=1024)


def profile(log10_values: Any, relative: float = 0.01) -> Profile:
    values = np.asarray(log10_values, dtype=np.float64) * math.log(10.0)
    return Profile(np.arange(len(values)), values, np.full(len(values), relative))


# --- Comparisons. ----------------------------------------------------------------------------------------------------


def test_the_recipe_has_the_numbers_of_its_file(recipe: mf.Recipe) -> None:
    found = compare(recipe, against=["pytorch"])
    for row, predictions in zip(
        found.initialisations, (recipe.content.predictions, recipe.content.defaults.predictions), strict=True
    ):
        assert row.analysis is not None
        assert {name: (entry.value, entry.error) for name, entry in predictions.numbers.items()} == {
            name: (number.value, number.error) if number is not None else (None, None)
            for name, number in row.analysis.numbers().items()
        }


def test_all_baselines_are_compared_on_one_task(recipe: mf.Recipe, found: Comparison) -> None:
    names = [each.name for each in found.initialisations]
    assert names == ["recipe", "pytorch", "keras", "flax", "forget_one", "chrono", "orthogonal"]
    assert found.units == 1024
    for each in found.initialisations:
        assert each.analysis is not None
        assert each.analysis.inputs == recipe.inputs
        assert each.analysis.start == "zero"
        assert each.analysis.length == LENGTH
        assert each.analysis.gradients.sensitivity.lags[-1] == LENGTH - 1
    reaches = {each.name: each.reach for each in found.initialisations}
    assert reaches["recipe"] is reaches["chrono"] is None
    assert reaches["pytorch"] is not None
    assert reaches["forget_one"] is not None
    assert reaches["pytorch"].value < reaches["forget_one"].value < LENGTH


def test_json_has_everything(found: Comparison) -> None:
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (content["cell"], content["length"], content["forgotten_below"]) == ("lstm", LENGTH, 1e-3)
    assert content["verdict"] == found.verdict
    rows = {row["name"]: row for row in content["initialisations"]}
    assert rows["recipe"]["reaches_all"]
    assert rows["recipe"]["reach"] == {"value": None, "error": None}
    assert not rows["pytorch"]["reaches_all"]
    assert rows["pytorch"]["reach"]["value"] == pytest.approx(5.0, abs=3.0)
    for row in rows.values():
        assert row["failure"] is None
        for name in ("second_moment", "final_gradient", "eigenvalue_edge", "isometry_defect"):
            assert row[name]["value"] is not None
            assert row[name]["error"] > 0.0
        assert row["first_input"]["lag"] == LENGTH - 1
        assert row["first_input"]["log10_value"] <= 0.5
        assert [entry["lag"] for entry in row["gradient_profile"]][-1] == LENGTH
    assert rows["keras"]["matrices"] == "orthogonal, one for all gates"
    assert rows["chrono"]["network"]["chrono_biases"]["longest"] == LENGTH


def test_measured_inputs_can_be_given(recipe: mf.Recipe) -> None:
    data = mf.Inputs.from_data(np.random.default_rng(0).standard_normal((40, LENGTH, 8)))
    found = compare(recipe, against=["chrono"], inputs=data, units=256)
    assert found.as_json()["inputs"]["kind"] == "data"
    with pytest.raises(InvalidInput, match="inputs: the recipe is for inputs of size 8, got 5"):
        compare(recipe, inputs=mf.Inputs(size=5))


def test_padded_tasks_are_compared_as_they_are() -> None:
    inputs = mf.Inputs.padded(signal=5, length=20, padding_power=0.1, size=8)
    recipe = mf.recipe("gru", length=20, hidden=64, inputs=inputs, units=256)
    found = compare(recipe, against=["keras"])
    assert found.inputs == inputs
    assert "of 20 steps" in found.verdict


def test_progress_is_told(recipe: mf.Recipe) -> None:
    told: list[tuple[int, int]] = []
    compare(recipe, against=["pytorch", "chrono"], units=256, progress=lambda made, of: told.append((made, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_names_are_taken_once_and_checked(recipe: mf.Recipe) -> None:
    found = compare(recipe, against=["keras", "pytorch", "keras"], units=256)
    assert [each.name for each in found.initialisations] == ["recipe", "keras", "pytorch"]
    with pytest.raises(InvalidInput, match=r"against: cell lstm has .*, got 'keas'; did you mean 'keras'"):
        compare(recipe, against=["keas"])
    with pytest.raises(InvalidInput, match=r"recipe: must be a recipe, got 'lstm\.json'"):
        compare("lstm.json")  # type: ignore[arg-type]


def test_a_baseline_that_cannot_be_predicted_is_a_row(recipe: mf.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(network: mf.Network, *rest: Any, **options: Any) -> mf.Analysis:
        if network != recipe.network:
            raise NotConverged("the state left the range of finite numbers by step 7")
        return analyze(network, *rest, **options)

    monkeypatch.setattr(comparisons, "analyze", failing)
    found = compare(recipe, against=["pytorch"], units=256)
    row = found.initialisations[1]
    assert row.analysis is row.reach is None
    assert row.failure == "the state left the range of finite numbers by step 7"
    assert row.as_json()["second_moment"] == {"value": None, "error": None}
    assert found.verdict.startswith("PyTorch's default cannot be predicted (the state left the range")
    with pytest.raises(NotConverged, match="PyTorch's default: the state left"):
        row.fading  # noqa: B018
    assert printed(found).count("no prediction") == 1


def test_a_recipe_that_cannot_be_predicted_is_an_error(recipe: mf.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*rest: Any, **options: Any) -> mf.Analysis:
        raise NotConverged("no")

    monkeypatch.setattr(comparisons, "analyze", failing)
    with pytest.raises(NotConverged):
        compare(recipe, against=[])


# --- What is said. ---------------------------------------------------------------------------------------------------


def altered(found: Comparison, growing: tuple[str, ...] = (), **profiles: Any) -> Comparison:
    """A comparison of the recipe and some baselines with other S(τ), and with G(τ) that grow for some."""
    rows = []
    for each in found.initialisations:
        if each.name in profiles:
            analysis = each.analysis
            assert analysis is not None
            sensitivity = profile(profiles[each.name])
            gradient = profile((0.2 if each.name in growing else -0.1) * np.arange(LENGTH + 1))
            gradients = replace(analysis.gradients, sensitivity=sensitivity, profile=gradient)
            analysis = replace(analysis, gradients=gradients)
            rows.append(replace(each, analysis=analysis, reach=reach(sensitivity)))
    return replace(found, initialisations=tuple(rows))


STEPS = np.arange(LENGTH)


def test_verdict_on_a_default_that_forgets(found: Comparison) -> None:
    case = altered(found, recipe=-0.01 * STEPS, pytorch=-0.7 * STEPS, chrono=-0.2 * STEPS, keras=-0.5 * STEPS)
    assert case.verdict == (
        "PyTorch's default forgets after 5 of 40 steps: the mark of the first input is 5e-28 times that of the last "
        "one, lost in the rounding of single precision, so that nothing can be learnt from it. "
        "The recipe reaches back over all 40 steps: the mark of the first input is 0.4 times that of the last one. "
        "Of the others chrono lasts longest, 15 steps."
    )


def test_verdict_on_what_reaches(found: Comparison) -> None:
    case = altered(found, recipe=-0.01 * STEPS, keras=-0.3 * STEPS, chrono=-0.02 * STEPS, flax=-0.02 * STEPS)
    assert case.verdict == (
        "Keras' default forgets after 10 of 40 steps: the mark of the first input is 2e-12 times that of the last one. "
        "The recipe reaches back over all 40 steps: the mark of the first input is 0.4 times that of the last one. "
        "Flax's default and chrono reach just as far."
    )


def test_verdict_on_a_recipe_that_forgets(found: Comparison) -> None:
    case = altered(found, recipe=-0.1 * STEPS, pytorch=-0.02 * STEPS)
    assert case.verdict == (
        "PyTorch's default reaches back over all 40 steps: the mark of the first input is 0.2 times that of the last "
        "one. The recipe forgets after 30 of 40 steps: the mark of the first input is 1e-04 times that of the last one."
    )


def test_verdict_on_what_is_not_known_to_a_step(found: Comparison) -> None:
    case = altered(found, recipe=-0.01 * STEPS, pytorch=-0.1 * STEPS)
    rows = [replace(each, reach=Estimate(182.6, 11.0)) if each.reach else each for each in case.initialisations]
    vague = replace(case, initialisations=tuple(rows), length=200)
    assert vague.verdict.startswith("PyTorch's default forgets after about 180 of 200 steps")


def test_verdict_on_what_explodes(found: Comparison) -> None:
    marks = {"recipe": -0.01 * STEPS, "pytorch": 0.2 * STEPS, "chrono": -0.01 * STEPS, "keras": 0.1 * STEPS}
    case = altered(found, ("pytorch", "keras"), **marks)
    assert case.verdict == (
        "PyTorch's default explodes: squared gradients grow 1e+08-fold within 40 steps. "
        "The recipe reaches back over all 40 steps: the mark of the first input is 0.4 times that of the last one. "
        "Chrono reaches just as far; Keras' default explodes."
    )


def test_a_signal_before_padding_does_not_explode(found: Comparison) -> None:
    case = altered(found, recipe=np.where(STEPS < 30, 0.0, 4.0), pytorch=-0.5 * STEPS)
    assert "The recipe reaches back over all 40 steps: the mark of the first input is 1e+04 times" in case.verdict


def test_what_explodes_in_truth_is_said_to() -> None:
    network = baseline("forget_one", "peephole_lstm", hidden=64, inputs=8, length=LENGTH)
    analysis = analyze(network, mf.Inputs(size=8), length=100, hidden=64, units=1024, start="zero")
    row = Initialisation("forget_one", "forget bias 1", "", "gaussian", network, analysis, None, None)
    growth = exploding(row)
    assert growth is not None
    assert growth > 3.0


def test_verdict_without_baselines(found: Comparison) -> None:
    assert altered(found, recipe=-0.01 * STEPS).verdict == "The recipe reaches back over all 40 steps."


def printed(found: Comparison) -> str:
    stream = io.StringIO()
    Console(width=110, file=stream).print(comparison_table(found))
    return stream.getvalue()


def test_table(found: Comparison) -> None:
    text = printed(found)
    assert "lstm over 40 steps, 64 units, 8 inputs" in text
    assert "all 40" in text
    assert "* one orthogonal matrix for all gates" in text
    assert "PyTorch's default forgets after" in text
    assert "one orthogonal matrix" not in printed(altered(found, recipe=-0.01 * STEPS, pytorch=-0.7 * STEPS))


@pytest.mark.parametrize("seed", range(3))
def test_concise_numbers_hold_their_number_and_error(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(500):
        value = float(10.0 ** generator.uniform(-40, 40) * generator.choice([-1, 1]))
        error = abs(value) * float(10.0 ** generator.uniform(-6, -0.3))
        text = concise(Estimate(value, error))
        digits, _, rest = text.partition("(")
        bracket, _, power = rest.partition(")")
        scale = 10.0 ** int(power.removeprefix("e") or 0)
        last_place = 10.0 ** -len(digits.partition(".")[2])
        shown = int(bracket) * last_place * scale
        assert abs(float(digits) * scale - value) <= 0.51 * max(shown, error)
        assert shown == pytest.approx(error, rel=0.51)


def test_concise_profiles_reach_beyond_the_range_of_numbers() -> None:
    assert concise_at(profile([0.0, -2000.3], 0.1), 1) == "5.0(5)e-2001"
    assert concise_at(profile([0.0, -np.inf]), 1) == "0"


def test_picture(found: Comparison, tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "compare.png"
    found.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidInput, match=r"plot: compare\.nope"):
        found.plot(tmp_path / "compare.nope")
    for extreme in ({"pytorch": -30.0 * STEPS}, {"pytorch": np.full(LENGTH, -np.inf)}, {"pytorch": 20.0 * STEPS}):
        altered(found, recipe=-0.01 * STEPS, **extreme).plot(path)


def test_initialisations_are_frozen(found: Comparison) -> None:
    assert isinstance(found.recipe, Initialisation)
    with pytest.raises(AttributeError):
        found.recipe.reach = None  # type: ignore[misc]
