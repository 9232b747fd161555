"""Initialisations that people use: their laws, and their predictions against PyTorch's layers of the true law."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import meanfield as mf
from meanfield.baselines import FUSED, baseline, baseline_names, named_baselines
from meanfield.cells import find, names
from meanfield.chrono_biases import QUANTILE, ChronoNetwork, with_chrono_biases
from meanfield.errors import InvalidInput
from meanfield.solvers.linear_circuit import dense
from meanfield.validation.agreement import deviation
from meanfield.validation.finite_width import simulate

HIDDEN, INPUTS, STEPS = 256, 16, 60
NETWORKS, SEQUENCES = 12, 4
Float64 = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_names_by_cell() -> None:
    assert baseline_names("gru_reset_after") == ("pytorch", "keras", "flax", "forget_one", "chrono", "orthogonal")
    assert baseline_names("gru") == ("keras", "forget_one", "chrono", "orthogonal")
    assert baseline_names("vanilla") == ("pytorch", "keras", "flax", "orthogonal")
    assert baseline_names("leaky") == ("lecun", "orthogonal")
    assert baseline_names("peephole_lstm") == ("lecun", "forget_one", "chrono", "orthogonal")


@pytest.mark.parametrize("cell", names())
def test_every_baseline_of_every_cell_can_be_predicted(cell: str) -> None:
    for each in named_baselines(cell):
        network = each.network(cell, 32, 4, 6)
        found = mf.gradients(network, mf.Inputs(size=4), length=6, hidden=32, units=128, start="zero")
        assert found.sensitivity.at(0).value > 0.0
        assert network.matrices.name == ("orthogonal" if each.matrices(cell) == "orthogonal" else "gaussian")


def test_lecun_gives_weights_to_what_has_them() -> None:
    gates = baseline("lecun", "minimal", hidden=8, inputs=4, length=9).gates
    assert (gates["f"].recurrent_gain, gates["f"].input_gain) == (1.0, 1.0)
    assert (gates["z"].recurrent_gain, gates["z"].input_gain) == (0.0, 1.0)


def test_others_start_from_the_usual_weights() -> None:
    size = {"hidden": 64, "inputs": 8, "length": 50}
    usual = baseline("pytorch", "lstm", **size)
    opened, spread = baseline("forget_one", "lstm", **size), baseline("orthogonal", "lstm", **size)
    assert (opened.gates["f"].bias_mean, opened.gates["f"].bias_std) == (1.0, 0.0)
    assert all(opened.gates[gate] == usual.gates[gate] for gate in "igo")
    for gate in "ifgo":
        assert spread.gates[gate].recurrent_gain == 1.0
        assert spread.gates[gate].input_gain == usual.gates[gate].input_gain
        assert spread.gates[gate].bias_std == usual.gates[gate].bias_std
    assert named_baselines("lstm", ["keras"])[0].matrices("lstm") == FUSED
    assert named_baselines("vanilla", ["keras"])[0].matrices("vanilla") == "orthogonal"


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("crono", "lstm", "got 'crono'; did you mean 'chrono'?"),
        ("torch", "janet", "baseline: cell janet has lecun, forget_one, chrono, orthogonal, got 'torch'"),
        ("pytorch", "gru", "cell gru has keras"),
        ("lecun", "warp", "unknown cell 'warp'"),
    ],
)
def test_unknown_names_are_refused(name: str, cell: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        baseline(name, cell, hidden=8, inputs=8, length=8)
    assert message in str(refused.value)


@pytest.mark.parametrize("argument", ["hidden", "inputs", "length"])
def test_sizes_must_be_positive(argument: str) -> None:
    with pytest.raises(InvalidInput, match=f"{argument}: must be a whole number of at least 1"):
        baseline("pytorch", "lstm", **{"hidden": 8, "inputs": 8, "length": 8, argument: 0})


# --- The true laws, in PyTorch's own layers. -------------------------------------------------------------------------


def chrono_lstm(layer: nn.LSTM) -> None:
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.zeros_(layer.bias_hh_l0)
    bias = torch.empty(HIDDEN).uniform_(1.0, STEPS - 1.0).log()
    layer.bias_ih_l0[:HIDDEN] = -bias
    layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = bias


def chrono_gru(layer: nn.GRU) -> None:
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.zeros_(layer.bias_hh_l0)
    layer.bias_ih_l0[HIDDEN : 2 * HIDDEN].uniform_(1.0, STEPS - 1.0).log_()


def orthogonal(layer: nn.LSTM) -> None:
    for block in layer.weight_hh_l0.split(HIDDEN):
        nn.init.orthogonal_(block)


def flax(layer: nn.LSTM) -> None:
    orthogonal(layer)
    nn.init.normal_(layer.weight_ih_l0, std=1.0 / math.sqrt(INPUTS))
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.zeros_(layer.bias_hh_l0)


def keras(layer: nn.LSTM) -> None:
    nn.init.orthogonal_(layer.weight_hh_l0)
    nn.init.xavier_uniform_(layer.weight_ih_l0)
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.zeros_(layer.bias_hh_l0)
    layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = 1.0


CASES: dict[str, tuple[str, str, type[nn.RNNBase], Callable[..., None], tuple[int, ...]]] = {
    "chrono lstm": ("chrono", "lstm", nn.LSTM, chrono_lstm, (0, 1, 5, 20, 40, STEPS - 1)),
    "chrono gru": ("chrono", "gru_reset_after", nn.GRU, chrono_gru, (0, 1, 5, 20, 40, STEPS - 1)),
    "orthogonal lstm": ("orthogonal", "lstm", nn.LSTM, orthogonal, (0, 1, 5, 10, 20)),
    "flax lstm": ("flax", "lstm", nn.LSTM, flax, (0, 1, 5, 10)),
    "keras lstm": ("keras", "lstm", nn.LSTM, keras, (0, 1, 5, 10, 20)),
}


@pytest.mark.parametrize("case", CASES)
def test_layers_of_the_true_law_follow_their_prediction(case: str) -> None:
    """States and input sensitivity, within 10 % and four standard errors."""
    name, cell, kind, initialise, lags = CASES[case]
    network = baseline(name, cell, hidden=HIDDEN, inputs=INPUTS, length=STEPS)
    found = mf.gradients(network, mf.Inputs(size=INPUTS), length=STEPS, start="zero", units=8192, groups=32, seed=5)
    moments, profiles = [], []
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        layer = kind(INPUTS, HIDDEN)
        with torch.no_grad():
            initialise(layer)
        inputs = torch.randn(STEPS, SEQUENCES, INPUTS, requires_grad=True)
        last = layer(inputs)[0][-1]
        # Random signs v: E‖vᵀJ‖² = ‖J‖².
        rows = torch.autograd.grad(last, inputs, torch.sign(torch.rand_like(last) - 0.5))[0]
        moments.append(float(last.detach().square().mean()))
        profiles.append(rows.double().square().sum(dim=2).mean(dim=1).flip(0).numpy() / HIDDEN)
    sensitivities = np.array(profiles)
    assert deviation(found.second_moment, moments, allowance=0.1) < 4
    for lag in lags:
        assert deviation(found.sensitivity.at(lag), sensitivities[:, lag], allowance=0.1) < 4, f"S({lag})"


def test_normal_biases_would_not_do() -> None:
    """Independent normal biases of the same mean and spread leave far too many units that write and keep."""
    length = 200
    true = baseline("chrono", "lstm", hidden=HIDDEN, inputs=INPUTS, length=length)
    biases = np.log(1.0 + (length - 2) * (np.arange(100_000) + 0.5) / 100_000)
    mean, spread = float(np.mean(biases)), float(np.std(biases))
    plain = {gate: true.gates[gate] for gate in "ifgo"}
    for gate, sign in (("f", 1.0), ("i", -1.0)):
        law = plain[gate]
        plain[gate] = mf.Gate(law.recurrent_gain, law.input_gain, sign * mean, spread)
    last = [
        mf.gradients(network, mf.Inputs(size=INPUTS), length=length, start="zero").sensitivity.log10_at(length - 1)
        for network in (true, mf.Network("lstm", plain))
    ]
    assert last[1] - last[0] > 1.0


# --- Networks with chrono biases. ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["minimal", "janet", "peephole_lstm", "cifg_lstm"])
def test_chrono_networks_of_other_cells_follow_simulated_ones(name: str) -> None:
    network = baseline("chrono", name, hidden=HIDDEN, inputs=INPUTS, length=12)
    found = mf.gradients(network, mf.Inputs(size=INPUTS), length=12, start="zero", units=8192, groups=32, seed=5)
    seen = simulate(network, mf.Inputs(size=INPUTS), hidden=HIDDEN, length=12, networks=8, directions=8)
    assert deviation(found.second_moment, seen.second_moment[:, -1], allowance=0.1) < 4
    assert deviation(found.profile.at(12), seen.gradient_profile[:, 12], allowance=0.1) < 4
    assert deviation(found.sensitivity.at(11), seen.input_sensitivity[:, 11], allowance=0.1) < 4


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after", "minimal"])
def test_the_circuit_is_the_derivative_of_the_update(name: str) -> None:
    plain = find(name)
    gates = {gate: mf.Gate() for gate in plain.gates}
    cell = with_chrono_biases(mf.Network(name, gates), 100).definition
    generator, units, step = np.random.default_rng(1), 50, 1e-30
    state = [generator.uniform(-1, 1, units) for _ in cell.states]
    fields = {field.name: generator.uniform(-2, 2, units) for field in cell.fields}
    drives = {gate: generator.standard_normal(units) for gate in cell.gates}
    circuit = cell.circuit(state, fields, drives)
    blocks = {
        "state": dense(circuit.state_to_state, (units,)),
        "field": dense(circuit.field_to_state, (units,)),
        "drive": dense(circuit.drive_to_state, (units,)),
    }
    points: dict[str, list[Float64]] = {"state": state, "field": [*fields.values()], "drive": [*drives.values()]}
    for kind, block in blocks.items():
        for index in range(len(points[kind])):
            if kind == "drive" and cell.gates[index] == QUANTILE:
                assert not np.any(block[..., index])  # a law and no bias
                continue
            s, y, d = (
                [value + (1j * step if (kind, n) == (which, index) else 0j) for n, value in enumerate(points[which])]
                for which in points
            )
            new = cell.update(s, dict(zip(fields, y, strict=True)), dict(zip(drives, d, strict=True)))
            for row, value in enumerate(new):
                expected = np.broadcast_to(value, (units,)).imag / step
                np.testing.assert_allclose(block[:, row, index], expected, rtol=1e-10, atol=1e-300)


def test_biases_have_the_law_of_chrono() -> None:
    """Keep gates at rest: σ(log v) = v/(1 + v) with v uniform, and write gates one minus that."""
    longest, count = 50, 200_000
    cell = with_chrono_biases(mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate())), longest).definition
    drives = {gate: np.zeros(count) for gate in cell.gates}
    drives[QUANTILE] = np.random.default_rng(0).standard_normal(count)
    rest = [np.zeros(count)] * 2
    circuit = cell.circuit(rest, dict.fromkeys("ifgo", np.zeros(count)), drives)
    keep, write = (np.asarray(entry) for entry in (circuit.state_to_state[0][0], circuit.field_to_state[0][2]))
    np.testing.assert_allclose(write, 1.0 - keep, rtol=1e-9)  # i g' at g = 0
    scales = 1.0 / write  # 1 + v
    edges = np.linspace(2.0, longest, 8)
    counts = np.histogram(scales, edges)[0]
    assert counts.sum() == count
    expected = count / 7
    assert np.sum((counts - expected) ** 2 / expected) < 34.0  # chi-square of 6 degrees of freedom: once in 100 000


def test_chrono_networks_are_values() -> None:
    network = baseline("chrono", "lstm", hidden=8, inputs=4, length=30)
    assert isinstance(network, ChronoNetwork)
    assert pickle.loads(pickle.dumps(network)) == network == copy.deepcopy(network)
    assert hash(network) == hash(copy.deepcopy(network))
    assert network != baseline("chrono", "lstm", hidden=8, inputs=4, length=31)
    described = network.as_json()
    assert described["cell"] == "lstm"
    assert set(described["gates"]) == set("ifgo")
    assert described["chrono_biases"] == {"keep_gate": "f", "write_gate": "i", "longest": 30}


def test_what_knows_gates_only_refuses_chrono_networks() -> None:
    network = baseline("chrono", "lstm", hidden=8, inputs=4, length=30)
    with pytest.raises(InvalidInput, match="needs cell lstm, got cell chrono_lstm"):
        mf.torch.initialize(nn.LSTM(4, 8), network)


def test_chrono_needs_a_keep_gate_and_time() -> None:
    with pytest.raises(InvalidInput, match="chrono biases need a keep gate, and cell 'vanilla' has none"):
        with_chrono_biases(mf.Network("vanilla", {"h": mf.Gate()}), 100)
    with pytest.raises(InvalidInput, match="longest: must be a whole number of at least 2, got 1"):
        with_chrono_biases(mf.Network("janet", {"f": mf.Gate(), "g": mf.Gate()}), 1)
    with pytest.raises(InvalidInput, match="use with_chrono_biases"):
        ChronoNetwork("janet", {"f": mf.Gate(), "g": mf.Gate()})


def test_chrono_of_two_steps_has_no_biases() -> None:
    length, inputs = 2, mf.Inputs(size=4)
    found = baseline("chrono", "janet", hidden=32, inputs=4, length=length)
    plain = baseline("lecun", "janet", hidden=32, inputs=4, length=length)
    profiles = [
        mf.gradients(network, inputs, length=length, hidden=64, units=1024, start="zero").sensitivity
        for network in (found, plain)
    ]
    for lag in range(length):
        first, second = (profile.at(lag) for profile in profiles)
        assert abs(first.value - second.value) < 4.0 * math.hypot(first.error, second.error)
