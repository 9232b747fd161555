"""The untied theory without sampling: what ``meanfield fixed-points`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meanfield.closed_growth import ClosedGrowth, closed_growth
from meanfield.closed_moments import ClosedLaw, closed_law
from meanfield.closed_overlap import OverlapFixedPoint, closed_overlap
from meanfield.estimate import as_json_or_absent
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.output_growth import output_growth
from meanfield.output_law import OutputLaw, output_law
from meanfield.output_overlap import output_overlap


@dataclass(frozen=True)
class FixedPoints:
    """Moments, overlaps and time scales with weights that are redrawn at every step; errors are bounds.

    Attributes:
        law: the stationary moments; of the output, where that is not the memory itself.
        growth: χ_1 and its time scale, at identical inputs.
        overlaps: all fixed points of the overlap map, ascending.
    """

    law: ClosedLaw | OutputLaw
    growth: ClosedGrowth
    overlaps: tuple[OverlapFixedPoint, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether two sequences may settle at different overlaps, depending on where they start."""
        return sum(point.stable for point in self.overlaps) > 1

    def as_json(self) -> dict[str, Any]:
        """The object that ``meanfield fixed-points --json`` prints."""
        law = self.law
        memory = {}
        if isinstance(law, OutputLaw):
            memory = {
                "memory_mean": law.memory_mean.as_json(),
                "memory_second_moment": law.memory_second_moment.as_json(),
            }
        return {
            "cell": law.network.cell,
            "regime": "untied",
            "network": law.network.as_json(),
            "inputs": {**law.inputs.as_json(), "size": law.inputs.size},
            "mean": law.mean.as_json(),
            "second_moment": law.second_moment.as_json(),
            **memory,
            "chi": self.growth.chi.as_json(),
            "timescale": as_json_or_absent(self.growth.timescale),
            "overlaps": [
                {
                    "overlap": point.overlap.as_json(),
                    "slope": point.slope.as_json(),
                    "timescale": as_json_or_absent(point.timescale),
                    "stable": point.stable,
                    "reached": point.reached,
                }
                for point in self.overlaps
            ],
        }


def fixed_points(network: Network, inputs: Inputs | None = None) -> FixedPoints:
    """The untied theory by quadrature and operators, without sampling (theory, section 3; Chen et al. 2018).

    Cells with one state variable have closed maps. Where a memory c hides behind an output gate, as in the LSTM, its
    law comes from a transfer operator, and that of two copies from the law's orthonormal polynomials.

    Args:
        network: of a cell whose update is affine in its state, with coefficients that read the gates only: all built-in
            cells, and those of one's own that are made like one of them.
        inputs: white inputs of power R, power 1 by default; their overlap is that of two sequences.

    Returns:
        Numbers with bounds on their errors: usually 1e-12 of the number or less with one state variable, 1e-9 for the
        overlaps of LSTMs, more where their memory is much wider than 1 and sequences are nearly the same.

    Raises:
        InvalidInput: if the cell is of another kind, or the inputs are not white.
        NotConverged: if the second moments have no fixed point, or one that quadrature cannot resolve.

    >>> import meanfield as mf
    >>> chaotic = mf.fixed_points(mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=3.0)}), mf.Inputs(power=0.0))
    >>> [(round(point.overlap.value, 9), point.stable) for point in chaotic.overlaps if point.overlap.value >= 0.0]
    [(0.0, True), (1.0, False)]
    """
    if len(network.definition.states) > 1:
        law = output_law(network, inputs)
        return FixedPoints(law, output_growth(law), output_overlap(law))
    closed = closed_law(network, inputs)
    return FixedPoints(closed, closed_growth(closed), closed_overlap(closed))
