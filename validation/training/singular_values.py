"""Singular values of a plain layer's recurrent matrix, over all steps of its training."""

from __future__ import annotations

import torch
from torch import nn

from meanfield.torch_spectral_rnn import SpectralRNN
from meanfield.validation.training.initialisations import Layer


class SingularValueRange:
    """The smallest and the largest singular value that a plain layer's recurrent matrix has had so far.

    They are computed from the matrix itself, in float64, and not from what it was made of: rounding of a matrix in
    float32 is seen, some 1e-7. Gated layers, which have several matrices, have no range.

    Attributes:
        extremes: both, None before the first look, and always for gated layers.

    >>> layer = SpectralRNN(3, 16, seed=0)
    >>> seen = SingularValueRange(layer)
    >>> seen.look()
    >>> seen.extremes is not None and abs(seen.extremes[1] - 1.0) < 1e-6
    True
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer if isinstance(layer, nn.RNN | SpectralRNN) else None
        self.extremes: tuple[float, float] | None = None

    def look(self) -> None:
        """Take the matrix as it is now into account; one that is not finite is left out."""
        if self._layer is None:
            return
        with torch.no_grad():
            layer = self._layer
            matrix = layer.weight_hh if isinstance(layer, SpectralRNN) else layer.get_parameter("weight_hh_l0")
            if not bool(torch.isfinite(matrix).all()):
                return
            values = torch.linalg.svdvals(matrix.double())
        low, high = float(values[-1]), float(values[0])
        if self.extremes is not None:
            low, high = min(low, self.extremes[0]), max(high, self.extremes[1])
        self.extremes = (low, high)
