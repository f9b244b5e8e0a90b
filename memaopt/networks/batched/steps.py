"""How an operator is computed for many samples at once.

Values are arrays [samples, *shape]: float32 that holds int8 between these steps, or what the tensor's type is in numpy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks import reference
from memaopt.networks.batched.rounding import rounder
from memaopt.networks.batched.sums import sums_of
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Operator
from memaopt.networks.operators.elementwise import Elementwise
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.pool import Pool2D
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.softmax import Softmax
from memaopt.networks.operators.weighted import Weighted

Array = npt.NDArray[Any]
Step = Callable[[Sequence[Array]], Array]


def step_of(graph: Graph, op: Operator) -> Step:
    """What computes ``op``'s output for the values of its inputs; constants among them have no axis of samples."""
    bytes_alone = all(t.dtype is DType.INT8 for t in (graph.tensor_of(op), graph.output_of(op)))
    made = _fast(graph, op) if bytes_alone else None
    return made or _one_by_one(graph, op)


def _fast(graph: Graph, op: Operator) -> Step | None:
    if isinstance(op, Reshape):
        return _reshaped(graph, op)
    if isinstance(op, Weighted):
        return _weighted(graph, op)
    if isinstance(op, Elementwise) and op.decider(graph) is not None:
        return _looked_up(graph, op)
    if isinstance(op, Pairwise):
        return _paired(graph, op)
    return _widened(graph, op) if isinstance(op, Pool2D | Softmax) else None


def stored(graph: Graph, index: int, values: Array) -> Array:
    """Values of a tensor in its own type."""
    return values.astype(graph.tensors[index].dtype.numpy, copy=False)


def _one_by_one(graph: Graph, op: Operator) -> Step:
    """Each sample by the reference."""
    constant = [graph.tensors[i].is_constant for i in op.inputs]

    def computed(arguments: Sequence[Array]) -> Array:
        values = [stored(graph, i, value) for i, value in zip(op.inputs, arguments, strict=True)]
        count = next(len(v) for v, fixed in zip(values, constant, strict=True) if not fixed)
        each = ([v if fixed else v[n] for v, fixed in zip(values, constant, strict=True)] for n in range(count))
        return np.stack([reference.evaluate(graph, op, one) for one in each])

    return computed


def _reshaped(graph: Graph, op: Operator) -> Step | None:
    shape = graph.output_of(op).shape
    return None if graph.tensor_of(op).is_constant else lambda arguments: arguments[0].reshape(-1, *shape)


def _weighted(graph: Graph, op: Weighted) -> Step | None:
    sums, shape = sums_of(graph, op), graph.output_of(op).shape
    if sums is None:
        return None
    rounded = rounder(sums.requantization, sums.constants)
    return lambda arguments: rounded(sums.products(arguments[0])).reshape(-1, *shape)


def _looked_up(graph: Graph, op: Elementwise) -> Step:
    table, shape = op.table(graph).astype(np.float32), graph.output_of(op).shape
    position = op.inputs.index(op.decider(graph))

    def computed(arguments: Sequence[Array]) -> Array:
        return table.take(arguments[position].astype(np.intp) + 128).reshape(-1, *shape)

    return computed


def _paired(graph: Graph, op: Pairwise) -> Step | None:
    """A table of all pairs of bytes, for two tensors of the output's shape."""
    tensors, output = [graph.tensors[i] for i in op.inputs], graph.output_of(op)
    if any(t.is_constant or t.dtype is not DType.INT8 or t.shape != output.shape for t in tensors):
        return None
    every = [EVERY_INT8.reshape(-1, 1), EVERY_INT8.reshape(1, -1)]
    changed = list(graph.tensors)
    for index, values in zip(op.inputs, every, strict=True):
        changed[index] = dataclasses.replace(changed[index], shape=values.shape)
    changed[op.output] = dataclasses.replace(output, shape=(256, 256))
    small = Graph(graph.name, tuple(changed), (op,), op.inputs, op.outputs)
    table = op.evaluate(small, every).reshape(-1).astype(np.float32)

    def computed(arguments: Sequence[Array]) -> Array:
        pairs = arguments[0].astype(np.float32) * np.float32(256)
        pairs += arguments[1]
        pairs += np.float32(128 * 257)
        return table.take(pairs.astype(np.intp))

    return computed


def _widened(graph: Graph, op: Operator) -> Step | None:
    """By the operator itself, with the samples along the first axis; it treats each index of that alike."""
    shapes = [graph.tensor_of(op).shape, graph.output_of(op).shape]
    if any(len(shape) < 2 or shape[0] != 1 for shape in shapes):
        return None
    shape = shapes[1]

    def computed(arguments: Sequence[Array]) -> Array:
        values = stored(graph, op.input, arguments[0]).reshape(-1, *arguments[0].shape[2:])
        changed = list(graph.tensors)
        for index in (op.input, op.output):
            changed[index] = dataclasses.replace(changed[index], shape=(len(values), *changed[index].shape[1:]))
        wide = Graph(graph.name, tuple(changed), (op,), (op.input,), op.outputs)
        return op.evaluate(wide, [values]).reshape(-1, *shape)

    return computed
