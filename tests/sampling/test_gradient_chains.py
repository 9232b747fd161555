"""Covariances of gradients along chains: closed forms, simulated networks with fresh weights, and what they repeat."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meanfield import Gate, Inputs, Network
from meanfield.cells import find, names
from meanfield.sampling import gradient_chains
from meanfield.sampling.cell import field_gains
from meanfield.sampling.gradient_chains import SETS, gradient_profile
from meanfield.sampling.gradient_program import GradientProgram, gradient_program
from meanfield.validation.finite_width import simulate

Float64 = NDArray[np.float64]
Gates = Mapping[str, tuple[float, float]]

# The example of theory, section 2: recurrent gain, input gain, bias mean and bias spread of every gate, at power 1.
EXAMPLE = {"i": (1.0, 0.5, 0.0, 0.2), "f": (1.0, 0.5, 1.0, 0.2), "g": (2.0, 1.0, 0.0, 0.2), "o": (1.0, 0.5, 0.0, 0.2)}
EXAMPLE_SQUARE = 0.0466  # its E[h²]


def network_of(cell: str, laws: Mapping[str, tuple[float, float, float, float]]) -> Network:
    return Network(cell, {gate: Gate(*values) for gate, values in laws.items()})


def law(program: GradientProgram, gates: Gates, correlation: float | None = None) -> dict[str, float]:
    """Means and deviations by gate as parameters of a program, and the same correlation for all variables of a pair."""
    found = {}
    for name, members in program.noises.items():
        found[f"mean {name}"], found[f"deviation {name}"] = gates[members[0].split(" ")[1]]
        if correlation is not None:
            found[f"correlation {name}"] = correlation
            found[f"residue {name}"] = math.sqrt(1.0 - correlation**2)
    return found


def gates_at(laws: Mapping[str, tuple[float, float, float, float]], square: float) -> dict[str, tuple[float, float]]:
    """Mean and deviation of every pre-activation at inputs of power 1: σ² E[p²] + ν² + ρ² (theory, section 2)."""
    return {
        gate: (mean, math.sqrt(gain**2 * square + given**2 + spread**2))
        for gate, (gain, given, mean, spread) in laws.items()
    }


def profile(
    cell: str, gates: Gates, gains: Any, *, copies: int = 1, correlation: float | None = None, **options: Any
) -> Float64:
    program = gradient_program(find(cell), copies=copies)
    given: dict[str, Any] = {"chains": 1 << 14, "burn_in": 30, "steps": 20, "seed": 0} | options
    sizes, signs = gradient_profile(program, law(program, gates, correlation), np.asarray(gains, np.float64), **given)
    assert np.all(signs == 1.0)
    return sizes


def late_growth(log_profile: Float64) -> tuple[float, float]:
    """Growth per step over the second half, and its standard error over sets."""
    middle = log_profile.shape[1] // 2
    slopes = (log_profile[:, -1] - log_profile[:, middle - 1]) / (log_profile.shape[1] - middle)
    growth = math.exp(np.mean(slopes))
    return growth, growth * float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes))


def over_the_plane(function: Any, correlation: float) -> float:
    """E f(x, correlation x + residue y) by the trapezoidal rule."""
    nodes = np.linspace(-9.0, 9.0, 401)
    weights = np.exp(-0.5 * nodes**2) * (nodes[1] - nodes[0]) / math.sqrt(2.0 * math.pi)
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    return float(weights @ function(x, correlation * x + math.sqrt(1.0 - correlation**2) * y) @ weights)


def slope(u: Float64) -> Float64:
    return 1.0 / np.cosh(u) ** 2


@pytest.mark.parametrize(("mean", "deviation", "gain"), [(0.0, 0.8, 1.3), (0.4, 1.5, 1.6)])
def test_a_plain_network_grows_by_gain_squared_times_the_mean_square_slope(
    mean: float, deviation: float, gain: float
) -> None:
    found = profile("vanilla", {"h": (mean, deviation)}, [gain], chains=1 << 17)
    exact = gain**2 * over_the_plane(lambda x, y: slope(mean + deviation * x) ** 2, 0.0)
    growth, error = late_growth(found)
    assert error < 0.001
    assert abs(growth - exact) < 4.0 * error + 1e-4
    # From the first step on.
    assert abs(np.mean(found[:, 0]) - math.log(exact)) < 4.0 * np.std(found[:, 0], ddof=1) / math.sqrt(SETS) + 1e-4


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
def test_two_plain_networks_separate_by_the_mean_product_of_slopes(correlation: float) -> None:
    mean, deviation, gain = 0.4, 1.1, 1.6
    found = profile(
        "vanilla", {"h": (mean, deviation)}, [gain], copies=2, correlation=correlation, chains=1 << 16
    )  # fmt: skip
    exact = gain**2 * over_the_plane(
        lambda x, y: slope(mean + deviation * x) * slope(mean + deviation * y), correlation
    )  # fmt: skip
    growth, error = late_growth(found)
    assert abs(growth - exact) < 4.0 * error + 1e-4


def test_the_lstm_of_the_theory_forgets_as_measured() -> None:
    growth, error = late_growth(
        profile("lstm", gates_at(EXAMPLE, EXAMPLE_SQUARE), [1.0, 1.0, 2.0, 1.0], chains=1 << 17, steps=40)
    )
    assert error < 0.001
    assert abs(growth - 0.623) < 4.0 * error + 0.0005


@pytest.mark.parametrize(
    ("cell", "laws"),
    [
        ("lstm", EXAMPLE),
        ("gru", {"f": (1.5, 0.5, 0.5, 0.3), "r": (1.5, 0.5, 0.0, 0.3), "h": (2.0, 0.5, 0.2, 0.3)}),
    ],
)
def test_profiles_agree_with_networks_whose_weights_are_fresh_at_every_step(
    cell: str, laws: Mapping[str, tuple[float, float, float, float]]
) -> None:
    network = network_of(cell, laws)
    length = 10
    seen = simulate(
        network, Inputs(), hidden=256, length=length, networks=24, seed=1, regime="untied", burn_in=25, directions=8
    )
    square = float(np.mean(seen.second_moment[:, 25:]))
    gates = gates_at(laws, square)
    if cell == "gru":
        # u_h reads r s_- and not s_-, which are independent here.
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        reset = (1.0 / (1.0 + np.exp(-gates["r"][0] - gates["r"][1] * nodes))) ** 2
        carried = square * float(weights @ reset) / math.sqrt(2.0 * math.pi)
        gates["h"] = gates_at(laws, carried)["h"]
    found = profile(cell, gates, field_gains(find(cell), network.gates), chains=1 << 15, steps=length)
    for lag in range(1, length + 1):
        networks = seen.gradient_profile[:, lag]
        mean, error = np.mean(networks), np.std(networks, ddof=1) / math.sqrt(len(networks))
        predicted = np.exp(found[:, lag - 1])
        own = np.std(predicted, ddof=1) / math.sqrt(SETS)
        # A network of width N is off by a few parts in N, and so is the second moment that the chains were given.
        assert abs(np.mean(predicted) - mean) < 4.0 * math.hypot(error, own) + 0.03 * mean, lag


def test_the_skip_path_alone_is_its_power() -> None:
    """Without recurrent weights a unit keeps f of a perturbation, over far more steps than numbers reach."""
    found = profile("gru", {"f": (0.5, 0.0), "r": (0.0, 1.0), "h": (0.0, 1.0)}, [0.0] * 3, steps=3000)
    a_step = -2.0 * math.log(1.0 + math.exp(-0.5))
    np.testing.assert_allclose(found, np.tile(a_step * np.arange(1, 3001), (SETS, 1)), rtol=1e-6)
    assert found[0, -1] < -2000.0


def test_growth_beyond_the_range_of_numbers_is_followed() -> None:
    found = profile("vanilla", {"h": (0.0, 0.0)}, [30.0], steps=300)
    np.testing.assert_allclose(found, np.tile(2.0 * math.log(30.0) * np.arange(1, 301), (SETS, 1)), rtol=1e-6)


def test_nothing_is_left_where_nothing_is_passed_on() -> None:
    # The memory is held fixed, and without recurrent weights the output acts on nothing.
    gates = dict.fromkeys("ifgo", (0.0, 1.0))
    np.testing.assert_array_equal(profile("lstm", gates, [0.0] * 4), -np.inf)
    np.testing.assert_array_equal(profile("vanilla", {"h": (0.0, 1.0)}, [0.0]), -np.inf)


def test_two_copies_that_are_one_grow_like_one() -> None:
    gates = gates_at(EXAMPLE, EXAMPLE_SQUARE)
    one = profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], chains=1 << 16)
    two = profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], copies=2, correlation=1.0, chains=1 << 16, seed=1)
    for lag in (0, 1, 4, 9, 19):
        difference = np.mean(one[:, lag]) - np.mean(two[:, lag])
        error = math.hypot(np.std(one[:, lag], ddof=1), np.std(two[:, lag], ddof=1)) / math.sqrt(SETS)
        assert abs(difference) < 4.0 * error, lag
    # Less correlated copies lose sight of each other sooner.
    apart = profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], copies=2, correlation=0.5, chains=1 << 16)
    assert np.mean(apart[:, -1]) < np.mean(two[:, -1]) - 0.1


def test_results_do_not_depend_on_threads() -> None:
    gates = gates_at(EXAMPLE, EXAMPLE_SQUARE)
    first, *others = (
        profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], chains=1 << 15, threads=threads) for threads in (1, 2, 3)
    )
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert not np.array_equal(profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], chains=1 << 15, seed=1), first)
    assert not np.array_equal(profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], chains=1 << 15, purpose=1), first)


def test_single_precision_is_enough() -> None:
    gates = gates_at(EXAMPLE, EXAMPLE_SQUARE)
    single, double = (
        profile("lstm", gates, [1.0, 1.0, 2.0, 1.0], precision=precision) for precision in ("clamped", "double")
    )
    np.testing.assert_allclose(single, double, atol=2e-5)


def test_saturated_gates_stay_numbers() -> None:
    gates = {"i": (-60.0, 5.0), "f": (60.0, 30.0), "g": (0.0, 30.0), "o": (60.0, 20.0)}
    found = profile("lstm", gates, [3.0, 3.0, 3.0, 3.0])
    assert not np.any(np.isnan(found))


def test_chains_are_dealt_into_sets_of_whole_blocks() -> None:
    gates = {"h": (0.0, 1.0)}
    np.testing.assert_array_equal(
        profile("vanilla", gates, [1.0], chains=1), profile("vanilla", gates, [1.0], chains=SETS * 512)
    )
    assert profile("vanilla", gates, [1.0], chains=1, steps=3, burn_in=100).shape == (SETS, 3)


def test_parameters_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="mean drive h [+] field h: must be finite, got nan"):  # noqa: RUF043
        profile("vanilla", {"h": (math.nan, 1.0)}, [1.0])
    with pytest.raises(ValueError, match="deviation drive h [+] field h: must not be negative"):  # noqa: RUF043
        profile("vanilla", {"h": (0.0, -1.0)}, [1.0])


def test_chains_beyond_memory_are_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match="GB of memory"):
            profile("vanilla", {"h": (0.0, 1.0)}, [1.0], chains=10**14)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(gradient_chains, "available_bytes", lambda: 1000)
    with pytest.raises(MemoryError):
        profile("vanilla", {"h": (0.0, 1.0)}, [1.0])


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("name", names())
def test_every_cell_has_a_program(name: str, copies: int) -> None:
    cell = find(name)
    program = gradient_program(cell, copies=copies)
    output = cell.states[cell.output]
    assert program.output_entry == f"covariance {output} {output}"
    assert program.path == sum(not state.startswith("covariance") for state in program.states)
    assert all(state.startswith("covariance") for state in program.states[program.path :])
    assert len(program.updates) == len(program.states)
    assert program.parameters[-len(cell.fields) - 1 :] == (
        "scale",
        *(f"variance {field.name}" for field in cell.fields),
    )
    assert program.field_carriers == tuple(field.carrier for field in cell.fields)
