"""Channels that need not be computed: constants, and what nobody reads.

Training leaves output channels with weights of zero. Such a channel is known offline, and so is what depthwise
layers, pools and tables make of it. Where a convolution or a fully connected layer reads it, its contribution is
the same everywhere, so it moves into the bias, and the channel disappears with its work, weights and bytes. Next
to the image's edge a depthwise layer mixes a constant with padding; if they differ its output is a known image
that is not constant, which no bias can hold, and the channel stays.

Analysis: a channel is *known* if it depends on known channels only; its values are what the reference kernel
computes. Channels that operators handle one by one (depthwise, pools, tables, reshapes) stand or fall together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks import limits, reference, shapes
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_CHANNELWISE = (
    ops.DepthwiseConv2D,
    ops.AveragePool2D,
    ops.MaxPool2D,
    *ops.UNARY,
    ops.ResizeNearestNeighbor,
)
_MIXING = (ops.Conv2D, ops.FullyConnected)


def _depth(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def _links(graph: Graph, op: Operator) -> dict[int, npt.NDArray[np.int64]] | None:
    """For each input tensor, on which of its channels each output channel depends; None if channels mix, or if the
    input is a constant, which keeps all its channels."""
    x, y = graph.tensor_of(op), graph.output_of(op)
    if x.dtype is not DType.INT8 or x.is_constant:
        return None
    inputs, outputs = _depth(x), _depth(y)
    channels = np.arange(outputs)
    match op:
        case ops.DepthwiseConv2D():
            return {op.input: channels // (outputs // inputs)}
        case ops.Mean():
            return {op.input: channels} if len(x.shape) - 1 not in op.axes else None
        case ops.Reshape():
            return {op.input: channels % inputs} if outputs % inputs == 0 else None
        case ops.Pad():
            return {op.input: channels} if op.paddings[-1:] == ((0, 0),) else None
        case ops.Add() | ops.Sub() | ops.Mul():
            alike = all(not graph.tensors[i].is_constant and _depth(graph.tensors[i]) == outputs for i in op.inputs)
            return dict.fromkeys(op.inputs, channels) if alike else None
        case _ if isinstance(op, _CHANNELWISE):
            return {op.input: channels}
        case _:
            return None


@dataclass
class _Knowledge:
    """For each activation: which channels are known, and a value of the whole tensor that is right for those."""

    known: dict[int, Mask]
    values: dict[int, Array]


def _know(graph: Graph) -> _Knowledge:
    """One inference with known channels as they are and all others at the zero point."""
    knowledge = _Knowledge({}, {})
    for index in graph.inputs:
        tensor = graph.tensors[index]
        knowledge.known[index] = np.zeros(_depth(tensor), bool)
        knowledge.values[index] = np.zeros(tensor.shape, tensor.dtype.value)
    for op in graph.operators:
        arguments = [_value(graph, knowledge, i) for i in op.inputs]
        output = graph.output_of(op)
        known = np.zeros(_depth(output), bool)
        links = _links(graph, op)
        if links is not None:
            known = np.logical_and.reduce([knowledge.known[tensor][source] for tensor, source in links.items()])
        elif isinstance(op, _MIXING) and op.input in knowledge.known:
            used = graph.tensors[op.weights].values != 0
            per_input = used.any(axis=tuple(range(1, used.ndim - 1))) if used.ndim > 2 else used
            if per_input.shape[1] == len(knowledge.known[op.input]):  # one group
                known = ~(per_input & ~knowledge.known[op.input]).any(axis=1)
        knowledge.known[op.output] = known
        nothing = np.zeros(output.shape, output.dtype.value)  # no channel's value is looked at
        knowledge.values[op.output] = reference.evaluate(graph, op, arguments) if known.any() else nothing
    return knowledge


def _value(graph: Graph, knowledge: _Knowledge, tensor: int) -> Array:
    """What is known of a tensor's value: all of it for a constant."""
    return graph.tensors[tensor].values if graph.tensors[tensor].is_constant else knowledge.values[tensor]


class _Classes:
    """Union-find over the channels of all activations."""

    def __init__(self, graph: Graph) -> None:
        self.first: dict[int, int] = {}
        count = 0
        for tensor in graph.activations:
            self.first[tensor] = count
            count += _depth(graph.tensors[tensor])
        self.parent = list(range(count))
        for op in graph.operators:
            for tensor, sources in (_links(graph, op) or {}).items():
                for channel, source in enumerate(sources.tolist()):
                    self._join(self.first[tensor] + source, self.first[op.output] + channel)
        self.roots = np.array([self._find(i) for i in range(count)], np.int64)

    def _find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def _join(self, a: int, b: int) -> None:
        self.parent[self._find(b)] = self._find(a)

    def of(self, graph: Graph, tensor: int) -> npt.NDArray[np.int64]:
        """The class of each channel of a tensor."""
        start = self.first[tensor]
        return self.roots[start : start + _depth(graph.tensors[tensor])]


