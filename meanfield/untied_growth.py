"""The growth of a perturbation in the untied regime, for every analysis that moves parameters of a network."""

from __future__ import annotations

from meanfield.closed_growth import closed_growth
from meanfield.closed_moments import closed_law
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Network
from meanfield.output_growth import output_growth
from meanfield.output_law import output_law


def untied_chi(network: Network, inputs: Inputs | None = None) -> Estimate:
    """χ_1, the growth per step of E‖δ‖² at identical inputs with weights that are redrawn at every step.

    Args:
        network: of a cell that :func:`meanfield.fixed_points` takes.
        inputs: white inputs of power R; power 1 by default.

    Returns:
        Its value with a bound.

    Raises:
        InvalidInput: if the cell's moments do not close, or the inputs are not white.
        NotConverged: if the state has no stationary second moment.

    >>> import meanfield as mf
    >>> untied_chi(mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=0.5)}), mf.Inputs(power=0.0)).value
    0.25
    """
    if len(network.definition.states) > 1:
        return output_growth(output_law(network, inputs)).chi
    return closed_growth(closed_law(network, inputs)).chi
