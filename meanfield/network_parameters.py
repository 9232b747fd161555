"""Single parameters of a network by their names: "h.recurrent_gain", "f.bias_mean", "*.input_gain"."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike

from meanfield.checks import check_number
from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network

_LAWS = tuple(each.name for each in fields(Gate))
_ANY_SIGN = ("bias_mean", "recurrent_bias_mean")


@dataclass(frozen=True)
class NetworkParameter:
    """One number of the laws of one gate, or of all gates that have it.

    Attributes:
        name: a gate, or * for all gates that have the law, a dot, and the name of a law of :class:`Gate`.
        gates: which gates.
        law: which law.
    """

    name: str
    gates: tuple[str, ...]
    law: str

    @classmethod
    def named(cls, network: Network, name: str, argument: str = "parameter") -> NetworkParameter:
        """A parameter of a network.

        Raises:
            InvalidInput: if the network has no such parameter; the message lists those it has.

        >>> import meanfield as mf
        >>> network = mf.Network("janet", {"f": mf.Gate(), "g": mf.Gate()})
        >>> NetworkParameter.named(network, "*.input_gain").gates
        ('f', 'g')
        >>> NetworkParameter.named(network, "f.gain")
        Traceback (most recent call last):
            ...
        meanfield.errors.InvalidInput: parameter: must be one of f.recurrent_gain, ..., or * for all ..., got 'f.gain'
        """
        having = _having(network)
        gate, _, law = name.partition(".") if isinstance(name, str) else ("", "", "")
        found = tuple(each for each in having.get(law, ()) if gate in (each, "*"))
        if not found:
            allowed = ", ".join(f"{each}.{law}" for law, gates in having.items() for each in gates)
            raise InvalidInput(f"{argument}: must be one of {allowed}, or * for all gates that have it, got {name!r}")
        return cls(name, found, law)

    @property
    def lowest(self) -> float:
        """The least value that makes sense."""
        return float("-inf") if self.law in _ANY_SIGN else 0.0

    def checked(self, values: ArrayLike, argument: str, *, ascending: bool = False) -> list[float]:
        """Values that the parameter is to take one after the other, one at least.

        Raises:
            InvalidInput: if they are not a list of numbers that make sense, ascending if they are to be; the message
                begins with the name of the argument.

        >>> import meanfield as mf
        >>> parameter = NetworkParameter.named(mf.Network("vanilla", {"h": mf.Gate()}), "h.bias_std")
        >>> parameter.checked([0, 0.5], "values")
        [0.0, 0.5]
        >>> parameter.checked([-1.0], "values")
        Traceback (most recent call last):
            ...
        meanfield.errors.InvalidInput: values (h.bias_std): must be at least 0, got -1.0
        """
        try:
            found = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidInput(f"{argument}: must be numbers, got {values!r}") from None
        if found.ndim != 1 or not len(found) or (ascending and not np.all(np.diff(found) > 0.0)):
            allowed = "ascending numbers" if ascending else "one number or more"
            raise InvalidInput(f"{argument}: must be a list of {allowed}, got {values!r}")
        for each in found:
            check_number(f"{argument} ({self.name})", float(each), self.lowest, float("inf"))
        return [float(each) for each in found]

    def applied(self, network: Network, value: float) -> Network:
        """The network with this parameter changed.

        >>> import meanfield as mf
        >>> network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=1.0)})
        >>> NetworkParameter.named(network, "h.bias_std").applied(network, 0.5).gates["h"].bias_std
        0.5
        """
        changed = {each: replace(network.gates[each], **{self.law: value}) for each in self.gates}
        return replace(network, gates={**network.gates, **changed})

    def shares(self, other: NetworkParameter) -> bool:
        """Whether another parameter moves the same number."""
        return self.law == other.law and bool(set(self.gates) & set(other.gates))


def _having(network: Network) -> dict[str, tuple[str, ...]]:
    """Which gates have which law."""
    cell = network.definition
    matrices = {(each.gate, each.gain) for each in cell.fields} | {(name, "input_gain") for name in cell.input_gates}
    found = {}
    for law in _LAWS:
        if law in ("recurrent_gain", "input_gain"):
            gates = tuple(name for name in cell.gates if (name, law) in matrices)
        elif law.startswith("recurrent_bias"):
            gates = tuple(name for name in cell.gates if name in cell.recurrent_bias_gates)
        else:
            gates = cell.gates
        if gates:
            found[law] = gates
    return found
