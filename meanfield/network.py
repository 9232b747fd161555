"""What a user describes: gates and networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from meanfield.errors import InvalidInput
from meanfield.weight_ensembles import Ensemble, as_ensemble

if TYPE_CHECKING:
    from meanfield.cells.cell import Cell

_NARROW = 0.05  # spread of squared singular values up to which matrices count as orthogonal
_DEVIATIONS = ("recurrent_gain", "input_gain", "bias_std", "recurrent_bias_std")


@dataclass(frozen=True)
class Gate:
    """Laws of one gate's weights and biases (theory, section 1).

    Attributes:
        recurrent_gain: σ; recurrent weights are N(0, σ²/N), or of another ensemble times σ.
        input_gain: ν; input weights are N(0, ν²/M).
        bias_mean: μ, of the whole bias.
        bias_std: ρ, its spread over units.
        recurrent_bias_mean: mean of the second bias of gate h of gru_reset_after, b_hn.
        recurrent_bias_std: its spread.

    Raises:
        InvalidInput: if a number is not finite, or a gain or spread is negative.

    >>> Gate(recurrent_gain=-1.0)
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: recurrent_gain: must not be negative, got -1.0
    """

    recurrent_gain: float = 0.0
    input_gain: float = 0.0
    bias_mean: float = 0.0
    bias_std: float = 0.0
    recurrent_bias_mean: float = 0.0
    recurrent_bias_std: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidInput(f"{each.name}: must be a number, got {value!r}")
            if not math.isfinite(value):
                raise InvalidInput(f"{each.name}: must be finite, got {value!r}")
            if each.name in _DEVIATIONS and value < 0:
                raise InvalidInput(f"{each.name}: must not be negative, got {value!r}")

    def as_json(self) -> dict[str, float]:
        """All laws by name; the second bias only where there is one."""
        values = {each.name: float(getattr(self, each.name)) for each in fields(self)}
        if values["recurrent_bias_mean"] == values["recurrent_bias_std"] == 0.0:
            del values["recurrent_bias_mean"], values["recurrent_bias_std"]
        return values


@dataclass(frozen=True)
class Network:
    """A recurrent network: its cell and the laws of its gates.

    Attributes:
        cell: name of the cell, one of :func:`meanfield.cells.names`.
        gates: the law of every gate of that cell.
        ensemble: law of the recurrent matrices of all gates at σ = 1: an :class:`meanfield.Ensemble` or its name,
            "gaussian", "orthogonal" or "svd"; Gaussian by default.

    Raises:
        InvalidInput: if the cell, a gate or the ensemble is unknown, a gate is missing, or a gate is given a weight
            that it does not have.

    >>> Network("lstm", {"i": Gate()})
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: gates: cell lstm needs gates i, f, g, o; missing f, g, o
    """

    cell: str
    gates: Mapping[str, Gate] = field(default_factory=dict)
    ensemble: Ensemble | str = "gaussian"

    def __post_init__(self) -> None:
        definition = self.definition
        wanted = ", ".join(definition.gates)
        if not isinstance(self.gates, Mapping):
            raise InvalidInput(f"gates: must be a mapping from gate names to gates, got {self.gates!r}")
        unknown = [str(name) for name in self.gates if name not in definition.gates]
        if unknown:
            raise InvalidInput(f"gates: cell {self.cell} has gates {wanted}; unknown {', '.join(unknown)}")
        missing = [name for name in definition.gates if name not in self.gates]
        if missing:
            raise InvalidInput(f"gates: cell {self.cell} needs gates {wanted}; missing {', '.join(missing)}")
        object.__setattr__(self, "ensemble", as_ensemble(self.ensemble))
        used = {(each.gate, each.gain) for each in definition.fields}
        used |= {(name, "input_gain") for name in definition.input_gates}
        for name, gate in self.gates.items():
            if not isinstance(gate, Gate):
                raise InvalidInput(f"gates.{name}: must be a Gate, got {gate!r}")
            for gain in ("recurrent_gain", "input_gain"):
                if getattr(gate, gain) != 0.0 and (name, gain) not in used:
                    matrix = gain.removesuffix("_gain")
                    raise InvalidInput(f"gates.{name}.{gain}: this gate has no {matrix} matrix, so this must be 0")
            second = gate.recurrent_bias_mean != 0.0 or gate.recurrent_bias_std != 0.0
            if second and name not in definition.recurrent_bias_gates:
                raise InvalidInput(f"gates.{name}.recurrent_bias_mean: this gate has no second bias, so this must be 0")
        object.__setattr__(self, "gates", MappingProxyType({name: self.gates[name] for name in definition.gates}))

    def __hash__(self) -> int:
        return hash((self.cell, tuple(self.gates.items()), self.ensemble))

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapping proxies do not pickle.
        return Network, (self.cell, dict(self.gates), self.ensemble)

    @property
    def definition(self) -> Cell:
        """The cell itself."""
        from meanfield.cells import find

        return find(self.cell)

    @property
    def matrices(self) -> Ensemble:
        """The ensemble of the recurrent matrices."""
        return as_ensemble(self.ensemble)

    @property
    def laws(self) -> Mapping[str, Gate]:
        """Gates of the Gaussian network whose states and gradients are the same as N → ∞.

        Matrices that are invariant under rotations from both sides act on vectors that do not depend on them as
        Gaussian ones of the same mean square do (docs/ensembles.md): the gain is σ √(E tr W Wᵀ/N).

        >>> doubled = Network("vanilla", {"h": Gate(recurrent_gain=1.0)}, Ensemble("svd", centre=2.0))
        >>> round(doubled.laws["h"].recurrent_gain, 6)
        2.000008
        """
        scale = math.sqrt(self.matrices.moments()[0])
        if scale == 1.0:
            return self.gates
        return {name: replace(gate, recurrent_gain=scale * gate.recurrent_gain) for name, gate in self.gates.items()}

    @property
    def spread_of_matrices(self) -> float:
        """κ = E tr (W Wᵀ)²/N over (E tr W Wᵀ/N)² less 1: 1 of Gaussian matrices, 0 of orthogonal ones.

        >>> Network("vanilla", {"h": Gate(recurrent_gain=3.0)}).spread_of_matrices
        1.0
        """
        first, second = self.matrices.moments()
        return second / first**2 - 1.0 if first > 0.0 else 0.0

    @property
    def nearly_orthogonal(self) -> bool:
        """Whether populations take the matrices as orthogonal at finite width; as N → ∞ it does not matter."""
        return self.spread_of_matrices < _NARROW

    def as_json(self) -> dict[str, Any]:
        """The content of a network file."""
        return {
            "cell": self.cell,
            "gates": {name: gate.as_json() for name, gate in self.gates.items()},
            "ensemble": self.matrices.as_json(),
        }
