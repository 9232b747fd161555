"""PyTorch's side of the SVD parametrisation: against NumPy's, autograd of explicit reflectors, and training."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import meanfield as mf
from meanfield.errors import InvalidInput
from meanfield.solvers.householder import HouseholderProduct
from meanfield.svd import SVDMatrix
from meanfield.torch_householder import reflect, scaled_columns

DOUBLE = torch.float64
SHAPES = [(1, 1), (1, 6), (5, 6), (6, 6)]
LAYERS = [(nn.RNN, 1, "_l0"), (nn.GRU, 3, "_l0"), (nn.LSTM, 4, "_l0")]
CELLS = [(nn.RNNCell, 1, ""), (nn.GRUCell, 3, ""), (nn.LSTMCell, 4, "")]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=DOUBLE, requires_grad=True)


def registered(module: nn.Module, name: str, *counts: int, **options: Any) -> nn.Module:
    return parametrize.register_parametrization(module, name, mf.torch.SVDParametrization(*counts, **options))


def orthogonality_defect(reflectors: torch.Tensor) -> float:
    identity = torch.eye(reflectors.shape[-1], dtype=reflectors.dtype)
    Q = reflect(identity, reflectors.detach())
    return float((Q.T @ Q - identity).abs().max())


# Products of reflectors.


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("count", "size"), [*SHAPES, (150, 200), (200, 200)])
def test_products_are_those_of_numpy(count: int, size: int, transposed: bool) -> None:
    batch, reflectors = leaf(4, size), leaf(count, size)
    exact = HouseholderProduct(reflectors.detach().numpy())
    step = exact.apply_transpose if transposed else exact.apply
    found = reflect(batch, reflectors, transposed=transposed)
    np.testing.assert_allclose(found.detach(), step(batch.detach().numpy().T).T, atol=1e-13)
    cotangents = torch.randn_like(found)
    pulled = torch.autograd.grad(found, (batch, reflectors), cotangents)
    x, y = batch.detach().numpy().T, cotangents.numpy().T
    slopes = exact.vjp(y, x)[0] if transposed else exact.vjp(x, y)[0]
    np.testing.assert_allclose(pulled[0], (exact.apply(y) if transposed else exact.apply_transpose(y)).T, atol=1e-13)
    np.testing.assert_allclose(pulled[1], slopes, atol=1e-12 * max(1.0, np.abs(slopes).max()))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("width", [2, 64])
@pytest.mark.parametrize(("count", "size"), SHAPES)
def test_gradients(count: int, size: int, width: int, transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meanfield.torch_householder._WIDTH", width)
    arguments = leaf(2, 3, size), leaf(2, count, size)
    assert torch.autograd.gradcheck(lambda x, u: reflect(x, u, transposed=transposed), arguments)
    assert torch.autograd.gradcheck(scaled_columns, (leaf(2, max(1, size - 1)), leaf(2, count, size)))


def test_gradients_are_those_of_explicit_reflectors() -> None:
    batch, reflectors = leaf(4, 9), leaf(7, 9)

    def explicit(x: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        for u in torch.triu(vectors).flip(0):
            x = x - 2.0 * torch.outer(x @ u, u) / (u @ u)
        return x

    for index in (0, 1):
        found, expected = (
            torch.autograd.grad(f(batch, reflectors).sin().sum(), (batch, reflectors))[index]
            for f in (reflect, explicit)
        )
        torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-12)


def test_vectors_of_nothing_have_no_gradient() -> None:
    reflectors = torch.randn(6, 6, dtype=DOUBLE)
    reflectors[2] = 0.0
    reflectors[3] = 1e-310
    reflectors.requires_grad_()
    batch = torch.randn(3, 6, dtype=DOUBLE)
    result = reflect(batch, reflectors)
    without = reflectors.detach().numpy().copy()
    without[2:4] = 0.0
    np.testing.assert_allclose(result.detach(), HouseholderProduct(without).apply(batch.numpy().T).T, atol=1e-14)
    (slopes,) = torch.autograd.grad(result.square().sin().sum(), reflectors)
    assert torch.all(slopes[2:4] == 0.0)
    assert torch.all(slopes[0] != 0.0)
    tiny = 1e-250 * torch.randn(6, 6, dtype=DOUBLE)
    torch.testing.assert_close(reflect(batch, tiny), reflect(batch, 1e250 * tiny), atol=1e-14, rtol=0.0)


def test_no_rows_at_all() -> None:
    batch, reflectors = leaf(0, 4), leaf(3, 4)
    result = reflect(batch, reflectors)
    assert result.shape == (0, 4)
    assert torch.all(torch.autograd.grad(result.sum(), reflectors)[0] == 0.0)
    assert HouseholderProduct(reflectors.detach().numpy()).apply(np.zeros((4, 0))).shape == (4, 0)


def test_a_second_derivative_is_an_error() -> None:
    batch, reflectors = leaf(2, 4), leaf(3, 4)
    (slopes,) = torch.autograd.grad(reflect(batch, reflectors).sin().sum(), reflectors, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slopes.sum().backward()


# The weight.


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (7, 4), (4, 7)])
def test_weight_is_that_of_numpy(rows: int, columns: int) -> None:
    made = mf.torch.SVDParametrization(3, 2, blocks=2, centre=[1.0, 2.0], half_width=[0.3, 0.5], seed=5)
    left, right, logits = made.right_inverse(torch.empty(2 * rows, columns, dtype=DOUBLE))
    logits = torch.randn_like(logits)
    weight = made(left, right, logits)
    for index, (centre, reach) in enumerate([(1.0, 0.3), (2.0, 0.5)]):
        exact = SVDMatrix(*(each[index].numpy() for each in (left, right, logits)), centre, reach)
        np.testing.assert_allclose(weight[index * rows : (index + 1) * rows], exact.matrix(), atol=1e-13)
        np.testing.assert_allclose(made.singular_values(logits)[index], exact.singular_values, rtol=1e-15)
    batch = torch.randn(2, 3, columns, dtype=DOUBLE)
    torch.testing.assert_close(made.multiply(batch, left, right, logits), batch @ weight.T, atol=1e-13, rtol=0.0)
    arguments = [each.requires_grad_() for each in (left, right, logits)]
    assert torch.autograd.gradcheck(made, arguments)
    assert torch.autograd.gradcheck(made.multiply, [batch.requires_grad_(), *arguments])


@pytest.mark.parametrize(("kind", "blocks", "suffix"), LAYERS + CELLS)
def test_every_gate_block_has_its_band(kind: type[nn.Module], blocks: int, suffix: str) -> None:
    centres = [1.0, 0.25, 2.0, 0.5][:blocks]
    layer = registered(kind(3, 8), f"weight_hh{suffix}", 2, 3, blocks=blocks, centre=centres, half_width=0.01)
    weight = getattr(layer, f"weight_hh{suffix}")
    for block, centre in zip(weight.split(8), centres, strict=True):
        torch.testing.assert_close(torch.linalg.svdvals(block), torch.full((8,), centre), atol=1e-5, rtol=0.0)
    # The layer computes with this weight.
    inputs = torch.randn(3) if not suffix else torch.randn(1, 3)
    state = torch.randn(8) if not suffix else torch.randn(1, 8)
    plain = kind(3, 8)
    plain.load_state_dict(
        {**{n: p for n, p in layer.state_dict().items() if "param" not in n}, f"weight_hh{suffix}": weight}
    )
    given = (state, state) if blocks == 4 else state
    results = [each(inputs, given) for each in (layer, plain)]
    torch.testing.assert_close(*results)
    sums = [torch.cat([t.flatten() for t in flat(each)]).sum() for each in results]
    torch.testing.assert_close(
        *(
            torch.autograd.grad(s, m.bias_hh_l0 if suffix else m.bias_hh)[0]
            for s, m in zip(sums, (layer, plain), strict=True)
        )
    )


def flat(result: Any) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else [t for each in result for t in flat(each)]


@pytest.mark.parametrize(("kind", "blocks", "suffix"), LAYERS)
def test_a_layer_trains_inside_its_bands(kind: type[nn.Module], blocks: int, suffix: str) -> None:
    layer = registered(kind(3, 8).double(), f"weight_hh{suffix}", blocks=blocks, half_width=0.05)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    inputs, first = torch.randn(10, 4, 3, dtype=DOUBLE), None
    for _ in range(40):
        optimiser.zero_grad()
        with parametrize.cached():
            loss = (layer(inputs)[0] - 0.3).square().mean()
            for block in layer.weight_hh_l0.detach().split(8):
                values = torch.linalg.svdvals(block)
                assert values.min() >= 0.95 - 1e-14
                assert values.max() <= 1.05 + 1e-14
        loss.backward()
        optimiser.step()
        first = loss.item() if first is None else first
    assert loss.item() < first
    bands = layer.parametrizations.weight_hh_l0
    assert (bands[0].singular_values(bands.original2) - 1.0).abs().max() > 1e-3  # they did move


def test_state_goes_to_another_layer() -> None:
    layers = [registered(nn.LSTM(3, 8), "weight_hh_l0", 2, 3, blocks=4) for _ in range(2)]
    assert not torch.equal(layers[0].weight_hh_l0, layers[1].weight_hh_l0)
    layers[1].load_state_dict(layers[0].state_dict())
    assert torch.equal(layers[0].weight_hh_l0, layers[1].weight_hh_l0)
    inputs = torch.randn(4, 2, 3)
    assert torch.equal(layers[0](inputs)[0], layers[1](inputs)[0])


def test_seed_decides_the_draw() -> None:
    first, again, other = (registered(nn.Linear(5, 5), "weight", 2, 2, seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    one = registered(nn.Linear(5, 5), "weight").weight
    torch.manual_seed(3)
    assert torch.equal(one, registered(nn.Linear(5, 5), "weight").weight)


def test_a_weight_is_kept_or_assigned() -> None:
    layer = nn.GRU(3, 6).double()
    weight = torch.cat([torch.linalg.qr(torch.randn(6, 6, dtype=DOUBLE))[0] * scale for scale in (0.97, 1.0, 1.03)])
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight)
    registered(layer, "weight_hh_l0", blocks=3, half_width=0.05, start="weight")
    torch.testing.assert_close(layer.weight_hh_l0, weight, atol=1e-14, rtol=0.0)
    layer.weight_hh_l0 = weight.flip(0)
    torch.testing.assert_close(layer.weight_hh_l0, weight.flip(0), atol=1e-14, rtol=0.0)
    drawn = registered(nn.Linear(6, 6).double(), "weight")
    drawn.weight = weight[6:12]
    torch.testing.assert_close(drawn.weight, weight[6:12], atol=1e-14, rtol=0.0)
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    torch.testing.assert_close(layer.weight_hh_l0, weight.flip(0), atol=1e-14, rtol=0.0)


def test_autocast_and_half_precision_keep_it_orthogonal() -> None:
    layer = registered(nn.Linear(64, 64), "weight", 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = layer.weight
        loss = layer(torch.randn(3, 64)).float().square().sum()
    loss.backward()
    torch.testing.assert_close(torch.linalg.svdvals(weight), torch.ones(64), atol=1e-5, rtol=0.0)
    assert layer.parametrizations.weight.original0.grad.abs().max() > 0.0
    half = registered(nn.Linear(64, 64).bfloat16(), "weight", 16, 16)
    assert half.weight.dtype == torch.bfloat16
    # Entries of the weight are rounded to eight bits, those of the reflectors before that.
    torch.testing.assert_close(torch.linalg.svdvals(half.weight.float()), torch.ones(64), atol=0.03, rtol=0.0)


# PyTorch's compiler makes an instance of its own Function, of which PyTorch warns.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("module", ["linear", "cell", "spectral"])
def test_compiled_whole(module: str) -> None:
    made: nn.Module
    if module == "linear":
        made, inputs = registered(nn.Linear(8, 8), "weight", 3, 8), torch.randn(4, 8)
    elif module == "cell":
        made, inputs = registered(nn.GRUCell(3, 8), "weight_hh", 3, 8, blocks=3), torch.randn(4, 3)
    else:
        made, inputs = mf.torch.SpectralRNN(3, 8), torch.randn(5, 4, 3)
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    results = [flat(each(inputs))[0] for each in (made, compiled)]
    torch.testing.assert_close(*results)
    pulled = [torch.autograd.grad(each.square().sum(), list(made.parameters())) for each in results]
    torch.testing.assert_close(*pulled)


# cuDNN warns that weights which are made anew are not one chunk of memory.
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk:UserWarning")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_another_device_has_the_same_numbers() -> None:
    layers = [mf.torch.SpectralRNN(3, 80, 20, 80, half_width=0.3, dtype=DOUBLE, device=d) for d in ("cpu", "cuda")]
    layers[1].load_state_dict(layers[0].state_dict())
    inputs = torch.randn(5, 4, 3, dtype=DOUBLE)
    results = [layer(inputs.to(layer.bias.device))[0] for layer in layers]
    torch.testing.assert_close(results[1].cpu(), results[0])
    pulled = [
        torch.autograd.grad(result.square().sum(), list(layer.parameters()))
        for result, layer in zip(results, layers, strict=True)
    ]
    torch.testing.assert_close([each.cpu() for each in pulled[1]], list(pulled[0]))


# The layer.


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_spectral_layer_is_a_vanilla_layer(nonlinearity: str, batch_first: bool, bias: bool) -> None:
    layer = mf.torch.SpectralRNN(
        3, 8, 5, 8, nonlinearity=nonlinearity, batch_first=batch_first, bias=bias, half_width=0.3, dtype=DOUBLE
    )
    plain = nn.RNN(3, 8, nonlinearity=nonlinearity, batch_first=batch_first, bias=bias, dtype=DOUBLE)
    with torch.no_grad():
        layer.logits.normal_()
        plain.weight_ih_l0.copy_(layer.weight_ih)
        plain.weight_hh_l0.copy_(layer.weight_hh)
        if bias:
            layer.bias.normal_()
            plain.bias_ih_l0.copy_(layer.bias)
            plain.bias_hh_l0.zero_()
    inputs, state = torch.randn(5, 4, 3, dtype=DOUBLE), torch.randn(1, 5 if batch_first else 4, 8, dtype=DOUBLE)
    for arguments in [(inputs,), (inputs, state), (inputs[:, 0],), (inputs[:, 0], state[:, 0])]:
        for found, expected in zip(layer(*arguments), plain(*arguments), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-13, rtol=0.0)
    torch.testing.assert_close(layer.singular_values.sort(descending=True)[0], torch.linalg.svdvals(layer.weight_hh))
    again = pickle.loads(pickle.dumps(layer))
    torch.testing.assert_close(again(inputs), layer(inputs), atol=0.0, rtol=0.0)
    fresh = mf.torch.SpectralRNN(
        3, 8, 5, 8, nonlinearity=nonlinearity, batch_first=batch_first, bias=bias, half_width=0.3, dtype=DOUBLE
    )
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh(inputs), layer(inputs), atol=0.0, rtol=0.0)


def test_gradients_of_the_spectral_layer() -> None:
    layer = mf.torch.SpectralRNN(2, 4, 2, 3, dtype=DOUBLE)
    names = [name for name, _ in layer.named_parameters()]
    assert sorted(names) == ["bias", "left", "logits", "right", "weight_ih"]

    def run(inputs: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), inputs)[0]
        return result

    values = [each.detach().clone().requires_grad_() for each in layer.parameters()]
    assert torch.autograd.gradcheck(run, (leaf(3, 2, 2), *values))


@pytest.mark.parametrize("seed", range(2))
def test_training_stays_orthogonal_and_in_the_band(seed: int) -> None:
    torch.manual_seed(seed)
    layer = mf.torch.SpectralRNN(2, 12, 6, 12, half_width=0.1, dtype=DOUBLE)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    inputs, targets = torch.randn(5, 16, 2, dtype=DOUBLE), torch.randn(16, 12, dtype=DOUBLE).tanh()
    losses = []
    for _ in range(200):
        values = torch.linalg.svdvals(layer.weight_hh.detach())
        assert values.min() >= 0.9 - 1e-14
        assert values.max() <= 1.1 + 1e-14
        optimiser.zero_grad()
        loss = (layer(inputs)[1][0] - targets).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert (layer.singular_values - 1.0).abs().max() > 0.01  # they used the band
    assert orthogonality_defect(layer.left[0]) < 1e-12
    assert orthogonality_defect(layer.right[0]) < 1e-12


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"half_width": 0.0}, "half_width: must be between 0 and the centre 1, got 0.0"),
        ({"half_width": 1.0}, "half_width: must be between 0 and the centre 1, got 1.0"),
        ({"centre": 0.0}, "centre: must be positive"),
        ({"centre": [1.0, 2.0]}, "centre: must be one number or 1, one a block, got 2"),
        ({"left": 0}, "left: must be a whole number of at least 1, got 0"),
        ({"blocks": 0}, "blocks: must be a whole number of at least 1, got 0"),
        ({"start": "zero"}, "start: must be 'haar' or 'weight', got 'zero'"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
    ],
)
def test_refused_numbers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        mf.torch.SVDParametrization(**options)


def test_refused_weights_and_parameters() -> None:
    made = mf.torch.SVDParametrization(2, 2)
    left, right, logits = made.right_inverse(torch.empty(4, 4))
    broken = left.clone()
    broken[0, 0, 0] = torch.nan
    spectral = mf.torch.SpectralRNN(3, 4)
    for call, message in [
        (lambda: registered(nn.Linear(4, 4), "weight", 5, 4), "left: must be from 1 to 4 reflectors .* got 5"),
        (lambda: registered(nn.Linear(4, 3), "weight", 4, 4), "left: must be from 1 to 3 reflectors .* got 4"),
        (lambda: registered(nn.LSTM(3, 4), "weight_hh_l0", blocks=3), r"weight: .* 3 equal blocks .* \(16, 4\)"),
        (lambda: registered(nn.Linear(4, 4), "bias"), r"weight: must be a matrix of 1 equal blocks .* \(4,\)"),
        (lambda: registered(nn.Linear(4, 4), "weight", 2, 4, start="weight"), "by 4 reflectors .* got left=2"),
        (lambda: registered(nn.Linear(4, 4), "weight", start="weight"), "matrix: its singular values must lie"),
        (lambda: registered(nn.Linear(4, 4, device="meta"), "weight"), "weight: is on the meta device"),
        (lambda: made(left, right, logits[:, :3]), r"logits: shapes \(1, 2, 4\), \(1, 2, 4\) and \(1, 3\)"),
        (lambda: made(left[0], right, logits), "logits: shapes"),
        (lambda: made(broken, right, logits), r"left: must be finite, got NaN or infinity in shape \(1, 2, 4\)"),
        (lambda: made.multiply(torch.ones(2, 3), left, right, logits), r"inputs: .*\(\.\.\., 4\), got \(2, 3\)"),
        (lambda: reflect(torch.ones(2, 3), torch.ones(4, 3)), r"reflectors: .* got shape \(4, 3\)"),
        (lambda: reflect(torch.ones(2, 3), torch.ones(0, 3)), r"reflectors: .* got shape \(0, 3\)"),
        (lambda: reflect(torch.ones(2, 3), torch.ones(2, 4)), r"inputs: shape \(2, 3\) does not fit .*\(2, 4\)"),
        (lambda: reflect(torch.ones(2, 5, 4), torch.ones(3, 2, 4)), r"inputs: shape \(2, 5, 4\) must start with"),
        (
            lambda: reflect(torch.ones(2, 4), torch.ones(2, 4, dtype=DOUBLE)),
            "inputs: must be of the reflectors' .*64, got",
        ),
        (lambda: reflect(torch.ones(2, 4), torch.ones(2, 4).half()), "reflectors: must be float32 or float64, got"),
        (lambda: scaled_columns(torch.ones(1, 5), torch.ones(1, 2, 4)), r"lengths: shape \(1, 5\) does not fit"),
        (lambda: mf.torch.SpectralRNN(3, 4, 5), "left: must be from 1 to 4 reflectors for 4 coordinates, got 5"),
        (lambda: mf.torch.SpectralRNN(3, 4, nonlinearity="gelu"), "nonlinearity: must be 'tanh' or 'relu'"),
        (lambda: spectral(torch.ones(5, 2, 4)), r"inputs: must be .* the last of 3, got shape \(5, 2, 4\)"),
        (lambda: spectral(torch.ones(5, 2, 3), torch.ones(1, 3, 4)), r"state: must be of shape \(1, 2, 4\)"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            call()
