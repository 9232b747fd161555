"""What frameworks do when nobody says how to initialise: the laws of their defaults."""

from __future__ import annotations

import math
from collections.abc import Callable

from meanfield.errors import InvalidInput
from meanfield.network import Gate, Network


def framework_default(cell: str, *, hidden: int, inputs: int, framework: str | None = None) -> Network:
    """The network that a framework's layer is when constructed by default.

    Args:
        cell: name of the cell.
        hidden: width N, which PyTorch's law depends on.
        inputs: input size M.
        framework: ``"pytorch"``, ``"keras"`` or ``"flax"``; by default PyTorch, and Keras for the gru with its reset
            before.

    Returns:
        The laws as gains. Uniform and orthogonal weights are given by their variance: as N → ∞ only it matters for
        gated cells.

    Raises:
        InvalidInput: if the framework is unknown or has no such layer.

    >>> round(framework_default("lstm", hidden=256, inputs=28).gates["i"].recurrent_gain ** 2, 4)
    0.3333
    """
    name = framework if framework is not None else default_framework(cell)
    makers = _DEFAULTS.get(name)
    if makers is None:
        raise InvalidInput(f"framework: must be one of {', '.join(_DEFAULTS)}, got {name!r}")
    if cell not in makers:
        raise InvalidInput(f"framework: {name} has no layer for cell {cell!r}; it has {', '.join(makers)}")
    return Network(cell, makers[cell](hidden, inputs))


def default_framework(cell: str) -> str:
    """The framework whose default a recipe of this cell is set beside."""
    return "keras" if cell == "gru" else "pytorch"


def frameworks_of(cell: str) -> tuple[str, ...]:
    """Frameworks that have a layer of this cell.

    >>> frameworks_of("lstm"), frameworks_of("gru"), frameworks_of("janet")
    (('pytorch', 'keras', 'flax'), ('keras',), ())
    """
    return tuple(name for name, makers in _DEFAULTS.items() if cell in makers)


def _pytorch_lstm(hidden: int, inputs: int) -> dict[str, Gate]:
    # All weights and both biases are uniform on ±1/√N, variance 1/(3N).
    gate = _pytorch_gate(hidden, inputs, biases=2)
    return dict.fromkeys("ifgo", gate)


def _pytorch_gru(hidden: int, inputs: int) -> dict[str, Gate]:
    gate = _pytorch_gate(hidden, inputs, biases=2)
    single = math.sqrt(1.0 / (3.0 * hidden))
    new = Gate(gate.recurrent_gain, gate.input_gain, 0.0, single, 0.0, single)
    return {"f": gate, "r": gate, "h": new}


def _pytorch_vanilla(hidden: int, inputs: int) -> dict[str, Gate]:
    return {"h": _pytorch_gate(hidden, inputs, biases=2)}


def _pytorch_gate(hidden: int, inputs: int, *, biases: int) -> Gate:
    return Gate(
        recurrent_gain=math.sqrt(1.0 / 3.0),
        input_gain=math.sqrt(inputs / (3.0 * hidden)),
        bias_std=math.sqrt(biases / (3.0 * hidden)),
    )


def _keras_gates(hidden: int, inputs: int, names: str) -> dict[str, Gate]:
    # Orthogonal over the fused N × kN recurrent kernel, Glorot uniform over the fused M × kN input kernel, no biases.
    count = len(names)
    recurrent = math.sqrt(1.0 / count)
    drive = math.sqrt(2.0 * inputs / (inputs + count * hidden))
    return dict.fromkeys(names, Gate(recurrent_gain=recurrent, input_gain=drive))


def _keras_lstm(hidden: int, inputs: int) -> dict[str, Gate]:
    gates = _keras_gates(hidden, inputs, "ifgo")
    kept = gates["f"]
    return gates | {"f": Gate(kept.recurrent_gain, kept.input_gain, bias_mean=1.0)}


def _keras_gru(hidden: int, inputs: int) -> dict[str, Gate]:
    return _keras_gates(hidden, inputs, "frh")


def _keras_vanilla(hidden: int, inputs: int) -> dict[str, Gate]:
    return _keras_gates(hidden, inputs, "h")


def _flax_gates(names: str) -> dict[str, Gate]:
    # flax.linen: LSTMCell, GRUCell and SimpleCell have a matrix a gate, orthogonal and N × N, LeCun normal and M × N;
    # no biases. nnx.GRUCell and nnx.OptimizedLSTMCell fuse their recurrent matrices instead, as Keras does.
    return dict.fromkeys(names, Gate(recurrent_gain=1.0, input_gain=1.0))


def _flax_lstm(hidden: int, inputs: int) -> dict[str, Gate]:
    return _flax_gates("ifgo")


def _flax_gru(hidden: int, inputs: int) -> dict[str, Gate]:
    return _flax_gates("frh")


def _flax_vanilla(hidden: int, inputs: int) -> dict[str, Gate]:
    return _flax_gates("h")


_DEFAULTS: dict[str, dict[str, Callable[[int, int], dict[str, Gate]]]] = {
    "pytorch": {
        "lstm": _pytorch_lstm,
        "gru_reset_after": _pytorch_gru,
        "vanilla": _pytorch_vanilla,
        "vanilla_relu": _pytorch_vanilla,
    },
    "keras": {
        "lstm": _keras_lstm,
        "gru_reset_after": _keras_gru,
        "gru": _keras_gru,
        "vanilla": _keras_vanilla,
    },
    "flax": {
        "lstm": _flax_lstm,
        "gru_reset_after": _flax_gru,
        "vanilla": _flax_vanilla,
    },
}
