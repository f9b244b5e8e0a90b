"""A network on many samples at once, bit for bit as the reference computes each."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from memaopt.networks.batched.steps import step_of, stored
from memaopt.networks.graph import Graph

Array = npt.NDArray[Any]

_MOST = 32
"""Samples that are computed together: more are no faster."""
_ELEMENTS = 1 << 22
"""Of a tensor of all samples together."""


class Batched:
    """The executor of a network. What is kept from run to run is inputs and outputs, as in the reference."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._steps = [step_of(graph, op) for op in graph.operators]
        widest = max(graph.tensors[index].elements for index in graph.activations)
        self._together = min(_MOST, max(1, _ELEMENTS // max(1, widest)))

    def parts(self, samples: Array) -> Iterator[Array]:
        """The samples, as many at a time as are best computed together."""
        for first in range(0, len(samples), self._together):
            yield samples[first : first + self._together]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs, each [n, *its shape], for inputs [n, ...] of their tensors' types and elements."""
        graph = self._graph
        shapes = [graph.tensors[index].shape for index in graph.inputs]
        given = (value.reshape(-1, *shape) for value, shape in zip(inputs, shapes, strict=True))
        values = dict(zip(graph.inputs, given, strict=True))
        for position, (op, step) in enumerate(zip(graph.operators, self._steps, strict=True)):
            values[op.output] = step([values[i] if i in values else graph.tensors[i].values for i in op.inputs])
            for index in op.inputs:
                if index not in graph.outputs and graph.consumers[index][-1] == position:
                    values.pop(index, None)
        return [stored(graph, index, values[index]) for index in graph.outputs]


def run_elsewhere(graph: bytes, samples: Array) -> Array:
    """The output of a network of one input and one output, in another process: that is sent the pickled graph each
    time, and makes its executor once."""
    return _made(graph).run([samples])[0]


@lru_cache(maxsize=1)
def _made(graph: bytes) -> Batched:
    return Batched(pickle.loads(graph))
