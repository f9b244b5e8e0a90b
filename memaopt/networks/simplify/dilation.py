"""A convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND is one that is dilated by their blocks.

Each batch holds the positions at one place of every block, so neighbours there are a block apart in the image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import ONE, Operator, Padding2D, Size2D
from memaopt.networks.operators.batch_to_space_nd import BatchToSpaceNd
from memaopt.networks.operators.convolution import Convolution
from memaopt.networks.operators.space_to_batch_nd import SpaceToBatchNd

Report = Callable[[str], None]


class _Dilated(NamedTuple):
    """The three operators, and those between them that only give another shape."""

    first: SpaceToBatchNd
    conv: Convolution
    last: BatchToSpaceNd
    between: tuple[Operator, ...]


def fold_dilation(graph: Graph, report: Report) -> Graph:
    """Where the convolution has neither stride, padding nor dilation of its own."""
    tensors, operators = list(graph.tensors), list(graph.operators)
    for op in graph.operators:
        found = _found(graph, op) if isinstance(op, SpaceToBatchNd) else None
        made = None if found is None else _made(graph, found, tensors)
        if found is None or made is None:
            continue
        gone = {id(op) for op in (found.first, found.conv, *found.between)}
        operators = [kept for kept in operators if id(kept) not in gone]
        at = next(i for i, kept in enumerate(operators) if kept is found.last)
        operators[at : at + 1] = made
        report(f"{graph.place(found.first)}, {graph.place(found.last)}: the dilation of {graph.place(found.conv)}")
    return graph.replace(tensors=tensors, operators=operators)


def _found(graph: Graph, first: SpaceToBatchNd) -> _Dilated | None:
    """What follows alone: maybe reshapes, the convolution, maybe reshapes, and the way back."""
    between: list[Operator] = []
    conv: Convolution | None = None
    op: Operator = first
    while True:
        readers = graph.consumers.get(op.output, ())
        if len(readers) != 1 or op.output in graph.outputs:
            return None
        op = graph.operators[readers[0]]
        if isinstance(op, Convolution) and conv is None and op.input not in op.inputs[1:]:
            conv = op
        elif isinstance(op, BatchToSpaceNd) and conv is not None:
            return _Dilated(first, conv, op, tuple(between))
        elif op.alias:
            between.append(op)
        else:
            return None


def _made(graph: Graph, found: _Dilated, tensors: list[Tensor]) -> list[Operator] | None:
    """The dilated convolution between two reshapes; None where padding, crops or shapes are something else."""
    first, conv, last, _ = found
    x, y = graph.tensor_of(first), graph.output_of(last)
    plain = conv.stride == ONE and conv.dilation == ONE and conv.padding == Padding2D()
    crops = [(before - a, after - b) for (before, after), (a, b) in zip(first.edges, last.edges, strict=True)]
    if first.block != last.block or not plain or any(min(pair) < 0 for pair in crops):
        return None
    inside, outside = graph.output_of(first).shape, graph.tensor_of(last).shape
    axes = _axes(inside, graph.tensor_of(conv).shape)
    if axes is None or axes != _axes(outside, graph.output_of(conv).shape):
        return None
    block, padding = [1, 1], [(0, 0), (0, 0)]
    shapes = []
    for shape in (x.shape, y.shape):
        image = [shape[0], 1, 1, shape[-1]]
        for axis, size in zip(axes, shape[1:-1], strict=True):
            image[axis] = size
        shapes.append(tuple(image))
    for axis, blocks, pair in zip(axes, first.block, crops, strict=True):
        block[axis - 1], padding[axis - 1] = blocks, pair
    tensors.append(dataclasses.replace(x, name=f"{x.name}/image", shape=shapes[0]))
    tensors.append(dataclasses.replace(y, name=f"{y.name}/image", shape=shapes[1]))
    read, written = len(tensors) - 2, len(tensors) - 1
    window = {"dilation": Size2D(*block), "padding": Padding2D(*padding[0], *padding[1])}
    return [
        ops.Reshape(inputs=first.inputs, outputs=(read,), location=first.location),
        conv.model_copy(update={"inputs": (read, *conv.inputs[1:]), "outputs": (written,), **window}),
        ops.Reshape(inputs=(written,), outputs=last.outputs, location=last.location),
    ]


def _axes(batched: tuple[int, ...], image: tuple[int, ...]) -> tuple[int, ...] | None:
    """Which axes of the image the inner ones of the batches are."""
    if batched == image:
        return (1, 2)
    batch, size, channels = batched if len(batched) == 3 else (0, 0, 0)
    shapes = {(batch, 1, size, channels): (2,), (batch, size, 1, channels): (1,)}
    return shapes.get((image[0], image[1], image[2], image[3]))
