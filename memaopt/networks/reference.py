"""Executes a network as TFLite's reference kernels do, bit for bit, in numpy.

What each operator computes is in its file. Everything is integer arithmetic on int64 (or exact sums in float64), so
nothing depends on the machine, save the tables of LOGISTIC and TANH, which TFLite too takes from the C library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator

Array = npt.NDArray[Any]


def evaluate(graph: Graph, op: Operator, arguments: Sequence[Array]) -> Array:
    """The operator's output, of the output tensor's shape and type, for the values of its inputs in order."""
    output = graph.output_of(op)
    result = op.evaluate(graph, arguments)
    return np.ascontiguousarray(result.reshape(output.shape), dtype=output.dtype.value)


def layers(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[Operator, Array]]:
    """Each operator in execution order with its output. Values are dropped after their last reader.

    ``inputs`` are in the order of ``graph.inputs``; InputError unless shapes and types are the tensors'.
    """
    values = _bind(graph, inputs)
    for position, op in enumerate(graph.operators):
        arguments = [_value(graph, values, index) for index in op.inputs]
        output = evaluate(graph, op, arguments)
        values[op.output] = output
        yield op, output
        for index in op.inputs:
            if index not in graph.outputs and graph.consumers[index][-1] == position:
                values.pop(index, None)


def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of the network, in the order of ``graph.outputs``."""
    values = _bind(graph, inputs)
    for op, output in layers(graph, inputs):
        if op.output in graph.outputs:
            values[op.output] = output
    return [values[index] for index in graph.outputs]


def runs(
    graph: Graph, inputs: Iterable[Sequence[Array]], kept: Sequence[Array] | None = None
) -> Iterator[tuple[list[Array], list[Array]]]:
    """One run after another: all that each is given, the states behind its inputs, and all that it gives.

    ``kept``: what each state holds at first, in all its copies, where that is not its initial value.
    """
    first = [state.initial for state in graph.states] if kept is None else kept
    held = [[value] * state.copies for state, value in zip(graph.states, first, strict=True)]
    for number, values in enumerate(inputs):
        given = [*values, *(copies[number % len(copies)] for copies in held)]
        found = run(graph, given)
        yield given, found
        for copies, value in zip(held, found[len(graph.wanted) :], strict=True):
            copies[number % len(copies)] = value


def _bind(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    if len(inputs) != len(graph.inputs):
        raise InputError(f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    for index, value in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[index]
        if value.shape != tensor.shape or value.dtype != np.dtype(tensor.dtype.value):
            found = f"{value.dtype}{list(value.shape)}"
            raise InputError(f"input {tensor.name!r} of {graph.name} is {tensor.describe()}, not {found}")
    return dict(zip(graph.inputs, inputs, strict=True))


def _value(graph: Graph, values: Mapping[int, Array], index: int) -> Array:
    tensor = graph.tensors[index]
    return values[index] if tensor.data is None else tensor.data
