"""The eigenvalue edge without sampling, against closed forms, populations and eigenvalues of simulated Jacobians."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest
from wild_networks import wild_network

import meanfield as mf
from meanfield.closed_edge import closed_edge
from meanfield.closed_growth import closed_growth
from meanfield.closed_moments import closed_law
from meanfield.isometry_design import search_isometry
from meanfield.validation.finite_width import jacobian

SILENT = mf.Inputs(power=0.0)
GATE = mf.Gate(recurrent_gain=1.5, input_gain=0.5, bias_mean=0.2, bias_std=0.3)
NETWORKS = {
    "minimal": {"f": mf.Gate(4.0, 0.5, 0.2, 0.3), "z": mf.Gate(0.0, 1.0, 0.2, 0.3)},
    "gru": {"f": mf.Gate(2.0, 0.5, 0.5, 0.3), "r": mf.Gate(2.0, 0.5, 0.5), "h": mf.Gate(3.0, 0.3, 0.5)},
    "gru_reset_after": {"f": mf.Gate(1.0, 0.5, 1.0), "r": mf.Gate(1.0, 0.5, 1.0), "h": mf.Gate(4.0, 0.5)},
    "peephole_lstm": {"i": mf.Gate(1.0, 0.5, 0.5), "f": mf.Gate(1.5, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)},
    "janet": {"f": mf.Gate(3.0, 0.5, 1.0, 0.3), "g": mf.Gate(1.0, 0.3, 0.8)},
}


class TestClosedForms:
    @pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
    @pytest.mark.parametrize("cell", ["vanilla", "vanilla_erf", "vanilla_relu"])
    def test_networks_without_skip_paths(self, cell: str, ensemble: str) -> None:
        """A disc of radius √χ_1, for all matrices of the same mean square."""
        law = closed_law(mf.Network(cell, {"h": GATE if cell != "vanilla_relu" else mf.Gate(1.2, 0.5)}, ensemble))
        found = closed_edge(law)
        assert found is not None
        assert abs(found.value - math.sqrt(closed_growth(law).chi.value)) <= found.error < 1e-12

    @pytest.mark.parametrize(("cell", "gain"), [("gru", 1.2), ("gru_reset_after", 1.2), ("gru", 2.0)])
    def test_at_rest(self, cell: str, gain: float) -> None:
        """All gates are one half: the edge is at 1/2 + σ_h/4."""
        found = closed_edge(closed_law(mf.Network(cell, dict.fromkeys("frh", mf.Gate(recurrent_gain=gain))), SILENT))
        assert found is not None
        assert abs(found.value - (0.5 + gain / 4.0)) <= found.error < 1e-12

    def test_without_recurrent_matrices(self) -> None:
        leaky = closed_edge(closed_law(mf.Network("leaky", {"h": mf.Gate(input_gain=1.0)})))
        assert leaky is not None
        assert abs(leaky.value - 0.7) <= leaky.error < 1e-14
        # The eigenvalues are gates, the largest of which grows with the width.
        assert closed_edge(closed_law(mf.Network("janet", {"f": mf.Gate(bias_std=1.0), "g": mf.Gate()}))) is None

    @pytest.mark.parametrize(("gain", "bias"), [(2.6, 1.0), (4.5, 3.0)])
    def test_a_gate_without_recurrent_weights(self, gain: float, bias: float) -> None:
        """σ² E n'² E (1-f)²/(λ-f)² = 1 in 30 digits."""
        law = closed_law(mf.Network("janet", {"f": mf.Gate(bias_mean=bias, bias_std=0.8), "g": mf.Gate(gain, 0.5)}))
        found = closed_edge(law)
        assert found is not None
        deviation = law.parameters["deviation drive g + field g"]
        ends = [-13, -6, -3, -1, 0, 1, 3, 6, 13]
        with mpmath.workdps(30):
            slope = mpmath.quad(lambda z: mpmath.npdf(z) * mpmath.sech(deviation * z) ** 4, ends)

            def excess(distance: mpmath.mpf) -> mpmath.mpf:
                def shut(z: mpmath.mpf) -> mpmath.mpf:
                    return 1 / (1 + mpmath.exp(bias + mpmath.mpf(0.8) * z))

                return (
                    gain**2
                    * slope
                    * mpmath.quad(lambda z: mpmath.npdf(z) * (shut(z) / (distance + shut(z))) ** 2, ends)
                    - 1
                )

            exact = 1 + mpmath.findroot(excess, (found.value - 1.0) * (1 + mpmath.mpf("1e-6")))
        assert abs(found.value - float(exact)) <= found.error < 1e-11

    def test_an_edge_of_rare_units_is_left_out(self) -> None:
        """Without units beyond three deviations, of which a network may have none, there would be no such edge."""
        wide = mf.Network("peephole_lstm", {"i": mf.Gate(), "f": mf.Gate(bias_std=2.0), "g": mf.Gate(0.3, 0.5)})
        assert closed_edge(closed_law(wide)) is None


class TestPopulations:
    @pytest.mark.parametrize("cell", NETWORKS)
    def test_all_cells(self, cell: str) -> None:
        network = mf.Network(cell, NETWORKS[cell])
        found = closed_edge(closed_law(network))
        assert found is not None
        sampled = mf.spectra(network, hidden=256, units=2**12, groups=16, regime="untied", seed=3)
        assert abs(found.value - sampled.eigenvalue_edge.value) < 4.0 * sampled.eigenvalue_edge.error

    def test_critical_networks(self) -> None:
        """χ_1 = 1 without weights that stay: with them the network would be unstable."""
        network = search_isometry(
            "minimal", mf.Inputs(size=28), length=100, hidden=256, regime="untied", seed=0
        ).network
        found = closed_edge(closed_law(network))
        assert found is not None
        assert found.value > 1.0
        sampled = mf.spectra(network, hidden=256, units=2**12, groups=16, regime="untied", seed=4)
        assert abs(found.value - sampled.eigenvalue_edge.value) < 4.0 * sampled.eigenvalue_edge.error


class TestSimulatedNetworks:
    @pytest.mark.parametrize("cell", ["gru", "peephole_lstm", "minimal"])
    def test_largest_eigenvalues(self, cell: str) -> None:
        """The outermost of N eigenvalues is off by a few per cent of the width of their bulk."""
        network = mf.Network(cell, NETWORKS[cell])
        found = closed_edge(closed_law(network))
        assert found is not None
        J = jacobian(network, mf.Inputs(), hidden=300, length=20, steps=1, networks=6, seed=1, regime="untied")
        largest = [float(np.max(np.linalg.eigvals(each).real)) for each in J]
        error = np.std(largest, ddof=1) / math.sqrt(len(largest))
        assert abs(found.value - np.mean(largest)) < 4.0 * error + 0.6 * found.value / math.sqrt(300)


@pytest.mark.parametrize("cell", [each for each in NETWORKS if each != "gru_reset_after"])
def test_wild_networks_give_numbers_or_none(cell: str) -> None:
    generator = np.random.default_rng(list(NETWORKS).index(cell))
    for _ in range(8):
        try:
            law = closed_law(wild_network(cell, generator))
        except mf.NotConverged:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = closed_edge(law)
        assert found is None or found.error < 1e-6 * (1.0 + abs(found.value))
