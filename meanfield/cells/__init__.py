"""The cells, one a file, and their registry.

A cell of one's own is a subclass of :class:`Cell` that is registered; everything else then works on it:

>>> from meanfield.cells import Cell, register, find
>>> from meanfield.activations import gate
>>> class Switch(Cell):
...     '''s = σ(u): a network of sigmoidal units.'''
...     name, gates, keep_gate = "switch", ("h",), None
...     def update(self, state, fields, drives):
...         return (gate(fields["h"] + drives["h"])[0],)
...     def circuit(self, state, fields, drives):
...         return self.simple_circuit(((0.0,),), ((gate(fields["h"] + drives["h"])[2],),))
>>> register(Switch())
>>> import meanfield as mf
>>> network = mf.Network("switch", {"h": mf.Gate(recurrent_gain=1.0, input_gain=1.0)})
>>> find("switch").gates
('h',)
>>> unregister("switch")
"""

from __future__ import annotations

from meanfield.cells.cell import Cell
from meanfield.cells.cifg_lstm import CoupledLSTM
from meanfield.cells.gru import GRU
from meanfield.cells.gru_reset_after import GRUResetAfter
from meanfield.cells.janet import Janet
from meanfield.cells.leaky import Leaky
from meanfield.cells.lstm import LSTM
from meanfield.cells.minimal import Minimal
from meanfield.cells.peephole_lstm import PeepholeLSTM
from meanfield.cells.vanilla import Vanilla, VanillaErf, VanillaRelu
from meanfield.errors import InvalidInput

__all__ = ["Cell", "find", "names", "register", "unregister"]

_REGISTRY: dict[str, Cell] = {}


def register(cell: Cell) -> None:
    """Make a cell known by its name.

    Raises:
        InvalidInput: if the name is taken by another class, or a field or input gate names no gate.
    """
    taken = _REGISTRY.get(cell.name)
    if taken is not None and type(taken) is not type(cell):
        raise InvalidInput(f"cell name {cell.name!r} is already taken by {type(taken).__name__}; choose another")
    unknown = ({field.gate for field in cell.fields} | set(cell.input_gates)) - set(cell.gates)
    if unknown:
        raise InvalidInput(f"cell {cell.name!r} refers to gates that it does not have: {', '.join(sorted(unknown))}")
    _REGISTRY[cell.name] = cell


def unregister(name: str) -> None:
    """Forget a cell that was registered."""
    _REGISTRY.pop(name, None)


def find(name: str) -> Cell:
    """The cell of this name.

    Raises:
        InvalidInput: if there is none; the message lists those there are.
    """
    try:
        return _REGISTRY[name]
    except (KeyError, TypeError):
        raise InvalidInput(f"cell: unknown cell {name!r}; known cells are {', '.join(names())}") from None


def names() -> tuple[str, ...]:
    """Names of all registered cells."""
    return tuple(_REGISTRY)


for _cell in (
    Vanilla(),
    VanillaErf(),
    VanillaRelu(),
    Leaky(),
    Minimal(),
    GRU(),
    GRUResetAfter(),
    PeepholeLSTM(),
    LSTM(),
    CoupledLSTM(),
    Janet(),
):
    register(_cell)
