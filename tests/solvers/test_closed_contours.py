"""Contours of functions whose contours are known."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield.solvers.closed_contours import ClosedContour, closed_contours

NODES = np.linspace(-2.0, 2.0, 81) + 0.0031


def signed_area(contour: ClosedContour) -> float:
    return float(np.sum((np.conj(contour.points) * np.roll(contour.points, -1)).imag)) / 2.0


def test_a_ring_has_an_outer_and_an_inner_contour() -> None:
    outer, inner = closed_contours(lambda z: (1.5 - np.abs(z)) * (np.abs(z) - 0.7), NODES, NODES)
    np.testing.assert_allclose(np.abs(outer.points), 1.5, atol=1e-11)
    np.testing.assert_allclose(np.abs(inner.points), 0.7, atol=1e-11)
    assert (outer.hole, inner.hole) == (False, True)
    # Chords cut off a part of the order of the spacing squared.
    assert outer.area == pytest.approx(np.pi * 1.5**2, rel=1e-3)
    assert signed_area(outer) > 0.0 > signed_area(inner)
    points = np.array([0.0, 1.0, 1.2 + 0.3j, 1.6j])
    np.testing.assert_array_equal(outer.encloses(points), [True, True, True, False])
    np.testing.assert_array_equal(inner.encloses(points), [True, False, False, False])


@pytest.mark.parametrize("gap", [-0.01, 0.01])
def test_a_lemniscate_is_one_curve_or_two(gap: float) -> None:
    """|z² - 1| = 1 - gap, whose neck or gap is wider than a cell."""
    x = np.linspace(-2.0, 2.0, 201) + 0.003
    found = closed_contours(lambda z: 1.0 - gap - np.abs(z * z - 1.0), x, x)
    assert len(found) == (1 if gap < 0.0 else 2)
    for contour in found:
        np.testing.assert_allclose(np.abs(contour.points**2 - 1.0), 1.0 - gap, atol=1e-10)
        assert signed_area(contour) > 0.0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_saddles_inside_a_cell_do_not_open_a_curve(sign: float) -> None:
    """Checkerboards of sin sin cut off by a disc; every vertex belongs to one closed curve."""
    for shift in np.linspace(0.0, 0.3, 7):
        found = closed_contours(
            lambda z, shift=shift: np.minimum(sign * np.sin(5 * z.real + shift) * np.sin(5 * z.imag), 1.7 - np.abs(z)),
            NODES,
            NODES,
        )
        total = sum(-contour.area if contour.hole else contour.area for contour in found)
        z = (NODES[None, :] + 1j * NODES[:, None]).ravel()
        z = z[np.abs(z) < 1.65]
        inside = sign * np.sin(5 * z.real + shift) * np.sin(5 * z.imag) > 0.02
        count = sum(np.where(contour.encloses(z), -1 if contour.hole else 1, 0) for contour in found)
        assert np.all(count[inside] == 1)
        assert total == pytest.approx(np.pi * 1.7**2 / 2, rel=0.1)


def test_infinite_values_and_no_contour_at_all() -> None:
    with np.errstate(divide="ignore"):
        (circle,) = closed_contours(
            lambda z: -np.log(np.abs(z)), np.linspace(-1.5, 1.5, 31), np.linspace(-1.5, 1.5, 31)
        )
    np.testing.assert_allclose(np.abs(circle.points), 1.0, atol=1e-11)
    assert closed_contours(lambda z: np.full(z.shape, -np.inf), NODES, NODES) == []


def test_a_box_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="negative at the border"):
        closed_contours(lambda z: 3.0 - np.abs(z), NODES, NODES)
