"""The recurrent gain at which an autonomous network leaves its quiet state (Can et al. 2020; theory, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meanfield.autonomous_states import constant_power, quiet_state
from meanfield.cells import find
from meanfield.errors import Infeasible, InvalidInput, NotConverged
from meanfield.estimate import Estimate
from meanfield.inputs import Inputs
from meanfield.network import Gate, Network
from meanfield.network_parameters import NetworkParameter
from meanfield.solvers.level_crossings import level_crossings

_CANDIDATES = ("h", "g")  # gates that make what is written
_HIGHEST = 4096.0
_POINTS = 9
_ARGUMENT = "critical_gain"

BiasLaws = float | Mapping[str, float] | None


def critical_gain(
    cell: str,
    *,
    parameter: str | None = None,
    bias_std: BiasLaws = None,
    bias_mean: BiasLaws = None,
    network: Network | None = None,
    inputs: Inputs | None = None,
) -> Estimate:
    """The recurrent gain at which the zero state, or what biases make of it, loses its stability.

    That is where ρ(M(1)) = 1 at the fixed point that there is at small gains, which is followed as the gain grows.

    Args:
        cell: name of a cell.
        parameter: the gain that is varied, "h.recurrent_gain" say; by default that of the candidate, gate h or g.
        bias_std: spreads of biases: of all gates, or by gate; those of the network by default.
        bias_mean: means of biases, likewise.
        network: everything else; recurrent gains of one and no biases by default.
        inputs: power of an input that is the same at every step; none by default.

    Returns:
        The gain and a bound on its error.

    Raises:
        InvalidInput: if an argument makes no sense.
        Infeasible: if the state stays stable at all gains, is not stable at any, or ends before it loses its stability.
        NotConverged: if an integral does not converge.

    >>> from meanfield.critical_gains import critical_gain
    >>> [round(critical_gain(cell).value, 9) for cell in ("vanilla", "gru", "gru_reset_after", "lstm")]
    [1.0, 2.0, 2.0, 2.0]
    >>> round(critical_gain("lstm", bias_mean={"f": 4.0}).value, 9)  # 4 (1 - f)
    0.07194484
    """
    base = _base(cell, network, bias_std=bias_std, bias_mean=bias_mean)
    power = constant_power(inputs)
    varied = _parameter(base, parameter)

    def radius(gain: float) -> tuple[float, float]:
        found = quiet_state(varied.applied(base, gain), power).radius
        return found.value, found.error

    high = 1.0
    while (reached := _radius_or_end(radius, high)) is not None and reached < 1.0:
        high *= 2.0
        if high > _HIGHEST:
            raise Infeasible(f"{varied.name}: the state is stable up to {_HIGHEST:g}, where ρ(M(1)) is {reached:.4g}")
    try:
        met = level_crossings(radius, 1.0, 0.0, high, points=_POINTS)
    except ArithmeticError as failure:
        raise NotConverged(f"{varied.name}: ρ(M(1)): {failure}") from failure
    first = min((each.place for each in met.crossings), default=high)
    for jump in met.jumps:
        if jump.place < first:
            raise Infeasible(f"{varied.name}: the state ends at {jump.place:.6g} before it loses its stability")
    if not met.crossings:
        if met.gaps:
            raise Infeasible(f"{varied.name}: the state ends at {met.gaps[0].low:.6g} before it loses its stability")
        raise Infeasible(f"{varied.name}: the state is not stable at any gain; ρ(M(1)) is at least {met.lowest:.4g}")
    return Estimate(met.crossings[0].place, met.crossings[0].error)


def _radius_or_end(radius: object, gain: float) -> float | None:
    try:
        return float(radius(gain)[0])  # type: ignore[operator]
    except NotConverged:
        return None


def _base(cell: str, network: Network | None, **biases: BiasLaws) -> Network:
    definition = find(cell)
    if network is None:
        having = {each.gate for each in definition.fields if each.gain == "recurrent_gain"}
        network = Network(cell, {name: Gate(recurrent_gain=float(name in having)) for name in definition.gates})
    if network.cell != cell:
        raise InvalidInput(f"network: must be of cell {cell!r}, got {network.cell!r}")
    gates = dict(network.gates)
    for law, values in biases.items():
        if values is None:
            continue
        by_gate = values if isinstance(values, Mapping) else dict.fromkeys(gates, values)
        for name, value in by_gate.items():
            if name not in gates:
                raise InvalidInput(f"{law}: cell {cell} has gates {', '.join(gates)}; got {name!r}")
            gates[name] = replace(gates[name], **{law: value})
    return replace(network, gates=gates)


def _parameter(network: Network, name: str | None) -> NetworkParameter:
    if name is not None:
        found = NetworkParameter.named(network, name)
        if found.law != "recurrent_gain":
            raise InvalidInput(f"parameter: must be a recurrent gain, got {name!r}")
        return found
    for gate in _CANDIDATES:
        if gate in network.gates:
            return NetworkParameter.named(network, f"{gate}.recurrent_gain")
    raise InvalidInput(f"parameter: say which recurrent gain of cell {network.cell!r} is to be varied")
