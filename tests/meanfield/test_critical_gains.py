"""Critical gains against closed forms and simulated networks on both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield as mf
from meanfield.autonomous_states import static_states
from meanfield.critical_gains import critical_gain
from meanfield.validation.finite_width import simulate

AT_ZERO = {
    "vanilla": 1.0,
    "vanilla_erf": math.sqrt(math.pi) / 2.0,
    "vanilla_relu": math.sqrt(2.0),
    "leaky": 1.0,
    "gru": 2.0,
    "gru_reset_after": 2.0,
    "lstm": 2.0,
    "cifg_lstm": 2.0,
    "peephole_lstm": 1.0,
    "janet": 1.0,
}


@pytest.mark.parametrize(("cell", "gain"), AT_ZERO.items())
def test_critical_gains_of_the_zero_state(cell: str, gain: float) -> None:
    found = critical_gain(cell)
    assert abs(found.value - gain) <= found.error < 1e-12


@pytest.mark.parametrize(("cell", "gates", "candidate"), [("gru", "frh", "h"), ("lstm", "ifgo", "g")])
def test_gains_of_other_gates_do_not_matter_at_zero(cell: str, gates: str, candidate: str) -> None:
    generator = np.random.default_rng(2)
    for _ in range(3):
        gains = generator.uniform(0.0, 10.0, len(gates))
        base = mf.Network(cell, {gate: mf.Gate(float(gain)) for gate, gain in zip(gates, gains, strict=True)})
        found = critical_gain(cell, network=base, parameter=f"{candidate}.recurrent_gain")
        assert abs(found.value - 2.0) <= found.error < 1e-12


def test_gates_with_biases_in_closed_form() -> None:
    """lstm: 1/σ_g² = E[o²] E[i²] E[(1-f)⁻²], and E[(1 + exp u)²] of a normal u is known."""
    mean, spread = 1.3, 0.7
    found = critical_gain("lstm", bias_mean={"f": mean}, bias_std={"f": spread})
    inverse = 1.0 + 2.0 * math.exp(mean + 0.5 * spread**2) + math.exp(2.0 * mean + 2.0 * spread**2)
    assert abs(found.value - 4.0 / math.sqrt(inverse)) <= found.error < 1e-11
    # gru: what is kept does not matter, what the reset gate lets through does.
    found = critical_gain("gru", bias_mean={"f": 5.0, "r": -2.0})
    assert abs(found.value - (1.0 + math.exp(2.0))) <= found.error < 1e-10


def test_driven_states_against_the_line_of_the_plain_network() -> None:
    """Without memory tied and untied networks agree."""
    found = critical_gain("vanilla", bias_std=0.3)
    base = mf.Network("vanilla", {"h": mf.Gate(bias_std=0.3)})
    untied = mf.critical_point(base, "h.recurrent_gain", mf.Inputs(power=0.0), within=(0.5, 3.0)).value
    assert abs(found.value - untied.value) <= found.error + untied.error < 1e-9


@pytest.mark.parametrize(("cell", "gates", "candidate"), [("gru", "frh", "h"), ("cifg_lstm", "fgo", "g")])
def test_driven_states_are_marginal_there(cell: str, gates: str, candidate: str) -> None:
    found = critical_gain(cell, bias_std={candidate: 0.3})
    laws = dict.fromkeys(gates, mf.Gate(1.0)) | {candidate: mf.Gate(found.value, bias_std=0.3)}
    (state,) = static_states(mf.Network(cell, laws))
    assert state.radius.value == pytest.approx(1.0, abs=1e-6)
    assert found.value > 2.0  # biases saturate the candidate


@pytest.mark.parametrize("share", [0.85, 1.15])
@pytest.mark.parametrize(("cell", "gates", "candidate"), [("gru", "frh", "h"), ("lstm", "ifgo", "g")])
def test_perturbations_of_networks_grow_beyond_and_decay_below(
    cell: str, gates: str, candidate: str, share: float
) -> None:
    laws = dict.fromkeys(gates, mf.Gate(1.0)) | {candidate: mf.Gate(share * critical_gain(cell).value)}
    seen = simulate(
        mf.Network(cell, laws), mf.Inputs(power=0.0), hidden=600, length=60, networks=4, directions=4
    ).gradient_profile
    growth = seen[:, 60] / seen[:, 30]
    assert np.all(growth > 1.0 if share > 1.0 else growth < 1.0)


def test_what_has_no_critical_gain_says_why() -> None:
    with pytest.raises(mf.Infeasible, match="stable up to"):
        critical_gain("minimal", parameter="f.recurrent_gain", bias_std=0.1)
    with pytest.raises(mf.Infeasible, match=r"ends at 1\.414"):
        critical_gain("vanilla_relu", bias_std=1.0)
    base = mf.Network("gru", {"f": mf.Gate(), "r": mf.Gate(), "h": mf.Gate(3.0)})
    with pytest.raises(mf.Infeasible, match="not stable at any gain"):
        critical_gain("gru", network=base, parameter="f.recurrent_gain")
    with pytest.raises(mf.InvalidInput, match="say which"):
        critical_gain("minimal")
    with pytest.raises(mf.InvalidInput, match="recurrent gain"):
        critical_gain("gru", parameter="h.bias_std")
    with pytest.raises(mf.InvalidInput, match="cell gru has gates"):
        critical_gain("gru", bias_std={"o": 1.0})
    with pytest.raises(mf.InvalidInput, match="must be of cell"):
        critical_gain("gru", network=mf.Network("vanilla", {"h": mf.Gate()}))
