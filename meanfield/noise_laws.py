"""Laws of the Gaussian variables that drive a unit in the untied regime (theory, section 2).

With fresh weights at every step the field of gate k is N(0, σ_k² E[p²]), its input drive N(μ_k, ν_k² R + ρ_k²), and
under two input sequences both are correlated by the overlaps of the carriers and of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meanfield.inputs import Inputs
from meanfield.network import Network

Float64 = NDArray[np.float64]


def noise_parameters(
    network: Network, noises: Mapping[str, tuple[str, ...]], inputs: Inputs, squares: Mapping[int, float]
) -> dict[str, float]:
    """Mean and deviation of every Gaussian variable.

    Args:
        network: whose gates they are.
        noises: the fields and drives that make up each variable.
        inputs: their power is R.
        squares: E[p²] of every carrier.

    Returns:
        ``mean x`` and ``deviation x`` for every variable x.

    >>> import meanfield as mf
    >>> gate = mf.Gate(recurrent_gain=3.0, input_gain=4.0, bias_mean=0.5)
    >>> vanilla = mf.Network("vanilla", {"h": gate})
    >>> noise_parameters(vanilla, {"u": ("drive h", "field h")}, mf.Inputs(power=1.0), {0: 1.0})
    {'mean u': 0.5, 'deviation u': 5.0}
    """
    found: dict[str, float] = {}
    for name, members in noises.items():
        laws = [_member(network, member, inputs, squares, squares) for member in members]
        found[f"mean {name}"] = math.fsum(law[0] for law in laws)
        found[f"deviation {name}"] = math.sqrt(math.fsum(law[1] for law in laws))
    return found


def noise_correlations(
    network: Network,
    noises: Mapping[str, tuple[str, ...]],
    inputs: Inputs,
    squares: Mapping[int, float],
    products: Mapping[int, float],
) -> dict[str, float]:
    """Correlation of every Gaussian variable between two sequences.

    Args:
        network, noises, inputs, squares: as for :func:`noise_parameters`; the inputs' overlap is that of the sequences.
        products: E[p_a p_b] of every carrier.

    Returns:
        ``correlation x`` and ``residue x``, the square root of one minus its square, for every variable x.
    """
    found: dict[str, float] = {}
    for name, members in noises.items():
        laws = [_member(network, member, inputs, squares, products) for member in members]
        variance, covariance = (math.fsum(law[index] for law in laws) for index in (1, 2))
        correlation = min(max(covariance / variance, -1.0), 1.0) if variance > 0.0 else 1.0
        found[f"correlation {name}"] = correlation
        found[f"residue {name}"] = math.sqrt((1.0 - correlation) * (1.0 + correlation))
    return found


def squared_gains(network: Network, noises: Mapping[str, tuple[str, ...]], carriers: int) -> Float64:
    """How much of every carrier's E[p²] is in every variable's variance, (variables, carriers)."""
    gains = np.zeros((len(noises), carriers))
    fields = {f"field {each.name}": each for each in network.definition.fields}
    for row, members in zip(gains, noises.values(), strict=True):
        for member in members:
            if member in fields:
                field = fields[member]
                row[field.carrier] += getattr(network.laws[field.gate], field.gain) ** 2
    return gains


def outer_covariances(
    network: Network, noises: Mapping[str, tuple[str, ...]], inputs: Inputs, carriers: int
) -> Float64:
    """Covariances of the variables between two sequences without those of their fields, (variables,)."""
    squares = dict.fromkeys(range(carriers), 0.0)
    laws = noise_parameters(network, noises, inputs, squares)
    found = noise_correlations(network, noises, inputs, squares, squares)
    return np.array([found[f"correlation {name}"] * laws[f"deviation {name}"] ** 2 for name in noises])


def _member(
    network: Network, member: str, inputs: Inputs, squares: Mapping[int, float], products: Mapping[int, float]
) -> tuple[float, float, float]:
    """Mean, variance and covariance between sequences of one field or drive."""
    kind, name = member.split(" ", 1)
    cell = network.definition
    if kind == "drive":
        law = network.gates[name]
        power = law.input_gain**2 * inputs.power if name in cell.input_gates else 0.0
        return law.bias_mean, power + law.bias_std**2, power * inputs.overlap + law.bias_std**2
    field = next(each for each in cell.fields if each.name == name)
    law = network.laws[field.gate]
    gain = getattr(law, field.gain) ** 2
    second_bias = field.gate in cell.recurrent_bias_gates
    mean, spread = (law.recurrent_bias_mean, law.recurrent_bias_std**2) if second_bias else (0.0, 0.0)
    return mean, gain * squares[field.carrier] + spread, gain * products[field.carrier] + spread
