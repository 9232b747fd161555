"""Initialising PyTorch layers and reading them: the right numbers in the right places."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import meanfield as mf

HIDDEN, INPUTS = 32, 5


def gate(*laws: float) -> mf.Gate:
    return mf.Gate(*laws)


def lstm(i: mf.Gate, f: mf.Gate, g: mf.Gate, o: mf.Gate) -> mf.Network:
    return mf.Network("lstm", {"i": i, "f": f, "g": g, "o": o})


def gru(f: mf.Gate, r: mf.Gate, h: mf.Gate) -> mf.Network:
    return mf.Network("gru_reset_after", {"f": f, "r": r, "h": h})


def biases(**means: float) -> dict[str, mf.Gate]:
    """Gates with nothing but biases."""
    return {name: gate(0, 0, mean) for name, mean in means.items()}


LSTM = lstm(gate(1, 0.5, 1, 0.1), gate(2, 1, 2, 0.2), gate(3, 2, -3, 0.3), gate(0.5, 3, 4, 0.4))
GRU = gru(gate(1, 0.5, 1, 0.1), gate(2, 1, -2, 0.2), gate(3, 2, 3, 0.3, 4, 0.4))
VANILLA = mf.Network("vanilla", {"h": gate(1, 2, 3, 0.5)})
LAYERS = [(nn.LSTM, LSTM), (nn.GRU, GRU), (nn.RNN, VANILLA)]
CELLS = [(nn.LSTMCell, LSTM), (nn.GRUCell, GRU), (nn.RNNCell, VANILLA)]


def one_step(module: nn.Module, state: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(h, c) after a step of a layer or cell from a state (1, N); the GRU has no c."""
    inputs = torch.randn(1, module.input_size, dtype=state.dtype)
    with torch.no_grad():
        if isinstance(module, nn.LSTMCell):
            return module(inputs, (state, memory))
        if isinstance(module, nn.LSTM):
            return tuple(each[0] for each in module(inputs[None], (state[None], memory[None]))[1])
        if isinstance(module, nn.RNNCellBase):
            return module(inputs, state), memory
        return module(inputs[None], state[None])[1][0], memory


# What PyTorch makes of the weights.


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
@pytest.mark.parametrize("open_", [True, False])
def test_lstm_gates_do_what_their_names_say(kind: type[nn.Module], open_: bool) -> None:
    state, memory = torch.randn(1, HIDDEN), torch.randn(1, HIDDEN)
    output = 40.0 if open_ else -40.0
    keeps = mf.Network("lstm", biases(i=-40, f=40, g=0.7, o=output))
    h, c = one_step(mf.torch.initialize(kind(INPUTS, HIDDEN), keeps), state, memory)
    torch.testing.assert_close(c, memory)
    torch.testing.assert_close(h, torch.tanh(memory) * open_)
    writes = mf.Network("lstm", biases(i=40, f=-40, g=0.7, o=output))
    h, c = one_step(mf.torch.initialize(kind(INPUTS, HIDDEN), writes), state, memory)
    torch.testing.assert_close(c, torch.full_like(c, math.tanh(0.7)))
    torch.testing.assert_close(h, torch.full_like(h, math.tanh(math.tanh(0.7)) * open_))


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_gru_gates_do_what_their_names_say(kind: type[nn.Module]) -> None:
    state = torch.randn(1, HIDDEN)
    new = gate(0, 0, 0.3, 0, 0.5)
    for keep, reset, expected in (
        (40, 0, state),
        (-40, -40, torch.full_like(state, math.tanh(0.3))),
        (-40, 40, torch.full_like(state, math.tanh(0.3 + 0.5))),
    ):
        module = mf.torch.initialize(kind(INPUTS, HIDDEN), gru(gate(0, 0, keep), gate(0, 0, reset), new))
        torch.testing.assert_close(one_step(module, state, state)[0], expected)