def _contribution(graph: Graph, op: ops.Conv2D | ops.FullyConnected, value: Array) -> tuple[Mask, Array]:
    """For each input channel: whether what it adds to the accumulators is the same at every position, given the
    values; and what it adds, [outputs, inputs] (right where the mask says so)."""
    weights = graph.tensors[op.weights].values.astype(np.int64)
    zero_point = graph.tensor_of(op).zero_point
    if isinstance(op, ops.FullyConnected):
        batch = value.reshape(-1, weights.shape[1]).astype(np.int64) - zero_point
        return (batch == batch[0]).all(axis=0) | ~weights.any(axis=0), weights * batch[0]
    window = shapes.window_of(graph, op)
    _, height, width, _ = graph.output_of(op).shape
    top, bottom, left, right = op.padding
    image = np.pad(value.astype(np.int64) - zero_point, ((0, 0), (top, bottom), (left, right), (0, 0)))
    same = np.ones(value.shape[3], bool)
    added = np.zeros((weights.shape[0], value.shape[3]), np.int64)
    for ky in range(window.kernel.height):
        for kx in range(window.kernel.width):
            y, x = ky * window.dilation.height, kx * window.dilation.width
            rows = slice(y, y + (height - 1) * window.stride.height + 1, window.stride.height)
            columns = slice(x, x + (width - 1) * window.stride.width + 1, window.stride.width)
            tap = image[:, rows, columns].reshape(-1, value.shape[3])
            weight = weights[:, ky, kx]
            same &= (tap == tap[0]).all(axis=0) | ~weight.any(axis=0)
            added += weight * tap[0]
    return same, added


def _droppable(graph: Graph, knowledge: _Knowledge, classes: _Classes) -> Mask:
    """For each class: may all its channels go?"""
    allowed = np.ones(len(classes.roots), bool)
    for tensor in (*graph.inputs, *graph.outputs):
        allowed[classes.of(graph, tensor)] = False
    for op in graph.operators:
        if _links(graph, op) is not None:
            continue
        single_group = isinstance(op, ops.FullyConnected) or (
            isinstance(op, ops.Conv2D) and graph.tensors[op.weights].shape[3] == _depth(graph.tensor_of(op))
        )
        if not single_group:
            allowed[classes.of(graph, op.output)] = False
        for tensor in op.inputs:
            if tensor not in classes.first:
                continue
            stays = np.ones(_depth(graph.tensors[tensor]), bool)
            if single_group and isinstance(op, _MIXING) and len(stays) == graph.tensors[op.weights].shape[-1]:
                same, _ = _contribution(graph, op, knowledge.values[tensor])
                weights = graph.tensors[op.weights].values
                unused = ~weights.any(axis=tuple(range(weights.ndim - 1)))
                stays = ~(same & knowledge.known[tensor] | unused)
            allowed[classes.of(graph, tensor)[stays]] = False
    return allowed


def _keep_some(graph: Graph, classes: _Classes, allowed: Mask, multiple: int) -> None:
    """Take back drops so that each tensor keeps a multiple of ``multiple`` channels, and one at least."""
    changed = True
    while changed:
        changed = False
        for tensor in graph.activations:
            own = classes.of(graph, tensor)
            kept = int((~allowed[own]).sum())
            short = 1 if kept == 0 else -kept % multiple
            if short and kept < len(own):
                for channel in np.flatnonzero(allowed[own])[:short]:
                    allowed[own[channel]] = False
                changed = True


def drop_channels(
    graph: Graph, report: Callable[[str], None], *, multiple: int = 1
) -> tuple[Graph, dict[int, tuple[int, ...]]]:
    """The network without the channels that need not be computed, and the channels each tensor kept.

    Bit-exact: what is left computes the bytes it computed before. Only tensors that lost channels are in the
    mapping. Repeated until nothing is left to drop, as what only dropped channels read is unread in turn.
    """
    kept: dict[int, npt.NDArray[np.int64]] = {}
    while _worth_analysing(graph):
        smaller, lost = _drop_once(graph, multiple)
        if not lost:
            break
        for tensor, channels in lost.items():
            kept[tensor] = kept.get(tensor, np.arange(_depth(graph.tensors[tensor])))[channels]
        graph = smaller
    for op in graph.operators:
        if op.output in kept and isinstance(op, ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected):
            report(f"{graph.place(op)}: {len(kept[op.output])} channels are left, the others are known or unread")
    return graph, {tensor: tuple(channels.tolist()) for tensor, channels in kept.items()}


