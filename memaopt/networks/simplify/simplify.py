"""Exact simplification: the network computes the same bytes with less work.

Each rewrite is exact by construction: constants are computed by the reference kernels, an operator goes only if
its table over all inputs is the identity, padding moves only where it adds zeros, and element-wise work is fused
(:mod:`memaopt.networks.tables`) where all 256 values come out the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from memaopt.networks import checks, limits, reference, shapes, tables
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator, Padding2D
from memaopt.networks.reference import layout
from memaopt.networks.simplify import channels


@dataclass(frozen=True, eq=False)
class Simplified:
    """The simpler network and what was done, one line for each rewrite.

    Tensors keep their indices. ``kept`` has, for each activation that lost channels, the original channels that
    its last axis has now, in order.
    """

    graph: Graph
    steps: tuple[str, ...]
    kept: dict[int, tuple[int, ...]] = field(default_factory=dict)


def simplify(graph: Graph, *, drop_channels: bool = True, multiple: int = 1) -> Simplified:
    """Apply every rewrite. ``multiple``: kept channels stay a multiple of it where channels are dropped."""
    steps: list[str] = []
    for rewrite in (
        fold_constants,
        tables.fuse_tables,
        drop_identities,
        tables.fold_clamps,
        tables.fold_tables,
        fold_padding,
        drop_dead_code,
    ):
        graph = rewrite(graph, steps.append)
    kept: dict[int, tuple[int, ...]] = {}
    if drop_channels:
        graph, kept = channels.drop_channels(graph, steps.append, multiple=multiple)
    checks.check(graph)
    return Simplified(graph, tuple(steps), kept)


Report = Callable[[str], None]


def fold_constants(graph: Graph, report: Report) -> Graph:
    """Compute operators all of whose inputs are constants."""
    tensors = list(graph.tensors)
    remaining: list[Operator] = []
    for op in graph.operators:
        small = shapes.macs(graph, op) <= limits.MAX_FOLDED_MACS
        if small and op.output not in graph.outputs and all(tensors[i].is_constant for i in op.inputs):
            value = reference.evaluate(graph, op, [tensors[i].values for i in op.inputs])
            tensors[op.output] = dataclasses.replace(tensors[op.output], data=value)
            report(f"{graph.place(op)}: computed once, its inputs are constants")
        else:
            remaining.append(op)
    return graph.replace(tensors=tensors, operators=remaining)


def is_identity(graph: Graph, op: Operator) -> bool:
    """Whether the operator's output has its input's bytes, in their order, whatever they are."""
    x, y = graph.tensor_of(op), graph.output_of(op)
    match op:
        case ops.Reshape():
            return False  # already costs nothing
        case ops.Transpose():
            order = [axis for axis in op.permutation if x.shape[axis] > 1]
            return order == sorted(order)
        case ops.StridedSlice():
            return all(s.length == n and (s.step == 1 or n == 1) for s, n in zip(op.slices, x.shape, strict=True))
        case ops.Concatenation() | ops.Pad():
            return len(op.inputs) == 1 and x.elements == y.elements
        case ops.ResizeNearestNeighbor():
            axes = zip(x.shape[1:3], y.shape[1:3], strict=True)
            return all(layout.nearest_indices(a, b, op) == list(range(a)) for a, b in axes)
        case ops.AveragePool2D() | ops.MaxPool2D():
            one = op.kernel == ops.ONE or x.shape[1:3] == (1, 1)
            return one and x.elements == y.elements and _maps_each_byte_to_itself(graph, op)
        case ops.Mean():
            return x.elements == y.elements and _maps_each_byte_to_itself(graph, op)
        case _ if isinstance(op, ops.UNARY) and x.dtype is DType.INT8:
            return _maps_each_byte_to_itself(graph, op)
        case _:
            return False


def _maps_each_byte_to_itself(graph: Graph, op: Operator) -> bool:
    """For operators that treat every element alike."""
    every = np.arange(-128, 128).astype(np.int8)
    shape = (256,) + (1,) * (len(graph.tensor_of(op).shape) - 1)
    output = (256,) + (1,) * (len(graph.output_of(op).shape) - 1)
    if not graph.output_of(op).shape:
        return False
    if isinstance(op, ops.Mean) and 0 in op.axes:
        return False
    tensors = list(graph.tensors)
    tensors[op.input] = dataclasses.replace(tensors[op.input], shape=shape, data=None)
    tensors[op.output] = dataclasses.replace(tensors[op.output], shape=output)
    small = Graph(graph.name, tuple(tensors), (op,), (op.input,), (op.output,))
    return np.array_equal(reference.run(small, [every.reshape(shape)])[0].reshape(-1), every)


def drop_identities(graph: Graph, report: Report) -> Graph:
    """Operators that change no byte become reshapes, which cost nothing."""
    operators: list[Operator] = []
    for op in graph.operators:
        if is_identity(graph, op):
            report(f"{graph.place(op)}: dropped, it changes nothing")
            operators.append(ops.Reshape(inputs=(op.input,), outputs=op.outputs, location=op.location))
        else:
            operators.append(op)
    return graph.replace(operators=operators)


def fold_padding(graph: Graph, report: Report) -> Graph:
    """PAD of rows and columns goes into the convolutions that read it: both add the zero point, which counts 0."""
    operators = list(graph.operators)
    for pad in graph.operators:
        if not isinstance(pad, ops.Pad) or len(pad.paddings) != 4:
            continue
        (batch, rows, columns, depth) = pad.paddings
        if (batch, depth) != ((0, 0), (0, 0)) or not graph.tensor_of(pad).same_quantization(graph.output_of(pad)):
            continue
        for position in graph.consumers.get(pad.output, ()):
            op = operators[position]
            if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D)):
                top, bottom, left, right = op.padding
                padding = Padding2D(top + rows[0], bottom + rows[1], left + columns[0], right + columns[1])
                inputs = (pad.input, *op.inputs[1:])
                operators[position] = op.model_copy(update={"inputs": inputs, "padding": padding})
                report(f"{graph.place(pad)}: folded into {graph.place(op)}")
    return graph.replace(operators=operators)


def drop_dead_code(graph: Graph, report: Report) -> Graph:
    """Operators whose output nobody reads."""
    needed = set(graph.outputs)
    operators: list[Operator] = []
    for op in reversed(graph.operators):
        if op.output in needed:
            needed.update(op.inputs)
            operators.append(op)
        else:
            report(f"{graph.place(op)}: dropped, nobody reads its output")
    return graph.replace(operators=operators[::-1])