@pytest.mark.parametrize(("nonlinearity", "cell"), [("tanh", "vanilla"), ("relu", "vanilla_relu")])
@pytest.mark.parametrize("kind", [nn.RNN, nn.RNNCell])
def test_plain_network_applies_its_bias_once(kind: type[nn.Module], nonlinearity: str, cell: str) -> None:
    module = mf.torch.initialize(kind(INPUTS, HIDDEN, nonlinearity=nonlinearity), mf.Network(cell, biases(h=0.6)))
    expected = math.tanh(0.6) if nonlinearity == "tanh" else 0.6
    state = torch.randn(1, HIDDEN)
    torch.testing.assert_close(one_step(module, state, state)[0], torch.full_like(state, expected))


def test_input_and_recurrent_weights_are_not_exchanged() -> None:
    """A keep gate driven by the inputs alone has weights of its own gain there and none in the recurrent matrix."""
    module = mf.torch.initialize(nn.GRU(INPUTS, HIDDEN), gru(gate(0, 2), gate(3, 0), gate()))
    reset, keep, new = module.weight_ih_l0.chunk(3)
    assert keep.abs().max() > 0
    assert not reset.any()
    assert not new.any()
    reset, keep, new = module.weight_hh_l0.chunk(3)
    assert reset.abs().max() > 0
    assert not keep.any()
    assert not new.any()


# Where the numbers land.


@pytest.mark.parametrize(("kind", "network"), LAYERS)
def test_every_layer_and_direction_gets_its_own_draw(kind: type[nn.RNNBase], network: mf.Network) -> None:
    module = kind(INPUTS, 128, num_layers=3, bidirectional=True, dropout=0.1)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    parameters = dict(module.named_parameters())
    assert mf.torch.initialize(module, network, seed=1) is module
    assert {name: tensor.shape for name, tensor in module.state_dict().items()} == shapes
    assert all(each is parameters[name] and each.requires_grad for name, each in module.named_parameters())
    matrices = [tensor for name, tensor in module.named_parameters() if name.startswith("weight_hh")]
    assert len(matrices) == 6
    for one, other in itertools.combinations(matrices, 2):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(one.numel())
    for found in mf.torch.networks(module):
        assert_close_laws(found, network, hidden=128, fan_in=INPUTS)


@pytest.mark.parametrize(("kind", "network"), CELLS)
def test_cells_get_their_laws(kind: type[nn.RNNCellBase], network: mf.Network) -> None:
    (found,) = mf.torch.networks(mf.torch.initialize(kind(64, 256), network, seed=3))
    assert_close_laws(found, network, hidden=256, fan_in=64)


@pytest.mark.parametrize(("layer", "cell"), list(zip(LAYERS, CELLS, strict=True)))
def test_a_cell_is_a_layer(layer: tuple[type[nn.Module], mf.Network], cell: tuple[type[nn.Module], mf.Network]) -> None:
    modules = [mf.torch.initialize(kind(INPUTS, HIDDEN), network, seed=7) for kind, network in (layer, cell)]
    state, memory = torch.randn(1, HIDDEN), torch.randn(1, HIDDEN)
    results = []
    for module in modules:
        torch.manual_seed(0)
        results.append(one_step(module, state, memory))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_whole_bias_is_in_one_vector(kind: type[nn.RNNBase]) -> None:
    network = dict(LAYERS)[kind]
    module = mf.torch.initialize(kind(INPUTS, HIDDEN, num_layers=2, bidirectional=True), network)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        first, second = getattr(module, f"bias_ih_{suffix}"), getattr(module, f"bias_hh_{suffix}")
        assert torch.count_nonzero(first) == first.numel()
        if kind is nn.GRU:
            assert not second[: 2 * HIDDEN].any()
            assert abs(second[2 * HIDDEN :].mean() - 4) < 4 * 0.4 / math.sqrt(HIDDEN)
        else:
            assert not second.any()