def _work(graph: Graph, op: Operator) -> int:
    """Roughly how long the executor takes, in multiply-accumulates of a convolution."""
    slowness = 40 if isinstance(op, ops.DepthwiseConv2D) else 1
    return slowness * shapes.macs(graph, op) + 100 * graph.output_of(op).elements


def _worth_analysing(graph: Graph) -> bool:
    """Whether some weights are zero for a whole channel, and the analysis is affordable."""
    if sum(_depth(graph.tensors[t]) for t in graph.activations) > limits.MAX_ANALYSED_CHANNELS:
        return False
    if sum(_work(graph, op) for op in graph.operators) > limits.MAX_ANALYSIS:
        return False
    for op in graph.operators:
        if isinstance(op, _MIXING):
            used = graph.tensors[op.weights].values != 0
            if not used.reshape(len(used), -1).any(axis=1).all() or not used.reshape(-1, used.shape[-1]).any(0).all():
                return True
    return False


def _drop_once(graph: Graph, multiple: int) -> tuple[Graph, dict[int, npt.NDArray[np.int64]]]:
    """One round: the smaller network, and the channels that tensors which lost some have left."""
    knowledge, classes = _know(graph), _Classes(graph)
    allowed = _droppable(graph, knowledge, classes)
    _keep_some(graph, classes, allowed, multiple)
    left = {t: np.flatnonzero(~allowed[classes.of(graph, t)]) for t in graph.activations}
    lost = {t: channels for t, channels in left.items() if len(channels) < _depth(graph.tensors[t])}
    if not lost:
        return graph, {}
    tensors = list(graph.tensors)
    operators = [_rewritten(graph, op, knowledge, lost, tensors) for op in graph.operators]
    for tensor, channels in lost.items():
        tensors[tensor] = _narrowed(graph.tensors[tensor], len(channels))
    return graph.replace(tensors=tensors, operators=operators), lost


def _narrowed(tensor: Tensor, channels: int) -> Tensor:
    return dataclasses.replace(tensor, shape=(*tensor.shape[:-1], channels))


def _rewritten(
    graph: Graph, op: Operator, knowledge: _Knowledge, lost: dict[int, npt.NDArray[np.int64]], tensors: list[Tensor]
) -> Operator:
    """The operator with fewer weights; new constants are appended to ``tensors``."""
    if not isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)):
        return op
    if op.input not in lost and op.output not in lost:
        return op
    weights = graph.tensors[op.weights]
    outputs = lost.get(op.output, np.arange(_depth(graph.output_of(op))))
    bias = np.zeros(_depth(graph.output_of(op)), np.int64)
    if op.bias is not None:
        bias = graph.tensors[op.bias].values.reshape(-1).astype(np.int64)
    if isinstance(op, ops.DepthwiseConv2D):
        data = weights.values[..., outputs]
    else:
        inputs = lost.get(op.input, np.arange(weights.shape[-1]))
        _, added = _contribution(graph, op, _value(graph, knowledge, op.input))
        gone = np.setdiff1d(np.arange(weights.shape[-1]), inputs)
        bias = bias + added[:, gone].sum(axis=1)
        data = weights.values[outputs][..., inputs]
    tensors.append(_constant(weights, np.ascontiguousarray(data), outputs))
    indices = [op.input, len(tensors) - 1]
    if op.bias is not None or bias.any():
        source = graph.tensors[op.bias] if op.bias is not None else _bias_like(graph, op)
        tensors.append(_constant(source, bias[outputs].astype(np.int32), outputs))
        indices.append(len(tensors) - 1)
    return op.model_copy(update={"inputs": tuple(indices)})


def _constant(tensor: Tensor, data: Array, outputs: npt.NDArray[np.int64]) -> Tensor:
    """The constant with other data; scales for each channel are selected along."""
    data.setflags(write=False)
    changes: dict[str, Any] = {"data": data, "shape": data.shape}
    if tensor.is_per_channel:
        changes |= {"scales": tensor.scales[outputs], "zero_points": tensor.zero_points[outputs]}
    return dataclasses.replace(tensor, **changes)


def _bias_like(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected) -> Tensor:
    """A description of the bias that an operator without one would have."""
    weights = graph.tensors[op.weights]
    scales = (weights.scales * graph.tensor_of(op).scale).astype(np.float32)
    return Tensor(f"{weights.name}/bias", (), DType.INT32, scales, np.zeros(len(scales), np.int64))
