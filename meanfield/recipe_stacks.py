"""Stacked and bidirectional recipes: every layer is designed for the states of the one below."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meanfield.design import Progress
from meanfield.inputs import Inputs, MeasuredInputs
from meanfield.network import Network
from meanfield.recipe_layers import LayerDesign, LayerRequest, design_layer
from meanfield.sampling.population import Layout, Population
from meanfield.solvers.threads import one_blas_thread

READ = 16  # sequences of states that the layer above is designed on
Float32 = NDArray[np.float32]


class _InOrder(MeasuredInputs):
    """Sequences that are read in the order in which they are, so that both directions read the same ones."""

    def draw(self, generator: np.random.Generator, sequences: int, steps: int) -> Float32:
        data = self.data
        assert data is not None
        return data[:sequences, :steps]


def designed_stack(
    request: LayerRequest,
    inputs: Inputs,
    *,
    layers: int,
    bidirectional: bool,
    progress: Progress | None = None,
) -> list[LayerDesign]:
    """Design all layers and directions, in PyTorch's order: forward, then reverse, of the lowest layer first.

    A layer above the first reads sequences of states of a population of the layer below, of the layer's own width; in
    bidirectional networks those of both directions side by side, as the frameworks do.
    """
    found: list[LayerDesign] = []
    directions: tuple[Literal["forward", "reverse"], ...] = ("forward", "reverse") if bidirectional else ("forward",)
    if layers == 1 and (not bidirectional or inputs.endless):
        forward = design_layer(request, inputs, progress=progress)
        return [replace(forward, direction=direction) for direction in directions]
    seeds = count(request.seed)
    read = sequences_read(inputs, request.seed, request.length)
    reading = inputs
    for layer in range(layers):
        designs = []
        for direction in directions:
            # In reverse the signal is no longer at the beginning: all steps may carry it.
            own = reading if direction == "forward" or reading.endless else as_measured(read[:, ::-1], None)
            asked = replace(request, seed=next(seeds))
            designs.append(design_layer(asked, own, layer=layer, direction=direction, progress=progress))
        found += designs
        if layer + 1 < layers:
            states = []
            for design in designs:
                given = read if design.direction == "forward" else read[:, ::-1]
                passed = states_of(design.network, given, hidden=request.hidden, seed=design.request.seed)
                states.append(passed if design.direction == "forward" else passed[:, ::-1])
            read = np.concatenate(states, axis=2)
            reading = as_measured(read, inputs.signal)
    return found


def states_of(network: Network, sequences: Float32, *, hidden: int, seed: int) -> Float32:
    """What a network of a given width passes on at every step, (sequences, steps, hidden).

    Args:
        network: of the layer.
        sequences: what it reads, (sequences, steps, inputs).
        hidden: its width.
        seed: of its weights.

    >>> import meanfield as mf
    >>> linear = mf.Network("vanilla", {"h": mf.Gate(input_gain=1.0)})
    >>> states_of(linear, np.zeros((2, 3, 4), np.float32), hidden=64, seed=0).shape
    (2, 3, 64)
    """
    total, steps, _ = sequences.shape
    population = Population(
        network.definition,
        network.laws,
        _InOrder(**vars(as_measured(sequences, None))),
        layout=Layout(1, total, hidden),
        steps=steps,
        seed=seed,
        orthogonal=network.nearly_orthogonal,
    )
    passed = np.empty((total, steps, hidden), np.float32)
    with one_blas_thread(), np.errstate(under="ignore"):
        for step in range(steps):
            population.advance()
            passed[:, step] = population.state[network.definition.output][0]
    return passed


def sequences_read(inputs: Inputs, seed: int, length: int) -> Float32:
    """Sequences of the inputs on whose states the layer above the first is designed, (sequences, steps, inputs)."""
    wanted = min(READ, inputs.sequences) if isinstance(inputs, MeasuredInputs) else READ
    return inputs.draw(np.random.default_rng([seed, 2000]), wanted, length)


def as_measured(sequences: Float32, signal: int | None) -> MeasuredInputs:
    """Sequences as the inputs of a layer."""
    return Inputs.from_data(np.ascontiguousarray(sequences), signal=signal)
