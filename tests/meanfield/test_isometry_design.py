"""Critical initialisations against the exact theory, simulated networks, closed forms and defaults."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.critical_initialisations import critical_vanilla
from meanfield.defaults import framework_default
from meanfield.isometry_batch import CELLS, CriticalRequest, critical_designs
from meanfield.isometry_design import search_isometry
from meanfield.isometry_family import family
from meanfield.untied_growth import untied_chi
from meanfield.validation.finite_width import jacobian, simulate

WHITE = mf.Inputs(size=16)
ENSEMBLES = {"vanilla": "orthogonal", "leaky": "orthogonal"}


def designed(cell, regime, *, length=40, inputs=WHITE, seed=0, **more):
    ensemble = ENSEMBLES.get(cell, "gaussian")
    return search_isometry(
        cell, inputs, length=length, hidden=64, regime=regime, seed=seed, **{"ensemble": ensemble, **more}
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [1, 7, 300])
@pytest.mark.parametrize("power", [0.04, 5.0])
def test_closed_forms_are_critical_by_the_exact_theory(cell, length, power):
    found = designed(cell, "untied", length=length, inputs=mf.Inputs(power=power, size=16))
    chi = untied_chi(found.network, mf.Inputs(power=power))
    assert abs(chi.value - 1.0) <= 1e-11 + chi.error
    assert found.evaluations == 1


def test_the_exact_theory_agrees_for_the_slow_closed_cell():
    found = designed("gru_reset_after", "untied", length=100)
    assert abs(untied_chi(found.network, WHITE).value - 1.0) < 1e-10


@pytest.mark.parametrize("cell", ["gru", "janet", "minimal", "peephole_lstm"])
def test_the_largest_keep_bias_has_the_smallest_untied_defect(cell):
    defects = []
    for bias in np.linspace(math.log(40), math.log(160), 4):
        found = family(cell, float(bias), 1.0)
        network = mf.Network(cell, found.gates(found.gain))
        defects.append(mf.untied_isometry(network, length=40).isometry_defect.value)
    assert np.all(np.diff(defects) < 0.0)


def test_vanilla_is_the_critical_network_in_closed_form():
    gate = designed("vanilla", "untied", ensemble="gaussian").network.gates["h"]
    reference = critical_vanilla(gate.recurrent_gain**2 * 0.1 + gate.input_gain**2)
    assert gate.recurrent_gain == pytest.approx(reference.recurrent_gain.value, rel=1e-10)
    assert gate.input_gain == pytest.approx(reference.bias_std.value, rel=1e-6)


@pytest.mark.parametrize("cell", ["janet", "gru", "peephole_lstm"])
def test_simulated_networks_with_fresh_weights_pass_perturbations_on(cell):
    # From the stationary state G(τ) = χ^τ; rare writes make single networks scatter, hence many of them.
    length, burn_in = 5, 60  # twelve times the memory
    network = designed(cell, "untied", length=length).network
    found = simulate(
        network, mf.Inputs(), hidden=100, length=length, networks=24, regime="untied", burn_in=burn_in, directions=8
    )
    last = found.gradient_profile[:, -1] / found.gradient_profile[:, 0]
    assert abs(last.mean() - 1.0) < 4.0 * last.std(ddof=1) / math.sqrt(len(last))


@pytest.mark.parametrize("cell", ["vanilla", "gru"])
def test_simulated_networks_with_their_own_weights_neither_amplify_nor_forget(cell):
    length, width = 30, 64
    network = designed(cell, "tied", length=length).network
    chi = mf.gradients(network, WHITE, length=length, hidden=width, start="zero", seed=1).chi
    logs = []
    for steps in (length // 2, length):
        found = jacobian(network, WHITE, hidden=width, length=length, steps=steps, networks=10, seed=3)
        logs.append(np.log(np.mean(found**2, axis=(1, 2)) * width))
    slopes = (logs[1] - logs[0]) / (length - length // 2)
    error = math.hypot(float(slopes.std(ddof=1)) / math.sqrt(len(slopes)), chi.error)
    assert abs(float(slopes.mean()) - math.log(chi.value)) < 4.0 * error
    assert abs(float(slopes.mean())) < 4.0 * math.hypot(error, chi.error)


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_after", "vanilla"])
def test_defects_are_smaller_than_those_of_the_default(cell):
    network = designed(cell, "tied").network
    default = framework_default(cell, hidden=64, inputs=16)
    ours, theirs = (
        mf.gradients(each, WHITE, length=40, hidden=64, start="zero", seed=5).isometry_defect
        for each in (network, default)
    )
    assert ours.value + 4.0 * ours.error < theirs.value - 4.0 * theirs.error


@pytest.mark.parametrize("inputs", [mf.Inputs.padded(signal=10, length=40, size=16), WHITE])
def test_tied_designs_have_growth_one_from_the_zero_state(inputs):
    found = designed("janet", "tied", length=40, inputs=inputs)
    chi = mf.gradients(found.network, inputs, length=40, hidden=64, start="zero", seed=0).chi
    assert abs(chi.value - 1.0) <= max(1e-6, 0.25 * chi.error)
    assert "χ = " in found.status


def test_the_untied_lstm_is_critical_by_its_operator():
    found = designed("lstm", "untied", length=8)
    assert abs(untied_chi(found.network, WHITE).value - 1.0) < 1e-8
    assert math.log(8) <= found.parameters["keep_bias"] <= math.log(32) + 1e-12


def test_states_have_a_useful_size():
    for cell in CELLS:
        second = mf.fixed_points(designed(cell, "untied", length=100).network, WHITE).law.second_moment.value
        assert 0.05 <= second <= 0.25


def test_designs_are_deterministic_and_seeds_matter_where_they_are_sampled():
    first, again, other = (designed("janet", "tied", length=30, seed=seed) for seed in (4, 4, 5))
    assert first == again
    assert first.network != other.network


def test_progress_counts_every_evaluation():
    told = []
    found = designed("janet", "tied", length=20, progress=lambda made, most, best: told.append((made, most, best)))
    assert len(told) == found.evaluations
    assert all(made <= most for made, most, _ in told)
    assert told[-1][2] > -math.inf


def test_batches_are_the_single_designs():
    tasks = [
        CriticalRequest(cell, length, mf.Inputs(power=power, size=4))
        for cell in CELLS
        for length, power in ((10, 0.3), (400, 2.0))
    ]
    for task, found in zip(tasks, critical_designs(tasks), strict=True):
        alone = designed(task.cell, "untied", length=task.length, inputs=task.inputs, ensemble="gaussian")
        assert found.network == alone.network
        assert found.parameters == alone.parameters
        law = mf.fixed_points(found.network, task.inputs).law.second_moment
        assert abs(found.chi.value - 1.0) <= found.chi.error + 1e-13
        assert abs(found.second_moment.value - law.value) <= found.second_moment.error + law.error
    assert critical_designs([]) == []


def test_what_cannot_be_had_is_refused():
    with pytest.raises(mf.Infeasible, match="power"):
        designed("gru", "tied", inputs=mf.Inputs(power=0.0, size=4))
    with pytest.raises(mf.Infeasible, match="no recurrent gain"):
        designed("leaky", "untied", ensemble=mf.Ensemble("svd", centre=0.0, half_width=0.0))
    with pytest.raises(mf.InvalidInput, match="white"):
        designed("gru", "untied", length=20, inputs=mf.Inputs.padded(signal=5, length=20, size=4))
    with pytest.raises(mf.InvalidInput, match="cell"):
        designed("elman", "tied")
    with pytest.raises(mf.InvalidInput, match=r"requests\[0\].cell"):
        critical_designs([CriticalRequest("lstm", 10, WHITE)])
