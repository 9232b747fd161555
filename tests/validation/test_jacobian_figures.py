"""Spectra of one step against networks of 256 units and PyTorch's cells; verdicts of the figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import meanfield as mf
from meanfield.cells import find
from meanfield.errors import InvalidInput
from meanfield.estimate import Estimate
from meanfield.validation.finite_width import jacobian
from meanfield.validation.jacobian_figures import TARGETS, Figure, jacobian_figures
from meanfield.validation.torch_jacobians import torch_jacobians

HIDDEN, LENGTH, NETWORKS, GROUPS = 256, 40, 6, 12
SEED = 0


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network_of(name: str) -> mf.Network:
    recurrent = {field.gate for field in find(name).fields if field.gain == "recurrent_gain"}
    gains = {"h": 1.4, "g": 1.4}
    gates = {}
    for gate in find(name).gates:
        gain = gains.get(gate, 0.8) if gate in recurrent else 0.0
        gates[gate] = mf.Gate(gain, 0.7, 1.0 if gate == "f" else 0.0, 0.2)
    return mf.Network(name, gates)


def assert_within(figures: tuple[Figure, ...], rows: int) -> None:
    """Targets of wide networks, and four standard errors of six networks of this width."""
    found = {figure.quantity: figure for figure in figures}
    report = "\n".join(map(str, figures))
    assert list(found) == list(TARGETS)
    for name in ("m1", "m2", "edge", "slow"):
        figure = found[name]
        size = 1.0 if name == "slow" else figure.predicted.value
        # Errors from six networks are uncertain; populations of the same width have the scatter too.
        error = max(figure.simulated.error, figure.predicted.error * math.sqrt(GROUPS / NETWORKS))
        # The rightmost of a few hundred eigenvalues is about 1/√N off the boundary; one more or less is a slow mode.
        width = {"edge": 1.0 / math.sqrt(HIDDEN), "slow": 1.0 / rows}.get(name, 0.0)
        assert figure.difference * size <= figure.target * size + width + 4.0 * error, report
    assert found["distribution"].difference <= TARGETS["distribution"] + 2.0 * found["distribution"].scatter, report


@pytest.mark.parametrize("name", ["vanilla", "gru"])
def test_simulated_networks(name: str) -> None:
    network = network_of(name)
    seen = jacobian(network, mf.Inputs(), hidden=HIDDEN, length=LENGTH, networks=NETWORKS, seed=SEED)
    figures = jacobian_figures(network, mf.Inputs(), seen, length=LENGTH, groups=GROUPS, seed=SEED + 1)
    assert_within(figures, seen.shape[1])


@pytest.mark.parametrize(("cell", "default"), [("lstm", True), ("gru_reset_after", False)])
def test_cells_of_pytorch(cell: str, default: bool) -> None:
    network = None if default else network_of(cell)
    seen = torch_jacobians(cell, network, hidden=HIDDEN, size=HIDDEN, length=LENGTH, networks=NETWORKS, seed=SEED)
    law = network or mf.framework_default(cell, hidden=HIDDEN, inputs=HIDDEN)
    assert_within(jacobian_figures(law, mf.Inputs(), seen, length=LENGTH, groups=GROUPS, seed=SEED + 1), seen.shape[1])


def test_networks_of_another_law_are_told_apart() -> None:
    weaker, stronger = (mf.Network("vanilla", {"h": mf.Gate(gain, 0.7)}) for gain in (0.9, 1.1))
    seen = jacobian(stronger, mf.Inputs(), hidden=HIDDEN, length=LENGTH, networks=NETWORKS, seed=SEED)
    figures = jacobian_figures(weaker, mf.Inputs(), seen, length=LENGTH, groups=GROUPS, seed=SEED + 1)
    verdicts = {figure.quantity: figure.within for figure in figures}
    assert [verdicts[name] for name in ("m1", "m2", "edge", "distribution")] == ["no"] * 4


def test_singular_values_that_are_zero_are_an_atom() -> None:
    """Half of rectified units do not respond: the distribution starts with a step."""
    network = mf.Network("vanilla_relu", {"h": mf.Gate(1.0, 0.7)})
    seen = jacobian(network, mf.Inputs(), hidden=HIDDEN, length=LENGTH, networks=NETWORKS, seed=SEED)
    values = np.linalg.svd(seen, compute_uv=False)
    assert np.mean(values < 1e-12) == pytest.approx(0.5, abs=0.06)
    figures = jacobian_figures(network, mf.Inputs(), seen, length=LENGTH, groups=GROUPS, seed=SEED + 1)
    (distribution,) = (figure for figure in figures if figure.quantity == "distribution")
    assert distribution.difference <= TARGETS["distribution"] + 2.0 * distribution.scatter


def test_a_pytorch_cell_without_weights_has_its_skip_path() -> None:
    """c ← c/2 + 0, h = tanh(c)/2 at zero: ∂c/∂c = 1/2 and ∂h/∂c = 1/4, columns of h zero."""
    quiet = mf.Network("lstm", {gate: mf.Gate() for gate in "ifgo"})
    (J,) = torch_jacobians("lstm", quiet, hidden=3, size=2, length=4, networks=1)
    eye, zero = np.eye(3), np.zeros((3, 3))
    np.testing.assert_allclose(J, np.block([[eye / 2, zero], [eye / 4, zero]]), atol=1e-15)


def test_pytorch_cells_are_differentiated_as_simulated_networks_are() -> None:
    """With gates that biases hold, J = f + (1-f) W for a gru whose reset gate is open: |W|² of N(0, σ²/N)."""
    held = {"f": mf.Gate(bias_mean=math.log(3.0)), "r": mf.Gate(bias_mean=40.0), "h": mf.Gate(recurrent_gain=0.1)}
    network, hidden = mf.Network("gru_reset_after", held), 64
    found = torch_jacobians("gru_reset_after", network, hidden=hidden, size=2, length=3, networks=4)
    W = 4.0 * (found - 0.75 * np.eye(hidden))
    mean_square = np.mean(np.sum(W**2, axis=(1, 2)) / hidden)
    assert mean_square == pytest.approx(0.01, abs=4.0 * 0.01 * math.sqrt(2.0 / (4 * hidden**2)))


def test_verdicts() -> None:
    number = Estimate(1.0, 0.0)
    verdicts = [Figure("m1", number, number, off, 0.015, 0.03).within for off in (0.015, 0.02, 0.04)]
    assert verdicts == ["yes", "scatter", "no"]


def test_requests_that_make_no_sense_are_refused_by_name() -> None:
    network = network_of("lstm")
    for shape in ((2, 3, 3), (1, 4, 4), (4, 4), (2, 4, 6)):
        with pytest.raises(InvalidInput, match="matrices"):
            jacobian_figures(network, mf.Inputs(), np.zeros(shape), length=2)
    with pytest.raises(InvalidInput, match="groups"):
        jacobian_figures(network, mf.Inputs(), np.zeros((4, 128, 128)), length=2, groups=7)
    with pytest.raises(InvalidInput, match="cell"):
        torch_jacobians("gru", hidden=4, size=2, length=2)
    with pytest.raises(InvalidInput, match="hidden"):
        torch_jacobians("lstm", hidden=0, size=2, length=2)
    with pytest.raises(InvalidInput, match="recipe"):
        torch_jacobians("lstm", network_of("gru_reset_after"), hidden=4, size=2, length=2)
