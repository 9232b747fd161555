"""Weights drawn from a network's laws, as plain NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield.checks import check_count
from meanfield.network import Network
from meanfield.weight_ensembles import Ensemble, as_ensemble

Weights = dict[str, dict[str, NDArray[np.float64]]]


def sample_weights(
    network: Network, *, hidden: int, inputs: int, seed: int = 0, ensemble: Ensemble | str | None = None
) -> Weights:
    """Draw one layer's weights.

    Args:
        network: the laws.
        hidden: width N.
        inputs: input size M.
        seed: of the draw.
        ensemble: of the recurrent matrices, by default the network's; other matrices have Gaussian entries always.

    Returns:
        For every gate, as far as it has them: ``recurrent`` (N, N), ``input`` (N, M), or (N, N) where the gate reads an
        embedding of the input, ``bias`` (N,) and ``recurrent_bias`` (N,). Matrices act on column vectors.

    Raises:
        InvalidInput: if a size is not positive, the seed is negative, or the ensemble is unknown.

    >>> import meanfield as mf
    >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0, input_gain=1.0)})
    >>> {name: array.shape for name, array in sample_weights(network, hidden=4, inputs=2)["h"].items()}
    {'recurrent': (4, 4), 'input': (4, 2), 'bias': (4,)}
    """
    for name, value, lowest in (("hidden", hidden, 1), ("inputs", inputs, 1), ("seed", seed, 0)):
        check_count(name, value, lowest)
    law = as_ensemble(network.ensemble if ensemble is None else ensemble)
    definition = network.definition
    recurrent = {each.gate for each in definition.fields if each.gain == "recurrent_gain"}
    embedding = {each.gate for each in definition.fields if each.gain == "input_gain"}
    generator = np.random.default_rng(seed)
    weights: Weights = {}
    for name, gate in network.gates.items():
        arrays = weights[name] = {}
        if name in recurrent:
            arrays["recurrent"] = law.draw(generator, hidden, hidden, gain=gate.recurrent_gain)
        if name in embedding or name in definition.input_gates:
            fan_in = hidden if name in embedding else inputs
            arrays["input"] = generator.standard_normal((hidden, fan_in)) * (gate.input_gain / np.sqrt(fan_in))
        arrays["bias"] = gate.bias_mean + gate.bias_std * generator.standard_normal(hidden)
        if name in definition.recurrent_bias_gates:
            noise = generator.standard_normal(hidden)
            arrays["recurrent_bias"] = gate.recurrent_bias_mean + gate.recurrent_bias_std * noise
    return weights