@pytest.mark.parametrize(("kind", "network"), LAYERS)
def test_the_seed_decides(kind: type[nn.RNNBase], network: mf.Network) -> None:
    first, again, other = (
        mf.torch.initialize(kind(INPUTS, HIDDEN, num_layers=2), network, seed=seed).state_dict() for seed in (4, 4, 5)
    )
    deeper = mf.torch.initialize(kind(INPUTS, HIDDEN, num_layers=3), network, seed=4).state_dict()
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    torch.testing.assert_close(first, {name: deeper[name] for name in first}, rtol=0, atol=0)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.startswith("weight"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    module = mf.torch.initialize(nn.LSTM(INPUTS, HIDDEN, dtype=dtype), LSTM)
    single = mf.torch.initialize(nn.LSTM(INPUTS, HIDDEN), LSTM)
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == dtype
        torch.testing.assert_close(tensor.to(torch.float32), single.state_dict()[name], rtol=0.01, atol=0.01)
    (found,) = mf.torch.networks(module)
    assert found.gates["f"].bias_mean == pytest.approx(2, abs=4 * 0.2 / math.sqrt(HIDDEN) + 0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_is_kept() -> None:
    module = mf.torch.initialize(nn.GRU(INPUTS, HIDDEN, device="cuda"), GRU)
    assert all(each.is_cuda for each in module.parameters())
    torch.testing.assert_close(module.cpu().state_dict(), mf.torch.initialize(nn.GRU(INPUTS, HIDDEN), GRU).state_dict())


def test_anything_with_a_network_is_a_recipe() -> None:
    by_recipe = mf.torch.initialize(nn.LSTM(INPUTS, HIDDEN), SimpleNamespace(network=LSTM), seed=2)
    by_network = mf.torch.initialize(nn.LSTM(INPUTS, HIDDEN), LSTM, seed=2)
    torch.testing.assert_close(by_recipe.state_dict(), by_network.state_dict(), rtol=0, atol=0)


def test_layers_without_biases() -> None:
    network = lstm(gate(1, 0.5), gate(2, 1), gate(3, 2), gate(0.5, 3))
    (found,) = mf.torch.networks(mf.torch.initialize(nn.LSTM(64, 256, bias=False), network))
    assert_close_laws(found, network, hidden=256, fan_in=64)


# Reading.


def test_pytorch_defaults() -> None:
    """Uniform on ±1/√N: σ² = 1/3, each bias of variance 1/(3N); all errors are of uniform or triangular samples."""
    hidden, inputs = 256, 64
    torch.manual_seed(0)
    for module in (nn.LSTM(inputs, hidden), nn.GRUCell(inputs, hidden), nn.RNN(inputs, hidden)):
        (network,) = mf.torch.networks(module)
        for name, law in network.gates.items():
            apart = isinstance(module, nn.GRUCell) and name == "h"
            count = 1 if apart else 2
            assert law.recurrent_gain**2 == pytest.approx(1 / 3, rel=4 * math.sqrt(0.8 / hidden**2))
            expected = inputs / (3 * hidden)
            assert law.input_gain**2 == pytest.approx(expected, rel=4 * math.sqrt(0.8 / (inputs * hidden)))
            variance = count / (3 * hidden)
            assert law.bias_std**2 == pytest.approx(variance, rel=4 * math.sqrt((0.8 if apart else 1.4) / hidden))
            assert law.bias_mean == pytest.approx(0, abs=4 * math.sqrt(variance / hidden))
            assert (law.recurrent_bias_std > 0) == apart
            if apart:
                assert law.recurrent_bias_std**2 == pytest.approx(variance, rel=4 * math.sqrt(0.8 / hidden))


def test_reading_of_written_weights() -> None:
    """Mean squares about zero for weights, population moments for biases, both biases added."""
    module = nn.GRU(3, 2, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.weight_hh_l1_reverse[2:4] = 0.25
        module.weight_ih_l1_reverse[0:2] = torch.tensor([[3.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
        module.bias_ih_l1_reverse[:] = torch.tensor([1.0, 3.0, 10.0, 10.0, 5.0, 7.0])
        module.bias_hh_l1_reverse[:] = torch.tensor([1.0, 3.0, 20.0, 20.0, 2.0, 8.0])
    found = mf.torch.networks(module)
    assert found[:3] == [gru(gate(), gate(), gate())] * 3
    recurrent, driven = 0.25 * math.sqrt(2), math.sqrt(4 * 18 / 8)
    expected = gru(gate(recurrent, 0, 30, 0), gate(0, driven, 4, 2), gate(0, 0, 6, 1, 5, 3))
    for name, law in found[3].gates.items():
        assert law.as_json() == pytest.approx(expected.gates[name].as_json())


def test_parametrised_layers_can_be_read() -> None:
    module = nn.utils.parametrizations.orthogonal(nn.RNN(INPUTS, HIDDEN), "weight_hh_l0")
    assert mf.torch.networks(module)[0].gates["h"].recurrent_gain == pytest.approx(1.0, rel=1e-5)


def assert_close_laws(found: mf.Network, wanted: mf.Network, *, hidden: int, fan_in: int) -> None:
    """Laws read off a Gaussian draw agree with those it was drawn from within four standard errors."""
    assert found.cell == wanted.cell
    for name, law in wanted.gates.items():
        read = found.gates[name]
        assert read.recurrent_gain == pytest.approx(law.recurrent_gain, rel=4 / math.sqrt(2 * hidden**2))
        assert read.input_gain == pytest.approx(law.input_gain, rel=4 / math.sqrt(2 * hidden * fan_in))
        assert read.bias_mean == pytest.approx(law.bias_mean, abs=4 * law.bias_std / math.sqrt(hidden))
        assert read.bias_std == pytest.approx(law.bias_std, rel=4 / math.sqrt(2 * hidden))
        deviation = law.recurrent_bias_std
        assert read.recurrent_bias_mean == pytest.approx(law.recurrent_bias_mean, abs=4 * deviation / math.sqrt(hidden))
        assert read.recurrent_bias_std == pytest.approx(deviation, rel=4 / math.sqrt(2 * hidden))


# Inspecting.


def test_inspect_analyses_the_network_read_off() -> None:
    module = nn.GRU(INPUTS, HIDDEN, num_layers=2, bidirectional=True)
    forward, reverse, *_ = mf.torch.networks(module)
    for direction, network in (("forward", forward), ("reverse", reverse)):
        found = mf.torch.inspect(module, length=8, direction=direction, units=512, seed=3)
        inputs = mf.Inputs(size=INPUTS)
        expected = mf.analyze(network, inputs, length=8, hidden=HIDDEN, units=512, start="zero", seed=3)
        assert found.as_json() == expected.as_json()
        assert found.network == network
        assert found.inputs.size == INPUTS


def test_inspect_passes_its_options_on() -> None:
    module = nn.LSTMCell(INPUTS, HIDDEN)
    inputs = mf.Inputs(power=0.25)
    options = {"units": 1024, "groups": 4, "regime": "untied", "start": "stationary", "seed": 1}
    found = mf.torch.inspect(module, length=6, inputs=inputs, **options)
    network, sized = mf.torch.networks(module)[0], mf.Inputs(power=0.25, size=INPUTS)
    assert found.as_json() == mf.analyze(network, sized, length=6, hidden=HIDDEN, **options).as_json()


def test_inspect_of_a_deeper_layer_on_what_it_reads() -> None:
    torch.manual_seed(0)
    module = nn.LSTM(INPUTS, HIDDEN, num_layers=2)
    with pytest.raises(mf.InvalidInput, match="layer 1 reads the outputs of the layer below"):
        mf.torch.inspect(module, length=8, layer=1)
    below = nn.LSTM(INPUTS, HIDDEN, batch_first=True)
    below.load_state_dict({name: each for name, each in module.state_dict().items() if name.endswith("l0")})
    with torch.no_grad():
        states = mf.Inputs.from_data(below(torch.randn(16, 8, INPUTS))[0].numpy())
    found = mf.torch.inspect(module, length=8, inputs=states, layer=1, units=512)
    assert found.network == mf.torch.networks(module)[1]
    padded = mf.Inputs.padded(signal=2, length=8)
    assert mf.torch.inspect(module, length=8, inputs=padded, layer=1, units=512).inputs.size == HIDDEN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "layer: must be a whole number from 0 to 1, got 2"),
        ({"layer": -1}, "layer: must be a whole number"),
        ({"layer": True}, "layer: must be a whole number"),
        ({"direction": "backward"}, "direction: must be 'forward' or 'reverse'"),
        ({"direction": "reverse"}, "direction: this layer has no reverse direction"),
        ({"inputs": mf.Inputs(size=7)}, "inputs: layer 0 reads 5 numbers a step, got inputs of size 7"),
        ({"inputs": mf.Inputs(size=INPUTS), "layer": 1}, "inputs: layer 1 reads 32 numbers a step"),
    ],
)
def test_inspect_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(mf.InvalidInput, match=message):
        mf.torch.inspect(nn.LSTM(INPUTS, HIDDEN, num_layers=2), length=8, **options)


# What is refused.


@pytest.mark.parametrize(
    ("module", "network", "message"),
    [
        (nn.Linear(3, 4), LSTM, "module: must be an nn.LSTM, nn.GRU or nn.RNN, or one of their cells, got Linear"),
        (nn.LSTM(3, 4, proj_size=2), LSTM, "proj_size must be 0, got 2"),
        (nn.LSTM(3, 4), GRU, "recipe: nn.LSTM needs cell lstm, got cell gru_reset_after"),
        (nn.RNN(3, 4, nonlinearity="relu"), VANILLA, "recipe: nn.RNN needs cell vanilla_relu, got cell vanilla"),
        (nn.GRU(3, 4), mf.Network("gru", biases(f=0, r=0, h=0)), "make the recipe for gru_reset_after instead of gru"),
        (nn.GRUCell(3, 4), mf.Network("gru", biases(f=0, r=0, h=0)), "nn.GRUCell applies the reset gate after"),
        (nn.LSTM(3, 4), mf.Network("cifg_lstm", biases(f=0, g=0, o=0)), "needs cell lstm, got cell cifg_lstm"),
        (nn.LSTM(3, 4), {"f": 1}, "recipe: must be a recipe or a network, got {'f': 1}"),
        (nn.LSTM(3, 4, bias=False), mf.Network("lstm", biases(i=0, f=1, g=0, o=0)), "gate f needs a bias"),
        (nn.GRU(3, 4, bias=False), gru(gate(1), gate(1), gate(1, 1, 0, 0, 0, 0.1)), "gate h needs a bias"),
        (nn.RNNCell(3, 4, bias=False), mf.Network("vanilla", {"h": gate(0, 0, 0, 1)}), "gate h needs a bias"),
        (nn.LSTM(3, 4, device="meta"), LSTM, "module: its weights are on the meta device"),
    ],
)
def test_initialize_refuses(module: nn.Module, network: object, message: str) -> None:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(mf.InvalidInput) as caught:
        mf.torch.initialize(module, network)
    assert message in str(caught.value)
    if not any(tensor.is_meta for tensor in before.values()):
        torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("seed", [-1, 1.0, "0", True])
def test_initialize_refuses_a_seed(seed: object) -> None:
    with pytest.raises(mf.InvalidInput, match="seed: must be a whole number of at least 0"):
        mf.torch.initialize(nn.LSTM(3, 4), LSTM, seed=seed)


def test_initialize_refuses_parametrised_weights_and_leaves_the_others() -> None:
    module = nn.utils.parametrizations.orthogonal(nn.LSTM(3, 4), "weight_hh_l0")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(mf.InvalidInput, match="module: weight_hh_l0 is not a parameter"):
        mf.torch.initialize(module, LSTM)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_networks_refuses() -> None:
    with pytest.raises(mf.InvalidInput, match="got Linear"):
        mf.torch.networks(nn.Linear(3, 4))
    broken = nn.GRU(3, 4)
    nn.init.constant_(broken.weight_hh_l0, np.nan)
    with pytest.raises(mf.InvalidInput, match="recurrent_gain: must be finite"):
        mf.torch.networks(broken)


def test_missing_pytorch_is_one_sentence(tmp_path: Path) -> None:
    script = "import sys; sys.modules['torch'] = None; import meanfield; meanfield.torch"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: meanfield.torch needs PyTorch; install it with: pip install 'meanfield-rnn[torch]'"
    )
