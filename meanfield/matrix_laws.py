"""What spectra need to know of a network's recurrent matrices beyond their gains."""

from __future__ import annotations

from meanfield.network import Network
from meanfield.solvers.free_laws import PositiveLaw
from meanfield.weight_ensembles import as_ensemble


def matrix_law(network: Network) -> PositiveLaw:
    """The law of the squared singular values of the recurrent matrices at recurrent gain one.

    >>> import meanfield as mf
    >>> matrix_law(mf.Network("vanilla", {"h": mf.Gate(1.5)}))
    MarchenkoPastur(ratio=1.0, variance=1.0)
    """
    return as_ensemble(network.ensemble).law(1.0)


def fourth_cumulant(network: Network) -> float:
    """κ = E s⁴/(E s²)² - 2 of their singular values s: 0 for Gaussian matrices, -1 for orthogonal ones.

    >>> import meanfield as mf
    >>> fourth_cumulant(mf.Network("vanilla", {"h": mf.Gate(1.5)}))
    0.0
    """
    first, second = as_ensemble(network.ensemble).moments()
    return second / first**2 - 2.0 if first > 0.0 else 0.0
