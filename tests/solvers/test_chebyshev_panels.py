"""Averages of piecewise polynomials, and the sizes of panels."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield.solvers.chebyshev_panels import Panels, graded_panels

EDGES = np.array([-2.0, -1.5, 0.0, 0.25, 3.0])


@pytest.mark.parametrize("order", [2, 5, 16])
def test_polynomials_are_exact(order: int) -> None:
    panels = Panels(EDGES, order)
    assert panels.nodes.shape == (4 * (order - 1) + 1,)
    assert np.all(np.diff(panels.nodes) > 0.0)
    rng = np.random.default_rng(order)
    points, weights = rng.uniform(-2.0, 3.0, (30, 7)), rng.uniform(0.0, 1.0, (30, 7))
    matrix = panels.averages(points, weights)
    for power in range(order):
        np.testing.assert_allclose(
            matrix @ panels.nodes**power, np.sum(weights * points**power, axis=1), atol=2e-13 * 3.0**power
        )


def test_smooth_functions_converge_geometrically() -> None:
    points = np.linspace(-2.0, 3.0, 200)[:, None]
    errors = []
    for order in (8, 16, 24):
        panels = Panels(EDGES, order)
        found = panels.averages(points, np.ones(1)) @ np.tanh(panels.nodes)
        errors.append(np.max(np.abs(found - np.tanh(points[:, 0]))))
    assert errors[1] < 1e-2 * errors[0]
    assert errors[2] < 1e-2 * errors[1]


def test_nodes_edges_and_beyond() -> None:
    panels = Panels(EDGES, 6)
    np.testing.assert_allclose(
        panels.averages(panels.nodes[:, None], np.ones(1)), np.eye(len(panels.nodes)), atol=1e-14
    )
    ends = panels.averages(np.array([[-7.0], [9.0]]), np.ones(1)) @ panels.nodes
    np.testing.assert_allclose(ends, [-2.0, 3.0], atol=1e-14)
    constant = Panels(np.array([0.0, 2.0]), 1)
    assert constant.nodes.tolist() == [1.0]
    assert constant.averages(np.array([[0.3, 5.0]]), np.array([0.5, 0.25])).tolist() == [[0.75]]


def test_blocks_of_rows_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    panels, points = Panels(EDGES, 6), np.linspace(-2.0, 3.0, 60).reshape(20, 3)
    whole = panels.averages(points, np.ones(3))
    monkeypatch.setattr("meanfield.solvers.chebyshev_panels._AT_ONCE", 60)
    np.testing.assert_array_equal(panels.averages(points, np.ones(3)), whole)


@pytest.mark.parametrize("origin", [-50.0, -3.0, 0.4, 8.0, 90.0])
def test_grading(origin: float) -> None:
    panels = graded_panels(-3.0, 8.0, 4, origin=origin, narrowest=0.5, growth=0.5, plateau=1.0, widest=2.0)
    widths, edges = np.diff(panels.edges), panels.edges
    assert (edges[0], edges[-1]) == (-3.0, 8.0)
    assert np.all((widths > 0.0) & (widths <= 2.0 + 1e-12))
    nearest = np.maximum(0.0, np.minimum(np.abs(edges[1:] - origin), np.abs(edges[:-1] - origin)))
    assert np.all(widths <= 0.5 + 0.5 * np.maximum(nearest - 1.0, 0.0) + 1e-12)
