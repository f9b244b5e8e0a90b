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
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks import limits, reference
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Mixing, Operator, Weighted
from memaopt.networks.operators.operator import Links, depth

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def _links(graph: Graph, op: Operator) -> Links | None:
    """For each input tensor, on which of its channels each output channel depends; None if channels mix, or if the
    input is a constant, which keeps all its channels."""
    x = graph.tensor_of(op)
    return None if x.dtype is not DType.INT8 or x.is_constant else op.links(graph)


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
        knowledge.known[index] = np.zeros(depth(tensor), bool)
        knowledge.values[index] = np.zeros(tensor.shape, tensor.dtype.value)
    for op in graph.operators:
        arguments = [_value(graph, knowledge, i) for i in op.inputs]
        output = graph.output_of(op)
        known = np.zeros(depth(output), bool)
        links = _links(graph, op)
        if links is not None:
            known = np.logical_and.reduce([knowledge.known[tensor][source] for tensor, source in links.items()])
        elif isinstance(op, Mixing) and op.input in knowledge.known:
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
            count += depth(graph.tensors[tensor])
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
        return self.roots[start : start + depth(graph.tensors[tensor])]


def _droppable(graph: Graph, knowledge: _Knowledge, classes: _Classes) -> Mask:
    """For each class: may all its channels go?"""
    allowed = np.ones(len(classes.roots), bool)
    for tensor in (*graph.inputs, *graph.outputs):
        allowed[classes.of(graph, tensor)] = False
    for op in graph.operators:
        if _links(graph, op) is not None:
            continue
        mixing = op if isinstance(op, Mixing) and op.one_group(graph) else None
        if mixing is None:
            allowed[classes.of(graph, op.output)] = False
        for tensor in op.inputs:
            if tensor not in classes.first:
                continue
            stays = np.ones(depth(graph.tensors[tensor]), bool)
            if mixing is not None and len(stays) == graph.tensors[mixing.weights].shape[-1]:
                same, _ = mixing.contribution(graph, knowledge.values[tensor])
                weights = graph.tensors[mixing.weights].values
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
            kept[tensor] = kept.get(tensor, np.arange(depth(graph.tensors[tensor])))[channels]
        graph = smaller
    for op in graph.operators:
        if op.output in kept and isinstance(op, Weighted):
            report(f"{graph.place(op)}: {len(kept[op.output])} channels are left, the others are known or unread")
    return graph, {tensor: tuple(channels.tolist()) for tensor, channels in kept.items()}


def _work(graph: Graph, op: Operator) -> int:
    """Roughly how long the executor takes, in multiply-accumulates of a convolution."""
    slowness = op.slowness if isinstance(op, Weighted) else 0
    return slowness * op.macs(graph) + 100 * graph.output_of(op).elements


def _worth_analysing(graph: Graph) -> bool:
    """Whether some weights are zero for a whole channel, and the analysis is affordable."""
    if sum(depth(graph.tensors[t]) for t in graph.activations) > limits.MAX_ANALYSED_CHANNELS:
        return False
    if sum(_work(graph, op) for op in graph.operators) > limits.MAX_ANALYSIS:
        return False
    for op in graph.operators:
        if isinstance(op, Mixing):
            used = graph.tensors[op.weights].values != 0
            if not used.reshape(len(used), -1).any(axis=1).all() or not used.reshape(-1, used.shape[-1]).any(0).all():
                return True
    return False


@lru_cache(maxsize=2)
def _analysed(graph: Graph) -> tuple[_Knowledge, _Classes, Mask]:
    """What is known, which channels stand or fall together, and which of these classes may go."""
    knowledge, classes = _know(graph), _Classes(graph)
    return knowledge, classes, _droppable(graph, knowledge, classes)


def _drop_once(graph: Graph, multiple: int) -> tuple[Graph, dict[int, npt.NDArray[np.int64]]]:
    """One round: the smaller network, and the channels that tensors which lost some have left."""
    knowledge, classes, droppable = _analysed(graph)
    allowed = droppable.copy()
    _keep_some(graph, classes, allowed, multiple)
    left = {t: np.flatnonzero(~allowed[classes.of(graph, t)]) for t in graph.activations}
    lost = {t: channels for t, channels in left.items() if len(channels) < depth(graph.tensors[t])}
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
    if not isinstance(op, Weighted) or (op.input not in lost and op.output not in lost):
        return op
    outputs = lost.get(op.output, np.arange(depth(graph.output_of(op))))
    depth_in = graph.tensors[op.weights].shape[-1]
    inputs = lost.get(op.input, np.arange(depth_in))
    added = np.zeros(depth(graph.output_of(op)), np.int64)
    if isinstance(op, Mixing):
        gone = np.ones(depth_in, bool)
        gone[inputs] = False
        added = op.contribution(graph, _value(graph, knowledge, op.input))[1][:, gone].sum(axis=1)
    return op.narrowed(graph, outputs, inputs, added, tensors)
